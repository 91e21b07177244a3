//! The shape of a filesystem: every number of the superblock that sizes or places something, checked once.

use crate::checksum::{SEED, crc32c};
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::features::{Features, Kind, compat, incompat, ro_compat};
use crate::raw::Superblock;
use zerocopy::{FromBytes, IntoBytes};

/// Byte offset of the primary superblock.
pub const SUPERBLOCK_OFFSET: u64 = 1024;
/// Length of a superblock in bytes.
pub const SUPERBLOCK_LEN: usize = 1024;
const MAGIC: u16 = 0xEF53;
/// The largest block size of the specification: 64 KiB.
const MAX_LOG_BLOCK_SIZE: u32 = 6;

/// `s_state`: cleanly unmounted.
pub(crate) const STATE_VALID: u16 = 1;
/// `s_state`: errors were detected.
pub(crate) const STATE_ERROR: u16 = 2;

/// A number of a block in the filesystem.
pub type BlockNr = u64;
/// A number of a block in a file.
pub type FileBlock = u32;
/// A number of a block group.
pub type GroupNr = u32;

/// The shape of a filesystem. All counts are bounded by the device.
#[derive(Debug, Clone)]
pub struct Geometry {
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks in the filesystem.
    pub blocks_count: u64,
    /// The first block of group 0: 1 with 1 KiB blocks, else 0.
    pub first_data_block: u64,
    /// Blocks in a group; the last one may be shorter.
    pub blocks_per_group: u32,
    /// Clusters in a group: what the block bitmap counts.
    pub clusters_per_group: u32,
    /// Inodes in a group.
    pub inodes_per_group: u32,
    /// Inodes in the filesystem.
    pub inodes_count: u32,
    /// Bytes of an inode.
    pub inode_size: u16,
    /// Bytes of a group descriptor.
    pub desc_size: u16,
    /// Number of groups.
    pub groups: u32,
    /// The first inode that is not reserved.
    pub first_ino: u32,
    /// Feature flags.
    pub features: Features,
    /// Seed of all metadata checksums.
    pub(crate) csum_seed: u32,
    pub(crate) uuid: [u8; 16],
    pub(crate) first_meta_bg: u32,
    pub(crate) reserved_gdt_blocks: u32,
    pub(crate) backup_bgs: [u32; 2],
}

/// Which of the family `bytes`, the first 2 KiB or more of a device, begin: none, when they hold no superblock.
pub fn probe(bytes: &[u8]) -> Option<Kind> {
    let start = SUPERBLOCK_OFFSET as usize;
    let sb = Superblock::ref_from_bytes(bytes.get(start..start + SUPERBLOCK_LEN)?).ok()?;
    let sound = sb.s_magic.get() == MAGIC && sb.s_log_block_size.get() <= MAX_LOG_BLOCK_SIZE;
    sound.then(|| Features::of(sb).kind())
}

/// The checksum that a superblock should carry.
pub(crate) fn superblock_checksum(sb: &Superblock) -> u32 {
    crc32c(SEED, &sb.as_bytes()[..SUPERBLOCK_LEN - 4])
}

/// Whether a group starts with a copy of the superblock, by the features that say where copies are.
pub(crate) fn is_backup_group(features: &Features, backup_bgs: [u32; 2], group: GroupNr) -> bool {
    if group == 0 {
        return true;
    }
    if features.compat(compat::SPARSE_SUPER2) {
        return backup_bgs.contains(&group);
    }
    if !features.ro_compat(ro_compat::SPARSE_SUPER) {
        return true;
    }
    let power_of = |base: u32| {
        let mut power = u64::from(base);
        while power < u64::from(group) {
            power *= u64::from(base);
        }
        power == u64::from(group)
    };
    group == 1 || power_of(3) || power_of(5) || power_of(7)
}

/// Blocks in the filesystem, as a superblock counts them.
fn blocks_count(sb: &Superblock) -> u64 {
    let bit64 = Features::of(sb).incompat(incompat::BIT64);
    let hi = if bit64 { u64::from(sb.s_blocks_count_hi.get()) << 32 } else { 0 };
    hi | u64::from(sb.s_blocks_count_lo.get())
}

impl Geometry {
    /// Checks a superblock against itself and a device of `device_len` bytes.
    pub(crate) fn check(sb: &Superblock, device_len: u64) -> Result<Self> {
        let bad = |what: &str, found: u64, wanted: &str| {
            Err(corrupt("superblock", format!("{what} is {found}, expected {wanted}")))
        };
        if sb.s_magic.get() != MAGIC {
            return Err(Error::NotExt { found: sb.s_magic.get() });
        }
        let features = Features::of(sb);
        if sb.s_rev_level.get() == 0 {
            if features != (Features { compat: 0, incompat: 0, ro_compat: 0 }) {
                return Err(Error::Unsupported("revision 0 with feature flags".into()));
            }
        } else if sb.s_rev_level.get() > 1 {
            return Err(Error::Unsupported(format!("revision {}", sb.s_rev_level.get())));
        }
        features.require_readable()?;
        if features.ro_compat(ro_compat::METADATA_CSUM) {
            if sb.s_checksum_type != 1 {
                return Err(Error::Unsupported(format!("checksum type {}", sb.s_checksum_type)));
            }
            let wanted = superblock_checksum(sb);
            if sb.s_checksum.get() != wanted {
                return Err(bad_checksum("superblock", sb.s_checksum.get(), wanted));
            }
        }
        let log = sb.s_log_block_size.get();
        if log > MAX_LOG_BLOCK_SIZE {
            return bad("s_log_block_size", log.into(), "at most 6");
        }
        let block_size = 1024u32 << log;
        let bits = block_size * 8;
        let cluster_log = sb.s_log_cluster_size.get();
        let cluster_ratio = if features.ro_compat(ro_compat::BIGALLOC) {
            if cluster_log < log || cluster_log > 20 {
                return bad("s_log_cluster_size", cluster_log.into(), "between s_log_block_size and 20");
            }
            1u32 << (cluster_log - log)
        } else {
            1
        };
        let blocks_per_group = sb.s_blocks_per_group.get();
        let clusters_per_group = if cluster_ratio == 1 { blocks_per_group } else { sb.s_clusters_per_group.get() };
        if clusters_per_group == 0 || clusters_per_group > bits || clusters_per_group % 8 != 0 {
            return bad("s_clusters_per_group", clusters_per_group.into(), &format!("a multiple of 8 up to {bits}"));
        }
        if u64::from(clusters_per_group) * u64::from(cluster_ratio) != u64::from(blocks_per_group) {
            return bad("s_blocks_per_group", blocks_per_group.into(), "a cluster's blocks times s_clusters_per_group");
        }
        let inode_size = if sb.s_rev_level.get() == 0 { 128 } else { sb.s_inode_size.get() };
        if !inode_size.is_power_of_two() || inode_size < 128 || u32::from(inode_size) > block_size {
            return bad("s_inode_size", inode_size.into(), &format!("a power of two from 128 to {block_size}"));
        }
        let inodes_per_group = sb.s_inodes_per_group.get();
        let per_block = block_size / u32::from(inode_size);
        if inodes_per_group < per_block || inodes_per_group > bits || !inodes_per_group.is_multiple_of(8) {
            let wanted = format!("a multiple of 8 from {per_block} to {bits}");
            return bad("s_inodes_per_group", inodes_per_group.into(), &wanted);
        }
        let bit64 = features.incompat(incompat::BIT64);
        let desc_size = if bit64 { sb.s_desc_size.get() } else { 32 };
        if bit64 && (!desc_size.is_power_of_two() || desc_size < 64 || u32::from(desc_size) > block_size.min(1024)) {
            return bad("s_desc_size", desc_size.into(), "a power of two from 64 to 1024");
        }
        let blocks_count = blocks_count(sb);
        let device_blocks = device_len / u64::from(block_size);
        if blocks_count > device_blocks {
            let wanted = format!("at most {device_blocks}, which is where the device ends");
            return bad("s_blocks_count", blocks_count, &wanted);
        }
        let first_data_block = u64::from(sb.s_first_data_block.get());
        let wanted_first = u64::from(block_size == 1024 && cluster_ratio == 1);
        if first_data_block != wanted_first {
            return bad("s_first_data_block", first_data_block, &wanted_first.to_string());
        }
        if blocks_count <= first_data_block {
            return bad("s_blocks_count", blocks_count, "more than s_first_data_block");
        }
        let groups = (blocks_count - first_data_block).div_ceil(u64::from(blocks_per_group));
        let inodes_count = sb.s_inodes_count.get();
        if groups.saturating_mul(inodes_per_group.into()) != u64::from(inodes_count) {
            let wanted = format!("{groups} groups times {inodes_per_group}");
            return bad("s_inodes_count", inodes_count.into(), &wanted);
        }
        let first_ino = if sb.s_rev_level.get() == 0 { 11 } else { sb.s_first_ino.get() };
        if first_ino < 11 || first_ino > inodes_count {
            return bad("s_first_ino", first_ino.into(), "at least 11 and at most s_inodes_count");
        }
        let reserved_gdt_blocks = u32::from(sb.s_reserved_gdt_blocks.get());
        if reserved_gdt_blocks > block_size / 4 {
            return bad("s_reserved_gdt_blocks", reserved_gdt_blocks.into(), &format!("at most {}", block_size / 4));
        }
        let csum_seed =
            if features.incompat(incompat::CSUM_SEED) { sb.s_checksum_seed.get() } else { crc32c(SEED, &sb.s_uuid) };
        let geometry = Self {
            block_size,
            blocks_count,
            first_data_block,
            blocks_per_group,
            clusters_per_group,
            inodes_per_group,
            inodes_count,
            inode_size,
            desc_size,
            // The product with inodes_per_group equals a 32-bit number, so it fits.
            groups: groups as u32,
            first_ino,
            features,
            csum_seed,
            uuid: sb.s_uuid,
            first_meta_bg: sb.s_first_meta_bg.get(),
            reserved_gdt_blocks,
            backup_bgs: [sb.s_backup_bgs[0].get(), sb.s_backup_bgs[1].get()],
        };
        if features.incompat(incompat::META_BG) && geometry.first_meta_bg > geometry.desc_blocks() {
            return bad("s_first_meta_bg", geometry.first_meta_bg.into(), "at most the number of descriptor blocks");
        }
        Ok(geometry)
    }

    /// Takes over what a change of the same filesystem changes in its superblock: features, and what growing does.
    pub(crate) fn follow(&mut self, sb: &Superblock) {
        self.features = Features::of(sb);
        self.blocks_count = blocks_count(sb);
        let data_blocks = self.blocks_count - self.first_data_block;
        self.groups = data_blocks.div_ceil(u64::from(self.blocks_per_group)) as u32;
        self.inodes_count = sb.s_inodes_count.get();
        self.first_meta_bg = sb.s_first_meta_bg.get();
        self.reserved_gdt_blocks = u32::from(sb.s_reserved_gdt_blocks.get());
        self.backup_bgs = [sb.s_backup_bgs[0].get(), sb.s_backup_bgs[1].get()];
    }

    /// Blocks of descriptors that lie behind each copy of the superblock, and not with the groups they describe.
    pub(crate) fn plain_desc_blocks(&self) -> u32 {
        if self.features.incompat(incompat::META_BG) { self.first_meta_bg } else { self.desc_blocks() }
    }

    /// Whether metadata carries CRC-32C checksums.
    pub fn metadata_csum(&self) -> bool {
        self.features.ro_compat(ro_compat::METADATA_CSUM)
    }

    /// Whether group descriptors carry a checksum, and with it flags and an unused mark that mean something.
    pub(crate) fn group_csum(&self) -> bool {
        self.metadata_csum() || self.features.ro_compat(ro_compat::GDT_CSUM)
    }

    /// Descriptors in a block.
    pub(crate) fn desc_per_block(&self) -> u32 {
        self.block_size / u32::from(self.desc_size)
    }

    /// Blocks that hold the descriptors.
    pub(crate) fn desc_blocks(&self) -> u32 {
        self.groups.div_ceil(self.desc_per_block())
    }

    /// The first block of a group.
    pub fn group_start(&self, group: GroupNr) -> BlockNr {
        self.first_data_block + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// Blocks in a group.
    pub fn group_blocks(&self, group: GroupNr) -> u32 {
        let left = self.blocks_count - self.group_start(group);
        left.min(u64::from(self.blocks_per_group)) as u32
    }

    /// The group that holds a block, and the block's index in it.
    pub fn group_of_block(&self, block: BlockNr) -> (GroupNr, u32) {
        let from_first = block - self.first_data_block;
        let per_group = u64::from(self.blocks_per_group);
        ((from_first / per_group) as u32, (from_first % per_group) as u32)
    }

    /// Blocks in a cluster, the unit of allocation: 1 without bigalloc.
    pub fn cluster_ratio(&self) -> u32 {
        self.blocks_per_group / self.clusters_per_group
    }

    /// Clusters in a group, the last one perhaps cut off: the bits of its block bitmap that mean something.
    pub(crate) fn group_clusters(&self, group: GroupNr) -> u32 {
        self.group_blocks(group).div_ceil(self.cluster_ratio())
    }

    /// The group that holds a block, and the bit of its block bitmap that stands for it.
    pub(crate) fn bit_of_block(&self, block: BlockNr) -> (GroupNr, u32) {
        let (group, index) = self.group_of_block(block);
        (group, index / self.cluster_ratio())
    }

    /// The first block of the cluster that holds a block.
    pub(crate) fn cluster_start(&self, block: BlockNr) -> BlockNr {
        block - block % u64::from(self.cluster_ratio())
    }

    /// The group that holds an inode, and the inode's index in it.
    pub fn group_of_inode(&self, ino: u32) -> (GroupNr, u32) {
        ((ino - 1) / self.inodes_per_group, (ino - 1) % self.inodes_per_group)
    }

    /// Blocks of a group's inode table.
    pub(crate) fn itable_blocks(&self) -> u32 {
        let bytes = u64::from(self.inodes_per_group) * u64::from(self.inode_size);
        bytes.div_ceil(u64::from(self.block_size)) as u32
    }

    /// Inodes in a block.
    pub(crate) fn inodes_per_block(&self) -> u32 {
        self.block_size / u32::from(self.inode_size)
    }

    /// Whether `block` may belong to a file or to metadata: inside the filesystem and not the boot block.
    pub(crate) fn contains(&self, block: BlockNr, len: u64) -> bool {
        block > self.first_data_block && block.checked_add(len).is_some_and(|end| end <= self.blocks_count)
    }

    /// Whether a group starts with a copy of the superblock (ext4.rst, "sparse_super").
    pub(crate) fn has_super(&self, group: GroupNr) -> bool {
        is_backup_group(&self.features, self.backup_bgs, group)
    }

    /// Blocks at the start of a group that hold the superblock's copy, descriptors and their reserve.
    pub(crate) fn group_overhead(&self, group: GroupNr) -> u32 {
        let meta_bg = self.features.incompat(incompat::META_BG);
        let metagroup = group / self.desc_per_block();
        let mut blocks = u32::from(self.has_super(group));
        // With bigalloc, blocks of 1 KiB are counted from 0: the boot block is a block of group 0.
        if group == 0 && self.block_size == 1024 && self.first_data_block == 0 {
            blocks += 1;
        }
        if meta_bg && metagroup >= self.first_meta_bg {
            let in_metagroup = group % self.desc_per_block();
            if in_metagroup == 0 || in_metagroup == 1 || in_metagroup == self.desc_per_block() - 1 {
                blocks += 1;
            }
        } else if self.has_super(group) {
            let plain = if meta_bg { self.first_meta_bg } else { self.desc_blocks() };
            blocks += plain + self.reserved_gdt_blocks;
        }
        blocks
    }

    /// The block that holds the descriptor of `group`, and the byte offset in it.
    pub(crate) fn desc_place(&self, group: GroupNr) -> (BlockNr, usize) {
        let metagroup = group / self.desc_per_block();
        let offset = (group % self.desc_per_block()) as usize * usize::from(self.desc_size);
        let spread = self.features.incompat(incompat::META_BG) && metagroup >= self.first_meta_bg;
        let block = if spread && metagroup > 0 {
            let first = metagroup * self.desc_per_block();
            self.group_start(first) + u64::from(self.has_super(first))
        } else {
            // After the superblock: with bigalloc, blocks of 1 KiB are counted from 0, and it is in block 1.
            SUPERBLOCK_OFFSET / u64::from(self.block_size) + 1 + u64::from(metagroup)
        };
        (block, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_or_foreign_start_is_no_ext_filesystem() {
        assert!(probe(&[]).is_none());
        assert!(probe(&[0; 2048]).is_none());
        let mut bytes = [0u8; 2048];
        bytes[1024 + 0x38] = 0x53;
        bytes[1024 + 0x39] = 0xEF;
        assert_eq!(probe(&bytes), Some(Kind::Ext2));
        bytes[1024 + 0x18] = 7;
        assert!(probe(&bytes).is_none());
    }
}
