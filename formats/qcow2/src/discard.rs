//! Making guest ranges read as zero.

use crate::error::Result;
use crate::image::{Qcow2, extent_of};
use crate::mapping::Mapping;
use crate::writer::Change;
use nomount_block::{ExtentKind, SetLen};

/// Zeroes written at once where no flag can say it: at most the largest cluster.
const ZEROES: u64 = 64 << 10;

impl<D: SetLen> Qcow2<D> {
    /// Makes `start..end`, inside the guest, read as zero. Where it does already, that is no change.
    pub(crate) fn discard_range(&mut self, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        while at < end {
            let extent = self.extent(at)?;
            if extent.kind != ExtentKind::Zero {
                return self.change()?.discard(at, end);
            }
            at += extent.len;
        }
        Ok(())
    }
}

impl<D: SetLen> Change<'_, D> {
    /// Makes `start..end` read as zero.
    pub fn discard(&mut self, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        while at < end {
            let extent = extent_of(self.device, self.backing, self.tables, at, end - at)?;
            let stop = at + extent.len;
            if extent.kind == ExtentKind::Zero {
                at = stop;
                continue;
            }
            while at < stop {
                self.relieve()?;
                let next = (self.geo.align_down(at) + self.geo.cluster()).min(end);
                self.discard_in_cluster(at, next)?;
                at = next;
            }
        }
        Ok(())
    }

    /// Makes a part of one cluster read as zero.
    fn discard_in_cluster(&mut self, start: u64, end: u64) -> Result<()> {
        let geo = self.geo;
        let cluster = geo.align_down(start);
        let whole = start == cluster && end == (cluster + geo.cluster()).min(geo.size);
        let flagged = geo.version >= 3;
        let unbacked = self.backing.is_none_or(|backing| backing.len() <= cluster);
        if whole && (flagged || unbacked) {
            return self.drop_cluster(cluster, flagged);
        }
        if !geo.extended_l2 {
            return self.write_zeroes(start, end);
        }
        let (from, to) = (start.next_multiple_of(geo.subcluster()), end - end % geo.subcluster());
        if from >= to {
            return self.write_zeroes(start, end);
        }
        if !self.drop_subclusters(from, to)? {
            return self.write_zeroes(start, end);
        }
        self.write_zeroes(start, from)?;
        self.write_zeroes(to, end)
    }

    /// Unmaps a whole cluster.
    fn drop_cluster(&mut self, cluster: u64, flagged: bool) -> Result<()> {
        let table = self.own_l2(cluster)?;
        let old = self.tables.mapping(self.device, table, cluster)?;
        let zero = if flagged { self.geo.all_subclusters() } else { 0 };
        self.tables.set_mapping(self.device, (table, cluster), 0, false, (0, zero))?;
        self.free_mapping(&old);
        Ok(())
    }

    /// Marks whole subclusters of one cluster as zero; the host cluster stays as it is. A compressed cluster has no
    /// subclusters, then the answer is no.
    fn drop_subclusters(&mut self, start: u64, end: u64) -> Result<bool> {
        let geo = self.geo;
        let l1 = self.l1(start)?;
        if let Mapping::Compressed(_) = self.tables.mapping(self.device, l1.l2, start)? {
            return Ok(false);
        }
        let table = self.own_l2(start)?;
        let Mapping::Standard { host, copied, alloc, zero } = self.tables.mapping(self.device, table, start)? else {
            return Ok(false);
        };
        let cluster = geo.align_down(start);
        let touched = geo.touched(start - cluster, end - cluster);
        self.tables.set_mapping(self.device, (table, start), host, copied, (alloc & !touched, zero | touched))?;
        Ok(true)
    }

    fn write_zeroes(&mut self, mut start: u64, end: u64) -> Result<()> {
        let zeroes = vec![0; (end - start).min(ZEROES) as usize];
        while start < end {
            let len = (end - start).min(ZEROES);
            self.write(start, &zeroes[..len as usize])?;
            start += len;
        }
        Ok(())
    }
}
