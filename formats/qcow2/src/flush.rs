//! The order in which changed tables reach the device.

use crate::cache::Class;
use crate::error::{Error, Result, corrupt};
use crate::raw::entry::ENTRY;
use crate::raw::header::REFCOUNT_TABLE_AT;
use crate::writer::Change;
use nomount_block::SetLen;

/// Clusters waiting to be freed; more make the tables be written.
const MAX_FREES: usize = 65536;

impl<D: SetLen> Change<'_, D> {
    /// Makes everything written so far durable, with the tables that lead to it. Afterwards nothing is pending.
    ///
    /// Call a table *reachable* when a chain of durable pointers leads from the header to it. The invariant, true
    /// before and after every single write below: **every durable pointer leads to a cluster whose durable contents
    /// and whose durable refcount (at least the number of durable pointers to it) were complete before the pointer
    /// was written.** So after a crash a refcount may be too high (a leak), never too low, and every guest cluster
    /// reads as one of its states since the last barrier.
    ///
    /// 0. Before this function runs, guest data was written to clusters with no durable pointer, or in place where
    ///    a durable entry with the COPIED flag and refcount 1 maps them. Neither touches a table.
    /// 1. *Unreachable tables and raised refcounts*: new L2 tables, new refcount blocks, a new refcount table, whole,
    ///    but for slices without an entry where the file just grew: those are zero there, and the barrier makes the
    ///    growth durable too. And the slices of existing refcount blocks: since the last run these only raised
    ///    refcounts (from 0 to 1); step 4 of the last run is the only place that lowers them. Nothing durable points
    ///    at anything new. Barrier.
    /// 2. *The way to new refcounts*: entries of the reachable refcount table, or the header's offset and length of
    ///    a new one, 12 bytes inside one sector. They lead to what step 1 made durable. Barrier, so that refcounts
    ///    in new blocks count before anything relies on them.
    /// 3. *The way to new data*: entries of reachable L2 tables, and L1 entries that lead to the L2 tables of
    ///    step 1. All they lead to is durable since step 1, with refcounts since steps 1 and 2. An entry is 8 bytes
    ///    (16 with subclusters) and does not straddle a sector, so a torn write leaves each old or new. Barrier.
    /// 4. *Lowered refcounts*: now no durable pointer leads to what the changes of step 3 (or 2) replaced. These
    ///    writes need no barrier after them: one that is lost is a leak. Only from here on may the allocator see
    ///    such a cluster as free, and whatever it becomes gets a durable pointer in a later step 2 or 3, after the
    ///    barrier of its step 1, which orders this step before it.
    ///
    /// A step with nothing to do costs nothing, so a run with only data in place is one barrier. After an error the
    /// device holds a prefix of the above, which the invariant covers, but which prefix is not known: the image
    /// takes no more changes until it is opened again.
    pub fn flush(&mut self) -> Result<()> {
        if self.writer.failed {
            return Err(Error::Failed);
        }
        self.writer.failed = true;
        if self.tables.cache.write_out(self.device, true, &[Class::RefcountBlock])? {
            self.writer.unsynced = true;
        }
        self.sync()?;
        if self.tables.cache.write_out(self.device, false, &[Class::RefcountTable])? {
            self.writer.unsynced = true;
        }
        if self.writer.reftable_moved {
            let clusters = self.geo.clusters_for(self.tables.reftable_entries * ENTRY) as u32;
            let mut field = [0; 12];
            field[..8].copy_from_slice(&self.tables.reftable_offset.to_be_bytes());
            field[8..].copy_from_slice(&clusters.to_be_bytes());
            self.put(REFCOUNT_TABLE_AT, &field)?;
            self.writer.reftable_moved = false;
        }
        self.sync()?;
        if self.tables.cache.write_out(self.device, false, &[Class::L2, Class::L1])? {
            self.writer.unsynced = true;
        }
        self.sync()?;
        self.release()?;
        self.tables.cache.write_out(self.device, false, &[Class::RefcountBlock])?;
        self.writer.failed = false;
        Ok(())
    }

    /// A barrier, if anything was written since the last one.
    pub fn sync(&mut self) -> Result<()> {
        if self.writer.unsynced {
            self.device.barrier().map_err(Error::Device)?;
            self.writer.unsynced = false;
        }
        Ok(())
    }

    /// Lowers the refcounts of what lost a reference, and gives the storage of what became free back to the host.
    fn release(&mut self) -> Result<()> {
        let bits = self.geo.cluster_bits;
        let mut free = Vec::new();
        for cluster in std::mem::take(&mut self.writer.frees) {
            let count = self.refcount(cluster)?;
            if count == 0 {
                return Err(corrupt("refcount of cluster", cluster << bits, 0, "at least 1"));
            }
            let block = self.refcount_block(cluster / self.geo.refcounts_per_block())?;
            self.tables.set_refcount(self.device, block, cluster, count - 1)?;
            if count == 1 {
                self.writer.hint = self.writer.hint.min(cluster);
                self.tables.forget(cluster << bits, 1 << bits);
                self.writer.protected.remove(cluster);
                free.push(cluster);
            }
        }
        free.sort_unstable();
        for run in free.chunk_by(|a, b| a + 1 == *b) {
            let start = run[0] << bits;
            let end = ((run[run.len() - 1] + 1) << bits).min(self.device.len());
            if start < end {
                self.device.discard(start, end - start).map_err(Error::Device)?;
            }
        }
        Ok(())
    }

    /// Writes the tables when too much of them has changed to be kept.
    pub fn relieve(&mut self) -> Result<()> {
        if self.tables.cache.is_crowded() || self.writer.frees.len() > MAX_FREES {
            self.flush()?;
        }
        Ok(())
    }
}
