//! All formats that a file claims to have.

use crate::format::Format;
use crate::image::Image;
use crate::{foreign, iso, luks, mbr, qcow2, vdi, vhd, vhdx, vmdk};
use nomount_block::{ReadAt, Result};

/// Every format that the first bytes of `device` claim; none is raw. At most two reads of 4 KiB.
///
/// # Errors
///
/// A failure of the device.
pub fn recognise(device: &dyn ReadAt) -> Result<Vec<Format>> {
    Image::read(device).map(|image| of_image(&image))
}

/// One function a format, each of which knows nothing of the others.
const RECOGNISERS: &[fn(&Image<'_>) -> Option<Format>] = &[
    qcow2::recognise,
    foreign::recognise,
    vmdk::recognise,
    vhd::recognise,
    vhdx::recognise,
    vdi::recognise,
    luks::recognise,
    iso::recognise,
    mbr::recognise,
];

pub(crate) fn of_image(image: &Image<'_>) -> Vec<Format> {
    RECOGNISERS.iter().filter_map(|recognise| recognise(image)).collect()
}
