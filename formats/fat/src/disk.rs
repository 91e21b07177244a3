//! A block device as the stream that `fatfs` writes to.

use nomount_block::WriteAt;
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};

/// Reads and writes a device at a position. Zeroes, which `fatfs` writes in small pieces, are kept until something
/// else comes, and then discarded together.
#[derive(Debug)]
pub(crate) struct Disk<'a, D> {
    device: &'a mut D,
    at: u64,
    /// Start and end of what is to be zero and was not told to the device yet.
    zeroes: (u64, u64),
}

impl<'a, D: WriteAt> Disk<'a, D> {
    pub fn new(device: &'a mut D) -> Self {
        Self { device, at: 0, zeroes: (0, 0) }
    }

    /// Tells the device of the zeroes.
    fn settle(&mut self) -> Result<()> {
        let (start, end) = std::mem::take(&mut self.zeroes);
        if start < end {
            self.device.discard(start, end - start).map_err(Error::other)?;
        }
        Ok(())
    }
}

impl<D: WriteAt> Read for Disk<'_, D> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        self.settle()?;
        let len = self.device.len().saturating_sub(self.at).min(buf.len() as u64) as usize;
        self.device.read_at(self.at, &mut buf[..len]).map_err(Error::other)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl<D: WriteAt> Write for Disk<'_, D> {
    fn write(&mut self, buf: &[u8]) -> Result<usize> {
        let end = self.at + buf.len() as u64;
        if buf.iter().any(|byte| *byte != 0) {
            self.settle()?;
            self.device.write_at(self.at, buf).map_err(Error::other)?;
        } else {
            if self.zeroes.1 != self.at {
                self.settle()?;
                self.zeroes.0 = self.at;
            }
            self.zeroes.1 = end;
        }
        self.at = end;
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.settle()
    }
}

impl<D: WriteAt> Seek for Disk<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let place = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.device.len().checked_add_signed(by),
        };
        self.at = place.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
