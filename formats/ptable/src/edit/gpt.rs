//! Edits of a GPT. Entries are changed in place, byte by byte: what is not understood stays, and so do the numbers.

use super::space::{Space, Taken};
use super::{Deleted, EditError, NewPartition, sectors};
use crate::gpt::{self, Copy, ENTRY_SIZE, LEGACY_BOOTABLE, MAX_ENTRIES, SECTOR_SIZES};
use crate::mbr;
use crate::raw::{GPT_REVISION, GPT_SIGNATURE, GptEntry, GptHeader, SECTOR, is_inside, read_exact_vec};
use crate::{Guid, Note, Scheme, Table, TypeId};
use nomount_block::ReadAt;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Entries of a new table, as everybody makes them.
const NEW_ENTRIES: u32 = 128;
/// Sector of the first entry behind protective MBR and header.
const FIRST_ENTRY_LBA: u64 = 2;
/// UTF-16 code units of a name.
const NAME_UNITS: usize = 36;

/// What was found on the device.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The copy that is trusted.
    pub base: Copy,
    /// The backup as it is on the device, and where: to be cleared when another takes its place.
    pub backup: Vec<(u64, Vec<u8>)>,
    /// Sector 0, 512 bytes.
    pub sector0: Vec<u8>,
}

/// A GPT being edited.
#[derive(Debug, Clone)]
pub(super) struct GptEdit {
    pub device_len: u64,
    /// The primary: where it is, or where it would be if it were not damaged.
    pub copy: Copy,
    /// `None` for a new table.
    pub found: Option<Found>,
    /// First and last sector of what a hybrid MBR describes.
    hybrid: Vec<(u64, u64)>,
}

/// What follows from the length of the device, in sectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// The last sector, where the backup header belongs.
    pub last: u64,
    /// First sector of the backup's entries.
    pub backup_entries: u64,
    /// Last sector for partitions.
    pub last_usable: u64,
}

impl GptEdit {
    pub fn open(device: &dyn ReadAt, base: Copy) -> Result<Self, EditError> {
        let size = u64::from(base.sector_size);
        let mut copy = base.clone();
        let is_primary = base.offset == size;
        if !is_primary {
            copy.offset = size;
            copy.header.my_lba = 1.into();
            copy.header.alternate_lba = (base.offset / size).into();
            copy.header.partition_entry_lba = primary_entries(device, &base)?.into();
        }
        let sector0 = read_exact_vec(device, 0, SECTOR)?;
        let backup = match is_primary {
            true => backup(device, &base)?,
            false => stretches(device, &base)?,
        };
        let hybrid = mbr::Sector::parse(&sector0)?.map_or_else(Vec::new, |mbr| mbr.beside_protective());
        Ok(Self { device_len: device.len(), copy, found: Some(Found { base, backup, sector0 }), hybrid })
    }

    pub fn create(device_len: u64, sector_size: u32, disk_guid: Guid) -> Result<Self, EditError> {
        if !SECTOR_SIZES.contains(&sector_size) {
            return Err(EditError::SectorSize { size: sector_size, wanted: "a GPT has 512 or 4096" });
        }
        let entries = vec![0; (NEW_ENTRIES * ENTRY_SIZE) as usize];
        let array = (entries.len() as u64).div_ceil(sector_size.into());
        let mut header = GptHeader::new_zeroed();
        header.signature = GPT_SIGNATURE;
        header.revision = GPT_REVISION.into();
        header.header_size = (size_of::<GptHeader>() as u32).into();
        header.my_lba = 1.into();
        header.first_usable_lba = (FIRST_ENTRY_LBA + array).into();
        header.disk_guid = disk_guid.0;
        header.partition_entry_lba = FIRST_ENTRY_LBA.into();
        header.number_of_partition_entries = NEW_ENTRIES.into();
        header.size_of_partition_entry = ENTRY_SIZE.into();
        let copy = Copy { sector_size, offset: sector_size.into(), header, rest: Vec::new(), entries };
        let mut edit = Self { device_len, copy, found: None, hybrid: Vec::new() };
        edit.apply_ends()?;
        Ok(edit)
    }

    pub fn sector(&self) -> u64 {
        self.copy.sector_size.into()
    }

    /// Sectors of the entries.
    pub fn array(&self) -> u64 {
        (self.copy.entries.len() as u64).div_ceil(self.sector())
    }

    pub fn primary_entries(&self) -> u64 {
        self.copy.header.partition_entry_lba.get()
    }

    /// Where everything ends on a device of the present length. The end of the area for partitions stays where it is
    /// as long as the backup does; nothing but the backup's own place bounds it otherwise.
    pub fn ends(&self) -> Result<Ends, EditError> {
        let (size, array) = (self.sector(), self.array());
        let first = self.copy.header.first_usable_lba.get();
        let needed = first.saturating_add(array + 2).saturating_mul(size);
        let short = EditError::DeviceTooShort { len: self.device_len, needed };
        let sectors = self.device_len / size;
        if first.checked_add(array + 2).is_none_or(|needed| needed > sectors) {
            return Err(short);
        }
        let last = sectors - 1;
        let backup_entries = last - array;
        let mut last_usable = backup_entries - 1;
        if self.copy.header.alternate_lba.get() == last {
            last_usable = last_usable.min(self.copy.header.last_usable_lba.get());
        }
        Ok(Ends { last, backup_entries, last_usable })
    }

    /// Puts what follows from the device's length into the header.
    fn apply_ends(&mut self) -> Result<(), EditError> {
        let ends = self.ends()?;
        self.copy.header.alternate_lba = ends.last.into();
        self.copy.header.last_usable_lba = ends.last_usable.into();
        Ok(())
    }

    /// The table as it will be written; on a device that was cut, as far as it can be read.
    pub fn table(&self) -> Result<Table, EditError> {
        let mut edit = self.clone();
        // A table that has no room is shown as it was found; writing it is refused.
        let _ = edit.apply_ends();
        let notes = match self.hybrid.len() {
            0 => Vec::new(),
            entries => vec![Note::HybridMbr { entries }],
        };
        Ok(gpt::table(self.device_len, &edit.copy, notes)?)
    }

    fn slots(copy: &Copy) -> impl Iterator<Item = (u32, GptEntry)> {
        let entries = copy.entries.chunks_exact(ENTRY_SIZE as usize).zip(1..);
        entries.map(|(raw, number)| {
            let (entry, _) = GptEntry::read_from_prefix(raw).expect("a chunk is as long as an entry");
            (number, entry)
        })
    }

    /// Entries that describe something.
    fn used(&self) -> impl Iterator<Item = (u32, GptEntry)> {
        Self::slots(&self.copy).filter(|(_, entry)| entry.partition_type_guid != [0; 16])
    }

    fn entry(&self, number: u32) -> Result<GptEntry, EditError> {
        let found = self.used().find(|(used, _)| *used == number);
        let missing = || EditError::NotFound { number, there: self.used().map(|(number, _)| number).collect() };
        found.map(|(_, entry)| entry).ok_or_else(missing)
    }

    fn set_entry(&mut self, number: u32, entry: &GptEntry) {
        let at = (number - 1) as usize * ENTRY_SIZE as usize;
        self.copy.entries[at..at + ENTRY_SIZE as usize].copy_from_slice(entry.as_bytes());
    }

    /// First sector and first sector behind, of entries that do not end before they begin.
    fn ranges(&self) -> impl Iterator<Item = (u32, u64, u64)> {
        self.used().filter_map(|(number, entry)| {
            let (first, last) = (entry.starting_lba.get(), entry.ending_lba.get());
            (first <= last).then(|| (number, first, last.saturating_add(1)))
        })
    }

    /// First and last sector of everything that a copy describes.
    pub fn ranges_of(copy: &Copy) -> Vec<(u64, u64)> {
        let used = Self::slots(copy).filter(|(_, entry)| entry.partition_type_guid != [0; 16]);
        used.map(|(_, entry)| (entry.starting_lba.get(), entry.ending_lba.get())).collect()
    }

    /// The area for partitions without the one of that number.
    fn space(&self, without: Option<u32>) -> Result<Space, EditError> {
        let ends = self.ends()?;
        let mut taken: Vec<Taken> = self
            .ranges()
            .filter(|(number, ..)| Some(*number) != without)
            .map(|(number, start, end)| Taken { start, end, number: Some(number) })
            .collect();
        let array = self.primary_entries();
        taken.push(Taken { start: 0, end: FIRST_ENTRY_LBA, number: None });
        taken.push(Taken { start: array, end: array.saturating_add(self.array()), number: None });
        let first = self.copy.header.first_usable_lba.get();
        Ok(Space { sector: self.sector(), first, end: ends.last_usable + 1, taken, lead: 0 })
    }

    pub fn set_device_len(&mut self, len: u64) -> Result<(), EditError> {
        self.device_len = len;
        self.check_fit().map(|_| ())
    }

    /// Whether every partition ends before the backup. What reaches out of the area for partitions only, as the table
    /// says it, was so when it was found.
    pub fn check_fit(&self) -> Result<Ends, EditError> {
        let (ends, size) = (self.ends()?, self.sector());
        let array = self.primary_entries();
        if array < FIRST_ENTRY_LBA || array.saturating_add(self.array()) > ends.backup_entries {
            return Err(EditError::EntriesMisplaced { lba: array });
        }
        match self.ranges().find(|(_, _, end)| *end > ends.backup_entries) {
            None => Ok(ends),
            Some((number, _, end)) => Err(EditError::DoesNotFit {
                number,
                end: end.saturating_mul(size),
                len: self.device_len,
                limit: ends.backup_entries * size,
            }),
        }
    }

    pub fn minimum_device_len(&self) -> u64 {
        let array = self.primary_entries().saturating_add(self.array());
        let first = self.copy.header.first_usable_lba.get().saturating_add(1).max(array);
        let end = self.ranges().map(|(_, _, end)| end).max().unwrap_or(0).max(first);
        end.saturating_add(self.array() + 1).saturating_mul(self.sector())
    }

    pub fn grow_limit(&self, number: u32) -> Result<u64, EditError> {
        let end = self.entry(number)?.ending_lba.get().saturating_add(1);
        let space = self.space(Some(number))?;
        Ok(space.round_down(space.limit(end), end).saturating_mul(self.sector()))
    }

    pub fn add(&mut self, new: &NewPartition) -> Result<u32, EditError> {
        if new.logical {
            return Err(EditError::Unfit { scheme: Scheme::Gpt, what: "logical partitions" });
        }
        let partition_type_guid = type_guid(new.type_id)?;
        let number = self.free_number(new.number)?;
        let owner = self.used().find(|(_, entry)| entry.unique_partition_guid == new.guid.0);
        if new.guid.0 == [0; 16] || owner.is_some() {
            return Err(EditError::BadGuid { guid: new.guid, number: owner.map(|(number, _)| number) });
        }
        let size = self.sector();
        let start = new.start.map(|start| sectors("start", start, size)).transpose()?;
        let len = new.len.map(|len| sectors("length", len, size)).transpose()?;
        let place = self.space(None)?.place(start, len)?;
        let bootable = if new.bootable { LEGACY_BOOTABLE } else { 0 };
        let entry = GptEntry {
            partition_type_guid,
            unique_partition_guid: new.guid.0,
            starting_lba: place.start.into(),
            ending_lba: (place.start + place.len - 1).into(),
            attributes: (new.attributes | bootable).into(),
            partition_name: encode_name(&new.name)?,
        };
        self.set_entry(number, &entry);
        self.check_fit()?;
        Ok(number)
    }

    fn free_number(&self, wanted: Option<u32>) -> Result<u32, EditError> {
        let limit = self.copy.header.number_of_partition_entries.get().min(MAX_ENTRIES);
        let is_used = |number: u32| self.used().any(|(used, _)| used == number);
        match wanted {
            Some(number) if !(1..=limit).contains(&number) => {
                Err(EditError::BadNumber { number, wanted: format!("this GPT has 1 to {limit}") })
            }
            Some(number) if is_used(number) => Err(EditError::NumberTaken { number }),
            Some(number) => Ok(number),
            None => (1..=limit).find(|number| !is_used(*number)).ok_or(EditError::NoFreeNumber { limit }),
        }
    }

    /// A hybrid MBR repeats partitions of the GPT: those must stay as they are.
    fn check_hybrid(&self, number: u32, entry: &GptEntry) -> Result<(), EditError> {
        let (first, last) = (entry.starting_lba.get(), entry.ending_lba.get());
        match self.hybrid.iter().any(|(start, end)| *start <= last && first <= *end) {
            true => Err(EditError::Hybrid { number }),
            false => Ok(()),
        }
    }

    pub fn delete(&mut self, number: u32) -> Result<Deleted, EditError> {
        let entry = self.entry(number)?;
        self.check_hybrid(number, &entry)?;
        self.set_entry(number, &GptEntry::new_zeroed());
        Ok(Deleted::default())
    }

    pub fn resize(&mut self, number: u32, len: u64) -> Result<(), EditError> {
        let mut entry = self.entry(number)?;
        self.check_hybrid(number, &entry)?;
        let len = sectors("length", len, self.sector())?;
        if len == 0 {
            return Err(EditError::Empty);
        }
        let (start, old_end) = (entry.starting_lba.get(), entry.ending_lba.get().saturating_add(1));
        let end = start.saturating_add(len);
        let space = self.space(Some(number))?;
        if end > old_end && end > space.limit(old_end) {
            return Err(space.conflict(old_end, end));
        }
        entry.ending_lba = (end - 1).into();
        self.set_entry(number, &entry);
        Ok(())
    }

    pub fn set_type(&mut self, number: u32, type_id: TypeId) -> Result<(), EditError> {
        let mut entry = self.entry(number)?;
        entry.partition_type_guid = type_guid(type_id)?;
        self.set_entry(number, &entry);
        Ok(())
    }

    pub fn set_name(&mut self, number: u32, name: &str) -> Result<(), EditError> {
        let mut entry = self.entry(number)?;
        entry.partition_name = encode_name(name)?;
        self.set_entry(number, &entry);
        Ok(())
    }

    pub fn set_attributes(&mut self, number: u32, attributes: u64) -> Result<(), EditError> {
        let mut entry = self.entry(number)?;
        entry.attributes = attributes.into();
        self.set_entry(number, &entry);
        Ok(())
    }

    pub fn set_bootable(&mut self, number: u32, bootable: bool) -> Result<(), EditError> {
        let attributes = self.entry(number)?.attributes.get();
        let without = attributes & !LEGACY_BOOTABLE;
        self.set_attributes(number, if bootable { without | LEGACY_BOOTABLE } else { without })
    }
}

fn type_guid(type_id: TypeId) -> Result<[u8; 16], EditError> {
    match type_id {
        TypeId::Gpt(Guid(guid)) if guid != [0; 16] => Ok(guid),
        TypeId::Gpt(_) => Err(EditError::BadType { type_id, reason: "marks an unused entry" }),
        TypeId::Mbr(_) => Err(EditError::BadType { type_id, reason: "a GPT has GUIDs as types" }),
    }
}

/// UTF-16, padded with NUL.
fn encode_name(name: &str) -> Result<[u8; 2 * NAME_UNITS], EditError> {
    let bad = |reason: String| EditError::BadName { name: name.to_owned(), reason };
    let units = name.encode_utf16().count();
    if units > NAME_UNITS {
        return Err(bad(format!("{units} UTF-16 code units, and a GPT has room for {NAME_UNITS}")));
    }
    if name.contains('\0') {
        return Err(bad("holds a NUL, which ends it".to_owned()));
    }
    let mut bytes = [0; 2 * NAME_UNITS];
    for (pair, unit) in bytes.chunks_exact_mut(2).zip(name.encode_utf16()) {
        pair.copy_from_slice(&unit.to_le_bytes());
    }
    Ok(bytes)
}

/// Where the entries of a damaged primary are: where its header says, if that can be; else behind the header or in
/// front of the first partition, wherever the backup's entries are found. Some boards have boot code behind the header,
/// and their entries elsewhere.
fn primary_entries(device: &dyn ReadAt, backup: &Copy) -> Result<u64, EditError> {
    let size = u64::from(backup.sector_size);
    let len = backup.entries.len() as u64;
    let array = len.div_ceil(size);
    let first_usable = backup.header.first_usable_lba.get();
    let fits = |lba: u64| lba >= FIRST_ENTRY_LBA && lba.checked_add(array).is_some_and(|end| end <= first_usable);
    let mut said = None;
    if is_inside(size, SECTOR, device.len()) {
        let sector = read_exact_vec(device, size, SECTOR)?;
        if let Ok((header, _)) = GptHeader::read_from_prefix(&sector)
            && header.signature == GPT_SIGNATURE
            && fits(header.partition_entry_lba.get())
        {
            said = Some(header.partition_entry_lba.get());
        }
    }
    let usual = [Some(FIRST_ENTRY_LBA), first_usable.checked_sub(array)];
    for lba in said.into_iter().chain(usual.into_iter().flatten()).filter(|lba| fits(*lba)) {
        let offset = lba.saturating_mul(size);
        if is_inside(offset, len, device.len()) && read_exact_vec(device, offset, len)? == backup.entries {
            return Ok(lba);
        }
    }
    Ok(said.unwrap_or(FIRST_ENTRY_LBA))
}

/// Where the primary says that the backup is: its header's sector and, if it is a good copy, its entries.
fn backup(device: &dyn ReadAt, primary: &Copy) -> Result<Vec<(u64, Vec<u8>)>, EditError> {
    let size = u64::from(primary.sector_size);
    let Some(offset) = primary.header.alternate_lba.get().checked_mul(size) else { return Ok(Vec::new()) };
    if offset <= size || !is_inside(offset, size, device.len()) {
        return Ok(Vec::new());
    }
    if let Ok(copy) = gpt::check_copy(device, offset, primary.sector_size)? {
        return stretches(device, &copy);
    }
    let sector = read_exact_vec(device, offset, size)?;
    Ok(if sector.starts_with(&GPT_SIGNATURE) { vec![(offset, sector)] } else { Vec::new() })
}

/// The bytes of a copy: its header's sector and its entries.
fn stretches(device: &dyn ReadAt, copy: &Copy) -> Result<Vec<(u64, Vec<u8>)>, EditError> {
    let size = u64::from(copy.sector_size);
    let header = read_exact_vec(device, copy.offset, size)?;
    Ok(vec![(copy.offset, header), (copy.header.partition_entry_lba.get() * size, copy.entries.clone())])
}
