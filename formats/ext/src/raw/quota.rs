//! Quota files of version 2, revision 1 (`struct v2_disk_dqheader` and its neighbours in the kernel's
//! `fs/quota/quotaio_v2.h` and `quotaio_tree.h`; "vfsv1" of the quota tools).

use super::layout;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `struct v2_disk_dqheader` and `struct v2_disk_dqinfo`, at the start of the file.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct QuotaHeader {
    pub dqh_magic: U32,
    pub dqh_version: U32,
    pub dqi_bgrace: U32,
    pub dqi_igrace: U32,
    pub dqi_flags: U32,
    pub dqi_blocks: U32,
    pub dqi_free_blk: U32,
    pub dqi_free_entry: U32,
}

/// `struct qt_disk_dqdbheader`, at the start of a block of entries.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct QuotaBlockHeader {
    pub dqdh_next_free: U32,
    pub dqdh_prev_free: U32,
    pub dqdh_entries: U16,
    pub dqdh_pad1: U16,
    pub dqdh_pad2: U32,
}

/// `struct v2r1_disk_dqblk`: limits and usage of one user, group or project. All zero where the slot is free.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct QuotaEntry {
    pub dqb_id: U32,
    pub dqb_pad: U32,
    pub dqb_ihardlimit: U64,
    pub dqb_isoftlimit: U64,
    pub dqb_curinodes: U64,
    pub dqb_bhardlimit: U64,
    pub dqb_bsoftlimit: U64,
    pub dqb_curspace: U64,
    pub dqb_btime: U64,
    pub dqb_itime: U64,
}

layout!(QuotaHeader, 32, dqi_blocks @ 20);
layout!(QuotaBlockHeader, 16, dqdh_entries @ 8);
layout!(QuotaEntry, 72, dqb_curinodes @ 24, dqb_curspace @ 48, dqb_itime @ 64);
