//! Copies of the superblock and of descriptors, after a change of the shape. They are no part of a transaction: nothing
//! reads them before the first ones are lost.

use crate::error::Result;
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, Geometry, GroupNr, STATE_VALID, SUPERBLOCK_LEN, superblock_checksum};
use crate::raw::Superblock;
use nomount_block::WriteAt;
use std::ops::Range;
use zerocopy::IntoBytes;

/// Descriptors are copied in pieces of so many bytes.
const PIECE: usize = 1 << 20;

impl<D: WriteAt> Filesystem<D> {
    /// The shape that a superblock tells of, where it is another one than now.
    pub(crate) fn shape_before(&self, sb: &Superblock) -> Option<Geometry> {
        let mut before = self.geo.clone();
        before.follow(sb);
        (before.blocks_count != self.geo.blocks_count).then_some(before)
    }

    /// Copies in groups that `before` had not: where nothing committed lives.
    pub(crate) fn write_new_copies(&mut self, before: &Geometry) -> Result<()> {
        self.write_superblocks(before.groups..self.geo.groups, true)?;
        self.write_plain_descriptors(before.groups..self.geo.groups, 0, true)?;
        self.write_spread_descriptors(before.groups..self.geo.groups, before, true)
    }

    /// Copies in groups that `before` had: the superblock, and the descriptors of groups that are new or longer.
    pub(crate) fn write_old_copies(&mut self, before: &Geometry) -> Result<()> {
        let first_changed = (before.groups - 1) / before.desc_per_block();
        self.write_superblocks(1..before.groups, false)?;
        self.write_plain_descriptors(1..before.groups, first_changed, false)?;
        self.write_spread_descriptors(1..before.groups, before, false)
    }

    fn write_copy(&mut self, block: BlockNr, bytes: &[u8], fresh: bool) -> Result<()> {
        let offset = block * u64::from(self.geo.block_size);
        if fresh {
            self.device.write_fresh(offset, bytes)?
        } else {
            self.device.write_at(offset, bytes)?
        }
        Ok(())
    }

    /// Not marked as clean: what was restored from one must be checked.
    fn write_superblocks(&mut self, groups: Range<GroupNr>, fresh: bool) -> Result<()> {
        let mut sb = self.state.sb.clone();
        sb.s_state.set(sb.s_state.get() & !STATE_VALID);
        sb.s_feature_incompat.set(sb.s_feature_incompat.get() & !incompat::RECOVER);
        for group in groups.filter(|group| *group > 0) {
            if !self.geo.has_super(group) {
                continue;
            }
            sb.s_block_group_nr.set(group.min(u16::MAX.into()) as u16);
            if self.geo.metadata_csum() {
                let sum = superblock_checksum(&sb);
                sb.s_checksum.set(sum);
            }
            let mut bytes = sb.as_bytes().to_vec();
            if fresh {
                bytes.resize(self.block_size().max(SUPERBLOCK_LEN), 0);
            }
            self.write_copy(self.geo.group_start(group), &bytes, fresh)?;
        }
        Ok(())
    }

    /// Descriptors behind copies of the superblock, from block `first` of them on.
    fn write_plain_descriptors(&mut self, groups: Range<GroupNr>, first: u32, fresh: bool) -> Result<()> {
        let geo = self.geo.clone();
        let end = geo.plain_desc_blocks();
        let meta_bg = geo.features.incompat(incompat::META_BG);
        let plain = |group: &GroupNr| !meta_bg || group / geo.desc_per_block() < geo.first_meta_bg;
        let holders: Vec<GroupNr> =
            groups.filter(|group| *group > 0 && geo.has_super(*group)).filter(|group| plain(group)).collect();
        let step = (PIECE / self.block_size()).max(1) as u32;
        let mut at = first;
        while at < end && !holders.is_empty() {
            let mut piece = Vec::new();
            for index in at..end.min(at + step) {
                piece.extend_from_slice(&self.descriptors(index)?);
            }
            for &group in &holders {
                self.write_copy(geo.group_start(group) + 1 + u64::from(at), &piece, fresh)?;
            }
            at = end.min(at + step);
        }
        Ok(())
    }

    /// Descriptors of meta_bg: copies in the second and the last of the groups that they describe.
    fn write_spread_descriptors(&mut self, groups: Range<GroupNr>, before: &Geometry, fresh: bool) -> Result<()> {
        let geo = self.geo.clone();
        if !geo.features.incompat(incompat::META_BG) {
            return Ok(());
        }
        let per_block = geo.desc_per_block();
        for index in geo.first_meta_bg.max((before.groups - 1) / per_block)..geo.desc_blocks() {
            let mut holders = vec![1, per_block - 1];
            holders.dedup();
            for group in holders.into_iter().filter(|at| (1..per_block).contains(at)).map(|at| index * per_block + at) {
                if groups.contains(&group) {
                    let block = geo.group_start(group) + u64::from(geo.has_super(group));
                    let bytes = self.descriptors(index)?;
                    self.write_copy(block, &bytes, fresh)?;
                }
            }
        }
        Ok(())
    }

    /// A block of descriptors as the change leaves it.
    fn descriptors(&self, index: u32) -> Result<std::sync::Arc<Vec<u8>>> {
        self.read_block(self.geo.desc_place(index * self.geo.desc_per_block()).0)
    }
}
