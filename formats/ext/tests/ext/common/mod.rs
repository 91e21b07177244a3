//! What the judged tests share: a whole tree read by our own code, in the judges' terms.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod crash_case;
pub mod files;
pub mod judged;
pub mod log;
pub mod made;
pub mod model;
pub mod spoil;
pub mod workloads;

pub use judged::{Staged, finish, judged, open as open_staged};
pub use workloads::{bytes, slow_target, typical_change};

use nomount_block::ReadAt;
use nomount_ext::{FileType, Filesystem, Options, ROOT_INO, Time, acl_to_disk};
use nomount_kit::digest::{Entry, Kind, TreeDigest, content_hash, sparse_hash};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::thread;

/// The clock of every test.
pub const NOW: Time = Time { sec: 1_780_000_000, nsec: 123_456_789 };
/// What filesystems are opened with.
pub const OPTIONS: Options = Options { now: NOW, seed: 7, mmp_wait: None };

/// Calls `check` for each item, on as many threads as the machine has processors. The judges are processes, and most
/// of the time goes into starting them.
pub fn in_parallel<T: Send>(items: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let items: Vec<T> = items.into_iter().collect();
    let queue = Mutex::new(items.into_iter());
    let next = || queue.lock().expect("nothing panics while it holds the queue").next();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = next() {
                    check(item);
                }
            });
        }
    });
}

/// Whether the long form of the tests is wanted.
pub fn long() -> bool {
    std::env::var("NOMOUNT_LONG").as_deref() == Ok("1")
}

/// The seed of a random test, from a variable or from chance; printed, so that a failure can be repeated.
pub fn seed(variable: &str) -> u64 {
    let seed = match std::env::var(variable) {
        Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("{variable}={seed} is not a number")),
        Err(_) => rand::random(),
    };
    eprintln!("{variable}={seed}");
    seed
}

/// Images that are written, with every feature of the "must" row.
pub const WRITABLE: &[&str] = &[
    "ext2-1k",
    "ext3-1k",
    "ext3-4k",
    "ext4-142",
    "ext4-143",
    "ext4-rpi",
    "ext4-147",
    "ext4-1k",
    "ext4-2k",
    "ext4-nojournal",
    "ext4-i128",
    "ext4-i128-csum",
    "fast_commit",
    "stable_inodes",
    "meta-bg",
    "sparse-super2",
    "ea-inode",
    "mmp",
    "quota",
    "project",
    "casefold",
    "encrypt",
    "verity",
    "bigalloc",
    "large-dir",
    "inline-data",
];

/// Images whose log must be replayed, in each form, and one with orphans.
pub const DIRTY: &[&str] = &["dirty-ext3", "dirty-32bit", "dirty-csum2", "dirty-csum3", "orphan-list"];

/// Images that are read only, or refused; the word is in the message.
pub const NOT_WRITTEN: &[(&str, &str)] = &[("unknown-ro-compat", "FEATURE_R31"), ("read-only", "read-only")];

fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::Regular => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::CharDevice => Kind::Char,
        FileType::BlockDevice => Kind::Block,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
    }
}

fn time(time: Time) -> (i64, u32) {
    (time.sec, time.nsec)
}

/// Reads the whole tree through our own reader.
pub fn our_digest<D: ReadAt>(fs: &Filesystem<D>) -> TreeDigest {
    let mut digest = TreeDigest::default();
    let mut entries = BTreeMap::new();
    let mut todo = vec![(Vec::new(), ROOT_INO)];
    while let Some((path, ino)) = todo.pop() {
        let entry = entries.entry(ino).or_insert_with(|| our_entry(fs, ino)).clone();
        if entry.kind == Kind::Dir {
            fs.read_dir::<()>(ino, |child| {
                if child.name != b"." && child.name != b".." {
                    todo.push(([&path[..], b"/", &child.name].concat(), child.ino));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        }
        let path = if path.is_empty() { b"/".to_vec() } else { path };
        digest.entries.insert(path, entry);
    }
    digest
}

fn our_entry<D: ReadAt>(fs: &Filesystem<D>, ino: u32) -> Entry {
    let inode = fs.inode(ino).unwrap();
    let kind = kind(inode.file_type().unwrap());
    let content = if kind == Kind::File { our_content(fs, ino, inode.size()) } else { 0 };
    Entry {
        inode: ino,
        kind,
        mode: inode.mode() & 0o7777,
        flags: inode.flags(),
        uid: inode.uid(),
        gid: inode.gid(),
        project: inode.project(),
        size: inode.size(),
        links: inode.links().into(),
        mtime: time(inode.mtime()),
        ctime: time(inode.ctime()),
        atime: time(inode.atime()),
        crtime: inode.crtime().map(time),
        device: inode.device(),
        target: (kind == Kind::Symlink).then(|| fs.read_link(ino).unwrap()),
        content,
        xattrs: fs
            .xattrs(ino)
            .unwrap()
            .into_iter()
            .map(|(name, value)| {
                // The judge shows access control lists as they are stored.
                let is_acl = name.starts_with(b"system.posix_acl_");
                let value = if is_acl { acl_to_disk(&value).unwrap() } else { value };
                (String::from_utf8_lossy(&name).into_owned(), value)
            })
            .collect(),
    }
}

/// Holes are left out, so that a sparse file of 4 GiB takes no time; some of each is read to see that it is zero.
fn our_content<D: ReadAt>(fs: &Filesystem<D>, ino: u32, size: u64) -> u128 {
    let block = u64::from(fs.geometry().block_size);
    let runs = fs.runs(ino).unwrap();
    if runs.is_empty() && size <= block {
        let mut bytes = vec![0; size as usize];
        assert_eq!(fs.read(ino, 0, &mut bytes).unwrap(), bytes.len());
        return content_hash(&bytes);
    }
    let mut pieces = Vec::new();
    let mut hole = 0;
    for run in runs {
        let start = u64::from(run.file_block) * block;
        let end = (start + u64::from(run.len) * block).min(size);
        if hole < start.min(size) {
            let mut bytes = vec![1; (start.min(size) - hole).min(block) as usize];
            assert_eq!(fs.read(ino, hole, &mut bytes).unwrap(), bytes.len());
            assert!(bytes.iter().all(|byte| *byte == 0), "inode {ino}: hole at {hole}");
        }
        if start < end {
            let mut bytes = vec![0; (end - start) as usize];
            assert_eq!(fs.read(ino, start, &mut bytes).unwrap(), bytes.len());
            pieces.push((start, bytes));
        }
        hole = end;
    }
    sparse_hash(size, &pieces)
}

/// What differs between our reading and the judges', without what only one of them shows.
pub fn assert_same(name: &str, ours: &TreeDigest, judged: &TreeDigest) {
    let changes = judged.diff(ours);
    assert!(changes.is_empty(), "{name}: {changes:#?}");
}
