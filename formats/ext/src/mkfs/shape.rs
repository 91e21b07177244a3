//! The numbers of a new filesystem: sizes and counts, before anything is placed. They are those of mke2fs, step by
//! step, so that the result is the same to the block.

use super::features;
use super::options::{InodeCount, MkfsOptions};
use crate::error::{Error, Result};
use crate::features::{Features, compat, incompat, ro_compat};
use crate::geometry::is_backup_group;

const MIB: u64 = 1 << 20;
/// What a bitmap may count: the counters of a group are of 16 bits where descriptors are short.
const MAX_PER_GROUP: u32 = (1 << 16) - 8;
/// More groups than this are not laid out, so that memory has a bound: 512 TiB of 4 KiB blocks.
const MAX_GROUPS: u64 = 1 << 22;
/// mke2fs rounds the size of a device down to pages.
const PAGE: u64 = 4096;
/// Reserved inodes, of which the last is for `lost+found`.
pub(super) const FIRST_INO: u32 = 11;
/// A last group with fewer blocks than its tables and this many is left out.
const LAST_GROUP_ROOM: u64 = 50;

/// Sizes and counts.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub features: Features,
    pub block_size: u32,
    /// Blocks in a cluster.
    pub cluster_ratio: u32,
    pub blocks_count: u64,
    pub reserved_blocks: u64,
    pub first_data_block: u64,
    pub blocks_per_group: u32,
    pub clusters_per_group: u32,
    pub inodes_per_group: u32,
    pub itable_blocks: u32,
    pub groups: u32,
    pub desc_size: u16,
    pub desc_blocks: u32,
    pub reserved_gdt: u32,
    pub inode_size: u16,
    pub flex_log: u8,
    pub backup_bgs: [u32; 2],
}

/// What mke2fs.conf of 1.46.4 and later gives for a size.
fn by_size(bytes: u64) -> (u32, u32) {
    const TIB: u64 = 1 << 40;
    match bytes {
        bytes if bytes < 3 * MIB => (1024, 8192),
        bytes if bytes < 512 * MIB => (1024, 4096),
        bytes if bytes < 4 * TIB => (4096, 16384),
        bytes if bytes < 16 * TIB => (4096, 32768),
        _ => (4096, 65536),
    }
}

fn invalid<T>(text: String) -> Result<T> {
    Err(Error::Invalid(text))
}

fn too_small(what: &str) -> Error {
    Error::Invalid(format!("the device is too small: {what}"))
}

fn power_of_two(what: &str, value: u64, min: u64, max: u64) -> Result<()> {
    if value.is_power_of_two() && (min..=max).contains(&value) {
        return Ok(());
    }
    invalid(format!("{what} is {value}, expected a power of two from {min} to {max}"))
}

impl Shape {
    /// The shape that `options` give on a device of `device_len` bytes.
    pub fn new(device_len: u64, options: &MkfsOptions) -> Result<Self> {
        let mut features = features::resolve(options)?;
        check_plain(options)?;
        let bytes = match options.size {
            Some(size) if size > device_len => {
                return invalid(format!("size is {size} bytes, the device has {device_len}"));
            }
            Some(size) => size,
            None => device_len / PAGE * PAGE,
        };
        let (default_block, default_ratio) = by_size(bytes);
        let block_size = options.block_size.unwrap_or(default_block);
        power_of_two("block size", block_size.into(), 1024, 65536)?;
        let blocks = bytes / u64::from(block_size);
        if blocks > u64::from(u32::MAX) {
            if !features.incompat(incompat::BIT64) {
                return invalid(format!("{blocks} blocks cannot be counted without feature 64bit"));
            }
            features.compat &= !compat::RESIZE_INODE;
        }
        let bigalloc = features.ro_compat(ro_compat::BIGALLOC);
        let cluster_size = match options.cluster_size {
            Some(_) if !bigalloc => return invalid("a cluster size needs feature bigalloc".into()),
            Some(size) => size,
            None if bigalloc => block_size * 16,
            None => block_size,
        };
        power_of_two("cluster size", cluster_size.into(), block_size.into(), 512 * MIB)?;
        let inode_size = options.inode_size.unwrap_or(256);
        power_of_two("inode size", inode_size.into(), 128, u64::from(block_size).min(4096))?;
        if inode_size == 128 {
            let wants_more = [
                (features.incompat(incompat::INLINE_DATA), "inline_data"),
                (features.ro_compat(ro_compat::PROJECT), "project"),
            ];
            if let Some((_, name)) = wants_more.iter().find(|(on, _)| *on) {
                return invalid(format!("feature {name} needs inodes of 256 bytes or more"));
            }
        }
        let flex_log = flex_log(options, &features)?;
        let mut shape = Self {
            features,
            block_size,
            cluster_ratio: cluster_size / block_size,
            blocks_count: blocks / u64::from(cluster_size / block_size) * u64::from(cluster_size / block_size),
            reserved_blocks: (options.reserved_percent * blocks as f64 / 100.0) as u64,
            first_data_block: u64::from(cluster_size == 1024),
            blocks_per_group: 0,
            clusters_per_group: 0,
            inodes_per_group: 0,
            itable_blocks: 0,
            groups: 0,
            desc_size: if features.incompat(incompat::BIT64) { 64 } else { 32 },
            desc_blocks: 0,
            reserved_gdt: 0,
            inode_size,
            flex_log,
            backup_bgs: [0; 2],
        };
        shape.size_groups(options)?;
        let inodes = shape.wanted_inodes(blocks, default_ratio.max(cluster_size), options)?;
        let reserve = shape.wanted_reserve(blocks, options)?;
        while !shape.fit(blocks, inodes, reserve, options)? {}
        Ok(shape)
    }

    fn size_groups(&mut self, options: &MkfsOptions) -> Result<()> {
        let bits = self.block_size * 8;
        if let Some(asked) = options.blocks_per_group
            && (asked < 256 || asked > bits || !asked.is_multiple_of(8))
        {
            return invalid(format!("{asked} blocks per group, expected a multiple of 8 from 256 to {bits}"));
        }
        let cluster_log = (self.block_size * self.cluster_ratio).ilog2() - 10;
        let full = if self.cluster_ratio > 1 && cluster_log + 15 >= 32 { bits - 8 } else { bits };
        self.clusters_per_group = options.blocks_per_group.unwrap_or(full).min(MAX_PER_GROUP);
        let blocks = u64::from(self.clusters_per_group) * u64::from(self.cluster_ratio);
        self.blocks_per_group =
            u32::try_from(blocks).map_err(|_| Error::Invalid(format!("a group would have {blocks} blocks")))?;
        Ok(())
    }

    fn wanted_inodes(&self, blocks: u64, ratio: u32, options: &MkfsOptions) -> Result<u32> {
        let bytes = blocks * u64::from(self.block_size);
        let wanted = match options.inodes {
            InodeCount::Exactly(0) => return invalid("no inodes".into()),
            InodeCount::Exactly(count) => count.into(),
            InodeCount::Ratio(ratio) if !(1024..=64 << 20).contains(&ratio) => {
                return invalid(format!("one inode for {ratio} bytes, expected 1024 to {}", 64 << 20));
            }
            InodeCount::Ratio(ratio) => bytes / u64::from(ratio),
            InodeCount::Default => bytes / u64::from(ratio.max(self.block_size)),
        };
        let wanted = match u32::try_from(wanted) {
            Ok(wanted) => wanted,
            Err(_) if self.features.incompat(incompat::BIT64) => u32::MAX,
            Err(_) => return invalid(format!("{wanted} inodes are more than can be counted")),
        };
        if u64::from(wanted) * u64::from(self.inode_size) >= bytes {
            return invalid(format!("{wanted} inodes of {} bytes do not fit {bytes} bytes", self.inode_size));
        }
        Ok(wanted)
    }

    /// Blocks of descriptors to keep for growth, where the caller named a limit.
    fn wanted_reserve(&self, blocks: u64, options: &MkfsOptions) -> Result<Option<u32>> {
        let Some(limit) = options.resize_limit else { return Ok(None) };
        let limit = limit / u64::from(self.block_size);
        if limit <= blocks {
            return invalid(format!("the limit of growth is {limit} blocks, the filesystem has {blocks}"));
        }
        // Measured with groups of blocks even where they are of clusters.
        let per_group = u64::from(options.blocks_per_group.unwrap_or(self.block_size * 8));
        let per_block = u64::from(self.block_size / u32::from(self.desc_size));
        let now = blocks.div_ceil(per_group).div_ceil(per_block);
        let reserve = limit.div_ceil(per_group).div_ceil(per_block) - now;
        Ok(Some(reserve.min(u64::from(self.block_size / 4)) as u32).filter(|reserve| *reserve > 0))
    }

    fn has_super(&self, group: u32) -> bool {
        is_backup_group(&self.features, self.backup_bgs, group)
    }

    /// One try with the blocks that are counted now. False when the last group had to be left out, or groups made
    /// smaller.
    fn fit(&mut self, asked: u64, inodes: u32, reserve: Option<u32>, options: &MkfsOptions) -> Result<bool> {
        let data_blocks = self.blocks_count.saturating_sub(self.first_data_block);
        let groups = data_blocks.div_ceil(self.blocks_per_group.into());
        if groups == 0 {
            return Err(too_small("there is no block for a group"));
        }
        if groups > MAX_GROUPS {
            return Err(Error::Limit(format!("{groups} block groups, at most {MAX_GROUPS} are made")));
        }
        self.groups = groups as u32;
        self.desc_blocks = self.groups.div_ceil(self.block_size / u32::from(self.desc_size));
        let per_group = inodes.div_ceil(self.groups);
        if per_group > self.block_size * 8 {
            if self.cluster_ratio > 1 || self.blocks_per_group < 256 {
                return invalid(format!("{inodes} inodes are too many for {groups} groups"));
            }
            self.blocks_per_group -= 8;
            self.clusters_per_group = self.blocks_per_group;
            self.blocks_count = asked;
            return Ok(false);
        }
        self.size_tables(per_group)?;
        self.reserve_descriptors(reserve)?;
        let head = self.desc_head();
        let most = 3 + u64::from(self.itable_blocks) + u64::from(self.reserved_gdt) + head;
        if most > u64::from(self.blocks_per_group) {
            return invalid(format!("{inodes} inodes are too many: the tables of a group need {most} blocks"));
        }
        self.last_group(asked, data_blocks, options)
    }

    /// Blocks of descriptors at the start of a group, at most.
    fn desc_head(&self) -> u64 {
        if self.features.incompat(incompat::META_BG) { 1 } else { self.desc_blocks.into() }
    }

    /// Inodes in a group: whole blocks of them, and a multiple of 8.
    fn size_tables(&mut self, wanted: u32) -> Result<()> {
        let size = u64::from(self.inode_size);
        let block = u64::from(self.block_size);
        let mut wanted = u64::from(wanted.min((1 << 16) - self.block_size / u32::from(self.inode_size)));
        loop {
            let in_blocks = (wanted * size).div_ceil(block) * block / size;
            let per_group = in_blocks.max(8) & !7;
            let all = per_group * u64::from(self.groups);
            if all > u64::from(u32::MAX) {
                // Fewer than 2^29 groups, so 8 in each can be counted: this comes to an end.
                wanted -= 1;
            } else if all < u64::from(FIRST_INO) + 1 {
                wanted += 8;
            } else {
                self.inodes_per_group = per_group as u32;
                self.itable_blocks = (per_group * size).div_ceil(block) as u32;
                return Ok(());
            }
        }
    }

    /// How many blocks of descriptors are kept for growth: to 1024 times the size, or as the caller said.
    fn reserve_descriptors(&mut self, wanted: Option<u32>) -> Result<()> {
        let per_block = self.block_size / 4;
        self.reserved_gdt = 0;
        if self.features.compat(compat::RESIZE_INODE) {
            let limit = (self.blocks_count * 1024).min(u32::MAX.into());
            let groups = (limit - self.first_data_block).div_ceil(self.blocks_per_group.into());
            let blocks = groups.div_ceil(u64::from(self.block_size / u32::from(self.desc_size)));
            let grown = blocks.saturating_sub(self.desc_blocks.into()).min(per_block.into()) as u32;
            self.reserved_gdt = wanted.unwrap_or(grown);
        }
        // Where more than three quarters of a group would be descriptors, they are spread.
        let all = u64::from(self.reserved_gdt) + u64::from(self.desc_blocks);
        if all > u64::from(self.blocks_per_group) * 3 / 4 {
            self.features.incompat |= incompat::META_BG;
            self.features.compat &= !compat::RESIZE_INODE;
            self.reserved_gdt = 0;
        }
        Ok(())
    }

    /// Leaves the last group out where it is too short for its own tables. False when it did.
    fn last_group(&mut self, asked: u64, data_blocks: u64, options: &MkfsOptions) -> Result<bool> {
        let last = self.groups - 1;
        let sparse2 = self.features.compat(compat::SPARSE_SUPER2);
        let has_super = match sparse2 {
            true if self.groups == 2 => options.backups >= 1,
            true => options.backups >= 2,
            false => self.has_super(last),
        };
        let mut overhead = 2 + u64::from(self.itable_blocks);
        if has_super {
            overhead += 1 + u64::from(self.desc_blocks) + u64::from(self.reserved_gdt);
        }
        let rest = data_blocks % u64::from(self.blocks_per_group);
        if self.groups == 1 && rest > 0 && rest < overhead {
            return Err(too_small(&format!("{rest} blocks, {overhead} are needed for tables")));
        }
        if rest > 0 && rest < overhead + LAST_GROUP_ROOM {
            if self.groups == 1 {
                return Err(too_small(&format!("{rest} blocks, {} are needed", overhead + LAST_GROUP_ROOM)));
            }
            self.blocks_count -= rest;
            let share = 100.0 * (options.reserved_percent * asked as f64 / 100.0).trunc() / asked as f64;
            self.reserved_blocks = (share * self.blocks_count as f64 / 100.0) as u64;
            return Ok(false);
        }
        if sparse2 {
            let mut pair = [u32::from(options.backups >= 1).min(last), if options.backups >= 2 { last } else { 0 }];
            if pair[0] == pair[1] {
                pair[1] = 0;
            }
            pair.sort_unstable();
            self.backup_bgs = pair;
        }
        Ok(true)
    }
}

/// What needs no numbers of the device.
fn check_plain(options: &MkfsOptions) -> Result<()> {
    if options.label.len() > 16 {
        let text = options.label.escape_ascii();
        return invalid(format!("label {text} has {} bytes, at most 16 fit", options.label.len()));
    }
    if !(0.0..=50.0).contains(&options.reserved_percent) {
        return invalid(format!("{} percent reserved, expected 0 to 50", options.reserved_percent));
    }
    if options.backups > 2 {
        return invalid(format!("{} copies of the superblock, at most 2 are named", options.backups));
    }
    if options.root_mode > 0o7777 {
        return invalid(format!("mode {:o} of the root directory", options.root_mode));
    }
    if !(1..=300).contains(&options.mmp_interval) {
        return invalid(format!("an MMP interval of {} seconds, expected 1 to 300", options.mmp_interval));
    }
    Ok(())
}

fn flex_log(options: &MkfsOptions, features: &Features) -> Result<u8> {
    let flex = features.incompat(incompat::FLEX_BG);
    match options.groups_per_flex {
        Some(_) if !flex => invalid("a number of groups that lie together needs feature flex_bg".into()),
        Some(size) => {
            power_of_two("number of groups that lie together", size.into(), 1, 1 << 16)?;
            Ok(size.ilog2() as u8)
        }
        None => Ok(if flex { 4 } else { 0 }),
    }
}
