//! A device in memory, for tests and small images.

use crate::{Extent, ExtentKind, ReadAt, Result, SetLen, WriteAt, check_range};

/// A device whose bytes are a vector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(Vec<u8>);

impl Memory {
    /// A device holding `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// A device of `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        Self(vec![0; len])
    }

    /// All its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives up the vector.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn slice(&mut self, offset: u64, len: u64) -> Result<&mut [u8]> {
        check_range(offset, len, self.0.len() as u64)?;
        Ok(&mut self.0[offset as usize..(offset + len) as usize])
    }
}

/// Somebody else's bytes as a device that is only read.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl ReadAt for Bytes<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len() as u64, self.len())?;
        buf.copy_from_slice(&self.0[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        check_range(offset, 1, self.len())?;
        Ok(Extent { kind: ExtentKind::Data, len: self.len() - offset })
    }
}

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        Bytes(&self.0).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        Bytes(&self.0).read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        Bytes(&self.0).extent_at(offset)
    }
}

impl WriteAt for Memory {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.slice(offset, data.len() as u64)?.copy_from_slice(data);
        Ok(())
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.write_at(offset, data)
    }

    fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
        self.slice(offset, len)?.fill(0);
        Ok(())
    }

    fn barrier(&mut self) -> Result<()> {
        Ok(())
    }
}

impl SetLen for Memory {
    fn set_len(&mut self, len: u64) -> Result<()> {
        self.0.resize(len as usize, 0);
        Ok(())
    }
}
