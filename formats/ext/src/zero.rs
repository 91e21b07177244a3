//! Making stretches of a device zero without writing what is zero already.

use crate::error::Result;
use nomount_block::{ExtentKind, WriteAt};

/// Makes bytes zero, where the device does not say that they are.
pub(crate) fn make_zero(device: &mut impl WriteAt, offset: u64, len: u64) -> Result<()> {
    let end = (offset + len).min(device.len());
    let mut at = offset;
    while at < end {
        let extent = device.extent_at(at)?;
        let here = extent.len.min(end - at);
        if extent.kind != ExtentKind::Zero {
            device.discard(at, here)?;
        }
        at += here;
    }
    Ok(())
}
