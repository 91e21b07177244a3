//! Editing a table: in memory first, then written in an order that survives a crash.

mod error;
mod gpt;
mod gpt_write;
mod logical;
mod mbr;
mod mbr_write;
mod space;

pub use error::EditError;
pub use space::ALIGNMENT;

use crate::raw::{SECTOR, read_exact_vec};
use crate::{DiskId, Guid, Note, Scheme, Source, Table, TypeId, filesystem};
use gpt::GptEdit;
use mbr::MbrEdit;
use nomount_block::{ReadAt, WriteAt};

/// A partition to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartition {
    /// Its number; the lowest free one without.
    pub number: Option<u32>,
    /// First byte. Without, a free place at a multiple of [`ALIGNMENT`] is found.
    pub start: Option<u64>,
    /// Length in bytes; all that is free without.
    pub len: Option<u64>,
    /// What it is for.
    pub type_id: TypeId,
    /// Its identity on a GPT, different from all others. An MBR has no place for it.
    pub guid: Guid,
    /// Name on a GPT; empty on an MBR.
    pub name: String,
    /// Attribute bits on a GPT; 0 on an MBR.
    pub attributes: u64,
    /// The MBR's active flag, or the GPT attribute "legacy BIOS bootable".
    pub bootable: bool,
    /// Whether it goes into the extended partition of an MBR.
    pub logical: bool,
}

impl NewPartition {
    /// A partition of that type and identity, wherever there is most space.
    pub fn new(type_id: TypeId, guid: Guid) -> Self {
        Self {
            number: None,
            start: None,
            len: None,
            type_id,
            guid,
            name: String::new(),
            attributes: 0,
            bootable: false,
            logical: false,
        }
    }
}

/// What the deletion of a partition did to the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Old and new numbers of the logical partitions behind it in the chain: Linux counts them.
    pub renumbered: Vec<(u32, u32)>,
}

#[derive(Debug, Clone)]
enum Inner {
    Gpt(Box<GptEdit>),
    Mbr(Box<MbrEdit>),
}

/// A partition table being edited. Offsets and lengths are bytes.
///
/// Every edit is checked whole before it changes anything; the device is touched by [`Editor::write`] alone.
///
/// ```
/// # use nomount_block::Memory;
/// # use nomount_ptable::{DiskId, Editor, Guid, NewPartition, Scheme, TypeId};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut device = Memory::zeroed(64 << 20);
/// let mut editor = Editor::create(Scheme::Gpt, 64 << 20, 512, DiskId::Guid(Guid([1; 16])))?;
/// let root = editor.add(&NewPartition::new(TypeId::parse("linux", Scheme::Gpt)?, Guid([2; 16])))?;
/// editor.set_name(root, "root")?;
/// editor.write(&mut device)?;
/// assert_eq!(nomount_ptable::read(&device)?.as_ref(), Some(editor.table()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Editor {
    inner: Inner,
    table: Table,
    found: Vec<Note>,
}

impl Editor {
    /// Reads the table of `device`; `None` when it has none. An MBR without partitions counts if it has a disk
    /// signature. A GPT whose backup is not at the end of the device is edited as if it were: that, and whatever else
    /// [`Editor::repairs`] tells, is put right by the next [`Editor::write`].
    ///
    /// # Errors
    ///
    /// What [`crate::read`] refuses; an MBR with several extended partitions.
    pub fn open(device: &dyn ReadAt) -> Result<Option<Self>, EditError> {
        let (inner, notes) = match crate::find(device)? {
            Some((table, Source::Gpt(copy))) => (Inner::Gpt(Box::new(GptEdit::open(device, copy)?)), table.notes),
            Some((table, Source::Mbr)) => (Inner::Mbr(Box::new(MbrEdit::open(device)?)), table.notes),
            None => match MbrEdit::open_empty(device)? {
                Some(edit) => (Inner::Mbr(Box::new(edit)), Vec::new()),
                None => return Ok(None),
            },
        };
        let table = inner.table()?;
        let found = notes.into_iter().filter(is_repaired).collect();
        Ok(Some(Self { inner, table, found }))
    }

    /// A table without partitions for a device of `device_len` bytes. Sectors are 512 bytes, or 4096 on a GPT.
    ///
    /// # Errors
    ///
    /// Another sector size, an identity of the other kind, a device too short.
    pub fn create(scheme: Scheme, device_len: u64, sector_size: u32, disk_id: DiskId) -> Result<Self, EditError> {
        let inner = match (scheme, disk_id) {
            (Scheme::Gpt, DiskId::Guid(guid)) => Inner::Gpt(Box::new(GptEdit::create(device_len, sector_size, guid)?)),
            (Scheme::Mbr, DiskId::Signature(signature)) => {
                Inner::Mbr(Box::new(MbrEdit::create(device_len, sector_size, signature)?))
            }
            (scheme, DiskId::Guid(_)) => return Err(EditError::Unfit { scheme, what: "disk GUID" }),
            (scheme, DiskId::Signature(_)) => return Err(EditError::Unfit { scheme, what: "disk signature" }),
        };
        Ok(Self { table: inner.table()?, inner, found: Vec::new() })
    }

    /// The table as it is after the edits so far.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What was wrong when the table was opened and will be right after [`Editor::write`]: a damaged, different or
    /// misplaced copy of a GPT, a missing protective MBR.
    pub fn repairs(&self) -> &[Note] {
        &self.found
    }

    /// Moves the end of the device to `len` bytes: a GPT's backup and the end of the area for partitions follow.
    /// The device itself must be that long when the table is written, and may be longer.
    ///
    /// # Errors
    ///
    /// A partition that would not fit, by its number.
    pub fn set_device_len(&mut self, len: u64) -> Result<(), EditError> {
        self.edit(|inner| match inner {
            Inner::Gpt(gpt) => gpt.set_device_len(len),
            Inner::Mbr(mbr) => mbr.set_device_len(len),
        })
    }

    /// The shortest device that holds the partitions and the table, in bytes.
    pub fn minimum_device_len(&self) -> u64 {
        match &self.inner {
            Inner::Gpt(gpt) => gpt.minimum_device_len(),
            Inner::Mbr(mbr) => mbr.minimum_device_len(),
        }
    }

    /// How far the partition may reach, in bytes from the start of the device: to what begins next or to the end of
    /// the area for partitions, rounded down to [`ALIGNMENT`] if that is not less than where it ends now. A logical
    /// partition's limit takes into account that the extended one grows with it.
    ///
    /// # Errors
    ///
    /// No such partition.
    pub fn grow_limit(&self, number: u32) -> Result<u64, EditError> {
        match &self.inner {
            Inner::Gpt(gpt) => gpt.grow_limit(number),
            Inner::Mbr(mbr) => mbr.grow_limit(number),
        }
    }

    /// Adds a partition and gives its number. A logical one is added at the end of the chain, so that no number
    /// changes.
    ///
    /// # Errors
    ///
    /// A number, place, type, name or identity that the table cannot take.
    pub fn add(&mut self, new: &NewPartition) -> Result<u32, EditError> {
        self.edit(|inner| match inner {
            Inner::Gpt(gpt) => gpt.add(new),
            Inner::Mbr(mbr) => mbr.add(new),
        })
    }

    /// Deletes a partition. What it holds stays on the device. Entries that [`Table::partitions`] leaves out because
    /// they reach beyond the device can be deleted too.
    ///
    /// # Errors
    ///
    /// No such partition; an extended one with logical ones in it; one that a hybrid MBR also describes.
    pub fn delete(&mut self, number: u32) -> Result<Deleted, EditError> {
        self.edit(|inner| match inner {
            Inner::Gpt(gpt) => gpt.delete(number),
            Inner::Mbr(mbr) => mbr.delete(number),
        })
    }

    /// Gives a partition `len` bytes; its start stays. If a logical one grows beyond the extended one, that grows too.
    ///
    /// # Errors
    ///
    /// What begins next is in the way; a length that is zero or no multiple of the sector size.
    pub fn resize(&mut self, number: u32, len: u64) -> Result<(), EditError> {
        self.edit(|inner| match inner {
            Inner::Gpt(gpt) => gpt.resize(number, len),
            Inner::Mbr(mbr) => mbr.resize(number, len),
        })
    }

    /// Says what a partition is for.
    ///
    /// # Errors
    ///
    /// A type of the other kind of table, or one that would change the table's structure.
    pub fn set_type(&mut self, number: u32, type_id: TypeId) -> Result<(), EditError> {
        self.edit(|inner| match inner {
            Inner::Gpt(gpt) => gpt.set_type(number, type_id),
            Inner::Mbr(mbr) => mbr.set_type(number, type_id),
        })
    }

    /// Names a partition of a GPT.
    ///
    /// # Errors
    ///
    /// An MBR; more than 36 UTF-16 code units; a NUL.
    pub fn set_name(&mut self, number: u32, name: &str) -> Result<(), EditError> {
        self.edit(|inner| match inner {
            Inner::Gpt(gpt) => gpt.set_name(number, name),
            Inner::Mbr(_) => Err(EditError::Unfit { scheme: Scheme::Mbr, what: "partition names" }),
        })
    }

    /// Sets all attribute bits of a partition of a GPT.
    ///
    /// # Errors
    ///
    /// An MBR, which has none.
    pub fn set_attributes(&mut self, number: u32, attributes: u64) -> Result<(), EditError> {
        self.edit(|inner| match inner {
            Inner::Gpt(gpt) => gpt.set_attributes(number, attributes),
            Inner::Mbr(_) => Err(EditError::Unfit { scheme: Scheme::Mbr, what: "partition attributes" }),
        })
    }

    /// Sets or clears the MBR's active flag, which the other partitions then lose, or the GPT attribute "legacy BIOS
    /// bootable".
    ///
    /// # Errors
    ///
    /// No such partition.
    pub fn set_bootable(&mut self, number: u32, bootable: bool) -> Result<(), EditError> {
        self.edit(|inner| match inner {
            Inner::Gpt(gpt) => gpt.set_bootable(number, bootable),
            Inner::Mbr(mbr) => mbr.set_bootable(number, bootable),
        })
    }

    /// Writes what differs, in an order in which every crash leaves a table that can be read: the old or the new. A
    /// logical partition that grows is the exception: between the two the extended one is already the longer.
    /// A table made by [`Editor::create`] replaces what was there, filesystems included; boot code stays unless a
    /// filesystem owns it.
    ///
    /// # Errors
    ///
    /// A device shorter than the table believes; a partition that does not fit; a failure of the device.
    pub fn write(&self, device: &mut dyn WriteAt) -> Result<(), EditError> {
        match &self.inner {
            Inner::Gpt(gpt) => gpt.write(device),
            Inner::Mbr(mbr) => mbr.write(device),
        }
    }

    /// Edits a copy, which counts when the edit succeeds and the result can be read.
    fn edit<T>(&mut self, edit: impl FnOnce(&mut Inner) -> Result<T, EditError>) -> Result<T, EditError> {
        let mut inner = self.inner.clone();
        let done = edit(&mut inner)?;
        self.table = inner.table()?;
        self.inner = inner;
        Ok(done)
    }
}

impl Inner {
    fn table(&self) -> Result<Table, EditError> {
        match self {
            Self::Gpt(gpt) => gpt.table(),
            Self::Mbr(mbr) => mbr.table(),
        }
    }
}

fn is_repaired(note: &Note) -> bool {
    matches!(
        note,
        Note::BackupUsed { .. }
            | Note::BackupDamaged(_)
            | Note::BackupDiffers { .. }
            | Note::BackupNotAtEnd { .. }
            | Note::NoProtectiveMbr
            | Note::ProtectiveStart { .. }
    )
}

/// A start or length in sectors.
fn sectors(what: &'static str, value: u64, sector_size: u64) -> Result<u64, EditError> {
    if value.is_multiple_of(sector_size) {
        return Ok(value / sector_size);
    }
    Err(EditError::Misaligned { what, value, sector_size })
}

/// Writes `bytes` where they differ from what is there.
fn put(device: &mut dyn WriteAt, offset: u64, bytes: &[u8]) -> Result<(), EditError> {
    if read_exact_vec(&*device, offset, bytes.len() as u64)? != bytes {
        device.write_at(offset, bytes)?;
    }
    Ok(())
}

/// What of sector 0 and behind it survives a new table: the boot code, unless a filesystem owns it. Whatever else says
/// that the device is a filesystem is cleared.
fn keep_boot_code(device: &mut dyn WriteAt) -> Result<Vec<u8>, EditError> {
    let mut sector = read_exact_vec(&*device, 0, SECTOR)?;
    let mut owned = false;
    while let Some(found) = filesystem::detect(&*device, &sector)? {
        owned = true;
        match found {
            filesystem::Filesystem::Ext => device.write_at(filesystem::EXT_SUPERBLOCK, &[0; SECTOR as usize])?,
            _ => sector.fill(0),
        }
    }
    sector.truncate(crate::raw::BOOT_CODE);
    if owned {
        sector.fill(0);
    }
    Ok(sector)
}
