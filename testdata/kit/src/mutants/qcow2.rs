//! What is worth spoiling of a qcow2 image.

use super::Field;

/// The offset in an entry of a table.
const OFFSET: u64 = 0x00FF_FFFF_FFFF_FE00;
/// Entries of a table, from its first.
const ENTRIES: usize = 24;

/// The header with its extensions, and the first entries of the tables that it leads to.
pub fn fields(bytes: &[u8]) -> Vec<Vec<Field>> {
    let words = (0..112).step_by(4).map(|at| (at, 4));
    let longs = [8, 24, 40, 48, 64, 72, 80, 88].map(|at| (at, 8));
    let header: Vec<(usize, usize)> = words.chain(longs).chain([(104, 1)]).collect();
    let extensions: Vec<(usize, usize)> = (104..160).step_by(4).map(|at| (at, 4)).collect();
    let word = |at: usize| {
        let entry = u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        (entry & OFFSET) as usize
    };
    let (l1, refcounts) = (word(40), word(48));
    let table = |at: usize| (0..ENTRIES).map(|entry| (at + entry * 8, 8)).collect::<Vec<_>>();
    let counts = |at: usize| (0..ENTRIES).map(|entry| (at + entry * 2, 2)).collect::<Vec<_>>();
    // The first table that is there: a disk may begin with a hole.
    let l2 = (0..ENTRIES).map(|entry| word(l1 + entry * 8)).find(|at| *at != 0);
    let tables = [Some(table(l1)), l2.map(table), Some(table(refcounts)), Some(counts(word(refcounts)))];
    let structures = [header.clone(), header, extensions].into_iter().chain(tables.into_iter().flatten());
    let inside = |(at, len): &(usize, usize)| at + len <= bytes.len();
    let field = |(at, len)| Field { big_endian: true, ..Field::plain(at, len) };
    structures.map(|list| list.into_iter().filter(inside).map(field).collect()).collect()
}
