//! Spoiled disks under everything that changes sizes: no panic, no hang, no memory that follows a number in the image;
//! an error leaves every byte as it was, and a success leaves what the judges accept.

use crate::common::long;
use crate::confined::confined;
use crate::disks::{Disk, Layout, MIB};
use crate::matrix::TOOLS;
use crate::spoiled::{Field, Fields, SIZE, Victim, victims};
use nomount::disk::Choice;
use nomount::image::{Format, Image, ImageOptions};
use nomount::ops::part::{self, Addition, PartEdit, PartSize};
use nomount::ops::resize::{
    ExtendRequest, GrowRequest, GrowWith, NewSize, Resized, ShrinkRequest, ShrinkTo, disk_size, extend, grow,
    is_extendable, shrink,
};
use nomount::session::{MAX_STAGED, Verify, recover, redo_path};
use nomount::tree::Time;
use nomount::{ErrorKind, Result};
use nomount_kit::{judges, require, scratch};
use nomount_ptable::{Guid, Partition};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A good disk takes a hundredth of it.
const TIME: Duration = Duration::from_secs(20);
/// A good disk takes a tenth of it.
const MEMORY: u64 = 1 << 30;
/// Spoiled disks, unless more are wanted.
const CASES: usize = 500;
const LONG_CASES: usize = 10_000;
const MORE: u64 = 24 * MIB;
/// One success in so many is shown to e2fsck.
const JUDGED: u32 = 6;
/// One operation in so many is one of e2fsprogs.
const EXTERNAL: u32 = 25;
const SEED: &str = "NOMOUNT_HOSTILE_SEED";

/// What is done with a disk.
#[derive(Debug, Clone)]
enum Op {
    Look,
    Grow(GrowWith, Verify),
    /// To the end of a disk that is longer than what is on it.
    Fill,
    Extend,
    Shrink,
    Edit(PartEdit, bool),
}

/// What it came to.
enum Done {
    Looked,
    Resized(Resized),
    Edited(Option<u32>),
}

fn now() -> Time {
    Time { sec: 1_780_000_000, nsec: 0 }
}

impl Op {
    fn for_filesystem(rng: &mut StdRng) -> Self {
        // The programs take as long as all else together.
        if rng.random_range(0..EXTERNAL) == 0 {
            let grow = rng.random_range(0..2) == 0;
            return if grow { Self::Grow(GrowWith::E2fsprogs, Verify::Auto) } else { Self::Shrink };
        }
        match rng.random_range(0..8) {
            0 => Self::Look,
            1 => Self::Extend,
            2 => Self::Fill,
            3 => Self::Edit(PartEdit::Resize(1, PartSize::Shrink(MIB)), false),
            4 => Self::Grow(GrowWith::Native, Verify::Never),
            _ => Self::Grow(GrowWith::Native, Verify::Auto),
        }
    }

    fn for_table(rng: &mut StdRng) -> Self {
        let number = [1, 2, 5, 6, 14][rng.random_range(0..5)];
        let edit = match rng.random_range(0..11) {
            0 => return Self::Look,
            1 => return Self::Extend,
            2 => return Self::Fill,
            3 | 4 => return Self::Grow(GrowWith::Native, Verify::Auto),
            5 => PartEdit::Resize(number, PartSize::Max),
            6 => PartEdit::Resize(number, PartSize::Shrink(MIB)),
            7 => PartEdit::Add(Addition::new("linux", Guid([9; 16]))),
            8 => PartEdit::SetType(number, "swap".into()),
            9 => PartEdit::SetBootable(number, true),
            _ => PartEdit::Delete(number),
        };
        Self::Edit(edit, rng.random_range(0..2) == 0)
    }

    fn run(&self, image: &Path, options: &ImageOptions) -> Result<Done> {
        let request = |size, with, verify| GrowRequest {
            image: options.clone(),
            size,
            expand: Choice::Auto,
            filesystem: true,
            with,
            verify,
            now: now(),
            dry_run: false,
        };
        match self {
            Self::Look => {
                is_extendable(image, options);
                let listed = part::list(image, options);
                disk_size(image, options, Choice::Auto).and(listed).map(|_| Done::Looked)
            }
            Self::Grow(with, verify) => grow(image, &request(NewSize::Plus(MORE), *with, *verify)).map(Done::Resized),
            Self::Fill => grow(image, &request(NewSize::Same, GrowWith::Native, Verify::Auto)).map(Done::Resized),
            Self::Extend => {
                let request = ExtendRequest {
                    image: options.clone(),
                    size: SIZE + MORE,
                    filesystem_in_container: true,
                    with: GrowWith::Native,
                    verify: Verify::Auto,
                    now: now(),
                    dry_run: false,
                };
                extend(image, &request).map(Done::Resized)
            }
            Self::Shrink => {
                let request = ShrinkRequest {
                    image: options.clone(),
                    to: ShrinkTo::Minimum,
                    shrink: Choice::Auto,
                    verify: Verify::Auto,
                    now: now(),
                    dry_run: false,
                };
                shrink(image, &request).map(Done::Resized)
            }
            Self::Edit(edit, force) => {
                part::edit(image, options, edit, *force, false).map(|report| Done::Edited(report.partition))
            }
        }
    }
}

/// The file that a thread works on.
struct Bench {
    folder: TempDir,
    image: PathBuf,
    options: ImageOptions,
}

/// What an operation may not change: partitions by number.
type Parts = BTreeMap<u32, Partition>;

impl Bench {
    fn new(format: Format) -> Self {
        let folder = scratch::folder();
        let image = folder.path().join("disk");
        let options = ImageOptions { format: Some(format), sync: false, lock: false, ..ImageOptions::default() };
        Self { folder, image, options }
    }

    /// Makes the file hold these bytes, and zeroes up to `len`.
    fn put(&self, bytes: &[u8], len: u64) {
        let file = File::create(&self.image).unwrap();
        file.set_len(len).unwrap();
        for (at, piece) in
            (0..).step_by(4096).zip(bytes.chunks(4096)).filter(|(_, piece)| piece.iter().any(|b| *b != 0))
        {
            file.write_all_at(piece, at).unwrap();
        }
    }

    fn parts(&self) -> Parts {
        let list = part::list(&self.image, &self.options).map(|list| list.table.partitions).unwrap_or_default();
        list.into_iter().map(|partition| (partition.number, partition)).collect()
    }

    /// What the guest sees, if it can be read.
    fn guest(&self) -> Option<Vec<u8>> {
        let image = Image::open(&self.image, &self.options).ok()?;
        let mut bytes = vec![0; image.device.len().min(4 * SIZE) as usize];
        image.device.read_at(0, &mut bytes).ok()?;
        Some(bytes)
    }
}

/// Counts, and what went wrong.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    done: usize,
    refused: usize,
    judged: usize,
    /// Successes that e2fsck has something against where it had something against the disk before.
    doubtful: usize,
    slowest: Duration,
    faults: Vec<String>,
}

/// One spoiled disk under one operation.
struct Case<'a> {
    bench: &'a Bench,
    victim: &'a Victim,
    bytes: &'a [u8],
    op: Op,
}

impl Case<'_> {
    fn run(&self, tally: &mut Tally, rng: &mut StdRng) -> Result<(), String> {
        let bench = self.bench;
        let longer = if matches!(self.op, Op::Fill) && self.victim.format == Format::Raw { MORE } else { 0 };
        bench.put(self.bytes, self.bytes.len() as u64 + longer);
        let (parts, guest) = (bench.parts(), (self.victim.format == Format::Qcow2).then(|| bench.guest()));
        tally.cases += 1;
        let begun = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| self.op.run(&bench.image, &bench.options)));
        let took = begun.elapsed();
        tally.slowest = tally.slowest.max(took);
        if took > TIME {
            return Err(format!("took {took:?}"));
        }
        let done = done.map_err(|_| "panicked".to_owned())?;
        let others = fs::read_dir(bench.folder.path()).unwrap().count() - 1;
        match done {
            Err(error) => {
                tally.refused += 1;
                self.unchanged(longer, guest, others).map_err(|what| format!("{what} after: {}", error.chain()))
            }
            Ok(_) if others > 0 => Err("left a file".to_owned()),
            Ok(Done::Looked) => self.unchanged(longer, guest, others),
            Ok(Done::Edited(number)) => {
                tally.done += 1;
                self.others_unchanged(&parts, &[number.unwrap_or(0)])
            }
            Ok(Done::Resized(report)) => {
                tally.done += 1;
                let numbers: Vec<u32> = report.partitions.iter().map(|partition| partition.number).collect();
                self.others_unchanged(&parts, &numbers)?;
                let verified = !matches!(self.op, Op::Grow(_, Verify::Never));
                let grown = report.filesystem.is_some_and(|filesystem| filesystem.size.is_change());
                let raw = self.victim.format == Format::Raw;
                if raw && verified && grown && rng.random_range(0..JUDGED) == 0 { self.judge(tally) } else { Ok(()) }
            }
        }
    }

    /// Nothing has changed. A container that proves corrupt while it is written may stop in the middle of a commit: the
    /// guest sees the old disk then, or there is a redo file.
    fn unchanged(&self, longer: u64, guest: Option<Option<Vec<u8>>>, others: usize) -> Result<(), String> {
        let now = fs::read(&self.bench.image).unwrap();
        let tail = now.get(self.bytes.len()..).unwrap_or_default();
        if others == 0 && now.starts_with(self.bytes) && tail.len() as u64 == longer && tail.iter().all(|b| *b == 0) {
            return Ok(());
        }
        let Some(before) = guest else { return Err("the image or its folder has changed".to_owned()) };
        let redo = redo_path(&self.bench.image);
        if redo.exists() {
            let recovered = catch_unwind(|| recover(&self.bench.image, &self.bench.options));
            let _ = fs::remove_file(&redo);
            return recovered.map(|_| ()).map_err(|_| "recovering panicked".to_owned());
        }
        if before.is_none() || self.bench.guest() == before {
            Ok(())
        } else {
            Err("the guest's disk has changed".into())
        }
    }

    /// The table can be read, and of partitions that were not to change nothing has but the number of logical ones.
    fn others_unchanged(&self, before: &Parts, changed: &[u32]) -> Result<(), String> {
        let after = self.bench.parts();
        let known = |partition: &Partition| {
            (partition.start, partition.len, partition.type_id, partition.name.clone(), partition.attributes)
        };
        // An extended partition follows a logical one.
        let logical = changed.iter().any(|number| before.get(number).is_some_and(|partition| partition.logical));
        let may_change = |number: &u32, old: &Partition| changed.contains(number) || logical && old.is_extended();
        for (number, old) in before.iter().filter(|(number, old)| !may_change(number, old)) {
            if !after.values().any(|new| known(new) == known(old)) {
                return Err(format!("partition {number} was {old:?}, there is {after:?}"));
            }
        }
        for number in changed {
            let Some((old, new)) = before.get(number).zip(after.get(number)) else { continue };
            let over = |other: &&Partition| {
                let contains = other.is_extended() && new.logical || new.is_extended() && other.logical;
                !contains && other.start >= old.end() && other.start < new.end()
            };
            if new.start == old.start
                && let Some(other) = after.values().find(over)
            {
                return Err(format!("{old:?} has become {new:?}, over {other:?}"));
            }
        }
        Ok(())
    }

    /// e2fsck has nothing against the result, unless it had before.
    fn judge(&self, tally: &mut Tally) -> Result<(), String> {
        tally.judged += 1;
        let start = self.victim.start as u64;
        let Err(complaint) = judges::e2fsck_fn(&self.bench.image, start) else { return Ok(()) };
        self.bench.put(self.bytes, self.bytes.len() as u64);
        match judges::e2fsck_fn(&self.bench.image, start) {
            Ok(()) => Err(format!("{complaint}")),
            Err(before) => {
                tally.doubtful += 1;
                if long() {
                    eprintln!("{}: not sound before, and grown: {before}", self.victim.name);
                }
                Ok(())
            }
        }
    }
}

/// Spoils one disk again and again.
fn attack(victim: &Victim, cases: usize, seed: u64, tally: &mut Tally) {
    let bench = Bench::new(victim.format);
    let fields = Fields::of(victim);
    let mut bytes = victim.bytes.clone();
    for number in 0..cases {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
        let mut what = String::new();
        let in_table = !fields.tables.is_empty() && rng.random_range(0..3) == 0;
        let list: &[Field] = match victim.format {
            Format::Qcow2 => &fields.container,
            Format::Raw if in_table => &fields.tables,
            Format::Raw => &fields.filesystem,
        };
        for _ in 0..[1, 1, 1, 2, 3][rng.random_range(0..5)] {
            if rng.random_range(0..10) == 0 {
                fields.scratch(&mut bytes, &mut rng);
                continue;
            }
            let field = &list[rng.random_range(0..list.len())];
            let value = fields.value(&bytes, field, &mut rng);
            what += &format!("{} bytes at {:#x} become {value:#x}, ", field.len, field.at);
            fields.set(&mut bytes, field, value);
        }
        for _ in 0..2 {
            let op = if in_table { Op::for_table(&mut rng) } else { Op::for_filesystem(&mut rng) };
            let case = Case { bench: &bench, victim, bytes: &bytes, op };
            if let Err(fault) = case.run(tally, &mut rng) {
                let message = format!("{}: {what}{:?} {fault} ({SEED}={})", victim.name, case.op, seed + number as u64);
                eprintln!("{message}");
                tally.faults.push(message);
            }
        }
        bytes.copy_from_slice(&victim.bytes);
    }
}

#[test]
fn spoiled_disks_are_grown_soundly_or_left_alone() {
    if !require(&[TOOLS, &["resize2fs"]].concat()) {
        return;
    }
    confined("hostile::spoiled_disks_are_grown_soundly_or_left_alone", MEMORY, || {
        let given = std::env::var(SEED).ok().map(|text| text.parse().unwrap());
        // Each case has a seed of its own: the one that is told repeats it as the first.
        let seed = given.unwrap_or_else(|| u64::from(rand::random::<u32>()) << 20);
        let victims = victims();
        let cases = if given.is_some() { 1 } else { (if long() { LONG_CASES } else { CASES }) / victims.len() };
        let queue = Mutex::new(victims.iter());
        let total = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let Some(victim) = queue.lock().unwrap().next() else { break };
                        let mut tally = Tally::default();
                        attack(victim, cases, seed, &mut tally);
                        let Tally { cases, done, refused, judged, doubtful, slowest, .. } = &tally;
                        eprintln!(
                            "{}: {cases} runs, {done} done, {refused} refused, {judged} judged, {doubtful} doubtful, \
                             at most {slowest:?}",
                            victim.name
                        );
                        total.lock().unwrap().extend(tally.faults);
                    }
                });
            }
        });
        let faults = total.into_inner().unwrap();
        assert!(faults.is_empty(), "{} faults, listed above; {SEED}={seed}", faults.len());
    });
}

/// Groups of 256 blocks: a hundredth of what is new is bitmaps, and nothing but the image said that they are so small.
#[test]
fn a_change_that_takes_too_much_memory_is_refused() {
    if !long() || !require(TOOLS) {
        return;
    }
    confined("hostile::a_change_that_takes_too_much_memory_is_refused", 2 * MAX_STAGED, || {
        let args = ["-t", "ext2", "-b", "1024", "-g", "256", "-N", "128", "-O", "^resize_inode"];
        let disk = Disk::new(Layout::None, false, 4 * MIB, &args);
        let before = scratch::fingerprint(&disk.image);
        let request = GrowRequest {
            image: ImageOptions { format: Some(Format::Raw), lock: false, ..ImageOptions::default() },
            size: NewSize::To(600 << 30),
            expand: Choice::Auto,
            filesystem: true,
            with: GrowWith::Native,
            verify: Verify::Auto,
            now: now(),
            dry_run: false,
        };
        let error = grow(&disk.image, &request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{}", error.chain());
        assert_eq!(scratch::fingerprint(&disk.image), before);
    });
}
