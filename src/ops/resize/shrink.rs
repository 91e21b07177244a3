//! Shrinking a disk with what is on it, in place and in one commit: filesystem, partition, partition table, container.

use super::e2fsprogs::{self, Goal, Outcome};
use super::grow::{filesystem_len, verify};
use super::report::{Change, FilesystemChange, PartitionChange, Resized};
use super::target::NewSize;
use super::volume::choose;
use crate::disk::{Choice, Layout, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::image::ImageOptions;
use crate::session::{DiskEdit, Verify};
use crate::tree::Time;
use nomount_block::SetLen;
use nomount_ptable::{Editor, Scheme};
use std::path::Path;

/// Partitions begin and end at multiples of this, and so do disks that are cut behind one.
const ALIGN: u64 = 1 << 20;

/// How small a disk is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShrinkTo {
    /// This size of the disk.
    Size(NewSize),
    /// As small as `resize2fs` makes the filesystem.
    Minimum,
}

/// How a disk is to shrink.
#[derive(Debug, Clone)]
pub struct ShrinkRequest {
    /// How to open the image.
    pub image: ImageOptions,
    /// To what.
    pub to: ShrinkTo,
    /// The partition that gives the room; by default the last one on the disk.
    pub shrink: Choice,
    /// Whether the filesystem is checked before the commit.
    pub verify: Verify,
    /// The clock.
    pub now: Time,
    /// Write nothing.
    pub dry_run: bool,
}

/// Shrinks the disk of the image at `path`. A crash, or a failure at any point, leaves the old disk or the new one.
///
/// # Errors
///
/// A size above the present one, or one that the filesystem, or a partition behind it, does not allow; anything else
/// than ext2, ext3 or ext4; `e2fsck` or `resize2fs` missing or failing. Nothing is changed then.
pub fn shrink(path: &Path, request: &ShrinkRequest) -> Result<Resized> {
    let edit = DiskEdit::open(path, &request.image, request.dry_run)?;
    shrink_disk(edit, request).map_err(|error| error.in_image(path))
}

fn shrink_disk(mut edit: DiskEdit, request: &ShrinkRequest) -> Result<Resized> {
    let old_len = edit.old_len();
    let layout = edit.layout(request.shrink)?;
    let volume = choose(&layout, request.shrink)?;
    let named = |error: Error| error.in_volume(volume.to_string());
    if !volume.content.is_ext() {
        let message = format!("only ext2, ext3 and ext4 can be shrunk, not {}", volume.content);
        return Err(named(Error::new(ErrorKind::Unsupported, message)));
    }
    let table = Table::of(&layout);
    let (goal, wanted) = match request.to {
        ShrinkTo::Minimum => (Goal::Minimum, None),
        ShrinkTo::Size(size) => {
            let new_len = size.of(old_len)?;
            if new_len > old_len {
                let message = format!("the disk has {old_len} bytes, fewer than the {new_len} asked for");
                return Err(Error::new(ErrorKind::Usage, message).hint("`nomount grow` makes it larger"));
            }
            let end = table.last_byte(new_len);
            let room = end.checked_sub(volume.start).filter(|room| *room > 0).ok_or_else(|| {
                let message = format!("{volume} begins at byte {}: nothing of it is left in {new_len}", volume.start);
                Error::new(ErrorKind::Usage, message)
            })?;
            (Goal::Bytes(room.min(volume.len)), Some(new_len))
        }
    };
    let mut report = Resized {
        disk: Change { from: old_len, to: old_len },
        partitions: Vec::new(),
        filesystem: None,
        notes: edit.notes().to_vec(),
    };
    let new_fs = shrink_filesystem(&mut edit, &volume, goal, &mut report).map_err(named)?;
    if request.verify != Verify::Never {
        verify(&edit, &volume, request.now).map_err(named)?;
    }
    let new_len = match (volume.number(), wanted) {
        (None, Some(wanted)) => wanted,
        (None, None) => new_fs.next_multiple_of(512),
        (Some(number), wanted) => shrink_table(&mut edit, &layout, &table, (number, new_fs), wanted, &mut report)?,
    };
    edit.device_mut().set_len(new_len)?;
    report.disk.to = new_len;
    edit.commit()?;
    Ok(report)
}

/// Gives the new length of the filesystem.
fn shrink_filesystem(edit: &mut DiskEdit, volume: &Volume, goal: Goal, report: &mut Resized) -> Result<u64> {
    let from = filesystem_len(edit, volume)?;
    edit.owns(volume.start..volume.start + from);
    edit.spill();
    let mut change = FilesystemChange {
        content: volume.content.name(),
        size: Change { from, to: from },
        by: None,
        reason: None,
        notes: Vec::new(),
    };
    if matches!(goal, Goal::Bytes(bytes) if bytes >= from) {
        change.reason = Some("it is small enough".to_owned());
        report.filesystem = Some(change);
        return Ok(from);
    }
    let folder = edit.folder().to_owned();
    match e2fsprogs::resize(edit.device_mut(), volume.start..volume.start + volume.len, goal, &folder)? {
        Outcome::Done => {}
        Outcome::NotDone { reason } => {
            let message = format!("the filesystem cannot be shrunk: {reason}");
            return Err(
                Error::new(ErrorKind::Unsupported, message).hint("`nomount size` tells how small it surely can be")
            );
        }
    }
    let to = filesystem_len(edit, volume)?;
    change.size.to = to;
    change.by = Some("resize2fs");
    report.filesystem = Some(change);
    Ok(to)
}

/// What the end of a partition table needs.
struct Table {
    scheme: Option<Scheme>,
    sector: u64,
}

impl Table {
    fn of(layout: &Layout) -> Self {
        let table = layout.table.as_ref();
        Self { scheme: table.map(|table| table.scheme), sector: table.map_or(512, |table| table.sector_size.into()) }
    }

    /// Bytes of a GPT's copy at the end: the usual 128 entries, and the header.
    fn tail(&self) -> u64 {
        if self.scheme == Some(Scheme::Gpt) { (128 * 128u64).next_multiple_of(self.sector) + self.sector } else { 0 }
    }

    /// Where the last partition of a disk of `len` bytes may end.
    fn last_byte(&self, len: u64) -> u64 {
        let end = (len / self.sector * self.sector).saturating_sub(self.tail());
        if self.scheme.is_some() { end / ALIGN * ALIGN } else { end }
    }
}

/// Cuts the partition behind its filesystem, and gives the new length of the disk.
fn shrink_table(
    edit: &mut DiskEdit,
    layout: &Layout,
    table: &Table,
    (number, filesystem): (u32, u64),
    wanted: Option<u64>,
    report: &mut Resized,
) -> Result<u64> {
    let missing = || Error::new(ErrorKind::Corrupt, "the partition table cannot be read again");
    let volume = layout.partition(number)?;
    let mut editor = Editor::open(edit.device())?.ok_or_else(missing)?;
    let end = match wanted {
        Some(len) => table.last_byte(len).min(volume.start + volume.len),
        None => (volume.start + filesystem).next_multiple_of(ALIGN).min(volume.start + volume.len),
    };
    if end < volume.start + volume.len {
        editor.resize(number, end - volume.start)?;
    }
    if volume.partition.as_ref().is_some_and(|partition| partition.logical) {
        shrink_extended(&mut editor)?;
    }
    let least = editor.minimum_device_len();
    let new_len = wanted.unwrap_or_else(|| least.next_multiple_of(ALIGN).min(edit.old_len()));
    editor.set_device_len(new_len)?;
    editor.write(edit.device_mut())?;
    report.partitions = PartitionChange::all(layout, editor.table())?;
    Ok(new_len)
}

/// Cuts the extended partition behind its last logical one.
fn shrink_extended(editor: &mut Editor) -> Result<()> {
    let partitions = &editor.table().partitions;
    let last = partitions.iter().filter(|partition| partition.logical).map(|partition| partition.end()).max();
    let Some((extended, end)) = partitions.iter().find(|partition| partition.is_extended()).zip(last) else {
        return Ok(());
    };
    if end < extended.end() {
        let (number, start) = (extended.number, extended.start);
        editor.resize(number, end - start)?;
    }
    Ok(())
}
