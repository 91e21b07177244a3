//! Partition tables: read, edited by every verb, written, read again. The input: which table, changes of its bytes, and
//! edits.

use crate::input::{CRC32, Input, crc, dice};
use nomount_block::{Memory, SetLen};
use nomount_ptable::{DiskId, Editor, Guid, NewPartition, Scheme, Table, TypeId, read};
use std::sync::LazyLock;

/// Room for two partitions at multiples of [`nomount_ptable::ALIGNMENT`]; each run copies it.
const DISK: usize = 3 << 20;
const SECTOR: usize = 512;
/// Edits; of more nothing new comes.
const MAX_EDITS: usize = 16;

fn new(scheme: Scheme, number: u8, start: u64) -> NewPartition {
    let type_id = match scheme {
        Scheme::Gpt => TypeId::Gpt(Guid([number + 1; 16])),
        Scheme::Mbr => TypeId::Mbr(0x83),
    };
    NewPartition { start: Some(start), len: Some(128 << 10), ..NewPartition::new(type_id, Guid([number + 1; 16])) }
}

/// A disk with three partitions; of an MBR, the last two are logical.
fn disk(scheme: Scheme, sector: u32) -> Memory {
    let mut disk = Memory::zeroed(DISK);
    let id = match scheme {
        Scheme::Gpt => DiskId::Guid(Guid([7; 16])),
        Scheme::Mbr => DiskId::Signature(7),
    };
    let mut editor = Editor::create(scheme, DISK as u64, sector, id).expect("room for a table");
    if scheme == Scheme::Mbr {
        let extended = NewPartition { type_id: TypeId::Mbr(5), len: Some(1 << 20), ..new(scheme, 1, 1 << 20) };
        editor.add(&extended).expect("room for a partition");
    }
    for number in 0..3 {
        let logical = scheme == Scheme::Mbr && number > 0;
        let start =
            if logical { (1 << 20) + u64::from(number) * (256 << 10) } else { (256 + 256 * u64::from(number)) << 10 };
        editor.add(&NewPartition { logical, ..new(scheme, number, start) }).expect("room for a partition");
    }
    editor.write(&mut disk).expect("memory takes it");
    disk
}

static DISKS: LazyLock<[Memory; 4]> =
    LazyLock::new(|| [disk(Scheme::Gpt, 512), disk(Scheme::Mbr, 512), disk(Scheme::Gpt, 4096), Memory::zeroed(DISK)]);

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    bytes[at..at + len].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

/// Makes both checksums of a GPT's header right, so that what it says is believed.
fn seal(bytes: &mut [u8], at: usize, sector: usize) {
    if bytes.get(at..at + SECTOR).is_none_or(|header| !header.starts_with(b"EFI PART")) {
        return;
    }
    let array = number(bytes, at + 72, 8).saturating_mul(sector);
    let len = number(bytes, at + 80, 4).saturating_mul(number(bytes, at + 84, 4));
    // Beyond the default length the checksum is the caller's: computed bit by bit it would take most of the time.
    if let Some(entries) = bytes.get(array..array.saturating_add(len)).filter(|_| len <= 16 << 10) {
        let sum = crc(entries, CRC32);
        bytes[at + 88..at + 92].copy_from_slice(&sum.to_le_bytes());
    }
    bytes[at + 16..at + 20].fill(0);
    let size = number(bytes, at + 12, 4).clamp(92, SECTOR);
    let sum = crc(&bytes[at..at + size], CRC32);
    bytes[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
}

/// Changes bytes where tables are.
fn patch(bytes: &mut [u8], input: &mut Input<'_>, sector: usize) {
    let last = bytes.len() - sector;
    // Where the first logical partition is described, and the next.
    let records = [1 << 20, (1 << 20) + (512 << 10) - (64 << 10), (1 << 20) + (256 << 10) + (128 << 10)];
    let place = match input.byte() % 8 {
        0 | 1 => 446 + input.below(66) as usize,
        2 => sector + input.below(92) as usize,
        3 => last + input.below(92) as usize,
        4 => 2 * sector + input.below(4 * 128) as usize,
        5 => last - (16 << 10) + input.below(4 * 128) as usize,
        6 => input.pick(&records) + 446 + input.below(66) as usize,
        _ => input.pick(&[0, 1024, 3, 440, 510, 54, 82]) + input.below(64) as usize,
    };
    let near = input.pick(&[0, 1, 34, last / sector, 2 << 11]) as u64;
    let value = input.odd_number(near).to_le_bytes();
    let len = input.pick(&[1, 4, 8]);
    bytes[place..place + len].copy_from_slice(&value[..len]);
}

fn inside(table: &Table, len: u64) {
    for partition in &table.partitions {
        assert!(partition.len > 0 && partition.end() <= len, "{partition:?} ends behind the disk");
    }
}

/// One edit. What is refused changes nothing.
fn edit(editor: &mut Editor, input: &mut Input<'_>, disk: &mut Memory) {
    let scheme = editor.table().scheme;
    let before = editor.table().clone();
    let number = input.below(8) as u32;
    let bytes =
        |input: &mut Input<'_>| if input.flag() { input.below(DISK as u64 / 512) * 512 } else { input.odd_number(0) };
    let result = match input.byte() % 9 {
        0 | 1 => {
            let start = bytes(input);
            let mut wanted = new(scheme, input.byte() % 250, start);
            wanted.start = wanted.start.filter(|_| input.flag());
            wanted.len = Some(bytes(input)).filter(|_| input.flag());
            wanted.number = Some(number).filter(|_| input.flag());
            wanted.logical = input.flag();
            if input.flag() {
                wanted.type_id = TypeId::Mbr(input.byte());
            }
            editor.add(&wanted).map(drop)
        }
        2 => editor.delete(number).map(drop),
        3 => {
            let limit = editor.grow_limit(number).ok();
            let start = before.partition(number).map_or(0, |partition| partition.start);
            let len = match limit.filter(|_| input.flag()) {
                Some(limit) => limit - start,
                None => bytes(input),
            };
            editor.resize(number, len)
        }
        4 => {
            let type_id = if input.flag() { TypeId::Mbr(input.byte()) } else { TypeId::Gpt(Guid([input.byte(); 16])) };
            editor.set_type(number, type_id)
        }
        5 => editor.set_name(number, &String::from_utf8_lossy(input.bytes(8))),
        6 => editor.set_attributes(number, input.odd_number(0)),
        7 => editor.set_bootable(number, input.flag()),
        _ => {
            let len = (DISK as u64 / 2 + input.below(DISK as u64)) / 512 * 512;
            let result = editor.set_device_len(len);
            if result.is_ok() {
                disk.set_len(len).expect("memory takes it");
            }
            result
        }
    };
    if result.is_err() {
        assert_eq!(editor.table(), &before, "a refused edit changed something");
    }
    editor.minimum_device_len();
}

pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let which = input.byte();
    let sector = if which % 4 == 2 { 4096 } else { 512 };
    let mut bytes = DISKS[usize::from(which % 4)].bytes().to_vec();
    let patches = input.byte() % 6;
    for _ in 0..patches {
        patch(&mut bytes, &mut input, sector);
    }
    if which & 4 == 0 && sector + SECTOR <= bytes.len() {
        seal(&mut bytes, sector, sector);
        let last = bytes.len() - sector;
        seal(&mut bytes, last, sector);
    }
    if which & 24 == 24 {
        bytes.truncate(input.below(DISK as u64 / 512) as usize * 512);
    }
    let sound = patches == 0 && bytes.len() == DISK;
    let mut disk = Memory::new(bytes);
    let len = disk.bytes().len() as u64;
    if let Ok(Some(table)) = read(&disk) {
        inside(&table, len);
    }
    let Ok(Some(mut editor)) = Editor::open(&disk) else { return };
    let _ = editor.repairs();
    for _ in 0..MAX_EDITS {
        if input.is_empty() {
            break;
        }
        edit(&mut editor, &mut input, &mut disk);
    }
    if editor.write(&mut disk).is_err() {
        return;
    }
    let table = read(&disk).expect("what was written can be read");
    if editor.table().scheme == Scheme::Mbr && editor.table().partitions.is_empty() {
        // Without partitions it is no table; a GPT that was there before is found again.
        return;
    }
    let table = table.expect("a table is still there");
    inside(&table, disk.bytes().len() as u64);
    assert_eq!(table.partitions, editor.table().partitions);
    let again = Editor::open(&disk).expect("what was written can be edited").expect("a table is still there");
    assert_eq!(again.table().partitions, table.partitions);
    if sound {
        assert_eq!(table.notes, [], "what was sound is odd now");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    // Some with changes of the table before the edits, some without.
    (0..48).map(|seed| [&[seed as u8, (seed / 8 % 3) as u8][..], &dice(seed, 100)].concat()).collect()
}
