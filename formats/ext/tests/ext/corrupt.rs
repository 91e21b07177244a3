//! Hostile images: every field of every structure spoiled, with its checksum stale and made right again, and random
//! damage. Nothing may panic, loop, or read without end; what is refused is refused with an error.

use crate::common::{OPTIONS, in_parallel, long, seed, spoil, typical_change};
use nomount_block::{
    Error as DeviceError, ErrorKind, Extent, ExtentKind, Overlay, ReadAt, Spill, WriteAt, check_range,
};
use nomount_ext::{CheckOptions, FileType, Filesystem, MAX_FINDINGS, Options, ROOT_INO, check};
use nomount_kit::ext_layout::Layout;
use nomount_kit::fixture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const RANDOM: &[&str] = &[
    "bigalloc",
    "casefold",
    "dirty-32bit",
    "dirty-csum2",
    "dirty-csum3",
    "dirty-ext3",
    "ea-inode",
    "encrypt",
    "ext2-1k",
    "ext3-1k",
    "ext3-4k",
    "ext4-142",
    "ext4-143",
    "ext4-147",
    "ext4-1k",
    "ext4-2k",
    "ext4-i128",
    "ext4-i128-csum",
    "ext4-nojournal",
    "ext4-rpi",
    "fast_commit",
    "inline-data",
    "large-dir",
    "meta-bg",
    "mmp",
    "orphan-list",
    "project",
    "quota",
    "sparse-super2",
    "verity",
];
/// Mutations of each image of `RANDOM`: together more than 2,000.
const MUTATIONS: usize = 80;
const SEED: &str = "NOMOUNT_CORRUPT_SEED";

/// Bytes that reading one image whole and changing it may ask for. Reading a good one takes a hundredth of it.
const READ_BUDGET: u64 = 4 << 30;
/// What a walk looks at: more than any fixture has.
const MAX_NAMES: usize = 20_000;
const MAX_RUNS: usize = 2_000;
const PIECE: usize = 64 << 10;

/// An image that counts what is read.
#[derive(Debug)]
struct Counted<'a> {
    image: &'a [u8],
    read: AtomicU64,
}

impl<'a> Counted<'a> {
    fn new(image: &'a [u8]) -> Self {
        Self { image, read: AtomicU64::new(0) }
    }
}

impl ReadAt for Counted<'_> {
    fn len(&self) -> u64 {
        self.image.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        let before = self.read.fetch_add(buf.len() as u64 + 512, Ordering::Relaxed);
        assert!(before < READ_BUDGET, "reads without end");
        check_range(offset, buf.len() as u64, self.len())?;
        buf.copy_from_slice(&self.image[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DeviceError> {
        check_range(offset, 1, self.len())?;
        Ok(Extent { kind: ExtentKind::Data, len: self.len() - offset })
    }
}

/// Stands below an overlay that keeps everything: nothing may come through.
impl WriteAt for Counted<'_> {
    fn write_at(&mut self, offset: u64, _: &[u8]) -> Result<(), DeviceError> {
        Err(DeviceError::new(ErrorKind::ReadOnly, offset))
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.write_at(offset, data)
    }

    fn discard(&mut self, offset: u64, _: u64) -> Result<(), DeviceError> {
        self.write_at(offset, &[])
    }

    fn barrier(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// Looks at everything that can be reached, past every error.
fn walk<D: ReadAt>(fs: &Filesystem<D>) {
    let mut seen = BTreeSet::new();
    let mut todo = vec![ROOT_INO];
    let mut names = 0;
    while let Some(ino) = todo.pop() {
        if !seen.insert(ino) {
            continue;
        }
        let _ = fs.xattrs(ino);
        let Ok(inode) = fs.inode(ino) else { continue };
        let _ = (inode.device(), inode.crtime(), inode.atime(), inode.mtime(), inode.ctime(), inode.uid(), inode.gid());
        match inode.file_type() {
            Some(FileType::Directory) => {
                let mut last = Vec::new();
                let _ = fs.read_dir::<()>(ino, |entry| {
                    names += 1;
                    todo.push(entry.ino);
                    last = entry.name;
                    if names > MAX_NAMES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                let _ = fs.lookup(ino, &last);
                let _ = fs.lookup(ino, b"a name that is not there");
            }
            Some(FileType::Symlink) => drop(fs.read_link(ino)),
            Some(FileType::Regular) => {
                let mut buf = vec![0; PIECE];
                let runs = fs.runs(ino).unwrap_or_default();
                let starts = runs.iter().map(|run| u64::from(run.file_block) * u64::from(fs.geometry().block_size));
                let ends = [0, inode.size().saturating_sub(PIECE as u64), inode.size(), u64::MAX];
                for at in ends.into_iter().chain(starts.take(MAX_RUNS)) {
                    let _ = fs.read(ino, at, &mut buf[..if at == 0 { PIECE } else { 4096 }]);
                }
            }
            _ => {}
        }
    }
}

fn change<D: WriteAt>(fs: &mut Filesystem<D>) {
    let mark = fs.savepoint();
    if typical_change(fs).is_err() {
        fs.rollback(mark);
    }
    for path in [&b"/etc/passwd"[..], b"/etc/shadow", b"/var/triple", b"/var/fragmented"] {
        if let Ok(ino) = fs.resolve(path) {
            let mark = fs.savepoint();
            let done = fs.append(ino, &[7; 5000]).and_then(|()| fs.set_xattr(ino, b"user.x", Some(&[1; 90])));
            if done.and_then(|()| fs.write_contents(ino, b"short")).is_err() {
                fs.rollback(mark);
            }
        }
    }
    for (path, name) in [(&b"/"[..], &b"new"[..]), (b"/var/one-level", b"n"), (b"/var/two-levels", b"a-longer-name")] {
        if let Ok(dir) = fs.resolve(path) {
            let mark = fs.savepoint();
            if fs.create(dir, name, &nomount_ext::New::Dir, nomount_ext::Attrs::default()).is_err() {
                fs.rollback(mark);
            }
        }
    }
    let _ = fs.commit();
}

/// The checker looks at everything, whatever else is wrong.
fn look_over(image: &[u8]) {
    if let Ok(report) = check(Counted::new(image), Options::default(), &CheckOptions::default()) {
        assert!(report.findings().len() <= MAX_FINDINGS);
        let _ = report.to_string();
    }
}

/// Everything that one image is put through. Gives whether it opened for reading, and for writing.
fn put_through(image: &[u8]) -> (bool, bool) {
    let Ok(fs) = Filesystem::open(Counted::new(image), Options::default()) else { return (false, false) };
    let _ = fs.info();
    walk(&fs);
    drop(fs);
    let overlay = Overlay::new(Counted::new(image), Spill::Never);
    let Ok(mut fs) = Filesystem::open_for_write(overlay, OPTIONS) else { return (true, false) };
    change(&mut fs);
    walk(&fs);
    (true, true)
}

#[derive(Default)]
struct Tally {
    cases: AtomicUsize,
    read: AtomicUsize,
    written: AtomicUsize,
    panics: AtomicUsize,
}

impl Tally {
    fn run(&self, image: &[u8], what: impl FnOnce() -> String) {
        self.run_as(image, what, put_through);
    }

    fn run_as(&self, image: &[u8], what: impl FnOnce() -> String, put_through: impl Fn(&[u8]) -> (bool, bool)) {
        self.cases.fetch_add(1, Ordering::Relaxed);
        match catch_unwind(AssertUnwindSafe(|| put_through(image))) {
            Ok((read, written)) => {
                self.read.fetch_add(read.into(), Ordering::Relaxed);
                self.written.fetch_add(written.into(), Ordering::Relaxed);
            }
            Err(_) => {
                eprintln!("panicked: {}", what());
                self.panics.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn finish(&self) {
        let Self { cases, read, written, panics } = self;
        eprintln!("{cases:?} images, {read:?} opened, {written:?} opened for writing");
        assert_eq!(panics.load(Ordering::Relaxed), 0, "panics, listed above");
    }
}

#[test]
fn every_field_spoiled() {
    let seed = seed(SEED);
    let tally = Tally::default();
    in_parallel(spoil::IMAGES, |name| {
        let mut rng = StdRng::seed_from_u64(seed);
        let pick = |rng: &mut StdRng| long() || rng.random_range(0..9) == 0;
        spoil::each_field(name, &mut rng, pick, |image, case| tally.run(image, || case.to_string()));
    });
    tally.finish();
}

#[test]
fn random_damage() {
    let seed = seed(SEED);
    let tally = Tally::default();
    in_parallel(RANDOM.iter().enumerate(), |(number, name)| {
        let mut rng = StdRng::seed_from_u64(seed + number as u64);
        let good = fixture::bytes(name);
        let layout = Layout::of(&good).expect("an ext image");
        // Damage to a hole or to contents tells little.
        let places = if matches!(*name, "meta-bg" | "bigalloc") { Vec::new() } else { layout.places(&good) };
        let used: Vec<usize> = (0..good.len() / 1024).filter(|at| good[at * 1024..][..1024] != [0; 1024]).collect();
        let mut image = good.clone();
        for round in 0..MUTATIONS * if long() { 50 } else { 1 } {
            for _ in 0..rng.random_range(1..4) {
                if places.is_empty() || rng.random_range(0..3) == 0 {
                    let at = used[rng.random_range(0..used.len())] * 1024 + rng.random_range(0..1024);
                    image[at] = rng.random();
                    continue;
                }
                let place = &places[rng.random_range(0..places.len())];
                for _ in 0..rng.random_range(1..4) {
                    let at = place.at + rng.random_range(place.fields.clone());
                    image[at] = if rng.random_range(0..2) == 0 {
                        image[at] ^ 1 << rng.random_range(0..8)
                    } else {
                        rng.random()
                    };
                }
                layout.fix(&mut image, place);
            }
            let all = |image: &[u8]| {
                look_over(image);
                put_through(image)
            };
            tally.run_as(&image, || format!("{name}, round {round}, {SEED}={seed}"), all);
            image.copy_from_slice(&good);
        }
    });
    tally.finish();
}
