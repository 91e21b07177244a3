//! Where directories go: those at the top are spread over the device, so that each has room around it; those below
//! stay near their parents (the idea is Orlov's).

use crate::checksum::crc32c;
use crate::error::Result;
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::geometry::GroupNr;
use crate::inode::{ROOT_INO, flags};
use nomount_block::ReadAt;

/// The largest flexible group that counts as one place; mke2fs makes 16 groups.
const MAX_LOG_FLEX: u32 = 4;
/// Places that are compared for one directory, so that its cost does not grow with the device.
const MAX_PLACES: u32 = 64;
/// A directory stays with its parent while the place has the average of free inodes and blocks, less one in so many of
/// all that it has.
const FREE_SHARE: u64 = 4;

/// What is free and used in a group, or in several.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Use {
    pub free_inodes: u64,
    pub free_blocks: u64,
    pub used_dirs: u64,
}

impl<D: ReadAt> Filesystem<D> {
    pub(crate) fn group_use(&self, number: GroupNr) -> Result<Use> {
        let of = |group: &crate::group::Group| Use {
            free_inodes: group.free_inodes.into(),
            free_blocks: group.free_blocks.into(),
            used_dirs: group.used_dirs.into(),
        };
        match self.state.groups.get(&number) {
            Some(state) => Ok(of(&state.group)),
            None => Ok(of(&self.group(number)?)),
        }
    }

    /// The groups of a place.
    fn place(&self, place: u32, log: u32) -> std::ops::Range<GroupNr> {
        let first = place << log;
        first..first.saturating_add(1 << log).min(self.geo.groups)
    }

    fn place_use(&self, place: u32, log: u32) -> Result<Use> {
        let mut sum = Use::default();
        for number in self.place(place, log) {
            let group = self.group_use(number)?;
            sum.free_inodes += group.free_inodes;
            sum.free_blocks += group.free_blocks;
            sum.used_dirs += group.used_dirs;
        }
        Ok(sum)
    }

    /// The group where a new directory should go. It may turn out to be full.
    pub(crate) fn group_for_dir(&self, parent: u32) -> Result<GroupNr> {
        let flex = u32::from(self.state.sb.s_log_groups_per_flex);
        let log = if self.geo.features.incompat(incompat::FLEX_BG) { flex.min(MAX_LOG_FLEX) } else { 0 };
        let places = self.geo.groups.div_ceil(1 << log);
        let (near, _) = self.geo.group_of_inode(parent);
        let average_inodes = u64::from(self.free_inodes_count()) / u64::from(places);
        let average_blocks = self.free_blocks_count() / u64::from(places);
        let top = parent == ROOT_INO || self.inode(parent)?.has_flag(flags::TOPDIR);
        let found = if top {
            let random = crc32c(self.options.seed, &self.state.new_inodes.to_le_bytes());
            let mut best: Option<(u64, u32)> = None;
            for step in 0..places.min(MAX_PLACES) {
                let place = (random % places + step) % places;
                let here = self.place_use(place, log)?;
                let roomy =
                    here.free_inodes > 0 && here.free_inodes >= average_inodes && here.free_blocks >= average_blocks;
                if roomy && best.is_none_or(|(dirs, _)| here.used_dirs < dirs) {
                    best = Some((here.used_dirs, place));
                }
            }
            best.map(|(_, place)| place)
        } else {
            let inodes = u64::from(self.geo.inodes_per_group) << log;
            let blocks = u64::from(self.geo.blocks_per_group) << log;
            let mut found = None;
            for step in 0..places.min(MAX_PLACES) {
                let place = ((near >> log) + step) % places;
                let here = self.place_use(place, log)?;
                let roomy = here.free_inodes > 0
                    && here.free_inodes >= average_inodes.saturating_sub(inodes / FREE_SHARE)
                    && here.free_blocks >= average_blocks.saturating_sub(blocks / FREE_SHARE);
                if roomy {
                    found = Some(place);
                    break;
                }
            }
            found
        };
        let Some(place) = found else { return Ok(near) };
        // Within the place, the parent's group if it has room, or the first that has.
        let range = self.place(place, log);
        let order = range.contains(&near).then_some(near).into_iter().chain(range);
        for number in order {
            if self.group_use(number)?.free_inodes > 0 {
                return Ok(number);
            }
        }
        Ok(near)
    }
}
