//! A bounded cache of metadata slices: aligned pieces of L1, L2, refcount table and refcount blocks.

use crate::error::{Error, Result};
use byteorder::{BigEndian, ByteOrder};
use nomount_block::{ReadAt, SetLen};
use std::collections::{HashMap, HashSet};

/// Tables are cached in pieces of at most this size, so that a small edit reads and writes little of a large table.
const MAX_SLICE: u64 = 4 << 10;

/// Neighbouring dirty slices are written together, up to this many bytes.
const MAX_JOIN: usize = 1 << 20;

/// What a slice is part of; it decides when it may be written (see `flush.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    L1,
    L2,
    RefcountTable,
    RefcountBlock,
}

#[derive(Debug)]
struct Slice {
    data: Box<[u8]>,
    class: Class,
    dirty: bool,
    /// Nothing durable points at the table this is part of.
    fresh: bool,
    used: u64,
}

/// Slices by file offset. Clean ones are dropped when there are too many, dirty ones stay until they are written.
#[derive(Debug)]
pub(crate) struct Cache {
    slice: u64,
    limit: usize,
    slices: HashMap<u64, Slice>,
    /// Tables of one cluster, by offset, that nothing durable points at and that are zero on the device: slices of
    /// them that are not cached need neither be read nor written.
    zeroed: HashSet<u64>,
    cluster: u64,
    dirty: usize,
    clock: u64,
}

impl Cache {
    /// A cache of about `max_bytes`, for an image with clusters of `cluster` bytes.
    pub fn new(cluster: u64, max_bytes: usize) -> Self {
        let slice = cluster.min(MAX_SLICE);
        Self {
            slice,
            limit: (max_bytes / slice as usize).max(8),
            slices: HashMap::new(),
            zeroed: HashSet::new(),
            cluster,
            dirty: 0,
            clock: 0,
        }
    }

    /// Bytes of a slice.
    pub fn slice_len(&self) -> u64 {
        self.slice
    }

    /// Whether so much is dirty that it should be written before more is changed.
    pub fn is_crowded(&self) -> bool {
        self.dirty > self.limit / 2
    }

    /// The slice with the byte at `offset`, and the byte's place in it. What is beyond the end of the file is zero.
    fn load(&mut self, device: &impl ReadAt, offset: u64, class: Class) -> Result<(&mut Slice, usize)> {
        let start = offset - offset % self.slice;
        if !self.slices.contains_key(&start) {
            self.make_room();
            let mut data = vec![0; self.slice as usize].into_boxed_slice();
            let fresh = self.zeroed.contains(&(start - start % self.cluster));
            if !fresh {
                let len = device.len().saturating_sub(start).min(self.slice) as usize;
                device.read_at(start, &mut data[..len]).map_err(Error::Device)?;
            }
            self.slices.insert(start, Slice { data, class, dirty: false, fresh, used: 0 });
        }
        self.clock += 1;
        let slice = self.slices.get_mut(&start).expect("it was inserted if it was missing");
        slice.used = self.clock;
        Ok((slice, (offset - start) as usize))
    }

    /// Drops the less recently used half of the clean slices when the cache is full.
    fn make_room(&mut self) {
        if self.slices.len() < self.limit {
            return;
        }
        let mut used: Vec<u64> = self.slices.values().filter(|s| !s.dirty).map(|s| s.used).collect();
        if used.is_empty() {
            return;
        }
        let middle = used.len() / 2;
        let (_, &mut limit, _) = used.select_nth_unstable(middle);
        self.slices.retain(|_, slice| slice.dirty || slice.used > limit);
    }

    /// The slice with the byte at `offset` to look at, and the byte's place in it.
    pub fn view(&mut self, device: &impl ReadAt, offset: u64, class: Class) -> Result<(&[u8], usize)> {
        let (slice, at) = self.load(device, offset, class)?;
        Ok((&slice.data, at))
    }

    /// As [`Cache::view`], to change: the slice is dirty afterwards.
    pub fn edit(&mut self, device: &impl ReadAt, offset: u64, class: Class) -> Result<(&mut [u8], usize)> {
        let (slice, at) = self.load(device, offset, class)?;
        let newly = !slice.dirty;
        slice.dirty = true;
        slice.class = class;
        let start = offset - at as u64;
        self.dirty += usize::from(newly);
        let slice = self.slices.get_mut(&start).expect("it was just loaded");
        Ok((&mut slice.data, at))
    }

    /// The 8-byte entry at `offset`.
    pub fn get(&mut self, device: &impl ReadAt, offset: u64, class: Class) -> Result<u64> {
        let (data, at) = self.view(device, offset, class)?;
        Ok(BigEndian::read_u64(&data[at..at + 8]))
    }

    /// Sets the 8-byte entry at `offset`.
    pub fn set(&mut self, device: &impl ReadAt, offset: u64, class: Class, value: u64) -> Result<()> {
        let (data, at) = self.edit(device, offset, class)?;
        BigEndian::write_u64(&mut data[at..at + 8], value);
        Ok(())
    }

    /// Makes a new table of the bytes of `contents`, at a slice-aligned `offset` that nothing durable points at.
    pub fn insert_fresh(&mut self, offset: u64, class: Class, contents: &[u8]) {
        for (index, piece) in contents.chunks(self.slice as usize).enumerate() {
            self.make_room();
            let slice = Slice { data: piece.into(), class, dirty: true, fresh: true, used: self.clock };
            let old = self.slices.insert(offset + index as u64 * self.slice, slice);
            self.dirty += usize::from(!old.is_some_and(|old| old.dirty));
        }
    }

    /// Makes a new, empty table of the cluster at `offset`, which is zero on the device, and nothing durable points
    /// at it.
    pub fn insert_zeroed(&mut self, offset: u64) {
        self.forget(offset, self.cluster);
        self.zeroed.insert(offset);
    }

    /// Forgets `len` bytes at `offset`, written or not: the table there is gone.
    pub fn forget(&mut self, offset: u64, len: u64) {
        self.zeroed.remove(&offset);
        for at in (offset..offset + len).step_by(self.slice as usize) {
            if let Some(old) = self.slices.remove(&at) {
                self.dirty -= usize::from(old.dirty);
            }
        }
    }

    /// Writes the dirty slices that are of one of `classes`, or with `fresh` those of new tables too, in the order of
    /// their offsets. After the latter no table is new. Answers whether anything was written.
    pub fn write_out(&mut self, device: &mut impl SetLen, fresh: bool, classes: &[Class]) -> Result<bool> {
        let wanted = |slice: &Slice| slice.dirty && if slice.fresh { fresh } else { classes.contains(&slice.class) };
        let mut offsets: Vec<u64> = self.slices.iter().filter(|(_, s)| wanted(s)).map(|(&at, _)| at).collect();
        offsets.sort_unstable();
        let mut rest = offsets.as_slice();
        while let Some(&start) = rest.first() {
            let joined = rest
                .iter()
                .zip((start..).step_by(self.slice as usize))
                .take(MAX_JOIN / self.slice as usize)
                .take_while(|(at, expected)| *at == expected)
                .count();
            let (run, after) = rest.split_at(joined);
            let mut bytes = Vec::with_capacity(joined * self.slice as usize);
            for at in run {
                bytes.extend_from_slice(&self.slices[at].data);
            }
            // A table at the very end of the file may stop inside its last slice; the bytes after it are zero.
            let end = start + bytes.len() as u64;
            if device.len() < end {
                device.set_len(end).map_err(Error::Device)?;
            }
            device.write_at(start, &bytes).map_err(Error::Device)?;
            for at in run {
                let slice = self.slices.get_mut(at).expect("it was just listed");
                slice.dirty = false;
                slice.fresh = false;
                self.dirty -= 1;
            }
            rest = after;
        }
        if fresh && !self.zeroed.is_empty() {
            self.zeroed.clear();
            // Slices that were looked at and not changed.
            self.slices.values_mut().for_each(|slice| slice.fresh = false);
        }
        Ok(!offsets.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomount_block::{Fault, FaultPlan, Memory, Record};

    /// Sets an entry, and answers where the writes of `fresh` tables and refcounts went.
    fn written(cache: &mut Cache, device: &mut Fault<Memory>, at: u64) -> Vec<(u64, usize)> {
        let before = device.log().len();
        cache.set(device, at, Class::L2, 7).unwrap();
        cache.write_out(device, true, &[Class::RefcountBlock]).unwrap();
        let place = |record: &Record| match record {
            Record::Write { offset, data } => (*offset, data.len()),
            other => panic!("{other:?}"),
        };
        device.log()[before..].iter().map(place).collect()
    }

    #[test]
    fn a_new_table_on_zeroes_costs_its_slices_in_use_and_is_not_new_for_long() {
        let mut device = Fault::new(Memory::zeroed(1 << 17), FaultPlan::default());
        let mut cache = Cache::new(1 << 16, 1 << 20);
        cache.insert_zeroed(1 << 16);
        assert_eq!(cache.get(&device, (1 << 16) + 3 * MAX_SLICE, Class::L2).unwrap(), 0);
        assert_eq!(device.reads(), 0);
        assert_eq!(written(&mut cache, &mut device, 1 << 16), [(1 << 16, MAX_SLICE as usize)]);
        // Now pointers may lead to the table: neither the slice that was only looked at nor any other may be written
        // with the new tables.
        assert_eq!(written(&mut cache, &mut device, (1 << 16) + 3 * MAX_SLICE), []);
        assert_eq!(written(&mut cache, &mut device, (1 << 16) + 5 * MAX_SLICE), []);
        cache.write_out(&mut device, false, &[Class::L2]).unwrap();
        assert_eq!(device.log().len(), 3);
    }
}
