//! Writing files.

use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::find::{Found, Path};
use crate::fs::{Filesystem, exclusive};
use crate::pages::PAGE;
use crate::raw::attr;
use crate::shape::FIRST_CLUSTER;
use crate::table::Link;
use crate::time;
use nomount_block::WriteAt;
use std::ops::Range;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// The longest file.
pub const MAX_FILE: u64 = u32::MAX as u64;
/// Zeroes are written in pieces of so many bytes.
const ZEROES: usize = 1 << 20;

impl<D: WriteAt> Filesystem<D> {
    /// Writes into the file at `path` from byte `offset`; what lies between its end and `offset` becomes zero, and
    /// takes space. Writing nothing changes nothing.
    pub fn write_at(&mut self, path: Path<'_>, offset: u64, data: &[u8]) -> Result<()> {
        self.change(|fs| {
            let found = fs.file(path)?;
            fs.write_data(found, offset, data)
        })
    }

    /// Adds to the end of the file at `path`.
    pub fn append(&mut self, path: Path<'_>, data: &[u8]) -> Result<()> {
        self.change(|fs| {
            let found = fs.file(path)?;
            let size = found.entry.DIR_FileSize.get();
            fs.write_data(found, size.into(), data)
        })
    }

    /// Replaces the contents of the file at `path`.
    pub fn write_contents(&mut self, path: Path<'_>, data: &[u8]) -> Result<()> {
        self.change(|fs| {
            let mut found = fs.file(path)?;
            // To other clusters, as long as there are some: the old ones stay as they are until the commit.
            fs.set_size(&mut found, 0)?;
            fs.write_data(found, 0, data)
        })
    }

    /// Sets the length of the file at `path`. What is added is zero, and takes space.
    pub fn truncate(&mut self, path: Path<'_>, size: u64) -> Result<()> {
        self.change(|fs| {
            let mut found = fs.file(path)?;
            fs.set_size(&mut found, size)
        })
    }

    fn write_data(&mut self, mut found: Found, offset: u64, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let size = u64::from(found.entry.DIR_FileSize.get());
        let end = offset.saturating_add(data.len() as u64);
        let chain = self.reach(&mut found, end)?;
        if size < offset {
            self.put_zeroes(&chain, size..offset)?;
        }
        self.put_data(&chain, offset, data)?;
        self.written(&mut found, end.max(size))
    }

    fn set_size(&mut self, found: &mut Found, size: u64) -> Result<()> {
        let before = u64::from(found.entry.DIR_FileSize.get());
        if size > before {
            let chain = self.reach(found, size)?;
            self.put_zeroes(&chain, before..size)?;
        } else {
            let mut chain = (*self.file_chain(found)?).clone();
            let rest = chain.cut(self.shape.clusters_for(size));
            self.end_chain(found, &chain)?;
            self.free(rest.clusters())?;
        }
        self.written(found, size)
    }

    /// Ends a file's clusters with those of `chain`, the first of them.
    fn end_chain(&mut self, found: &mut Found, chain: &Chain) -> Result<()> {
        *exclusive(&mut self.last_chain) = None;
        match chain.last() {
            Some(last) => self.set_link(last, Link::End),
            None => {
                found.entry.set_cluster(0, self.shape.is_wide());
                Ok(())
            }
        }
    }

    /// Gives a file clusters for `end` bytes, where it has fewer.
    fn reach(&mut self, found: &mut Found, end: u64) -> Result<Arc<Chain>> {
        if end > MAX_FILE {
            return Err(Error::FileTooLarge(end));
        }
        let mut chain = self.file_chain(found)?;
        let missing = self.shape.clusters_for(end).saturating_sub(chain.len());
        if missing > 0 {
            // Only this reference is left, so that nothing is copied.
            *exclusive(&mut self.last_chain) = None;
            let taken = self.allocate(missing, chain.last())?;
            let longer = Arc::make_mut(&mut chain);
            taken.into_iter().for_each(|cluster| longer.push(cluster));
            let first = longer.first().expect("it has clusters now");
            found.entry.set_cluster(first, self.shape.is_wide());
            *exclusive(&mut self.last_chain) = Some((first, Arc::clone(&chain)));
        }
        Ok(chain)
    }

    /// Stores the length of a file that was written to now.
    fn written(&mut self, found: &mut Found, size: u64) -> Result<()> {
        let (date, clock, _) = time::encode(self.options.now);
        let entry = &mut found.entry;
        entry.DIR_FileSize.set(size as u32);
        entry.DIR_Attr |= attr::ARCHIVE;
        entry.DIR_WrtDate.set(date);
        entry.DIR_WrtTime.set(clock);
        entry.DIR_LstAccDate.set(date);
        let (at, entry) = (found.at, found.entry);
        self.put(at, entry.as_bytes())
    }

    fn put_zeroes(&mut self, chain: &Chain, range: Range<u64>) -> Result<()> {
        let zeroes = vec![0; ZEROES.min((range.end - range.start) as usize)];
        let mut at = range.start;
        while at < range.end {
            let len = zeroes.len().min((range.end - at) as usize);
            self.put_data(chain, at, &zeroes[..len])?;
            at += len as u64;
        }
        Ok(())
    }

    /// Writes contents to clusters of a chain: at once to those that no state reads which one could go back to, else
    /// staged.
    fn put_data(&mut self, chain: &Chain, offset: u64, data: &[u8]) -> Result<()> {
        let mut pieces = Vec::new();
        self.each_piece(chain, offset, data.len(), |at, range| {
            pieces.push((at, range));
            Ok(())
        })?;
        for (at, range) in pieces {
            self.put_piece(at, &data[range])?;
        }
        Ok(())
    }

    /// Writes contents to clusters that follow each other on the disk.
    fn put_piece(&mut self, at: u64, data: &[u8]) -> Result<()> {
        let cluster = u64::from(self.shape.cluster);
        let start = self.shape.data_at;
        let number = |at: u64| ((at - start) / cluster) as u32 + FIRST_CLUSTER;
        let mut done = 0;
        while done < data.len() {
            let from = at + done as u64;
            let recent = self.recent.contains(&number(from));
            let mut end = from;
            // As many clusters as are of the same kind.
            while end < at + data.len() as u64 && self.recent.contains(&number(end)) == recent {
                end = (end - (end - start) % cluster + cluster).min(at + data.len() as u64);
            }
            let piece = &data[done..done + (end - from) as usize];
            if recent {
                self.device.write_fresh(from, piece)?;
                self.forget_pages(from / PAGE..(from + piece.len() as u64).div_ceil(PAGE));
            } else {
                self.put(from, piece)?;
            }
            done += piece.len();
        }
        Ok(())
    }
}
