//! Where the bitmaps and the inode table of each new group go.

use crate::error::{Error, Result};
use crate::geometry::{BlockNr, Geometry, GroupNr};
use std::ops::Range;

/// A new group.
#[derive(Debug, Clone)]
pub(super) struct NewGroup {
    pub number: GroupNr,
    pub block_bitmap: BlockNr,
    pub inode_bitmap: BlockNr,
    pub inode_table: BlockNr,
    /// Blocks of the group that hold metadata: index in the group, and length.
    taken: Vec<(u32, u32)>,
    /// Whether some of it is of another group, of which a bitmap that was never written does not tell.
    pub hosts: bool,
}

impl NewGroup {
    /// Clusters that hold metadata, ascending, neither touching nor overlapping.
    pub fn clusters(&self, geo: &Geometry) -> Vec<Range<u32>> {
        let ratio = geo.cluster_ratio();
        let mut ranges: Vec<_> =
            self.taken.iter().map(|(index, len)| index / ratio..(index + len).div_ceil(ratio)).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges.dedup_by(|next, last| {
            let touching = next.start <= last.end;
            if touching {
                last.end = last.end.max(next.end);
            }
            touching
        });
        ranges
    }
}

/// Hands out blocks of some groups in ascending order, leaving out copies of the superblock and of descriptors. What it
/// hands out lies in one group.
struct Cursor<'a> {
    geo: &'a Geometry,
    group: GroupNr,
    end: GroupNr,
    at: u32,
}

impl<'a> Cursor<'a> {
    fn new(geo: &'a Geometry, groups: Range<GroupNr>) -> Self {
        Self { geo, group: groups.start, end: groups.end, at: geo.group_overhead(groups.start) }
    }

    fn take(&mut self, len: u32) -> Option<BlockNr> {
        while self.group < self.end {
            let after = self.at.checked_add(len).filter(|after| *after <= self.geo.group_blocks(self.group));
            if let Some(after) = after {
                let block = self.geo.group_start(self.group) + u64::from(self.at);
                self.at = after;
                return Some(block);
            }
            self.group += 1;
            if self.group < self.end {
                self.at = self.geo.group_overhead(self.group);
            }
        }
        None
    }
}

/// Tables of all these groups together, in the first of them; none where they do not fit.
fn packed(geo: &Geometry, groups: Range<GroupNr>) -> Option<Vec<[BlockNr; 3]>> {
    let mut cursor = Cursor::new(geo, groups.clone());
    let mut tables = vec![[0; 3]; groups.len()];
    for (part, len) in [1, 1, geo.itable_blocks()].into_iter().enumerate() {
        for table in &mut tables {
            table[part] = cursor.take(len)?;
        }
    }
    Some(tables)
}

/// Places the tables of new groups: together, or each in its own group, as feature flex_bg says. Groups of a flexible
/// group that was begun before stay among themselves, as in a kernel.
pub(super) fn place(geo: &Geometry, groups: Range<GroupNr>, together: bool) -> Result<Vec<NewGroup>> {
    let packed = if together { packed(geo, groups.clone()) } else { None };
    let tables = match packed {
        Some(tables) => tables,
        None => {
            let mut tables = Vec::with_capacity(groups.len());
            for number in groups.clone() {
                let alone = self::packed(geo, number..number + 1).ok_or_else(|| no_room(geo, number))?;
                tables.extend(alone);
            }
            tables
        }
    };
    // Tables that lie elsewhere do not show that the group's own descriptors fit.
    if let Some(number) = groups.clone().find(|number| geo.group_overhead(*number) > geo.group_blocks(*number)) {
        return Err(no_room(geo, number));
    }
    let mut new: Vec<NewGroup> =
        groups.clone().zip(&tables).map(|(number, table)| with_head(geo, number, *table)).collect();
    for (number, table) in groups.clone().zip(tables) {
        for (block, len) in table.into_iter().zip([1, 1, geo.itable_blocks()]) {
            let (host, index) = geo.group_of_block(block);
            let host_group = &mut new[(host - groups.start) as usize];
            host_group.taken.push((index, len));
            host_group.hosts |= host != number;
        }
    }
    Ok(new)
}

fn with_head(geo: &Geometry, number: GroupNr, [block_bitmap, inode_bitmap, inode_table]: [BlockNr; 3]) -> NewGroup {
    let head = geo.group_overhead(number);
    let taken = if head > 0 { vec![(0, head)] } else { Vec::new() };
    NewGroup { number, block_bitmap, inode_bitmap, inode_table, taken, hosts: false }
}

fn no_room(geo: &Geometry, number: GroupNr) -> Error {
    let head = geo.group_overhead(number);
    Error::CannotGrow(format!(
        "group {number} of {} blocks has no room for its inode table of {} behind {head} of descriptors",
        geo.group_blocks(number),
        geo.itable_blocks()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{compat, incompat, ro_compat};
    use crate::raw::Superblock;
    use zerocopy::FromZeros;

    /// What a group has of its own may be more than the group, while its tables fit into the next ones.
    #[test]
    fn a_group_that_its_descriptors_would_fill_is_refused() {
        let mut sb = Superblock::new_zeroed();
        sb.s_magic.set(0xEF53);
        sb.s_rev_level.set(1);
        sb.s_first_data_block.set(1);
        sb.s_blocks_per_group.set(256);
        sb.s_blocks_count_lo.set(1 + 8 * 256);
        sb.s_inodes_per_group.set(8);
        sb.s_inodes_count.set(8 * 8);
        sb.s_inode_size.set(128);
        sb.s_first_ino.set(11);
        sb.s_feature_compat.set(compat::RESIZE_INODE);
        sb.s_feature_incompat.set(incompat::FLEX_BG);
        sb.s_feature_ro_compat.set(ro_compat::SPARSE_SUPER);
        for (reserved, fits) in [(100, true), (256, false)] {
            sb.s_reserved_gdt_blocks.set(reserved);
            let geo = Geometry::check(&sb, 4 << 20).unwrap();
            for groups in [1..8, 2..5] {
                let placed = place(&geo, groups, true);
                assert!(if fits { placed.is_ok() } else { matches!(placed, Err(Error::CannotGrow(_))) }, "{placed:?}");
            }
        }
    }
}
