//! VirtualBox' disk image. It names no file: a parent is known by its UUID alone.

use crate::format::Format;
use crate::image::{Image, le64};
use crate::verdict::Rules;

const SIGNATURE_AT: usize = 0x40;
const SIGNATURE: [u8; 4] = 0xbeda_107f_u32.to_le_bytes();
const SIZE: usize = 0x170;
const HEADER: usize = 512;

pub(crate) fn recognise(image: &Image<'_>) -> Option<Format> {
    let there = image.head.get(SIGNATURE_AT..).is_some_and(|rest| rest.starts_with(&SIGNATURE));
    there.then_some(Format::Vdi)
}

pub(crate) fn judge(image: &Image<'_>, rules: &mut Rules) -> Option<u64> {
    let complete = image.head.len() >= HEADER;
    rules.complete(complete, "the end of the header");
    complete.then(|| le64(&image.head, SIZE))
}
