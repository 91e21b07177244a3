//! Reading everything that can be reached.

use nomount_block::ReadAt;
use nomount_ext::{Error, FileType, Filesystem, ROOT_INO};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Names that are visited: more than any of our images has, so that only one that is spoiled comes to it.
const MAX_NAMES: usize = 4000;
/// Bytes of contents that are read in all: twice the largest image.
const MAX_BYTES: u64 = 4 << 20;
const PIECE: usize = 32 << 10;

/// What was seen.
#[derive(Debug, Default)]
pub struct Walk {
    /// Directory, name, inode; without the dots.
    pub names: Vec<(u32, Vec<u8>, u32)>,
    /// Regular files.
    pub files: BTreeSet<u32>,
    /// Directories, the root among them.
    pub dirs: BTreeSet<u32>,
    /// The first thing that was corrupt.
    pub corrupt: Option<String>,
    left: u64,
}

/// Looks at everything, past every error.
pub fn walk<D: ReadAt>(fs: &Filesystem<D>) -> Walk {
    let mut seen = BTreeSet::new();
    let mut todo = vec![ROOT_INO];
    let mut walk = Walk { left: MAX_BYTES, ..Walk::default() };
    while let Some(ino) = todo.pop() {
        if seen.insert(ino) {
            walk.visit(fs, ino, &mut todo);
        }
    }
    let _ = fs.info();
    let statfs = fs.statfs();
    walk.note("statfs", statfs);
    let blocks = fs.minimum_blocks();
    if let Some(blocks) = walk.note("minimum size", blocks) {
        assert!(blocks <= fs.geometry().blocks_count, "a minimum of {blocks} blocks");
    }
    walk
}

impl Walk {
    fn note<T>(&mut self, what: &str, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => return Some(value),
            // The device is memory: it fails where somebody reads behind its end.
            Err(Error::Device(error)) => panic!("{what}: {error:?}"),
            Err(error @ Error::Corrupt(_)) => {
                self.corrupt.get_or_insert_with(|| format!("{what}: {error}"));
            }
            Err(_) => {}
        }
        None
    }

    fn visit<D: ReadAt>(&mut self, fs: &Filesystem<D>, ino: u32, todo: &mut Vec<u32>) {
        let inode = fs.inode(ino);
        let Some(inode) = self.note("inode", inode) else { return };
        let _ = (inode.device(), inode.crtime(), inode.atime(), inode.mtime(), inode.ctime(), inode.uid(), inode.gid());
        let _ = (inode.project(), inode.links(), inode.blocks_512(fs.geometry()));
        let xattrs = fs.xattrs(ino);
        self.note("attributes", xattrs);
        match inode.file_type() {
            Some(FileType::Directory) => {
                self.dirs.insert(ino);
                self.list(fs, ino, todo);
            }
            Some(FileType::Symlink) => {
                let target = fs.read_link(ino);
                self.note("link", target);
            }
            Some(FileType::Regular) => {
                self.files.insert(ino);
                self.contents(fs, ino, inode.size());
            }
            _ => {}
        }
    }

    fn list<D: ReadAt>(&mut self, fs: &Filesystem<D>, ino: u32, todo: &mut Vec<u32>) {
        let mut names = Vec::new();
        let room = MAX_NAMES.saturating_sub(self.names.len());
        let listed = fs.read_dir::<()>(ino, |entry| {
            if entry.name != b"." && entry.name != b".." {
                todo.push(entry.ino);
                names.push((ino, entry.name, entry.ino));
            }
            if names.len() >= room { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.note("directory", listed);
        for (dir, name, ino) in &names {
            let found = fs.lookup(*dir, name);
            let Some(found) = self.note("lookup", found) else { break };
            if found.is_none_or(|found| found.ino != *ino) {
                let name = name.escape_ascii();
                self.corrupt.get_or_insert_with(|| format!("directory {dir} lists {name} and does not find it"));
            }
        }
        let missing = fs.lookup(ino, b"a name that is not there");
        self.note("lookup", missing);
        self.names.append(&mut names);
    }

    fn contents<D: ReadAt>(&mut self, fs: &Filesystem<D>, ino: u32, size: u64) {
        let runs = fs.runs(ino);
        let runs = self.note("map", runs).unwrap_or_default();
        let mut buf = vec![0; PIECE];
        let block = u64::from(fs.geometry().block_size);
        let ends = [0, size.saturating_sub(4096), u64::MAX].map(|at| (at, 4096));
        let stretches = runs.iter().map(|run| (u64::from(run.file_block) * block, u64::from(run.len) * block));
        for (mut at, len) in ends.into_iter().chain(stretches) {
            let end = at.saturating_add(len);
            while at < end && self.left > 0 {
                let len = (end - at).min(PIECE as u64);
                self.left = self.left.saturating_sub(len);
                let read = fs.read(ino, at, &mut buf[..len as usize]);
                let Some(read) = self.note("contents", read) else { return };
                if read == 0 {
                    break;
                }
                at += read as u64;
            }
        }
    }
}
