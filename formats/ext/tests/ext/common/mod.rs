//! What the judged tests share: a whole tree read by our own code, in the judges' terms.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod crash_case;
pub mod files;
pub mod judged;
pub mod log;
pub mod made;
pub mod model;
pub mod rechecksum;
pub mod spoil;
pub mod workloads;

use nomount_block::{Memory, Overlay, ReadAt, Spill, WriteAt};
use nomount_ext::{Attrs, Error, FileType, Filesystem, New, Options, ROOT_INO, Time, acl_to_disk};
use nomount_kit::digest::{Entry, Kind, TreeDigest, content_hash, sparse_hash};
use nomount_kit::{judges, scratch};
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

/// Some bytes that are not all alike.
pub fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 7) as u8 ^ seed).collect()
}

/// Too long for the inode. No part of it is longer than a name: readers differ in what they think of that.
pub fn slow_target() -> Vec<u8> {
    b"xy/".repeat(100)
}

/// Creates, replaces, appends, sets: at least one of each.
pub fn typical_change<D: WriteAt>(fs: &mut Filesystem<D>) -> Result<(), Error> {
    let etc = fs.resolve(b"/etc")?;
    let app = fs.create(etc, b"app", &New::Dir, Attrs::default())?;
    for (index, len) in [0, 1, 1023, 1024, 4096, 5000, 70_000, 300_000].into_iter().enumerate() {
        let name = format!("file-{index}");
        let attrs = Attrs { mode: Some(0o640), uid: Some(70_000), gid: Some(5), ..Attrs::default() };
        let ino = fs.create(app, name.as_bytes(), &New::File, attrs)?;
        fs.write_contents(ino, &bytes(len, index as u8))?;
        fs.append(ino, &bytes(100 * index + 1, 9))?;
    }
    fs.create(app, b"fast", &New::Symlink(b"../passwd"), Attrs::default())?;
    fs.create(app, b"slow", &New::Symlink(&slow_target()), Attrs::default())?;
    fs.create(app, b"null", &New::CharDevice(1, 3), Attrs::default())?;
    fs.create(app, b"big", &New::BlockDevice(300, 70_000), Attrs::default())?;
    fs.create(app, b"fifo", &New::Fifo, Attrs::default())?;
    fs.create(app, b"socket", &New::Socket, Attrs::default())?;
    let shadow = fs.resolve(b"/etc/shadow")?;
    fs.write_contents(shadow, b"root:$6$x:1:::::\n")?;
    let key = fs.resolve(b"/root/.ssh/authorized_keys")?;
    fs.append(key, b"ssh-ed25519 AAAA one\n")?;
    fs.set_attrs(key, Attrs { mode: Some(0o600), mtime: Some(Time { sec: 1, nsec: 2 }), ..Attrs::default() })?;
    fs.set_xattr(key, b"security.selinux", Some(b"system_u:object_r:ssh_home_t:s0\0"))?;
    fs.set_xattr(key, b"user.long", Some(&bytes(400, 3)))
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

/// A filesystem in memory whose changes are staged.
pub type Staged = Filesystem<Overlay<Memory>>;

/// Opens an image for changes.
pub fn open_staged(image: Memory) -> Staged {
    Filesystem::open_for_write(Overlay::new(image, Spill::Never), OPTIONS).unwrap()
}

/// Commits, and gives the image.
pub fn finish(mut fs: Staged) -> Memory {
    fs.commit().unwrap();
    fs.into_device().commit().unwrap()
}

/// Judged clean, read alike by debugfs and by us; returns the tree.
pub fn judged(name: &str, image: &Memory) -> TreeDigest {
    let file = scratch::device(image);
    judges::e2fsck_fn(&file, 0).unwrap_or_else(|e| panic!("{name}: {e}"));
    let digest = TreeDigest::of_ext(&file, 0);
    let fs = Filesystem::open(image, Options::default()).unwrap();
    assert_same(name, &our_digest(&fs), &digest);
    digest
}
