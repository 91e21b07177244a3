//! What is worth spoiling of an ext filesystem.

use super::{Cover, Field};
use crate::ext_layout::{Kind, Layout, Place};

/// Words of the superblock that shape the filesystem: counts, sizes, features, the journal and the descriptors.
const SHAPE: &[usize] = &[
    0x00, 0x04, 0x0C, 0x10, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x4C, 0x54, 0x5C, 0x60, 0x64, 0xE0, 0xE8, 0x104, 0x150,
    0x154, 0x160, 0x248, 0x24C, 0x250, 0x270, 0x280,
];
/// Halves of words in it: state, sizes of inodes and of descriptors, reserved blocks of descriptors, extra inode sizes.
const SHAPE_SHORT: &[usize] = &[0x3A, 0x3C, 0x58, 0x5A, 0xCE, 0xFE, 0x15C, 0x15E];
/// Single bytes in it: version of the hash, size of flexible groups, kind of checksums.
const SHAPE_BYTES: &[usize] = &[0xFC, 0x174, 0x175];

/// The fields of each structure of the filesystem in `bytes`, which begins at byte `start` of its image and is the
/// victim's filesystem `number`.
pub fn fields(bytes: &[u8], start: usize, number: usize, layout: &Layout) -> Vec<Vec<Field>> {
    let list = |place: &Place| {
        let big_endian = matches!(place.kind, Kind::JournalSuperblock | Kind::LogTail | Kind::LogCommit);
        let field =
            |(at, len)| Field { at: start + place.at + at, len, big_endian, cover: Cover::Ext(number, place.clone()) };
        places(place).into_iter().map(field).collect::<Vec<_>>()
    };
    layout.places(bytes).iter().map(list).filter(|fields| !fields.is_empty()).collect()
}

/// Offset in the structure and length of each field.
fn places(place: &Place) -> Vec<(usize, usize)> {
    let words = place.fields.clone().step_by(4).map(|at| (at, 4));
    let halves = place.fields.clone().step_by(2).map(|at| (at, 2));
    match place.kind {
        Kind::Superblock => {
            let shape = SHAPE.iter().map(|at| (*at, 4));
            let short = SHAPE_SHORT.iter().map(|at| (*at, 2));
            let bytes = SHAPE_BYTES.iter().map(|at| (*at, 1));
            // Twice, since they tell more than names and times.
            let shape: Vec<_> = shape.chain(short).chain(bytes).collect();
            shape.iter().copied().chain(shape.iter().copied()).chain(words).collect()
        }
        Kind::BlockBitmap(_) | Kind::InodeBitmap(_) | Kind::JournalSuperblock | Kind::Plain => words.collect(),
        Kind::DirLeaf(_) | Kind::DxRoot(_) => {
            words.chain(halves).chain(place.fields.clone().map(|at| (at, 1))).collect()
        }
        _ => words.chain(halves).collect(),
    }
}
