//! A device that can be read and refuses to be written.

use crate::{Error, ErrorKind, Extent, ReadAt, Result, WriteAt};

/// Lets something that is only read stand where something writable is asked for. Every write fails.
#[derive(Debug, Clone)]
pub struct ReadOnly<D>(pub D);

impl<D: ReadAt> ReadAt for ReadOnly<D> {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.0.read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.0.extent_at(offset)
    }
}

impl<D: ReadAt> WriteAt for ReadOnly<D> {
    fn write_at(&mut self, offset: u64, _data: &[u8]) -> Result<()> {
        Err(Error::new(ErrorKind::ReadOnly, offset))
    }

    fn write_fresh(&mut self, offset: u64, _data: &[u8]) -> Result<()> {
        Err(Error::new(ErrorKind::ReadOnly, offset))
    }

    fn discard(&mut self, offset: u64, _len: u64) -> Result<()> {
        Err(Error::new(ErrorKind::ReadOnly, offset))
    }

    fn barrier(&mut self) -> Result<()> {
        Err(Error::new(ErrorKind::ReadOnly, 0))
    }
}
