//! A part of a device, seen as a device: a partition.

use crate::{Extent, ReadAt, Result, WriteAt, check_range};

/// The bytes `start..start + len` of a device. Nothing outside them can be reached through it.
#[derive(Debug, Clone)]
pub struct Window<D> {
    inner: D,
    start: u64,
    len: u64,
}

impl<D: ReadAt> Window<D> {
    /// A window of `len` bytes at `start`; fails when it does not lie inside `inner`.
    pub fn new(inner: D, start: u64, len: u64) -> Result<Self> {
        check_range(start, len, inner.len())?;
        Ok(Self { inner, start, len })
    }

    /// The device below.
    pub fn into_inner(self) -> D {
        self.inner
    }

    /// The device below.
    pub fn get_ref(&self) -> &D {
        &self.inner
    }

    /// Byte offset of the window in the device below.
    pub fn start(&self) -> u64 {
        self.start
    }
}

impl<D: ReadAt> ReadAt for Window<D> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len() as u64, self.len)?;
        self.inner.read_at(self.start + offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        check_range(offset, 1, self.len)?;
        let extent = self.inner.extent_at(self.start + offset)?;
        Ok(Extent { kind: extent.kind, len: extent.len.min(self.len - offset) })
    }
}

impl<D: WriteAt> WriteAt for Window<D> {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        check_range(offset, data.len() as u64, self.len)?;
        self.inner.write_at(self.start + offset, data)
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        check_range(offset, data.len() as u64, self.len)?;
        self.inner.write_fresh(self.start + offset, data)
    }

    fn write_zeroes(&mut self, offset: u64, len: u64) -> Result<()> {
        check_range(offset, len, self.len)?;
        self.inner.write_zeroes(self.start + offset, len)
    }

    fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
        check_range(offset, len, self.len)?;
        self.inner.discard(self.start + offset, len)
    }

    fn barrier(&mut self) -> Result<()> {
        self.inner.barrier()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[test]
    fn nothing_outside_is_reached() {
        let mut window = Window::new(Memory::zeroed(100), 10, 20).unwrap();
        window.write_at(0, &[7; 20]).unwrap();
        assert!(window.write_at(1, &[7; 20]).is_err());
        assert!(window.write_at(u64::MAX, &[7]).is_err());
        assert!(window.discard(19, 2).is_err());
        assert!(window.write_zeroes(19, 2).is_err());
        assert!(window.read_at(20, &mut [0]).is_err());
        let below = window.into_inner().into_bytes();
        assert_eq!(below[9], 0);
        assert_eq!(below[10..30], [7; 20]);
        assert_eq!(below[30], 0);
        assert!(Window::new(Memory::zeroed(100), 90, 11).is_err());
    }
}
