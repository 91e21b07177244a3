//! Indexed directories: hash variants, levels, collisions, names that come and go, and what growing costs.

use crate::common::judged::{Staged, ask, clean, finish, judged, mkdir, open};
use crate::common::made::mke2fs;
use crate::common::{OPTIONS, in_parallel, long};
use nomount_block::{Extent, Memory, ReadAt, Result as BlockResult, WriteAt};
use nomount_ext::{Attrs, Error, Filesystem, New, ROOT_INO};
use nomount_kit::{require, tool};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// 1 KiB blocks: few entries in each.
fn small(features: &str, extra: &[&str], size: u64) -> Memory {
    let mut args = vec!["-t", "ext4", "-b", "1024", "-I", "256", "-O", features];
    args.extend(extra);
    mke2fs(&args, size)
}

const CSUM: &str = "dir_index,extent,filetype,metadata_csum,large_dir,^has_journal";
const PLAIN: &str = "dir_index,filetype,^has_journal,^metadata_csum";

fn names_in(fs: &Staged, dir: u32) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    fs.read_dir::<()>(dir, |entry| {
        if entry.name != b"." && entry.name != b".." {
            assert!(all.insert(entry.name), "a name twice");
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    all
}

/// Every name listed is found, and nothing else is listed.
fn assert_names(fs: &Staged, dir: u32, wanted: &BTreeSet<Vec<u8>>) {
    assert_eq!(&names_in(fs, dir), wanted);
    for name in wanted {
        assert!(fs.lookup(dir, name).unwrap().is_some(), "{}", name.escape_ascii());
    }
}

/// Levels of the index below the root, as debugfs tells them.
fn levels(image: &Memory, path: &str) -> u32 {
    let dump = ask(image, &format!("htree_dump {path}"));
    let line = dump.lines().find(|line| line.contains("Indirect levels")).unwrap_or_else(|| panic!("{dump}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// A device that counts reads.
#[derive(Debug)]
struct Counting {
    inner: Memory,
    reads: AtomicU64,
}

impl ReadAt for Counting {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> BlockResult<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> BlockResult<Extent> {
        self.inner.extent_at(offset)
    }
}

impl WriteAt for Counting {
    fn write_at(&mut self, offset: u64, buf: &[u8]) -> BlockResult<()> {
        self.inner.write_at(offset, buf)
    }

    fn write_fresh(&mut self, offset: u64, buf: &[u8]) -> BlockResult<()> {
        self.inner.write_fresh(offset, buf)
    }

    fn discard(&mut self, offset: u64, len: u64) -> BlockResult<()> {
        self.inner.discard(offset, len)
    }

    fn barrier(&mut self) -> BlockResult<()> {
        self.inner.barrier()
    }
}

#[test]
fn all_six_hashes_find_names_of_every_byte() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let variants: Vec<(&str, u8, u32)> = ["legacy", "half_md4", "tea"]
        .into_iter()
        .zip(0..)
        .flat_map(|(name, number)| [(name, number, 1), (name, number, 2)])
        .collect();
    in_parallel(variants, |(hash, number, flags)| {
        let image = small(CSUM, &["-N", "64"], 8 << 20);
        let requests = [&*format!("ssv def_hash_version {hash}"), &*format!("ssv flags {flags}")];
        let image = crate::common::judged::altered(&image, &requests);
        let mut fs = open(image);
        let dir = mkdir(&mut fs, ROOT_INO, b"d");
        let ino = fs.create(ROOT_INO, b"f", &New::Fifo, Attrs::default()).unwrap();
        let mut wanted = BTreeSet::new();
        for index in 0..1500u32 {
            // Bytes on both sides of the sign.
            let name: Vec<u8> =
                (0..3 + index % 40).map(|at| (index.wrapping_mul(2_654_435_761) >> (at % 24)) as u8).collect();
            let name: Vec<u8> =
                name.into_iter().map(|byte| if matches!(byte, 0 | b'/' | b'\n') { 0xE9 } else { byte }).collect();
            let name = [&name[..], format!("{index}").as_bytes()].concat();
            fs.link(ino, dir, &name).unwrap();
            wanted.insert(name);
        }
        assert_names(&fs, dir, &wanted);
        let image = finish(fs);
        clean(&format!("{hash} {flags}"), &image);
        let dump = ask(&image, "htree_dump /d");
        assert!(dump.contains(&format!("Hash Version: {number}")), "{hash}: {}", &dump[..300]);
        assert_names(&open(image), dir, &wanted);
    });
}

#[test]
fn an_index_grows_to_three_levels_and_shrinks_to_nothing_but_room() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    // A 1 KiB node leads to some 120 blocks, each of which has three entries with names of 250 bytes.
    let image = small(CSUM, &["-N", "64"], 128 << 20);
    let mut fs = open(image);
    let dir = mkdir(&mut fs, ROOT_INO, b"d");
    let ino = fs.create(ROOT_INO, b"f", &New::Fifo, Attrs::default()).unwrap();
    let name = |number: u32| format!("{number:n<250}").into_bytes();
    let count = 40_000;
    for number in 0..count {
        fs.link(ino, dir, &name(number)).unwrap();
    }
    let image = finish(fs);
    assert_eq!(levels(&image, "/d"), 2, "the root, two levels of nodes, leaves");
    clean("three levels", &image);
    let mut fs = open(image);
    let size = fs.inode(dir).unwrap().size();
    for number in 0..count {
        assert!(fs.lookup(dir, &name(number)).unwrap().is_some(), "{number}");
    }
    for number in 0..count {
        fs.unlink(dir, &name(number)).unwrap();
    }
    assert_eq!(names_in(&fs, dir).len(), 0);
    let image = finish(fs);
    clean("emptied", &image);
    // The room is taken again, without growth.
    let mut fs = open(image);
    assert_eq!(fs.inode(dir).unwrap().size(), size);
    for number in 0..count {
        fs.link(ino, dir, &name(number)).unwrap();
    }
    assert_eq!(fs.inode(dir).unwrap().size(), size);
    let image = finish(fs);
    clean("filled again", &image);
    let mut fs = open(image);
    let free = fs.free_blocks_count();
    assert_eq!(fs.remove_tree(ROOT_INO, b"d").unwrap(), u64::from(count) + 1);
    assert!(fs.free_blocks_count() - free >= size / 1024);
    clean("removed", &finish(fs));
}

#[test]
fn without_large_dir_two_levels_are_the_end_and_the_error_says_so() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let image = small(&CSUM.replace("large_dir,", ""), &["-N", "64"], 64 << 20);
    let mut fs = open(image);
    let dir = mkdir(&mut fs, ROOT_INO, b"d");
    let ino = fs.create(ROOT_INO, b"f", &New::Fifo, Attrs::default()).unwrap();
    let mut made = 0;
    let mark = loop {
        let mark = fs.savepoint();
        match fs.link(ino, dir, format!("{made:n<250}").as_bytes()) {
            Ok(()) => made += 1,
            Err(Error::Limit(what)) => {
                assert!(what.contains("index is full"), "{what}");
                break mark;
            }
            Err(other) => panic!("after {made}: {other}"),
        }
    };
    assert!(made > 10_000, "{made}");
    fs.rollback(mark);
    let image = finish(fs);
    assert_eq!(levels(&image, "/d"), 1);
    clean("full index", &image);
}

/// Names whose hashes are equal, found by trying: they must be found wherever a split puts them.
#[test]
fn names_of_one_hash_go_on_from_leaf_to_leaf() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    // Three of these names fill a leaf.
    let image = crate::common::judged::altered(&small(CSUM, &["-N", "64"], 16 << 20), &["ssv def_hash_version legacy"]);
    let collisions: Vec<Vec<u8>> = collisions().concat();
    for order in [false, true] {
        let mut fs = open(image.clone());
        let dir = mkdir(&mut fs, ROOT_INO, b"d");
        let ino = fs.create(ROOT_INO, b"f", &New::Fifo, Attrs::default()).unwrap();
        let mut wanted = BTreeSet::new();
        let mut list: Vec<Vec<u8>> = collisions.clone();
        list.extend((0..300).map(|n| format!("between-{n:b>190}").into_bytes()));
        if order {
            list.reverse();
        }
        for name in list {
            fs.link(ino, dir, &name).unwrap();
            wanted.insert(name);
        }
        assert_names(&fs, dir, &wanted);
        let image = finish(fs);
        let tree = judged("collisions", &image);
        assert_eq!(tree.entries.keys().filter(|path| path.starts_with(b"/d/")).count(), wanted.len());
        let continued = ask(&image, "htree_dump /d");
        assert!(continued.lines().any(is_continued), "no leaf goes on: {continued}");
        // Half of them go, and come back.
        let mut fs = open(image);
        let half: Vec<Vec<u8>> = wanted.iter().step_by(2).cloned().collect();
        for name in &half {
            fs.unlink(dir, name).unwrap();
            assert!(fs.lookup(dir, name).unwrap().is_none());
        }
        for name in &half {
            fs.link(ino, dir, name).unwrap();
        }
        assert_names(&fs, dir, &wanted);
        clean("collisions, again", &finish(fs));
    }
}

/// `Entry #2: Hash 0x1234567b, block 5`: an odd hash.
fn is_continued(line: &str) -> bool {
    let Some((_, rest)) = line.split_once("Hash 0x") else { return false };
    let digits = rest.split([',', ' ']).next().unwrap();
    line.trim_start().starts_with("Entry #") && u32::from_str_radix(digits, 16).is_ok_and(|hash| hash & 1 == 1)
}

/// Groups of three or more names of one legacy hash, found by trying some millions; debugfs agrees.
fn collisions() -> Vec<Vec<Vec<u8>>> {
    const TRIED: u64 = 9_000_000;
    let prefix = [b'c'; 240];
    let name = |number: u64| -> Vec<u8> {
        let tail = (0..7u32).map(|at| b'a' + (number / 26u64.pow(at) % 26) as u8);
        prefix.iter().copied().chain(tail).collect()
    };
    let start = legacy_from(LEGACY_START, &prefix);
    let mut all: Vec<u64> = (0..TRIED)
        .map(|number| {
            let tail: [u8; 7] = std::array::from_fn(|at| b'a' + (number / 26u64.pow(at as u32) % 26) as u8);
            u64::from(legacy_from(start, &tail).0) << 32 | number
        })
        .collect();
    all.sort_unstable();
    let groups: Vec<Vec<Vec<u8>>> = all
        .chunk_by(|a, b| a >> 32 == b >> 32)
        .filter(|group| group.len() >= 3)
        .take(20)
        .map(|group| group.iter().map(|entry| name(entry & 0xFFFF_FFFF)).collect())
        .collect();
    assert!(groups.len() >= 10, "only {} groups", groups.len());
    for group in &groups {
        let script = group.iter().map(|name| format!("dx_hash -h legacy {}\n", String::from_utf8_lossy(name)));
        assert_one_hash(&script.collect::<String>(), group.len());
    }
    groups
}

/// debugfs agrees that the names of a script have one hash.
fn assert_one_hash(script: &str, count: usize) {
    let file = nomount_kit::scratch::file();
    std::fs::write(file.path(), script).unwrap();
    let done = tool::output(tool::command("debugfs").arg("-f").arg(file.path()));
    let said = tool::text(&done);
    let hashes: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("Hash of "))
        .map(|line| line.split(" is ").nth(1).unwrap())
        .collect();
    assert_eq!(hashes.len(), count);
    let first = |text: &str| text.split(' ').next().unwrap().to_string();
    assert!(hashes.iter().all(|hash| first(hash) == first(hashes[0])), "{said}");
}

const LEGACY_START: (u32, u32) = (0x12A3_FE2D, 0x37AB_E8F9);

/// The state of the legacy hash after more characters below 0x80 (ext4.rst, "Hash Tree Directories").
fn legacy_from((mut hash, mut before): (u32, u32), name: &[u8]) -> (u32, u32) {
    for &byte in name {
        let mut next = before.wrapping_add(hash ^ u32::from(byte).wrapping_mul(7_152_373));
        if next & 0x8000_0000 != 0 {
            next = next.wrapping_sub(0x7FFF_FFFF);
        }
        (before, hash) = (hash, next);
    }
    (hash, before)
}

#[test]
fn emptied_directories_of_every_size_take_new_names_and_can_go() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel([CSUM, PLAIN, "filetype,^dir_index,^has_journal"], |features| {
        for count in [1u32, 12, 60, 500, 3000] {
            let mut fs = open(small(features, &["-N", "64"], 8 << 20));
            let start = (fs.free_blocks_count(), fs.free_inodes_count());
            let dir = mkdir(&mut fs, ROOT_INO, b"d");
            let ino = fs.create(dir, b"f", &New::Fifo, Attrs::default()).unwrap();
            for round in 0..3 {
                // Longer names each time do not fit where shorter ones were.
                let name = |n: u32| format!("{n:a<width$}", width = 20 + 30 * round).into_bytes();
                for number in 0..count {
                    fs.link(ino, dir, &name(number)).unwrap();
                }
                if round == 1 {
                    fs = open(finish(fs));
                }
                for number in (0..count).rev() {
                    fs.unlink(dir, &name(number)).unwrap();
                }
            }
            let image = finish(fs);
            clean(&format!("{features} {count}"), &image);
            let mut fs = open(image);
            assert!(matches!(fs.rmdir(ROOT_INO, b"d"), Err(Error::NotEmpty)));
            fs.unlink(dir, b"f").unwrap();
            fs.rmdir(ROOT_INO, b"d").unwrap();
            assert_eq!((fs.free_blocks_count(), fs.free_inodes_count()), start, "{features} {count}");
            clean(&format!("{features} {count} gone"), &finish(fs));
        }
    });
}

/// Reads of the device and blocks committed, for a directory of `count` files.
fn cost(features: &str, count: u32, savepoint_every: u32) -> (u64, u64) {
    let per_file = 256 + 64;
    let size = u64::from(count) * per_file + (64 << 20);
    let inodes = (count + 1000).to_string();
    let image = mke2fs(&["-t", "ext4", "-b", "4096", "-I", "256", "-O", features, "-N", &inodes], size);
    let device = Counting { inner: image, reads: AtomicU64::new(0) };
    let mut fs = Filesystem::open_for_write(device, OPTIONS).unwrap();
    let dir = fs.create(ROOT_INO, b"d", &New::Dir, Attrs::default()).unwrap();
    let start = Instant::now();
    for number in 0..count {
        if number % savepoint_every == 0 {
            fs.savepoint();
        }
        fs.create(dir, format!("name-{number}").as_bytes(), &New::File, Attrs::default()).unwrap();
    }
    let committed = fs.commit().unwrap();
    eprintln!("{count} names in {:.2} s", start.elapsed().as_secs_f64());
    let reads = fs.device().reads.load(Ordering::Relaxed);
    let image = fs.into_device().inner;
    clean(&format!("{count} names"), &image);
    let fs = open(image);
    let dir = fs.resolve(b"/d").unwrap();
    for number in (0..count).step_by(97) {
        assert!(fs.lookup(dir, format!("name-{number}").as_bytes()).unwrap().is_some());
    }
    (reads, (committed.in_place + committed.protected) as u64)
}

/// Counted in reads and blocks, which do not depend on how busy the machine is.
#[test]
fn a_directory_costs_in_proportion_to_its_names() {
    if !require(&["e2fsck"]) {
        return;
    }
    let features = "dir_index,extent,filetype,metadata_csum,64bit,^has_journal";
    let (few, many) = if long() { (300_000, 1_000_000) } else { (20_000, 100_000) };
    let small = cost(features, few, 1000);
    let large = cost(features, many, 1000);
    let ratio = u64::from(many / few);
    assert!(large.0 <= small.0 * (ratio + 1), "reads: {small:?} for {few}, {large:?} for {many}");
    assert!(large.1 <= small.1 * (ratio + 1), "blocks: {small:?} for {few}, {large:?} for {many}");
}
