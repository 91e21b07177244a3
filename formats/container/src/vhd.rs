//! Virtual hard disks (Virtual Hard Disk Image Format Specification 1.0).
//!
//! A dynamic disk has a copy of its footer at the beginning. A fixed one has the footer at the end alone, behind bytes
//! that a guest writes: as QEMU does, those are taken for what they are unless the caller says vhd.

use crate::format::Format;
use crate::image::{Image, be32, be64};
use crate::verdict::Rules;
use nomount_block::Result;

const COOKIE: &[u8] = b"conectix";
const FOOTER: usize = 512;
const CURRENT_SIZE: usize = 48;
/// QEMU and OpenStack report the original size.
const ORIGINAL_SIZE: usize = 40;
const DISK_TYPE: usize = 60;
const CHECKSUM: usize = 64;
const FIXED: u32 = 2;
const DIFFERENCING: u32 = 4;

pub(crate) fn recognise(image: &Image<'_>) -> Option<Format> {
    image.head.starts_with(COOKIE).then_some(Format::Vhd)
}

pub(crate) fn judge(image: &Image<'_>, rules: &mut Rules) -> Option<u64> {
    let complete = image.head.len() >= FOOTER;
    rules.complete(complete, "the end of the first footer");
    if !complete {
        return None;
    }
    judge_parent(&image.head, rules);
    Some(be64(&image.head, ORIGINAL_SIZE))
}

fn judge_parent(footer: &[u8], rules: &mut Rules) {
    rules.check("parent", "no parent disk is named", be32(footer, DISK_TYPE) != DIFFERENCING, || {
        "it is a differencing disk, which names its parent".to_owned()
    });
}

/// The last 512 bytes where they are the footer of a fixed disk.
pub(crate) fn trailing_footer(image: &Image<'_>) -> Result<Option<Vec<u8>>> {
    let Some(at) = image.len().checked_sub(FOOTER as u64) else { return Ok(None) };
    let footer = image.exactly(at, FOOTER as u64)?;
    Ok(footer.filter(|footer| footer.starts_with(COOKIE) && be32(footer, DISK_TYPE) == FIXED))
}

/// Judges a fixed disk by its footer; `len` is the file's.
pub(crate) fn judge_footer(footer: &[u8], len: u64, rules: &mut Rules) -> Option<u64> {
    let bytes = footer.iter().enumerate().filter(|(at, _)| !(CHECKSUM..CHECKSUM + 4).contains(at));
    let sum = !bytes.map(|(_, byte)| u32::from(*byte)).sum::<u32>();
    let stored = be32(footer, CHECKSUM);
    let size = be64(footer, CURRENT_SIZE);
    let failure = if stored != sum {
        Some(format!("its checksum is {stored:#x}, expected {sum:#x}"))
    } else if size > len - FOOTER as u64 {
        Some(format!("the disk of {size} bytes is longer than the file"))
    } else {
        None
    };
    rules.note("footer", "the footer is sound", failure);
    Some(size)
}
