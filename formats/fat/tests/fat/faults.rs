//! What `fatfs` 0.3.6 does wrong, each with what is done instead.

use crate::common::{MIB, judge, mkfs_fat, open, parts, read_all, view_all};
use nomount_block::Memory;
use nomount_fat::{Attrs, Error, Filesystem, Kind, OpenOptions, Options, View, mkfs};
use nomount_kit::require;
use std::time::{Duration, Instant};

fn made(kind: Kind, len: u64) -> Memory {
    let mut volume = Memory::zeroed(len as usize);
    mkfs(&mut volume, &Options { kind: Some(kind), ..Options::default() }).unwrap();
    volume
}

/// `create_dir` of it writes "." with a long name, which fsck.fat rejects.
#[test]
fn a_new_directory_begins_with_two_plain_entries() {
    let mut fs = open(made(Kind::Fat12, MIB));
    fs.create_dir(&parts("/sub directory"), Attrs::default()).unwrap();
    fs.create_dir(&parts("/sub directory/inner"), Attrs::default()).unwrap();
    fs.commit().unwrap();
    let volume = fs.into_device();
    let dirs: Vec<&[u8]> = volume.bytes().chunks(512).filter(|sector| sector.starts_with(b".          \x10")).collect();
    assert_eq!(dirs.len(), 2);
    assert!(dirs.iter().all(|sector| sector[32..].starts_with(b"..         \x10")));
    if require(&["fsck.fat"]) {
        judge(&volume, "two directories");
    }
}

/// It leaves the entries of a long name whose short one found no room in the root directory of FAT12 and FAT16.
#[test]
fn a_full_root_directory_stays_as_it_was() {
    for kind in [Kind::Fat12, Kind::Fat16] {
        let mut fs = open(made(kind, 8 * MIB));
        let mut number = 0;
        let error = loop {
            let name = format!("/a long name, number {number}");
            match fs.create_file(&parts(&name), Attrs::default()) {
                Ok(()) => number += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::DirectoryFull { slots: 512 }), "{error}");
        assert_eq!(number, 512 / 3);
        // Two slots are left, which a short name takes.
        fs.create_dir(&parts("/SHORT"), Attrs::default()).unwrap();
        fs.create_file(&parts("/SHORT/a long name finds room here"), Attrs::default()).unwrap();
        assert!(fs.create_file(&parts("/a name"), Attrs::default()).is_err());
        fs.commit().unwrap();
        let volume = fs.into_device();
        assert_eq!(view_all(&volume).len(), 512 / 3 + 2);
        if require(&["fsck.fat"]) {
            judge(&volume, "a full root directory");
        }
    }
}

/// It follows a directory whose clusters come back to themselves for ever.
#[test]
fn chains_end() {
    let mut fs = open(made(Kind::Fat16, 8 * MIB));
    fs.create_dir(&parts("/D"), Attrs::default()).unwrap();
    for number in 0..100 {
        fs.create_file(&parts(&format!("/D/file number {number}")), Attrs::default()).unwrap();
    }
    fs.create_file(&parts("/F"), Attrs::default()).unwrap();
    fs.append(&parts("/F"), &[1; 5000]).unwrap();
    fs.commit().unwrap();
    let volume = fs.into_device();
    let table = 512;
    // The directory's first cluster is 2, its others follow; F's are behind them.
    let link = |cluster: usize| u16::from_le_bytes(volume.bytes()[table + cluster * 2..][..2].try_into().unwrap());
    let mut last = 2;
    while link(last) < 0xfff8 {
        last = usize::from(link(last));
    }
    let file = last + 1;
    assert!(link(file) < 0xfff8);
    let bad = |cluster: usize, next: u16| {
        let mut bytes = volume.bytes().to_vec();
        bytes[table + cluster * 2..][..2].copy_from_slice(&next.to_le_bytes());
        Memory::new(bytes)
    };
    for (cluster, next) in [(last, 2), (last, last as u16), (2, 2), (2, 0), (2, 1), (2, 0xfff7), (2, 0xfff0)] {
        let volume = bad(cluster, next);
        let fs = Filesystem::open(&volume, OpenOptions::default()).unwrap();
        assert!(matches!(fs.entries(&parts("/D")), Err(Error::Corrupt(_))), "{cluster} -> {next}");
        assert_eq!(fs.entries(&[]).unwrap().len(), 2);
        assert!(matches!(View::open(&volume).unwrap().dir(&parts("/D")), Err(Error::Corrupt(_))));
        let mut fs = open(volume.clone());
        assert!(matches!(fs.remove_tree(&parts("/D")), Err(Error::Corrupt(_))));
        assert!(fs.commit().unwrap().is_empty() && fs.device() == &volume);
    }
    for next in [file as u16, 0, 1, 0xffff] {
        let mut fs = open(bad(file, next));
        let mut bytes = [0; 5000];
        for error in [
            fs.read_at(&parts("/F"), 0, &mut bytes).map(|_| ()),
            fs.append(&parts("/F"), b"x"),
            fs.write_contents(&parts("/F"), b"x"),
        ] {
            assert!(matches!(error, Err(Error::Corrupt(_))), "{next}");
        }
    }
}

/// Looking for a short name it goes through the directory for every one it tries: 400 names that begin alike take 8
/// seconds, 853 more than 200.
#[test]
fn many_names_that_begin_alike_are_made_at_once() {
    let start = Instant::now();
    let mut fs = open(made(Kind::Fat16, 40 * MIB));
    fs.create_dir(&parts("/D"), Attrs::default()).unwrap();
    for number in 0..10_000 {
        fs.create_file(&parts(&format!("/D/some file with number {number}.data")), Attrs::default()).unwrap();
    }
    fs.commit().unwrap();
    let volume = fs.into_device();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    eprintln!("10,000 names in {:?}", start.elapsed());
    assert_eq!(view_all(&volume).len(), 10_001);
    if require(&["fsck.fat"]) {
        judge(&volume, "a large directory");
    }
    // A directory has 65,536 entries at most.
    let mut fs = open(volume);
    let full = (10_000..).find_map(|number| {
        fs.create_file(&parts(&format!("/D/some file with number {number}.data")), Attrs::default()).err()
    });
    assert!(matches!(full, Some(Error::DirectoryFull { slots: 65536 })), "{full:?}");
    assert_eq!(fs.entries(&parts("/D")).unwrap().len(), (65536 - 2) / 4);
    assert_eq!(fs.remove_tree(&parts("/D")).unwrap(), 1 + (65536 - 2) / 4);
}

/// It takes names of at most 255 bytes, and no character beyond the first 65,536.
#[test]
fn names_are_as_long_as_paths_can_have_them() {
    let mut fs = open(made(Kind::Fat12, MIB));
    let names = ["🦀".repeat(63), "x".repeat(255), "漢".repeat(85)];
    for name in &names {
        fs.create_file(&[name.as_bytes()], Attrs::default()).unwrap();
    }
    fs.commit().unwrap();
    let volume = fs.into_device();
    let wanted = names.map(|name| (format!("/{name}"), Some(Vec::new()))).into_iter().collect();
    assert_eq!(view_all(&volume), wanted);
    assert_eq!(read_all(&open(volume)), wanted);
}

/// It refuses FAT32 with few clusters, which every system reads and `mkfs.fat -F 32` makes.
#[test]
fn small_fat32_is_read_and_changed() {
    if !require(&["fsck.fat", "mkfs.fat"]) {
        return;
    }
    let mut fs = open(mkfs_fat("-F 32", 2 * MIB));
    fs.create_file(&parts("/a file"), Attrs::default()).unwrap();
    fs.append(&parts("/a file"), &[7; 100_000]).unwrap();
    fs.commit().unwrap();
    let volume = fs.into_device();
    assert!(matches!(View::open(&volume), Err(Error::View(_))));
    judge(&volume, "small FAT32");
    assert_eq!(read_all(&open(volume))["/a file"], Some(vec![7; 100_000]));
}
