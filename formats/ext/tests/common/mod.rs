//! What the judged tests share: a whole tree read by our own code, in the judges' terms.
#![allow(dead_code, reason = "each test binary uses its part")]

use nomount_block::ReadAt;
use nomount_ext::{FileType, Filesystem, ROOT_INO, Time};
use nomount_kit::digest::{Entry, Kind, TreeDigest, content_hash};
use std::ops::ControlFlow;

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
];

/// Images whose log must be replayed, in each form, and one with orphans.
pub const DIRTY: &[&str] = &["dirty-ext3", "dirty-32bit", "dirty-csum2", "dirty-csum3", "orphan-list"];

/// Images that are read only, or refused; the word is in the message.
pub const NOT_WRITTEN: &[(&str, &str)] = &[
    ("meta-bg", "meta_bg"),
    ("sparse-super2", "sparse_super2"),
    ("inline-data", "inline_data"),
    ("ea-inode", "ea_inode"),
    ("large-dir", "large_dir"),
    ("mmp", "mmp"),
    ("quota", "quota"),
    ("project", "project"),
    ("casefold", "casefold"),
    ("encrypt", "encrypt"),
    ("verity", "verity"),
    ("bigalloc", "bigalloc"),
    ("unknown-ro-compat", "FEATURE_R31"),
    ("read-only", "read-only"),
];

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
    let mut todo = vec![(Vec::new(), ROOT_INO)];
    while let Some((path, ino)) = todo.pop() {
        let entry = our_entry(fs, ino);
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
    let content = if kind == Kind::File {
        let mut bytes = vec![0; inode.size() as usize];
        assert_eq!(fs.read(ino, 0, &mut bytes).unwrap(), bytes.len());
        content_hash(&bytes)
    } else {
        0
    };
    Entry {
        inode: ino,
        kind,
        mode: inode.mode() & 0o7777,
        flags: inode.flags(),
        uid: inode.uid(),
        gid: inode.gid(),
        project: 0,
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
            .map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), value))
            .collect(),
    }
}

/// What differs between our reading and the judges', without what only one of them shows.
pub fn assert_same(name: &str, ours: &TreeDigest, judged: &TreeDigest) {
    let changes = judged.diff(ours);
    assert!(changes.is_empty(), "{name}: {changes:#?}");
}
