//! A commit interrupted anywhere leaves the old state or the new one, whoever recovers it: e2fsck or we.

mod common;

use common::{DIRTY, OPTIONS, WRITABLE, assert_same, in_parallel, our_digest, typical_change};
use nomount_block::{HostFile, Memory, Overlay, ReadAt, Record, Spill};
use nomount_ext::{Error, Filesystem, Options};
use nomount_kit::crash::{Plan, State, each_state};
use nomount_kit::{TreeDigest, fixture, judges, require, scratch};
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

const NO_JOURNAL: &[&str] = &["ext2-1k", "ext4-nojournal"];
/// States of one image; all of them with `NOMOUNT_LONG=1`. Nothing, everything and each barrier are always among them.
const STATES: usize = 30;
/// Of so many states one is read by debugfs too.
const SAMPLE: usize = 10;

/// The bytes of the primary superblock on the device.
const SUPERBLOCK: std::ops::Range<u64> = 1024..2048;

/// One image, one change, and what the device was told.
struct Case {
    name: &'static str,
    base: Memory,
    log: Vec<Record>,
    before: TreeDigest,
    after: TreeDigest,
    /// Index of the write that makes the change visible.
    commit_point: Option<usize>,
}

fn read(image: &dyn ReadAt) -> Result<TreeDigest, Error> {
    Filesystem::open(image, Options::default()).map(|fs| our_digest(&fs))
}

/// A write of a journal superblock whose log is not empty.
fn is_commit_point(record: &Record) -> bool {
    const SUPERBLOCK_V2: [u8; 8] = [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 4];
    matches!(record, Record::Write { data, .. } if data.starts_with(&SUPERBLOCK_V2) && data[0x1C..0x20] != [0; 4])
}

impl Case {
    fn of(name: &'static str) -> Self {
        let base = fixture::memory(name);
        let before = read(&base).unwrap();
        let mut fs = Filesystem::open_for_write(Overlay::new(base.clone(), Spill::Never), OPTIONS).unwrap();
        typical_change(&mut fs).unwrap();
        fs.commit().unwrap();
        let overlay = fs.into_device();
        let log = overlay.log().to_vec();
        let after = read(&overlay.commit().unwrap()).unwrap();
        assert_ne!(before, after);
        let points: Vec<usize> = (0..log.len()).filter(|at| is_commit_point(&log[*at])).collect();
        assert!(points.len() <= 1, "{name}: {points:?}");
        Self { name, base, log, before, after, commit_point: points.first().copied() }
    }

    /// Whether a write cut after `torn` bytes ends inside the superblock. It is checksummed and read before any
    /// replay, so the writes of it alone must not tear: there is no format in which they could, and the kernel relies
    /// on the same. Without a checksum even that is harmless.
    fn tears_superblock(&self, state: &State) -> bool {
        let (Some(torn), Some(&last)) = (state.torn, state.chosen.last()) else { return false };
        let Record::Write { offset, .. } = &self.log[last] else { return false };
        let end = offset + torn as u64;
        SUPERBLOCK.start < end && end < SUPERBLOCK.end
    }

    /// What the tree must be: the change is there as soon as its commit point is, whatever else is missing.
    fn wanted(&self, state: &State) -> &TreeDigest {
        let point = self.commit_point.expect("a journal");
        if point < state.durable || state.chosen.contains(&point) { &self.after } else { &self.before }
    }

    fn assert_is(&self, who: &str, state: &State, found: &TreeDigest, wanted: &TreeDigest) {
        let changes = wanted.diff(found);
        assert!(changes.is_empty(), "{}, {state:?}, read by {who}: {changes:#?}", self.name);
    }

    /// e2fsck recovers the file as a boot would, and finds nothing on a second look.
    fn recovered_by_e2fsck(&self, state: &State, path: &Path) {
        judges::e2fsck_recover(path, 0).unwrap_or_else(|e| panic!("{}, {state:?}: {e}", self.name));
        judges::e2fsck_fn(path, 0).unwrap_or_else(|e| panic!("{}, {state:?}: {e}", self.name));
        let found = read(&host_file(path)).unwrap_or_else(|e| panic!("{}, {state:?}: {e}", self.name));
        self.assert_is("us after e2fsck", state, &found, self.wanted(state));
    }

    /// We show the recovered state without writing, and leave it on the disk when we write.
    fn recovered_by_us(&self, state: &State, path: &Path) {
        let image = Memory::new(fs::read(path).unwrap());
        let found = read(&image).unwrap_or_else(|e| panic!("{}, {state:?}: {e}", self.name));
        self.assert_is("us through the log", state, &found, self.wanted(state));
        let mut fs = Filesystem::open_for_write(image, OPTIONS).unwrap();
        fs.commit().unwrap();
        let recovered = scratch::device(fs.device());
        judges::e2fsck_fn(&recovered, 0).unwrap_or_else(|e| panic!("{}, {state:?}, by us: {e}", self.name));
        self.assert_is("us after our recovery", state, &read(fs.device()).unwrap(), self.wanted(state));
    }
}

fn host_file(path: &Path) -> HostFile {
    HostFile::new(File::open(path).unwrap(), false).unwrap()
}

fn bad_superblock(error: &Error) -> bool {
    matches!(error, Error::Corrupt(what) if what.to_string().starts_with("superblock: checksum"))
}

#[test]
fn with_a_journal_every_crash_is_old_or_new() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let (states, excluded) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let journaled = WRITABLE.iter().filter(|name| !NO_JOURNAL.contains(name)).chain(DIRTY);
    in_parallel(journaled, |name| {
        let case = Case::of(name);
        let mut number = 0;
        let done = each_state(&case.base, &case.log, &Plan::bounded(STATES), |state, path| {
            number += 1;
            if case.tears_superblock(state)
                && let Err(error) = read(&host_file(path))
            {
                assert!(bad_superblock(&error), "{name}, {state:?}: {error}");
                excluded.fetch_add(1, Ordering::Relaxed);
                return;
            }
            case.recovered_by_us(state, path);
            case.recovered_by_e2fsck(state, path);
            if number % SAMPLE == 0 {
                assert_same(name, case.wanted(state), &TreeDigest::of_ext(path, 0));
            }
        });
        states.fetch_add(done, Ordering::Relaxed);
    });
    eprintln!("{states:?} states, of which {excluded:?} tear a lone superblock");
}

/// What follows the first superblock write has no protection of the filesystem's own: see `commit_plain`.
#[test]
fn without_a_journal_nothing_shows_before_the_first_superblock_write() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(NO_JOURNAL, |name| {
        let mut case = Case::of(name);
        assert!(case.commit_point.is_none());
        let first_barrier = case.log.iter().position(|record| *record == Record::Barrier).unwrap();
        assert!(first_barrier > 5, "{name}: only {first_barrier} writes in place");
        case.log.truncate(first_barrier + 1);
        each_state(&case.base, &case.log, &Plan::bounded(STATES), |state, path| {
            judges::e2fsck_fn(path, 0).unwrap_or_else(|e| panic!("{name}, {state:?}: {e}"));
            case.assert_is("us", state, &read(&host_file(path)).unwrap(), &case.before);
        });
    });
}
