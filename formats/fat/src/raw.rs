//! The structures on the disk, every byte kept, with the names of Microsoft's "FAT: General Overview of On-Disk
//! Format". Numbers are little-endian.

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first 90 bytes of the boot sector: what all FATs have, and what only FAT32 has from byte 36 on.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_snake_case, reason = "the specification's names")]
pub(crate) struct BootSector {
    pub BS_jmpBoot: [u8; 3],
    pub BS_OEMName: [u8; 8],
    pub BPB_BytsPerSec: U16,
    pub BPB_SecPerClus: u8,
    pub BPB_RsvdSecCnt: U16,
    pub BPB_NumFATs: u8,
    pub BPB_RootEntCnt: U16,
    pub BPB_TotSec16: U16,
    pub BPB_Media: u8,
    pub BPB_FATSz16: U16,
    pub BPB_SecPerTrk: U16,
    pub BPB_NumHeads: U16,
    pub BPB_HiddSec: U32,
    pub BPB_TotSec32: U32,
    pub BPB_FATSz32: U32,
    pub BPB_ExtFlags: U16,
    pub BPB_FSVer: U16,
    pub BPB_RootClus: U32,
    pub BPB_FSInfo: U16,
    pub BPB_BkBootSec: U16,
    pub BPB_Reserved: [u8; 12],
    pub rest: [u8; 26],
}

/// Drive, state, signature, number and label: at byte 36 of the boot sector of FAT12 and FAT16, at 64 of FAT32.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_snake_case, reason = "the specification's names")]
pub(crate) struct ExtendedBoot {
    pub BS_DrvNum: u8,
    /// Bit 0: not unmounted properly.
    pub BS_Reserved1: u8,
    pub BS_BootSig: u8,
    pub BS_VolID: U32,
    pub BS_VolLab: [u8; 11],
    pub BS_FilSysType: [u8; 8],
}

/// A directory entry, or the short one that follows those of a long name.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_snake_case, reason = "the specification's names")]
pub(crate) struct DirEntry {
    pub DIR_Name: [u8; 11],
    pub DIR_Attr: u8,
    /// Bit 3: the name is in lower case, bit 4: its extension is.
    pub DIR_NTRes: u8,
    pub DIR_CrtTimeTenth: u8,
    pub DIR_CrtTime: U16,
    pub DIR_CrtDate: U16,
    pub DIR_LstAccDate: U16,
    pub DIR_FstClusHI: U16,
    pub DIR_WrtTime: U16,
    pub DIR_WrtDate: U16,
    pub DIR_FstClusLO: U16,
    pub DIR_FileSize: U32,
}

/// 13 UTF-16 units of a long name.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_snake_case, reason = "the specification's names")]
pub(crate) struct LongEntry {
    pub LDIR_Ord: u8,
    pub LDIR_Name1: [U16; 5],
    pub LDIR_Attr: u8,
    pub LDIR_Type: u8,
    pub LDIR_Chksum: u8,
    pub LDIR_Name2: [U16; 6],
    pub LDIR_FstClusLO: U16,
    pub LDIR_Name3: [U16; 2],
}

/// Sector with what FAT32 knows of its free clusters.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_snake_case, reason = "the specification's names")]
pub(crate) struct FsInfo {
    pub FSI_LeadSig: U32,
    pub FSI_Reserved1: [u8; 480],
    pub FSI_StrucSig: U32,
    pub FSI_Free_Count: U32,
    pub FSI_Nxt_Free: U32,
    pub FSI_Reserved2: [u8; 12],
    pub FSI_TrailSig: U32,
}

const _: () = assert!(size_of::<BootSector>() == 90 && std::mem::offset_of!(BootSector, BPB_FATSz32) == 36);
const _: () = assert!(size_of::<ExtendedBoot>() == 26);
const _: () = assert!(size_of::<DirEntry>() == 32 && std::mem::offset_of!(DirEntry, DIR_FileSize) == 28);
const _: () = assert!(size_of::<LongEntry>() == 32 && std::mem::offset_of!(LongEntry, LDIR_Name3) == 28);
const _: () = assert!(size_of::<FsInfo>() == 512 && std::mem::offset_of!(FsInfo, FSI_Free_Count) == 488);

/// `DIR_Attr`.
pub(crate) mod attr {
    pub const READ_ONLY: u8 = 0x01;
    pub const HIDDEN: u8 = 0x02;
    pub const SYSTEM: u8 = 0x04;
    pub const VOLUME_ID: u8 = 0x08;
    pub const DIRECTORY: u8 = 0x10;
    pub const ARCHIVE: u8 = 0x20;
    pub const LONG_NAME: u8 = READ_ONLY | HIDDEN | SYSTEM | VOLUME_ID;
    pub const LONG_NAME_MASK: u8 = LONG_NAME | DIRECTORY | ARCHIVE;
}

impl DirEntry {
    /// Where the contents begin; 0 where there are none. The upper half is of FAT32 alone.
    pub fn cluster(&self, wide: bool) -> u32 {
        let high = if wide { u32::from(self.DIR_FstClusHI.get()) << 16 } else { 0 };
        high | u32::from(self.DIR_FstClusLO.get())
    }

    pub fn set_cluster(&mut self, cluster: u32, wide: bool) {
        self.DIR_FstClusLO.set(cluster as u16);
        if wide {
            self.DIR_FstClusHI.set((cluster >> 16) as u16);
        }
    }

    pub fn is_dir(&self) -> bool {
        self.DIR_Attr & attr::DIRECTORY != 0
    }
}

impl LongEntry {
    pub fn units(&self) -> impl Iterator<Item = u16> {
        self.LDIR_Name1.iter().chain(&self.LDIR_Name2).chain(&self.LDIR_Name3).map(|unit| unit.get())
    }

    pub fn units_mut(&mut self) -> impl Iterator<Item = &mut U16> {
        self.LDIR_Name1.iter_mut().chain(&mut self.LDIR_Name2).chain(&mut self.LDIR_Name3)
    }
}
