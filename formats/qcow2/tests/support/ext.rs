//! Images as installed systems have them: a filesystem made sparsely by mke2fs, converted by qemu-img.

use super::ok;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether mke2fs and dumpe2fs are installed; with `CI` set they must be.
pub fn e2fsprogs() -> bool {
    let there = ["mke2fs", "dumpe2fs"].iter().all(|tool| Command::new(tool).arg("-V").output().is_ok());
    assert!(there || std::env::var_os("CI").is_none(), "mke2fs and dumpe2fs are needed");
    if !there {
        println!("mke2fs or dumpe2fs is missing: nothing tested");
    }
    there
}

/// An ext4 image, and the guest offsets that a small edit of it writes: superblock, group descriptors, journal,
/// bitmaps and inode tables of the first group and of one in the middle of the disk.
pub fn image(dir: &Path, name: &str, size: u64) -> (PathBuf, Vec<u64>) {
    let raw = dir.join(format!("{name}.raw"));
    File::create(&raw).unwrap().set_len(size).unwrap();
    let text = raw.to_str().unwrap();
    ok("mke2fs", &["-q", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1", text]);
    let told = ok("dumpe2fs", &[text]);
    let blocks: u64 = told.lines().find_map(|line| line.strip_prefix("Block count:")).unwrap().trim().parse().unwrap();
    let middle = blocks / 2 / 32768 / 16 * 16;
    let mut places = vec![0, 4096, 8192, blocks / 2 / 32768 * 32768 * 4096];
    for group in [0, middle] {
        let from = told.find(&format!("\nGroup {group}:")).unwrap();
        for what in ["Block bitmap at ", "Inode bitmap at ", "Inode table at "] {
            let at = from + told[from..].find(what).unwrap() + what.len();
            let digits: String = told[at..].chars().take_while(char::is_ascii_digit).collect();
            places.push(digits.parse::<u64>().unwrap() * 4096);
        }
    }
    let path = dir.join(format!("{name}.qcow2"));
    ok("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", text, path.to_str().unwrap()]);
    std::fs::remove_file(raw).unwrap();
    (path, places)
}

/// Number, offset and epoch of the writes of a small edit: four blocks at each place, a barrier after every sixth.
pub fn edit(places: &[u64]) -> Vec<(u64, bool)> {
    let offsets = places.iter().flat_map(|place| (0..4).map(move |block| place + block * 4096));
    offsets.enumerate().map(|(number, at)| (at, number % 6 == 5)).collect()
}
