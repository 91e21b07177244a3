//! Growing interrupted anywhere, and a device that fails.

use super::{EXT3, EXT4, make, populate};
use crate::common::crash_case::{Case, host_file};
use crate::common::{OPTIONS, bytes, in_parallel, long, our_digest};
use nomount_block::{Fault, FaultPlan, Memory, ReadAt, Record, SetLen};
use nomount_ext::{Attrs, Error, Filesystem, New, Options, ROOT_INO};
use nomount_kit::crash::{Plan, each_state};
use nomount_kit::{judges, require, scratch};
use std::sync::atomic::{AtomicUsize, Ordering};

/// States of one kind; all of them with `NOMOUNT_LONG=1`.
const STATES: usize = 32;

/// Features, options of mke2fs, KiB before and after.
const KINDS: &[(&str, &str, u64, u64)] = &[
    ("EXT4,resize_inode", "-b 1024 -J size=1", 9000, 40_000),
    ("EXT4", "-b 4096 -J size=4", 30_000, 140_000),
    ("EXT3,resize_inode", "-b 1024 -J size=1", 9000, 40_000),
    // 16 groups of 1024 blocks to a block of descriptors: the reserve is used, then meta_bg.
    ("EXT4,resize_inode", "-b 1024 -g 1024 -N 1000 -J size=1 -E resize=20000", 9000, 80_000),
    ("EXT4,meta_bg", "-b 1024 -g 1024 -N 1000 -J size=1", 9000, 40_000),
    ("EXT4,sparse_super2,orphan_file", "-b 1024 -J size=1", 25_000, 60_000),
];

fn features(short: &str) -> String {
    short.replace("EXT4", EXT4).replace("EXT3", EXT3)
}

fn image(short: &str, options: &str, from: u64, to: u64) -> Memory {
    let file = make(from, &features(short), options);
    let mut fs = super::open(file.path());
    populate(&mut fs);
    super::finish(fs);
    let mut image = Memory::new(std::fs::read(file.path()).unwrap());
    image.set_len(to * 1024).unwrap();
    image
}

/// Grows as far as the device goes, and puts a file where there was nothing before.
fn change<D: nomount_block::WriteAt>(fs: &mut Filesystem<D>) -> Result<(), Error> {
    let blocks = fs.device().len() / u64::from(fs.geometry().block_size);
    fs.grow(blocks)?;
    put_file(fs)
}

fn put_file<D: nomount_block::WriteAt>(fs: &mut Filesystem<D>) -> Result<(), Error> {
    let dir = fs.create(ROOT_INO, b"new", &New::Dir, Attrs::default())?;
    let ino = fs.create(dir, b"file", &New::File, Attrs::default())?;
    fs.write_contents(ino, &bytes(300_000, 1))
}

#[test]
fn with_a_journal_every_crash_is_old_or_new() {
    if !require(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let states = AtomicUsize::new(0);
    in_parallel(KINDS, |(short, options, from, to)| {
        let name = &format!("{short} {options}");
        let case = Case::of(name, image(short, options, *from, *to), |fs| change(fs).unwrap());
        assert_eq!(case.committed.transactions, 1, "{name}");
        let (all, _) = case.assert_recovers(&Plan::bounded(STATES));
        states.fetch_add(all, Ordering::Relaxed);
        assert_sizes(&case, Plan::bounded(STATES));
    });
    eprintln!("{states:?} states");
}

/// The size is old where the tree is, and new where it is.
fn assert_sizes(case: &Case, plan: Plan) {
    let old = Filesystem::open(&case.base, Options::default()).unwrap().geometry().blocks_count;
    each_state(&case.base, &case.log, &plan, |state, path| {
        let Ok(fs) = Filesystem::open(host_file(path), Options::default()) else {
            // A superblock torn in itself: `assert_recovers` looks at those.
            assert!(state.torn.is_some(), "{}, {state:?}", case.name);
            return;
        };
        let is_old = our_digest(&fs) == case.trees[0];
        assert_eq!(fs.geometry().blocks_count == old, is_old, "{}, {state:?}", case.name);
    });
}

/// What was changed before takes so much of the log that growing needs a transaction of its own.
#[test]
fn a_full_log_is_used_twice() {
    if !require(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    // 600 blocks are reserved, whose lists all change; the log has 1024.
    let (kib, options) = (40_000, "-b 4096 -g 1024 -I 256 -N 8192 -J size=4 -E resize=39000000");
    let file = make(kib, &features("EXT4,resize_inode"), options);
    let mut fs = super::open(file.path());
    let dir = fs.create(ROOT_INO, b"many", &New::Dir, Attrs::default()).unwrap();
    let inodes: Vec<u32> = (0..7000)
        .map(|number| fs.create(dir, format!("{number}").as_bytes(), &New::Fifo, Attrs::default()).unwrap())
        .collect();
    super::finish(fs);
    let mut base = Memory::new(std::fs::read(file.path()).unwrap());
    base.set_len(120_000 << 10).unwrap();
    let case = Case::of("a full log", base, |fs| {
        for ino in inodes.iter().step_by(16) {
            fs.set_attrs(*ino, Attrs { mode: Some(0o600), ..Attrs::default() }).unwrap();
        }
        change(fs).unwrap();
    });
    assert_eq!(case.committed.transactions, 2, "{:?}", case.committed);
    case.assert_recovers(&Plan::bounded(20));
}

#[test]
fn every_failure_is_told_and_leaves_old_or_new() {
    if !require(&["mke2fs", "e2fsck"]) {
        return;
    }
    let tried = AtomicUsize::new(0);
    in_parallel(KINDS, |(short, options, from, to)| {
        let base = image(short, options, *from, *to);
        let size = |image: &Memory| Filesystem::open(image, Options::default()).unwrap().geometry().blocks_count;
        let run = |device: &mut Fault<Memory>| {
            let mut fs = Filesystem::open_for_write(device, OPTIONS)?;
            let blocks = fs.device().len() / u64::from(fs.geometry().block_size);
            if let Err(error) = fs.grow(blocks) {
                // The device fails but once: what is left is sound, and nothing of it needs to be written.
                super::assert_sound(short, "not grown", &fs);
                assert!(fs.commit().unwrap().is_empty(), "{short}");
                return Err(error);
            }
            put_file(&mut fs)?;
            fs.commit()
        };
        let mut whole = Fault::new(base.clone(), FaultPlan::default());
        run(&mut whole).unwrap();
        let reads = whole.reads();
        let (changed, log) = whole.into_parts();
        let (old, new) = (size(&base), size(&changed));
        let writes = log.iter().filter(|record| !matches!(record, Record::Barrier)).count() as u64;
        let some = |count: u64| (0..count).step_by(if long() { 1 } else { count.div_ceil(25).max(1) as usize });
        let plans = some(reads)
            .map(|n| FaultPlan { fail_read: Some(n), ..FaultPlan::default() })
            .chain(some(writes).map(|n| FaultPlan { fail_write: Some(n), ..FaultPlan::default() }));
        for plan in plans {
            tried.fetch_add(1, Ordering::Relaxed);
            let mut device = Fault::new(base.clone(), plan);
            assert!(matches!(run(&mut device), Err(Error::Device(_))), "{short}, {plan:?}");
            let (image, _) = device.into_parts();
            let mut fs = Filesystem::open_for_write(image, OPTIONS).unwrap();
            fs.commit().unwrap();
            let image = fs.into_device();
            assert!([old, new].contains(&size(&image)), "{short}, {plan:?}");
            let file = scratch::device(&image);
            judges::e2fsck_fn(&file, 0).unwrap_or_else(|e| panic!("{short}, {plan:?}: {e}"));
        }
    });
    eprintln!("{tried:?} failures");
}
