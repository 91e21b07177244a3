//! Allocating host clusters: free ones inside the file, else at its end; with refcount blocks and the refcount table
//! grown as needed.
//!
//! Everything here changes tables in memory only; `flush.rs` owns when they reach the device.

use crate::cache::Class;
use crate::error::{Error, Result, corrupt};
use crate::info::MAX_REFCOUNT_TABLE_BYTES;
use crate::raw::entry::{ENTRY, HOST_LIMIT};
use crate::writer::Change;
use nomount_block::SetLen;

/// Newly allocated clusters, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fresh {
    /// Host offset of the first.
    pub offset: u64,
    /// How many.
    pub count: u64,
    /// They are beyond the file's former end, so they read as zero.
    pub zeroed: bool,
}

impl<D: SetLen> Change<'_, D> {
    /// Allocates between 1 and `want` neighbouring clusters with refcount 1, and makes the file long enough.
    pub fn alloc(&mut self, want: u64) -> Result<Fresh> {
        let geo = self.geo;
        let mut cluster = self.writer.hint;
        loop {
            let end = geo.clusters_for(self.device.len());
            if cluster >= HOST_LIMIT >> geo.cluster_bits {
                let limit = HOST_LIMIT;
                return Err(Error::Limit { what: "host cluster offset", value: limit, limit });
            }
            let index = cluster / geo.refcounts_per_block();
            if index >= self.tables.reftable_entries {
                cluster = self.grow_reftable(cluster.max(end), 0)?;
                continue;
            }
            let block = self.refcount_block(index)?;
            if block == 0 {
                // The new block is the first cluster that it covers.
                self.check_free(cluster)?;
                self.new_block(index, cluster)?;
                cluster += 1;
                continue;
            }
            let (candidate, free) = self.tables.free_in_slice(self.device, block, cluster)?;
            if !free {
                cluster = candidate;
                if cluster < end {
                    self.writer.scans_left = self.writer.scans_left.saturating_sub(1);
                    if self.writer.scans_left == 0 {
                        cluster = end;
                    }
                }
                continue;
            }
            let count = self.take(block, candidate, want)?;
            self.writer.hint = candidate + count;
            let offset = candidate << geo.cluster_bits;
            let zeroed = offset >= self.device.len();
            self.ensure_len(offset + (count << geo.cluster_bits))?;
            return Ok(Fresh { offset, count, zeroed });
        }
    }

    /// Takes the free cluster `first` and the free ones after it, up to `want` and inside its refcount block.
    fn take(&mut self, block: u64, first: u64, want: u64) -> Result<u64> {
        let per_block = self.geo.refcounts_per_block();
        let limit = want.min(per_block - first % per_block);
        let mut count = 0;
        while count < limit && (count == 0 || self.refcount(first + count)? == 0) {
            self.check_free(first + count)?;
            self.tables.set_refcount(self.device, block, first + count, 1)?;
            count += 1;
        }
        Ok(count)
    }

    /// Gives back clusters that were allocated and that nothing points at, not even in memory.
    pub fn unalloc(&mut self, fresh: Fresh) -> Result<()> {
        let first = fresh.offset >> self.geo.cluster_bits;
        for cluster in first..first + fresh.count {
            let block = self.refcount_block(cluster / self.geo.refcounts_per_block())?;
            self.tables.set_refcount(self.device, block, cluster, 0)?;
        }
        self.writer.hint = self.writer.hint.min(first);
        Ok(())
    }

    /// Fails when a cluster whose refcount is 0 holds a table. Beyond the file's length as of opening there is none.
    fn check_free(&mut self, cluster: u64) -> Result<()> {
        if cluster << self.geo.cluster_bits < self.tables.open_len {
            self.learn_all()?;
        }
        if self.writer.protected.contains(cluster) {
            let at = cluster << self.geo.cluster_bits;
            return Err(corrupt("refcount of the table", at, 0, "at least 1"));
        }
        Ok(())
    }

    /// Makes the refcount block with number `index` at `cluster`, which it may or may not cover itself; its own
    /// refcount is set where it does.
    fn new_block(&mut self, index: u64, cluster: u64) -> Result<()> {
        let geo = self.geo;
        let offset = cluster << geo.cluster_bits;
        let zeroed = offset >= self.device.len();
        self.ensure_len(offset + geo.cluster())?;
        // Before the block: looking up what is changed may fail.
        let at = self.tables.reftable_offset + index * ENTRY;
        self.tables.cache.set(self.device, at, Class::RefcountTable, offset)?;
        self.new_table(Fresh { offset, count: 1, zeroed }, Class::RefcountBlock);
        self.writer.protected.add(cluster);
        if cluster / geo.refcounts_per_block() == index {
            self.tables.set_refcount(self.device, offset, cluster, 1)?;
        }
        Ok(())
    }

    /// Makes an empty table of one new cluster. Where the file just grew only what is changed later is written.
    pub fn new_table(&mut self, fresh: Fresh, class: Class) {
        if fresh.zeroed {
            self.tables.cache.insert_zeroed(fresh.offset);
        } else {
            self.tables.cache.insert_fresh(fresh.offset, class, &vec![0; self.geo.cluster() as usize]);
        }
    }

    /// Moves the refcount table to `start`, at or beyond the end of the file, so long that it covers itself, the
    /// blocks that are missing there, `room` clusters after them, and half as much again. Answers the first cluster
    /// after the blocks.
    fn grow_reftable(&mut self, start: u64, room: u64) -> Result<u64> {
        let geo = self.geo;
        let per_block = geo.refcounts_per_block();
        let (old_offset, old_entries) = (self.tables.reftable_offset, self.tables.reftable_entries);
        let per_cluster = geo.cluster() / ENTRY;
        let mut entries = (start / per_block + 1).max(old_entries) * 3 / 2;
        loop {
            // Blocks for the table, for the blocks themselves, and one for a start inside a block.
            let own = geo.clusters_for(entries * ENTRY);
            let needed = (start + own + room) / per_block + own.div_ceil(per_block) + 3;
            if needed <= entries {
                break;
            }
            entries = needed;
        }
        let table_clusters = entries.div_ceil(per_cluster);
        let entries = table_clusters * per_cluster;
        if entries * ENTRY > MAX_REFCOUNT_TABLE_BYTES {
            let (value, limit) = (entries * ENTRY, MAX_REFCOUNT_TABLE_BYTES);
            return Err(Error::Limit { what: "length of the refcount table", value, limit });
        }
        let mut table = vec![0; (entries * ENTRY) as usize];
        for index in 0..old_entries {
            let block = self.refcount_block(index)?;
            table[(index * ENTRY) as usize..][..8].copy_from_slice(&block.to_be_bytes());
        }
        let offset = start << geo.cluster_bits;
        self.ensure_len(offset + (table_clusters << geo.cluster_bits))?;
        self.tables.cache.insert_fresh(offset, Class::RefcountTable, &table);
        self.tables.set_checked(offset, entries * ENTRY);
        self.tables.forget(old_offset, old_entries * ENTRY);
        self.tables.reftable_offset = offset;
        self.tables.reftable_entries = entries;
        self.writer.reftable_moved = true;
        self.writer.protected.move_reftable(start, start + table_clusters);
        let old_first = old_offset >> geo.cluster_bits;
        self.writer.frees.extend(old_first..old_first + geo.clusters_for(old_entries * ENTRY));
        self.cover(start, table_clusters)
    }

    /// Allocates `count` neighbouring clusters at the end of the file, where they read as zero, whatever that takes
    /// of refcount blocks. Answers the first.
    pub fn alloc_at_end(&mut self, count: u64) -> Result<u64> {
        let geo = self.geo;
        let room = count + count.div_ceil(geo.refcounts_per_block()) + 1;
        let mut start = geo.clusters_for(self.device.len());
        if start + room >= HOST_LIMIT >> geo.cluster_bits {
            let limit = HOST_LIMIT;
            return Err(Error::Limit { what: "host cluster offset", value: limit, limit });
        }
        if (start + room) / geo.refcounts_per_block() >= self.tables.reftable_entries {
            start = self.grow_reftable(start, room)?;
        }
        self.ensure_len((start + count) << geo.cluster_bits)?;
        self.cover(start, count)?;
        Ok(start)
    }

    /// Gives `count` clusters from `start` on, at the end of the file, refcount 1, with the refcount blocks that are
    /// missing there put after them. Answers the first cluster after the blocks. The refcount table reaches so far.
    ///
    /// After an error some of them have no refcount, and the image takes no more changes.
    fn cover(&mut self, start: u64, count: u64) -> Result<u64> {
        let per_block = self.geo.refcounts_per_block();
        self.writer.failed = true;
        let mut next = start + count;
        let mut index = start / per_block;
        while index <= (next - 1) / per_block {
            if self.refcount_block(index)? == 0 {
                self.new_block(index, next)?;
                next += 1;
            }
            index += 1;
        }
        for cluster in start..next {
            let block = self.refcount_block(cluster / per_block)?;
            self.tables.set_refcount(self.device, block, cluster, 1)?;
        }
        self.writer.failed = false;
        Ok(next)
    }
}
