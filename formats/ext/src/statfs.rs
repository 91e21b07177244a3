//! How full the filesystem is, counted as statfs(2) counts on a mounted one.

use crate::error::Result;
use crate::features::{compat, incompat, ro_compat};
use crate::fs::Filesystem;
use nomount_block::ReadAt;

/// Clusters that a mount keeps for extent trees to grow into, at most (ext4_set_resv_clusters).
const MAX_MOUNT_RESERVE: u64 = 4096;

/// What statfs(2) says of a mounted filesystem. Blocks are of `block_size` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statfs {
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks without the filesystem's own: tables, bitmaps, copies of the superblock, journal (f_blocks).
    pub blocks: u64,
    /// Blocks that are free (f_bfree).
    pub free_blocks: u64,
    /// Blocks that are free for others than root: without the reserve (f_bavail).
    pub available_blocks: u64,
    /// Inodes (f_files).
    pub inodes: u64,
    /// Inodes that are free (f_ffree).
    pub free_inodes: u64,
}

impl<D: ReadAt> Filesystem<D> {
    /// Counts from the descriptors of all groups, as a mount does: the superblock's own counts may be older.
    ///
    /// # Errors
    ///
    /// A descriptor that cannot be read or is corrupt.
    pub fn statfs(&self) -> Result<Statfs> {
        let (geo, sb) = (&self.geo, &self.state.sb);
        let ratio = u64::from(geo.cluster_ratio());
        let (mut free_clusters, mut free_inodes) = (0, 0);
        for number in 0..geo.groups {
            let group = self.group(number)?;
            free_clusters += u64::from(group.free_blocks);
            free_inodes += u64::from(group.free_inodes);
        }
        let blocks = geo.blocks_count.saturating_sub(self.overhead_clusters()?.saturating_mul(ratio));
        let free_blocks = free_clusters * ratio;
        let hi = if geo.features.incompat(incompat::BIT64) { sb.s_r_blocks_count_hi.get() } else { 0 };
        let for_root = u64::from(hi) << 32 | u64::from(sb.s_r_blocks_count_lo.get());
        let for_extents = match geo.features.incompat(incompat::EXTENTS) {
            true => (geo.blocks_count / ratio / 50).min(MAX_MOUNT_RESERVE) * ratio,
            false => 0,
        };
        Ok(Statfs {
            block_size: geo.block_size,
            blocks,
            free_blocks,
            available_blocks: free_blocks.saturating_sub(for_root.saturating_add(for_extents)),
            inodes: geo.inodes_count.into(),
            free_inodes,
        })
    }

    /// Clusters that no file can ever have (ext4_calculate_overhead).
    fn overhead_clusters(&self) -> Result<u64> {
        let geo = &self.geo;
        let ratio = u64::from(geo.cluster_ratio());
        let bigalloc = geo.features.ro_compat(ro_compat::BIGALLOC);
        // Counting clusters means reading every group, so there the superblock is believed, unless it cannot be.
        let stored = u64::from(self.state.sb.s_overhead_blocks.get());
        if bigalloc && stored != 0 && stored <= geo.blocks_count {
            return Ok(stored);
        }
        let mut clusters = geo.first_data_block / ratio;
        for number in 0..geo.groups {
            clusters += if bigalloc {
                self.metadata_inside(number)?.iter().map(|(_, len)| u64::from(*len)).sum()
            } else {
                u64::from(geo.group_overhead(number)) + u64::from(geo.itable_blocks()) + 2
            };
        }
        let journal = self.journal.as_ref().filter(|_| geo.features.compat(compat::HAS_JOURNAL));
        Ok(clusters + journal.map_or(0, |journal| u64::from(journal.sb.s_maxlen.get()).div_ceil(ratio)))
    }
}
