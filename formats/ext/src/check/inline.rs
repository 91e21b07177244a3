//! Contents that are stored in the inode itself.

use super::Checker;
use crate::error::{Error, Result};
use crate::inode::{FileType, Inode};
use nomount_block::ReadAt;

impl<D: ReadAt> Checker<'_, D> {
    /// The size of inline contents against the room they take.
    pub(super) fn check_inline_size(&mut self, inode: &Inode) -> Result<()> {
        let stored = match self.fs.inline_parts(inode) {
            Ok((start, more)) => (start.len() + more.len()) as u64,
            Err(error @ Error::Device(_)) => return Err(error),
            Err(error) => {
                self.corrupt("PR_1_INLINE_DATA_NO_ATTR", inode.place(), error.to_string(), "");
                return Ok(());
            }
        };
        let size = inode.size();
        let (id, wrong) = match inode.file_type() {
            Some(FileType::Directory) => ("PR_1_BAD_I_SIZE", size != stored),
            Some(FileType::Symlink) => ("PR_2_INVALID_SYMLINK", size != stored),
            _ => ("NM_INLINE_SIZE", size > stored),
        };
        if wrong {
            self.corrupt(id, inode.place(), format!("size of inline contents is {size}"), stored.to_string());
        }
        Ok(())
    }
}
