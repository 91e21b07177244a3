//! A change interrupted anywhere, and what must be there afterwards.

use super::judged::Staged;
use super::{OPTIONS, long, our_digest};
use nomount_block::{HostFile, Memory, Overlay, ReadAt, Record, Spill};
use nomount_ext::{Committed, Error, Filesystem, Options};
use nomount_kit::crash::{Plan, State, each_state};
use nomount_kit::{TreeDigest, judges, scratch};
use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;

/// Of so many states one is read by debugfs too.
const SAMPLE: usize = 10;
/// The bytes of the primary superblock on the device.
const SUPERBLOCK: Range<u64> = 1024..2048;
/// As [`OPTIONS`]; that nobody changes the mmp block while we wait is certain here.
const RECOVERING: Options = Options { mmp_wait: Some(|_| {}), ..OPTIONS };

/// One image, one change, and what the device was told.
pub struct Case {
    pub name: String,
    pub base: Memory,
    pub log: Vec<Record>,
    /// The tree before, and after each transaction.
    pub trees: Vec<TreeDigest>,
    pub committed: Committed,
    /// Indexes of the writes that make the transactions visible.
    points: Vec<usize>,
    /// The bytes of the mmp block on the device, with feature mmp.
    mmp: Option<Range<u64>>,
}

/// The tree as our reader shows it, through the log if there is one to replay.
pub fn read(image: &dyn ReadAt) -> Result<TreeDigest, Error> {
    Filesystem::open(image, Options::default()).map(|fs| our_digest(&fs))
}

pub fn host_file(path: &Path) -> HostFile {
    HostFile::new(File::open(path).unwrap(), false).unwrap()
}

/// A write of a journal superblock whose log is not empty.
fn is_commit_point(record: &Record) -> bool {
    const SUPERBLOCK_V2: [u8; 8] = [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 4];
    matches!(record, Record::Write { data, .. } if data.starts_with(&SUPERBLOCK_V2) && data[0x1C..0x20] != [0; 4])
}

fn open_again(path: &Path) -> Result<(), Error> {
    Filesystem::open_for_write(Memory::new(fs::read(path).unwrap()), RECOVERING).map(drop)
}

fn is_torn(error: &Error) -> bool {
    let alone = |what: &str| what.starts_with("superblock: checksum") || what.starts_with("mmp block");
    matches!(error, Error::Corrupt(what) if alone(&what.to_string()))
}

impl Case {
    /// Runs a change on an image and commits it.
    pub fn of(name: &str, base: Memory, change: impl FnOnce(&mut Staged)) -> Self {
        let mut fs = Filesystem::open_for_write(Overlay::new(base.clone(), Spill::Never), OPTIONS).unwrap();
        change(&mut fs);
        let committed = fs.commit().unwrap();
        let log = fs.into_device().log().to_vec();
        let points: Vec<usize> = (0..log.len()).filter(|at| is_commit_point(&log[*at])).collect();
        if committed.journaled {
            assert_eq!(points.len(), committed.transactions, "{name}");
        }
        // What is there when all of a transaction is, and nothing of the next one's commit.
        let ends = points.iter().skip(1).copied().chain([log.len()]);
        let mut image = base.clone();
        let mut trees = vec![read(&base).unwrap()];
        let mut done = 0;
        for end in ends {
            nomount_block::replay(&mut image, &log[done..end]).unwrap();
            done = end;
            trees.push(read(&image).unwrap());
        }
        assert_ne!(trees.first(), trees.last(), "{name}");
        let mut mmp = [0; 8];
        base.read_at(1024 + 0x168, &mut mmp).unwrap();
        let size = u64::from(Filesystem::open(&base, OPTIONS).unwrap().geometry().block_size);
        let mmp = Some(u64::from_le_bytes(mmp) * size).filter(|at| *at != 0).map(|at| at..at + 1024);
        Self { name: name.into(), base, log, trees, committed, points, mmp }
    }

    /// Whether a write cut after `torn` bytes ends inside the superblock (or the mmp block, of which the same is true).
    /// It is checksummed and read before any replay, so the writes of it alone must not tear: there is no format in
    /// which they could, and the kernel relies on the same. Without a checksum even that is harmless.
    fn tears_superblock(&self, state: &State) -> bool {
        let (Some(torn), Some(&last)) = (state.torn, state.chosen.last()) else { return false };
        let Record::Write { offset, .. } = &self.log[last] else { return false };
        let end = offset + torn as u64;
        let inside = |range: &Range<u64>| range.start < end && end < range.end;
        inside(&SUPERBLOCK) || self.mmp.as_ref().is_some_and(inside)
    }

    /// What the tree must be: a transaction is there as soon as its commit point is, whatever else is missing.
    pub fn wanted(&self, state: &State) -> &TreeDigest {
        let reached = |point: &&usize| **point < state.durable || state.chosen.contains(point);
        &self.trees[self.points.iter().filter(reached).count()]
    }

    pub fn assert_is(&self, who: &str, state: &State, found: &TreeDigest, wanted: &TreeDigest) {
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
        let mut fs = Filesystem::open_for_write(image, RECOVERING).unwrap();
        fs.commit().unwrap();
        let recovered = scratch::device(fs.device());
        judges::e2fsck_fn(&recovered, 0).unwrap_or_else(|e| panic!("{}, {state:?}, by us: {e}", self.name));
        self.assert_is("us after our recovery", state, &read(fs.device()).unwrap(), self.wanted(state));
    }

    /// Every state of the plan recovered by e2fsck and by us. Returns how many there were, and how many of them tear
    /// the superblock itself and are refused.
    pub fn assert_recovers(&self, plan: &Plan) -> (usize, usize) {
        let (mut number, mut excluded) = (0, 0);
        let states = each_state(&self.base, &self.log, plan, |state, path| {
            number += 1;
            if self.tears_superblock(state)
                && let Err(error) = open_again(path)
            {
                assert!(is_torn(&error), "{}, {state:?}: {error}", self.name);
                excluded += 1;
                return;
            }
            self.recovered_by_us(state, path);
            // With feature mmp e2fsck waits for 11 seconds at least, to see that nobody else writes.
            if self.mmp.is_none() || long() {
                self.recovered_by_e2fsck(state, path);
                // debugfs reads the disk as it is: only what was recovered.
                if number % SAMPLE == 0 {
                    self.assert_is("debugfs", state, &TreeDigest::of_ext(path, 0), self.wanted(state));
                }
            }
        });
        (states, excluded)
    }
}
