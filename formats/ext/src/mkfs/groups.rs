//! Bitmaps and descriptors of a new filesystem.

use super::build::Build;
use super::write::Writer;
use crate::error::Result;
use crate::features::incompat;
use crate::geometry::{Geometry, GroupNr};
use crate::group::{
    BLOCK_UNINIT, INODE_UNINIT, INODE_ZEROED, bitmap_checksum, desc_checksum, pad, set_bit, split16, split32,
};
use crate::inode::ROOT_INO;
use crate::raw::GroupDesc;
use nomount_block::WriteAt;
use zerocopy::{FromZeros, IntoBytes};

/// Writes bitmaps, zeroes inode tables, and counts what is free. Returns all descriptors in whole blocks.
pub(super) fn write<D: WriteAt>(build: &mut Build<'_>, writer: &mut Writer<'_, D>) -> Result<Vec<u8>> {
    let geo = build.geo.clone();
    let desc_len = usize::from(geo.desc_size);
    let mut descriptors = vec![0; geo.desc_blocks() as usize * geo.block_size as usize];
    let (mut free_blocks, mut free_inodes) = (0, 0);
    for number in 0..geo.groups {
        let group = Group::new(build, &geo, number);
        free_blocks += u64::from(group.free_clusters) * build.ratio();
        free_inodes += u64::from(geo.inodes_per_group - group.used_inodes);
        let desc = group.write(build, &geo, writer)?;
        let at = number as usize * desc_len;
        descriptors[at..at + desc_len].copy_from_slice(&desc.as_bytes()[..desc_len]);
        if geo.group_csum() {
            let sum = desc_checksum(&geo, number, &descriptors[at..at + desc_len]);
            descriptors[at + 0x1E..at + 0x20].copy_from_slice(&sum.to_le_bytes());
        }
    }
    build.sb.s_free_inodes_count.set(free_inodes as u32);
    build.sb.s_free_blocks_count_lo.set(free_blocks as u32);
    if geo.features.incompat(incompat::BIT64) {
        build.sb.s_free_blocks_count_hi.set((free_blocks >> 32) as u32);
    }
    Ok(descriptors)
}

/// What is known of a group when all is placed.
struct Group {
    number: GroupNr,
    used_inodes: u32,
    used_dirs: u32,
    free_clusters: u32,
}

impl Group {
    fn new(build: &Build<'_>, geo: &Geometry, number: GroupNr) -> Self {
        let first = number * geo.inodes_per_group;
        let used_inodes = build.last_ino.saturating_sub(first).min(geo.inodes_per_group);
        let is_here = |ino: u32| geo.group_of_inode(ino).0 == number;
        let dirs = [ROOT_INO, super::shape::FIRST_INO];
        let start = geo.group_start(number);
        let len = u64::from(geo.group_blocks(number));
        let taken = build.placement.space.count_taken(start, start + len);
        Self {
            number,
            used_inodes,
            used_dirs: dirs.into_iter().filter(|ino| is_here(*ino)).count() as u32,
            free_clusters: ((len - taken) / build.ratio()) as u32,
        }
    }

    fn write<D: WriteAt>(&self, build: &Build<'_>, geo: &Geometry, writer: &mut Writer<'_, D>) -> Result<GroupDesc> {
        let tables = build.placement.tables[self.number as usize];
        let mut desc = GroupDesc::new_zeroed();
        // Without checksums the flags mean nothing, but mke2fs sets this one all the same.
        let mut flags = if build.options.lazy_tables && geo.group_csum() { 0 } else { INODE_ZEROED };
        if geo.group_csum() {
            let no_blocks = if build.placement.touched[self.number as usize] { 0 } else { BLOCK_UNINIT };
            let no_inodes = if self.used_inodes == 0 { INODE_UNINIT } else { 0 };
            flags |= no_blocks | no_inodes;
            let unused = geo.inodes_per_group - self.used_inodes;
            split16(unused, &mut desc.bg_itable_unused_lo, &mut desc.bg_itable_unused_hi);
        }
        desc.bg_flags.set(flags);
        split32(tables.block_bitmap, &mut desc.bg_block_bitmap_lo, &mut desc.bg_block_bitmap_hi);
        split32(tables.inode_bitmap, &mut desc.bg_inode_bitmap_lo, &mut desc.bg_inode_bitmap_hi);
        split32(tables.inode_table, &mut desc.bg_inode_table_lo, &mut desc.bg_inode_table_hi);
        split16(self.free_clusters, &mut desc.bg_free_blocks_count_lo, &mut desc.bg_free_blocks_count_hi);
        let free_inodes = geo.inodes_per_group - self.used_inodes;
        split16(free_inodes, &mut desc.bg_free_inodes_count_lo, &mut desc.bg_free_inodes_count_hi);
        split16(self.used_dirs, &mut desc.bg_used_dirs_count_lo, &mut desc.bg_used_dirs_count_hi);
        if flags & BLOCK_UNINIT == 0 {
            let bits = self.block_bitmap(build, geo);
            if geo.metadata_csum() {
                let sum = bitmap_checksum(geo, &bits[..geo.clusters_per_group as usize / 8], 0x3A);
                split16(sum, &mut desc.bg_block_bitmap_csum_lo, &mut desc.bg_block_bitmap_csum_hi);
            }
            writer.put(tables.block_bitmap, &bits)?;
        }
        if flags & INODE_UNINIT == 0 {
            let mut bits = vec![0; geo.block_size as usize];
            (0..self.used_inodes).for_each(|index| set_bit(&mut bits, index, true));
            pad(&mut bits, geo.inodes_per_group);
            if geo.metadata_csum() {
                let sum = bitmap_checksum(geo, &bits[..geo.inodes_per_group as usize / 8], 0x3C);
                split16(sum, &mut desc.bg_inode_bitmap_csum_lo, &mut desc.bg_inode_bitmap_csum_hi);
            }
            writer.put(tables.inode_bitmap, &bits)?;
        }
        if !(build.options.lazy_tables && geo.group_csum()) {
            writer.zero(tables.inode_table, geo.itable_blocks().into())?;
        }
        Ok(desc)
    }

    /// One bit a cluster; those after the group's last are set.
    fn block_bitmap(&self, build: &Build<'_>, geo: &Geometry) -> Vec<u8> {
        let start = geo.group_start(self.number);
        let len = u64::from(geo.group_blocks(self.number));
        let mut bits = vec![0; geo.block_size as usize];
        for (from, to) in build.placement.space.taken_in(start, start + len) {
            let (from, to) = ((from - start) / build.ratio(), (to - start).div_ceil(build.ratio()));
            (from..to).for_each(|index| set_bit(&mut bits, index as u32, true));
        }
        pad(&mut bits, len.div_ceil(build.ratio()) as u32);
        bits
    }
}
