//! Making directories longer.

use crate::error::{Error, Result};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::Inode;
use nomount_block::WriteAt;

impl<D: WriteAt> Filesystem<D> {
    /// Adds a block at the end of a directory, next to the last one if that is free: its number in the directory and
    /// in the filesystem. What the block holds is for the caller to write.
    pub(super) fn grow_dir(&mut self, dir: &mut Inode) -> Result<(FileBlock, BlockNr)> {
        let size = u64::from(self.geo.block_size);
        let file_block = dir.size() / size;
        let new_size = (file_block + 1) * size;
        if new_size >= self.max_dir_size() {
            return Err(Error::Limit(format!("a directory of {} bytes or more", self.max_dir_size())));
        }
        let file_block = file_block as FileBlock;
        let block = self.append_block(dir, file_block)?;
        dir.set_size(new_size);
        Ok((file_block, block))
    }
}
