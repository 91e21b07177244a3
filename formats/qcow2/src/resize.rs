//! Changing the guest's length.

use crate::cache::Class;
use crate::error::{Error, Result, Unsupported, corrupt};
use crate::geometry::Geometry;
use crate::image::Qcow2;
use crate::info::check_size;
use crate::mapping::Mapping;
use crate::protect::clusters;
use crate::raw::entry::ENTRY;
use crate::raw::header::SIZE_AT;
use crate::writer::Change;
use byteorder::{BigEndian, ByteOrder};
use nomount_block::{ReadAt, SetLen};

impl<D: SetLen> SetLen for Qcow2<D> {
    /// Sets the guest's length, durably: it is a barrier for what was written before, and it has happened whole, or
    /// not at all, when a crash interrupts it. Any length that the image's L1 table may have is possible; QEMU shows
    /// only whole sectors of 512 bytes of it.
    ///
    /// Bytes from the old end on read as zero, whatever was there before an earlier shrinking and whatever a backing
    /// device has there; in version 2 the latter are written. Clusters beyond the new end are freed; the L1 table
    /// keeps its length.
    ///
    /// Refused, with nothing changed: lengths beyond the limits of [`crate::MAX_SIZE`] and [`crate::MAX_L1_BYTES`],
    /// and images with snapshots that do not record their own length. Any other failure means that the image takes
    /// no more changes until it is opened again.
    fn set_len(&mut self, len: u64) -> nomount_block::Result<()> {
        self.resize(len).map_err(|e| e.at(len))
    }
}

impl<D: SetLen> Qcow2<D> {
    fn resize(&mut self, len: u64) -> Result<()> {
        let old = self.info.virtual_size;
        if len == old {
            return Ok(());
        }
        check_size(&Geometry { size: len, ..self.info.geometry() })?;
        let snapshots = &self.info.snapshots;
        let own_lengths = self.info.version >= 3 && snapshots.iter().all(|one| one.virtual_size.is_some());
        if !snapshots.is_empty() && !own_lengths {
            return Err(Error::Unsupported(Unsupported::LengthWithSnapshots));
        }
        let mut change = self.change()?;
        change.flush()?;
        if len < old {
            change.check_tables_from(len)?;
        }
        let result = if len > old { change.grow(old, len) } else { change.shrink(len) };
        change.writer.failed = result.is_err();
        let l1 = (change.tables.l1_offset, change.tables.l1_entries);
        if result.is_ok() {
            (self.info.l1_offset, self.info.l1_entries) = l1;
        }
        // Where the header's length is not certain, the shorter one is told.
        if result.is_ok() || len < old {
            self.info.virtual_size = len;
        }
        result
    }
}

/// How the length changes, and why a crash leaves the old image or the new one. It extends the proof at
/// [`Change::flush`]: between the writes named here there are only whole runs of that function, which keep its
/// invariant, and when [`Change::grow`] or [`Change::shrink`] begins, nothing is pending.
impl<D: SetLen> Change<'_, D> {
    /// Makes the guest longer. The header's fields for the length and the L1 table are the commit point, one write of
    /// 24 bytes inside the first sector:
    ///
    /// 1. What the present L1 table maps from the old end on is made to read as zero: the tail of the last cluster,
    ///    whatever else is mapped there, and what a backing device would show. The guest does not see these bytes yet.
    ///    Flush.
    /// 2. A longer L1 table, unless the header's has enough entries: the entries behind it where its last cluster has
    ///    room for them, else a copy at the end of the file. Nothing leads to these entries while the header has the
    ///    old number, so what is put into them (zero clusters over a backing device) replaces nothing and frees
    ///    nothing. Flush.
    /// 3. The header; everything it now leads to is durable. Barrier. Before it the image is the old one, with
    ///    clusters that are leaked or mapped beyond its end, after it the new one.
    /// 4. A replaced L1 table is freed, which is a leak when it is lost.
    fn grow(&mut self, old: u64, len: u64) -> Result<()> {
        let (l1, entries) = (self.tables.l1_offset, self.tables.l1_entries);
        let mapped = len.min(entries * self.geo.l2_span());
        self.set_size(mapped);
        if old < mapped {
            self.discard(old, mapped)?;
            self.flush()?;
        }
        self.set_size(len);
        let needed = self.geo.l1_needed();
        if needed > entries {
            let room = self.geo.clusters_for(entries * ENTRY) * self.geo.cluster() / ENTRY;
            if needed <= room {
                self.extend_l1(needed)?
            } else {
                self.move_l1(needed)?
            }
            let shown = self.backing.map_or(0, ReadAt::len).min(len);
            self.discard(mapped, shown.next_multiple_of(self.geo.cluster()).min(len))?;
            self.flush()?;
        }
        self.put_length()?;
        if self.tables.l1_offset != l1 && entries > 0 {
            let (start, end) = clusters(&self.geo, l1, entries * ENTRY);
            self.writer.frees.extend(start..end);
            self.flush()?;
            self.writer.protected.remove_fixed((start, end));
        }
        Ok(())
    }

    /// Empties the entries after the L1 table, up to `entries` in all, and counts them as its own. They are inside the
    /// table's clusters.
    fn extend_l1(&mut self, entries: u64) -> Result<()> {
        let (offset, old) = (self.tables.l1_offset, self.tables.l1_entries);
        for at in (offset + old * ENTRY..offset + entries * ENTRY).step_by(ENTRY as usize) {
            self.tables.cache.set(self.device, at, Class::L1, 0)?;
        }
        self.tables.l1_entries = entries;
        Ok(())
    }

    /// Copies the L1 table to the end of the file, with room for `entries`. Only slices with an entry are written,
    /// the rest is zero there.
    fn move_l1(&mut self, entries: u64) -> Result<()> {
        let geo = self.geo;
        let (old_offset, old_bytes) = (self.tables.l1_offset, self.tables.l1_entries * ENTRY);
        let (start, end) = clusters(&geo, old_offset, old_bytes);
        for cluster in start..end {
            if self.refcount(cluster)? == 0 {
                return Err(corrupt("refcount of the L1 table", cluster << geo.cluster_bits, 0, "at least 1"));
            }
        }
        let offset = self.alloc_at_end(geo.clusters_for(entries * ENTRY))? << geo.cluster_bits;
        let step = self.tables.cache.slice_len();
        for at in (0..old_bytes).step_by(step as usize) {
            self.learn_l1(old_offset + at)?;
            let (slice, _) = self.tables.cache.view(self.device, old_offset + at, Class::L1)?;
            let slice = slice[..step.min(old_bytes - at) as usize].to_vec();
            if slice.iter().any(|byte| *byte != 0) {
                self.put(offset + at, &slice)?;
            }
        }
        self.tables.set_checked(offset, entries * ENTRY);
        self.tables.forget(old_offset, old_bytes);
        self.tables.l1_offset = offset;
        self.tables.l1_entries = entries;
        self.writer.protected.add_fixed(clusters(&geo, offset, entries * ENTRY));
        Ok(())
    }

    /// Makes the guest shorter. The header comes first, since whatever is freed before it would be lost to the old
    /// image:
    ///
    /// 1. All L2 tables that lead beyond the new end were checked by [`Change::check_tables_from`], which writes
    ///    nothing, so that an image with a wrong one is left alone.
    /// 2. The header's length, 8 bytes that change inside one sector. Barrier. Before it the image is the old one,
    ///    after it the new one; what is mapped beyond its end costs space until it is freed, and growing never shows
    ///    it.
    /// 3. L2 tables of which the guest needs nothing lose their L1 entry, and with it their clusters a reference; so
    ///    do the clusters beyond the end in the table that maps the end. This is a change of pointers like any other,
    ///    with flushes in between where there is much to free.
    fn shrink(&mut self, len: u64) -> Result<()> {
        let span = self.geo.l2_span();
        let kept = len.div_ceil(span);
        // Where the first cluster without a byte of the guest is, and where the last table that is kept ends.
        let (first, last) = (len.next_multiple_of(self.geo.cluster()), kept * span);
        self.set_size(len);
        self.put_length()?;
        if first < last {
            self.unmap_in_table(first)?;
        }
        let mut index = kept;
        while let Some((found, l2)) = self.next_table(index)? {
            self.relieve()?;
            self.unmap_table(found * span, l2)?;
            index = found + 1;
        }
        self.flush()
    }

    /// Checks the L2 tables that map something beyond a guest of `len` bytes.
    fn check_tables_from(&mut self, len: u64) -> Result<()> {
        let geo = self.geo;
        let mut index = len.next_multiple_of(geo.cluster()) / geo.l2_span();
        while let Some((found, l2)) = self.next_table(index)? {
            if self.refcount(l2 >> geo.cluster_bits)? == 0 {
                return Err(corrupt("refcount of the L2 table", l2, 0, "at least 1"));
            }
            for at in (l2..l2 + geo.cluster()).step_by(self.tables.cache.slice_len() as usize) {
                self.tables.check_l2(self.device, at)?;
            }
            index = found + 1;
        }
        Ok(())
    }

    /// The first L1 entry from `index` on that leads to an L2 table: its index, and the table.
    fn next_table(&mut self, mut index: u64) -> Result<Option<(u64, u64)>> {
        while index < self.tables.l1_entries {
            let at = self.tables.l1_offset + index * ENTRY;
            self.learn_l1(at)?;
            let (slice, within) = self.tables.cache.view(self.device, at, Class::L1)?;
            let entries = slice[within..].chunks_exact(ENTRY as usize);
            let empty = entries.take_while(|entry| entry.iter().all(|byte| *byte == 0)).count() as u64;
            index += empty;
            if empty < (slice.len() - within) as u64 / ENTRY && index < self.tables.l1_entries {
                // An entry of flags alone leads nowhere.
                let l2 = self.l1(index * self.geo.l2_span())?.l2;
                if l2 != 0 {
                    return Ok(Some((index, l2)));
                }
                index += 1;
            }
        }
        Ok(None)
    }

    /// Unmaps the clusters of one L2 table from the guest offset `first` on.
    fn unmap_in_table(&mut self, first: u64) -> Result<()> {
        let geo = self.geo;
        let l2 = self.l1(first)?.l2;
        let last = first - first % geo.l2_span() + geo.l2_span();
        for guest in (first..last).step_by(geo.cluster() as usize) {
            let old = self.tables.mapping(self.device, l2, guest)?;
            if old != Mapping::UNALLOCATED {
                // The first time, a shared table is copied.
                let own = self.own_l2(guest)?;
                self.tables.set_mapping(self.device, (own, guest), 0, false, (0, 0))?;
                self.free_mapping(&old);
            }
        }
        Ok(())
    }

    /// Drops the L1 entry for the guest offset that the L2 table at `l2` begins with. Each cluster that the table maps loses a
    /// reference, whether the table is the image's own or shared with a snapshot, which has its own references.
    fn unmap_table(&mut self, guest: u64, l2: u64) -> Result<()> {
        let geo = self.geo;
        for at in (guest..guest + geo.l2_span()).step_by(geo.cluster() as usize) {
            let old = self.tables.mapping(self.device, l2, at)?;
            self.free_mapping(&old);
        }
        self.writer.frees.push(l2 >> geo.cluster_bits);
        self.tables.cache.set(self.device, self.tables.l1_at(guest), Class::L1, 0)
    }

    /// The guest's length in memory.
    fn set_size(&mut self, size: u64) {
        self.geo.size = size;
        self.tables.geo.size = size;
    }

    /// Writes the guest's length and the L1 table's place and length to the header, durably.
    fn put_length(&mut self) -> Result<()> {
        // The encryption method between them is always none.
        let mut fields = [0; 24];
        BigEndian::write_u64(&mut fields, self.geo.size);
        BigEndian::write_u32(&mut fields[12..], self.tables.l1_entries as u32);
        BigEndian::write_u64(&mut fields[16..], self.tables.l1_offset);
        self.put(SIZE_AT, &fields)?;
        self.sync()
    }
}
