//! How small a filesystem can surely become.

use super::plan::MAX_GROUPS;
use crate::error::{Error, Result};
use crate::features::{compat, incompat};
use crate::fs::Filesystem;
use crate::geometry::Geometry;
use nomount_block::ReadAt;

/// Blocks that the last group has at least, besides metadata.
const LAST_GROUP_ROOM: u64 = 50;
/// One block in so many of those that go is kept for extent trees that grow when their contents move.
const EXTENT_SHARE: u64 = 500;
/// Blocks on top, for what is counted differently between versions of resize2fs.
const CUSHION: u64 = 64;

/// How resize2fs estimates what some groups can hold.
struct Estimate<'a> {
    geo: &'a Geometry,
    /// Groups of a flexible group, 1 without.
    flex: u64,
    /// Groups that are kept.
    groups: u64,
    /// Of so many groups the tables are counted: the flexible group may be filled up with them.
    reach: u64,
    /// Blocks for contents in the groups that are kept.
    room: u64,
    /// Of these, in groups before the last, as far as they are counted.
    before_last: u64,
}

impl<'a> Estimate<'a> {
    fn new(geo: &'a Geometry, flex: u64, groups: u64) -> Self {
        let mut estimate = Self { geo, flex, groups, reach: groups, room: 0, before_last: 0 };
        estimate.reach = estimate.end_of_flex(groups);
        let overheads: u64 = (0..estimate.reach).map(|group| estimate.overhead(group)).sum();
        estimate.room = (groups * u64::from(geo.blocks_per_group)).saturating_sub(overheads);
        estimate.before_last = (0..groups - 1).map(|group| estimate.contents(group)).sum();
        estimate
    }

    /// Blocks of a group that are of no file; all descriptors of the present size are among them.
    fn overhead(&self, group: u64) -> u64 {
        2 + u64::from(self.geo.itable_blocks()) + u64::from(self.geo.group_overhead(group as u32))
    }

    fn contents(&self, group: u64) -> u64 {
        u64::from(self.geo.blocks_per_group).saturating_sub(self.overhead(group))
    }

    fn end_of_flex(&self, groups: u64) -> u64 {
        match self.flex {
            1 => groups.min(self.geo.groups.into()),
            flex => ((groups / flex + 1) * flex).min(self.geo.groups.into()),
        }
    }

    /// Adds the groups that `data` blocks lack, not counting what metadata takes of these.
    fn widen(&mut self, data: u64) {
        let per_group = u64::from(self.geo.blocks_per_group);
        let more = (data - self.room).div_ceil(per_group);
        self.before_last += self.contents(self.groups - 1);
        self.room += more * per_group;
        self.groups += more;
        let counted = self.reach;
        if self.flex == 1 || self.groups > self.reach {
            self.reach = self.end_of_flex(self.groups);
        }
        for group in counted..self.reach {
            if group + 1 < self.groups {
                self.before_last += self.contents(group);
            }
            self.room = self.room.saturating_sub(self.overhead(group));
        }
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// A number of blocks to which resize2fs shrinks the filesystem without being forced to: a guarantee, not the
    /// smallest size possible. It is never more than the filesystem has.
    ///
    /// What is in use besides the metadata of groups goes into groups from the first on, of which there are enough for
    /// the inodes in use; tables of a whole flexible group are counted with the last of them, and with extents a
    /// five-hundredth of the blocks that go. That is the estimate of resize2fs 1.47, which refuses less, and a few blocks
    /// more. Reads the superblock and all descriptors.
    pub fn minimum_blocks(&self) -> Result<u64> {
        let geo = &self.geo;
        if geo.features.compat(compat::STABLE_INODES) {
            return Ok(geo.blocks_count);
        }
        if u64::from(geo.groups) > MAX_GROUPS {
            return Err(Error::Limit(format!("{} block groups, of which {MAX_GROUPS} can be measured", geo.groups)));
        }
        let log = u32::from(self.state.sb.s_log_groups_per_flex).min(31);
        let flex = if geo.features.incompat(incompat::FLEX_BG) { 1u64 << log } else { 1 };
        let inodes = u64::from(geo.inodes_count.saturating_sub(self.free_inodes_count()));
        let for_inodes = inodes.div_ceil(geo.inodes_per_group.into()).clamp(1, geo.groups.into());
        let mut estimate = Estimate::new(geo, flex, for_inodes);
        let mut data = geo.blocks_count;
        for number in 0..geo.groups {
            // Clusters, where there are some, are counted like blocks.
            let free = u64::from(self.group(number)?.free_blocks);
            data = data.saturating_sub(free + estimate.overhead(number.into()));
        }
        while data > estimate.room && estimate.groups < u64::from(geo.groups) {
            estimate.widen(data);
        }
        if estimate.groups >= u64::from(geo.groups) {
            return Ok(geo.blocks_count);
        }
        let last = estimate.groups - 1;
        let first_counted = if flex > 1 && last < flex { 0 } else { last };
        let tables: u64 = (first_counted..estimate.reach).map(|group| estimate.overhead(group)).sum();
        let contents = data.saturating_sub(estimate.before_last).max(LAST_GROUP_ROOM);
        let ratio = u64::from(geo.cluster_ratio());
        let clusters = if ratio > 1 { 2 * ratio } else { 0 };
        let needed = geo.group_start(last as u32) + tables + contents + clusters + CUSHION;
        let table_end = self.group(last as u32)?.inode_table + u64::from(geo.itable_blocks());
        let mut blocks = needed.max(table_end).min(geo.blocks_count);
        if geo.features.incompat(incompat::EXTENTS) {
            blocks += (geo.blocks_count - blocks).div_ceil(EXTENT_SHARE);
        }
        Ok(blocks.next_multiple_of(ratio).min(geo.blocks_count))
    }
}
