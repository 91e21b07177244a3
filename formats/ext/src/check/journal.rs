//! The journal: whether it can be used, and whether it waits for a replay.

use super::{Checker, Severity, le32};
use crate::error::{Error, Result};
use crate::features::{compat, incompat};
use nomount_block::ReadAt;

/// `s_jnl_backup_type`: the superblock holds a copy of the journal's map.
const BACKUP_BLOCKS: u8 = 1;
/// Words of the copy: the map, then the two halves of the size.
const MAP_WORDS: usize = 15;

impl<D: ReadAt> Checker<'_, D> {
    /// `failed` is why it could not be opened.
    pub(super) fn check_journal(&mut self, failed: Option<Error>) -> Result<()> {
        let features = self.geo.features;
        let sb = &self.fs.state.sb;
        let recover = features.incompat(incompat::RECOVER);
        if let Some(error) = failed {
            self.corrupt("PR_0_JOURNAL_BAD_SUPER", "journal", error.to_string(), "");
            return Ok(());
        }
        if !features.compat(compat::HAS_JOURNAL) {
            if recover {
                self.corrupt("PR_0_JOURNAL_RECOVER_SET", "superblock", "needs_recovery is set without a journal", "");
            }
            if sb.s_journal_inum.get() != 0 {
                let found = format!("s_journal_inum is {} without a journal", sb.s_journal_inum.get());
                self.corrupt("PR_0_JOURNAL_HAS_JOURNAL", "superblock", found, "0");
            }
            return Ok(());
        }
        let Some(journal) = &self.fs.journal else { return Ok(()) };
        if recover {
            let found = match self.fs.replayed_blocks() {
                0 => "it must be replayed".to_owned(),
                blocks => format!("{blocks} blocks must be replayed"),
            };
            self.add(Severity::Recovery, "NM_NEEDS_RECOVERY", "journal", found, "");
        } else if journal.sb.s_start.get() != 0 {
            let found = format!("it starts at block {}, and needs_recovery is not set", journal.sb.s_start.get());
            self.add(Severity::Recovery, "PR_0_JOURNAL_RECOVERY_CLEAR", "journal", found, "");
        }
        let errno = journal.sb.s_errno.get();
        if errno != 0 {
            let found = format!("it records error {}", errno as i32);
            self.warn("NM_JOURNAL_ERROR", "journal", found, "0");
        }
        self.check_journal_backup()
    }

    /// The copy of the journal's map in the superblock, for when its inode is lost.
    fn check_journal_backup(&mut self) -> Result<()> {
        let sb = &self.fs.state.sb;
        if sb.s_jnl_backup_type != BACKUP_BLOCKS || !self.fs.state.staged.is_empty() {
            return Ok(());
        }
        let inode = match self.fs.inode(sb.s_journal_inum.get()) {
            Ok(inode) => inode,
            Err(error @ Error::Device(_)) => return Err(error),
            // Told with the inode's own findings.
            Err(_) => return Ok(()),
        };
        let map = &inode.base().i_block;
        let same = (0..MAP_WORDS).all(|word| le32(map, word * 4) == sb.s_jnl_blocks[word].get());
        if !same {
            self.warn("NM_JOURNAL_BACKUP", "superblock", "its copy of the journal's map is another one", "");
        }
        Ok(())
    }
}
