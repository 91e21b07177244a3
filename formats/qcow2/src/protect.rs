//! Which host clusters hold metadata, so that guest data is never written over them.
//!
//! Refcounts and L2 entries of a damaged or hostile image may say that a table's cluster is free, or guest data.
//! What is found here contradicts that, and the write is refused.

use crate::error::{Result, corrupt};
use crate::geometry::Geometry;
use crate::info::Info;
use crate::raw::entry::ENTRY;
use crate::tables::{L1Entry, Tables};
use crate::writer::Change;
use nomount_block::ReadAt;
use std::collections::HashSet;

/// L1 and refcount tables of up to so many bytes (16 TiB of guest at 64 KiB clusters) are read whole before a free
/// cluster inside the file is used; of longer ones, only the slices that were looked at are known.
const SCAN_BYTES: u64 = 256 << 10;

/// The clusters that hold metadata, as far as they are known.
#[derive(Debug)]
pub(crate) struct Protected {
    /// Header, L1 tables and snapshot table: ascending, disjoint, `start..end`.
    fixed: Vec<(u64, u64)>,
    /// The refcount table, which may move.
    reftable: (u64, u64),
    /// L2 tables and refcount blocks.
    tables: HashSet<u64>,
    /// All of them are known, or the image has too many.
    complete: bool,
}

impl Protected {
    /// Collects the tables that the header and the snapshot table name, and checks that they do not overlap.
    pub fn new(info: &Info, tables: &Tables) -> Result<Self> {
        let geo = info.geometry();
        let reftable = clusters(&geo, info.refcount_table_offset, tables.reftable_entries * ENTRY);
        let mut fixed = vec![(0, 1), reftable];
        fixed.push(clusters(&geo, info.l1_offset, info.l1_entries * ENTRY));
        fixed.push(clusters(&geo, info.snapshots_offset, info.snapshots_bytes));
        let l1s = info.snapshots.iter();
        fixed.extend(l1s.map(|snapshot| clusters(&geo, snapshot.l1_offset, u64::from(snapshot.l1_entries) * ENTRY)));
        fixed.retain(|(start, end)| start < end);
        fixed.sort_unstable();
        for pair in fixed.windows(2) {
            if pair[1].0 < pair[0].1 {
                let at = pair[1].0 << geo.cluster_bits;
                return Err(corrupt("table offset", at, at, "tables that do not overlap"));
            }
        }
        fixed.retain(|range| *range != reftable);
        Ok(Self { fixed, reftable, tables: HashSet::new(), complete: false })
    }

    fn add_once(&mut self, geo: &Geometry, offset: u64, what: &'static str) -> Result<()> {
        let cluster = offset >> geo.cluster_bits;
        if self.contains(cluster) {
            return Err(corrupt(what, offset, offset, "a cluster that no other table uses"));
        }
        self.tables.insert(cluster);
        Ok(())
    }

    /// Whether a cluster is known to hold metadata.
    pub fn contains(&self, cluster: u64) -> bool {
        let after = self.fixed.partition_point(|(start, _)| *start <= cluster);
        self.tables.contains(&cluster)
            || (self.reftable.0..self.reftable.1).contains(&cluster)
            || after > 0 && cluster < self.fixed[after - 1].1
    }

    /// Notes an L2 table or refcount block.
    pub fn add(&mut self, cluster: u64) {
        self.tables.insert(cluster);
    }

    /// Forgets a table that nothing uses any more.
    pub fn remove(&mut self, cluster: u64) {
        self.tables.remove(&cluster);
    }

    /// Notes a table other than L2 tables and refcount blocks, at clusters `start..end` that no other has.
    pub fn add_fixed(&mut self, range: (u64, u64)) {
        let after = self.fixed.partition_point(|known| *known < range);
        self.fixed.insert(after, range);
    }

    /// Forgets such a table, that nothing uses any more.
    pub fn remove_fixed(&mut self, range: (u64, u64)) {
        self.fixed.retain(|known| *known != range);
    }

    /// Notes where the refcount table is now.
    pub fn move_reftable(&mut self, start: u64, end: u64) {
        self.reftable = (start, end);
    }
}

/// Lookups for a change: what shares a slice of the L1 or refcount table with the answer is protected from then on.
impl<D: ReadAt> Change<'_, D> {
    /// The L1 entry for a guest offset.
    pub fn l1(&mut self, guest: u64) -> Result<L1Entry> {
        self.learn_l1(self.tables.l1_at(guest))?;
        self.tables.l1(self.device, guest)
    }

    /// Offset of the refcount block with number `index`, or 0. The index is below `reftable_entries`.
    pub fn refcount_block(&mut self, index: u64) -> Result<u64> {
        self.learn_reftable(self.tables.reftable_offset + index * ENTRY)?;
        self.tables.refcount_block(self.device, index)
    }

    /// The refcount of a host cluster; 0 where no refcount block covers it.
    pub fn refcount(&mut self, cluster: u64) -> Result<u64> {
        let index = cluster / self.geo.refcounts_per_block();
        if index < self.tables.reftable_entries {
            self.learn_reftable(self.tables.reftable_offset + index * ENTRY)?;
        }
        self.tables.refcount(self.device, cluster)
    }

    /// Learns all tables, up to [`SCAN_BYTES`] each of what leads to them.
    pub fn learn_all(&mut self) -> Result<()> {
        if self.writer.protected.complete {
            return Ok(());
        }
        let step = self.tables.cache.slice_len() as usize;
        let (start, bytes) = (self.tables.l1_offset, self.tables.l1_entries * ENTRY);
        if bytes <= SCAN_BYTES {
            (start..start + bytes).step_by(step).try_for_each(|at| self.learn_l1(at))?;
        }
        let (start, bytes) = (self.tables.reftable_offset, self.tables.reftable_entries * ENTRY);
        if bytes <= SCAN_BYTES {
            (start..start + bytes).step_by(step).try_for_each(|at| self.learn_reftable(at))?;
        }
        self.writer.protected.complete = true;
        Ok(())
    }

    /// Checks the slice of the L1 table with the entry at `at`, and protects the L2 tables it leads to.
    pub fn learn_l1(&mut self, at: u64) -> Result<()> {
        for l2 in self.tables.check_l1(self.device, at)? {
            self.writer.protected.add_once(&self.geo, l2, "L2 table offset")?;
        }
        self.tables.set_checked(at, 1);
        Ok(())
    }

    fn learn_reftable(&mut self, at: u64) -> Result<()> {
        for block in self.tables.check_reftable(self.device, at)? {
            self.writer.protected.add_once(&self.geo, block, "refcount block offset")?;
        }
        self.tables.set_checked(at, 1);
        Ok(())
    }
}

/// The clusters of `bytes` bytes at the host offset `offset`, `start..end`.
pub(crate) fn clusters(geo: &Geometry, offset: u64, bytes: u64) -> (u64, u64) {
    let start = offset >> geo.cluster_bits;
    (start, start + geo.clusters_for(bytes))
}
