//! The layout of an existing filesystem: every number of its boot sector, bounded before anything follows from it.

use crate::error::{Error, Result, corrupt};
use crate::geometry::Kind;
use crate::raw::{BootSector, ExtendedBoot};
use zerocopy::FromBytes;

/// Bytes of the boot sector that are looked at.
pub(crate) const BOOT_LEN: usize = 512;
/// The first cluster has this number.
pub(crate) const FIRST_CLUSTER: u32 = 2;
/// The most copies of the table that anyone made; the specification wants two.
const MAX_FATS: u8 = 4;
/// The most clusters, each with a number below those that mean something else.
const MAX_FAT12: u64 = 4084;
const MAX_FAT16: u64 = 65524;
const MAX_FAT32: u64 = 0x0fff_fff5;
/// 128 sectors of 4096 bytes would be larger than what anyone reads.
const MAX_CLUSTER: u32 = 256 << 10;
/// Signatures of [`ExtendedBoot`]: with number and label, and with the number only.
const SIGNATURES: [u8; 2] = [0x29, 0x28];

/// Where the root directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// At a byte offset, with so many entries, FAT12 and FAT16.
    Fixed { at: u64, entries: u32 },
    /// In a chain as any other directory, FAT32.
    Chain(u32),
}

/// Where things are. Offsets are bytes of the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub kind: Kind,
    /// Bytes of a sector.
    pub sector: u32,
    /// Bytes of a cluster.
    pub cluster: u32,
    /// How many there are, numbered from [`FIRST_CLUSTER`].
    pub clusters: u32,
    /// Bytes of the filesystem.
    pub len: u64,
    /// The table that is read.
    pub fat_at: u64,
    /// The others that are written with it.
    pub fat_copies: Vec<u64>,
    pub root: Root,
    /// The first cluster.
    pub data_at: u64,
    /// What FAT32 knows of its free clusters.
    pub info_at: Option<u64>,
    /// The copy of the boot sector.
    pub boot_copy_at: Option<u64>,
    /// [`ExtendedBoot`], where its signature says that it is there.
    pub extended_at: Option<u64>,
}

impl Shape {
    /// The layout that the boot sector of a device of `device_len` bytes describes.
    pub fn check(bytes: &[u8; BOOT_LEN], device_len: u64) -> Result<Self> {
        let boot = BootSector::read_from_prefix(bytes).expect("512 bytes are enough").0;
        if bytes[510..] != [0x55, 0xaa] {
            return Err(Error::NotFat("the boot sector has no signature"));
        }
        let sector = u32::from(boot.BPB_BytsPerSec.get());
        let per_cluster = u32::from(boot.BPB_SecPerClus);
        if !matches!(sector, 512 | 1024 | 2048 | 4096) {
            return Err(Error::NotFat("the size of a sector is impossible"));
        }
        if !per_cluster.is_power_of_two() || per_cluster * sector > MAX_CLUSTER {
            return Err(Error::NotFat("the size of a cluster is impossible"));
        }
        let wide = boot.BPB_FATSz16.get() == 0;
        let wrong = |why: String| Err(corrupt("boot sector", why));
        let reserved = u64::from(boot.BPB_RsvdSecCnt.get());
        let fats = boot.BPB_NumFATs;
        if reserved == 0 || fats == 0 || fats > MAX_FATS {
            return wrong(format!("{reserved} reserved sectors and {fats} tables"));
        }
        let fat_len = if wide { boot.BPB_FATSz32.get().into() } else { u64::from(boot.BPB_FATSz16.get()) };
        let entries = u32::from(boot.BPB_RootEntCnt.get());
        if fat_len == 0 || wide != (entries == 0) {
            return wrong(format!("a table of {fat_len} sectors and {entries} entries of the root directory"));
        }
        if wide && boot.BPB_FSVer.get() != 0 {
            return Err(Error::Unsupported(format!("FAT32 version {:#06x}", boot.BPB_FSVer.get())));
        }
        let sectors = match u64::from(boot.BPB_TotSec16.get()) {
            0 => u64::from(boot.BPB_TotSec32.get()),
            few => few,
        };
        let sector_len = u64::from(sector);
        if sectors * sector_len > device_len {
            return wrong(format!("{sectors} sectors of {sector} bytes on a device of {device_len} bytes"));
        }
        let root_sectors = (u64::from(entries) * 32).div_ceil(sector_len);
        let root_at = reserved + u64::from(fats) * fat_len;
        let data_at = root_at + root_sectors;
        let Some(clusters) = sectors.checked_sub(data_at).map(|left| left / u64::from(per_cluster)) else {
            return wrong(format!("the data begin at sector {data_at} of {sectors}"));
        };
        let (kind, most) = match clusters {
            _ if wide => (Kind::Fat32, MAX_FAT32),
            ..=MAX_FAT12 => (Kind::Fat12, MAX_FAT12),
            _ => (Kind::Fat16, MAX_FAT16),
        };
        if clusters == 0 || clusters > most {
            return wrong(format!("{clusters} clusters, {} has 1 to {most}", kind.name()));
        }
        let room = fat_len * sector_len * 8 / kind.bits();
        if room < clusters + u64::from(FIRST_CLUSTER) {
            return wrong(format!("{clusters} clusters, but a table for {room}"));
        }
        let clusters = clusters as u32;
        let root = match boot.BPB_RootClus.get() {
            _ if !wide => Root::Fixed { at: root_at * sector_len, entries },
            cluster if (FIRST_CLUSTER..FIRST_CLUSTER + clusters).contains(&cluster) => Root::Chain(cluster),
            cluster => return wrong(format!("the root directory begins at cluster {cluster}")),
        };
        let mut tables: Vec<u64> =
            (0..u64::from(fats)).map(|number| (reserved + number * fat_len) * sector_len).collect();
        // FAT32 may say that one table alone is in use.
        let flags = boot.BPB_ExtFlags.get();
        let alone = wide && flags & 0x80 != 0;
        let active = if alone { usize::from(flags & 0xf) } else { 0 };
        if active >= tables.len() {
            return wrong(format!("table {active} of {fats} is in use"));
        }
        let fat_at = tables.remove(active);
        if alone {
            tables.clear();
        }
        let special = |number: u16| match u64::from(number) {
            0 | 0xffff => None,
            number => (wide && number < reserved).then_some(number * sector_len),
        };
        let extended_at = if wide { 64 } else { 36 };
        let signature = bytes[extended_at as usize + std::mem::offset_of!(ExtendedBoot, BS_BootSig)];
        Ok(Self {
            kind,
            sector,
            cluster: per_cluster * sector,
            clusters,
            len: sectors * sector_len,
            fat_at,
            fat_copies: tables,
            root,
            data_at: data_at * sector_len,
            info_at: special(boot.BPB_FSInfo.get()),
            boot_copy_at: special(boot.BPB_BkBootSec.get()),
            extended_at: SIGNATURES.contains(&signature).then_some(extended_at),
        })
    }

    /// Whether numbers of clusters take 28 bits.
    pub fn is_wide(&self) -> bool {
        self.kind == Kind::Fat32
    }

    /// Whether there is such a cluster.
    pub fn has(&self, cluster: u32) -> bool {
        (FIRST_CLUSTER..self.end()).contains(&cluster)
    }

    /// The number behind that of the last cluster.
    pub fn end(&self) -> u32 {
        FIRST_CLUSTER + self.clusters
    }

    /// Where a cluster that exists begins.
    pub fn cluster_at(&self, cluster: u32) -> u64 {
        self.data_at + u64::from(cluster - FIRST_CLUSTER) * u64::from(self.cluster)
    }

    /// Clusters that `bytes` take.
    pub fn clusters_for(&self, bytes: u64) -> u32 {
        bytes.div_ceil(u64::from(self.cluster)) as u32
    }
}
