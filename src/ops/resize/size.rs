//! How large a disk is, and whether it can become larger.

use super::volume::choose;
use crate::disk::{Choice, Layout, Volume};
use crate::error::{Error, Result};
use crate::image::{Format, Image, ImageOptions};
use nomount_block::{ReadAt, ReadOnly, Window};
use nomount_ext::{Filesystem, Options};
use std::path::Path;

/// The sizes of an image.
#[derive(Debug)]
pub struct DiskSize {
    /// How the image is stored.
    pub format: Format,
    /// Bytes of the guest's disk, as the container says.
    pub virtual_size: u64,
    /// Bytes that the image takes on the host.
    pub host_bytes: u64,
    /// The whole disk, or its partitions.
    pub volumes: Vec<VolumeSize>,
    /// Why what is on the disk could not be looked at: a partition table that contradicts itself.
    pub unreadable: Option<Error>,
}

/// The sizes of a volume.
#[derive(Debug)]
pub struct VolumeSize {
    /// Where it is and what it holds.
    pub volume: Volume,
    /// Of a filesystem of the ext family, or why it cannot be told; nothing for others.
    pub filesystem: Option<Result<FilesystemSize>>,
}

/// The sizes of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesystemSize {
    /// Bytes of it.
    pub bytes: u64,
    /// A size in bytes to which it can surely be shrunk. It may go lower.
    pub minimum: u64,
}

/// Looks at the sizes of an image (S1), and of all its volumes or the one named. The format is told by the container's
/// magic unless `options` names it.
pub fn disk_size(path: &Path, options: &ImageOptions, choice: Choice) -> Result<DiskSize> {
    let image = Image::open(path, &ImageOptions { write: false, ..options.clone() })?;
    let (volumes, unreadable) = match (Layout::read(&image.device, choice), choice) {
        (Ok(layout), Choice::Auto | Choice::Whole) => (layout.volumes, None),
        (Ok(layout), choice) => (vec![choose(&layout, choice).map_err(|error| error.in_image(path))?], None),
        (Err(error), _) => (Vec::new(), Some(error)),
    };
    let volumes = volumes.into_iter().map(|volume| {
        let filesystem = volume.content.is_ext().then(|| filesystem_size(&image.device, &volume));
        VolumeSize { volume, filesystem }
    });
    Ok(DiskSize {
        format: image.format,
        virtual_size: image.device.len(),
        host_bytes: image.host_bytes,
        volumes: volumes.collect(),
        unreadable,
    })
}

fn filesystem_size(device: &dyn ReadAt, volume: &Volume) -> Result<FilesystemSize> {
    let fs = Filesystem::open(Window::new(ReadOnly(device), volume.start, volume.len)?, Options::default())?;
    let info = fs.info();
    let block = u64::from(info.block_size);
    Ok(FilesystemSize { bytes: info.blocks * block, minimum: fs.minimum_blocks()? * block })
}

/// Whether the disk can be made `size` bytes long without cutting it (C1, C2): only where that is larger than it is.
pub fn can_resize(path: &Path, size: u64, options: &ImageOptions) -> Result<bool> {
    let image = Image::open(path, &ImageOptions { write: false, ..options.clone() })?;
    Ok(size > image.device.len())
}

/// Whether a disk is one filesystem that grows with it.
#[derive(Debug)]
pub enum Extendable {
    /// An ext filesystem on the whole disk, without a partition table.
    Yes(Volume),
    /// It is not.
    No {
        /// Why.
        reason: String,
    },
}

/// Whether the disk is one ext filesystem without a partition table (X1, X2). What cannot be opened is not (X3): there
/// is no error, only a reason.
pub fn is_extendable(path: &Path, options: &ImageOptions) -> Extendable {
    examine(path, options).unwrap_or_else(|error| Extendable::No { reason: error.chain() })
}

/// The same where an image that cannot be looked at is an error.
pub(super) fn examine(path: &Path, options: &ImageOptions) -> Result<Extendable> {
    let no = |reason: String| Ok(Extendable::No { reason });
    let image = Image::open(path, &ImageOptions { write: false, ..options.clone() })?;
    let layout = Layout::read(&image.device, Choice::Auto)?;
    if let Some(table) = &layout.table {
        return no(format!("it has a partition table ({} with {} partitions)", table.scheme, table.partitions.len()));
    }
    let Some(volume) = layout.volumes.first() else { return no("it is empty".to_owned()) };
    if !volume.content.is_ext() {
        return no(format!("it holds no ext filesystem ({})", volume.content));
    }
    filesystem_size(&image.device, volume)?;
    Ok(Extendable::Yes(volume.clone()))
}
