//! Small disks whose structures are spoiled field by field, with the checksums made right again, so that what is behind
//! these is reached.

use crate::disks::{Disk, Layout, MIB};
use nomount::image::Format;
use nomount_kit::ext_layout::{self, Kind, Place, le16, le32};
use nomount_kit::mutants::seal_gpt;
use rand::RngExt;
use rand::rngs::StdRng;
use std::ops::Range;

pub const SIZE: u64 = 16 * MIB;
const SECTOR: usize = 512;
/// Entries of a GPT that are looked at: the disks use two of them.
const ENTRIES: usize = 15;
/// The superblock's `s_journal_inum`.
const JOURNAL_INO: usize = 1024 + 0xE0;

/// What the disks are made of. Small groups make many of them, and with them copies and flexible groups.
const KINDS: &[(Layout, bool, &[&str])] = &[
    (Layout::None, false, &["-t", "ext4", "-b", "1024", "-g", "1024", "-N", "512"]),
    (Layout::Gpt, false, &["-t", "ext4", "-b", "1024"]),
    (Layout::MbrPrimary, false, &["-t", "ext3", "-b", "1024", "-g", "2048", "-N", "256"]),
    (
        Layout::MbrLogical,
        false,
        &["-t", "ext2", "-b", "1024", "-g", "1024", "-N", "128", "-O", "^sparse_super,^resize_inode"],
    ),
    (Layout::None, false, &["-t", "ext4", "-b", "4096", "-O", "meta_bg,^resize_inode", "-g", "512", "-N", "512"]),
    (
        Layout::None,
        false,
        &["-t", "ext4", "-b", "1024", "-O", "sparse_super2,^resize_inode", "-g", "2048", "-N", "512"],
    ),
    (
        Layout::None,
        false,
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg,^64bit", "-G", "4", "-g", "1024"],
    ),
    (Layout::Gpt, true, &["-t", "ext4", "-b", "4096"]),
    (Layout::None, true, &["-t", "ext2", "-b", "1024"]),
];

/// A sound disk that is to be spoiled.
pub struct Victim {
    pub name: String,
    pub bytes: Vec<u8>,
    pub layout: Layout,
    pub format: Format,
    /// First byte of the filesystem.
    pub start: usize,
}

pub fn victims() -> Vec<Victim> {
    let make = |(layout, is_qcow2, args): &(Layout, bool, &[&str])| {
        let disk = Disk::new(*layout, *is_qcow2, SIZE, args);
        Victim {
            name: format!("{layout:?} in {}, {}", disk.format(), args.join(" ")),
            bytes: std::fs::read(&disk.image).unwrap(),
            layout: *layout,
            format: if *is_qcow2 { Format::Qcow2 } else { Format::Raw },
            start: disk.start as usize,
        }
    };
    KINDS.iter().map(make).collect()
}

/// A number in an image, and how what covers it is made right.
pub struct Field {
    pub at: usize,
    pub len: usize,
    big_endian: bool,
    cover: Cover,
}

enum Cover {
    /// A structure of the filesystem.
    Ext(Place),
    /// Both checksums of the GPT headers that lie there.
    Gpt(Vec<usize>),
    None,
}

impl Field {
    fn plain(at: usize, len: usize) -> Self {
        Self { at, len, big_endian: false, cover: Cover::None }
    }
}

/// What can be spoiled of a disk.
pub struct Fields<'a> {
    victim: &'a Victim,
    ext: Option<ext_layout::Layout>,
    pub tables: Vec<Field>,
    pub filesystem: Vec<Field>,
    pub container: Vec<Field>,
    /// Blocks that hold something, for damage anywhere.
    used: Vec<usize>,
}

impl<'a> Fields<'a> {
    pub fn of(victim: &'a Victim) -> Self {
        let mut fields = Self {
            victim,
            ext: None,
            tables: Vec::new(),
            filesystem: Vec::new(),
            container: Vec::new(),
            used: (0..victim.bytes.len() / 1024).filter(|at| victim.bytes[at * 1024..][..1024] != [0; 1024]).collect(),
        };
        if victim.format == Format::Qcow2 {
            fields.container = qcow2(&victim.bytes);
            return fields;
        }
        fields.tables = match victim.layout {
            Layout::None => Vec::new(),
            Layout::Gpt => gpt(victim.bytes.len()),
            Layout::MbrPrimary | Layout::MbrLogical => mbr(&victim.bytes),
        };
        let filesystem = &victim.bytes[victim.start..];
        let layout = ext_layout::Layout::of(filesystem).expect("an ext image");
        fields.filesystem = ext(filesystem, &layout);
        fields.ext = Some(layout);
        fields
    }

    /// Gives a field another value, and makes its checksum right.
    pub fn set(&self, bytes: &mut [u8], field: &Field, value: u64) {
        let Field { at, len, .. } = *field;
        if field.big_endian {
            bytes[at..at + len].copy_from_slice(&value.to_be_bytes()[8 - len..]);
        } else {
            bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        }
        match &field.cover {
            Cover::Ext(place) => {
                let layout = self.ext.as_ref().expect("only where there is a filesystem");
                layout.fix(&mut bytes[self.victim.start..], place);
            }
            Cover::Gpt(headers) => headers.iter().for_each(|&header| seal_gpt(bytes, header)),
            Cover::None => {}
        }
    }

    /// A value that tells more than others: an end, one off, a power of two, or any.
    pub fn value(&self, bytes: &[u8], field: &Field, rng: &mut StdRng) -> u64 {
        let bytes = &bytes[field.at..field.at + field.len];
        let word = |old: u64, byte: &u8| old << 8 | u64::from(*byte);
        let old = if field.big_endian { bytes.iter().fold(0, word) } else { bytes.iter().rev().fold(0, word) };
        let bits = 8 * field.len as u32;
        let value = match rng.random_range(0..10) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => old.wrapping_add(1),
            4 => old.wrapping_sub(1),
            5 => old ^ 1 << (bits - 1),
            6 => 1 << rng.random_range(0..bits),
            7 => old.wrapping_mul(2),
            8 => old / 2,
            _ => rng.random(),
        };
        value & u64::MAX >> (64 - bits)
    }

    /// Changes a byte of what is not empty, wherever it is.
    pub fn scratch(&self, bytes: &mut [u8], rng: &mut StdRng) {
        let at = self.used[rng.random_range(0..self.used.len())] * 1024 + rng.random_range(0..1024);
        bytes[at] = if rng.random_range(0..2) == 0 { bytes[at] ^ 1 << rng.random_range(0..8) } else { rng.random() };
    }
}

/// The superblock, descriptors, bitmaps, the inodes of the reserve and the journal and what they lead to.
fn ext(filesystem: &[u8], layout: &ext_layout::Layout) -> Vec<Field> {
    let mut places = layout.places(filesystem);
    let wanted = |place: &Place| match place.kind {
        Kind::Superblock | Kind::Descriptor(_) | Kind::BlockBitmap(_) | Kind::InodeBitmap(_) => true,
        Kind::Inode(ino) => ino == le32(filesystem, JOURNAL_INO),
        Kind::JournalSuperblock => true,
        _ => false,
    };
    places.retain(wanted);
    let inode = layout.inode(7);
    places.push(Place { kind: Kind::Inode(7), at: inode, fields: 0..128 });
    let list = le32(filesystem, inode + 0x28 + 13 * 4) as usize * layout.block;
    if list != 0 {
        let slots = list..list + layout.block;
        let reserved = slots.step_by(4).map(|at| le32(filesystem, at) as usize).find(|block| *block != 0);
        let lists = [Some(list), reserved.map(|block| block * layout.block)];
        places.extend(lists.into_iter().flatten().map(|at| Place { kind: Kind::Plain, at, fields: 0..32 }));
    }
    let start = places[0].at;
    assert_eq!((start, le16(filesystem, start + 0x38)), (1024, 0xEF53));
    let mut fields = Vec::new();
    for place in places {
        for (at, len) in ext_fields(&place) {
            let (at, cover) = (place.at + at, Cover::Ext(place.clone()));
            fields.push(Field { at, len, big_endian: place.kind == Kind::JournalSuperblock, cover });
        }
    }
    fields
}

fn ext_fields(place: &Place) -> Vec<(usize, usize)> {
    let words = |range: Range<usize>| range.step_by(4).map(|at| (at, 4));
    match place.kind {
        Kind::Superblock => {
            // What shapes the filesystem is worth more than names and times.
            let shape = [0, 4, 8, 0xC, 0x10, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x4C, 0x54, 0x5C, 0x60, 0x64];
            let later = [0xE0, 0xE8, 0x104, 0x150, 0x154, 0x158, 0x160, 0x248, 0x24C, 0x250, 0x270, 0x280];
            let short = [0x3A, 0x3C, 0x58, 0x5A, 0xCE, 0xFE, 0x15C, 0x15E].map(|at| (at, 2));
            let bytes = [0xFC, 0x174, 0x175].map(|at| (at, 1));
            let all = shape.into_iter().chain(later).map(|at| (at, 4)).chain(short).chain(bytes).collect::<Vec<_>>();
            [&all[..], &all, &words(0..0x290).collect::<Vec<_>>()].concat()
        }
        Kind::Descriptor(_) => place.fields.clone().step_by(2).map(|at| (at, 2)).chain(words(0..12)).collect(),
        Kind::Inode(_) => words(place.fields.clone()).chain([(0, 2), (0x1A, 2), (0x28, 2), (0x2C, 2)]).collect(),
        _ => words(place.fields.clone()).collect(),
    }
}

/// Headers and entries of both copies: one alone, or both alike.
fn gpt(len: usize) -> Vec<Field> {
    let (first, last) = (SECTOR, len - SECTOR);
    let arrays = [2 * SECTOR, last - 32 * SECTOR];
    let mut fields = Vec::new();
    for header in [first, last] {
        for (at, len) in
            [(8, 4), (12, 4), (20, 4), (24, 8), (32, 8), (40, 8), (48, 8), (56, 8), (72, 8), (80, 4), (84, 4)]
        {
            fields.push(Field { at: header + at, len, big_endian: false, cover: Cover::Gpt(vec![header]) });
        }
    }
    for (array, header) in arrays.into_iter().zip([first, last]) {
        for entry in [0, 1, ENTRIES - 2] {
            for at in [0, 16, 32, 40, 48, 56] {
                let at = array + entry * 128 + at;
                // Twice: the other copy stays as it is, and its header leads nowhere new.
                fields.push(Field { at, len: 8, big_endian: false, cover: Cover::Gpt(vec![header]) });
            }
        }
    }
    fields
}

/// The four entries of the MBR, and two of each record of the chain.
fn mbr(bytes: &[u8]) -> Vec<Field> {
    let mut records = vec![(0, 4)];
    let extended = (0..4).map(|slot| 446 + slot * 16).find(|at| bytes[at + 4] == 5);
    if let Some(at) = extended {
        let first = le32(bytes, at + 8) as usize;
        let (mut record, mut next) = (first, first);
        while next != 0 {
            records.push((record * SECTOR, 2));
            next = le32(bytes, record * SECTOR + 446 + 16 + 8) as usize;
            record = first + next;
        }
        assert_eq!(records.len(), 3);
    }
    let mut fields = Vec::new();
    for (record, slots) in records {
        for entry in (0..slots).map(|slot| record + 446 + slot * 16) {
            fields.extend([(0, 1), (4, 1), (8, 4), (12, 4)].map(|(at, len)| Field::plain(entry + at, len)));
        }
        fields.push(Field::plain(record + 510, 2));
    }
    fields
}

/// The header, and the first entries of the tables that it leads to.
fn qcow2(bytes: &[u8]) -> Vec<Field> {
    let mut fields: Vec<(usize, usize)> = (4..112).step_by(4).map(|at| (at, 4)).collect();
    fields.extend([8, 24, 40, 48, 64, 72, 80, 88].map(|at| (at, 8)));
    let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()) as usize & 0xFF_FFFF_FFFF_FE00;
    let (l1, refcounts) = (word(40), word(48));
    for table in [l1, word(l1), refcounts, word(refcounts)] {
        fields.extend((0..8).map(|entry| (table + entry * 8, 8)));
    }
    fields.into_iter().map(|(at, len)| Field { big_endian: true, ..Field::plain(at, len) }).collect()
}
