//! Going through a tree, whatever it holds: the walk ends also where a corrupt directory is inside of itself.

use super::{FileKind, FileTree, GuestPath, MAX_NAME, Stat};
use crate::error::{Error, ErrorKind, Result};
use nomount_block::Held;
use std::collections::HashSet;

/// The deepest directory that is gone into: no path of `MAX_PATH` bytes names a deeper one.
const MAX_DEPTH: usize = 2048;

/// Memory of a directory that is remembered: the set of them may have room for twice as many.
const SEEN_BYTES: u64 = 64;

/// A directory that is being gone through.
#[derive(Debug)]
struct Folder {
    /// The names in it that are still to come, the next one last.
    names: Vec<Vec<u8>>,
    /// Their memory.
    _held: Option<Held>,
}

/// A walk through what is at a path and below, directories before what is in them, names sorted, links not followed.
///
/// Paths come in ascending order. The tree may be changed between two steps, but for the names that are still to come.
#[derive(Debug)]
pub struct Walk {
    /// Where it begins, until the first step.
    top: Option<GuestPath>,
    max_depth: usize,
    /// The directories from the top to `here`.
    folders: Vec<Folder>,
    /// The last of these directories.
    here: GuestPath,
    /// Whether the last of them is what the last step gave.
    just_entered: bool,
    /// Directories, by filesystem and inode number: none has two names.
    seen: HashSet<(u32, u64)>,
    /// The memory of these, where that of names is counted.
    seen_held: Option<Held>,
}

impl Walk {
    /// A walk that begins at `top`, which has no links in it.
    pub fn new(top: GuestPath) -> Self {
        Self::to_depth(top, usize::MAX)
    }

    /// The same, but directories that are `max_depth` below `top` are not gone into: with 0 that is `top` itself.
    pub fn to_depth(top: GuestPath, max_depth: usize) -> Self {
        Self {
            top: Some(top),
            max_depth,
            folders: Vec::new(),
            here: GuestPath::root(),
            just_entered: false,
            seen: HashSet::new(),
            seen_held: None,
        }
    }

    /// The next file; none at the end. Errors: [`Corrupt`](ErrorKind::Corrupt) for a directory that is met twice and
    /// for an impossible name, [`Limit`](ErrorKind::Limit) below 2048 directories.
    pub fn next(&mut self, tree: &dyn FileTree) -> Result<Option<(GuestPath, Stat)>> {
        let Some(path) = self.next_path() else { return Ok(None) };
        let stat = tree.stat(&path)?;
        // The directories that the path is in are as many as it is deep.
        self.just_entered = stat.kind == FileKind::Dir && self.folders.len() < self.max_depth;
        if self.just_entered {
            self.enter(tree, &path, stat.id())?;
        }
        Ok(Some((path, stat)))
    }

    /// Leaves out what is in the directory that the last step gave.
    pub fn prune(&mut self) {
        if std::mem::take(&mut self.just_entered) {
            self.leave();
        }
    }

    fn leave(&mut self) {
        self.folders.pop();
        self.here = self.here.parent().unwrap_or_default();
    }

    fn next_path(&mut self) -> Option<GuestPath> {
        if let Some(top) = self.top.take() {
            return Some(top);
        }
        loop {
            match self.folders.last_mut()?.names.pop() {
                Some(name) => return Some(self.here.join(&name)),
                None => self.leave(),
            }
        }
    }

    fn enter(&mut self, tree: &dyn FileTree, path: &GuestPath, (dev, ino): (u32, u64)) -> Result<()> {
        if ino != 0 && !self.seen.insert((dev, ino)) {
            let message = format!("directory inode {ino} has two names");
            return Err(Error::new(ErrorKind::Corrupt, message).at_path(path.to_bytes()));
        }
        let entries = tree.entries(path)?;
        if self.folders.len() >= MAX_DEPTH && !entries.is_empty() {
            let message = format!("directories are nested deeper than {MAX_DEPTH}");
            return Err(Error::new(ErrorKind::Limit, message).at_path(path.to_bytes()));
        }
        // No system could have made it, and it cannot be part of a path.
        if let Some(entry) = entries.iter().find(|entry| !is_possible(&entry.name)) {
            let message = format!("a directory holds the impossible name \"{}\"", entry.name.escape_ascii());
            return Err(Error::new(ErrorKind::Corrupt, message).at_path(path.to_bytes()));
        }
        let (entries, held) = entries.into_parts();
        if let Some(held) = &held {
            let seen = self.seen_held.get_or_insert_with(|| held.beside("the directories of a walk"));
            seen.grow(SEEN_BYTES).map_err(|error| Error::from(error).at_path(path.to_bytes()))?;
        }
        let mut names: Vec<Vec<u8>> = entries.into_iter().map(|entry| entry.name).collect();
        names.sort_by(|a, b| b.cmp(a));
        self.folders.push(Folder { names, _held: held });
        self.here = path.clone();
        Ok(())
    }
}

fn is_possible(name: &[u8]) -> bool {
    let plain = !name.is_empty() && name != b"." && name != b"..";
    plain && name.len() <= MAX_NAME && !name.contains(&b'/') && !name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::super::memtree::MemTree;
    use super::super::{NewNode, SetAttr};
    use super::*;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    #[test]
    fn directories_come_before_what_is_in_them_and_links_are_not_followed() {
        let mut tree = MemTree::new();
        tree.file("/a/c/f", "").file("/a/b", "").link("/a/d", "/a").file("/other", "");
        let mut walk = Walk::new(path("/a"));
        let mut seen = Vec::new();
        while let Some((path, _)) = walk.next(&tree).unwrap() {
            seen.push(path.to_string());
        }
        assert_eq!(seen, ["/a", "/a/b", "/a/c", "/a/c/f", "/a/d"]);
        let mut file = Walk::new(path("/other"));
        assert!(file.next(&tree).unwrap().is_some() && file.next(&tree).unwrap().is_none());
        assert_eq!(Walk::new(path("/no")).next(&tree).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_walk_goes_no_deeper_than_it_is_told() {
        let mut tree = MemTree::new();
        tree.file("/a/b/c/d", "").file("/a/e", "").file("/f/g", "");
        let steps = |mut walk: Walk, pruned: &str| {
            let mut seen = Vec::new();
            while let Some((path, _)) = walk.next(&tree).unwrap() {
                if path.to_string() == pruned {
                    walk.prune();
                    walk.prune();
                }
                seen.push(path.to_string());
            }
            seen.join(" ")
        };
        assert_eq!(steps(Walk::to_depth(path("/a"), 0), ""), "/a");
        assert_eq!(steps(Walk::to_depth(path("/a"), 1), ""), "/a /a/b /a/e");
        assert_eq!(steps(Walk::to_depth(GuestPath::root(), 2), "/a"), "/ /a /f /f/g");
        assert_eq!(steps(Walk::new(GuestPath::root()), "/a/b"), "/ /a /a/b /a/e /f /f/g");
        assert_eq!(steps(Walk::new(path("/a")), "/a/b/c/d"), "/a /a/b /a/b/c /a/b/c/d /a/e");
    }

    #[test]
    fn the_depth_is_bounded() {
        let mut tree = MemTree::new();
        let name = |depth| path(&"/d".repeat(depth));
        for depth in 1..=2048 {
            // Built one by one: MemTree's own builder would look at every parent again.
            tree.create(&name(depth), NewNode::Dir, SetAttr::default()).unwrap();
        }
        let steps = |tree: &MemTree, top: GuestPath| {
            let mut walk = Walk::new(top);
            std::iter::from_fn(|| walk.next(tree).transpose()).collect::<Result<Vec<_>>>().map(|all| all.len())
        };
        assert_eq!(steps(&tree, path("/d")).unwrap(), 2048);
        assert_eq!(steps(&tree, GuestPath::root()).unwrap(), 2049);
        tree.create(&name(2048).join("f"), NewNode::File, SetAttr::default()).unwrap();
        assert_eq!(steps(&tree, path("/d")).unwrap(), 2049);
        assert_eq!(steps(&tree, GuestPath::root()).unwrap_err().kind(), ErrorKind::Limit);
    }
}
