//! VMware's disks (Virtual Disk Format 5.0). One file may hold a header, a text that describes the disk (the
//! descriptor) and its data; or the text alone, which names the files that hold the data.

mod descriptor;

use crate::format::Format;
use crate::image::{Image, le32, le64};
use crate::verdict::Rules;
use descriptor::Descriptor;
use nomount_block::Result;

const SPARSE: &[u8] = b"KDMV";
/// An extent of old ESX servers.
const COWD: &[u8] = b"COWD";
const SECTOR: u64 = 512;
/// Length of the fields that are looked at.
const HEADER: usize = 64;
const VERSION: usize = 4;
const CAPACITY: usize = 12;
const DESCRIPTOR_SECTOR: usize = 28;
const DESCRIPTOR_SECTORS: usize = 36;
const DIRECTORY: usize = 56;
/// The grain directory is where a second header says, at the end of the file.
const DIRECTORY_AT_END: u64 = u64::MAX;
/// A marker, the second header, a marker.
const FOOTER: u64 = 3 * SECTOR;
const MARKER_END: u32 = 0;
const MARKER_FOOTER: u32 = 3;
/// QEMU reads no more of a descriptor, and OpenStack's readers neither; real ones have about 1 KiB.
pub const MAX_DESCRIPTOR: u64 = (1 << 20) - 1;

pub(crate) fn recognise(image: &Image<'_>) -> Option<Format> {
    let head = &image.head;
    let there = head.starts_with(SPARSE) || head.starts_with(COWD) || descriptor::is_alone(head);
    there.then_some(Format::Vmdk)
}

pub(crate) fn judge(image: &Image<'_>, rules: &mut Rules) -> Result<Option<u64>> {
    let head = &image.head;
    if !head.starts_with(SPARSE) {
        let what = if head.starts_with(COWD) { "an extent of an ESX server" } else { "a text that names other files" };
        rules.note("subformat", "the disk is in this one file", Some(format!("it is {what}")));
        return Ok(None);
    }
    rules.complete(head.len() >= HEADER, "the end of the header");
    if head.len() < HEADER {
        return Ok(None);
    }
    judge_header(head, rules);
    let at_end = le64(head, DIRECTORY) == DIRECTORY_AT_END;
    if at_end {
        let about = "the header at the end says the same as the one at the beginning";
        rules.note("footer", about, judge_footer(image)?);
    }
    let len = le64(head, DESCRIPTOR_SECTORS).saturating_mul(SECTOR).min(MAX_DESCRIPTOR);
    match image.exactly(SECTOR, len)? {
        None => rules.complete(false, "the end of the descriptor"),
        Some(bytes) => Descriptor::parse(&bytes).judge(rules),
    }
    Ok(le64(head, CAPACITY).checked_mul(SECTOR))
}

fn judge_header(head: &[u8], rules: &mut Rules) {
    let version = le32(head, VERSION);
    rules
        .check("version", "the version is 1, 2 or 3", matches!(version, 1..=3), || format!("the version is {version}"));
    let sector = le64(head, DESCRIPTOR_SECTOR);
    rules.check("descriptor_place", "the descriptor is behind the header", sector == 1, || {
        format!("the descriptor is at sector {sector}, expected 1")
    });
    // QEMU takes a header without it as the beginning of a text that names other files.
    rules.check("capacity", "the header says how large the disk is", le64(head, CAPACITY) != 0, || {
        "the capacity is 0: a reader would look for the disk in other files".to_owned()
    });
}

/// Why the end of the file is not the footer that belongs to the header.
fn judge_footer(image: &Image<'_>) -> Result<Option<String>> {
    let at = image.len().checked_sub(FOOTER);
    let Some(end) = at.map(|at| image.exactly(at, FOOTER)).transpose()?.flatten() else {
        return Ok(Some("the file ends before the footer".to_owned()));
    };
    let sector = SECTOR as usize;
    let (marker, rest) = end.split_at(sector);
    let (footer, last) = rest.split_at(sector);
    // A value, a length, a type, and zeroes.
    let is_marker = |bytes: &[u8], kind| {
        le32(bytes, 8) == 0 && le32(bytes, 12) == kind && bytes[16..].iter().all(|byte| *byte == 0)
    };
    let differs = [0..8, DESCRIPTOR_SECTOR..DESCRIPTOR_SECTORS + 8].into_iter().any(|range| {
        let header = &image.head[range.clone()];
        header != &footer[range]
    });
    Ok(if differs {
        Some("its magic, version or place of the descriptor are others than the header's".to_owned())
    } else if le64(footer, DIRECTORY) == DIRECTORY_AT_END {
        Some("it names another one".to_owned())
    } else if !is_marker(marker, MARKER_FOOTER) {
        Some("the marker before it is none".to_owned())
    } else if le64(last, 0) != 0 || !is_marker(last, MARKER_END) {
        Some("the marker behind it is none".to_owned())
    } else {
        None
    })
}
