//! Reserving blocks for files.

use crate::error::{Error, Result};
use crate::fs::Filesystem;
use crate::geometry::FileBlock;
use crate::inode::{Inode, flags};
use crate::map::Run;
use nomount_block::WriteAt;

/// Blocks of one unwritten extent; more would only be cut again.
const MAX_PIECE: u64 = 32767;

impl<D: WriteAt> Filesystem<D> {
    /// Gives blocks to the holes in `len` bytes of a regular file from `offset` on, which read as zero until they are
    /// written. The file gets longer if it ends before (fallocate(2) without flags). A file with a block map has no
    /// such blocks and is refused.
    pub fn allocate(&mut self, ino: u32, offset: u64, len: u64) -> Result<()> {
        let mut inode = self.file_for_change(ino)?;
        if len == 0 {
            return Err(Error::Invalid("no bytes to allocate".into()));
        }
        let end = offset.checked_add(len);
        let end = end.ok_or_else(|| Error::FileTooLarge { size: u64::MAX, max: self.max_file_size(&inode) })?;
        self.check_size(&inode, end)?;
        let extents = self.geo.features.incompat(crate::features::incompat::EXTENTS);
        let can = inode.has_flag(flags::EXTENTS) || (inode.has_flag(flags::INLINE_DATA) && extents);
        if !can {
            let detail = format!("{} has a block map, which cannot hold blocks that are not written", inode.place());
            return Err(Error::Invalid(detail));
        }
        self.changing(|fs| {
            if inode.has_flag(flags::INLINE_DATA) {
                fs.move_out(&mut inode)?;
            }
            let block_size = u64::from(fs.geo.block_size);
            fs.fill_holes(&mut inode, offset / block_size, end.div_ceil(block_size))?;
            if end > inode.size() {
                fs.clean_tail(&mut inode)?;
                return fs.finish_write(inode, end);
            }
            let now = fs.options.now;
            inode.set_ctime(now);
            fs.put_inode(inode)
        })
    }

    fn fill_holes(&mut self, inode: &mut Inode, from: u64, to: u64) -> Result<()> {
        let ratio = u64::from(self.geo.cluster_ratio());
        let mut at = from;
        while at < to {
            let mapping = self.map_at(inode, at)?;
            let hole = mapping.len.min(to - at);
            if mapping.block.is_some() {
                at += hole;
                continue;
            }
            let skip = at % ratio;
            let (block, len) = match self.cluster_of(inode, at)? {
                // The rest of the cluster that the file has; nothing is written there before it is the file's own.
                Some(cluster) => (cluster + skip, hole.min(ratio - skip)),
                None => {
                    let goal = self.goal_after(inode, at as FileBlock)?;
                    // The last cluster of the hole may have been given out for what follows the hole.
                    let whole = if hole + skip > ratio { (hole + skip) / ratio * ratio } else { ratio };
                    let want = whole.min((MAX_PIECE / ratio).max(1) * ratio) as u32;
                    let (block, len) = self.alloc_run(goal, want)?;
                    self.add_blocks(inode, len.into())?;
                    (block + skip, (u64::from(len) - skip).min(hole))
                }
            };
            self.map_run(inode, Run { file_block: at as FileBlock, block, len: len as u32, unwritten: true })?;
            at += len;
        }
        Ok(())
    }
}
