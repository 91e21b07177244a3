//! Nova's `extend`: the container first, then the filesystem if it is the whole disk.

use super::grow::{GrowRequest, GrowWith, grow_disk};
use super::report::{Change, FilesystemChange, Resized};
use super::size::{Extendable, examine};
use super::target::NewSize;
use crate::disk::Choice;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, Image, ImageOptions};
use crate::session::{DiskEdit, Verify};
use crate::tree::Time;
use nomount_block::{ReadAt, SetLen};
use std::path::Path;

/// How a disk is to be extended.
#[derive(Debug, Clone)]
pub struct ExtendRequest {
    /// How to open the image. The format must be named (E5): a guest may write any header into its raw disk.
    pub image: ImageOptions,
    /// Bytes of the disk.
    pub size: u64,
    /// Whether the filesystem in a container other than raw is looked at and grown, too (E6).
    pub filesystem_in_container: bool,
    /// Who grows a filesystem.
    pub with: GrowWith,
    /// Whether the grown filesystem is checked before the commit.
    pub verify: Verify,
    /// The clock.
    pub now: Time,
    /// Write nothing.
    pub dry_run: bool,
}

/// Makes the disk `size` bytes long, and an ext filesystem on it that has no partition table around it (E7). A disk that
/// is as long or longer stays as it is (E2). A partition table is never touched (E9).
///
/// That a filesystem cannot be grown is no error (E10): the result has the reason, and the disk is longer.
pub fn extend(path: &Path, request: &ExtendRequest) -> Result<Resized> {
    let Some(format) = request.image.format else {
        let error = Error::new(ErrorKind::Usage, "the format of the image must be named to extend it").in_image(path);
        return Err(error.hint("--format raw or --format qcow2: the guest can write what looks like a header"));
    };
    let old = Image::open(path, &ImageOptions { write: false, ..request.image.clone() })?.device.len();
    let new = NewSize::To(request.size).of(old).map_err(|error| error.in_image(path))?;
    let mut report = Resized {
        disk: Change { from: old, to: old.max(new) },
        partitions: Vec::new(),
        filesystem: None,
        notes: Vec::new(),
    };
    if new <= old {
        report.notes.push(format!("the disk has {old} bytes already"));
        return Ok(report);
    }
    let reason = if format != Format::Raw && !request.filesystem_in_container {
        format!("the format is {}: what is in it is not looked at", format.name())
    } else {
        match examine(path, &request.image) {
            // A disk of the host that fails says nothing of the filesystem, which would stay as small as it is.
            Err(error) if error.kind() == ErrorKind::Io => return Err(error.in_image(path)),
            Err(error) => error.chain(),
            Ok(Extendable::No { reason }) => reason,
            Ok(Extendable::Yes(_)) => match extend_filesystem(path, request) {
                Ok(done) => return Ok(done),
                Err(error) if is_about_filesystem(&error) => error.chain(),
                Err(error) => return Err(error),
            },
        }
    };
    let mut edit = DiskEdit::open(path, &request.image, request.dry_run)?;
    report.notes.extend(edit.notes().iter().cloned());
    edit.device_mut().set_len(new).map_err(|error| Error::from(error).in_image(path))?;
    edit.commit()?;
    let size = Change { from: old, to: old };
    report.filesystem =
        Some(FilesystemChange { content: "unknown", size, by: None, reason: Some(reason), notes: Vec::new() });
    Ok(report)
}

fn extend_filesystem(path: &Path, request: &ExtendRequest) -> Result<Resized> {
    let edit = DiskEdit::open(path, &request.image, request.dry_run)?;
    let grow = GrowRequest {
        image: request.image.clone(),
        size: NewSize::To(request.size),
        expand: Choice::Whole,
        filesystem: true,
        with: request.with,
        verify: request.verify,
        now: request.now,
        dry_run: request.dry_run,
    };
    grow_disk(edit, &grow).map_err(|error| error.in_image(path))
}

/// Whether the disk can be extended all the same.
fn is_about_filesystem(error: &Error) -> bool {
    error.place().volume.is_some() && !matches!(error.kind(), ErrorKind::Io | ErrorKind::NoSpace)
}
