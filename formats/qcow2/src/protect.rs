//! Which host clusters hold metadata, so that guest data is never written over them.
//!
//! Refcounts and L2 entries of a damaged or hostile image may say that a table's cluster is free, or guest data.
//! What is found here contradicts that, and the write is refused.

use crate::cache::Class;
use crate::error::{Result, corrupt};
use crate::geometry::Geometry;
use crate::info::Info;
use crate::raw::entry::ENTRY;
use crate::tables::Tables;
use nomount_block::ReadAt;
use std::collections::HashSet;

/// L1 and refcount tables of up to so many bytes (16 TiB of guest at 64 KiB clusters) are read whole when an image
/// is opened for writing; of longer ones, the L2 tables and refcount blocks that were looked at are known.
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
}

impl Protected {
    /// Collects the places of all tables and checks that they do not overlap.
    pub fn new(info: &Info, tables: &mut Tables, device: &impl ReadAt) -> Result<Self> {
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
        let mut all = Self { fixed, reftable, tables: HashSet::new() };
        if info.l1_entries * ENTRY <= SCAN_BYTES {
            for index in 0..info.l1_entries {
                let l2 = tables.l1(device, index.saturating_mul(geo.l2_span()))?.l2;
                if l2 != 0 {
                    all.add_once(&geo, l2, "L2 table offset")?;
                }
            }
        }
        if tables.reftable_entries * ENTRY <= SCAN_BYTES {
            for index in 0..tables.reftable_entries {
                let block = tables.refcount_block(device, index)?;
                if block != 0 {
                    all.add_once(&geo, block, "refcount block offset")?;
                }
            }
        }
        Ok(all)
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

    /// Fails when a cluster that should be one table's own holds a table of another kind that does not move.
    pub fn check_own(&self, geo: &Geometry, offset: u64, class: Class) -> Result<()> {
        let cluster = offset >> geo.cluster_bits;
        let after = self.fixed.partition_point(|(start, _)| *start <= cluster);
        let fixed = after > 0 && cluster < self.fixed[after - 1].1;
        if fixed || (self.reftable.0..self.reftable.1).contains(&cluster) {
            let what = if class == Class::L2 { "L2 table offset" } else { "refcount block offset" };
            return Err(corrupt(what, offset, offset, "a cluster that no other table uses"));
        }
        Ok(())
    }

    /// Notes an L2 table or refcount block.
    pub fn add(&mut self, cluster: u64) {
        self.tables.insert(cluster);
    }

    /// Forgets a table that nothing uses any more.
    pub fn remove(&mut self, cluster: u64) {
        self.tables.remove(&cluster);
    }

    /// Notes where the refcount table is now.
    pub fn move_reftable(&mut self, start: u64, end: u64) {
        self.reftable = (start, end);
    }
}

fn clusters(geo: &Geometry, offset: u64, bytes: u64) -> (u64, u64) {
    let start = offset >> geo.cluster_bits;
    (start, start + geo.clusters_for(bytes))
}
