//! Growing a disk with what is on it, in place and in one commit: container, partition table, partition, filesystem.

use super::e2fsprogs::{self, Goal, Outcome};
use super::report::{Change, FilesystemChange, PartitionChange, Resized};
use super::target::NewSize;
use super::volume::choose;
use crate::disk::{Choice, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::image::ImageOptions;
use crate::session::{DiskEdit, Verify};
use crate::tree::Time;
use nomount_block::{ReadAt, SetLen, Window};
use nomount_ext::{CheckOptions, Filesystem, Options};
use nomount_ptable::Editor;
use std::path::Path;

/// Who grows a filesystem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GrowWith {
    /// This library; `e2fsck` and `resize2fs` where it cannot.
    #[default]
    Auto,
    /// This library only.
    Native,
    /// `e2fsck` and `resize2fs` only.
    E2fsprogs,
}

/// How a disk is to grow.
#[derive(Debug, Clone)]
pub struct GrowRequest {
    /// How to open the image.
    pub image: ImageOptions,
    /// The size of the disk.
    pub size: NewSize,
    /// The partition that gets the room; by default the last one on the disk.
    pub expand: Choice,
    /// Whether the filesystem in it grows, too.
    pub filesystem: bool,
    /// Who does that.
    pub with: GrowWith,
    /// Whether the grown filesystem is checked before the commit.
    pub verify: Verify,
    /// The clock.
    pub now: Time,
    /// Write nothing.
    pub dry_run: bool,
}

/// Grows the disk of the image at `path`. A crash, or a failure at any point, leaves the old disk or the new one.
///
/// # Errors
///
/// A size below the present one; no room behind the partition; an ext filesystem that cannot be grown or has errors.
/// Other filesystems are left as they are, and the result says so.
pub fn grow(path: &Path, request: &GrowRequest) -> Result<Resized> {
    let edit = DiskEdit::open(path, &request.image, request.dry_run)?;
    grow_disk(edit, request).map_err(|error| error.in_image(path))
}

/// As [`grow`], on a disk that is open.
pub fn grow_disk(mut edit: DiskEdit, request: &GrowRequest) -> Result<Resized> {
    let old_len = edit.old_len();
    let new_len = request.size.of(old_len)?;
    if new_len < old_len {
        let message = format!("the disk has {old_len} bytes, more than the {new_len} asked for");
        return Err(Error::new(ErrorKind::Usage, message).hint("`nomount shrink` makes it smaller"));
    }
    let layout = edit.layout(request.expand)?;
    let volume = choose(&layout, request.expand)?;
    let mut report = Resized {
        disk: Change { from: old_len, to: new_len },
        partitions: Vec::new(),
        filesystem: None,
        notes: edit.notes().to_vec(),
    };
    if let Some(table) = &layout.table {
        report.notes.extend(table.notes.iter().map(ToString::to_string));
    }
    edit.device_mut().set_len(new_len)?;
    let new_volume = match volume.number() {
        None => Volume { len: new_len - volume.start, ..volume.clone() },
        Some(number) => grow_partition(&mut edit, number, &mut report)?,
    };
    report.filesystem = grow_content(&mut edit, &volume, &new_volume, request)?;
    edit.commit()?;
    Ok(report)
}

/// Moves the end of the table to the end of the disk, and that of the partition as far as there is room.
fn grow_partition(edit: &mut DiskEdit, number: u32, report: &mut Resized) -> Result<Volume> {
    let missing = || Error::new(ErrorKind::Corrupt, "the partition table cannot be read again");
    let before = edit.layout(Choice::Auto)?;
    let len = edit.device().len();
    let mut editor = Editor::open(edit.device())?.ok_or_else(missing)?;
    editor.set_device_len(len)?;
    let old = before.partition(number)?;
    let (start, old_end) = (old.start, old.start + old.len);
    let end = editor.grow_limit(number)?;
    if end > old_end {
        editor.resize(number, end - start)?;
    } else if len > edit.old_len()
        && let Some(next) = before.volumes.iter().filter(|next| next.start >= old_end).min_by_key(|next| next.start)
    {
        let message = format!("there is no room behind {old}: {next} begins at byte {}", next.start);
        return Err(Error::new(ErrorKind::Usage, message).hint("choose another with --expand N"));
    }
    editor.write(edit.device_mut())?;
    report.partitions = PartitionChange::all(&before, editor.table())?;
    let after = edit.layout(Choice::Auto)?;
    after.partition(number).cloned()
}

/// Grows the filesystem to the end of its volume.
fn grow_content(
    edit: &mut DiskEdit,
    old: &Volume,
    new: &Volume,
    request: &GrowRequest,
) -> Result<Option<FilesystemChange>> {
    let named = |error: Error| error.in_volume(new.to_string());
    let left = |reason: &str| {
        Some(FilesystemChange {
            content: new.content.name(),
            size: Change { from: old.len, to: old.len },
            by: None,
            reason: Some(reason.to_owned()),
            notes: Vec::new(),
        })
    };
    if !new.content.is_ext() {
        return Ok(match new.content {
            crate::disk::Content::Unknown => None,
            _ => left("only ext2, ext3 and ext4 are grown here; let the guest grow it"),
        });
    }
    if !request.filesystem {
        return Ok(left("it was not to be grown"));
    }
    let grown = match request.with {
        GrowWith::Native => native(edit, old, new, request).map_err(named)?,
        GrowWith::E2fsprogs => by_e2fsprogs(edit, old, new, None).map_err(named)?,
        GrowWith::Auto => match native(edit, old, new, request) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let why = error.message().to_owned();
                by_e2fsprogs(edit, old, new, Some(why)).map_err(named)?
            }
            result => result.map_err(named)?,
        },
    };
    if grown.size.is_change() && request.verify != Verify::Never {
        verify(edit, new, request.now).map_err(named)?;
    }
    Ok(Some(grown))
}

fn native(edit: &mut DiskEdit, old: &Volume, new: &Volume, request: &GrowRequest) -> Result<FilesystemChange> {
    let now = nomount_ext::Time { sec: request.now.sec, nsec: request.now.nsec };
    let options = Options { now, ..Options::default() };
    let memory = edit.memory().clone();
    let window = Window::new(edit.device_mut(), new.start, new.len)?;
    let mut fs = Filesystem::open_for_write_within(window, options, &memory)?;
    let info = fs.info();
    let block = u64::from(info.block_size);
    let grown = fs.grow(new.len / block)?;
    fs.commit()?;
    edit.owns(old.start..old.start + grown.from_blocks * block);
    let size = Change { from: grown.from_blocks * block, to: grown.to_blocks * block };
    Ok(FilesystemChange {
        content: new.content.name(),
        size,
        by: size.is_change().then_some("native"),
        reason: None,
        notes: grown.notes,
    })
}

fn by_e2fsprogs(edit: &mut DiskEdit, old: &Volume, new: &Volume, why: Option<String>) -> Result<FilesystemChange> {
    let folder = edit.folder().to_owned();
    let from = filesystem_len(edit, new)?;
    edit.owns(old.start..old.start + from);
    match e2fsprogs::resize(edit.device_mut(), new.start..new.start + new.len, Goal::Fill, &folder)? {
        Outcome::Done => Ok(FilesystemChange {
            content: new.content.name(),
            size: Change { from, to: filesystem_len(edit, new)? },
            by: Some("resize2fs"),
            reason: why,
            notes: Vec::new(),
        }),
        Outcome::NotDone { reason } => {
            let reason = match why {
                Some(why) => format!("{why}, and {reason}"),
                None => reason,
            };
            Err(Error::new(ErrorKind::Unsupported, format!("the filesystem cannot be grown: {reason}"))
                .hint("--no-filesystem leaves it as it is and grows the rest"))
        }
    }
}

pub(super) fn filesystem_len(edit: &DiskEdit, volume: &Volume) -> Result<u64> {
    let window = Window::new(edit.device(), volume.start, volume.len)?;
    let info = Filesystem::open(window, Options::default())?.info();
    Ok(info.blocks * u64::from(info.block_size))
}

/// The whole filesystem is looked at as it would be: growing it moves no file, but a mistake would cost all of them.
pub(super) fn verify(edit: &DiskEdit, volume: &Volume, now: Time) -> Result<()> {
    let window = Window::new(edit.device(), volume.start, volume.len)?;
    let now = nomount_ext::Time { sec: now.sec, nsec: now.nsec };
    let report =
        nomount_ext::check_within(window, Options::default(), &CheckOptions { now: Some(now) }, edit.memory())?;
    if report.is_sound() {
        return Ok(());
    }
    let first = report.findings().iter().map(ToString::to_string).next().unwrap_or_default();
    let message = format!("the filesystem would not be sound ({} findings, the first: {first})", report.total());
    Err(Error::new(ErrorKind::Corrupt, message)
        .hint("see `nomount check`, repair with `e2fsck -f`; nothing was changed"))
}
