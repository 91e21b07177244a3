//! Fields of structures spoiled one by one, with their checksums stale or made right again.

use nomount_kit::ext_layout::{Kind, Layout, Place, le16, le32};
use nomount_kit::fixture;
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::fmt;

/// Between them they have every structure, with and without checksums, clean and to be recovered.
pub const IMAGES: &[&str] = &[
    "ext4-1k",
    "ext3-1k",
    "ext4-147",
    "ext4-142",
    "dirty-csum2",
    "dirty-csum3",
    "dirty-32bit",
    "orphan-list",
    "ea-inode",
    "inline-data",
];
/// One field with another value.
#[derive(Debug, Clone)]
pub struct Case {
    pub image: &'static str,
    pub kind: Kind,
    /// Byte offset of the structure, and of the field in it.
    pub place: usize,
    pub offset: usize,
    pub len: usize,
    pub old: u32,
    pub new: u32,
    /// The checksum was left as it was.
    pub stale: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, kind, place, offset, len, old, new, stale } = self;
        let stale = if *stale { ", checksum stale" } else { "" };
        write!(f, "{image}, {kind:?} at {place:#x}, field {offset:#x}+{len}: {old:#x} -> {new:#x}{stale}")
    }
}

/// Calls `visit` with an image for each value of each field of its structures that `pick` picks.
pub fn each_field(
    name: &'static str,
    rng: &mut StdRng,
    mut pick: impl FnMut(&mut StdRng) -> bool,
    mut visit: impl FnMut(&[u8], Case),
) {
    let mut image = fixture::bytes(name);
    let layout = Layout::of(&image).expect("an ext image");
    for place in layout.places(&image) {
        let block = place.at / layout.block * layout.block..(place.at / layout.block + 1) * layout.block;
        for (offset, len) in fields(&place) {
            let at = place.at + offset;
            let old = if len == 4 { le32(&image, at) } else { le16(&image, at) & ((1 << (8 * len)) - 1) };
            for new in values(old, len, rng) {
                if !pick(rng) {
                    continue;
                }
                // Stale checksums end at the first check: a few say enough.
                let stale = rng.random_range(0..8) == 0;
                let saved = image[block.clone()].to_vec();
                let saved_groups = image[..8 * layout.block].to_vec();
                image[at..at + len].copy_from_slice(&new.to_le_bytes()[..len]);
                if !stale {
                    layout.fix(&mut image, &place);
                }
                let case = Case { image: name, kind: place.kind, place: place.at, offset, len, old, new, stale };
                visit(&image, case);
                image[block.clone()].copy_from_slice(&saved);
                image[..8 * layout.block].copy_from_slice(&saved_groups);
            }
        }
    }
}

/// Offset and length of each field: words of four bytes, and of two where fields may be that short.
fn fields(place: &Place) -> Vec<(usize, usize)> {
    let words = place.fields.clone().step_by(4).map(|at| (at, 4));
    let short = match place.kind {
        Kind::Superblock => vec![0x3A, 0x4C, 0x58, 0x5A, 0xCE, 0xFC, 0xFE, 0x15C, 0x15E, 0x174],
        Kind::Inode(_) => vec![0, 2, 0x1A, 0x28, 0x2A, 0x2C, 0x2E, 0x74, 0x76, 0x78, 0x80, 0x82],
        Kind::JournalSuperblock | Kind::BlockBitmap(_) | Kind::InodeBitmap(_) | Kind::Plain => vec![],
        _ => place.fields.clone().step_by(2).collect(),
    };
    let short = short.into_iter().filter(|at| place.fields.contains(at)).map(|at| (at, 2));
    let bytes = match place.kind {
        Kind::Superblock => vec![0xFC, 0x174, 0x175],
        Kind::DxRoot(_) => vec![28, 29, 30, 31],
        Kind::DirLeaf(_) => vec![6, 7, 18, 19, 30, 31],
        Kind::XattrBlock => vec![32, 33],
        _ => vec![],
    };
    words.chain(short).chain(bytes.into_iter().map(|at| (at, 1))).collect()
}

/// 0, 1, all ones, one off either way, the top bit alone, and anything.
fn values(old: u32, len: usize, rng: &mut StdRng) -> BTreeSet<u32> {
    let mask = if len == 4 { u32::MAX } else { (1 << (8 * len)) - 1 };
    let top = 1 << (8 * len - 1);
    let list = [0, 1, mask, old.wrapping_add(1), old.wrapping_sub(1), old ^ top, rng.random()];
    // Journals are big-endian: off by one there is this.
    let swapped = old.swap_bytes().wrapping_add(1).swap_bytes();
    list.into_iter().chain([swapped]).map(|value| value & mask).filter(|value| *value != old & mask).collect()
}
