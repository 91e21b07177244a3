//! An L2 entry as the mapping of one guest cluster, the same for standard and extended entries.

use crate::error::{Result, corrupt};
use crate::geometry::Geometry;
use crate::raw::entry::{COMPRESSED, COPIED, L2_RESERVED, OFFSET_MASK, SECTOR, ZERO};

/// Compressed data of one cluster in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CompressedRange {
    /// Byte offset, any alignment.
    pub offset: u64,
    /// Length in bytes, up to the end of its last sector; the stream may end earlier.
    pub len: u64,
}

/// Where a guest cluster's bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mapping {
    Compressed(CompressedRange),
    /// Subclusters in `alloc` are at `host`, those in `zero` read as zero, the rest comes from the backing device.
    Standard {
        /// Cluster-aligned; 0 when there is no host cluster.
        host: u64,
        copied: bool,
        alloc: u32,
        zero: u32,
    },
}

impl Mapping {
    /// Nothing here: the backing device, or zero without one.
    pub const UNALLOCATED: Self = Self::Standard { host: 0, copied: false, alloc: 0, zero: 0 };

    /// Checks an entry of the L2 table found at file offset `at`; `bitmap` is 0 for standard entries.
    pub fn decode(geo: &Geometry, at: u64, entry: u64, bitmap: u64, file_len: u64) -> Result<Self> {
        if entry & COMPRESSED != 0 {
            let shift = 62 - (geo.cluster_bits - 8);
            let offset = entry & ((1 << shift) - 1);
            let sectors = ((entry & (COMPRESSED - 1)) >> shift) + 1;
            if offset < geo.cluster() || offset >= file_len {
                return Err(corrupt("compressed cluster offset", at, offset, "an offset inside the file"));
            }
            return Ok(Self::Compressed(CompressedRange { offset, len: sectors * SECTOR - offset % SECTOR }));
        }
        let reserved = if geo.extended_l2 { L2_RESERVED | ZERO } else { L2_RESERVED };
        if entry & reserved != 0 {
            return Err(corrupt("L2 entry", at, entry, "reserved bits clear"));
        }
        let host = entry & OFFSET_MASK;
        if host != 0 && !geo.valid_cluster(host, file_len) {
            return Err(corrupt("L2 entry", at, entry, "a cluster-aligned offset inside the file"));
        }
        let (alloc, zero) = if geo.extended_l2 {
            let (alloc, zero) = (bitmap as u32, (bitmap >> 32) as u32);
            if alloc & zero != 0 {
                return Err(corrupt("L2 subcluster bitmap", at + 8, bitmap, "no subcluster both allocated and zero"));
            }
            if host == 0 && alloc != 0 {
                return Err(corrupt(
                    "L2 subcluster bitmap",
                    at + 8,
                    bitmap,
                    "no allocated subcluster without a cluster",
                ));
            }
            (alloc, zero)
        } else if entry & ZERO != 0 {
            if geo.version < 3 {
                return Err(corrupt("L2 entry", at, entry, "no zero flag in version 2"));
            }
            (0, 1)
        } else {
            (u32::from(host != 0), 0)
        };
        Ok(Self::Standard { host, copied: entry & COPIED != 0, alloc, zero })
    }

    /// The entry and its bitmap. Only standard mappings are written.
    pub fn encode_standard(geo: &Geometry, host: u64, copied: bool, alloc: u32, zero: u32) -> (u64, u64) {
        let copied = if copied { COPIED } else { 0 };
        if geo.extended_l2 {
            (host | copied, u64::from(zero) << 32 | u64::from(alloc))
        } else {
            (host | copied | u64::from(zero), 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geo(cluster_bits: u32, extended_l2: bool) -> Geometry {
        Geometry { cluster_bits, refcount_order: 4, extended_l2, version: 3, size: 1 << 30 }
    }

    #[test]
    fn compressed_entries_split_as_the_specification_says() {
        // 64 KiB clusters: 54 bits of offset, 8 bits of additional sectors.
        let entry = COMPRESSED | 2 << 54 | 0x1_2345;
        let Ok(Mapping::Compressed(range)) = Mapping::decode(&geo(16, false), 0, entry, 0, 1 << 20) else {
            panic!("not decoded as compressed");
        };
        assert_eq!(range, CompressedRange { offset: 0x1_2345, len: 3 * 512 - 0x145 });
    }

    #[test]
    fn what_is_encoded_decodes() {
        for (geo, alloc, zero) in [(geo(16, true), 0xf0, 0xf), (geo(16, false), 1, 0), (geo(16, false), 0, 1)] {
            let (entry, bitmap) = Mapping::encode_standard(&geo, 0x5_0000, true, alloc, zero);
            let back = Mapping::decode(&geo, 0, entry, bitmap, 1 << 20).unwrap();
            assert_eq!(back, Mapping::Standard { host: 0x5_0000, copied: true, alloc, zero });
        }
    }

    #[test]
    fn wrong_entries_are_refused() {
        let (standard, extended) = (geo(16, false), geo(16, true));
        let v2 = Geometry { version: 2, ..standard };
        for (geo, entry, bitmap) in [
            (standard, 0x5_0200, 0),
            (standard, 0x5_0002, 0),
            (standard, 0x20_0000, 0),
            (standard, COMPRESSED | 0x20_0000, 0),
            (standard, COMPRESSED | 0x100, 0),
            (v2, 0x5_0001, 0),
            (extended, 0x5_0001, 0),
            (extended, 0x5_0000, 1 << 32 | 1),
            (extended, 0, 1),
        ] {
            assert!(Mapping::decode(&geo, 0, entry, bitmap, 0x20_0000).is_err(), "{entry:#x} {bitmap:#x}");
        }
    }
}
