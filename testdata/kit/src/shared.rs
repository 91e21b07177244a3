//! A recording, failing device that a test keeps hold of while somebody else owns it.

use nomount_block::{Extent, Fault, FaultPlan, ReadAt, Record, Result, SetLen, WriteAt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A [`Fault`] behind a handle: give one clone away, ask the other what happened.
#[derive(Debug)]
pub struct Shared<D>(Arc<Mutex<Fault<D>>>);

impl<D> Clone for Shared<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D> Shared<D> {
    /// Wraps `inner`, which fails as `plan` says.
    pub fn new(inner: D, plan: FaultPlan) -> Self {
        Self(Arc::new(Mutex::new(Fault::new(inner, plan))))
    }

    /// Every change that went through, in order.
    pub fn log(&self) -> Vec<Record> {
        self.lock().log().to_vec()
    }

    /// How many reads were asked for so far.
    pub fn reads(&self) -> u64 {
        self.lock().reads()
    }

    /// The device below. Every other handle must be gone.
    pub fn into_inner(self) -> D {
        let fault = Arc::into_inner(self.0).expect("every other handle is dropped");
        fault.into_inner().unwrap_or_else(PoisonError::into_inner).into_parts().0
    }

    // A test that panicked elsewhere has failed already; what it left is still worth reading.
    fn lock(&self) -> MutexGuard<'_, Fault<D>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: ReadAt> ReadAt for Shared<D> {
    fn len(&self) -> u64 {
        self.lock().len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.lock().read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.lock().extent_at(offset)
    }
}

impl<D: WriteAt> WriteAt for Shared<D> {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.lock().write_at(offset, data)
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.lock().write_fresh(offset, data)
    }

    fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
        self.lock().discard(offset, len)
    }

    fn barrier(&mut self) -> Result<()> {
        self.lock().barrier()
    }
}

impl<D: SetLen> SetLen for Shared<D> {
    fn set_len(&mut self, len: u64) -> Result<()> {
        self.lock().set_len(len)
    }
}
