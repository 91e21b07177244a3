//! What is worth spoiling of partition tables.

use super::{Cover, Field};

const SECTOR: usize = 512;
/// Bytes of the entries of a GPT, and of one.
const ARRAY: usize = 128 * ENTRY;
const ENTRY: usize = 128;
/// Entries that are looked at.
const ENTRIES: [usize; 4] = [0, 1, 2, 13];
/// The most entries over which a checksum is made; headers that tell of more have a wrong one anyhow.
const MAX_SEALED: usize = 4096;

fn le32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

/// Headers and entries of both copies of the GPT on a disk of `len` bytes.
pub fn gpt(len: usize) -> Vec<Vec<Field>> {
    let (first, last) = (SECTOR, len - SECTOR);
    let header =
        [(0, 8), (8, 4), (12, 4), (20, 4), (24, 8), (32, 8), (40, 8), (48, 8), (56, 8), (72, 8), (80, 4), (84, 4)];
    let entry = [(0, 8), (16, 8), (32, 8), (40, 8), (48, 8), (56, 8)];
    let mut structures = Vec::new();
    for (at, array) in [(first, 2 * SECTOR), (last, last - ARRAY)] {
        let covered = |(offset, len): (usize, usize)| Field { cover: Cover::Gpt(at), ..Field::plain(offset, len) };
        structures.push(header.iter().map(|(offset, len)| covered((at + offset, *len))).collect());
        let entries = ENTRIES.map(|number| array + number * ENTRY);
        let entries = entries.iter().flat_map(|at| entry.iter().map(move |(offset, len)| (at + offset, *len)));
        structures.push(entries.map(covered).collect());
    }
    structures
}

/// Makes both checksums of a GPT header right, if its entries can be found.
pub fn seal(bytes: &mut [u8], header: usize) {
    if header + SECTOR > bytes.len() {
        return;
    }
    let word = |bytes: &[u8], at: usize| le32(bytes, header + at);
    let (lba, count, size) = (word(bytes, 72), word(bytes, 80), word(bytes, 84));
    let array = lba.saturating_mul(SECTOR);
    let end = array.saturating_add(count.saturating_mul(size));
    if count < MAX_SEALED && end <= bytes.len() {
        let crc = crc32(&bytes[array..end]);
        bytes[header + 88..header + 92].copy_from_slice(&crc.to_le_bytes());
    }
    let len = word(bytes, 12).clamp(24, SECTOR);
    bytes[header + 16..header + 20].fill(0);
    let crc = crc32(&bytes[header..header + len]);
    bytes[header + 16..header + 20].copy_from_slice(&crc.to_le_bytes());
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 != 0 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

/// The four entries of the MBR, and two of each record of the chain of logical partitions.
pub fn mbr(bytes: &[u8]) -> Vec<Vec<Field>> {
    let mut records = vec![(0, 4)];
    let extended = (0..4).map(|slot| 446 + slot * 16).find(|at| matches!(bytes[at + 4], 5 | 15));
    if let Some(at) = extended {
        let first = le32(bytes, at + 8);
        let mut record = first;
        loop {
            records.push((record * SECTOR, 2));
            match le32(bytes, record * SECTOR + 446 + 16 + 8) {
                0 => break,
                next => record = first + next,
            }
        }
    }
    let list = |(record, slots): (usize, usize)| {
        let entries = (0..slots).map(move |slot| record + 446 + slot * 16);
        let fields = entries.flat_map(|at| [(0, 1), (4, 1), (8, 4), (12, 4)].map(|(offset, len)| (at + offset, len)));
        fields.chain([(record + 510, 2)]).map(|(at, len)| Field::plain(at, len)).collect()
    };
    records.into_iter().map(list).collect()
}
