//! What is worth spoiling of a FAT filesystem.

use super::Field;

/// Byte offset and length of the boot sector's fields, those of FAT12 and FAT16 and those of FAT32.
const BOOT: &[(usize, usize)] = &[
    (0, 1),
    (11, 2),
    (13, 1),
    (14, 2),
    (16, 1),
    (17, 2),
    (19, 2),
    (21, 1),
    (22, 2),
    (24, 2),
    (26, 2),
    (28, 4),
    (32, 4),
    (36, 4),
    (38, 1),
    (40, 2),
    (42, 2),
    (44, 4),
    (48, 2),
    (50, 2),
    (54, 4),
    (66, 1),
    (82, 4),
    (510, 2),
];
/// Entries of a table, from its first.
const ENTRIES: usize = 40;
/// Directory entries of one directory.
const NAMES: usize = 12;
/// Byte offset and length of a directory entry's fields.
const ENTRY: &[(usize, usize)] =
    &[(0, 1), (0, 4), (8, 1), (11, 1), (13, 1), (14, 2), (16, 2), (20, 2), (22, 2), (24, 2), (26, 2), (28, 4)];

/// The fields of each structure of the filesystem in `bytes`, which begins at byte `start` of its image.
pub fn fields(bytes: &[u8], start: usize) -> Vec<Vec<Field>> {
    let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let long = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let sector = word(11);
    let is_32 = word(22) == 0;
    let table_len = if is_32 { long(36) } else { word(22) } * sector;
    let tables: Vec<usize> = (0..usize::from(bytes[16])).map(|copy| word(14) * sector + copy * table_len).collect();
    let data = word(14) * sector + tables.len() * table_len + (word(17) * 32).div_ceil(sector) * sector;
    let cluster_len = usize::from(bytes[13]) * sector;
    let cluster = |number: usize| data + (number - 2) * cluster_len;
    let root = if is_32 { cluster(long(44)) } else { word(14) * sector + tables.len() * table_len };

    let field = |(at, len): (usize, usize)| Field::plain(start + at, len);
    let boot: Vec<Field> = BOOT.iter().copied().map(field).collect();
    // Twice: nothing else shapes so much.
    let mut structures = vec![boot.clone(), boot];
    for table in tables {
        let entries = (0..ENTRIES).flat_map(|entry| [(table + entry * 2, 2), (table + entry * 4, 4)]);
        structures.push(entries.map(field).collect());
    }
    let mut directories = vec![root];
    let mut next = 0;
    while next < directories.len() && directories.len() < 6 {
        let entries = (0..NAMES).map(|entry| directories[next] + entry * 32);
        let below: Vec<usize> = entries
            // A directory that is neither `.` nor `..`.
            .filter(|at| bytes[at + 11] == 0x10 && !matches!(bytes[*at], 0 | b'.' | 0xE5))
            .map(|at| word(at + 26) | word(at + 20) << 16)
            .filter(|number| *number >= 2)
            .map(cluster)
            .collect();
        directories.extend(below);
        next += 1;
    }
    for directory in directories {
        let entries = (0..NAMES).map(|entry| directory + entry * 32);
        let entries = entries.flat_map(|at| ENTRY.iter().map(move |(offset, len)| (at + offset, *len)));
        structures.push(entries.map(field).collect());
    }
    if is_32 {
        let info = word(48) * sector;
        structures.push([0, 484, 488, 492, 508].map(|at| field((info + at, 4))).into());
    }
    structures
}
