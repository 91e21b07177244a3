//! Writing guest data: in place where a cluster is the image's own, else to new clusters.

use crate::alloc::Fresh;
use crate::cache::Class;
use crate::error::{Error, Result, corrupt};
use crate::geometry::Geometry;
use crate::image::Qcow2;
use crate::mapping::Mapping;
use crate::raw::entry::{COPIED, ENTRY};
use crate::tables::Source;
use crate::writer::Change;
use byteorder::{BigEndian, ByteOrder};
use nomount_block::{SetLen, WriteAt, check_range};

/// New clusters are taken together up to this many bytes, so that the tables they need stay few.
const MAX_RUN: u64 = 4 << 20;

/// What a write to (a part of) one guest cluster does.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// Goes to this host offset; the mapping stays.
    InPlace(u64),
    /// The host cluster is our own, but some of the subclusters written are not in it yet.
    Fill { host: u64, alloc: u32, zero: u32 },
    /// Needs a new host cluster.
    New(Mapping),
}

impl<D: SetLen> Change<'_, D> {
    /// Writes `data` at `guest`, all inside the guest.
    pub fn write(&mut self, guest: u64, data: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < data.len() {
            self.relieve()?;
            done += self.write_some(guest + done as u64, &data[done..])? as usize;
        }
        Ok(())
    }

    /// Writes the beginning of `data`, as much as one plan covers, and answers how much that was.
    fn write_some(&mut self, guest: u64, data: &[u8]) -> Result<u64> {
        let len = data.len() as u64;
        let geo = self.geo;
        let first = len.min(geo.cluster() - geo.in_cluster(guest));
        match self.plan(guest, first)? {
            Plan::InPlace(host) => {
                let mut run = first;
                while run < len {
                    let next = (len - run).min(geo.cluster());
                    match self.plan(guest + run, next)? {
                        Plan::InPlace(at) if at == host + run => run += next,
                        _ => break,
                    }
                }
                self.ensure_len(host + run)?;
                self.put(host, &data[..run as usize])?;
                Ok(run)
            }
            Plan::Fill { host, alloc, zero } => {
                let start = geo.in_cluster(guest);
                let touched = geo.touched(start, start + first);
                let table = self.own_l2(guest)?;
                self.ensure_len(host + geo.cluster())?;
                self.put_subclusters(guest, &data[..first as usize], host, touched, false)?;
                self.tables.set_mapping(self.device, (table, guest), host, true, (alloc | touched, zero & !touched))?;
                Ok(first)
            }
            Plan::New(mapping) => {
                let mut old = vec![mapping];
                let mut run = first;
                // One slice of the L2 table, which `own_l2` checks.
                let span = self.tables.cache.slice_len() / geo.l2_entry() * geo.cluster();
                let left = span - guest % span;
                while run < len.min(left).min(MAX_RUN) {
                    let next = (len - run).min(geo.cluster());
                    match self.plan(guest + run, next)? {
                        Plan::New(mapping) => old.push(mapping),
                        _ => break,
                    }
                    run += next;
                }
                self.write_new(guest, &data[..run as usize], &old)
            }
        }
    }

    /// How to write `len` bytes at `guest`, inside one cluster.
    fn plan(&mut self, guest: u64, len: u64) -> Result<Plan> {
        let geo = self.geo;
        let l1 = self.l1(guest)?;
        let mapping = self.tables.mapping(self.device, l1.l2, guest)?;
        let Mapping::Standard { host, copied, alloc, zero } = mapping else {
            return Ok(Plan::New(mapping));
        };
        if host == 0 || !l1.copied || !copied {
            return Ok(Plan::New(mapping));
        }
        // The flag alone is not trusted: what it would overwrite may be a snapshot's, or a table.
        let cluster = host >> geo.cluster_bits;
        let at = self.tables.l2_at(l1.l2, guest);
        let count = self.refcount(cluster)?;
        if self.writer.protected.contains(cluster) {
            return Err(corrupt("L2 entry", at, host, "a cluster that is not a table's"));
        }
        match count {
            0 => return Err(corrupt("refcount of cluster", host, 0, "at least 1")),
            1 => {}
            _ => return Ok(Plan::New(mapping)),
        }
        let within = geo.in_cluster(guest);
        if geo.touched(within, within + len) & !alloc == 0 {
            return Ok(Plan::InPlace(host + within));
        }
        Ok(Plan::Fill { host, alloc, zero })
    }

    /// The L2 table for a guest offset, the image's own: made when there is none, copied when it is shared. The slice
    /// for that offset may be changed.
    pub fn own_l2(&mut self, guest: u64) -> Result<u64> {
        let geo = self.geo;
        let l1 = self.l1(guest)?;
        let old = l1.l2 >> geo.cluster_bits;
        if l1.l2 != 0 {
            let count = self.refcount(old)?;
            if count == 0 {
                return Err(corrupt("refcount of the L2 table", l1.l2, 0, "at least 1"));
            }
            if l1.copied && count == 1 {
                self.tables.check_l2(self.device, self.tables.l2_at(l1.l2, guest))?;
                return Ok(l1.l2);
            }
        }
        let fresh = self.alloc(1)?;
        if let Err(error) = self.lead_to(fresh, guest, l1.l2) {
            self.unalloc(fresh)?;
            return Err(error);
        }
        if l1.l2 != 0 {
            self.writer.frees.push(old);
        }
        self.tables.set_checked(fresh.offset, geo.cluster());
        self.writer.protected.add(fresh.offset >> geo.cluster_bits);
        Ok(fresh.offset)
    }

    /// Makes the L1 entry for a guest offset lead to a new L2 table at `fresh`, empty or a copy of the one at `from`.
    /// After an error there is no such table.
    fn lead_to(&mut self, fresh: Fresh, guest: u64, from: u64) -> Result<()> {
        let copy = if from == 0 { None } else { Some(self.copied_l2(from)?) };
        // Before the table: looking up what is changed may fail.
        self.tables.cache.set(self.device, self.tables.l1_at(guest), Class::L1, fresh.offset | COPIED)?;
        match copy {
            None => self.new_table(fresh, Class::L2),
            Some(table) => self.tables.cache.insert_fresh(fresh.offset, Class::L2, &table),
        }
        Ok(())
    }

    /// The contents of a shared L2 table. Its clusters are shared too, so no entry keeps the COPIED flag.
    fn copied_l2(&mut self, from: u64) -> Result<Vec<u8>> {
        let step = self.tables.cache.slice_len();
        let mut table = Vec::with_capacity(self.geo.cluster() as usize);
        for at in (from..from + self.geo.cluster()).step_by(step as usize) {
            self.tables.check_l2(self.device, at)?;
            let (slice, _) = self.tables.cache.view(self.device, at, Class::L2)?;
            table.extend_from_slice(slice);
        }
        for entry in table.chunks_exact_mut(self.geo.l2_entry() as usize) {
            let value = BigEndian::read_u64(&entry[..ENTRY as usize]);
            BigEndian::write_u64(&mut entry[..ENTRY as usize], value & !COPIED);
        }
        Ok(table)
    }

    /// Writes `data`, whose clusters were mapped as `old`, to new clusters. Answers how much was written: as much as
    /// there were neighbouring free clusters for.
    fn write_new(&mut self, guest: u64, data: &[u8], old: &[Mapping]) -> Result<u64> {
        let geo = self.geo;
        let table = self.own_l2(guest)?;
        let fresh = self.alloc(old.len() as u64)?;
        let start = geo.align_down(guest);
        let end = (start + (fresh.count << geo.cluster_bits)).min(guest + data.len() as u64);
        let data = &data[..(end - guest) as usize];
        let mappings = self.put_new(guest, data, &old[..fresh.count as usize], fresh);
        let mappings = match mappings {
            Ok(mappings) => mappings,
            Err(error) => {
                self.unalloc(fresh)?;
                return Err(error);
            }
        };
        for (index, (mapping, old)) in mappings.into_iter().zip(old).enumerate() {
            let at = (index as u64) << geo.cluster_bits;
            self.tables.set_mapping(self.device, (table, start + at), fresh.offset + at, true, mapping)?;
            self.free_mapping(old);
        }
        Ok(data.len() as u64)
    }

    /// Puts `data` into new clusters, with what must be kept of the old contents of the first and the last. Answers
    /// the subclusters allocated and zero in each.
    fn put_new(&mut self, guest: u64, data: &[u8], old: &[Mapping], fresh: Fresh) -> Result<Vec<(u32, u32)>> {
        let geo = self.geo;
        let all = geo.all_subclusters();
        let mut mappings = Vec::with_capacity(old.len());
        let (mut at, mut host, mut rest) = (guest, fresh.offset, data);
        let mut old = old.iter();
        while !rest.is_empty() {
            let start = geo.in_cluster(at);
            let whole = rest.len() as u64 >> geo.cluster_bits;
            if start == 0 && whole > 0 {
                let (now, after) = rest.split_at((whole << geo.cluster_bits) as usize);
                self.put(host, now)?;
                mappings.extend(old.by_ref().take(whole as usize).map(|_| (all, 0)));
                (at, host, rest) = (at + now.len() as u64, host + now.len() as u64, after);
                continue;
            }
            let (now, after) = rest.split_at((geo.cluster() - start).min(rest.len() as u64) as usize);
            let touched = geo.touched(start, start + now.len() as u64);
            let (put, zero) = match old.next() {
                Some(Mapping::Standard { alloc, zero, .. }) => (touched | alloc, *zero),
                Some(Mapping::Compressed(_)) => (all, 0),
                None => unreachable!("data was cut to the clusters that were planned"),
            };
            self.put_subclusters(at, now, host, put, fresh.zeroed)?;
            mappings.push((put, zero & !put));
            (at, host, rest) = (at + now.len() as u64, host + geo.cluster(), after);
        }
        Ok(mappings)
    }

    /// Writes the subclusters in `put` of one cluster to the host cluster at `host`: `data` where it is, the old
    /// contents elsewhere.
    fn put_subclusters(&mut self, guest: u64, data: &[u8], host: u64, put: u32, zeroed: bool) -> Result<()> {
        let geo = self.geo;
        let cluster = geo.align_down(guest);
        let from = geo.in_cluster(guest);
        let to = from + data.len() as u64;
        for (start, end) in subcluster_runs(&geo, put) {
            let (inner_start, inner_end) = (from.clamp(start, end), to.clamp(start, end));
            if inner_start == inner_end {
                self.put_old(cluster, host, (start, end), zeroed)?;
                continue;
            }
            let inner = &data[(inner_start - from) as usize..(inner_end - from) as usize];
            let bare = zeroed
                && self.reads_zero(cluster + start, cluster + inner_start)?
                && self.reads_zero(cluster + inner_end, cluster + end)?;
            if bare {
                self.put(host + inner_start, inner)?;
                continue;
            }
            let mut buf = vec![0; (end - start) as usize];
            self.read(cluster + start, &mut buf[..(inner_start - start) as usize])?;
            self.read(cluster + inner_end, &mut buf[(inner_end - start) as usize..])?;
            buf[(inner_start - start) as usize..(inner_end - start) as usize].copy_from_slice(inner);
            self.put(host + start, &buf)?;
        }
        Ok(())
    }

    /// Copies a stretch of a cluster that is not written to its new place.
    fn put_old(&mut self, cluster: u64, host: u64, (start, end): (u64, u64), zeroed: bool) -> Result<()> {
        if zeroed && self.reads_zero(cluster + start, cluster + end)? {
            return Ok(());
        }
        let mut buf = vec![0; (end - start) as usize];
        self.read(cluster + start, &mut buf)?;
        self.put(host + start, &buf)
    }

    /// Whether a stretch of the guest inside one cluster is known to read as zero.
    fn reads_zero(&mut self, start: u64, end: u64) -> Result<bool> {
        let end = end.min(self.geo.size);
        if start >= end {
            return Ok(true);
        }
        let (source, len) = self.tables.run(self.device, start, end - start)?;
        let behind = source == Source::Backing && self.backing.is_none_or(|backing| backing.len() <= start);
        Ok((source == Source::Zero || behind) && len == end - start)
    }

    /// Notes that a mapping is gone from the tables in memory: its clusters lose a reference once that is durable.
    pub fn free_mapping(&mut self, old: &Mapping) {
        let bits = self.geo.cluster_bits;
        match *old {
            Mapping::Standard { host: 0, .. } => {}
            Mapping::Standard { host, .. } => self.writer.frees.push(host >> bits),
            Mapping::Compressed(range) => {
                self.writer.frees.extend(range.offset >> bits..=(range.offset + range.len - 1) >> bits);
            }
        }
    }
}

/// The stretches of a cluster that the set bits stand for, neighbours joined.
fn subcluster_runs(geo: &Geometry, bits: u32) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for index in (0..u64::from(geo.subclusters())).filter(|index| bits >> index & 1 == 1) {
        let (start, end) = (index * geo.subcluster(), (index + 1) * geo.subcluster());
        match runs.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => runs.push((start, end)),
        }
    }
    runs
}

impl<D: SetLen> WriteAt for Qcow2<D> {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> nomount_block::Result<()> {
        check_range(offset, data.len() as u64, self.info.virtual_size)?;
        self.change().and_then(|mut change| change.write(offset, data)).map_err(|e| e.at(offset))
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> nomount_block::Result<()> {
        self.write_at(offset, data)
    }

    fn discard(&mut self, offset: u64, len: u64) -> nomount_block::Result<()> {
        check_range(offset, len, self.info.virtual_size)?;
        self.discard_range(offset, offset + len).map_err(|e| e.at(offset))
    }

    fn barrier(&mut self) -> nomount_block::Result<()> {
        match self.parts() {
            Some(mut change) => change.flush().map_err(|e: Error| e.at(0)),
            // Opened read-only: nothing can have been written.
            None => Ok(()),
        }
    }
}
