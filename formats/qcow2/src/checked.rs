//! Which slices of pointer tables were checked whole, and how far a pointer may lead.
//!
//! A pointer beyond the end of the file is invalid. The file grows while it is written, and a stale or hostile
//! pointer must not come to life on clusters that were allocated for something else. So pointers are bounded by the
//! file's length as of opening, but for slices that this process may have changed: before the first change of a
//! slice all its pointers are checked against that length, and whatever is longer afterwards was put there here.

use crate::cache::Class;
use crate::error::Result;
use crate::mapping::Mapping;
use crate::raw::entry::ENTRY;
use crate::tables::Tables;
use byteorder::{BigEndian, ByteOrder};
use nomount_block::ReadAt;

impl Tables {
    /// Pointers in the slice of the byte at `at` lead below this.
    pub fn bound(&self, device: &impl ReadAt, at: u64) -> u64 {
        let len = device.len();
        if len <= self.open_len || self.is_checked(at) { len } else { self.open_len }
    }

    /// Whether the slice of the byte at `at` was checked.
    pub fn is_checked(&self, at: u64) -> bool {
        self.checked.contains(&(at - at % self.cache.slice_len()))
    }

    /// Notes that all pointers in the slices of `len` bytes at `offset` were checked, or put there by this process.
    pub fn set_checked(&mut self, offset: u64, len: u64) {
        let step = self.cache.slice_len();
        self.checked.extend((offset - offset % step..offset + len).step_by(step as usize));
    }

    /// Forgets a table, cached or not, that is gone.
    pub fn forget(&mut self, offset: u64, len: u64) {
        self.cache.forget(offset, len);
        for at in (offset..offset + len).step_by(self.cache.slice_len() as usize) {
            self.checked.remove(&at);
        }
    }

    /// Checks the slice of the L1 table with the entry at `at`, and answers the L2 tables it leads to, none when it
    /// was checked before. The caller marks it as checked.
    pub fn check_l1(&mut self, device: &impl ReadAt, at: u64) -> Result<Vec<u64>> {
        let end = self.l1_offset + self.l1_entries * ENTRY;
        let mut found = Vec::new();
        for (at, entry) in self.unchecked(device, at, end, Class::L1)? {
            found.push(Self::decode_l1(&self.geo, at, entry, self.open_len)?.l2);
        }
        found.retain(|l2| *l2 != 0);
        Ok(found)
    }

    /// As [`Tables::check_l1`], for the refcount table and its blocks.
    pub fn check_reftable(&mut self, device: &impl ReadAt, at: u64) -> Result<Vec<u64>> {
        let end = self.reftable_offset + self.reftable_entries * ENTRY;
        let mut found = Vec::new();
        for (at, entry) in self.unchecked(device, at, end, Class::RefcountTable)? {
            found.push(Self::decode_block(&self.geo, at, entry, self.open_len)?);
        }
        Ok(found)
    }

    /// The entries that are not zero in the slice of the one at `at`, of a table that ends at `end`.
    fn unchecked(&mut self, device: &impl ReadAt, at: u64, end: u64, class: Class) -> Result<Vec<(u64, u64)>> {
        if self.is_checked(at) {
            return Ok(Vec::new());
        }
        let start = at - at % self.cache.slice_len();
        let (slice, _) = self.cache.view(device, start, class)?;
        let entries = slice.chunks_exact(ENTRY as usize).map(BigEndian::read_u64);
        let placed = (start..end).step_by(ENTRY as usize).zip(entries);
        Ok(placed.filter(|(_, entry)| *entry != 0).collect())
    }

    /// Checks the slice of an L2 table with the entry at `at`, before its first change.
    pub fn check_l2(&mut self, device: &impl ReadAt, at: u64) -> Result<()> {
        if self.is_checked(at) {
            return Ok(());
        }
        let start = at - at % self.cache.slice_len();
        let (geo, bound) = (self.geo, self.open_len);
        let (slice, _) = self.cache.view(device, start, Class::L2)?;
        for (entry, at) in slice.chunks_exact(geo.l2_entry() as usize).zip((start..).step_by(geo.l2_entry() as usize)) {
            let bitmap = if geo.extended_l2 { BigEndian::read_u64(&entry[8..]) } else { 0 };
            Mapping::decode(&geo, at, BigEndian::read_u64(entry), bitmap, bound)?;
        }
        self.set_checked(start, 1);
        Ok(())
    }
}
