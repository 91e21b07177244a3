//! Writing behind the end of the filesystem, where nothing committed lives: at once, blocks side by side together.

use crate::error::Result;
use crate::geometry::BlockNr;
use nomount_block::WriteAt;

/// Blocks side by side are written together, up to this many bytes.
const PIECE: usize = 1 << 20;

/// Collects blocks that lie side by side into one write.
#[derive(Debug)]
pub(super) struct Fresh<'a, D> {
    device: &'a mut D,
    block_size: usize,
    at: BlockNr,
    bytes: Vec<u8>,
}

impl<'a, D: WriteAt> Fresh<'a, D> {
    pub fn new(device: &'a mut D, block_size: u32) -> Self {
        Self { device, block_size: block_size as usize, at: 0, bytes: Vec::new() }
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
            self.device.write_fresh(self.at * self.block_size as u64, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}
