//! A device that records what happens to it and fails when told: crashes and broken disks as tests.

use crate::{Error, ErrorKind, Extent, ReadAt, Record, Result, SetLen, WriteAt};
use std::sync::atomic::{AtomicU64, Ordering};

/// When to fail. Counting starts at 0; `None` never fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// The read with this number fails, once.
    pub fail_read: Option<u64>,
    /// The write, discard or change of length with this number fails, and every later one: a full or dead disk.
    pub fail_write: Option<u64>,
    /// The barrier with this number fails, once.
    pub fail_barrier: Option<u64>,
}

/// A device that passes everything on, keeps the list of changes, and fails by plan.
#[derive(Debug)]
pub struct Fault<D> {
    inner: D,
    plan: FaultPlan,
    reads: AtomicU64,
    writes: u64,
    barriers: u64,
    log: Vec<Record>,
}

impl<D> Fault<D> {
    /// Wraps `inner`.
    pub fn new(inner: D, plan: FaultPlan) -> Self {
        Self { inner, plan, reads: AtomicU64::new(0), writes: 0, barriers: 0, log: Vec::new() }
    }

    /// Every change that went through, in order.
    pub fn log(&self) -> &[Record] {
        &self.log
    }

    /// The device and the list of changes.
    pub fn into_parts(self) -> (D, Vec<Record>) {
        (self.inner, self.log)
    }

    /// How many reads were asked for so far.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    fn count_write(&mut self, offset: u64) -> Result<()> {
        let number = self.writes;
        self.writes += 1;
        match self.plan.fail_write {
            Some(first) if number >= first => Err(injected(ErrorKind::NoSpace, offset, "write", number)),
            _ => Ok(()),
        }
    }
}

fn injected(kind: ErrorKind, offset: u64, what: &str, number: u64) -> Error {
    Error::with_source(kind, offset, format!("injected failure of {what} {number}"))
}

impl<D: ReadAt> ReadAt for Fault<D> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let number = self.reads.fetch_add(1, Ordering::Relaxed);
        if self.plan.fail_read == Some(number) {
            return Err(injected(ErrorKind::Io, offset, "read", number));
        }
        self.inner.read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.inner.extent_at(offset)
    }
}

impl<D: WriteAt> WriteAt for Fault<D> {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.count_write(offset)?;
        self.inner.write_at(offset, data)?;
        self.log.push(Record::Write { offset, data: data.to_vec() });
        Ok(())
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.write_at(offset, data)
    }

    fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
        self.count_write(offset)?;
        self.inner.discard(offset, len)?;
        self.log.push(Record::Discard { offset, len });
        Ok(())
    }

    fn barrier(&mut self) -> Result<()> {
        let number = self.barriers;
        self.barriers += 1;
        if self.plan.fail_barrier == Some(number) {
            return Err(injected(ErrorKind::Io, 0, "barrier", number));
        }
        self.inner.barrier()?;
        self.log.push(Record::Barrier);
        Ok(())
    }
}

impl<D: SetLen> SetLen for Fault<D> {
    fn set_len(&mut self, len: u64) -> Result<()> {
        self.count_write(len)?;
        self.inner.set_len(len)?;
        self.log.push(Record::SetLen(len));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[test]
    fn fails_as_planned_and_records_the_rest() {
        let plan = FaultPlan { fail_write: Some(1), ..FaultPlan::default() };
        let mut device = Fault::new(Memory::zeroed(8), plan);
        device.write_at(0, &[1]).unwrap();
        device.barrier().unwrap();
        assert_eq!(device.write_at(1, &[1]).unwrap_err().kind(), ErrorKind::NoSpace);
        assert!(device.write_at(2, &[1]).is_err());
        assert_eq!(device.log().len(), 2);
    }
}
