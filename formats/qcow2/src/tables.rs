//! Looking things up: guest offset to mapping through L1 and L2, host cluster to refcount through the refcount table.

use crate::cache::{Cache, Class};
use crate::error::{Result, corrupt};
use crate::geometry::Geometry;
use crate::inflate::Inflated;
use crate::info::Info;
use crate::mapping::{CompressedRange, Mapping};
use crate::raw::entry::{COPIED, ENTRY, L1_RESERVED, OFFSET_MASK, REFTABLE_RESERVED};
use crate::refcount;
use nomount_block::ReadAt;
use std::collections::HashSet;

/// One question looks at no more table entries than this; its answer may be shorter than the truth.
const MAX_STEPS: u32 = 16384;

/// The tables of one image, as far as they are cached.
#[derive(Debug)]
pub(crate) struct Tables {
    pub geo: Geometry,
    pub cache: Cache,
    pub inflated: Inflated,
    pub l1_offset: u64,
    pub l1_entries: u64,
    pub reftable_offset: u64,
    pub reftable_entries: u64,
    /// Unallocated clusters come from a backing device.
    backed: bool,
    /// Length of the file when it was opened.
    pub open_len: u64,
    /// Offsets of slices, see `checked.rs`.
    pub checked: HashSet<u64>,
}

/// An L1 entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct L1Entry {
    /// Offset of the L2 table, or 0.
    pub l2: u64,
    pub copied: bool,
}

/// Where a stretch of the guest comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Zero,
    Backing,
    /// At this host offset.
    Data(u64),
    /// So many bytes into this compressed cluster.
    Compressed(CompressedRange, u64),
}

impl Tables {
    pub fn new(info: &Info, cache_bytes: usize, open_len: u64) -> Self {
        let geo = info.geometry();
        Self {
            geo,
            cache: Cache::new(geo.cluster(), cache_bytes),
            inflated: Inflated::default(),
            l1_offset: info.l1_offset,
            l1_entries: info.l1_entries,
            reftable_offset: info.refcount_table_offset,
            reftable_entries: u64::from(info.refcount_table_clusters) * geo.cluster() / ENTRY,
            backed: info.backing_file.is_some(),
            open_len,
            checked: HashSet::new(),
        }
    }

    pub fn l1_at(&self, guest: u64) -> u64 {
        self.l1_offset + guest / self.geo.l2_span() * ENTRY
    }

    /// The L1 entry for a guest offset.
    pub fn l1(&mut self, device: &impl ReadAt, guest: u64) -> Result<L1Entry> {
        let at = self.l1_at(guest);
        let entry = self.cache.get(device, at, Class::L1)?;
        Self::decode_l1(&self.geo, at, entry, self.bound(device, at))
    }

    pub fn decode_l1(geo: &Geometry, at: u64, entry: u64, bound: u64) -> Result<L1Entry> {
        let l2 = entry & OFFSET_MASK;
        if entry & L1_RESERVED != 0 || l2 != 0 && !geo.valid_cluster(l2, bound) {
            return Err(corrupt("L1 entry", at, entry, "a cluster-aligned offset inside the file"));
        }
        Ok(L1Entry { l2, copied: entry & COPIED != 0 })
    }

    /// Offset in the file of the L2 entry for a guest offset, in the L2 table at `l2`.
    pub fn l2_at(&self, l2: u64, guest: u64) -> u64 {
        l2 + guest % self.geo.l2_span() / self.geo.cluster() * self.geo.l2_entry()
    }

    /// The mapping of the guest cluster at a guest offset, from the L2 table at `l2`.
    pub fn mapping(&mut self, device: &impl ReadAt, l2: u64, guest: u64) -> Result<Mapping> {
        if l2 == 0 {
            return Ok(Mapping::UNALLOCATED);
        }
        let at = self.l2_at(l2, guest);
        let entry = self.cache.get(device, at, Class::L2)?;
        let bitmap = if self.geo.extended_l2 { self.cache.get(device, at + 8, Class::L2)? } else { 0 };
        Mapping::decode(&self.geo, at, entry, bitmap, self.bound(device, at))
    }

    /// Changes the mapping of a guest cluster in the L2 table at `l2` to a standard one.
    pub fn set_mapping(
        &mut self,
        device: &impl ReadAt,
        (l2, guest): (u64, u64),
        host: u64,
        copied: bool,
        (alloc, zero): (u32, u32),
    ) -> Result<()> {
        let at = self.l2_at(l2, guest);
        let (entry, bitmap) = Mapping::encode_standard(&self.geo, host, copied, alloc, zero);
        self.cache.set(device, at, Class::L2, entry)?;
        if self.geo.extended_l2 {
            self.cache.set(device, at + 8, Class::L2, bitmap)?;
        }
        Ok(())
    }

    /// Offset of the refcount block with number `index`, or 0. The index is below `reftable_entries`.
    pub fn refcount_block(&mut self, device: &impl ReadAt, index: u64) -> Result<u64> {
        let at = self.reftable_offset + index * ENTRY;
        let block = self.cache.get(device, at, Class::RefcountTable)?;
        Self::decode_block(&self.geo, at, block, self.bound(device, at))
    }

    pub fn decode_block(geo: &Geometry, at: u64, block: u64, bound: u64) -> Result<u64> {
        if block & REFTABLE_RESERVED != 0 || block != 0 && !geo.valid_cluster(block, bound) {
            return Err(corrupt("refcount table entry", at, block, "a cluster-aligned offset inside the file"));
        }
        Ok(block)
    }

    /// Where the refcount of `cluster` is: file offset of a byte of its slice, and its index in that slice.
    fn refcount_place(&self, block: u64, cluster: u64) -> (u64, usize) {
        let index = cluster % self.geo.refcounts_per_block();
        let per_slice = (self.cache.slice_len() * 8) >> self.geo.refcount_order;
        (block + index / per_slice * self.cache.slice_len(), (index % per_slice) as usize)
    }

    /// The refcount of a host cluster; 0 where no refcount block covers it.
    pub fn refcount(&mut self, device: &impl ReadAt, cluster: u64) -> Result<u64> {
        let index = cluster / self.geo.refcounts_per_block();
        if index >= self.reftable_entries {
            return Ok(0);
        }
        let block = self.refcount_block(device, index)?;
        if block == 0 {
            return Ok(0);
        }
        let (at, index) = self.refcount_place(block, cluster);
        let (slice, _) = self.cache.view(device, at, Class::RefcountBlock)?;
        Ok(refcount::get(slice, index, self.geo.refcount_order))
    }

    /// Sets the refcount of a host cluster that `block` covers.
    pub fn set_refcount(&mut self, device: &impl ReadAt, block: u64, cluster: u64, value: u64) -> Result<()> {
        let (at, index) = self.refcount_place(block, cluster);
        let order = self.geo.refcount_order;
        let (slice, _) = self.cache.edit(device, at, Class::RefcountBlock)?;
        refcount::set(slice, index, order, value);
        Ok(())
    }

    /// The first cluster from `from` on with refcount 0 in the slice that has the refcount of `from`, or the first
    /// cluster after that slice. The second answer tells the two apart.
    pub fn free_in_slice(&mut self, device: &impl ReadAt, block: u64, from: u64) -> Result<(u64, bool)> {
        let (at, first) = self.refcount_place(block, from);
        let per_slice = (self.cache.slice_len() * 8) >> self.geo.refcount_order;
        let order = self.geo.refcount_order;
        let (slice, _) = self.cache.view(device, at, Class::RefcountBlock)?;
        let free = (first..per_slice as usize).find(|&index| refcount::get(slice, index, order) == 0);
        let index = free.unwrap_or(per_slice as usize);
        Ok((from + (index - first) as u64, free.is_some()))
    }

    /// Where the guest bytes from `guest` on come from, for at most `max` bytes (at least 1, inside the guest).
    pub fn run(&mut self, device: &impl ReadAt, guest: u64, max: u64) -> Result<(Source, u64)> {
        let (source, mut len) = self.piece(device, guest)?;
        let mut steps = 0;
        while len < max && steps < MAX_STEPS {
            let (next, more) = self.piece(device, guest + len)?;
            let follows = match (source, next) {
                (Source::Zero, Source::Zero) | (Source::Backing, Source::Backing) => true,
                (Source::Data(host), Source::Data(next)) => host + len == next,
                _ => false,
            };
            if !follows {
                break;
            }
            len += more;
            steps += 1;
        }
        Ok((source, len.min(max)))
    }

    /// As [`Tables::run`], for the stretch inside one cluster, or one L2 table that is not there.
    fn piece(&mut self, device: &impl ReadAt, guest: u64) -> Result<(Source, u64)> {
        let geo = self.geo;
        let nothing = if self.backed { Source::Backing } else { Source::Zero };
        let l1 = self.l1(device, guest)?;
        if l1.l2 == 0 {
            return Ok((nothing, geo.l2_span() - guest % geo.l2_span()));
        }
        let within = geo.in_cluster(guest);
        let (host, alloc, zero) = match self.mapping(device, l1.l2, guest)? {
            Mapping::Compressed(range) => return Ok((Source::Compressed(range, within), geo.cluster() - within)),
            Mapping::Standard { host, alloc, zero, .. } => (host, alloc, zero),
        };
        let first = within / geo.subcluster();
        let state = |index: u64| (alloc >> index & 1, zero >> index & 1);
        let same = (first..geo.subclusters().into()).take_while(|&index| state(index) == state(first)).count() as u64;
        let source = match state(first) {
            (1, _) => Source::Data(host + within),
            (_, 1) => Source::Zero,
            _ => nothing,
        };
        Ok((source, (first + same) * geo.subcluster() - within))
    }
}
