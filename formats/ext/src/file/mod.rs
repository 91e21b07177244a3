//! Contents of files and targets of symbolic links.
//!
//! A change never writes over what the committed state or a savepoint reads: changed blocks go to new places, and the
//! device has them before the commit. What a change itself wrote before may be written over.

mod allocate;
mod punch;
mod put;
mod read;
mod truncate;
mod write;

use crate::error::{Error, Result};
use crate::features::ro_compat;
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::inode::{FileType, Inode, flags};
use nomount_block::WriteAt;

/// Longest target that fits the inode itself, without a NUL.
pub(crate) const FAST_SYMLINK: usize = 59;

impl<D: WriteAt> Filesystem<D> {
    /// Where the blocks of a new file should go: the data area of its inode's group.
    pub(crate) fn goal_of(&self, ino: u32) -> BlockNr {
        let (group, _) = self.geo.group_of_inode(ino);
        self.geo.group_start(group)
    }

    fn file_for_change(&self, ino: u32) -> Result<Inode> {
        let inode = self.live_inode(ino)?;
        self.refuse_writing(&inode)?;
        match inode.file_type() {
            Some(FileType::Regular) => {}
            Some(FileType::Directory) => return Err(Error::IsDirectory),
            _ => return Err(Error::NotFile),
        }
        if self.geo.cluster_ratio() > 1 && !inode.has_flag(flags::EXTENTS | flags::INLINE_DATA) {
            let detail = format!("{} has a block map, which bigalloc does not allow", inode.place());
            return Err(Error::ReadOnly(detail));
        }
        Ok(inode)
    }

    /// Fails when a file cannot be `size` bytes long.
    fn check_size(&self, inode: &Inode, size: u64) -> Result<()> {
        let max = self.max_file_size(inode);
        if size > max { Err(Error::FileTooLarge { size, max }) } else { Ok(()) }
    }

    /// The last byte is in a block whose number fits 32 bits, and that the map reaches; and storage without holes
    /// can be counted in the inode.
    fn max_file_size(&self, inode: &Inode) -> u64 {
        let size = u64::from(self.geo.block_size);
        let extents = self.geo.features.incompat(crate::features::incompat::EXTENTS);
        let mapped = if inode.has_flag(flags::EXTENTS) || (inode.has_flag(flags::INLINE_DATA) && extents) {
            u64::from(u32::MAX)
        } else {
            let pointers = size / 4;
            let all = 12 + pointers + pointers * pointers + pointers * pointers * pointers;
            all.min(u64::from(u32::MAX))
        };
        let counted = if self.geo.features.ro_compat(ro_compat::HUGE_FILE) {
            u64::MAX
        } else {
            u64::from(u32::MAX) / (size / 512)
        };
        size * mapped.min(counted)
    }

    /// Stores the inode of a file whose contents changed.
    fn finish_write(&mut self, mut inode: Inode, size: u64) -> Result<()> {
        self.need_large_file(size)?;
        inode.set_size(size);
        let now = self.options.now;
        inode.set_mtime(now);
        inode.set_ctime(now);
        self.put_inode(inode)
    }
}
