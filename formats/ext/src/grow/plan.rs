//! How a filesystem will look, before anything is touched.

use super::Grown;
use crate::error::{Error, Result, corrupt};
use crate::features::{compat, incompat};
use crate::fs::Filesystem;
use crate::geometry::{Geometry, GroupNr};
use nomount_block::ReadAt;

/// More groups than this are neither made nor measured, so that memory and time have a bound: 512 TiB of 4 KiB blocks.
pub(super) const MAX_GROUPS: u64 = 1 << 22;
/// A last group with fewer blocks than its tables and this many is left out.
const LAST_GROUP_ROOM: u64 = 50;
/// Blocks that are staged besides those of the reserve: bitmap and descriptor of the last group, bitmap and descriptor of
/// the group that loses its copies, two levels of the resize inode, and the superblock.
const FIXED_BLOCKS: usize = 7;

/// From one shape to a larger one.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The shape before.
    pub from: Geometry,
    /// Blocks reserved for root before.
    pub reserved_blocks: u64,
    /// The shape after.
    pub to: Geometry,
    notes: Vec<String>,
}

impl Plan {
    pub fn new<D: ReadAt>(fs: &Filesystem<D>, wanted: u64) -> Result<Self> {
        let from = fs.geo.clone();
        check_reserve(&from)?;
        if wanted < from.blocks_count {
            return Err(Error::CannotShrink { blocks: from.blocks_count, wanted });
        }
        let room = fs.device.len() / u64::from(from.block_size);
        if wanted > room {
            return Err(Error::Invalid(format!("{wanted} blocks wanted, the device has room for {room}")));
        }
        let sb = &fs.state.sb;
        let hi = if from.features.incompat(incompat::BIT64) { sb.s_r_blocks_count_hi.get() } else { 0 };
        let reserved_blocks = u64::from(hi) << 32 | u64::from(sb.s_r_blocks_count_lo.get());
        let mut plan = Self { to: from.clone(), from, reserved_blocks, notes: Vec::new() };
        let ratio = u64::from(plan.from.cluster_ratio());
        plan.set_end((wanted / ratio * ratio).max(plan.from.blocks_count))?;
        plan.check_reach()?;
        let left = wanted - plan.to.blocks_count;
        if left > 0 {
            plan.notes.push(format!("{left} blocks at the end are too few to be used"));
        }
        if plan.converts() {
            plan.notes.push("feature meta_bg was turned on, which old versions of GRUB cannot read".into());
        }
        Ok(plan)
    }

    /// The shape that ends at `blocks`, or before, where the last group would be too short.
    fn set_end(&mut self, blocks: u64) -> Result<()> {
        let from = &self.from;
        if !from.features.incompat(incompat::BIT64) && blocks > u64::from(u32::MAX) {
            let most = u32::MAX;
            return Err(Error::Limit(format!("{blocks} blocks: without feature 64bit {most} can be counted")));
        }
        let per_group = u64::from(from.blocks_per_group);
        let data_blocks = blocks - from.first_data_block;
        let groups = data_blocks.div_ceil(per_group);
        let most = (u64::from(u32::MAX) / u64::from(from.inodes_per_group)).min(MAX_GROUPS);
        if groups > most {
            let blocks = most * per_group + from.first_data_block;
            return Err(Error::Limit(format!(
                "{groups} block groups: at most {most}, which are {blocks} blocks, with {} inodes each",
                from.inodes_per_group
            )));
        }
        let groups = groups as GroupNr;
        let mut to = self.shape(groups, blocks, from.backup_bgs);
        to.backup_bgs = moved_backups(from, &to);
        self.to = to;
        let rest = data_blocks % per_group;
        if groups > from.groups && rest > 0 {
            let last = groups - 1;
            let own = 2 + u64::from(from.itable_blocks()) + u64::from(self.to.group_overhead(last));
            if rest < own + LAST_GROUP_ROOM {
                return self.set_end(blocks - rest);
            }
        }
        Ok(())
    }

    /// What of 32 bits the resize inode stands in the way of.
    fn check_reach(&self) -> Result<()> {
        let to = &self.to;
        if to.features.compat(compat::RESIZE_INODE) && to.blocks_count > u64::from(u32::MAX) {
            return Err(Error::CannotGrow("feature resize_inode reaches no further than 2^32 blocks".into()));
        }
        let slots = to.block_size as usize / 4;
        let copies = (1..to.groups).filter(|group| to.has_super(*group)).count();
        if to.reserved_gdt_blocks > 0 && copies > slots {
            return Err(Error::CannotGrow(format!(
                "the resize inode can list {slots} copies of a reserved block, there would be {copies}"
            )));
        }
        Ok(())
    }

    /// The shape with so many groups. The reserve is used while it lasts; then descriptors go with their groups.
    fn shape(&self, groups: GroupNr, blocks: u64, backup_bgs: [u32; 2]) -> Geometry {
        let mut geo = self.from.clone();
        geo.groups = groups;
        geo.blocks_count = blocks;
        geo.inodes_count = groups * geo.inodes_per_group;
        geo.backup_bgs = backup_bgs;
        if geo.features.incompat(incompat::META_BG) {
            return geo;
        }
        let (wanted, most) = (geo.desc_blocks(), self.from.desc_blocks() + self.from.reserved_gdt_blocks);
        if wanted > most {
            geo.features.incompat |= incompat::META_BG;
            geo.features.compat &= !compat::RESIZE_INODE;
            geo.first_meta_bg = most;
            geo.reserved_gdt_blocks = 0;
        } else {
            geo.reserved_gdt_blocks = most - wanted;
        }
        geo
    }

    /// Whether feature meta_bg is turned on.
    fn converts(&self) -> bool {
        self.to.features.incompat(incompat::META_BG) && !self.from.features.incompat(incompat::META_BG)
    }

    /// Blocks that need protection, at most: of the reserve those that become descriptors, and where a copy comes or goes
    /// all others, whose lists name it.
    pub fn protected(&self) -> usize {
        let (from, to) = (&self.from, &self.to);
        let more = (from.groups..to.groups).any(|group| to.has_super(group));
        let listed = if more || from.backup_bgs != to.backup_bgs { 0 } else { to.reserved_gdt_blocks };
        FIXED_BLOCKS + (from.reserved_gdt_blocks - listed) as usize
    }

    pub fn summary(&self) -> Grown {
        let (from, to) = (&self.from, &self.to);
        Grown {
            from_blocks: from.blocks_count,
            to_blocks: to.blocks_count,
            groups_added: to.groups - from.groups,
            gdt_blocks_added: to.desc_blocks() - from.desc_blocks(),
            reserved_gdt_left: to.reserved_gdt_blocks,
            meta_bg: self.converts(),
            notes: self.notes.clone(),
        }
    }
}

/// The features around the reserve must fit together.
fn check_reserve(geo: &Geometry) -> Result<()> {
    let resize_inode = geo.features.compat(compat::RESIZE_INODE);
    if resize_inode && geo.features.incompat(incompat::META_BG) {
        return Err(corrupt("superblock", "has resize_inode and meta_bg at once"));
    }
    if !resize_inode && geo.reserved_gdt_blocks > 0 {
        let found = format!("s_reserved_gdt_blocks is {} without resize_inode", geo.reserved_gdt_blocks);
        return Err(corrupt("superblock", found));
    }
    Ok(())
}

/// Where copies of the superblock go with sparse_super2. Where there was one group only there was no place for any: now
/// there is. The second goes with the last group, unless that one has its descriptors elsewhere: a copy of the superblock
/// is of no use without those behind it.
fn moved_backups(from: &Geometry, to: &Geometry) -> [u32; 2] {
    let [first, second] = from.backup_bgs;
    let last = to.groups - 1;
    if !from.features.compat(compat::SPARSE_SUPER2) || last < from.groups {
        return from.backup_bgs;
    }
    let spread = to.features.incompat(incompat::META_BG);
    let alone = from.groups == 1 && from.backup_bgs == [0, 0];
    if alone && !(spread && to.first_meta_bg == 0) {
        return [1, if last > 1 && !spread { last } else { 0 }];
    }
    if !spread && second != 0 && second == from.groups - 1 { [first, last] } else { from.backup_bgs }
}
