//! Reading files.

use crate::chain::Chain;
use crate::error::{Result, corrupt};
use crate::find::{Found, Path};
use crate::fs::{Filesystem, lock};
use crate::pages::PAGE;
use nomount_block::ReadAt;
use std::sync::Arc;

impl<D: ReadAt> Filesystem<D> {
    /// Reads the file at `path` from byte `offset`; short only at its end. Returns how many bytes.
    pub fn read_at(&self, path: Path<'_>, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let found = self.file(path)?;
        let size = u64::from(found.entry.DIR_FileSize.get());
        let len = size.saturating_sub(offset).min(buf.len() as u64) as usize;
        if len > 0 {
            let chain = self.file_chain(&found)?;
            self.each_piece(&chain, offset, len, |at, range| self.read_data(at, &mut buf[range]))?;
        }
        Ok(len)
    }

    /// The chain of a file, which is long enough for its length.
    pub(crate) fn file_chain(&self, found: &Found) -> Result<Arc<Chain>> {
        let first = self.first_cluster(&found.entry);
        let known =
            lock(&self.last_chain).as_ref().filter(|(known, _)| *known == first).map(|(_, chain)| chain.clone());
        let chain = match known {
            Some(chain) if first != 0 => chain,
            _ => Arc::new(self.chain(first, self.shape.clusters)?),
        };
        let size = u64::from(found.entry.DIR_FileSize.get());
        if chain.len() < self.shape.clusters_for(size) {
            let why = format!("a file of {size} bytes has {} clusters of {}", chain.len(), self.shape.cluster);
            return Err(corrupt("directory", why));
        }
        *lock(&self.last_chain) = Some((first, Arc::clone(&chain)));
        Ok(chain)
    }

    /// Calls `each` for the stretches of the device that hold `len` bytes from `offset` of a chain that is long enough,
    /// with the byte offset on the device and the range of the bytes.
    pub(crate) fn each_piece(
        &self,
        chain: &Chain,
        offset: u64,
        len: usize,
        mut each: impl FnMut(u64, std::ops::Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let cluster = u64::from(self.shape.cluster);
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let (first, count) = chain
                .at((at / cluster) as u32)
                .ok_or_else(|| corrupt("table", format!("a chain ends before byte {at} of its file")))?;
            let inside = at % cluster;
            let piece = ((u64::from(count) * cluster - inside) as usize).min(len - done);
            each(self.shape.cluster_at(first) + inside, done..done + piece)?;
            done += piece;
        }
        Ok(())
    }

    /// Reads contents: from the device, and over it what is staged.
    fn read_data(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        self.device.read_at(at, buf)?;
        let end = at + buf.len() as u64;
        for (number, page) in self.state.pages.range(at / PAGE..end.div_ceil(PAGE)) {
            let start = number * PAGE;
            let (from, to) = (start.max(at), (start + PAGE).min(end));
            let piece = &page[(from - start) as usize..(to - start) as usize];
            buf[(from - at) as usize..(to - at) as usize].copy_from_slice(piece);
        }
        Ok(())
    }
}
