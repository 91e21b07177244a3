//! Where the bitmaps and inode table of each group go. With `flex_bg` those of several groups lie together, in the
//! order in which mke2fs finds room for them.

use super::shape::Shape;
use super::space::Space;
use crate::error::{Error, Result};
use crate::geometry::{BlockNr, Geometry, GroupNr, SUPERBLOCK_OFFSET};

/// The tables of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tables {
    pub block_bitmap: BlockNr,
    pub inode_bitmap: BlockNr,
    pub inode_table: BlockNr,
}

/// Everything that is placed before any file.
#[derive(Debug)]
pub(super) struct Placement {
    pub tables: Vec<Tables>,
    pub space: Space,
    /// Groups in which something lies that an uninitialised bitmap does not tell of: neither their own tables nor
    /// copies of the superblock and of descriptors.
    pub touched: Vec<bool>,
}

fn no_room() -> Error {
    Error::Invalid("the device is too small: there is no room for the tables of all groups".into())
}

impl Placement {
    /// Takes the copies of the superblock and of the descriptors, then places all tables.
    pub fn new(shape: &Shape, geo: &Geometry) -> Result<Self> {
        let mut space = Space::new(geo.first_data_block, geo.blocks_count);
        let mut touched = vec![false; shape.groups as usize];
        for group in 0..shape.groups {
            if let Some((start, len)) = head(geo, group) {
                space.take(start, len);
            }
        }
        // Its bitmap ends in padding, which a bitmap that was never written does not have.
        touched[shape.groups as usize - 1] = true;
        let mut placement = Self { tables: vec![Tables::default(); shape.groups as usize], space, touched };
        let flex = 1u32 << shape.flex_log;
        for group in 0..shape.groups {
            if shape.flex_log == 0 {
                placement.place_alone(shape, geo, group)?;
            } else {
                placement.place_together(shape, geo, group, flex)?;
            }
        }
        Ok(placement)
    }

    fn place_alone(&mut self, shape: &Shape, geo: &Geometry, group: GroupNr) -> Result<()> {
        let start = geo.group_start(group);
        let last = start + u64::from(geo.group_blocks(group)) - 1;
        let mut take = |from: BlockNr, len: u64| {
            let block = self.space.find(from, last, len).ok_or_else(no_room)?;
            self.space.take(block, len);
            Ok::<_, Error>(block)
        };
        let block_bitmap = take(start, 1)?;
        let inode_bitmap = take(start, 1)?;
        let inode_table = take(start, shape.itable_blocks.into())?;
        self.tables[group as usize] = Tables { block_bitmap, inode_bitmap, inode_table };
        Ok(())
    }

    fn place_together(&mut self, shape: &Shape, geo: &Geometry, group: GroupNr, flex: u32) -> Result<()> {
        let last_group = (group | (flex - 1)).min(shape.groups - 1);
        let last = geo.group_start(last_group) + u64::from(geo.group_blocks(last_group)) - 1;
        let left = last_group - group + 1;
        // In the last flexible group there are fewer tables of each kind, still without gaps (but for a single one).
        let stride = if last_group == shape.groups - 1 && group.is_multiple_of(flex) {
            match last_group & (flex - 1) {
                0 => u64::from(flex),
                index => u64::from(index + 1),
            }
        } else {
            u64::from(flex)
        };
        let before = (!group.is_multiple_of(flex)).then(|| self.tables[group as usize - 1]);
        let own_start = geo.group_start(group);

        let goal = before.map_or(0, |tables| tables.block_bitmap + 1);
        let from = self.near(shape, geo, group, goal, left, 1);
        let block_bitmap = self.take_between(geo, from, last, 1, own_start)?;

        let goal = before.map_or(block_bitmap + stride, |tables| tables.inode_bitmap + 1);
        let from = self.near(shape, geo, group, goal, left, 1);
        let inode_bitmap = self.take_between(geo, from, last, 1, own_start)?;

        let len = shape.itable_blocks;
        let goal = before.map_or(inode_bitmap + stride, |tables| tables.inode_table + u64::from(len));
        let from = self.near(shape, geo, group, goal, left, len);
        let inode_table = self.take_between(geo, from, last, len.into(), from)?;
        self.tables[group as usize] = Tables { block_bitmap, inode_bitmap, inode_table };
        Ok(())
    }

    fn take_between(
        &mut self,
        geo: &Geometry,
        from: BlockNr,
        last: BlockNr,
        len: u64,
        otherwise: BlockNr,
    ) -> Result<BlockNr> {
        let found = self.space.find(from, last, len).or_else(|| self.space.find(otherwise, last, len));
        let block = found.ok_or_else(no_room)?;
        self.space.take(block, len);
        self.touch(geo, block, len);
        Ok(block)
    }

    /// Where to look for room for one table of `len` blocks: behind the previous one if that is near, else at the
    /// first place of the flexible group that has room for all that are left.
    fn near(&self, shape: &Shape, geo: &Geometry, group: GroupNr, goal: BlockNr, left: u32, len: u32) -> BlockNr {
        let window = (u64::from(left) * u64::from(len)).min(u64::from(shape.blocks_per_group / 4));
        if goal != 0
            && goal < geo.blocks_count
            && let Some(found) = self.space.find(goal, goal + window, len.into())
        {
            return found;
        }
        let flex = 1u32 << shape.flex_log;
        let start = geo.group_start(group / flex * flex);
        let last_group = (group | (flex - 1)).min(shape.groups - 1);
        let last = geo.group_start(last_group) + u64::from(geo.group_blocks(last_group)) - 1;
        let tries = [(start, window), (start, len.into()), (0, len.into())];
        tries.into_iter().find_map(|(from, want)| self.space.find(from, last, want)).unwrap_or(0)
    }

    /// Says that these blocks are in use, to every group they lie in.
    pub fn touch(&mut self, geo: &Geometry, block: BlockNr, len: u64) {
        let (first, _) = geo.group_of_block(block);
        let (last, _) = geo.group_of_block(block + len - 1);
        (first..=last).for_each(|group| self.touched[group as usize] = true);
    }
}

/// The blocks at the start of a group that hold copies of the superblock and of descriptors, and their reserve.
fn head(geo: &Geometry, group: GroupNr) -> Option<(BlockNr, u64)> {
    let len = geo.group_overhead(group).min(geo.group_blocks(group));
    (len > 0).then(|| (geo.group_start(group), len.into()))
}

/// The block that holds the primary superblock.
pub(super) fn superblock_block(geo: &Geometry) -> BlockNr {
    SUPERBLOCK_OFFSET / u64::from(geo.block_size)
}
