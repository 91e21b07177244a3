//! How much space files take, as du(1) counts it.

use crate::error::Result;
use crate::tree::{FileKind, FileTree, GuestPath, Stat, Walk};
use std::collections::HashSet;

/// What is counted, and of what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuOptions {
    /// Lengths of regular files and symbolic links, in place of what is allocated for everything.
    pub apparent_size: bool,
    /// Files, too, and not only directories.
    pub all: bool,
    /// Directories, and with `all` files, deeper than this are counted and not told.
    pub max_depth: usize,
    /// What is in directories where other filesystems are mounted is not counted.
    pub one_filesystem: bool,
}

/// The space that is taken by files and all that is below them.
#[derive(Debug)]
pub struct Usage {
    options: DuOptions,
    /// Files that were counted, by filesystem and inode number: their other names take no space.
    seen: HashSet<(u32, u64)>,
    /// Whether directories may be met again, by another path of the caller's.
    several: bool,
    /// Bytes so far.
    total: u64,
}

/// A directory that is not at its end yet.
struct Open {
    path: GuestPath,
    bytes: u64,
}

impl Usage {
    /// Nothing counted yet; with `several`, a directory is counted once under the first path that it is met by.
    pub fn new(options: DuOptions, several: bool) -> Self {
        Self { options, seen: HashSet::new(), several, total: 0 }
    }

    /// Bytes of everything that was counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Counts what is at `top`, which has no links in it, and below. `sink` gets paths with bytes, directories after
    /// what is in them.
    pub fn count(
        &mut self,
        tree: &dyn FileTree,
        top: &GuestPath,
        sink: &mut dyn FnMut(&GuestPath, u64) -> Result<()>,
    ) -> Result<()> {
        let mut walk = Walk::new(top.clone());
        let mut open: Vec<Open> = Vec::new();
        let dev = tree.stat(top)?.dev;
        while let Some((path, stat)) = walk.next(tree)? {
            while open.last().is_some_and(|folder| !path.is_below(&folder.path)) {
                self.close(top, &mut open, sink)?;
            }
            let again = (self.several || stat.kind != FileKind::Dir && stat.links > 1)
                && stat.ino != 0
                && !self.seen.insert(stat.id());
            if self.options.one_filesystem && stat.dev != dev {
                walk.prune();
            }
            if again {
                walk.prune();
                continue;
            }
            let bytes = self.bytes_of(&stat);
            self.total = self.total.saturating_add(bytes);
            if stat.kind == FileKind::Dir {
                open.push(Open { path, bytes });
                continue;
            }
            if let Some(folder) = open.last_mut() {
                folder.bytes = folder.bytes.saturating_add(bytes);
            }
            if path == *top || self.options.all && self.is_told(top, &path) {
                sink(&path, bytes)?;
            }
        }
        while !open.is_empty() {
            self.close(top, &mut open, sink)?;
        }
        Ok(())
    }

    fn bytes_of(&self, stat: &Stat) -> u64 {
        match (self.options.apparent_size, stat.kind) {
            (false, _) => stat.blocks.saturating_mul(512),
            // The length of a directory is a matter of the filesystem, not of what is in it.
            (true, FileKind::File | FileKind::Symlink) => stat.size,
            (true, _) => 0,
        }
    }

    fn is_told(&self, top: &GuestPath, path: &GuestPath) -> bool {
        path.components().len() - top.components().len() <= self.options.max_depth
    }

    fn close(
        &self,
        top: &GuestPath,
        open: &mut Vec<Open>,
        sink: &mut dyn FnMut(&GuestPath, u64) -> Result<()>,
    ) -> Result<()> {
        let Some(folder) = open.pop() else { return Ok(()) };
        if let Some(parent) = open.last_mut() {
            parent.bytes = parent.bytes.saturating_add(folder.bytes);
        }
        if self.is_told(top, &folder.path) { sink(&folder.path, folder.bytes) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn tree() -> MemTree {
        let mut tree = MemTree::new();
        tree.file("/d/a/one", "1").file("/d/a/b/two", "22").file("/d/three", "333").link("/d/link", "four");
        tree.hard_link("/d/three", "/d/a/again");
        tree
    }

    fn told(options: DuOptions, tops: &[&str]) -> (Vec<String>, u64) {
        let tree = tree();
        let mut usage = Usage::new(options, tops.len() > 1);
        let mut lines = Vec::new();
        for top in tops {
            let sink = &mut |path: &GuestPath, bytes: u64| {
                lines.push(format!("{bytes} {path}"));
                Ok(())
            };
            usage.count(&tree, &GuestPath::parse(top).unwrap(), sink).unwrap();
        }
        (lines, usage.total())
    }

    #[test]
    fn directories_hold_what_is_below_them_and_second_names_take_nothing() {
        let options = DuOptions { apparent_size: true, all: false, max_depth: usize::MAX, one_filesystem: false };
        assert_eq!(told(options, &["/d"]).0, ["2 /d/a/b", "6 /d/a", "10 /d"]);
        let all = DuOptions { all: true, ..options };
        let lines = ["3 /d/a/again", "2 /d/a/b/two", "2 /d/a/b", "1 /d/a/one", "6 /d/a", "4 /d/link", "10 /d"];
        assert_eq!(told(all, &["/d"]), (lines.map(str::to_owned).to_vec(), 10));
        assert_eq!(told(DuOptions { max_depth: 0, ..all }, &["/d"]).0, ["10 /d"]);
        assert_eq!(told(DuOptions { max_depth: 1, ..all }, &["/d"]).0, ["6 /d/a", "4 /d/link", "10 /d"]);
        assert_eq!(told(options, &["/d/three"]).0, ["3 /d/three"]);
    }

    #[test]
    fn what_several_paths_have_in_common_is_counted_once() {
        let options = DuOptions { apparent_size: true, all: false, max_depth: 0, one_filesystem: false };
        let (lines, total) = told(options, &["/d/a", "/d", "/d/three"]);
        assert_eq!((lines, total), (vec!["6 /d/a".to_owned(), "4 /d".to_owned()], 10));
    }
}
