//! An entry of the snapshot table; extra data, id and name follow it, padded to 8 bytes.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The fixed part.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SnapshotHeader {
    pub l1_table_offset: U64,
    pub l1_size: U32,
    pub id_str_size: U16,
    pub name_size: U16,
    pub date_sec: U32,
    pub date_nsec: U32,
    pub vm_clock_nsec: U64,
    pub vm_state_size: U32,
    pub extra_data_size: U32,
}

const _: () = assert!(size_of::<SnapshotHeader>() == 40);

/// Byte offset in the extra data of the guest's length when the snapshot was taken; the length of the saved machine
/// state is before it.
pub const SNAPSHOT_SIZE_AT: u64 = 8;
