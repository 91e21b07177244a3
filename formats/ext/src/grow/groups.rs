//! New groups: their bitmaps, empty inode tables and descriptors.

use super::place::{NewGroup, place};
use crate::error::Result;
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::gather::Gather;
use crate::geometry::{Geometry, GroupNr};
use crate::group::{
    BLOCK_UNINIT, INODE_UNINIT, INODE_ZEROED, bitmap_checksum, desc_checksum, pad, set_bit, split16, split32,
};
use crate::raw::GroupDesc;
use crate::zero::make_zero;
use nomount_block::WriteAt;
use std::sync::Arc;
use zerocopy::{FromZeros, IntoBytes};

/// The largest flexible group that is laid out as one: of more groups several are made.
const MAX_LOG_FLEX: u32 = 16;

/// What new groups add to the counts of the superblock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Added {
    pub free_clusters: u64,
    /// Clusters that hold metadata.
    pub overhead: u64,
}

/// Descriptors of one block that are not stored yet, from that of group `first` on.
struct Descriptors {
    first: GroupNr,
    bytes: Vec<u8>,
}

impl<D: WriteAt> Filesystem<D> {
    /// Makes the groups that the shape has and `before` had not. The shape is the new one already.
    pub(super) fn add_groups(&mut self, before: &Geometry) -> Result<Added> {
        let geo = self.geo.clone();
        let mut added = Added::default();
        let mut descriptors = Descriptors { first: before.groups, bytes: Vec::new() };
        let log = u32::from(self.state.sb.s_log_groups_per_flex);
        let together = geo.features.incompat(incompat::FLEX_BG) && log > 0;
        let size = if together { 1 << log.min(MAX_LOG_FLEX) } else { 1 };
        let mut number = before.groups;
        while number < geo.groups {
            let end = (number / size + 1).saturating_mul(size).min(geo.groups);
            let groups = place(&geo, number..end, together)?;
            self.zero_tables(&geo, &groups)?;
            let mut fresh = Gather::new(&mut self.device, geo.block_size, D::write_fresh);
            let mut ready = Vec::with_capacity(groups.len());
            for group in &groups {
                let (desc, free) = block_bitmap(&geo, group, &mut fresh)?;
                added.free_clusters += u64::from(free);
                added.overhead += u64::from(geo.group_clusters(group.number) - free);
                ready.push(desc);
            }
            for (group, desc) in groups.iter().zip(&mut ready) {
                inode_bitmap(&geo, group, desc, &mut fresh)?;
            }
            fresh.flush()?;
            for (group, desc) in groups.iter().zip(ready) {
                self.add_descriptor(before, &mut descriptors, group.number, &desc)?;
            }
            number = end;
        }
        Ok(added)
    }

    /// Makes inode tables zero, where the device does not say that they are.
    fn zero_tables(&mut self, geo: &Geometry, groups: &[NewGroup]) -> Result<()> {
        let (size, len) = (u64::from(geo.block_size), u64::from(geo.itable_blocks()));
        let mut at = 0;
        while at < groups.len() {
            let first = groups[at].inode_table;
            let count =
                (0..).zip(&groups[at..]).take_while(|(step, group)| group.inode_table == first + step * len).count();
            make_zero(&mut self.device, first * size, count as u64 * len * size)?;
            at += count;
        }
        Ok(())
    }

    /// Collects descriptors, and stores them when their block is full or was the last one.
    fn add_descriptor(
        &mut self,
        before: &Geometry,
        descriptors: &mut Descriptors,
        number: GroupNr,
        desc: &GroupDesc,
    ) -> Result<()> {
        let geo = &self.geo;
        let len = usize::from(geo.desc_size);
        let mut bytes = desc.as_bytes()[..len.min(size_of::<GroupDesc>())].to_vec();
        bytes.resize(len, 0);
        if geo.group_csum() {
            let sum = desc_checksum(geo, number, &bytes);
            bytes[0x1E..0x20].copy_from_slice(&sum.to_le_bytes());
        }
        descriptors.bytes.extend(bytes);
        if (number + 1).is_multiple_of(geo.desc_per_block()) || number + 1 == geo.groups {
            self.store_descriptors(before, descriptors)?;
            descriptors.first = number + 1;
            descriptors.bytes.clear();
        }
        Ok(())
    }

    /// Behind the old end at once; in a block that had some already beside them; else in a block of the reserve.
    fn store_descriptors(&mut self, before: &Geometry, descriptors: &Descriptors) -> Result<()> {
        let (block, offset) = self.geo.desc_place(descriptors.first);
        let bytes = &descriptors.bytes;
        if offset > 0 {
            self.block_mut(block)?[offset..offset + bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        let mut whole = bytes.clone();
        whole.resize(self.block_size(), 0);
        if block >= before.blocks_count {
            self.device.write_fresh(block * u64::from(self.geo.block_size), &whole)?;
        } else {
            self.state.staged.insert(block, Arc::new(whole), false);
        }
        Ok(())
    }
}

/// Writes a new group's block bitmap, where it does not follow from the layout. Gives the descriptor, which lacks what
/// the inode bitmap says, and the number of free clusters.
fn block_bitmap<D: WriteAt>(geo: &Geometry, group: &NewGroup, fresh: &mut Gather<'_, D>) -> Result<(GroupDesc, u32)> {
    let mut desc = GroupDesc::new_zeroed();
    split32(group.block_bitmap, &mut desc.bg_block_bitmap_lo, &mut desc.bg_block_bitmap_hi);
    split32(group.inode_bitmap, &mut desc.bg_inode_bitmap_lo, &mut desc.bg_inode_bitmap_hi);
    split32(group.inode_table, &mut desc.bg_inode_table_lo, &mut desc.bg_inode_table_hi);
    let clusters = geo.group_clusters(group.number);
    let taken = group.clusters(geo);
    let free = clusters - taken.iter().map(|range| range.end - range.start).sum::<u32>();
    split16(free, &mut desc.bg_free_blocks_count_lo, &mut desc.bg_free_blocks_count_hi);
    // The last group's bitmap ends in padding, which one that was never written does not have.
    if geo.group_csum() && !group.hosts && group.number + 1 != geo.groups {
        desc.bg_flags.set(INODE_ZEROED | BLOCK_UNINIT);
        return Ok((desc, free));
    }
    desc.bg_flags.set(INODE_ZEROED);
    let mut bits = vec![0; geo.block_size as usize];
    taken.into_iter().flatten().for_each(|index| set_bit(&mut bits, index, true));
    pad(&mut bits, clusters);
    if geo.metadata_csum() {
        let sum = bitmap_checksum(geo, &bits[..geo.clusters_per_group as usize / 8], 0x3A);
        split16(sum, &mut desc.bg_block_bitmap_csum_lo, &mut desc.bg_block_bitmap_csum_hi);
    }
    fresh.put(group.block_bitmap, &bits)?;
    Ok((desc, free))
}

/// A new group's inode bitmap, empty: written where descriptors cannot say that it was not.
fn inode_bitmap<D: WriteAt>(
    geo: &Geometry,
    group: &NewGroup,
    desc: &mut GroupDesc,
    fresh: &mut Gather<'_, D>,
) -> Result<()> {
    split16(geo.inodes_per_group, &mut desc.bg_free_inodes_count_lo, &mut desc.bg_free_inodes_count_hi);
    if geo.group_csum() {
        let flags = desc.bg_flags.get();
        desc.bg_flags.set(flags | INODE_UNINIT);
        split16(geo.inodes_per_group, &mut desc.bg_itable_unused_lo, &mut desc.bg_itable_unused_hi);
        return Ok(());
    }
    let mut bits = vec![0; geo.block_size as usize];
    pad(&mut bits, geo.inodes_per_group);
    fresh.put(group.inode_bitmap, &bits)
}
