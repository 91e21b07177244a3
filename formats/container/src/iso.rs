//! ISO 9660 and UDF: volume descriptors of 2048 bytes from byte 32768 on (ECMA-119, ECMA-167).

use crate::format::Format;
use crate::image::{Image, le16, le32};
use crate::verdict::Rules;

const DESCRIPTOR: usize = 2048;
const PRIMARY: u8 = 1;
const BLOCKS: usize = 80;
const BLOCK_SIZE: usize = 128;

/// The identifier of the descriptor that begins at `at`.
fn identifier<'a>(image: &'a Image<'_>, at: usize) -> &'a [u8] {
    image.descriptors.get(at + 1..at + 6).unwrap_or_default()
}

pub(crate) fn recognise(image: &Image<'_>) -> Option<Format> {
    let is_iso = match identifier(image, 0) {
        b"CD001" | b"NSR02" | b"NSR03" => true,
        // A disc with UDF alone.
        b"BEA01" => matches!(identifier(image, DESCRIPTOR), b"NSR02" | b"NSR03"),
        _ => false,
    };
    is_iso.then_some(Format::Iso)
}

/// Whether the first descriptor belongs to neither, so that a reader may see no disc.
pub(crate) fn is_udf_alone(image: &Image<'_>) -> bool {
    identifier(image, 0) == b"BEA01"
}

pub(crate) fn judge(image: &Image<'_>, rules: &mut Rules) -> Option<u64> {
    let descriptor = &image.descriptors;
    let complete = descriptor.len() >= DESCRIPTOR;
    rules.complete(complete, "the end of the first volume descriptor");
    if !complete || descriptor[0] != PRIMARY || identifier(image, 0) != b"CD001" {
        return None;
    }
    Some(u64::from(le32(descriptor, BLOCKS)) * u64::from(le16(descriptor, BLOCK_SIZE)))
}
