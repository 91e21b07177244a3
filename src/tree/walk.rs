//! Going through a tree, whatever it holds: the walk ends also where a corrupt directory is inside of itself.

use super::{FileKind, FileTree, GuestPath, MAX_NAME, Stat};
use crate::error::{Error, ErrorKind, Result};
use std::collections::HashSet;

/// The deepest directory that is gone into: no path of `MAX_PATH` bytes names a deeper one.
const MAX_DEPTH: usize = 2048;

/// A walk through what is at a path and below, directories before what is in them, names sorted, links not followed.
///
/// The tree may be changed between two steps, but for the names that are still to come.
#[derive(Debug)]
pub struct Walk {
    top: usize,
    /// A stack: what comes next is at its end.
    pending: Vec<GuestPath>,
    /// Directories, by filesystem and inode number: none has two names.
    seen: HashSet<(u32, u64)>,
}

impl Walk {
    /// A walk that begins at `top`, which has no links in it.
    pub fn new(top: GuestPath) -> Self {
        let depth = top.components().len();
        Self { top: depth, pending: vec![top], seen: HashSet::new() }
    }

    /// The next file; none at the end. Errors: [`Corrupt`](ErrorKind::Corrupt) for a directory that is met twice and
    /// for an impossible name, [`Limit`](ErrorKind::Limit) below 2048 directories.
    pub fn next(&mut self, tree: &dyn FileTree) -> Result<Option<(GuestPath, Stat)>> {
        let Some(path) = self.pending.pop() else { return Ok(None) };
        let stat = tree.stat(&path)?;
        if stat.kind == FileKind::Dir {
            self.enter(tree, &path, stat.id())?;
        }
        Ok(Some((path, stat)))
    }

    fn enter(&mut self, tree: &dyn FileTree, path: &GuestPath, (dev, ino): (u32, u64)) -> Result<()> {
        if ino != 0 && !self.seen.insert((dev, ino)) {
            let message = format!("directory inode {ino} has two names");
            return Err(Error::new(ErrorKind::Corrupt, message).at_path(path.to_bytes()));
        }
        let mut entries = tree.entries(path)?;
        if path.components().len() - self.top >= MAX_DEPTH && !entries.is_empty() {
            let message = format!("directories are nested deeper than {MAX_DEPTH}");
            return Err(Error::new(ErrorKind::Limit, message).at_path(path.to_bytes()));
        }
        entries.sort_by(|a, b| b.name.cmp(&a.name));
        for entry in entries {
            // No system could have made it, and it cannot be part of a path.
            if !is_possible(&entry.name) {
                let message = format!("a directory holds the impossible name \"{}\"", entry.name.escape_ascii());
                return Err(Error::new(ErrorKind::Corrupt, message).at_path(path.to_bytes()));
            }
            self.pending.push(path.join(&entry.name));
        }
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
