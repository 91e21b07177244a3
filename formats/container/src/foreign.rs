//! Formats that are recognised and never safe: nothing here reads them, and QEMU opens them when it is not told a
//! format.

use crate::format::Format;
use crate::image::Image;
use crate::verdict::Rules;

const MAGICS: &[(&[u8], Format)] = &[
    (b"QED\0", Format::Qed),
    (b"WithoutFreeSpace", Format::Parallels),
    (b"WithouFreSpacExt", Format::Parallels),
    (b"Bochs Virtual HD Image\0", Format::Bochs),
    (b"#!/bin/sh\n#V2.0 Format\n", Format::Cloop),
];

pub(crate) fn recognise(image: &Image<'_>) -> Option<Format> {
    MAGICS.iter().find(|(magic, _)| image.head.starts_with(magic)).map(|(_, format)| *format)
}

pub(crate) fn judge(format: Format, rules: &mut Rules) {
    let failure = format!("{format} images are never accepted: what they may name cannot be judged");
    rules.note("banned", "the format can be judged", Some(failure));
}
