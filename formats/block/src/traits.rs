//! The traits of a block device.

use crate::{Error, ErrorKind, Extent, Result};
use std::fmt::Debug;

/// Zeroes are written in pieces of this size.
const ZERO_PIECE: u64 = 1 << 20;

/// Something whose bytes can be read by offset.
#[allow(clippy::len_without_is_empty, reason = "an empty device is not a case anyone asks about")]
pub trait ReadAt: Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Fills `buf` with the bytes at `offset`, all of them or an error.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// What the stretch beginning at `offset` holds, and how long it is. `offset` must be below [`ReadAt::len`].
    fn extent_at(&self, offset: u64) -> Result<Extent>;
}

/// Something whose bytes can be written by offset.
///
/// What is written before a [`WriteAt::barrier`] is durable before anything written after it. Between two barriers
/// writes may reach the medium in any order, and the last one may be torn.
pub trait WriteAt: ReadAt {
    /// Writes all of `data` at `offset`, inside the device's length.
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()>;

    /// As [`WriteAt::write_at`], where the caller promises that nothing committed lives in the range: a staging
    /// layer may let it through at once.
    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()>;

    /// Writes `len` zero bytes at `offset`, over what is stored there: where [`WriteAt::discard`] would let go of the
    /// storage with what it holds.
    fn write_zeroes(&mut self, offset: u64, len: u64) -> Result<()> {
        check_range(offset, len, self.len())?;
        let zeroes = vec![0; ZERO_PIECE.min(len) as usize];
        let mut done = 0;
        while done < len {
            let piece = ZERO_PIECE.min(len - done);
            self.write_at(offset + done, &zeroes[..piece as usize])?;
            done += piece;
        }
        Ok(())
    }

    /// Makes the range read as zero, freeing its storage where the device can.
    fn discard(&mut self, offset: u64, len: u64) -> Result<()>;

    /// Makes everything written so far durable before anything that follows.
    fn barrier(&mut self) -> Result<()>;
}

/// Something whose length can be changed.
pub trait SetLen: WriteAt {
    /// Sets the length in bytes; new bytes read as zero.
    fn set_len(&mut self, len: u64) -> Result<()>;
}

/// Fails unless `offset..offset + len` lies inside a device of `device_len` bytes.
pub fn check_range(offset: u64, len: u64, device_len: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= device_len => Ok(()),
        _ => Err(Error::with_source(
            ErrorKind::OutOfBounds,
            offset,
            format!("{len} bytes asked for, the device has {device_len}"),
        )),
    }
}

macro_rules! forward_read {
    () => {
        fn len(&self) -> u64 {
            (**self).len()
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
            (**self).read_at(offset, buf)
        }
        fn extent_at(&self, offset: u64) -> Result<Extent> {
            (**self).extent_at(offset)
        }
    };
}

macro_rules! forward_write {
    () => {
        fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
            (**self).write_at(offset, data)
        }
        fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()> {
            (**self).write_fresh(offset, data)
        }
        fn write_zeroes(&mut self, offset: u64, len: u64) -> Result<()> {
            (**self).write_zeroes(offset, len)
        }
        fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
            (**self).discard(offset, len)
        }
        fn barrier(&mut self) -> Result<()> {
            (**self).barrier()
        }
    };
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    forward_read!();
}
impl<T: ReadAt + ?Sized> ReadAt for &mut T {
    forward_read!();
}
impl<T: WriteAt + ?Sized> WriteAt for &mut T {
    forward_write!();
}
impl<T: SetLen + ?Sized> SetLen for &mut T {
    fn set_len(&mut self, len: u64) -> Result<()> {
        (**self).set_len(len)
    }
}
impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    forward_read!();
}
impl<T: WriteAt + ?Sized> WriteAt for Box<T> {
    forward_write!();
}
impl<T: SetLen + ?Sized> SetLen for Box<T> {
    fn set_len(&mut self, len: u64) -> Result<()> {
        (**self).set_len(len)
    }
}
impl<T: ReadAt + ?Sized> ReadAt for std::sync::Arc<T> {
    forward_read!();
}
