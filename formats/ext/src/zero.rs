//! Making stretches of a device zero without writing what is zero already.

use crate::error::Result;
use nomount_block::{ExtentKind, WriteAt};

/// One of the ways to make a stretch zero: [`WriteAt::discard`] or [`WriteAt::write_zeroes`].
type Zero<D> = fn(&mut D, u64, u64) -> nomount_block::Result<()>;

/// Makes bytes zero, where the device does not say that they are.
pub(crate) fn make_zero<D: WriteAt>(device: &mut D, offset: u64, len: u64) -> Result<()> {
    zero_with(device, offset, len, D::discard)
}

/// Writes zeroes over bytes, where the device does not say that they are zero.
pub(crate) fn overwrite<D: WriteAt>(device: &mut D, offset: u64, len: u64) -> Result<()> {
    zero_with(device, offset, len, D::write_zeroes)
}

fn zero_with<D: WriteAt>(device: &mut D, offset: u64, len: u64, zero: Zero<D>) -> Result<()> {
    let end = (offset + len).min(device.len());
    let mut at = offset;
    while at < end {
        let extent = device.extent_at(at)?;
        let here = extent.len.min(end - at);
        if extent.kind != ExtentKind::Zero {
            zero(device, at, here)?;
        }
        at += here;
    }
    Ok(())
}
