//! FAT volumes: walked, read, changed, committed, and read again by both readers. The input: which volume, changes of
//! its bytes, and operations.

use crate::input::{Input, dice};
use nomount_block::{Memory, ReadAt};
use nomount_fat::{Attrs, Filesystem, Kind, OpenOptions, Options, Time, View, mkfs};
use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

/// 2024-02-29 13:14:15.
const NOW: OpenOptions = OpenOptions { now: Time { sec: 1_709_212_455, nsec: 0 } };
/// Operations; of more nothing new comes.
const MAX_OPERATIONS: usize = 24;
/// Directories inside each other that are gone into.
const MAX_DEPTH: usize = 12;
/// Bytes of a file that are looked at.
const MAX_READ: u64 = 64 << 10;

/// Names that collide in one way or the other.
const NAMES: [&str; 14] = [
    "a",
    "A",
    "README.TXT",
    "Read Me.text",
    "grün",
    "GRÜN",
    "漢字漢字漢字漢字漢字",
    "a name of more than one entry.conf",
    "thirteen char",
    ".hidden",
    "a.b.c.d",
    "EFI",
    "+,;=[]",
    "12345678.123",
];

type Names = Vec<Vec<u8>>;
/// What is where; contents of files.
type Found = BTreeMap<Names, Option<Vec<u8>>>;

fn names(path: &Names) -> Vec<&[u8]> {
    path.iter().map(Vec::as_slice).collect()
}

fn path(text: &str) -> Names {
    text.split('/').map(|name| name.as_bytes().to_vec()).collect()
}

/// Files of several clusters, and names of several entries.
fn fill(volume: Memory) -> Memory {
    let mut fs = Filesystem::open_for_write(volume, NOW).expect("it was just made");
    for dir in ["EFI", "EFI/boot directory"] {
        fs.create_dir(&names(&path(dir)), Attrs::default()).expect("room for a directory");
    }
    for number in 0..12 {
        let file = path(&format!("EFI/file number {number}.conf"));
        fs.create_file(&names(&file), Attrs::default()).expect("room for a file");
        fs.append(&names(&file), &vec![number; usize::from(number) * 150]).expect("room for its contents");
    }
    fs.commit().expect("memory takes it");
    fs.into_device()
}

fn made(kind: Kind, len: usize) -> Memory {
    let mut volume = Memory::zeroed(len);
    mkfs(&mut volume, &Options { kind: Some(kind), ..Options::default() }).expect("room for a filesystem");
    volume
}

/// A FAT32 with fewer clusters than it should have: the smallest that should takes 33 MiB, which no run can copy.
fn small_fat32() -> Memory {
    const RESERVED: usize = 32 * 512;
    const FAT: usize = 4 * 512;
    const SECTORS: u32 = 400;
    let large = made(Kind::Fat32, 36 << 20).into_bytes();
    let mut bytes = large[..RESERVED].to_vec();
    for boot in [0, 6 * 512] {
        bytes[boot + 32..boot + 36].copy_from_slice(&SECTORS.to_le_bytes());
        bytes[boot + 36..boot + 40].copy_from_slice(&(FAT as u32 / 512).to_le_bytes());
    }
    let cluster = usize::from(large[13]) * 512;
    let clusters = (SECTORS as usize * 512 - RESERVED - 2 * FAT) / cluster;
    bytes[512 + 488..512 + 492].copy_from_slice(&(clusters as u32 - 1).to_le_bytes());
    for _ in 0..2 {
        bytes.extend_from_slice(&large[RESERVED..RESERVED + FAT]);
    }
    bytes.resize(SECTORS as usize * 512, 0);
    Memory::new(bytes)
}

static VOLUMES: LazyLock<[Memory; 3]> =
    LazyLock::new(|| [made(Kind::Fat12, 160 << 10), made(Kind::Fat16, 2400 << 10), small_fat32()].map(fill));

/// Changes bytes where a volume keeps what it knows of itself.
fn patch(bytes: &mut [u8], input: &mut Input<'_>) {
    let field = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let reserved = field(14) * 512;
    let fat = if field(22) > 0 { field(22) } else { field(36) } * 512;
    let data = reserved + usize::from(bytes[16]) * fat;
    let place = match input.byte() % 6 {
        0 => 11 + input.below(80) as usize,
        1 | 2 => reserved + input.below(128) as usize,
        // Directories are at the front of the data.
        3 | 4 => data + input.below(24 << 10) as usize,
        _ => 512 + input.below(512) as usize,
    };
    let value = input.odd_number(2).to_le_bytes();
    let len = input.pick(&[1, 2, 4]);
    if let Some(place) = bytes.get_mut(place..place + len) {
        place.copy_from_slice(&value[..len]);
    }
}

/// All that is there, each directory once; what cannot be read is left out.
fn walk<D: ReadAt>(fs: &Filesystem<D>) -> Found {
    let mut found = Found::new();
    let mut met = HashSet::new();
    let mut pending = vec![Names::new()];
    let _ = fs.info();
    while let Some(path) = pending.pop() {
        let Ok(stat) = fs.stat(&names(&path)) else { continue };
        let _ = fs.spelling(&names(&path));
        if !stat.is_dir {
            let mut bytes = vec![0; stat.size.min(MAX_READ) as usize];
            if let Ok(read) = fs.read_at(&names(&path), 0, &mut bytes) {
                assert_eq!(read, bytes.len(), "a file is shorter than it says");
                found.insert(path, Some(bytes));
            }
            continue;
        }
        if path.len() > MAX_DEPTH || !met.insert(stat.number) {
            continue;
        }
        for entry in fs.entries(&names(&path)).into_iter().flatten() {
            pending.push(path.iter().cloned().chain([entry.name]).collect());
        }
        found.insert(path, None);
    }
    found
}

/// The same as the second reader sees it; none where it takes the volume for none.
fn view(volume: &Memory) -> Option<Found> {
    let view = View::open(volume).ok()?;
    let mut found = Found::new();
    let mut pending = vec![Names::new()];
    while let Some(path) = pending.pop() {
        let Ok(Some(dir)) = view.dir(&names(&path)) else { continue };
        for name in dir.names() {
            let below: Names = path.iter().cloned().chain([name.to_vec()]).collect();
            let Some(seen) = dir.get(name) else { continue };
            if seen.is_dir && below.len() <= MAX_DEPTH {
                pending.push(below);
            } else if !seen.is_dir {
                let mut bytes = vec![0; seen.size.min(MAX_READ) as usize];
                if dir.read_at(name, 0, &mut bytes).is_ok() {
                    found.insert(below, Some(bytes));
                }
            }
        }
        found.insert(path, None);
    }
    Some(found)
}

fn any_path(input: &mut Input<'_>) -> Names {
    let mut path = match input.byte() % 4 {
        0 => Vec::new(),
        1 => vec![b"EFI".to_vec()],
        2 => vec![b"EFI".to_vec(), b"boot directory".to_vec()],
        _ => vec![b"efi".to_vec(), input.pick(&NAMES).into()],
    };
    match input.byte() % 8 {
        0 => {}
        1 | 2 => path.push(format!("file number {}.conf", input.byte() % 12).into_bytes()),
        3 => path.push(input.bytes(3).to_vec()),
        _ => path.push(input.pick(&NAMES).into()),
    }
    path
}

/// One operation. What fails changes nothing; what was written reads back.
fn step(fs: &mut Filesystem<Memory>, input: &mut Input<'_>, sound: bool) {
    let before = sound.then(|| walk(fs));
    let to = any_path(input);
    let place = names(&to);
    let offset = if input.flag() { input.below(20_000) } else { input.byte().into() };
    let data = vec![input.byte(); input.below(3000) as usize];
    let result = match input.byte() % 11 {
        0 => fs.create_dir(&place, Attrs::default()),
        1 | 2 => fs.create_file(&place, Attrs::default()),
        3 => fs.write_at(&place, offset, &data),
        4 => fs.append(&place, &data),
        5 => fs.write_contents(&place, &data),
        6 => fs.truncate(&place, offset),
        7 => fs.unlink(&place),
        8 => fs.rmdir(&place),
        9 => fs.rename(&names(&any_path(input)), &place),
        _ => match input.byte() % 3 {
            0 => fs.remove_tree(&place).map(drop),
            1 => fs.set_label(input.bytes(12)),
            _ => {
                let mark = fs.savepoint();
                let _ = fs.remove_tree(&names(&path("EFI")));
                fs.rollback(mark);
                if let Some(before) = &before {
                    assert_eq!(&walk(fs), before, "what was taken back is not as it was");
                }
                Ok(())
            }
        },
    };
    if let (Err(error), Some(before)) = (result, before) {
        assert_eq!(walk(fs), before, "a failed operation changed something: {error}");
    }
}

pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let which = usize::from(input.byte()) % VOLUMES.len();
    let patches = input.byte() % 6;
    let mut bytes = VOLUMES[which].bytes().to_vec();
    for _ in 0..patches {
        patch(&mut bytes, &mut input);
    }
    let volume = Memory::new(bytes);
    let Ok(fs) = Filesystem::open(&volume, NOW) else { return };
    let first = walk(&fs);
    drop(fs);
    let sound = patches == 0;
    if let Some(seen) = view(&volume) {
        assert!(!sound || seen == first, "the readers disagree");
    }
    let mut fs = Filesystem::open_for_write(volume, NOW).expect("it was opened for reading");
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        step(&mut fs, &mut input, sound);
    }
    let staged = walk(&fs);
    let committed = fs.commit();
    let volume = fs.into_device();
    let again = Filesystem::open(&volume, NOW).map(|fs| walk(&fs));
    let seen = view(&volume);
    if sound {
        committed.expect("memory takes it");
        assert_eq!(again.expect("it was open before"), staged, "what is committed is not what was staged");
        assert!(seen.is_none_or(|seen| seen == staged), "the readers disagree");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    (0..48).map(|seed| [&[seed as u8, (seed / 3 % 4) as u8][..], &dice(seed, 200)].concat()).collect()
}
