//! Headers spoiled field by field, from a fixed seed.

use crate::images::{Base, Case};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SEED: u64 = 0x5afe;
/// Random values that each field gets.
const RANDOM: usize = 3;

/// Where the fields of the bases are that begin with a name: offset and length.
const FIELDS: &[(&str, &[(usize, usize)])] = &[
    (
        "qcow2",
        &[
            (0, 4),
            (4, 4),
            (8, 8),
            (16, 4),
            (20, 4),
            (24, 8),
            (32, 4),
            (36, 4),
            (48, 8),
            (60, 4),
            (72, 8),
            (79, 1),
            (96, 4),
            (100, 4),
            (104, 1),
        ],
    ),
    ("qed", &[(0, 4), (4, 4), (16, 8)]),
    (
        "vmdk-s",
        &[
            (0, 4),
            (4, 4),
            (8, 4),
            (12, 8),
            (20, 8),
            (28, 8),
            (36, 8),
            (44, 4),
            (48, 8),
            (56, 8),
            (64, 8),
            (512, 1),
            (530, 4),
            (560, 2),
            (600, 1),
            (640, 1),
            (680, 3),
        ],
    ),
    ("vhd-", &[(0, 8), (510, 2)]),
    ("vhd", &[(0, 8), (8, 4), (12, 4), (16, 8), (40, 8), (48, 8), (60, 4), (64, 4)]),
    ("vdi", &[(0, 8), (0x40, 4), (0x44, 4), (0x48, 4), (0x4c, 4), (0x170, 8), (0x188, 16)]),
    (
        "luks",
        &[
            (0, 6),
            (6, 2),
            (8, 8),
            (40, 8),
            (72, 8),
            (104, 4),
            (108, 4),
            (164, 4),
            (208, 4),
            (212, 4),
            (256, 4),
            (260, 4),
        ],
    ),
    ("iso", &[(32768, 1), (32769, 5), (32774, 1), (32848, 8), (32896, 4), (34817, 5)]),
    ("gpt", TABLE),
    ("mbr", TABLE),
    ("signature", TABLE),
    ("fat", TABLE),
    ("guest.raw", TABLE),
];

/// The four entries of sector 0, its signature, and what tells a FAT.
const TABLE: &[(usize, usize)] = &[
    (0x10, 1),
    (0x15, 1),
    (446, 1),
    (447, 3),
    (450, 1),
    (454, 4),
    (458, 4),
    (462, 1),
    (463, 3),
    (466, 1),
    (470, 4),
    (478, 1),
    (482, 1),
    (494, 1),
    (498, 1),
    (510, 2),
];

/// Where a vhdx has its tables: the signature, the length, entries; of the regions, then of the metadata.
fn of_vhdx(base: &Base) -> Vec<(usize, usize)> {
    let metadata = base.bytes().windows(8).position(|bytes| bytes == b"metadata").expect("a metadata table");
    let regions = 192 << 10;
    let mut fields = vec![(0, 8), (regions, 4), (regions + 4, 4), (regions + 8, 4), (metadata, 8), (metadata + 10, 2)];
    for entry in 0..2 {
        let at = regions + 16 + 32 * entry;
        fields.extend([(at, 16), (at + 16, 8), (at + 24, 4), (at + 28, 4)]);
    }
    for entry in 0..5 {
        let at = metadata + 32 + 32 * entry;
        fields.extend([(at, 16), (at + 16, 4), (at + 20, 4), (at + 24, 4)]);
    }
    fields
}

/// A base with each of its fields spoiled in turn, and some two at once.
pub fn cases(base: &Base) -> Vec<Case<'_>> {
    let fields = match FIELDS.iter().find(|(name, _)| base.name.starts_with(name)) {
        _ if base.name == "vhdx" => of_vhdx(base),
        Some((_, fields)) => fields.to_vec(),
        None => return Vec::new(),
    };
    let fields: Vec<(usize, usize)> = fields.into_iter().filter(|(at, len)| at + len <= base.bytes().len()).collect();
    let name_seed = base.name.bytes().fold(SEED, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut rng = StdRng::seed_from_u64(name_seed);
    let mut cases = Vec::new();
    for (at, len) in &fields {
        for value in values(&base.bytes()[*at..at + len], &mut rng) {
            cases.push(base.edited(&format!("{at:#x} as {value:02x?}"), vec![(*at, value)]));
        }
    }
    for _ in 0..fields.len() {
        let edits: Vec<(usize, Vec<u8>)> = (0..2)
            .map(|_| {
                let (at, len) = fields[rng.random_range(0..fields.len())];
                let values = values(&base.bytes()[at..at + len], &mut rng);
                (at, values[rng.random_range(0..values.len())].clone())
            })
            .collect();
        cases.push(base.edited(&format!("{edits:02x?}"), edits));
    }
    cases
}

/// Zero, the largest, one in either order, a bit more or less, and random ones.
fn values(old: &[u8], rng: &mut StdRng) -> Vec<Vec<u8>> {
    let len = old.len();
    let one_at = |at: usize| {
        let mut value = vec![0; len];
        value[at] = 1;
        value
    };
    let mut flipped = old.to_vec();
    flipped[rng.random_range(0..len)] ^= 1 << rng.random_range(0..8);
    let mut values = vec![vec![0; len], vec![0xff; len], one_at(0), one_at(len - 1), flipped];
    values.extend((0..RANDOM).map(|_| (0..len).map(|_| rng.random()).collect()));
    values.retain(|value| value != old);
    values
}
