//! Edits of an MBR: its own four entries. Logical partitions are in `logical.rs`.

use super::space::{Space, Taken};
use super::{Deleted, EditError, NewPartition, sectors};
use crate::mbr::{self, ChainRecord, FIRST_LOGICAL};
use crate::raw::{ACTIVE, BOOT_SIGNATURE, BootRecord, MbrEntry, PROTECTIVE, SECTOR, read_exact_vec};
use crate::table::is_extended_type;
use crate::{Note, Scheme, Table, TypeId, filesystem};
use nomount_block::{Extent, ExtentKind, ReadAt, check_range};
use std::collections::BTreeMap;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Entries of the MBR itself.
const PRIMARY: u32 = 4;
/// First sector that no partition can reach: lengths and starts have 32 bits, and readers add them in 32.
pub(super) const MAX_END: u64 = u32::MAX as u64;
/// Geometry that CHS fields are written for: what everybody assumes of disks that have none.
const HEADS: u64 = 255;
const SECTORS_PER_TRACK: u64 = 63;
const MAX_CYLINDER: u64 = 1023;
/// CHS of what lies beyond.
const CHS_BEYOND: [u8; 3] = [0xfe, 0xff, 0xff];

/// Boot records by their sector: 0, and those of the chain.
pub(super) type Records = BTreeMap<u64, BootRecord>;

/// An MBR being edited. Numbers are sectors.
#[derive(Debug, Clone)]
pub(super) struct MbrEdit {
    /// Bytes.
    pub device_len: u64,
    /// As they will be.
    pub records: Records,
    /// The chain as it will be, read from `records`.
    pub chain: Vec<ChainRecord>,
    /// As they are on the device; none for a new table.
    pub found: Option<Records>,
    /// Whether the chain ends at something that is no record.
    pub broken: bool,
}

/// Records alone, as a device: everything else reads as zero.
#[derive(Debug)]
struct Device<'a>(&'a Records, u64);

impl ReadAt for Device<'_> {
    fn len(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> nomount_block::Result<()> {
        check_range(offset, buf.len() as u64, self.1)?;
        buf.fill(0);
        if let Some(record) = self.0.get(&(offset / SECTOR)).filter(|_| buf.len() == SECTOR as usize) {
            buf.copy_from_slice(record.as_bytes());
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> nomount_block::Result<Extent> {
        check_range(offset, 1, self.1)?;
        Ok(Extent { kind: ExtentKind::Data, len: self.1 - offset })
    }
}

impl MbrEdit {
    pub fn open(device: &dyn ReadAt) -> Result<Self, EditError> {
        let sector = read_exact_vec(device, 0, SECTOR)?;
        let mut records = Records::from([(0, record(&sector))]);
        let mut edit =
            Self { device_len: device.len(), records: Records::new(), chain: Vec::new(), found: None, broken: false };
        if let Some(mbr) = mbr::Sector::parse(&sector)? {
            let (table, chain) = mbr::read_chain(device, &mbr)?;
            edit.broken = table.notes.iter().any(|note| matches!(note, Note::BrokenChain { .. }));
            for link in &chain {
                records.insert(link.lba, record(&read_exact_vec(device, link.lba * SECTOR, SECTOR)?));
            }
            edit.chain = chain;
        }
        edit.found = Some(records.clone());
        edit.records = records;
        let second = edit.primaries().filter(|(_, entry)| is_extended_type(entry.os_type)).nth(1);
        match second {
            Some((number, _)) => Err(EditError::SecondExtended { number }),
            None => Ok(edit),
        }
    }

    /// A boot record with a disk signature and no partition, on a device that is nothing else.
    pub fn open_empty(device: &dyn ReadAt) -> Result<Option<Self>, EditError> {
        if device.len() < SECTOR {
            return Ok(None);
        }
        let sector = read_exact_vec(device, 0, SECTOR)?;
        let record = record(&sector);
        let is_empty = record.signature == BOOT_SIGNATURE
            && record.unique_mbr_disk_signature.get() != 0
            && record.partition_record.as_bytes().iter().all(|byte| *byte == 0);
        if !is_empty || filesystem::detect(device, &sector)?.is_some() {
            return Ok(None);
        }
        Self::open(device).map(Some)
    }

    pub fn create(device_len: u64, sector_size: u32, signature: u32) -> Result<Self, EditError> {
        if u64::from(sector_size) != SECTOR {
            return Err(EditError::SectorSize { size: sector_size, wanted: "an MBR has 512" });
        }
        if device_len < 2 * SECTOR {
            return Err(EditError::DeviceTooShort { len: device_len, needed: 2 * SECTOR });
        }
        let mut record = BootRecord::new_zeroed();
        record.unique_mbr_disk_signature = signature.into();
        record.signature = BOOT_SIGNATURE;
        let records = Records::from([(0, record)]);
        Ok(Self { device_len, records, chain: Vec::new(), found: None, broken: false })
    }

    pub fn table(&self) -> Result<Table, EditError> {
        Ok(self.read()?.0)
    }

    fn read(&self) -> Result<(Table, Vec<ChainRecord>), EditError> {
        let mbr = mbr::Sector::parse(self.sector0().as_bytes())?.expect("the signature is there: it was read so");
        Ok(mbr::read_chain(&Device(&self.records, self.device_len), &mbr)?)
    }

    /// Reads the chain again after a change, and forgets records that are no longer in it.
    pub(super) fn follow_chain(&mut self) -> Result<(), EditError> {
        self.chain = self.read()?.1;
        let lbas: Vec<u64> = self.chain.iter().map(|link| link.lba).collect();
        self.records.retain(|lba, _| *lba == 0 || lbas.contains(lba));
        Ok(())
    }

    pub fn sector0(&self) -> &BootRecord {
        &self.records[&0]
    }

    fn sector0_mut(&mut self) -> &mut BootRecord {
        self.records.get_mut(&0).expect("sector 0 is always there")
    }

    /// The MBR's own entries that have a length, with their numbers.
    fn primaries(&self) -> impl Iterator<Item = (u32, &MbrEntry)> {
        (1..).zip(&self.sector0().partition_record).filter(|(_, entry)| entry.size_in_lba.get() > 0)
    }

    /// The extended partition: number, first sector, first sector behind.
    pub(super) fn extended(&self) -> Option<(u32, u64, u64)> {
        let entry = self.primaries().find(|(_, entry)| is_extended_type(entry.os_type));
        entry.map(|(number, entry)| (number, start(entry), start(entry) + len(entry)))
    }

    /// Lets the extended partition end at that sector.
    pub(super) fn set_extended_end(&mut self, end: u64) -> Result<(), EditError> {
        let (number, first, _) = self.extended().ok_or(EditError::NoExtended)?;
        self.set_primary_len(number, first, end - first)
    }

    fn set_primary_len(&mut self, number: u32, first: u64, sectors: u64) -> Result<(), EditError> {
        let size_in_lba = check_32(first, sectors)?;
        let entry = &mut self.sector0_mut().partition_record[number as usize - 1];
        entry.size_in_lba = size_in_lba.into();
        entry.ending_chs = chs(first + sectors - 1);
        Ok(())
    }

    /// What there is, for the error that names it.
    pub(super) fn not_found(&self, number: u32) -> EditError {
        let primaries = self.primaries().map(|(number, _)| number);
        let logical = self.chain.iter().flat_map(|link| &link.data).map(|(_, number)| *number);
        EditError::NotFound { number, there: primaries.chain(logical).collect() }
    }

    /// The primary or extended partition of that number: first sector, sectors.
    fn primary(&self, number: u32) -> Result<(u64, u64), EditError> {
        let found = self.primaries().find(|(used, _)| *used == number);
        found.map(|(_, entry)| (start(entry), len(entry))).ok_or_else(|| self.not_found(number))
    }

    /// The area outside the extended partition, without the one of that number.
    pub(super) fn space(&self, without: Option<u32>) -> Space {
        let taken = self.primaries().filter(|(number, _)| Some(*number) != without).map(|(number, entry)| Taken {
            start: start(entry),
            end: start(entry) + len(entry),
            number: Some(number),
        });
        Space { sector: SECTOR, first: 1, end: self.end(), taken: taken.collect(), lead: 0 }
    }

    /// First sector that no partition can have.
    pub(super) fn end(&self) -> u64 {
        (self.device_len / SECTOR).min(MAX_END)
    }

    /// The end of everything, of logical partitions too.
    fn last_end(&self) -> u64 {
        let primaries = self.primaries().map(|(_, entry)| start(entry) + len(entry));
        let logical = self.logicals().into_iter().map(|logical| logical.end());
        primaries.chain(logical).max().unwrap_or(0)
    }

    pub fn set_device_len(&mut self, len: u64) -> Result<(), EditError> {
        let limit = len / SECTOR;
        let primaries = self.primaries().map(|(number, entry)| (number, start(entry) + self::len(entry)));
        let logical = self.logicals().into_iter().map(|logical| (logical.number, logical.end()));
        if let Some((number, end)) = primaries.chain(logical).find(|(_, end)| *end > limit) {
            return Err(EditError::DoesNotFit { number, end: end * SECTOR, len, limit: limit * SECTOR });
        }
        self.device_len = len;
        Ok(())
    }

    pub fn minimum_device_len(&self) -> u64 {
        self.last_end().max(2) * SECTOR
    }

    pub fn grow_limit(&self, number: u32) -> Result<u64, EditError> {
        if number >= FIRST_LOGICAL {
            return self.grow_limit_logical(number);
        }
        let (start, len) = self.primary(number)?;
        let space = self.space(Some(number));
        Ok(space.round_down(space.limit(start + len), start + len) * SECTOR)
    }

    pub fn add(&mut self, new: &NewPartition) -> Result<u32, EditError> {
        let os_type = type_byte(new.type_id)?;
        if !new.name.is_empty() {
            return Err(EditError::Unfit { scheme: Scheme::Mbr, what: "partition names" });
        }
        if new.attributes != 0 {
            return Err(EditError::Unfit { scheme: Scheme::Mbr, what: "partition attributes" });
        }
        let start = new.start.map(|start| sectors("start", start, SECTOR)).transpose()?;
        let len = new.len.map(|len| sectors("length", len, SECTOR)).transpose()?;
        let number = match new.logical {
            true => self.add_logical(new, os_type, start, len)?,
            false => self.add_primary(new, os_type, start, len)?,
        };
        if new.bootable {
            self.set_bootable(number, true)?;
        }
        Ok(number)
    }

    fn add_primary(
        &mut self,
        new: &NewPartition,
        os_type: u8,
        start: Option<u64>,
        len: Option<u64>,
    ) -> Result<u32, EditError> {
        if is_extended_type(os_type)
            && let Some((number, ..)) = self.extended()
        {
            return Err(EditError::SecondExtended { number });
        }
        let is_used = |number: u32| self.primaries().any(|(used, _)| used == number);
        let number = match new.number {
            Some(number) if !(1..=PRIMARY).contains(&number) => {
                let wanted = "primary partitions have 1 to 4, and logical ones are counted".to_owned();
                return Err(EditError::BadNumber { number, wanted });
            }
            Some(number) if is_used(number) => return Err(EditError::NumberTaken { number }),
            Some(number) => number,
            None => (1..=PRIMARY).find(|n| !is_used(*n)).ok_or(EditError::NoFreeNumber { limit: PRIMARY })?,
        };
        let place = self.space(None).place(start, len)?;
        let entry = entry(os_type, place.start, 0, place.len)?;
        self.sector0_mut().partition_record[number as usize - 1] = entry;
        if is_extended_type(os_type) {
            // What is there might look like a chain.
            let mut empty = BootRecord::new_zeroed();
            empty.signature = BOOT_SIGNATURE;
            self.records.insert(place.start, empty);
            self.follow_chain()?;
        }
        Ok(number)
    }

    pub fn delete(&mut self, number: u32) -> Result<Deleted, EditError> {
        if number >= FIRST_LOGICAL {
            return self.delete_logical(number);
        }
        self.primary(number)?;
        if self.extended().is_some_and(|(extended, ..)| extended == number) {
            let logical: Vec<u32> = self.logicals().iter().map(|logical| logical.number).collect();
            if !logical.is_empty() || self.broken {
                return Err(if self.broken {
                    EditError::BrokenChain
                } else {
                    EditError::HoldsLogical { number, logical }
                });
            }
        }
        self.sector0_mut().partition_record[number as usize - 1] = MbrEntry::new_zeroed();
        self.follow_chain()?;
        Ok(Deleted::default())
    }

    pub fn resize(&mut self, number: u32, len: u64) -> Result<(), EditError> {
        let len = sectors("length", len, SECTOR)?;
        if len == 0 {
            return Err(EditError::Empty);
        }
        if number >= FIRST_LOGICAL {
            return self.resize_logical(number, len);
        }
        let (first, old_len) = self.primary(number)?;
        let (old_end, end) = (first + old_len, first.saturating_add(len));
        if end > old_end {
            if end > MAX_END {
                return Err(beyond_32(end));
            }
            let space = self.space(Some(number));
            if end > space.limit(old_end) {
                return Err(space.conflict(old_end, end));
            }
        } else if self.extended().is_some_and(|(extended, ..)| extended == number) {
            let ends = self.logicals().into_iter().map(|logical| (logical.end(), Some(logical.number)));
            let records = self.chain.iter().map(|link| (link.lba + 1, link.data.first().map(|(_, number)| *number)));
            if let Some((inside, other)) = ends.chain(records).max().filter(|(inside, _)| *inside > end) {
                return Err(EditError::Overlap { start: end * SECTOR, end: inside * SECTOR, other });
            }
        }
        self.set_primary_len(number, first, len)
    }

    pub fn set_type(&mut self, number: u32, type_id: TypeId) -> Result<(), EditError> {
        let os_type = type_byte(type_id)?;
        if number >= FIRST_LOGICAL {
            return self.set_type_logical(number, os_type);
        }
        self.primary(number)?;
        let entry = &mut self.sector0_mut().partition_record[number as usize - 1];
        if is_extended_type(entry.os_type) != is_extended_type(os_type) {
            let reason = "an extended partition is added and deleted, not made of another";
            return Err(EditError::BadType { type_id, reason });
        }
        entry.os_type = os_type;
        Ok(())
    }

    pub fn set_bootable(&mut self, number: u32, bootable: bool) -> Result<(), EditError> {
        if number >= FIRST_LOGICAL {
            return self.set_bootable_logical(number, bootable);
        }
        self.primary(number)?;
        let entries = &mut self.sector0_mut().partition_record;
        if bootable {
            // Boot code takes two active entries for a damaged table.
            entries.iter_mut().for_each(|entry| entry.boot_indicator = 0);
        }
        entries[number as usize - 1].boot_indicator = if bootable { ACTIVE } else { 0 };
        Ok(())
    }
}

/// A sector as a boot record.
fn record(sector: &[u8]) -> BootRecord {
    BootRecord::read_from_bytes(sector).expect("a sector is as long as a record")
}

pub(super) fn start(entry: &MbrEntry) -> u64 {
    entry.starting_lba.get().into()
}

pub(super) fn len(entry: &MbrEntry) -> u64 {
    entry.size_in_lba.get().into()
}

fn type_byte(type_id: TypeId) -> Result<u8, EditError> {
    let bad = |reason| Err(EditError::BadType { type_id, reason });
    match type_id {
        TypeId::Gpt(_) => bad("an MBR has bytes as types"),
        TypeId::Mbr(0) => bad("marks an unused entry"),
        TypeId::Mbr(PROTECTIVE) => bad("announces a GPT"),
        TypeId::Mbr(byte) => Ok(byte),
    }
}

/// An entry of `sectors` at sector `first`, counted from sector `base`.
pub(super) fn entry(os_type: u8, first: u64, base: u64, sectors: u64) -> Result<MbrEntry, EditError> {
    let size_in_lba = check_32(first, sectors)?;
    let starting_lba = u32::try_from(first - base).map_err(|_| beyond_32(first))?;
    Ok(MbrEntry {
        boot_indicator: 0,
        starting_chs: chs(first),
        os_type,
        ending_chs: chs(first + sectors - 1),
        starting_lba: starting_lba.into(),
        size_in_lba: size_in_lba.into(),
    })
}

/// The length, if the partition does not end beyond what 32 bits count.
pub(super) fn check_32(first: u64, sectors: u64) -> Result<u32, EditError> {
    let end = first.saturating_add(sectors);
    match u32::try_from(sectors) {
        Ok(sectors) if end <= MAX_END => Ok(sectors),
        _ => Err(beyond_32(end)),
    }
}

fn beyond_32(end: u64) -> EditError {
    EditError::Beyond32Bits { end: end.saturating_mul(SECTOR), limit: MAX_END * SECTOR }
}

/// Head, sector and cylinder of a sector, as packed in an entry.
pub(super) fn chs(lba: u64) -> [u8; 3] {
    chs_or(lba, CHS_BEYOND)
}

/// The same, or `beyond` where the geometry ends.
pub(super) fn chs_or(lba: u64, beyond: [u8; 3]) -> [u8; 3] {
    let cylinder = lba / (HEADS * SECTORS_PER_TRACK);
    if cylinder > MAX_CYLINDER {
        return beyond;
    }
    let head = lba / SECTORS_PER_TRACK % HEADS;
    let sector = lba % SECTORS_PER_TRACK + 1;
    [head as u8, (sector | (cylinder >> 8) << 6) as u8, cylinder as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chs_of_first_and_last() {
        assert_eq!(chs(0), [0, 1, 0]);
        assert_eq!(chs(2048), [32, 33, 0]);
        assert_eq!(chs(1024 * 255 * 63 - 1), CHS_BEYOND);
        assert_eq!(chs(1024 * 255 * 63), CHS_BEYOND);
        assert_eq!(chs(u64::MAX), CHS_BEYOND);
    }
}
