//! Volumes with damage in the boot sector, the tables and the directories: whatever is done with them ends, in bounded
//! memory, without a panic, and what fails changes nothing.

use crate::common::{Dice, MIB, NOW, long, mkfs_fat, open, parts};
use nomount_block::{Memory, ReadAt};
use nomount_fat::{Attrs, Filesystem, View};
use nomount_kit::require;
use std::collections::HashSet;
use std::time::{Duration, Instant};

const MUTANTS: usize = 2000;
const LONG_MUTANTS: usize = 30_000;

/// A volume with something of everything, and where its boot sector, table, and directories are.
fn filled(args: &str, len: u64) -> (Memory, Vec<(usize, usize)>) {
    let mut fs = open(mkfs_fat(args, len));
    for path in ["/EFI", "/EFI/boot directory", "/EFI/boot directory/deeper"] {
        fs.create_dir(&parts(path), Attrs::default()).unwrap();
    }
    for number in 0..60 {
        let path = format!("/EFI/file number {number} of many.conf");
        fs.create_file(&parts(&path), Attrs::default()).unwrap();
        fs.append(&parts(&path), &vec![number as u8; number * 100]).unwrap();
    }
    fs.commit().unwrap();
    let volume = fs.into_device();
    let bytes = volume.bytes();
    let field = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (sector, table) = (field(11), field(14) * field(11));
    let entries: Vec<usize> = (0..bytes.len())
        .step_by(sector)
        .filter(|at| {
            let bytes = &bytes[*at..*at + sector];
            bytes.starts_with(b".          ")
                || bytes.starts_with(b"EFI        ")
                || bytes.windows(3).any(|w| w == b"~1C")
        })
        .collect();
    let mut places = vec![(0, 90), (0, 40), (table, 200), (table, 40)];
    places.extend(entries.into_iter().map(|at| (at, sector)));
    (volume, places)
}

/// Everything that can be asked of a filesystem, through to its end.
fn exercise<D: ReadAt>(fs: &Filesystem<D>) -> Option<(usize, Vec<String>)> {
    let mut pending: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
    let (mut seen, mut files) = (HashSet::new(), Vec::new());
    let mut buf = vec![0; 5000];
    let _ = fs.info();
    while let Some(path) = pending.pop() {
        let names: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        let Ok(stat) = fs.stat(&names) else { continue };
        let _ = fs.spelling(&names);
        if stat.is_dir {
            // As whoever walks a tree does: no directory twice.
            if path.len() > 20 || !seen.insert(stat.number) {
                continue;
            }
            for entry in fs.entries(&names).into_iter().flatten() {
                pending.push(path.iter().cloned().chain([entry.name]).collect());
            }
        } else {
            for offset in [0, stat.size / 2, stat.size.saturating_sub(1)] {
                let _ = fs.read_at(&names, offset, &mut buf);
            }
            if names.iter().all(|name| name.is_ascii()) {
                let text: Vec<&str> = names.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
                files.push(format!("/{}", text.join("/")));
            }
        }
    }
    Some((seen.len(), files))
}

fn change(volume: Memory, files: &[String]) {
    let Ok(mut fs) = Filesystem::open_for_write(volume, NOW) else { return };
    let _ = fs.create_dir(&parts("/EFI/a new directory"), Attrs::default());
    let _ = fs.create_file(&parts("/EFI/a new directory/f"), Attrs::default());
    let _ = fs.append(&parts("/EFI/a new directory/f"), &[1; 3000]);
    let mark = fs.savepoint();
    for file in files.iter().take(8) {
        let _ = fs.write_at(&parts(file), 100, b"over");
        let _ = fs.truncate(&parts(file), 10);
        let _ = fs.rename(&parts(file), &parts("/EFI/another name of it"));
        let _ = fs.unlink(&parts("/EFI/another name of it"));
    }
    let _ = fs.remove_tree(&parts("/EFI"));
    fs.rollback(mark);
    let _ = fs.set_label(b"LABEL");
    let _ = fs.commit();
}

#[test]
fn damage_is_survived() {
    if !require(&["mkfs.fat"]) {
        return;
    }
    let start = Instant::now();
    let subjects =
        [("-F 12 -s 1", MIB), ("-F 16 -s 1", 3 * MIB), ("-F 32 -s 1", MIB)].map(|(args, len)| filled(args, len));
    let mut dice = Dice(20);
    let (mut opened, mut slowest) = (0, Duration::ZERO);
    for number in 0..if long() { LONG_MUTANTS } else { MUTANTS } {
        let (volume, places) = &subjects[number % subjects.len()];
        let mut bytes = volume.bytes().to_vec();
        for _ in 0..=dice.below(4) {
            let (at, len) = *dice.pick(places);
            let at = at + dice.below(len);
            bytes[at] = match dice.below(4) {
                0 => bytes[at] ^ 1 << dice.below(8),
                1 => *dice.pick(&[0, 1, 2, 3, 0x0f, 0x10, 0x20, 0x40, 0x7f, 0x80, 0xe5, 0xf7, 0xf8, 0xff]),
                2 => bytes[at].wrapping_add(1),
                _ => dice.below(256) as u8,
            };
        }
        let volume = Memory::new(bytes);
        let begin = Instant::now();
        let Ok(fs) = Filesystem::open(&volume, NOW) else { continue };
        opened += 1;
        let Some((_, files)) = exercise(&fs) else { continue };
        // The second reader is only shown what the first has gone through.
        if let Ok(view) = View::open(&volume)
            && let Ok(Some(dir)) = view.dir(&parts("/EFI"))
        {
            let names: Vec<Vec<u8>> = dir.names().map(<[u8]>::to_vec).collect();
            let mut buf = vec![0; 5000];
            for name in names {
                let _ = dir.read_at(&name, 0, &mut buf);
            }
        }
        change(volume, &files);
        slowest = slowest.max(begin.elapsed());
    }
    eprintln!("{opened} opened, the slowest took {slowest:?}, all {:?}", start.elapsed());
    assert!(opened > MUTANTS / 4 && slowest < Duration::from_secs(5), "{opened} {slowest:?}");
}
