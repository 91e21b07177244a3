//! Reading contents of files and targets of symbolic links.

use crate::error::{Error, Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::FileBlock;
use crate::inode::{FileType, Inode, flags};
use nomount_block::ReadAt;

impl<D: ReadAt> Filesystem<D> {
    /// Reads a regular file at byte `offset`; short only at its end. Returns how many bytes.
    pub fn read(&self, ino: u32, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let inode = self.live_inode(ino)?;
        match inode.file_type() {
            Some(FileType::Regular) => self.read_inode(&inode, offset, buf),
            Some(FileType::Directory) => Err(Error::IsDirectory),
            _ => Err(Error::NotFile),
        }
    }

    pub(crate) fn read_inode(&self, inode: &Inode, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = inode.size().saturating_sub(offset);
        let len = left.min(buf.len() as u64) as usize;
        let buf = &mut buf[..len];
        if len == 0 {
            return Ok(0);
        }
        if inode.has_flag(flags::INLINE_DATA) {
            let all = self.inline_bytes(inode)?;
            let Some(part) = all.get(offset as usize..offset as usize + len) else {
                let detail = format!("{} bytes long, but {} are stored inline", inode.size(), all.len());
                return Err(corrupt(inode.place(), detail));
            };
            buf.copy_from_slice(part);
            return Ok(len);
        }
        if inode.has_flag(flags::ENCRYPT) {
            return Err(Error::Unsupported(format!("{} is encrypted", inode.place())));
        }
        let size = u64::from(self.geo.block_size);
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let skip = at % size;
            let file_block = FileBlock::try_from(at / size)
                .map_err(|_| corrupt(inode.place(), format!("size {} is beyond any map", inode.size())))?;
            let mapping = self.map_block(inode, file_block)?;
            let here = (mapping.len.saturating_mul(size) - skip).min((len - done) as u64) as usize;
            let out = &mut buf[done..done + here];
            match mapping.block.filter(|_| !mapping.unwritten) {
                Some(block) => self.read_data(block, skip, out)?,
                None => out.fill(0),
            }
            done += here;
        }
        Ok(len)
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, ino: u32) -> Result<Vec<u8>> {
        let inode = self.live_inode(ino)?;
        if inode.file_type() != Some(FileType::Symlink) {
            return Err(Error::NotSymlink);
        }
        let len = inode.size();
        if len == 0 || len >= u64::from(self.geo.block_size).min(4096 + 1) {
            return Err(corrupt(inode.place(), format!("symbolic link's target has {len} bytes")));
        }
        if inode.is_fast_symlink(&self.geo) {
            return match inode.base().i_block.get(..len as usize) {
                Some(target) => Ok(target.to_vec()),
                None => Err(corrupt(inode.place(), format!("symbolic link's target has {len} bytes, 60 fit"))),
            };
        }
        let mut target = vec![0; len as usize];
        self.read_inode(&inode, 0, &mut target)?;
        Ok(target)
    }
}
