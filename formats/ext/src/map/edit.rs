//! Mapping and unmapping blocks of a file, with the inode's count of them.

use super::Run;
use super::indirect::BLOCK_MAP_END;
use crate::error::{Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::{Inode, flags};
use nomount_block::WriteAt;

/// The end of what any file can map: file blocks are numbered with 32 bits.
pub(crate) const MAP_END: u64 = 1 << 32;

impl<D: WriteAt> Filesystem<D> {
    /// Gives an inode that has no contents the empty map of its kind.
    pub(crate) fn init_map(&mut self, inode: &mut Inode) -> Result<()> {
        inode.base_mut().i_block.fill(0);
        if inode.has_flag(flags::EXTENTS) {
            self.store_extents(inode, &[], 0)?;
        }
        Ok(())
    }

    /// Changes how many blocks an inode counts.
    pub(crate) fn add_blocks(&self, inode: &mut Inode, change: i64) -> Result<()> {
        let blocks = inode.blocks_512(&self.geo) / u64::from(self.geo.block_size / 512);
        inode.set_blocks(&self.geo, blocks.saturating_add_signed(change))
    }

    /// Frees a block of metadata that belongs to one inode.
    pub(crate) fn free_node(&mut self, block: BlockNr) -> Result<()> {
        self.free_blocks(block, 1)?;
        self.state.staged.remove(block);
        Ok(())
    }

    /// Maps blocks that were just allocated, where the file has a hole. What they take of the filesystem is counted
    /// by the caller, what the map takes here.
    pub(crate) fn map_run(&mut self, inode: &mut Inode, run: Run) -> Result<()> {
        let nodes = if inode.has_flag(flags::EXTENTS) {
            self.insert_extent(inode, run)?
        } else {
            self.insert_pointers(inode, run)?
        };
        self.add_blocks(inode, nodes * i64::from(self.geo.cluster_ratio()))
    }

    /// Unmaps file blocks `from..to` and frees them.
    pub(crate) fn unmap(&mut self, inode: &mut Inode, from: u64, to: u64) -> Result<()> {
        let to = to.min(MAP_END);
        let mut at = from;
        while at < to {
            let (removed, next) = self.take_out(inode, at, to)?;
            let freed = self.release_runs(inode, &removed)?;
            self.add_blocks(inode, -(freed as i64))?;
            at = next;
        }
        Ok(())
    }

    /// Unmaps file blocks from `from` to `to`, or to where the returned number says, without freeing them.
    pub(crate) fn take_out(&mut self, inode: &mut Inode, from: u64, to: u64) -> Result<(Vec<Run>, u64)> {
        let (removed, next, nodes) = if inode.has_flag(flags::EXTENTS) {
            self.remove_extents(inode, from, to)?
        } else {
            self.remove_pointers(inode, from, to)?
        };
        self.add_blocks(inode, nodes * i64::from(self.geo.cluster_ratio()))?;
        Ok((removed, next))
    }

    /// Frees blocks that were just unmapped. A cluster goes when none of its blocks is mapped any more. Returns how
    /// many blocks were freed.
    fn release_runs(&mut self, inode: &Inode, runs: &[Run]) -> Result<u64> {
        let ratio = u64::from(self.geo.cluster_ratio());
        let mut freed = 0;
        let mut last = None;
        for run in runs {
            if ratio == 1 {
                self.free_blocks(run.block, run.len.into())?;
                freed += u64::from(run.len);
                continue;
            }
            let start = u64::from(run.file_block);
            if start % ratio != run.block % ratio {
                let detail = format!("file block {start} is at another place of its cluster than block {}", run.block);
                return Err(corrupt(inode.place(), detail));
            }
            for cluster in start / ratio..(start + u64::from(run.len)).div_ceil(ratio) {
                let whole = cluster * ratio >= start && (cluster + 1) * ratio <= start + u64::from(run.len);
                if last == Some(cluster) || (!whole && self.cluster_of(inode, cluster * ratio)?.is_some()) {
                    continue;
                }
                last = Some(cluster);
                let inside = (cluster * ratio).max(start);
                self.free_blocks(run.block + (inside - start), 1)?;
                freed += ratio;
            }
        }
        Ok(freed)
    }

    /// Allocates one block at the end of a file, or anywhere in a hole, and maps it: for contents that are metadata,
    /// as of directories. Its number; what it holds is to be written with [`Filesystem::block_zeroed`].
    pub(crate) fn append_block(&mut self, inode: &mut Inode, file_block: FileBlock) -> Result<BlockNr> {
        let skip = u64::from(file_block % self.geo.cluster_ratio());
        let block = match self.cluster_of(inode, file_block.into())? {
            Some(cluster) => cluster + skip,
            None => {
                let goal = self.goal_after(inode, file_block)?;
                let (block, len) = self.alloc_run_below(goal, 1, self.end_for(inode))?;
                self.add_blocks(inode, len.into())?;
                block + skip
            }
        };
        self.map_run(inode, Run { file_block, block, len: 1, unwritten: false })?;
        Ok(block)
    }

    /// The first block that a file cannot use.
    pub(crate) fn end_for(&self, inode: &Inode) -> BlockNr {
        if inode.has_flag(flags::EXTENTS) { self.geo.blocks_count } else { self.geo.blocks_count.min(BLOCK_MAP_END) }
    }

    /// Where the block of `file_block` should go: after the one of the file block before it.
    pub(crate) fn goal_after(&self, inode: &Inode, file_block: FileBlock) -> Result<BlockNr> {
        let before = match file_block.checked_sub(1) {
            Some(before) => self.map_block(inode, before)?.block,
            None => None,
        };
        Ok(before.map_or_else(|| self.goal_of(inode.ino()), |block| block + 1))
    }
}
