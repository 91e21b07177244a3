//! Overwriting what a removed file held.

use crate::error::{Error, Result};
use crate::fs::{Filesystem, State};
use crate::geometry::{BlockNr, GroupNr};
use crate::group::bit;
use crate::inode::{FileType, Inode, flags};
use crate::journal::Journal;
use crate::zero::overwrite;
use nomount_block::{ReadAt, WriteAt};
use rpds::VectorSync;
use std::sync::Arc;

/// Blocks side by side: the first, and how many.
type Place = (BlockNr, u64);

/// The bits of `s_default_mount_opts` for what is journaled, and what they are when contents of files are
/// (ext4.rst, "Super Block").
const JOURNAL_MODE: u32 = 0x60;
const JOURNAL_MODE_DATA: u32 = 0x20;

/// What is overwritten at the end of the commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scrubbed {
    /// As far as they are free then.
    places: VectorSync<Place>,
    /// Whether the log may have copies.
    log: bool,
}

impl Scrubbed {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && !self.log
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Has the commit write zeroes over the blocks that a regular file has now, and over those that it has in the
    /// committed state, as far as the new state leaves them free: of a file that is removed next, all of them. Its block
    /// of attributes is among them. Contents that are stored in the inode go with the inode, which is zeroed. Where the
    /// log may have copies, it is overwritten, too: with contents in the inode, and where the file (`chattr +j`) or the
    /// superblock's default has contents journaled.
    ///
    /// The zeroes are written when all else is done, so that a crash leaves the old state with the whole file, or the
    /// new one with contents in free blocks that may not be overwritten yet. Not reached: blocks that the file had given
    /// back before this change, values of attributes in inodes of their own, and copies in the log by a kernel that was
    /// told `data=journal` when it mounted.
    ///
    /// Fails for a file that has other names, because its contents stay in use.
    pub fn scrub(&mut self, ino: u32) -> Result<()> {
        let inode = self.live_inode(ino)?;
        self.refuse_protected(&inode)?;
        match inode.file_type() {
            Some(FileType::Regular) => {}
            Some(FileType::Directory) => return Err(Error::IsDirectory),
            _ => return Err(Error::NotFile),
        }
        if inode.links() > 1 {
            let detail = format!("the file has {} names, and its contents stay with the others", inode.links());
            return Err(Error::Invalid(detail));
        }
        let now = self.scrubbed_of(&inode)?;
        let before = self.scrubbed_of_committed(&inode)?;
        for one in [now, before] {
            one.places.iter().for_each(|place| self.state.scrubbed.places.push_back_mut(*place));
            self.state.scrubbed.log |= one.log;
        }
        Ok(())
    }

    /// What the committed state has of a file. Nothing, if its number stands for another one there.
    fn scrubbed_of_committed(&mut self, inode: &Inode) -> Result<Scrubbed> {
        let committed = State::unchanged(self.committed_superblock()?, self.state.end_before);
        let present = std::mem::replace(&mut self.state, committed.clone());
        self.return_to(committed);
        let found = self.scrubbed_of_same(inode);
        self.return_to(present);
        found
    }

    fn scrubbed_of_same(&self, inode: &Inode) -> Result<Scrubbed> {
        if inode.ino() > self.geo.inodes_count {
            return Ok(Scrubbed::default());
        }
        let (number, index) = self.geo.group_of_inode(inode.ino());
        if !bit(&self.load_inode_bitmap(number)?, index) {
            return Ok(Scrubbed::default());
        }
        let before = self.inode(inode.ino())?;
        let is_same = before.file_type() == Some(FileType::Regular)
            && before.base().i_generation.get() == inode.base().i_generation.get();
        if is_same { self.scrubbed_of(&before) } else { Ok(Scrubbed::default()) }
    }

    /// What the commit is to overwrite: the scrubbed blocks that the new state does not use, as whole clusters, and the
    /// log, which is empty by then.
    pub(crate) fn scrubbed_places(&mut self) -> Result<Vec<Place>> {
        let mut places: Vec<Place> = self.state.scrubbed.places.iter().copied().collect();
        places.sort_unstable();
        let ratio = u64::from(self.geo.cluster_ratio());
        let mut free: Vec<Place> = Vec::new();
        let mut bits: Option<(GroupNr, Arc<Vec<u8>>)> = None;
        let mut seen = 0;
        for (block, len) in places {
            let mut at = self.geo.cluster_start(block).max(seen);
            while at < block + len {
                let (number, index) = self.geo.bit_of_block(at);
                let current = match bits.take() {
                    Some((group, current)) if group == number => current,
                    _ => Arc::clone(&self.block_bits(number)?.current),
                };
                let end = (at + ratio).min(self.geo.blocks_count);
                if !bit(&current, index) {
                    match free.last_mut() {
                        Some((start, len)) if *start + *len == at => *len = end - *start,
                        _ => free.push((at, end - at)),
                    }
                }
                bits = Some((number, current));
                at = end;
            }
            seen = seen.max(at);
        }
        if self.state.scrubbed.log {
            free.extend(self.journal.iter().flat_map(Journal::log));
        }
        Ok(free)
    }

    /// Writes zeroes over blocks that nothing uses, and makes them durable.
    pub(crate) fn overwrite(&mut self, places: &[Place]) -> Result<()> {
        let size = u64::from(self.geo.block_size);
        for (block, len) in places {
            overwrite(&mut self.device, block * size, len * size)?;
        }
        if !places.is_empty() {
            self.device.barrier()?;
        }
        Ok(())
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// Where a file's contents and attributes are.
    fn scrubbed_of(&self, inode: &Inode) -> Result<Scrubbed> {
        let runs = self.load_map(inode)?.runs;
        let attributes = (inode.file_acl() != 0).then(|| (inode.file_acl(), 1));
        let places: VectorSync<Place> = runs.iter().map(|run| (run.block, run.len.into())).chain(attributes).collect();
        places.iter().try_for_each(|(block, len)| self.check_block(*block, *len, || inode.place()))?;
        let log = inode.has_flag(flags::INLINE_DATA | flags::JOURNAL_DATA)
            || self.state.sb.s_default_mount_opts.get() & JOURNAL_MODE == JOURNAL_MODE_DATA;
        Ok(Scrubbed { places, log })
    }
}
