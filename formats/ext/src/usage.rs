//! Which blocks are in use, for who works on the device below.

use crate::error::Result;
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::group::bit;
use nomount_block::ReadAt;

/// The use of the blocks of one group.
#[derive(Debug, Clone)]
pub struct BlockUse {
    start: BlockNr,
    end: BlockNr,
    cluster_ratio: u32,
    bits: Vec<u8>,
}

impl BlockUse {
    /// Whether the block is one of this group.
    pub fn covers(&self, block: BlockNr) -> bool {
        (self.start..self.end).contains(&block)
    }

    /// Whether a block of this group belongs to a file or to metadata. With bigalloc its whole cluster counts.
    pub fn is_used(&self, block: BlockNr) -> bool {
        bit(&self.bits, ((block - self.start) / u64::from(self.cluster_ratio)) as u32)
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// Which blocks of the group that holds `block` are in use, from its verified bitmap; none outside all groups.
    pub fn block_use(&self, block: BlockNr) -> Result<Option<BlockUse>> {
        if !(self.geo.first_data_block..self.geo.blocks_count).contains(&block) {
            return Ok(None);
        }
        let (group, _) = self.geo.bit_of_block(block);
        let bits = self.load_block_bitmap(group, &self.metadata_inside(group)?)?;
        let start = self.geo.group_start(group);
        let clusters = u64::from(self.geo.group_clusters(group));
        let end = start + clusters * u64::from(self.geo.cluster_ratio());
        Ok(Some(BlockUse { start, end, cluster_ratio: self.geo.cluster_ratio(), bits }))
    }
}
