//! The checker against `e2fsck -fn`: every structure's fields spoiled, and what both say compared.
//!
//! e2fsck's "clean" is a run that ends with 0 and says nothing: after some complaints it ends with 0, too. An image that
//! needs recovery is replayed by debugfs first, because `e2fsck -fn` would look past the log.

use crate::common::spoil::{self, Case};
use crate::common::{OPTIONS, in_parallel, long, seed};
use nomount_block::Memory;
use nomount_ext::{CheckOptions, Error, Report, Severity, Time, check};
use nomount_kit::ext_layout::Kind;
use nomount_kit::{fixture, judges, require, scratch, tool};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const SEED: &str = "NOMOUNT_AGREE_SEED";
/// One of so many cases is tried in the short form.
const SHARE: u32 = 40;
/// Where the first feature word that tells of a needed recovery is.
const INCOMPAT: usize = 1024 + 0x60;
const RECOVER: u8 = 4;

/// Where e2fsck and we differ, and why: part of the image's name, structure, bytes of it, who calls it clean.
struct Known {
    image: &'static str,
    is: fn(Kind) -> bool,
    bytes: Range<usize>,
    clean_for: Who,
    why: &'static str,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Who {
    E2fsck,
    Us,
}

const JOURNAL_INO: u32 = 8;

const KNOWN: &[Known] = &[
    Known {
        image: "",
        is: |kind| kind == Kind::Inode(JOURNAL_INO),
        bytes: 0x80..0x82,
        clean_for: Who::E2fsck,
        why: "e2fsck does not look at i_extra_isize of reserved inodes; the kernel does not mount it",
    },
    Known {
        image: "",
        is: |kind| kind == Kind::Inode(JOURNAL_INO),
        bytes: 0x28..0x64,
        clean_for: Who::E2fsck,
        why: "e2fsck looks for more than the journal's first block only when it replays",
    },
    Known {
        image: "",
        is: |kind| kind == Kind::Inode(JOURNAL_INO),
        bytes: 4..8,
        clean_for: Who::E2fsck,
        why: "e2fsck does not miss the blocks of a larger journal that a block map has not",
    },
    Known {
        image: "",
        is: |kind| kind == Kind::Inode(JOURNAL_INO),
        bytes: 0x6C..0x70,
        clean_for: Who::E2fsck,
        why: "e2fsck does not look at the high half of the journal's size",
    },
    Known {
        image: "ext3-1k",
        is: |kind| kind == Kind::Inode(JOURNAL_INO),
        bytes: 0x1A..0x1C,
        clean_for: Who::E2fsck,
        why: "where the journal's inode has no links, e2fsck goes by the copy of its map in the superblock",
    },
    Known {
        image: "",
        is: |kind| kind == Kind::JournalSuperblock,
        bytes: 0x10..0x14,
        clean_for: Who::E2fsck,
        why: "e2fsck looks whether s_maxlen is too small only when it replays",
    },
    Known {
        image: "dirty-",
        is: |kind| kind == Kind::Inode(JOURNAL_INO),
        bytes: 4..8,
        clean_for: Who::Us,
        why: "debugfs misses blocks of a larger journal before it replays; the inode in the log has the right size",
    },
    Known {
        image: "",
        is: |kind| kind == Kind::Superblock,
        bytes: 0x4C..0x50,
        clean_for: Who::E2fsck,
        why: "features in revision 0: e2fsck would mend the revision, and says so only where it may write",
    },
    Known {
        image: "dirty-",
        is: |kind| kind == Kind::JournalSuperblock,
        bytes: 0x20..0x24,
        clean_for: Who::E2fsck,
        why: "debugfs goes on where the journal records an error, as a kernel does not",
    },
    Known {
        image: "",
        is: |kind| kind == Kind::JournalSuperblock,
        bytes: 0x14..0x18,
        clean_for: Who::E2fsck,
        why: "e2fsck looks at s_first only when it replays",
    },
    Known {
        image: "",
        is: |kind| kind == Kind::Superblock,
        bytes: 0x274..0x27A,
        clean_for: Who::E2fsck,
        why: "e2fsck 1.47.0 does not know the high bytes of times",
    },
    Known {
        image: "dirty-",
        is: |kind| kind == Kind::JournalSuperblock,
        bytes: 0x40..0x44,
        clean_for: Who::E2fsck,
        why: "debugfs replays whatever s_nr_users is",
    },
    Known {
        image: "dirty-",
        is: |kind| kind == Kind::LogTail,
        bytes: 0xC..64,
        clean_for: Who::E2fsck,
        why: "debugfs replays the copy of a block that the filesystem does not have, and says nothing",
    },
    Known {
        image: "dirty-",
        is: |kind| kind == Kind::Superblock,
        bytes: 0xD0..0xE0,
        clean_for: Who::Us,
        why: "debugfs looks for an external journal that the superblock in the log does not name",
    },
    Known {
        image: "dirty-",
        is: |kind| matches!(kind, Kind::Superblock | Kind::Descriptor(_)),
        bytes: 0..1024,
        clean_for: Who::E2fsck,
        why: "the log holds these blocks, and debugfs replays where a kernel stops before it comes to the log",
    },
];

fn known(case: &Case, clean_for: Who) -> Option<&'static str> {
    let fits = |known: &&Known| {
        case.image.contains(known.image)
            && (known.is)(case.kind)
            && known.bytes.start < case.offset + case.len
            && case.offset < known.bytes.end
            && known.clean_for == clean_for
    };
    KNOWN.iter().find(fits).map(|known| known.why)
}

/// The present: e2fsck asks the host for it.
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time { sec: since.as_secs() as i64, nsec: 0 }
}

/// What we say of an image.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Verdict {
    Clean,
    /// Only what e2fsck is known to say nothing of.
    Silent,
    NotClean,
}

fn ours(image: &[u8]) -> (Verdict, String) {
    match check(Memory::new(image.to_vec()), OPTIONS, &CheckOptions { now: Some(now()) }) {
        Ok(report) => (verdict(&report, image[INCOMPAT] & RECOVER != 0), report.to_string()),
        Err(error @ Error::Unsupported(_)) => (Verdict::NotClean, error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

/// With `replayed`, what a replay mends does not count.
fn verdict(report: &Report, replayed: bool) -> Verdict {
    let least = if replayed { Severity::Warning } else { Severity::Recovery };
    let mut bad = report.findings().iter().filter(|finding| finding.severity >= least).peekable();
    match (bad.peek().is_some(), bad.any(|finding| !finding.e2fsck_is_silent())) {
        (false, _) => Verdict::Clean,
        (true, false) => Verdict::Silent,
        (true, true) => Verdict::NotClean,
    }
}

/// What the tools say: nothing, or their words. None where debugfs cannot open what it should replay.
fn theirs(path: &Path, replay: bool) -> Option<Result<(), String>> {
    if !replay {
        return Some(judges::e2fsck_fn(path, 0).map_err(|complaint| complaint.to_string()));
    }
    let copy = scratch::copy(path);
    let done = tool::text(&tool::output(tool::command("debugfs").args(["-w", "-R", "journal_run"]).arg(&copy)));
    if done.contains("journal_run: Filesystem not open") {
        return None;
    }
    if done.contains("journal_run:") {
        return Some(Err(done));
    }
    theirs(&copy, false)
}

/// A file that follows an image in memory: what changed is written.
struct Follower<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
}

impl Follower<'_> {
    const PIECE: usize = 4096;

    fn follow(&mut self, image: &[u8]) -> &Path {
        let file = OpenOptions::new().write(true).open(self.path).unwrap();
        for (index, (old, new)) in self.bytes.chunks_mut(Self::PIECE).zip(image.chunks(Self::PIECE)).enumerate() {
            if old != new {
                file.write_all_at(new, (index * Self::PIECE) as u64).unwrap();
                old.copy_from_slice(new);
            }
        }
        self.path
    }
}

#[derive(Default)]
struct Tally {
    cases: AtomicUsize,
    unclean: AtomicUsize,
    silent: AtomicUsize,
    not_judged: AtomicUsize,
    known: AtomicUsize,
    differ: Mutex<Vec<String>>,
}

impl Tally {
    fn compare(&self, case: &Case, image: &[u8], follower: &mut Follower<'_>) {
        self.cases.fetch_add(1, Ordering::Relaxed);
        let (said, ours) = ours(image);
        let Some(judged) = theirs(follower.follow(image), image[INCOMPAT] & RECOVER != 0) else {
            self.not_judged.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.unclean.fetch_add(judged.is_err().into(), Ordering::Relaxed);
        let clean_for = match (said, &judged) {
            (Verdict::Clean, Ok(())) | (Verdict::NotClean | Verdict::Silent, Err(_)) => return,
            (Verdict::Silent, Ok(())) => {
                self.silent.fetch_add(1, Ordering::Relaxed);
                return;
            }
            (Verdict::NotClean, Ok(())) => Who::E2fsck,
            (Verdict::Clean, Err(_)) => Who::Us,
        };
        if known(case, clean_for).is_some() {
            self.known.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let theirs = judged.err().unwrap_or_default();
        self.differ.lock().unwrap().push(format!("{case}\nwe say\n{ours}e2fsck says\n{theirs}"));
    }
}

#[test]
fn e2fsck_and_we_agree_on_what_is_clean() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let seed = seed(SEED);
    let tally = Tally::default();
    in_parallel(spoil::IMAGES, |name| {
        let mut rng = StdRng::seed_from_u64(seed);
        let path = fixture::file(name);
        let mut follower = Follower { path: &path, bytes: fixture::bytes(name) };
        let pick = |rng: &mut StdRng| long() || rng.random_range(0..SHARE) == 0;
        spoil::each_field(name, &mut rng, pick, |image, case| tally.compare(&case, image, &mut follower));
    });
    let differ = tally.differ.into_inner().unwrap();
    let count = |number: &AtomicUsize| number.load(Ordering::Relaxed);
    eprintln!(
        "{} images, {} not clean for e2fsck, {} only for us, {} not judged, {} known to differ ({} reasons), {} differ",
        count(&tally.cases),
        count(&tally.unclean),
        count(&tally.silent),
        count(&tally.not_judged),
        count(&tally.known),
        KNOWN.len(),
        differ.len()
    );
    assert!(differ.is_empty(), "=== {}", differ.join("\n=== "));
}
