//! Blocks that lie side by side, written together.

use crate::error::Result;
use crate::geometry::BlockNr;
use nomount_block::WriteAt;

/// Blocks side by side are written together, up to this many bytes.
const PIECE: usize = 1 << 20;

/// One of the two ways to write to a device: [`WriteAt::write_at`] or [`WriteAt::write_fresh`].
type Write<D> = fn(&mut D, u64, &[u8]) -> nomount_block::Result<()>;

/// Collects blocks that lie side by side into one write, and counts what it writes.
#[derive(Debug)]
pub(crate) struct Gather<'a, D> {
    pub device: &'a mut D,
    write: Write<D>,
    block_size: usize,
    at: BlockNr,
    bytes: Vec<u8>,
    /// Bytes that reached the device.
    pub written: u64,
}

impl<'a, D: WriteAt> Gather<'a, D> {
    pub fn new(device: &'a mut D, block_size: u32, write: Write<D>) -> Self {
        Self { device, write, block_size: block_size as usize, at: 0, bytes: Vec::new(), written: 0 }
    }

    /// Writes whole blocks from `block` on.
    pub fn put(&mut self, block: BlockNr, bytes: &[u8]) -> Result<()> {
        let next = self.at + (self.bytes.len() / self.block_size) as u64;
        if block != next || self.bytes.len() >= PIECE {
            self.flush()?;
            self.at = block;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what was collected.
    pub fn flush(&mut self) -> Result<()> {
        if !self.bytes.is_empty() {
            (self.write)(self.device, self.at * self.block_size as u64, &self.bytes)?;
            self.written += self.bytes.len() as u64;
            self.bytes.clear();
        }
        Ok(())
    }
}
