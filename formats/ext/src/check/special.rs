//! What is neither a file nor a directory: symbolic links, devices, pipes and sockets.

use super::{Checker, le16, le32};
use crate::error::{Error, Result};
use crate::inode::{FileType, Inode, flags};
use nomount_block::ReadAt;

/// The fields of a map in the inode, which hold a short target instead.
const FAST: usize = 60;

impl<D: ReadAt> Checker<'_, D> {
    /// Gives whether the inode can be what it says.
    pub(super) fn check_special(&mut self, inode: &Inode) -> Result<bool> {
        let id = match inode.file_type() {
            Some(FileType::CharDevice) => "PR_2_BAD_CHAR_DEV",
            Some(FileType::BlockDevice) => "PR_2_BAD_BLOCK_DEV",
            Some(FileType::Fifo) => "PR_2_BAD_FIFO",
            Some(FileType::Socket) => "PR_2_BAD_SOCKET",
            Some(FileType::Symlink) => return self.check_symlink(inode),
            _ => return Ok(true),
        };
        let map = &inode.base().i_block;
        let protected = inode.has_flag(flags::IMMUTABLE | flags::APPEND) && map[16..].iter().any(|byte| *byte != 0);
        if inode.has_flag(flags::INDEX | flags::EXTENTS) || protected {
            let found = format!("flags are {:#x}", inode.flags());
            self.corrupt(id, inode.place(), found, "none of a file's or directory's");
            return Ok(false);
        }
        if inode.has_flag(flags::INLINE_DATA) {
            self.corrupt("PR_1_SPECIAL_EXTENTS_IDATA", inode.place(), "it has inline contents", "none");
        }
        if inode.size() != 0 {
            let found = format!("size is {}", inode.size());
            self.corrupt("PR_1_SET_NONZSIZE", inode.place(), found, "0");
        }
        Ok(true)
    }

    fn check_symlink(&mut self, inode: &Inode) -> Result<bool> {
        let Err(found) = self.look_at_target(inode)? else { return Ok(true) };
        let id = if inode.has_flag(flags::EXTENTS) && inode.blocks_512(self.geo) == 0 {
            "PR_1_FAST_SYMLINK_EXTENT_FL"
        } else {
            "PR_2_INVALID_SYMLINK"
        };
        self.corrupt(id, inode.place(), format!("symbolic link: {found}"), "");
        Ok(false)
    }

    fn look_at_target(&self, inode: &Inode) -> Result<Result<(), String>> {
        let size = inode.size();
        if size == 0 || inode.base().i_size_high.get() != 0 || inode.has_flag(flags::INDEX) {
            return Ok(Err(format!("size is {size}, flags are {:#x}", inode.flags())));
        }
        if inode.has_flag(flags::INLINE_DATA) {
            // Its size is held against the inline contents.
            return Ok(Ok(()));
        }
        if inode.is_fast_symlink(self.geo) {
            return Ok(compare(&inode.base().i_block, size, false));
        }
        let block = match self.fs.map_block(inode, 0) {
            Ok(mapping) => mapping.block.filter(|_| !mapping.unwritten),
            Err(error @ Error::Device(_)) => return Err(error),
            Err(_) => None,
        };
        let Some(block) = block.filter(|block| self.geo.contains(*block, 1)) else {
            return Ok(Err("its target has no block".to_owned()));
        };
        let map = &inode.base().i_block;
        let more = if inode.has_flag(flags::EXTENTS) {
            le16(map, 2) != 1 || le16(map, 6) != 0 || le16(map, 16) != 1
        } else {
            (1..FAST / 4).any(|word| le32(map, word * 4) != 0)
        };
        if more {
            return Ok(Err("it has more than one block".to_owned()));
        }
        // Past the cache, which knows metadata only: a target is written like the contents of a file.
        let mut bytes = vec![0; self.fs.block_size()];
        self.fs.read_data(block, 0, &mut bytes)?;
        Ok(compare(&bytes, size, inode.has_flag(flags::ENCRYPT)))
    }
}

/// Compares a target's length with the size.
fn compare(bytes: &[u8], size: u64, encrypted: bool) -> Result<(), String> {
    let len = if encrypted {
        usize::from(le16(bytes, 0)) + 2
    } else {
        bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())
    };
    if len >= bytes.len() {
        return Err(format!("target of {size} bytes has no end"));
    }
    if len as u64 != size {
        return Err(format!("size is {size}, and the target has {len} bytes"));
    }
    debug_assert!(bytes.len() >= FAST);
    Ok(())
}
