//! Logical partitions: entries in a chain of extended boot records inside the extended partition.
//!
//! A record's entry counts from the record; its link counts from the start of the extended partition and has the
//! length of the next record with its partition.

use super::mbr::{self, MAX_END, MbrEdit, chs, entry};
use super::space::{Space, Taken};
use super::{Deleted, EditError, NewPartition};
use crate::TypeId;
use crate::mbr::{ChainRecord, FIRST_LOGICAL, MAX_EBRS, MAX_LOGICAL};
use crate::raw::{ACTIVE, BOOT_SIGNATURE, BootRecord, MbrEntry, SECTOR};
use crate::table::is_extended_type;
use zerocopy::FromZeros;

/// Type of the entries that link records.
const LINK_TYPE: u8 = 0x05;
/// Entries of a record: the partition, and the link.
const DATA: usize = 0;
const LINK: usize = 1;
/// A record is put so far in front of its partition, as other tools do.
const RECORD_DISTANCE: u64 = 2048;

/// A logical partition, in sectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logical {
    pub number: u32,
    /// Index of its record in the chain.
    pub link: usize,
    /// Index of its entry in the record.
    pub index: usize,
    pub start: u64,
    pub len: u64,
}

impl Logical {
    pub fn end(&self) -> u64 {
        self.start + self.len
    }
}

impl MbrEdit {
    pub(super) fn logicals(&self) -> Vec<Logical> {
        let mut found = Vec::new();
        for (link, record) in self.chain.iter().enumerate() {
            for &(index, number) in &record.data {
                let entry = &self.records[&record.lba].partition_record[index];
                let start = record.lba + mbr::start(entry);
                found.push(Logical { number, link, index, start, len: mbr::len(entry) });
            }
        }
        found
    }

    fn logical(&self, number: u32) -> Result<Logical, EditError> {
        if self.broken {
            return Err(EditError::BrokenChain);
        }
        let found = self.logicals().into_iter().find(|logical| logical.number == number);
        found.ok_or_else(|| self.not_found(number))
    }

    fn record_mut(&mut self, link: usize) -> &mut BootRecord {
        self.records.get_mut(&self.chain[link].lba).expect("every record of the chain is kept")
    }

    fn entry_mut(&mut self, logical: &Logical) -> &mut MbrEntry {
        &mut self.record_mut(logical.link).partition_record[logical.index]
    }

    /// The inside of the extended partition without the partition of that number: records and partitions.
    fn inside(&self, without: Option<u32>) -> Result<Space, EditError> {
        let (_, first, end) = self.extended().ok_or(EditError::NoExtended)?;
        let partitions = self.logicals().into_iter().filter(|logical| Some(logical.number) != without);
        let mut taken: Vec<Taken> =
            partitions.map(|l| Taken { start: l.start, end: l.end(), number: Some(l.number) }).collect();
        for record in &self.chain {
            let number = record.data.first().map(|(_, number)| *number);
            taken.push(Taken { start: record.lba, end: record.lba + 1, number });
        }
        // The first sector is the first record's, whether there is one or not.
        Ok(Space { sector: SECTOR, first: first + 1, end, taken, lead: 0 })
    }

    /// How far a logical partition may reach, and what stops it there.
    fn limit(&self, logical: &Logical) -> Result<(u64, Space), EditError> {
        let inside = self.inside(Some(logical.number))?;
        if inside.taken.iter().any(|taken| taken.end > logical.end()) {
            // Something of the chain is in the way; what follows in it may even lie outside.
            let beyond = Space { end: self.end(), ..inside };
            return Ok((beyond.limit(logical.end()), beyond));
        }
        let (extended, ..) = self.extended().ok_or(EditError::NoExtended)?;
        let outside = self.space(Some(extended));
        Ok((outside.limit(logical.end()), outside))
    }

    pub(super) fn grow_limit_logical(&self, number: u32) -> Result<u64, EditError> {
        let logical = self.logical(number)?;
        let (limit, space) = self.limit(&logical)?;
        Ok(space.round_down(limit, logical.end()) * SECTOR)
    }

    pub(super) fn resize_logical(&mut self, number: u32, len: u64) -> Result<(), EditError> {
        let logical = self.logical(number)?;
        let end = logical.start.saturating_add(len);
        let size_in_lba = if end > logical.end() { mbr::check_32(logical.start, len)? } else { len as u32 };
        if end > logical.end() {
            let (limit, space) = self.limit(&logical)?;
            if end > limit {
                return Err(space.conflict(logical.end(), end));
            }
        }
        let entry = self.entry_mut(&logical);
        entry.size_in_lba = size_in_lba.into();
        entry.ending_chs = chs(end - 1);
        self.set_link_len(logical.link)?;
        if self.extended().is_some_and(|(_, _, extended_end)| end > extended_end && end > logical.end()) {
            self.set_extended_end(end)?;
        }
        Ok(())
    }

    /// Gives the link to that record the length of the record with its partitions.
    fn set_link_len(&mut self, link: usize) -> Result<(), EditError> {
        let lba = self.chain[link].lba;
        let ends = self.logicals().into_iter().filter(|logical| logical.link == link).map(|logical| logical.end());
        let Some(end) = ends.max() else { return Ok(()) };
        let Some(before) = link.checked_sub(1) else { return Ok(()) };
        let Some(index) = self.chain[before].link else { return Ok(()) };
        // A record far out of reach cannot be said; readers look at the length for odd records alone.
        if end > MAX_END || end <= lba {
            return Ok(());
        }
        let entry = &mut self.record_mut(before).partition_record[index];
        entry.size_in_lba = ((end - lba) as u32).into();
        entry.ending_chs = chs(end - 1);
        Ok(())
    }

    pub(super) fn add_logical(
        &mut self,
        new: &NewPartition,
        os_type: u8,
        start: Option<u64>,
        len: Option<u64>,
    ) -> Result<u32, EditError> {
        let (_, first, _) = self.extended().ok_or(EditError::NoExtended)?;
        if self.broken {
            return Err(EditError::BrokenChain);
        }
        if is_extended_type(os_type) {
            let reason = "links logical partitions and cannot be one's own";
            return Err(EditError::BadType { type_id: TypeId::Mbr(os_type), reason });
        }
        let number = FIRST_LOGICAL + self.logicals().len() as u32;
        if let Some(wanted) = new.number.filter(|wanted| *wanted != number) {
            let next = format!("the next logical partition has {number}");
            return Err(EditError::BadNumber { number: wanted, wanted: next });
        }
        if self.logicals().len() == MAX_LOGICAL || self.chain.len() == MAX_EBRS {
            return Err(EditError::NoFreeNumber { limit: number - 1 });
        }

        // The first record has its place; it, or none yet, and without a partition, takes this one.
        let head_is_free = match &self.chain[..] {
            [] => true,
            [head] => head.data.is_empty(),
            _ => false,
        };
        let mut space = self.inside(None)?;
        space.lead = if head_is_free { 0 } else { 1 };
        let place = space.place(start, len)?;
        if head_is_free {
            let head = self.records.entry(first).or_insert_with(empty);
            head.partition_record[DATA] = entry(os_type, place.start, first, place.len)?;
        } else {
            let lba = self.record_place(place.free, place.start)?;
            let mut record = empty();
            record.partition_record[DATA] = entry(os_type, place.start, lba, place.len)?;
            self.records.insert(lba, record);
            let last = self.chain.len() - 1;
            let index = link_index(&self.chain[last]).ok_or(EditError::BrokenChain)?;
            self.record_mut(last).partition_record[index] =
                entry(LINK_TYPE, lba, first, place.start + place.len - lba)?;
        }
        self.follow_chain()?;
        Ok(number)
    }

    /// The sector of a new record in `free..start`. Those of records that are on the device now are avoided, since
    /// they are read until the chain that leads to them is rewritten.
    fn record_place(&self, free: u64, start: u64) -> Result<u64, EditError> {
        let wanted = start.saturating_sub(RECORD_DISTANCE).max(free);
        let is_old = |lba: &u64| self.found.as_ref().is_some_and(|found| found.contains_key(lba));
        let found = (wanted..start).find(|lba| !is_old(lba)).or_else(|| (free..wanted).find(|lba| !is_old(lba)));
        found.ok_or(EditError::Overlap { start: start * SECTOR, end: (start + 1) * SECTOR, other: None })
    }

    pub(super) fn delete_logical(&mut self, number: u32) -> Result<Deleted, EditError> {
        let logical = self.logical(number)?;
        let before: Vec<u32> = self.logicals().iter().map(|l| l.number).filter(|n| *n != number).collect();
        let record = self.chain[logical.link].clone();
        let next = self.chain.get(logical.link + 1).cloned();
        if record.data.len() > 1 {
            // A record of several partitions, as OS/2 has them.
            *self.entry_mut(&logical) = MbrEntry::new_zeroed();
        } else if let Some(previous) = logical.link.checked_sub(1) {
            // The chain passes over the record.
            let link = match record.link {
                Some(index) => self.record_mut(logical.link).partition_record[index].clone(),
                None => MbrEntry::new_zeroed(),
            };
            let index = self.chain[previous].link.ok_or(EditError::BrokenChain)?;
            self.record_mut(previous).partition_record[index] = link;
        } else {
            self.move_into_head(&logical, next)?;
        }
        self.follow_chain()?;
        let after = self.logicals().into_iter().map(|l| l.number);
        Ok(Deleted { renumbered: before.into_iter().zip(after).filter(|(old, new)| old != new).collect() })
    }

    /// The first record cannot be passed over. It takes the next one's partition and link, or stays without partition
    /// if the next one is odd.
    fn move_into_head(&mut self, logical: &Logical, next: Option<ChainRecord>) -> Result<(), EditError> {
        *self.entry_mut(logical) = MbrEntry::new_zeroed();
        let head = self.chain[logical.link].lba;
        let Some(ChainRecord { lba, data, link }) = next else { return Ok(()) };
        let [(index, _)] = data[..] else { return Ok(()) };
        let record = &self.records[&lba].partition_record;
        let Some(distance) = lba.checked_sub(head) else { return Ok(()) };
        let Ok(start) = u32::try_from(distance + mbr::start(&record[index])) else { return Ok(()) };
        let moved = MbrEntry { starting_lba: start.into(), ..record[index].clone() };
        let link = link.map_or_else(MbrEntry::new_zeroed, |link| record[link].clone());
        let to = self.chain[logical.link].link.ok_or(EditError::BrokenChain)?;
        let record = self.record_mut(logical.link);
        record.partition_record[logical.index] = moved;
        record.partition_record[to] = link;
        Ok(())
    }

    pub(super) fn set_type_logical(&mut self, number: u32, os_type: u8) -> Result<(), EditError> {
        let logical = self.logical(number)?;
        if is_extended_type(os_type) {
            let reason = "links logical partitions and cannot be one's own";
            return Err(EditError::BadType { type_id: TypeId::Mbr(os_type), reason });
        }
        self.entry_mut(&logical).os_type = os_type;
        Ok(())
    }

    pub(super) fn set_bootable_logical(&mut self, number: u32, bootable: bool) -> Result<(), EditError> {
        let logical = self.logical(number)?;
        self.entry_mut(&logical).boot_indicator = if bootable { ACTIVE } else { 0 };
        Ok(())
    }
}

/// A record without entries.
fn empty() -> BootRecord {
    let mut record = BootRecord::new_zeroed();
    record.signature = BOOT_SIGNATURE;
    record
}

/// Which entry of the last record becomes the link: the second, unless a partition has it.
fn link_index(record: &ChainRecord) -> Option<usize> {
    [LINK, DATA, 2, 3].into_iter().find(|index| record.data.iter().all(|(used, _)| used != index))
}
