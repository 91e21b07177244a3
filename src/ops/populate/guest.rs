//! A tree of a guest.

use super::{Contents, Exclude, Item, Meta, Node, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::extract::check::Budget;
use crate::tree::{FileKind, FileTree, GuestPath, Stat, Walk, Xattr};
use std::collections::HashMap;
use std::ops::Range;

/// What a guest has at one place, and all below: names sorted, links not followed.
///
/// The tree may be changed between two steps, but for what is still to come. A walk ends whatever an image says: a
/// directory is entered once, and there are no more names and bytes than its filesystem has room for.
#[derive(Debug)]
pub struct GuestWalk {
    walk: Walk,
    top: GuestPath,
    /// First paths of files with several names; none where each is to be a file.
    linked: Option<HashMap<(u32, u64), Vec<u8>>>,
    xattrs: bool,
    budget: Budget,
    exclude: Exclude,
    /// The directory that was excluded last.
    excluded: Option<GuestPath>,
}

/// A file that a walk has come to.
#[derive(Debug)]
pub struct Met {
    /// Its path in the guest.
    pub place: GuestPath,
    /// The same from the top of the walk, without a leading slash; empty for the top.
    pub path: Vec<u8>,
    /// What is known of it.
    pub stat: Stat,
    /// Another path of the same file, told before.
    pub first: Option<Vec<u8>>,
    /// Its extended attributes.
    pub xattrs: Vec<Xattr>,
    /// Where its data is.
    pub stretches: Vec<Range<u64>>,
}

impl GuestWalk {
    /// A walk from `top`, which has no links in it, in a filesystem of `room` bytes. With `links`, further names of a
    /// file are told as such.
    pub fn new(top: GuestPath, room: u64, links: bool, xattrs: bool) -> Self {
        let linked = links.then(HashMap::new);
        let (walk, budget) = (Walk::new(top.clone()), Budget::new(room));
        Self { walk, top, linked, xattrs, budget, exclude: Exclude::default(), excluded: None }
    }

    /// Without these names, and what is below them.
    pub fn without(self, exclude: Exclude) -> Self {
        Self { exclude, ..self }
    }

    /// The next file.
    pub fn next(&mut self, tree: &dyn FileTree) -> Result<Option<Met>> {
        let (place, path, stat) = loop {
            let Some((place, stat)) = self.walk.next(tree)? else { return Ok(None) };
            self.budget.name(&place)?;
            let path = self.below_top(&place);
            if self.excluded.as_ref().is_some_and(|dir| place.is_below(dir)) {
                continue;
            }
            if !self.exclude.matches(&path) {
                break (place, path, stat);
            }
            if stat.kind == FileKind::Dir {
                self.excluded = Some(place);
            }
        };
        let mut met = Met { place, path, first: None, xattrs: Vec::new(), stretches: Vec::new(), stat };
        if let Some(linked) = &mut self.linked
            && met.stat.kind != FileKind::Dir
            && met.stat.links > 1
            && met.stat.ino != 0
        {
            if let Some(first) = linked.get(&met.stat.id()) {
                met.first = Some(first.clone());
                return Ok(Some(met));
            }
            linked.insert(met.stat.id(), met.path.clone());
        }
        if self.xattrs {
            met.xattrs = tree.xattrs(&met.place)?;
        }
        if met.stat.kind == FileKind::File {
            met.stretches = tree.data(&met.place)?;
            let bytes = met.stretches.iter().fold(0u64, |sum, part| sum.saturating_add(part.end - part.start));
            self.budget.bytes(bytes, &met.place)?;
        }
        Ok(Some(met))
    }

    fn below_top(&self, place: &GuestPath) -> Vec<u8> {
        if *place == self.top {
            return Vec::new();
        }
        // Without the slash that it begins with.
        place.moved(&self.top, &GuestPath::root()).to_bytes().split_off(1)
    }
}

impl Met {
    /// Its attributes.
    pub fn meta(&self) -> Meta {
        Meta {
            mode: (self.stat.mode & 0o7777) as u16,
            uid: self.stat.uid,
            gid: self.stat.gid,
            mtime: self.stat.mtime,
            xattrs: self.xattrs.clone(),
        }
    }

    /// The data of a regular file.
    pub fn data(&self) -> GuestData {
        GuestData { place: self.place.clone(), stretches: self.stretches.clone(), next: 0, at: 0 }
    }

    /// The target of a symbolic link.
    pub fn target(&self, tree: &dyn FileTree) -> Result<Vec<u8>> {
        let target = tree.read_link(&self.place)?;
        if target.contains(&0) {
            let message = "the target of a symbolic link contains a NUL byte";
            return Err(Error::new(ErrorKind::Corrupt, message).at_path(self.place.to_bytes()));
        }
        Ok(target)
    }
}

/// The data of a file of a guest, piece after piece.
#[derive(Debug)]
pub struct GuestData {
    place: GuestPath,
    stretches: Vec<Range<u64>>,
    /// The stretch that is read, and how far.
    next: usize,
    at: u64,
}

impl GuestData {
    /// The data of the regular file at `place`.
    pub fn new(tree: &dyn FileTree, place: &GuestPath) -> Result<Self> {
        Ok(Self { place: place.clone(), stretches: tree.data(place)?, next: 0, at: 0 })
    }

    /// The next piece: where it begins and how many bytes of `buf` it fills; none at the end.
    pub fn next(&mut self, tree: &dyn FileTree, buf: &mut [u8]) -> Result<Option<(u64, usize)>> {
        while let Some(stretch) = self.stretches.get(self.next) {
            let start = self.at.max(stretch.start);
            if start >= stretch.end {
                self.next += 1;
                continue;
            }
            let len = (stretch.end - start).min(buf.len() as u64) as usize;
            let read = tree.read_at(&self.place, start, &mut buf[..len])?;
            if read == 0 {
                let message = format!("the file ends at byte {start}, before its data does");
                return Err(Error::new(ErrorKind::Corrupt, message).at_path(self.place.to_bytes()));
            }
            self.at = start + read as u64;
            return Ok(Some((start, read)));
        }
        Ok(None)
    }
}

/// A tree of a guest as a source.
#[derive(Debug)]
pub struct GuestTree<'t> {
    tree: &'t dyn FileTree,
    walk: GuestWalk,
}

impl<'t> GuestTree<'t> {
    /// What `walk` meets in `tree`; the first entry has an empty path.
    pub fn new(tree: &'t dyn FileTree, walk: GuestWalk) -> Self {
        Self { tree, walk }
    }
}

/// What tells a file's data without being told the tree each time.
#[derive(Debug)]
struct Bound<'t>(&'t dyn FileTree, GuestData);

impl Contents for Bound<'_> {
    fn next_data(&mut self, buf: &mut [u8]) -> Result<Option<(u64, usize)>> {
        self.1.next(self.0, buf)
    }

    fn stretches(&self) -> Option<&[Range<u64>]> {
        Some(&self.1.stretches)
    }
}

impl Source for GuestTree<'_> {
    fn each(&mut self, _notes: &mut Vec<String>, visit: &mut dyn FnMut(Item<'_>) -> Result<()>) -> Result<()> {
        while let Some(met) = self.walk.next(self.tree)? {
            let (path, meta) = (&met.path[..], met.meta());
            let device = met.stat.device.unwrap_or_default();
            if let Some(first) = &met.first {
                visit(Item { path, node: Node::HardLink(first), meta })?;
                continue;
            }
            match met.stat.kind {
                FileKind::File => {
                    let mut contents = Bound(self.tree, met.data());
                    visit(Item { path, node: Node::File(met.stat.size, &mut contents), meta })?;
                }
                FileKind::Symlink => visit(Item { path, node: Node::Symlink(&met.target(self.tree)?), meta })?,
                FileKind::Dir => visit(Item { path, node: Node::Dir, meta })?,
                FileKind::CharDevice => visit(Item { path, node: Node::CharDevice(device.0, device.1), meta })?,
                FileKind::BlockDevice => visit(Item { path, node: Node::BlockDevice(device.0, device.1), meta })?,
                FileKind::Fifo => visit(Item { path, node: Node::Fifo, meta })?,
                FileKind::Socket => visit(Item { path, node: Node::Socket, meta })?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::MountTree;
    use crate::tree::memtree::MemTree;

    #[test]
    fn files_of_two_filesystems_with_one_number_are_two_files() {
        let mut trees: [MemTree; 2] = std::array::from_fn(|_| MemTree::new());
        for tree in &mut trees {
            tree.dir("/mnt").file("/a", "").hard_link("/a", "/b");
        }
        let [root, other] = trees;
        let mut tree = MountTree::new(root);
        tree.mount(GuestPath::parse("/mnt").unwrap(), other);
        let mut walk = GuestWalk::new(GuestPath::root(), 1 << 20, true, false);
        let mut seen = Vec::new();
        while let Some(met) = walk.next(&tree).unwrap() {
            let first = met.first.map(|first| format!(" = {}", first.escape_ascii())).unwrap_or_default();
            seen.push(format!("{}{first}", met.path.escape_ascii()));
        }
        assert_eq!(seen, ["", "a", "b = a", "mnt", "mnt/a", "mnt/b = mnt/a", "mnt/mnt"]);
    }
}
