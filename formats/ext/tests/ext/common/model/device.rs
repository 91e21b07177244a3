//! A disk in memory that fails when told.

use nomount_block::{Error, ErrorKind, Extent, Memory, ReadAt, Result, WriteAt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What is to fail next; shared with the device, which its filesystem does not lend out.
#[derive(Debug, Default)]
pub struct Faults {
    /// The number of reads up to and with the one that fails; 0 for none.
    reads: AtomicU32,
    /// The same of writes. All later ones fail, too.
    writes: AtomicU32,
    fired: AtomicBool,
}

impl Faults {
    /// The read after `after` others fails, once.
    pub fn fail_read(&self, after: u32) {
        self.reads.store(after + 1, Ordering::Relaxed);
    }

    /// The write after `after` others fails, and all that follow.
    pub fn fail_write(&self, after: u32) {
        self.writes.store(after + 1, Ordering::Relaxed);
    }

    /// Lets everything pass again. Whether anything failed.
    pub fn calm(&self) -> bool {
        self.reads.store(0, Ordering::Relaxed);
        self.writes.store(0, Ordering::Relaxed);
        self.fired.swap(false, Ordering::Relaxed)
    }

    fn on_read(&self, offset: u64) -> Result<()> {
        let left = self.reads.load(Ordering::Relaxed);
        self.reads.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 1 { self.fire(offset, "read") } else { Ok(()) }
    }

    fn on_write(&self, offset: u64) -> Result<()> {
        match self.writes.load(Ordering::Relaxed) {
            0 => Ok(()),
            1 => self.fire(offset, "write"),
            left => {
                self.writes.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn fire(&self, offset: u64, what: &str) -> Result<()> {
        self.fired.store(true, Ordering::Relaxed);
        Err(Error::with_source(ErrorKind::Io, offset, format!("injected failure of a {what}")))
    }
}

/// The disk.
#[derive(Debug)]
pub struct Device {
    pub memory: Memory,
    pub faults: Arc<Faults>,
}

impl ReadAt for Device {
    fn len(&self) -> u64 {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.faults.on_read(offset)?;
        self.memory.read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.memory.extent_at(offset)
    }
}

impl WriteAt for Device {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.faults.on_write(offset)?;
        self.memory.write_at(offset, data)
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.write_at(offset, data)
    }

    fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
        self.faults.on_write(offset)?;
        self.memory.discard(offset, len)
    }

    fn barrier(&mut self) -> Result<()> {
        self.memory.barrier()
    }
}
