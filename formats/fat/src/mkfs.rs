//! Making a filesystem.

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::geometry::{FATS, Geometry, Kind, ROOT_ENTRIES};
use crate::label::check_label;
use byteorder::{ByteOrder, LittleEndian};
use fatfs::{FatType, FormatVolumeOptions};
use nomount_block::WriteAt;
use std::io::Write;

/// Byte offsets in the boot sector.
const HIDDEN_SECTORS_AT: u64 = 28;
/// Sector of the copy of the boot sector, FAT32 only.
const BACKUP_BOOT_SECTOR: u64 = 6;
/// Sector of what FAT32 knows of its free clusters, and byte offset of their number; the next one to look at follows.
const INFO_SECTOR: u64 = 1;
const FREE_CLUSTERS_AT: u64 = 488;
/// The first cluster; the root directory of FAT32 is there.
const ROOT_CLUSTER: u32 = 2;

/// What to make.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Volume label, at most 11 bytes, see [`check_label`]; none where it is empty.
    pub label: Vec<u8>,
    /// The number that tells volumes apart.
    pub volume_id: u32,
    /// Which FAT; by default the one that is usual for the size.
    pub kind: Option<Kind>,
    /// Bytes of a sector: 512, 1024, 2048 or 4096; 512 where it is 0.
    pub sector: u32,
    /// Sectors before the volume: where its partition begins on the disk.
    pub hidden_sectors: u32,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Which FAT.
    pub kind: Kind,
    /// Bytes of a cluster.
    pub cluster: u32,
    /// How many.
    pub clusters: u32,
    /// Bytes of a sector.
    pub sector: u32,
}

fn geometry(len: u64, options: &Options) -> Result<Geometry> {
    if !options.label.is_empty() {
        check_label(&options.label)?;
    }
    Geometry::choose(len, if options.sector == 0 { 512 } else { options.sector }, options.kind)
}

fn made(geometry: &Geometry) -> Made {
    let Geometry { kind, cluster, clusters, sector, .. } = *geometry;
    Made { kind, cluster, clusters, sector }
}

/// What [`mkfs`] would make in a volume of `len` bytes, or why it would not.
pub fn plan(len: u64, options: &Options) -> Result<Made> {
    geometry(len, options).map(|geometry| made(&geometry))
}

/// Makes an empty filesystem on the whole device. What was in the data area stays there.
pub fn mkfs(device: &mut impl WriteAt, options: &Options) -> Result<Made> {
    let geometry = geometry(device.len(), options)?;
    let mut format = FormatVolumeOptions::new()
        .bytes_per_sector(geometry.sector as u16)
        .total_sectors(geometry.sectors)
        .bytes_per_cluster(geometry.cluster)
        .max_root_dir_entries(ROOT_ENTRIES as u16)
        .fats(FATS as u8)
        .volume_id(options.volume_id)
        .fat_type(match geometry.kind {
            Kind::Fat12 => FatType::Fat12,
            Kind::Fat16 => FatType::Fat16,
            Kind::Fat32 => FatType::Fat32,
        });
    if !options.label.is_empty() {
        format = format.volume_label(check_label(&options.label)?);
    }
    let mut disk = Disk::new(device);
    fatfs::format_volume(&mut disk, format).and_then(|()| disk.flush()).map_err(failed)?;
    mend(device, &geometry, options).map_err(Error::Device)?;
    device.barrier().map_err(Error::Device)?;
    Ok(made(&geometry))
}

/// Writes what `fatfs` leaves open: where the volume begins on the disk, and how many clusters FAT32 has free.
fn mend(device: &mut impl WriteAt, geometry: &Geometry, options: &Options) -> nomount_block::Result<()> {
    let sector = u64::from(geometry.sector);
    let hidden = options.hidden_sectors.to_le_bytes();
    device.write_at(HIDDEN_SECTORS_AT, &hidden)?;
    if geometry.kind == Kind::Fat32 {
        device.write_at(BACKUP_BOOT_SECTOR * sector + HIDDEN_SECTORS_AT, &hidden)?;
        let mut fields = [0; 8];
        LittleEndian::write_u32(&mut fields[..4], geometry.clusters - 1);
        LittleEndian::write_u32(&mut fields[4..], ROOT_CLUSTER);
        device.write_at(INFO_SECTOR * sector + FREE_CLUSTERS_AT, &fields)?;
    }
    Ok(())
}

/// The device's own failure, which went through `fatfs`.
fn failed(error: std::io::Error) -> Error {
    match error.downcast::<nomount_block::Error>() {
        Ok(device) => Error::Device(device),
        Err(error) => Error::Layout(error),
    }
}
