//! Partition tables: what there is, and one edit at a time, in one commit.

use crate::disk::{Choice, Content, Layout, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, ImageOptions};
use crate::session::DiskEdit;
use nomount_block::{ReadAt, ReadOnly, Window};
use nomount_ext::{Filesystem, Options};
use nomount_ptable::{DiskId, Editor, Guid, NewPartition, Scheme, Table, TypeId};
use std::path::Path;

/// How large a partition shall be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartSize {
    /// So large.
    To(u64),
    /// Larger by so much.
    Grow(u64),
    /// Smaller by so much.
    Shrink(u64),
    /// As large as what begins next, or the end of the disk, lets it be.
    Max,
}

/// A partition to be added. Its type is text, since what it means depends on the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Number, place and flags. The type is set from [`Addition::type_name`].
    pub partition: NewPartition,
    /// See [`TypeId::parse`].
    pub type_name: String,
}

impl Addition {
    /// A partition of that type and identity, wherever there is most space.
    pub fn new(type_name: impl Into<String>, guid: Guid) -> Self {
        Self { partition: NewPartition::new(TypeId::Mbr(0), guid), type_name: type_name.into() }
    }
}

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartEdit {
    /// A new table without partitions.
    Create {
        /// Its kind.
        scheme: Scheme,
        /// 512, or 4096 for a GPT.
        sector_size: u32,
        /// Identity of the disk, of the scheme's kind.
        disk_id: DiskId,
    },
    /// A new partition.
    Add(Addition),
    /// A partition goes; its contents stay where they are.
    Delete(u32),
    /// A partition gets another end.
    Resize(u32, PartSize),
    /// A partition gets another type; see [`TypeId::parse`].
    SetType(u32, String),
    /// A partition of a GPT gets another name.
    SetName(u32, String),
    /// Attribute bits of a GPT are set, others cleared.
    SetAttributes {
        /// The partition.
        number: u32,
        /// Bits to set.
        set: u64,
        /// Bits to clear.
        clear: u64,
    },
    /// The active flag of an MBR, or "legacy BIOS bootable".
    SetBootable(u32, bool),
}

/// What an edit did.
#[derive(Debug)]
pub struct PartReport {
    /// The table as it is now.
    pub table: Table,
    /// The partition that was edited; none for a new table.
    pub partition: Option<u32>,
    /// Old and new numbers of logical partitions that follow a deleted one.
    pub renumbered: Vec<(u32, u32)>,
    /// What was noticed, and what was put right with the edit.
    pub notes: Vec<String>,
}

/// A table, and what is in its partitions.
#[derive(Debug)]
pub struct PartList {
    /// Bytes of the disk.
    pub len: u64,
    /// The table.
    pub table: Table,
    /// The partitions with what they hold, in the order of their numbers.
    pub volumes: Vec<Volume>,
}

/// Reads the table of an image.
///
/// # Errors
///
/// No table, or one that cannot be trusted.
pub fn list(path: &Path, options: &ImageOptions) -> Result<PartList> {
    let named = |error: Error| error.in_image(path);
    let image = Image::open(path, options)?;
    let len = image.device.len();
    let layout = Layout::read(&image.device, Choice::Auto).map_err(named)?;
    if let Some(table) = layout.table {
        return Ok(PartList { len, table, volumes: layout.volumes });
    }
    // An MBR without partitions is one to an editor alone.
    let editor = Editor::open(&image.device).map_err(|error| named(error.into()))?;
    let editor = editor.ok_or_else(|| named(no_table(&layout)))?;
    Ok(PartList { len, table: editor.table().clone(), volumes: Vec::new() })
}

/// Edits the table of an image. With `force` an edit goes through that loses something recognisable; shrinking below
/// an ext filesystem never does. With `dry_run` the report tells what would be, and nothing is written.
///
/// # Errors
///
/// What [`Editor`] refuses; what would be lost without `force`.
pub fn edit(path: &Path, options: &ImageOptions, edit: &PartEdit, force: bool, dry_run: bool) -> Result<PartReport> {
    let named = |error: Error| error.in_image(path);
    let mut disk = DiskEdit::open(path, options, dry_run)?;
    let mut report = apply(&mut disk, edit, force).map_err(named)?;
    report.notes.splice(0..0, disk.notes().to_vec());
    disk.commit()?;
    Ok(report)
}

fn apply(disk: &mut DiskEdit, edit: &PartEdit, force: bool) -> Result<PartReport> {
    let (mut editor, mut notes) = match edit {
        PartEdit::Create { scheme, sector_size, disk_id } => {
            if !force {
                check_blank(disk)?;
            }
            (Editor::create(*scheme, disk.device().len(), *sector_size, *disk_id)?, Vec::new())
        }
        _ => {
            let layout = disk.layout(Choice::Auto)?;
            let editor = Editor::open(disk.device())?.ok_or_else(|| no_table(&layout))?;
            check_contents(disk.device(), &layout, &editor, edit, force)?;
            let notes = editor.repairs().iter().map(|note| format!("put right: {note}")).collect();
            (editor, notes)
        }
    };
    let mut renumbered = Vec::new();
    let partition = match edit {
        PartEdit::Create { .. } => None,
        PartEdit::Add(addition) => {
            let type_id = parse_type(&addition.type_name, &editor)?;
            Some(editor.add(&NewPartition { type_id, ..addition.partition.clone() })?)
        }
        PartEdit::Delete(number) => {
            renumbered = editor.delete(*number)?.renumbered;
            Some(*number)
        }
        PartEdit::Resize(number, size) => {
            let len = new_len(&editor, *number, *size)?;
            editor.resize(*number, len)?;
            Some(*number)
        }
        PartEdit::SetType(number, name) => {
            editor.set_type(*number, parse_type(name, &editor)?)?;
            Some(*number)
        }
        PartEdit::SetName(number, name) => {
            editor.set_name(*number, name)?;
            Some(*number)
        }
        PartEdit::SetAttributes { number, set, clear } => {
            let attributes = editor.table().partition(*number).map_or(0, |partition| partition.attributes);
            editor.set_attributes(*number, attributes & !clear | set)?;
            Some(*number)
        }
        PartEdit::SetBootable(number, bootable) => {
            editor.set_bootable(*number, *bootable)?;
            Some(*number)
        }
    };
    editor.write(disk.device_mut())?;
    let table = editor.table().clone();
    notes.extend(table.notes.iter().map(ToString::to_string));
    Ok(PartReport { table, partition, renumbered, notes })
}

fn no_table(layout: &Layout) -> Error {
    let message = format!("no partition table; there is: {}", layout.list());
    Error::new(ErrorKind::NotFound, message).hint("`nomount part create` makes one")
}

fn parse_type(text: &str, editor: &Editor) -> Result<TypeId> {
    TypeId::parse(text, editor.table().scheme)
        .map_err(|unknown| Error::new(ErrorKind::Usage, unknown.to_string()).hint(unknown.hint()))
}

/// Whether nothing recognisable is on the disk.
fn check_blank(disk: &DiskEdit) -> Result<()> {
    let refused = |what: String| {
        Err(Error::new(ErrorKind::Refused, format!("the disk holds {what}, which a new table replaces"))
            .hint("--force replaces it"))
    };
    // A table that cannot be read is something, too.
    let Ok(layout) = disk.layout(Choice::Auto) else { return refused("a damaged partition table".to_owned()) };
    match (&layout.table, layout.volumes.first()) {
        (Some(table), _) if !table.partitions.is_empty() => refused(format!("{} with {}", table.scheme, layout.list())),
        (None, Some(whole)) if whole.content != Content::Unknown => refused(whole.to_string()),
        _ => Ok(()),
    }
}

fn new_len(editor: &Editor, number: u32, size: PartSize) -> Result<u64> {
    let partition = editor.table().partition(number);
    let (start, len) = partition.map_or((0, 0), |partition| (partition.start, partition.len));
    let too = |word: &str| Error::new(ErrorKind::Usage, format!("partition {number} has {len} bytes: {word}"));
    match size {
        PartSize::To(len) => Ok(len),
        PartSize::Grow(more) => len.checked_add(more).ok_or_else(|| too("the sum is too large")),
        PartSize::Shrink(less) => len.checked_sub(less).ok_or_else(|| too("no more can go")),
        PartSize::Max => Ok(editor.grow_limit(number)?.saturating_sub(start)),
    }
}

/// Whether an edit takes something away from a partition that holds something.
fn check_contents(device: &dyn ReadAt, layout: &Layout, editor: &Editor, edit: &PartEdit, force: bool) -> Result<()> {
    let volume_of = |number: u32| layout.volumes.iter().find(|volume| volume.number() == Some(number));
    let recognised = |volume: &&Volume| !matches!(volume.content, Content::Unknown | Content::Extended);
    match edit {
        PartEdit::Delete(number) => match volume_of(*number).filter(recognised) {
            Some(volume) if !force => Err(Error::new(ErrorKind::Refused, "it holds something that would be lost")
                .in_volume(volume.to_string())
                .hint("--force deletes it all the same")),
            _ => Ok(()),
        },
        PartEdit::Resize(number, size) => {
            let Some(volume) = volume_of(*number).filter(recognised) else { return Ok(()) };
            let len = new_len(editor, *number, *size)?;
            if len >= volume.len { Ok(()) } else { check_shrink(device, volume, len, force) }
        }
        _ => Ok(()),
    }
}

fn check_shrink(device: &dyn ReadAt, volume: &Volume, len: u64, force: bool) -> Result<()> {
    if volume.content.is_ext()
        && let Ok(filesystem) =
            Filesystem::open(Window::new(ReadOnly(device), volume.start, volume.len)?, Options::default())
    {
        let info = filesystem.info();
        let needed = info.blocks.saturating_mul(u64::from(info.block_size));
        if len >= needed {
            return Ok(());
        }
        let message = format!("{len} bytes are too few for its filesystem of {needed} bytes");
        return Err(Error::new(ErrorKind::Refused, message)
            .in_volume(volume.to_string())
            .hint("`nomount shrink` shrinks filesystem and partition"));
    }
    if force {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused, "how much of it its contents need is not known")
        .in_volume(volume.to_string())
        .hint("--force shrinks it all the same"))
}
