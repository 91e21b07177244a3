//! The change itself: from a consistent filesystem to a larger one.

use super::groups::Added;
use super::plan::Plan;
use crate::error::Result;
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::geometry::{Geometry, GroupNr};
use crate::raw::Superblock;
use nomount_block::WriteAt;
use std::sync::Arc;

fn set_reserved(sb: &mut Superblock, count: u64, bit64: bool) {
    sb.s_r_blocks_count_lo.set(count as u32);
    if bit64 {
        sb.s_r_blocks_count_hi.set((count >> 32) as u32);
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Brings the filesystem to the shape that is planned.
    pub(super) fn grow_to(&mut self, plan: &Plan) -> Result<()> {
        let (before, next) = (self.geo.clone(), &plan.to);
        let more_copies = (before.groups..next.groups).any(|group| next.has_super(group));
        let reserve_changes = more_copies
            || before.backup_bgs != next.backup_bgs
            || before.reserved_gdt_blocks != next.reserved_gdt_blocks
            || before.features != next.features;
        let reserve = if reserve_changes { self.load_reserve()? } else { None };
        let opened = self.extend_last_group(next)?;
        let deserted: Vec<GroupNr> =
            (1..before.groups).filter(|group| before.has_super(*group) && !next.has_super(*group)).collect();
        for &number in &deserted {
            self.block_bits(number)?;
        }
        self.take_shape(plan);
        let Added { free_clusters, overhead } = self.add_groups(&before)?;
        // What was read before may have been behind the end.
        self.clear_cache();
        let mut freed = 0;
        for number in deserted {
            freed += self.free_copies(&before, number)?;
        }
        if let Some(reserve) = reserve {
            self.update_reserve(&before, reserve)?;
        }
        let clusters = free_clusters + u64::from(opened) + u64::from(freed);
        let ratio = u64::from(self.geo.cluster_ratio());
        self.count_free_blocks((clusters * ratio) as i64);
        let sb = &mut self.state.sb;
        let known = sb.s_overhead_blocks.get();
        if known != 0 {
            // 0 is "not known", which a kernel counts for itself.
            let sum = (u64::from(known) + overhead).saturating_sub(freed.into());
            sb.s_overhead_blocks.set(u32::try_from(sum).unwrap_or(0));
        }
        self.full_groups.clear();
        Ok(())
    }

    /// Makes the group that was the last longer. Gives how many clusters it got.
    fn extend_last_group(&mut self, next: &Geometry) -> Result<u32> {
        let number = self.geo.groups - 1;
        let (from, to) = (self.geo.group_clusters(number), next.group_clusters(number));
        if from == to {
            return Ok(0);
        }
        self.block_bits(number)?.open(from..to);
        let state = self.group_mut(number)?;
        state.group.free_blocks += to - from;
        state.longest = u32::MAX;
        Ok(to - from)
    }

    /// The superblock and the shape, but for what is free.
    fn take_shape(&mut self, plan: &Plan) {
        let next = &plan.to;
        let new_groups = next.groups - self.geo.groups;
        let free_inodes = self.free_inodes_count().saturating_add(new_groups * next.inodes_per_group);
        let bit64 = next.features.incompat(incompat::BIT64);
        // As many of the whole as before.
        let reserved = u128::from(plan.reserved_blocks) * u128::from(next.blocks_count);
        let reserved = (reserved / u128::from(plan.from.blocks_count)) as u64;
        let sb = &mut self.state.sb;
        sb.s_blocks_count_lo.set(next.blocks_count as u32);
        if bit64 {
            sb.s_blocks_count_hi.set((next.blocks_count >> 32) as u32);
        }
        set_reserved(sb, reserved, bit64);
        sb.s_inodes_count.set(next.inodes_count);
        sb.s_free_inodes_count.set(free_inodes);
        sb.s_feature_compat.set(next.features.compat);
        sb.s_feature_incompat.set(next.features.incompat);
        sb.s_first_meta_bg.set(next.first_meta_bg);
        sb.s_reserved_gdt_blocks.set(next.reserved_gdt_blocks as u16);
        for (word, group) in sb.s_backup_bgs.iter_mut().zip(next.backup_bgs) {
            word.set(group);
        }
        self.geo.follow(&self.state.sb);
    }

    /// Frees the copies of superblock and descriptors in a group that has none any more, and whose bitmap is loaded.
    /// Gives how many clusters that were.
    fn free_copies(&mut self, before: &Geometry, number: GroupNr) -> Result<u32> {
        let metadata = self.metadata_inside(number)?;
        let clusters = before.group_overhead(number).div_ceil(before.cluster_ratio());
        let other = |index: &u32| metadata.iter().any(|(at, len)| (*at..at + len).contains(index));
        let unused: Vec<u32> = (0..clusters).filter(|index| !other(index)).collect();
        let state = self.group_mut(number)?;
        let bits = state.blocks.as_mut().expect("the caller loaded it");
        for &index in &unused {
            bits.give(index, true);
        }
        state.group.free_blocks += unused.len() as u32;
        state.longest = u32::MAX;
        state.metadata = Arc::new(metadata);
        Ok(unused.len() as u32)
    }
}
