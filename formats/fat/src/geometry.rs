//! Which FAT, and how large its clusters are.

use crate::error::{Error, Result};

/// The width of a FAT entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 12 bits.
    Fat12,
    /// 16 bits.
    Fat16,
    /// 32 bits, of which 28 are used.
    Fat32,
}

/// Entries of the root directory of FAT12 and FAT16.
pub(crate) const ROOT_ENTRIES: u32 = 512;
const ROOT_ENTRY: u32 = 32;
/// Both FATs are always written.
pub(crate) const FATS: u32 = 2;
/// The most that every system reads.
const MAX_CLUSTER: u32 = 32 << 10;
/// The number of clusters alone decides which FAT it is, and some programs are wrong by a few about the limits; so
/// many on each side of them are avoided, as Microsoft's specification advises.
const MARGIN: u64 = 16;

impl Kind {
    /// `FAT12`, `FAT16` or `FAT32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
        }
    }

    pub(crate) fn bits(self) -> u64 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// The numbers of clusters it has, but for [`MARGIN`].
    fn clusters(self) -> (u64, u64) {
        match self {
            Self::Fat12 => (1, 4084 - MARGIN),
            Self::Fat16 => (4085 + MARGIN, 65524 - MARGIN),
            Self::Fat32 => (65525 + MARGIN, 0x0fff_fff4),
        }
    }

    fn reserved(self) -> u64 {
        if self == Self::Fat32 { 8 } else { 1 }
    }

    /// The one that is usual for a volume of `len` bytes, and what else is tried.
    fn usual(len: u64) -> [Self; 3] {
        if len < 4 << 20 {
            [Self::Fat12, Self::Fat16, Self::Fat32]
        } else if len < 512 << 20 {
            [Self::Fat16, Self::Fat32, Self::Fat12]
        } else {
            [Self::Fat32, Self::Fat16, Self::Fat12]
        }
    }

    /// Bytes of a cluster that are usual.
    fn usual_cluster(self, len: u64) -> u64 {
        match self {
            Self::Fat12 => 512,
            Self::Fat16 if len <= 16 << 20 => 1 << 10,
            Self::Fat16 => 2 << 10,
            Self::Fat32 if len <= 260 << 20 => 512,
            Self::Fat32 if len <= 8 << 30 => 4 << 10,
            Self::Fat32 if len <= 16 << 30 => 8 << 10,
            Self::Fat32 if len <= 32 << 30 => 16 << 10,
            Self::Fat32 => MAX_CLUSTER.into(),
        }
    }
}

/// The numbers that a volume's layout follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub kind: Kind,
    /// Bytes of a sector.
    pub sector: u32,
    pub sectors: u32,
    /// Bytes of a cluster.
    pub cluster: u32,
    pub clusters: u32,
}

impl Geometry {
    /// The layout for a volume of `len` bytes; without `kind`, of the FAT that is usual for so many.
    pub fn choose(len: u64, sector: u32, kind: Option<Kind>) -> Result<Self> {
        if !matches!(sector, 512 | 1024 | 2048 | 4096) {
            return Err(Error::Sector(sector));
        }
        let sectors = u32::try_from(len / u64::from(sector)).ok();
        let candidates = kind.map_or(Kind::usual(len).to_vec(), |kind| vec![kind]);
        let found = sectors.and_then(|sectors| candidates.into_iter().find_map(|kind| Self::of(kind, sector, sectors)));
        found.ok_or(Error::Size { kind: kind.map_or("FAT", Kind::name), len, sector })
    }

    /// The least cluster from the usual one on, else the largest below it, with which the number of clusters fits.
    fn of(kind: Kind, sector: u32, sectors: u32) -> Option<Self> {
        let least = u64::from(sector);
        let usual = kind.usual_cluster(least * u64::from(sectors)).max(least);
        let powers = || (9..=15).map(|bits| 1u64 << bits).filter(|cluster| *cluster >= least);
        let upwards = powers().filter(|cluster| *cluster >= usual);
        let downwards = powers().filter(|cluster| *cluster < usual).rev();
        let (min, max) = kind.clusters();
        upwards.chain(downwards).find_map(|cluster| {
            let clusters = clusters(kind, least, sectors.into(), cluster / least)?;
            let fits = (min..=max).contains(&clusters);
            fits.then_some(Self { kind, sector, sectors, cluster: cluster as u32, clusters: clusters as u32 })
        })
    }
}

fn root_sectors(kind: Kind, sector: u64) -> u64 {
    if kind == Kind::Fat32 { 0 } else { u64::from(ROOT_ENTRIES * ROOT_ENTRY).div_ceil(sector) }
}

/// The number of clusters that `sectors` sectors have room for besides the FATs for them, with the FATs as long as
/// `fatfs` makes them. None where not even 8 sectors are left for both.
fn clusters(kind: Kind, sector: u64, sectors: u64, per_cluster: u64) -> Option<u64> {
    let left = sectors.checked_sub(kind.reserved() + root_sectors(kind, sector)).filter(|left| *left > 8)?;
    let fat = (left + 2 * per_cluster).div_ceil(per_cluster * sector * 8 / kind.bits() + u64::from(FATS));
    left.checked_sub(fat * u64::from(FATS)).map(|data| data / per_cluster)
}
