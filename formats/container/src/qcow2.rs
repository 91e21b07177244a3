//! qcow2 and its forerunner (QEMU, docs/interop/qcow2.txt).

use crate::format::Format;
use crate::image::{Image, be32, be64};
use crate::verdict::Rules;

const MAGIC: &[u8] = b"QFI\xfb";
/// Less is no image: the smallest cluster, which the header has for itself.
const HEADER: usize = 512;
const BACKING_FILE_OFFSET: usize = 8;
const SIZE: usize = 24;
const INCOMPATIBLE: usize = 72;
/// Guest data is in another file.
const DATA_FILE: u64 = 1 << 2;
/// Dirty, corrupt, data file, compression type. Extended L2 entries (bit 4) came with QEMU 5.2, and OpenStack's readers
/// do not know them.
const KNOWN: u64 = 0b1111;

pub(crate) fn recognise(image: &Image<'_>) -> Option<Format> {
    if !image.head.starts_with(MAGIC) {
        return None;
    }
    let version_1 = image.head.get(4..8) == Some(&[0, 0, 0, 1]);
    Some(if version_1 { Format::Qcow } else { Format::Qcow2 })
}

pub(crate) fn judge(image: &Image<'_>, rules: &mut Rules) -> Option<u64> {
    let head = &image.head;
    rules.complete(head.len() >= HEADER, "the end of the header");
    if head.len() < HEADER {
        return None;
    }
    let version = be32(head, 4);
    rules.check("version", "the version is 2 or 3", matches!(version, 2 | 3), || format!("the version is {version}"));
    let backing = be64(head, BACKING_FILE_OFFSET);
    rules.check("backing_file", "no backing file is named", backing == 0, || {
        format!("a backing file is named, at byte {backing}")
    });
    // Version 2 has no such field. A bit there is refused all the same: only the version keeps a reader from it.
    let features = be64(head, INCOMPATIBLE);
    rules.check("data_file", "the guest's data is in this file", features & DATA_FILE == 0, || {
        "the guest's data is in another file".to_owned()
    });
    let unknown = features & !KNOWN;
    rules.check("unknown_features", "every incompatible feature is known", version == 2 || unknown == 0, || {
        let extended = if unknown & 1 << 4 != 0 { " (bit 4 is extended L2 entries)" } else { "" };
        format!("incompatible features {unknown:#x} are not known{extended}")
    });
    Some(be64(head, SIZE))
}
