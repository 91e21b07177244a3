//! The header, its extensions and its feature bits.

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first four bytes of every image.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";

/// The part of the header that versions 2 and 3 share, at byte 0.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HeaderV2 {
    pub magic: [u8; 4],
    pub version: U32,
    pub backing_file_offset: U64,
    pub backing_file_size: U32,
    pub cluster_bits: U32,
    pub size: U64,
    pub crypt_method: U32,
    pub l1_size: U32,
    pub l1_table_offset: U64,
    pub refcount_table_offset: U64,
    pub refcount_table_clusters: U32,
    pub nb_snapshots: U32,
    pub snapshots_offset: U64,
}

/// What version 3 adds, at byte 72.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HeaderV3 {
    pub incompatible_features: U64,
    pub compatible_features: U64,
    pub autoclear_features: U64,
    pub refcount_order: U32,
    pub header_length: U32,
}

const _: () = assert!(size_of::<HeaderV2>() == 72);
const _: () = assert!(core::mem::offset_of!(HeaderV2, size) == SIZE_AT as usize);
const _: () = assert!(core::mem::offset_of!(HeaderV2, crypt_method) == SIZE_AT as usize + 8);
const _: () = assert!(core::mem::offset_of!(HeaderV2, l1_size) == SIZE_AT as usize + 12);
const _: () = assert!(core::mem::offset_of!(HeaderV2, l1_table_offset) == SIZE_AT as usize + 16);
const _: () = assert!(core::mem::offset_of!(HeaderV2, refcount_table_offset) == REFCOUNT_TABLE_AT as usize);
const _: () = assert!(core::mem::offset_of!(HeaderV2, refcount_table_clusters) == REFCOUNT_TABLE_AT as usize + 8);
const _: () = assert!(72 + core::mem::offset_of!(HeaderV3, autoclear_features) == AUTOCLEAR_AT as usize);
const _: () = assert!(72 + size_of::<HeaderV3>() == V3_LENGTH as usize);

/// Byte offset of `size`; `crypt_method`, `l1_size` and `l1_table_offset` follow it, so all change in one write.
pub const SIZE_AT: u64 = 24;
/// Byte offset of `refcount_table_offset`; `refcount_table_clusters` follows it, so both change in one write.
pub const REFCOUNT_TABLE_AT: u64 = 48;
/// Byte offset of `autoclear_features`.
pub const AUTOCLEAR_AT: u64 = 88;
/// Byte offset of `compression_type`, there when `header_length` exceeds it.
pub const COMPRESSION_TYPE_AT: usize = 104;
/// Length of the version 2 header.
pub const V2_LENGTH: u32 = 72;
/// The least `header_length` of version 3.
pub const V3_LENGTH: u32 = 104;
/// The `header_length` with the compression type in it.
pub const FULL_LENGTH: u32 = 112;

/// Refcounts may be stale (lazy refcounts, not closed).
pub const INCOMPAT_DIRTY: u64 = 1 << 0;
/// A program found the structures inconsistent.
pub const INCOMPAT_CORRUPT: u64 = 1 << 1;
/// Guest data is in another file.
pub const INCOMPAT_DATA_FILE: u64 = 1 << 2;
/// The compression type is not zlib.
pub const INCOMPAT_COMPRESSION: u64 = 1 << 3;
/// L2 entries are 16 bytes with subcluster bitmaps.
pub const INCOMPAT_EXTENDED_L2: u64 = 1 << 4;
/// Refcount updates may be postponed while the dirty bit is set.
pub const COMPAT_LAZY_REFCOUNTS: u64 = 1 << 0;
/// The bitmaps extension is consistent.
pub const AUTOCLEAR_BITMAPS: u64 = 1 << 0;

/// Ends the list of header extensions.
pub const EXT_END: u32 = 0;
/// The format name of the backing file.
pub const EXT_BACKING_FORMAT: u32 = 0xe279_2aca;
/// Persistent dirty bitmaps.
pub const EXT_BITMAPS: u32 = 0x2385_2875;
