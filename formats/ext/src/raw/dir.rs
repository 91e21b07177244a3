//! Directory blocks, linear and indexed.

use super::layout;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The fixed part of `struct ext4_dir_entry_2`; the name follows.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct DirEntryHead {
    pub inode: U32,
    pub rec_len: U16,
    pub name_len: u8,
    pub file_type: u8,
}

/// `struct ext4_dir_entry_tail`: the last 12 bytes of a checksummed leaf.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct DirTail {
    pub det_reserved_zero1: U32,
    pub det_rec_len: U16,
    pub det_reserved_zero2: u8,
    pub det_reserved_ft: u8,
    pub det_checksum: U32,
}

/// `struct dx_root_info`, at byte 24 of an indexed directory's first block.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct DxRootInfo {
    pub reserved_zero: U32,
    pub hash_version: u8,
    pub info_length: u8,
    pub indirect_levels: u8,
    pub unused_flags: u8,
}

/// `struct dx_entry`. The first entry's `hash` is `struct dx_countlimit` instead: limit, then count.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct DxEntry {
    pub hash: U32,
    pub block: U32,
}

/// `struct dx_tail`, after the limit of a checksummed index block.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct DxTail {
    pub dt_reserved: U32,
    pub dt_checksum: U32,
}

layout!(DirEntryHead, 8, file_type @ 7);
layout!(DirTail, 12, det_reserved_ft @ 7, det_checksum @ 8);
layout!(DxRootInfo, 8, indirect_levels @ 6);
layout!(DxEntry, 8, block @ 4);
layout!(DxTail, 8, dt_checksum @ 4);
