//! Random sequences of operations beside a model in memory; then e2fsck, debugfs and ext4-view on what they left.

use crate::common::made::mke2fs;
use crate::common::model::tree::Tree;
use crate::common::model::{Call, Counts, Failure, Op, Subject, Tamper, keep_panics, run, sequence, shrink};
use crate::common::{OPTIONS, WRITABLE, in_parallel, long, seed};
use nomount_block::Memory;
use nomount_ext::{Attrs, Filesystem, New, Options, ROOT_INO, incompat, ro_compat};
use nomount_kit::digest::Kind;
use nomount_kit::{fixture, require};
use std::sync::Mutex;

const SEED: &str = "NOMOUNT_MODEL_SEED";
/// Images whose names have this text are the only ones.
const ONLY: &str = "NOMOUNT_MODEL_ONLY";
/// Operations of a sequence.
const LENGTH: usize = 1000;
/// Sequences per image, and in the long form.
const ROUNDS: u64 = 2;
const LONG_ROUNDS: u64 = 40;
/// A failing sequence is tried so often in shorter forms.
const TRIES: usize = 1500;
const MIB: u64 = 1 << 20;

const EXT2: &str = "filetype,ext_attr,resize_inode,dir_index,sparse_super,large_file";
const EXT4: &str = "filetype,ext_attr,resize_inode,dir_index,sparse_super,large_file,huge_file,dir_nlink,extra_isize,\
                    extents,flex_bg,64bit,metadata_csum";

/// Filesystems that mke2fs makes: name, features, features besides, arguments, bytes. Most journals are as small as
/// they can be, so that commits are cut into several transactions.
const MADE: &[(&str, &str, &str, &str, u64)] = &[
    ("ext2, 1 KiB", EXT2, "", "-b 1024 -I 128", 10 * MIB),
    ("ext2, 4 KiB", EXT2, "", "-b 4096 -I 256", 12 * MIB),
    ("ext3, 1 KiB", EXT2, "has_journal", "-b 1024 -I 256 -J size=1", 12 * MIB),
    ("ext3, 2 KiB", EXT2, "has_journal", "-b 2048 -I 128 -J size=2", 14 * MIB),
    ("ext4, 1 KiB", EXT4, "has_journal", "-b 1024 -I 256 -J size=1", 12 * MIB),
    ("ext4, 4 KiB", EXT4, "has_journal", "-b 4096 -I 256 -J size=4", 20 * MIB),
    ("ext4, 16 KiB", EXT4, "has_journal", "-b 16384 -I 256 -J size=16", 40 * MIB),
    ("ext4, 64 KiB", EXT4, "", "-b 65536 -I 256", 32 * MIB),
    ("large inodes", EXT4, "has_journal", "-b 2048 -I 1024 -J size=2", 14 * MIB),
    ("uninit_bg", EXT4, "^metadata_csum,uninit_bg,has_journal", "-b 1024 -I 256 -J size=1", 12 * MIB),
    (
        "small inodes, no 64bit",
        EXT4,
        "^64bit,^huge_file,^extra_isize,has_journal",
        "-b 1024 -I 128 -J size=1",
        18 * MIB,
    ),
    ("no index of directories", EXT4, "^dir_index", "-b 1024 -I 256", 10 * MIB),
    ("small groups", EXT4, "^resize_inode,has_journal", "-b 1024 -I 256 -g 1024 -G 4 -J size=1", 12 * MIB),
    ("orphan_file", EXT4, "orphan_file,metadata_csum_seed,has_journal", "-b 1024 -I 256 -J size=1", 12 * MIB),
    ("inline_data", EXT4, "inline_data,has_journal", "-b 1024 -I 256 -J size=1", 12 * MIB),
    ("inline_data, large inodes", EXT4, "inline_data", "-b 4096 -I 1024", 20 * MIB),
    ("inline_data, block maps", EXT2, "inline_data,extra_isize", "-b 1024 -I 256", 10 * MIB),
    ("ea_inode", EXT4, "ea_inode,has_journal", "-b 1024 -I 256 -J size=1", 12 * MIB),
    ("large_dir", EXT4, "large_dir,has_journal", "-b 1024 -I 256 -J size=1", 12 * MIB),
    ("quota, project", EXT4, "quota,project,has_journal", "-b 1024 -I 256 -J size=1", 12 * MIB),
    ("mmp", EXT4, "mmp,has_journal", "-b 1024 -I 256 -J size=1", 12 * MIB),
    ("meta_bg", EXT4, "^resize_inode,meta_bg,has_journal", "-b 1024 -I 256 -J size=1", 18 * MIB),
    ("sparse_super2", EXT4, "^resize_inode,sparse_super2,has_journal", "-b 1024 -I 256 -J size=1", 18 * MIB),
    ("bigalloc", EXT4, "bigalloc,has_journal", "-b 1024 -I 256 -C 16384 -J size=1", 24 * MIB),
    ("bigalloc, inline_data", EXT4, "bigalloc,inline_data", "-b 4096 -I 256 -C 65536", 64 * MIB),
    ("full", EXT4, "", "-b 1024 -I 256 -N 512", MIB),
    ("full, with a journal", EXT4, "has_journal", "-b 1024 -I 256 -N 256 -J size=1", 3 * MIB),
    ("full, ext2", EXT2, "", "-b 1024 -I 128 -N 256", MIB),
    ("few inodes", EXT4, "", "-b 1024 -I 256 -N 64", 8 * MIB),
];

/// A filesystem of blocks with one inode each, and how many are in use.
const CROWDED: &str = "one inode to a block";
const CROWD: usize = 2000;

/// Whether ext4-view reads such a filesystem. It wants larger inodes where there are checksums.
fn is_viewed(image: &Memory) -> bool {
    const NOT: u32 = incompat::META_BG
        | incompat::EA_INODE
        | incompat::MMP
        | incompat::CASEFOLD
        | incompat::LARGEDIR
        | incompat::INLINE_DATA;
    let fs = Filesystem::open(image, Options::default()).unwrap();
    let geo = fs.geometry();
    let small = geo.inode_size == 128 && geo.features.ro_compat(ro_compat::METADATA_CSUM);
    !small && !geo.features.incompat(NOT)
}

fn made(features: &str, besides: &str, args: &str, size: u64) -> Memory {
    let features = format!("none,{features},{besides}");
    let args: Vec<&str> =
        ["-t", "ext4", "-O", features.trim_end_matches(',')].into_iter().chain(args.split(' ')).collect();
    mke2fs(&args, size)
}

/// The image with many inodes in use, so that more of them can change than a small log holds.
fn crowded(image: Memory) -> Memory {
    let mut fs = Filesystem::open_for_write(image, OPTIONS).unwrap();
    let dir = fs.create(ROOT_INO, b"crowd", &New::Dir, Attrs::default()).unwrap();
    for number in 0..CROWD {
        fs.create(dir, format!("{number}").as_bytes(), &New::Fifo, Attrs::default()).unwrap();
    }
    fs.commit().unwrap();
    fs.into_device()
}

fn subjects() -> Vec<Subject> {
    let fixtures = WRITABLE.iter().map(|name| (*name, fixture::memory(name)));
    let ready = MADE.iter().map(|(name, features, besides, args, size)| (*name, made(features, besides, args, *size)));
    let crowd = [(CROWDED, crowded(made(EXT4, "has_journal", "-b 1024 -I 1024 -N 2400 -J size=1", 16 * MIB)))];
    let subject = |(name, image): (&str, _)| Subject { name: name.into(), viewed: is_viewed(&image), image };
    let only = std::env::var(ONLY).ok();
    let wanted = |(name, _): &(&str, _)| only.as_deref().is_none_or(|only| name.contains(only));
    fixtures.chain(ready).chain(crowd).filter(wanted).map(subject).collect()
}

fn right(_: &Call, _: &mut Tree) {}

/// The sequence without what is not needed to fail in the same way.
fn shrunk(subject: &Subject, ops: &[Op], failure: &Failure, tamper: Tamper) -> Vec<Op> {
    // What comes after the failure is of no use; a failure found at the end may need a judge there.
    let ops = &ops[..ops.len().min(failure.at + 1)];
    let same = |again: Failure| again.kind() == failure.kind();
    shrink(ops, TRIES, |ops| run(subject, ops, tamper).is_err_and(same))
}

/// What to say of a failure: the seed, and the sequence made short.
fn report(subject: &Subject, seed: u64, ops: &[Op], failure: &Failure, tamper: Tamper) -> String {
    let short = shrunk(subject, ops, failure, tamper);
    let again = run(subject, &short, tamper).expect_err("a shrunk sequence fails");
    format!(
        "{}, {SEED}={seed}, operation {}: {}\n{} operations suffice: {short:#?}\nwhich end with: {}",
        subject.name,
        failure.at,
        failure.what,
        short.len(),
        again.what
    )
}

#[test]
fn what_is_done_is_what_is_there() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    keep_panics();
    let seed = seed(SEED);
    let rounds = if long() { LONG_ROUNDS } else { ROUNDS };
    let subjects = subjects();
    let counts = Mutex::new(Counts::default());
    let failures = Mutex::new(Vec::new());
    let runs = subjects.iter().enumerate().flat_map(|(at, subject)| (0..rounds).map(move |round| (at, subject, round)));
    in_parallel(runs, |(at, subject, round)| {
        let ops = sequence(seed ^ round << 32 ^ (at as u64) << 48, LENGTH, subject.name == CROWDED);
        match run(subject, &ops, right) {
            Ok(done) => counts.lock().unwrap().add(&done),
            Err(failure) => failures.lock().unwrap().push(report(subject, seed, &ops, &failure, right)),
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let counts = counts.into_inner().unwrap();
    eprintln!("{} operations, {} calls: {counts:?}", counts.operations, counts.total());
    if std::env::var(ONLY).is_err() {
        assert_worth(&counts);
    }
}

/// Everything happened, and often enough to mean something.
fn assert_worth(counts: &Counts) {
    const OPERATIONS: usize = 100_000;
    assert!(counts.operations >= OPERATIONS, "{} operations", counts.operations);
    for (kind, [done, refused, ..]) in &counts.calls {
        assert!(*done >= 100 && *refused >= 5, "{kind}: {done} done, {refused} refused");
    }
    let full: usize = counts.calls.values().map(|[_, _, full, _]| full).sum();
    let stopped: usize = counts.calls.values().map(|[.., stopped]| stopped).sum();
    let done: usize = counts.calls.values().map(|[done, ..]| done).sum();
    assert!(done * 2 > counts.total(), "{done} calls were done");
    let often = [full, stopped, counts.rollbacks, counts.opened, counts.judged, counts.checks];
    assert!(often.iter().all(|count| *count >= 50), "{often:?}");
    let seldom = [counts.cuts, counts.failed_commits];
    assert!(seldom.iter().all(|count| *count > 0), "{seldom:?}");
}

/// A model that is wrong about what has two names and is neither a file nor a directory.
fn wrong(call: &Call, tree: &mut Tree) {
    if let Call::Link { ino, .. } = call
        && tree.node(*ino).kind == Kind::Fifo
    {
        tree.node_mut(*ino).links -= 1;
    }
}

#[test]
fn a_failure_is_told_in_a_few_operations() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    let subject = Subject { name: "empty".into(), viewed: true, image: made(EXT4, "", "-b 1024 -I 256", 4 * MIB) };
    let ops = sequence(1, LENGTH, false);
    run(&subject, &ops, right).unwrap();
    let failure = run(&subject, &ops, wrong).unwrap_err();
    assert!(failure.what.contains("Links"), "{}", failure.what);
    let short = shrunk(&subject, &ops, &failure, wrong);
    // Making it and giving it a second name; nothing of that can be left out.
    assert!(short.len() <= 2, "{short:?}");
    let without = |at: usize| [&short[..at], &short[at + 1..]].concat();
    assert!((0..short.len()).all(|at| run(&subject, &without(at), wrong).is_ok()), "{short:?}");
    let told = report(&subject, 1, &ops, &failure, wrong);
    assert!(told.contains("NOMOUNT_MODEL_SEED=1") && told.contains("operations suffice"), "{told}");
}

#[test]
fn what_matters_is_left_by_shrinking() {
    let list: Vec<u32> = (0..1000).collect();
    let fails = |list: &[u32]| [3, 500, 998].iter().all(|number| list.contains(number));
    assert_eq!(shrink(&list, 1000, fails), [3, 500, 998]);
    assert_eq!(shrink(&list, 0, fails), list);
    assert!(shrink(&list, 1000, |_| true).is_empty());
}
