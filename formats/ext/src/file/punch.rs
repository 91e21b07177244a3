//! Punching holes into files.

use crate::error::Result;
use crate::fs::Filesystem;
use crate::inode::{Inode, flags};
use nomount_block::WriteAt;

impl<D: WriteAt> Filesystem<D> {
    /// Makes `len` bytes of a regular file from `offset` on read as zero and frees the blocks that are wholly among
    /// them. The size stays (fallocate(2), FALLOC_FL_PUNCH_HOLE).
    pub fn punch(&mut self, ino: u32, offset: u64, len: u64) -> Result<()> {
        let mut inode = self.file_for_change(ino)?;
        let size = inode.size();
        let end = offset.saturating_add(len).min(size);
        if offset >= end {
            return Ok(());
        }
        self.changing(|fs| {
            if inode.has_flag(flags::INLINE_DATA) {
                let mut contents = fs.inline_contents(&inode)?;
                contents[offset as usize..end as usize].fill(0);
                // As long as before, it fits as before.
                fs.store_inline(&mut inode, &contents)?;
            } else {
                fs.punch_blocks(&mut inode, offset, end)?;
            }
            fs.finish_write(inode, size)
        })
    }

    fn punch_blocks(&mut self, inode: &mut Inode, offset: u64, end: u64) -> Result<()> {
        let block_size = u64::from(self.geo.block_size);
        // Behind the end of the file there is nothing: its last block goes whole.
        let last = if end == inode.size() { end.div_ceil(block_size) } else { end / block_size };
        let first = offset.div_ceil(block_size);
        if first > end / block_size {
            return self.zero(inode, offset, end);
        }
        self.zero(inode, offset, first * block_size)?;
        self.unmap(inode, first, last)?;
        self.zero(inode, (last * block_size).min(end), end)
    }
}
