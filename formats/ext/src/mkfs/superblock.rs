//! The superblock of a new filesystem.

use super::options::MkfsOptions;
use super::shape::{FIRST_INO, Shape};
use crate::checksum::{SEED, crc32c};
use crate::features::{Features, incompat, ro_compat};
use crate::geometry::{STATE_VALID, superblock_checksum};
use crate::raw::Superblock;
use zerocopy::FromZeros;

const MAGIC: u16 = 0xEF53;
/// `s_errors`: go on.
const ERRORS_CONTINUE: u16 = 1;
/// `s_default_mount_opts`: extended attributes of users, POSIX ACLs.
const MOUNT_XATTR_ACL: u32 = 0x4 | 0x8;
/// `s_def_hash_version`: half MD4.
const HALF_MD4: u8 = 1;
/// `s_flags`: names are hashed as signed characters, as on x86, whatever this runs on.
const SIGNED_HASH: u32 = 1;

/// Features of kernels that count what they write.
const COUNTING: u32 = ro_compat::HUGE_FILE
    | ro_compat::GDT_CSUM
    | ro_compat::DIR_NLINK
    | ro_compat::METADATA_CSUM
    | ro_compat::EXTRA_ISIZE;

/// Everything that is known before anything is placed. Free blocks and inodes are not.
pub(super) fn first(shape: &Shape, options: &MkfsOptions) -> Superblock {
    let mut sb = Superblock::new_zeroed();
    sb.s_inodes_count.set(shape.groups * shape.inodes_per_group);
    sb.s_blocks_count_lo.set(shape.blocks_count as u32);
    sb.s_blocks_count_hi.set((shape.blocks_count >> 32) as u32);
    sb.s_r_blocks_count_lo.set(shape.reserved_blocks as u32);
    sb.s_r_blocks_count_hi.set((shape.reserved_blocks >> 32) as u32);
    sb.s_first_data_block.set(shape.first_data_block as u32);
    sb.s_log_block_size.set(shape.block_size.ilog2() - 10);
    sb.s_log_cluster_size.set((shape.block_size * shape.cluster_ratio).ilog2() - 10);
    sb.s_blocks_per_group.set(shape.blocks_per_group);
    sb.s_clusters_per_group.set(shape.clusters_per_group);
    sb.s_inodes_per_group.set(shape.inodes_per_group);
    sb.s_max_mnt_count.set(u16::MAX);
    sb.s_magic.set(MAGIC);
    sb.s_state.set(STATE_VALID);
    sb.s_errors.set(ERRORS_CONTINUE);
    sb.s_rev_level.set(1);
    sb.s_first_ino.set(FIRST_INO);
    sb.s_inode_size.set(shape.inode_size);
    set_features(&mut sb, &shape.features);
    sb.s_uuid = options.uuid;
    sb.s_volume_name[..options.label.len()].copy_from_slice(&options.label);
    sb.s_reserved_gdt_blocks.set(shape.reserved_gdt as u16);
    for (word, bytes) in sb.s_hash_seed.iter_mut().zip(options.hash_seed.chunks_exact(4)) {
        word.set(u32::from_le_bytes(bytes.try_into().expect("four bytes")));
    }
    sb.s_def_hash_version = HALF_MD4;
    if shape.features.incompat(incompat::BIT64) {
        sb.s_desc_size.set(shape.desc_size);
    }
    sb.s_default_mount_opts.set(MOUNT_XATTR_ACL);
    if shape.inode_size > 128 {
        sb.s_min_extra_isize.set(32);
        sb.s_want_extra_isize.set(32);
    }
    sb.s_flags.set(SIGNED_HASH);
    sb.s_log_groups_per_flex = shape.flex_log;
    for (word, group) in sb.s_backup_bgs.iter_mut().zip(shape.backup_bgs) {
        word.set(group);
    }
    if shape.features.ro_compat(ro_compat::METADATA_CSUM) {
        sb.s_checksum_type = 1;
    }
    if shape.features.incompat(incompat::CSUM_SEED) {
        sb.s_checksum_seed.set(crc32c(SEED, &options.uuid));
    }
    let (lo, hi) = stamp(options);
    sb.s_wtime.set(lo);
    sb.s_wtime_hi = hi;
    sb.s_mkfs_time.set(lo);
    sb.s_mkfs_time_hi = hi;
    sb.s_lastcheck.set(lo);
    sb.s_lastcheck_hi = hi;
    if shape.features.incompat(incompat::FLEX_BG) || shape.features.ro_compat & COUNTING != 0 {
        // Filled in at the end; not zero says that it is counted.
        sb.s_kbytes_written.set(1);
    }
    sb
}

/// The clock in 40 bits.
fn stamp(options: &MkfsOptions) -> (u32, u8) {
    let now = options.now.sec.max(0) as u64;
    (now as u32, (now >> 32) as u8)
}

pub(super) fn set_features(sb: &mut Superblock, features: &Features) {
    sb.s_feature_compat.set(features.compat);
    sb.s_feature_incompat.set(features.incompat);
    sb.s_feature_ro_compat.set(features.ro_compat);
}

/// A copy with its checksum.
pub(super) fn sealed(sb: &Superblock) -> Superblock {
    let mut sb = sb.clone();
    if Features::of(&sb).ro_compat(ro_compat::METADATA_CSUM) {
        let sum = superblock_checksum(&sb);
        sb.s_checksum.set(sum);
    }
    sb
}
