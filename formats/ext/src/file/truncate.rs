//! Making files shorter or longer.

use crate::error::Result;
use crate::fs::Filesystem;
use crate::inode::{Inode, flags};
use crate::map::MAP_END;
use nomount_block::WriteAt;

impl<D: WriteAt> Filesystem<D> {
    /// Sets the size of a regular file in bytes. What is cut off is gone; what is added is a hole.
    pub fn truncate(&mut self, ino: u32, size: u64) -> Result<()> {
        let mut inode = self.file_for_change(ino)?;
        self.check_size(&inode, size)?;
        self.changing(|fs| {
            if !fs.truncate_inline(&mut inode, size)? {
                if size > inode.size() {
                    fs.clean_tail(&mut inode)?;
                } else {
                    fs.unmap(&mut inode, size.div_ceil(u64::from(fs.geo.block_size)), MAP_END)?;
                    inode.set_size(size);
                    fs.clean_tail(&mut inode)?;
                }
            }
            fs.finish_write(inode, size)
        })
    }

    /// Whether a file is stored in its inode and still fits there; if not, it is in blocks afterwards.
    fn truncate_inline(&mut self, inode: &mut Inode, size: u64) -> Result<bool> {
        if !inode.has_flag(flags::INLINE_DATA) {
            return Ok(false);
        }
        if size <= u64::from(self.geo.inode_size) {
            let mut contents = self.inline_contents(inode)?;
            contents.resize(size as usize, 0);
            if self.store_inline(inode, &contents)? {
                return Ok(true);
            }
        }
        self.move_out(inode)?;
        Ok(false)
    }
}
