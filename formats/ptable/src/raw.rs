//! The structures on disk, and reading them whole.

use crate::Error;
use nomount_block::ReadAt;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The sector that LBAs of an MBR count in, and the smaller of the two sizes that a GPT may count in.
pub(crate) const SECTOR: u64 = 512;

/// `EFI PART`
pub(crate) const GPT_SIGNATURE: [u8; 8] = *b"EFI PART";
/// The only revision there is: 1.0.
pub(crate) const GPT_REVISION: u32 = 0x0001_0000;
/// Byte offset of `header_crc32` in the header.
pub(crate) const HEADER_CRC_OFFSET: usize = 16;

/// GPT header, UEFI 2.10 table 5.5.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct GptHeader {
    pub signature: [u8; 8],
    pub revision: U32,
    pub header_size: U32,
    pub header_crc32: U32,
    pub reserved: U32,
    pub my_lba: U64,
    pub alternate_lba: U64,
    pub first_usable_lba: U64,
    pub last_usable_lba: U64,
    pub disk_guid: [u8; 16],
    pub partition_entry_lba: U64,
    pub number_of_partition_entries: U32,
    pub size_of_partition_entry: U32,
    pub partition_entry_array_crc32: U32,
}

const _: () = assert!(size_of::<GptHeader>() == 92);
const _: () = assert!(std::mem::offset_of!(GptHeader, header_crc32) == HEADER_CRC_OFFSET);
const _: () = assert!(std::mem::offset_of!(GptHeader, disk_guid) == 56);
const _: () = assert!(std::mem::offset_of!(GptHeader, partition_entry_array_crc32) == 88);

/// GPT entry, UEFI 2.10 table 5.6.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct GptEntry {
    pub partition_type_guid: [u8; 16],
    pub unique_partition_guid: [u8; 16],
    pub starting_lba: U64,
    pub ending_lba: U64,
    pub attributes: U64,
    pub partition_name: [u8; 72],
}

const _: () = assert!(size_of::<GptEntry>() == 128);
const _: () = assert!(std::mem::offset_of!(GptEntry, attributes) == 48);

/// Entry of a boot record, UEFI 2.10 table 5.2.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct MbrEntry {
    pub boot_indicator: u8,
    pub starting_chs: [u8; 3],
    pub os_type: u8,
    pub ending_chs: [u8; 3],
    pub starting_lba: U32,
    pub size_in_lba: U32,
}

const _: () = assert!(size_of::<MbrEntry>() == 16);
const _: () = assert!(std::mem::offset_of!(MbrEntry, starting_lba) == 8);

/// Boot record, UEFI 2.10 table 5.1: sector 0, or an extended boot record, which has the same layout.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct BootRecord {
    pub boot_code: [u8; BOOT_CODE],
    pub unique_mbr_disk_signature: U32,
    pub unknown: [u8; 2],
    pub partition_record: [MbrEntry; 4],
    pub signature: [u8; 2],
}

const _: () = assert!(size_of::<BootRecord>() == 512);
const _: () = assert!(std::mem::offset_of!(BootRecord, partition_record) == 446);

/// Bytes of boot code at the start of a boot record.
pub(crate) const BOOT_CODE: usize = 440;
/// Signature of a boot record.
pub(crate) const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// Type of the entry that protects a GPT.
pub(crate) const PROTECTIVE: u8 = 0xee;
/// Boot indicator of the active entry.
pub(crate) const ACTIVE: u8 = 0x80;

/// Reads `len` bytes at `offset`. `len` is bounded by the caller.
pub(crate) fn read_exact_vec(device: &dyn ReadAt, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len as usize];
    device.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// Whether `offset..offset + len` lies inside a device of `device_len` bytes.
pub(crate) fn is_inside(offset: u64, len: u64, device_len: u64) -> bool {
    offset.checked_add(len).is_some_and(|end| end <= device_len)
}
