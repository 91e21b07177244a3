//! Filesystems to work on, and their judges.

use nomount_block::{Memory, ReadAt};
use nomount_fat::{Filesystem, OpenOptions, Time, View};
use nomount_kit::{scratch, tool};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

pub const MIB: u64 = 1 << 20;
/// 2024-02-29 13:14:15.
pub const NOW: OpenOptions = OpenOptions { now: Time { sec: 1_709_212_455, nsec: 0 } };

/// Files and directories by path; contents of files.
pub type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// What `mkfs.fat` makes with these arguments.
pub fn mkfs_fat(args: &str, len: u64) -> Memory {
    let folder = scratch::folder();
    let path = folder.path().join("volume");
    std::fs::File::create(&path).unwrap().set_len(len).unwrap();
    let args = args.split(' ').filter(|arg| !arg.is_empty());
    let done = Command::new("mkfs.fat").arg("--invariant").args(args).arg(&path).output().unwrap();
    assert!(done.status.success(), "{}", tool::text(&done));
    Memory::new(std::fs::read(&path).unwrap())
}

/// fsck.fat finds nothing, not even something to remark.
pub fn silent(path: &Path, what: &str) {
    let done = Command::new("fsck.fat").args(["-n", "-v"]).arg(path).output().unwrap();
    let said = tool::text(&done);
    let remarks = ["differ", "unlabeled", "Free cluster", "wrong", "label", "Automatic", "probably", "Dirty"];
    let clean = done.status.success() && !remarks.iter().any(|remark| said.contains(remark));
    assert!(clean, "{what}: {said}");
}

/// fsck.fat is silent about a volume in memory.
pub fn judge(volume: &Memory, what: &str) {
    let folder = scratch::folder();
    let path = folder.path().join("volume");
    std::fs::write(&path, volume.bytes()).unwrap();
    silent(&path, what);
}

/// The components of a path.
pub fn parts(path: &str) -> Vec<&[u8]> {
    path.split('/').filter(|name| !name.is_empty()).map(str::as_bytes).collect()
}

pub fn open(volume: Memory) -> Filesystem<Memory> {
    Filesystem::open_for_write(volume, NOW).unwrap()
}

/// All that is in a filesystem.
pub fn read_all<D: ReadAt>(fs: &Filesystem<D>) -> Tree {
    let mut tree = Tree::new();
    let mut pending = vec![String::new()];
    while let Some(dir) = pending.pop() {
        for entry in fs.entries(&parts(&dir)).unwrap() {
            let path = format!("{dir}/{}", String::from_utf8(entry.name).unwrap());
            if entry.is_dir {
                pending.push(path.clone());
                tree.insert(path, None);
            } else {
                let mut bytes = vec![0; fs.stat(&parts(&path)).unwrap().size as usize];
                assert_eq!(fs.read_at(&parts(&path), 0, &mut bytes).unwrap(), bytes.len());
                tree.insert(path, Some(bytes));
            }
        }
    }
    tree
}

/// All that is in a filesystem, as `fatfs` reads it.
pub fn view_all(volume: &Memory) -> Tree {
    let view = View::open(volume).unwrap();
    let mut tree = Tree::new();
    let mut pending = vec![String::new()];
    while let Some(at) = pending.pop() {
        let dir = view.dir(&parts(&at)).unwrap().unwrap();
        for name in dir.names() {
            let path = format!("{at}/{}", std::str::from_utf8(name).unwrap());
            let seen = dir.get(name).unwrap();
            if seen.is_dir {
                pending.push(path.clone());
                tree.insert(path, None);
            } else {
                let mut bytes = vec![0; seen.size as usize];
                assert_eq!(dir.read_at(name, 0, &mut bytes).unwrap(), bytes.len());
                tree.insert(path, Some(bytes));
            }
        }
    }
    tree
}

/// All that `mcopy` copies out of a filesystem, which is not empty.
pub fn mcopy_all(volume: &Memory) -> Tree {
    let folder = scratch::folder();
    let (image, out) = (folder.path().join("volume"), folder.path().join("out"));
    std::fs::write(&image, volume.bytes()).unwrap();
    std::fs::create_dir(&out).unwrap();
    let copy = Command::new("mcopy")
        .env("LC_ALL", "C.UTF-8")
        // It refuses a volume of which the last cluster follows another than the one before it.
        .env("MTOOLS_SKIP_CHECK", "1")
        .args(["-s", "-n", "-Q", "-i"])
        .arg(&image)
        .args(["::*"])
        .arg(&out)
        .output()
        .unwrap();
    assert!(copy.status.success(), "{}", tool::text(&copy));
    let mut tree = Tree::new();
    let mut pending = vec![(out, String::new())];
    while let Some((at, name)) = pending.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{name}/{}", entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                pending.push((entry.path(), path.clone()));
                tree.insert(path, None);
            } else {
                tree.insert(path, Some(std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    tree
}

/// Numbers that look random and are the same every time.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

pub fn long() -> bool {
    std::env::var_os("NOMOUNT_LONG").is_some()
}
