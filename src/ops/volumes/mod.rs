//! What is on a disk: every volume with its label, its identity and how full it is. Nothing is chosen, nothing changed.

mod list;

pub use list::{Item, ItemKind, Selection, items};

use crate::disk::{Choice, Content, Identity, Layout, Volume};
use crate::error::{Error, Result};
use crate::image::{Format, Image, ImageOptions};
use nomount_block::{Budget, ReadAt, ReadOnly, Window};
use nomount_ext::{Filesystem, Options};
use nomount_ptable::Table;
use std::path::{Path, PathBuf};

/// A disk, looked at.
#[derive(Debug)]
pub struct Survey {
    /// The image on the host.
    pub image: PathBuf,
    /// How it is stored.
    pub format: Format,
    /// Bytes of the guest's disk.
    pub len: u64,
    /// The partition table, if there is one and the whole device was not asked for.
    pub table: Option<Table>,
    /// The volumes that were asked for, in the order of their numbers.
    pub volumes: Vec<Surveyed>,
}

/// A volume, looked at.
#[derive(Debug)]
pub struct Surveyed {
    /// Where it is and what it holds.
    pub volume: Volume,
    /// Label and UUID of what it holds.
    pub identity: Identity,
    /// How full it is, or why that cannot be told; none for what is no filesystem that is read here.
    pub usage: Option<Result<Usage>>,
}

/// How full a filesystem is, as statfs(2) counts it where it is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes for files: without the filesystem's own tables and journal.
    pub size: u64,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that are free for others than root.
    pub available: u64,
    /// Files that there can be; 0 where the filesystem has no such limit.
    pub inodes: u64,
    /// Files that can still be made.
    pub free_inodes: u64,
}

impl Usage {
    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.size.saturating_sub(self.free)
    }

    /// Files that there are.
    pub fn used_inodes(&self) -> u64 {
        self.inodes.saturating_sub(self.free_inodes)
    }
}

/// Looks at a disk: at all its volumes, or with [`Choice::Number`] at one.
///
/// # Errors
///
/// The image cannot be opened, its partition table cannot be trusted, there is no partition of that number. A filesystem
/// that cannot be read is no error: see [`Surveyed::usage`].
pub fn survey(path: &Path, options: &ImageOptions, choice: Choice) -> Result<Survey> {
    let named = |error: Error| error.in_image(path);
    let image = Image::open(path, &ImageOptions { write: false, ..options.clone() })?;
    let layout = Layout::read(&image.device, choice).map_err(named)?;
    let volumes = match choice {
        Choice::Number(number) => vec![layout.partition(number).map_err(named)?.clone()],
        _ => layout.volumes,
    };
    let volumes = volumes
        .into_iter()
        .map(|volume| look(&image.device, volume, &options.memory).map_err(named))
        .collect::<Result<_>>()?;
    let len = image.device.len();
    Ok(Survey { image: path.to_owned(), format: image.format, len, table: layout.table, volumes })
}

fn look(device: &dyn ReadAt, volume: Volume, memory: &Budget) -> Result<Surveyed> {
    let window = Window::new(ReadOnly(device), volume.start, volume.len)?;
    let identity = Identity::read(&window, volume.content)?;
    let usage = match volume.content {
        content if content.is_ext() => Some(ext_usage(window, memory)),
        Content::Vfat => Some(fat_usage(window)),
        _ => None,
    };
    let usage = usage.map(|usage| usage.map_err(|error| error.in_volume(volume.to_string())));
    Ok(Surveyed { volume, identity, usage })
}

fn ext_usage(device: impl ReadAt, memory: &Budget) -> Result<Usage> {
    let stat = Filesystem::open_within(device, Options::default(), memory)?.statfs()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.block_size.into());
    Ok(Usage {
        size: bytes(stat.blocks),
        free: bytes(stat.free_blocks),
        available: bytes(stat.available_blocks),
        inodes: stat.inodes,
        free_inodes: stat.free_inodes,
    })
}

/// All clusters are for files, and files are not counted (fat_statfs).
fn fat_usage(device: impl ReadAt) -> Result<Usage> {
    let info = nomount_fat::Filesystem::open(device, nomount_fat::OpenOptions::default())?.info()?;
    let bytes = |clusters: u32| u64::from(clusters) * u64::from(info.cluster);
    let free = bytes(info.free);
    Ok(Usage { size: bytes(info.clusters), free, available: free, inodes: 0, free_inodes: 0 })
}
