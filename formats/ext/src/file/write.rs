//! Writing into files.

use crate::error::{Error, Result};
use crate::fs::Filesystem;
use crate::inode::{Inode, flags};
use crate::map::MAP_END;
use nomount_block::WriteAt;

impl<D: WriteAt> Filesystem<D> {
    /// Replaces the contents of a regular file. New contents go to new blocks; the old ones are freed.
    pub fn write_contents(&mut self, ino: u32, contents: &[u8]) -> Result<()> {
        let mut inode = self.file_for_change(ino)?;
        let size = contents.len() as u64;
        self.check_size(&inode, size)?;
        self.changing(|fs| {
            if inode.has_flag(flags::INLINE_DATA) {
                fs.leave_inline(&mut inode)?;
            } else {
                fs.unmap(&mut inode, 0, MAP_END)?;
            }
            inode.set_size(0);
            fs.write_checked(inode, 0, contents)
        })
    }

    /// Adds to the end of a regular file.
    pub fn append(&mut self, ino: u32, contents: &[u8]) -> Result<()> {
        let size = self.file_for_change(ino)?.size();
        self.write_at(ino, size, contents)
    }

    /// Writes into a regular file at byte `offset`, making it longer where the end lies behind its own. What lies
    /// between the old end and `offset` becomes a hole. Zeroes are written like anything else. Writing nothing
    /// changes nothing.
    pub fn write_at(&mut self, ino: u32, offset: u64, data: &[u8]) -> Result<()> {
        let inode = self.file_for_change(ino)?;
        let end = offset.checked_add(data.len() as u64);
        let end = end.ok_or_else(|| Error::FileTooLarge { size: u64::MAX, max: self.max_file_size(&inode) })?;
        if data.is_empty() {
            return Ok(());
        }
        self.check_size(&inode, end)?;
        self.changing(|fs| fs.write_checked(inode, offset, data))
    }

    fn write_checked(&mut self, mut inode: Inode, offset: u64, data: &[u8]) -> Result<()> {
        let end = offset + data.len() as u64;
        let size = inode.size().max(end);
        if data.is_empty() {
            return self.finish_write(inode, size);
        }
        if !self.write_inline(&mut inode, offset, data)? {
            if offset > inode.size() {
                self.clean_tail(&mut inode)?;
            }
            self.put(&mut inode, offset, data)?;
        }
        self.finish_write(inode, size)
    }

    /// Writes into a file that is stored in its inode, or may be, as far as it fits there. If it does not, the file
    /// is in blocks afterwards, with what it had before.
    fn write_inline(&mut self, inode: &mut Inode, offset: u64, data: &[u8]) -> Result<bool> {
        let inline = inode.has_flag(flags::INLINE_DATA);
        let may_be = inline || (inode.size() == 0 && self.may_be_inline(inode));
        if !may_be {
            return Ok(false);
        }
        let end = offset + data.len() as u64;
        if end <= u64::from(self.geo.inode_size) {
            let mut contents = if inline { self.inline_contents(inode)? } else { Vec::new() };
            contents.resize(contents.len().max(end as usize), 0);
            contents[offset as usize..end as usize].copy_from_slice(data);
            if self.store_inline(inode, &contents)? {
                return Ok(true);
            }
        }
        if inline {
            self.move_out(inode)?;
        }
        Ok(false)
    }

    /// Moves the contents of a file out of its inode into blocks.
    pub(super) fn move_out(&mut self, inode: &mut Inode) -> Result<()> {
        let contents = self.inline_contents(inode)?;
        self.leave_inline(inode)?;
        if contents.is_empty() { Ok(()) } else { self.put(inode, 0, &contents) }
    }
}
