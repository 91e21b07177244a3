//! The table: what follows each cluster.

use crate::error::{Error, Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::Kind;
use crate::pages::PAGE;
use crate::shape::FIRST_CLUSTER;
use nomount_block::ReadAt;
use std::sync::Arc;

/// What an entry says of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Free,
    Next(u32),
    End,
}

/// Ends a chain; cut to the width of the table.
const END: u32 = 0x0fff_ffff;
/// Bits of an entry of FAT32.
const MASK32: u32 = 0x0fff_ffff;

/// The page of the table that was read last.
#[derive(Debug, Default)]
pub(crate) struct Cursor(Option<(u64, Arc<Vec<u8>>)>);

impl<D: ReadAt> Filesystem<D> {
    /// Byte offset of an entry in its table.
    fn entry_at(&self, cluster: u32) -> u64 {
        let cluster = u64::from(cluster);
        match self.shape.kind {
            Kind::Fat12 => cluster + cluster / 2,
            Kind::Fat16 => cluster * 2,
            Kind::Fat32 => cluster * 4,
        }
    }

    fn entry(&self, cluster: u32, cursor: &mut Cursor) -> Result<u32> {
        let at = self.shape.fat_at + self.entry_at(cluster);
        if self.shape.kind == Kind::Fat12 {
            let mut bytes = [0; 2];
            self.get(at, &mut bytes)?;
            let both = u32::from(u16::from_le_bytes(bytes));
            return Ok(if cluster.is_multiple_of(2) { both & 0xfff } else { both >> 4 });
        }
        let (number, from) = (at / PAGE, (at % PAGE) as usize);
        let page = match &mut cursor.0 {
            Some((last, page)) if *last == number => page,
            other => &mut other.insert((number, self.page(number)?)).1,
        };
        Ok(if self.shape.kind == Kind::Fat16 {
            u16::from_le_bytes([page[from], page[from + 1]]).into()
        } else {
            u32::from_le_bytes([page[from], page[from + 1], page[from + 2], page[from + 3]]) & MASK32
        })
    }

    /// What follows a cluster that exists. A cursor must not outlive a change of the table.
    pub(crate) fn link(&self, cluster: u32, cursor: &mut Cursor) -> Result<Link> {
        let entry = self.entry(cluster, cursor)?;
        let ends = END & (u32::MAX >> (32 - self.shape.kind.bits().min(28)));
        match entry {
            0 => Ok(Link::Free),
            next if self.shape.has(next) => Ok(Link::Next(next)),
            end if end >= ends - 7 => Ok(Link::End),
            // Also the mark of a bad cluster, which no chain may have.
            other => Err(corrupt("table", format!("cluster {other:#x} follows cluster {cluster}"))),
        }
    }

    /// Sets what follows a cluster, in all tables that are in use.
    pub(crate) fn set_link(&mut self, cluster: u32, link: Link) -> Result<()> {
        let value = match link {
            Link::Free => 0,
            Link::Next(next) => next,
            Link::End => END,
        };
        let offset = self.entry_at(cluster);
        for copy in 0..=self.shape.fat_copies.len() {
            let table = copy.checked_sub(1).map_or(self.shape.fat_at, |copy| self.shape.fat_copies[copy]);
            let at = table + offset;
            match self.shape.kind {
                Kind::Fat12 => {
                    let mut bytes = [0; 2];
                    self.get(at, &mut bytes)?;
                    let (shift, mask) = if cluster.is_multiple_of(2) { (0, 0xf000) } else { (4, 0xf) };
                    let both = u16::from_le_bytes(bytes) & mask | ((value & 0xfff) as u16) << shift;
                    self.put(at, &both.to_le_bytes())?;
                }
                Kind::Fat16 => self.put(at, &(value as u16).to_le_bytes())?,
                Kind::Fat32 => {
                    let mut bytes = [0; 4];
                    self.get(at, &mut bytes)?;
                    let kept = u32::from_le_bytes(bytes) & !MASK32;
                    self.put(at, &(kept | value).to_le_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// How many clusters are free, counted.
    pub fn count_free(&self) -> Result<u32> {
        let mut cursor = Cursor::default();
        let mut free = 0;
        for cluster in FIRST_CLUSTER..self.shape.end() {
            free += u32::from(self.entry(cluster, &mut cursor)? == 0);
        }
        Ok(free)
    }

    /// Takes `count` free clusters, makes them a chain and puts it behind cluster `after`. Clusters that the states
    /// one could go back to do not use come first. Nothing is changed where there are not enough.
    pub(crate) fn allocate(&mut self, count: u32, after: Option<u32>) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        let mut cursor = Cursor::default();
        let (start, end) = (self.state.next.clamp(FIRST_CLUSTER, self.shape.end() - 1), self.shape.end());
        for held in [false, true] {
            for cluster in (start..end).chain(FIRST_CLUSTER..start) {
                if found.len() == count as usize {
                    break;
                }
                if self.entry(cluster, &mut cursor)? == 0 && self.held.contains(&cluster) == held {
                    found.push(cluster);
                }
            }
        }
        let Some(last) = found.last().copied().filter(|_| found.len() == count as usize) else {
            return Err(Error::NoSpace { wanted: count, free: found.len() as u32 });
        };
        for pair in found.windows(2) {
            self.set_link(pair[0], Link::Next(pair[1]))?;
        }
        self.set_link(last, Link::End)?;
        if let Some(after) = after {
            self.set_link(after, Link::Next(found[0]))?;
        }
        self.state.next = if last + 1 < end { last + 1 } else { FIRST_CLUSTER };
        self.state.freed -= i64::from(count);
        self.recent.extend(found.iter().filter(|cluster| !self.held.contains(cluster)));
        Ok(found)
    }

    /// Frees clusters that are in use.
    pub(crate) fn free(&mut self, clusters: impl Iterator<Item = u32>) -> Result<()> {
        let pages = u64::from(self.shape.cluster) / PAGE;
        for cluster in clusters {
            self.set_link(cluster, Link::Free)?;
            let first = self.shape.cluster_at(cluster) / PAGE;
            self.state.pages.remove(first..first + pages);
            self.state.freed += 1;
            if !self.recent.remove(&cluster) {
                self.held.insert(cluster);
            }
        }
        Ok(())
    }
}
