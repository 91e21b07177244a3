//! Whether the device is one filesystem from its first byte: boot sectors carry the signature of an MBR too.

use crate::Error;
use crate::raw::{SECTOR, is_inside, read_exact_vec};
use byteorder::{ByteOrder, LittleEndian};
use nomount_block::ReadAt;
use std::fmt;

/// Byte offset of the superblock of ext2, ext3 and ext4.
pub(crate) const EXT_SUPERBLOCK: u64 = 1024;
/// 64 KiB blocks: 1024 << 6.
const EXT_MAX_LOG_BLOCK_SIZE: u32 = 6;

/// A filesystem on the whole device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// exFAT.
    ExFat,
    /// NTFS.
    Ntfs,
    /// ext2, ext3 or ext4.
    Ext,
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fat => "a FAT boot sector",
            Self::ExFat => "an exFAT boot sector",
            Self::Ntfs => "an NTFS boot sector",
            Self::Ext => "an ext superblock",
        })
    }
}

/// The filesystem whose boot sector or superblock is there and makes sense. `sector` is sector 0.
pub(crate) fn detect(device: &dyn ReadAt, sector: &[u8]) -> Result<Option<Filesystem>, Error> {
    if let Some(found) = boot_sector(sector) {
        return Ok(Some(found));
    }
    if !is_inside(EXT_SUPERBLOCK, SECTOR, device.len()) {
        return Ok(None);
    }
    let superblock = read_exact_vec(device, EXT_SUPERBLOCK, SECTOR)?;
    Ok(is_ext_superblock(&superblock).then_some(Filesystem::Ext))
}

fn boot_sector(sector: &[u8]) -> Option<Filesystem> {
    let jumps = sector[0] == 0xe9 || (sector[0] == 0xeb && sector[2] == 0x90);
    if !jumps {
        return None;
    }
    match &sector[3..11] {
        b"NTFS    " => return Some(Filesystem::Ntfs),
        b"EXFAT   " => return Some(Filesystem::ExFat),
        _ => {}
    }
    // BIOS parameter block, FAT specification 1.03, section 3.1. All of these must fit: boot loaders begin with a
    // jump too, and leave the rest zero.
    let bytes_per_sector = LittleEndian::read_u16(&sector[11..13]);
    let sectors_per_cluster = sector[13];
    let reserved_sectors = LittleEndian::read_u16(&sector[14..16]);
    let num_fats = sector[16];
    let media = sector[21];
    let fat = bytes_per_sector.is_power_of_two()
        && (512..=4096).contains(&bytes_per_sector)
        && sectors_per_cluster.is_power_of_two()
        && reserved_sectors > 0
        && matches!(num_fats, 1 | 2)
        && (media == 0xf0 || media >= 0xf8);
    fat.then_some(Filesystem::Fat)
}

/// Field offsets of the ext4 superblock, as in the kernel's documentation.
fn is_ext_superblock(superblock: &[u8]) -> bool {
    let u32_at = |offset: usize| LittleEndian::read_u32(&superblock[offset..offset + 4]);
    let s_inodes_count = u32_at(0x0);
    let s_blocks_count_lo = u32_at(0x4);
    let s_first_data_block = u32_at(0x14);
    let s_log_block_size = u32_at(0x18);
    let s_blocks_per_group = u32_at(0x20);
    let s_inodes_per_group = u32_at(0x28);
    let s_magic = LittleEndian::read_u16(&superblock[0x38..0x3a]);
    s_magic == 0xef53
        && s_inodes_count > 0
        && s_blocks_count_lo > 0
        && s_first_data_block <= 1
        && s_log_block_size <= EXT_MAX_LOG_BLOCK_SIZE
        && s_blocks_per_group > 0
        && s_inodes_per_group > 0
}
