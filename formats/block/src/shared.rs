//! One device in several hands: the filesystems of one disk.

use crate::{Extent, ReadAt, Result, WriteAt};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A handle of a device that others hold, too. Many read at once, one writes.
#[derive(Debug)]
pub struct Shared<D>(Arc<RwLock<D>>);

impl<D> Shared<D> {
    /// The first handle of a device.
    pub fn new(device: D) -> Self {
        Self(Arc::new(RwLock::new(device)))
    }

    /// The device, if this is the last handle.
    pub fn into_inner(self) -> Option<D> {
        let lock = Arc::into_inner(self.0)?;
        Some(lock.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    // Who panicked while holding the lock was in the middle of one call: the device's own state is what it says it is.
    fn read(&self) -> RwLockReadGuard<'_, D> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, D> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D> Clone for Shared<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: ReadAt> ReadAt for Shared<D> {
    fn len(&self) -> u64 {
        self.read().len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.read().read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.read().extent_at(offset)
    }
}

impl<D: WriteAt> WriteAt for Shared<D> {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.write().write_at(offset, data)
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.write().write_fresh(offset, data)
    }

    fn write_zeroes(&mut self, offset: u64, len: u64) -> Result<()> {
        self.write().write_zeroes(offset, len)
    }

    fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
        self.write().discard(offset, len)
    }

    fn barrier(&mut self) -> Result<()> {
        self.write().barrier()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[test]
    fn what_one_writes_the_other_reads_and_the_last_one_keeps_it() {
        let mut one = Shared::new(Memory::zeroed(4));
        let other = one.clone();
        one.write_at(1, &[7]).unwrap();
        let mut seen = [0; 4];
        other.read_at(0, &mut seen).unwrap();
        assert_eq!((seen, other.len()), ([0, 7, 0, 0], 4));
        assert!(one.into_inner().is_none());
        assert_eq!(other.into_inner().unwrap().bytes(), [0, 7, 0, 0]);
    }
}
