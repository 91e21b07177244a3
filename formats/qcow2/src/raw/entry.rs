//! Bits of L1, L2 and refcount table entries.

/// Refcount is exactly one: may be written in place.
pub const COPIED: u64 = 1 << 63;
/// L2: the descriptor is one of a compressed cluster.
pub const COMPRESSED: u64 = 1 << 62;
/// L2 without subclusters: reads as zero.
pub const ZERO: u64 = 1;
/// L1 and L2: host cluster offset.
pub const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// L1: bits that must be zero.
pub const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
/// L2, standard: bits that must be zero, besides [`ZERO`].
pub const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;
/// Refcount table: bits that must be zero.
pub const REFTABLE_RESERVED: u64 = 0x1ff;
/// Host offsets stay below this.
pub const HOST_LIMIT: u64 = 1 << 56;
/// Compressed data is measured in sectors of so many bytes.
pub const SECTOR: u64 = 512;
/// Bytes of an L1, standard L2 or refcount table entry.
pub const ENTRY: u64 = 8;
