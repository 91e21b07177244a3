//! The journal: whether it can be used, and whether it waits for a replay.

use super::{Checker, Severity, le32};
use crate::error::{Error, Result};
use crate::features::{compat, incompat};
use crate::journal::{INCOMPAT_CSUM_V2, INCOMPAT_CSUM_V3, Journal};
use nomount_block::ReadAt;

/// `s_feature_compat` of a journal: checksums of version 1.
const COMPAT_CHECKSUM: u32 = 1;
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
        if sb.s_journal_inum.get() != 0 && sb.s_journal_uuid != [0; 16] {
            self.corrupt("PR_0_CANT_FIND_JOURNAL", "superblock", "an external journal is named besides its own", "");
        }
        let Some(journal) = &self.fs.journal else { return Ok(()) };
        self.check_journal_size(journal)?;
        let users = journal.sb.s_nr_users.get();
        if users > 1 {
            let found = format!("it is said to have {users} users");
            self.corrupt("PR_0_JOURNAL_UNSUPP_MULTIFS", "journal", found, "1");
        }
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

    /// The log must lie inside its file, and the file must be mapped as far as it goes.
    fn check_journal_size(&mut self, journal: &Journal) -> Result<()> {
        let features = (journal.sb.s_feature_compat.get(), journal.sb.s_feature_incompat.get());
        if features.0 & COMPAT_CHECKSUM != 0 && features.1 & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0 {
            let found = "checksums of version 1 and of a later one at once";
            self.corrupt("PR_0_JOURNAL_BAD_SUPER", "journal", found, "");
        }
        let inode = match self.fs.inode(self.fs.state.sb.s_journal_inum.get()) {
            Ok(inode) => inode,
            Err(error @ Error::Device(_)) => return Err(error),
            // Told with the inode's own findings.
            Err(_) => return Ok(()),
        };
        let bs = u64::from(self.geo.block_size);
        let (size, length, mapped) = (inode.size(), u64::from(journal.sb.s_maxlen.get()), journal.mapped());
        if length * bs > size {
            let found = format!("{length} blocks in a file of {size} bytes");
            self.corrupt("PR_0_JOURNAL_BAD_SUPER", "journal", found, "");
        } else if size.div_ceil(bs) > mapped {
            let found = format!("its file has {size} bytes, of which {mapped} blocks are mapped");
            self.corrupt("PR_0_JOURNAL_BAD_INODE", "journal", found, "");
        }
        Ok(())
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
