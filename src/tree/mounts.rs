//! Several filesystems as one tree, as the guest sees them when it has mounted them.

use super::{Entries, FileTree, GuestPath, NewNode, Savepoint, SetAttr, Stat, Xattr};
use crate::error::{Error, ErrorKind, Result};
use std::ops::Range;

/// A tree with others mounted in it. What lies below a mount point in the tree that it is in cannot be seen, and is not
/// touched.
#[derive(Debug)]
pub struct MountTree<T> {
    /// In the order in which they were mounted, the root first.
    trees: Vec<(GuestPath, T)>,
    /// For each savepoint, those of the trees.
    marks: Vec<Vec<Savepoint>>,
}

impl<T: FileTree> MountTree<T> {
    /// A tree with nothing mounted in it.
    pub fn new(root: T) -> Self {
        Self { trees: vec![(GuestPath::root(), root)], marks: Vec::new() }
    }

    /// Mounts a tree at a directory, a path without links. Over another mount point the newer one is seen. Before
    /// anything is changed: a savepoint knows the trees that were there.
    pub fn mount(&mut self, at: GuestPath, tree: T) {
        self.trees.push((at, tree));
    }

    /// The tree with the root.
    pub fn root(&self) -> &T {
        &self.trees[0].1
    }

    /// Where the trees are mounted, the root first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&GuestPath, &mut T)> {
        self.trees.iter_mut().map(|(at, tree)| (&*at, tree))
    }

    /// The trees, the root first.
    pub fn into_trees(self) -> impl Iterator<Item = T> {
        self.trees.into_iter().map(|(_, tree)| tree)
    }

    /// Which tree a path is in, and the path there.
    fn route(&self, path: &GuestPath) -> (usize, GuestPath) {
        let holds = |at: &GuestPath| at == path || path.is_below(at);
        let deepest = self.trees.iter().enumerate().filter(|(_, (at, _))| holds(at));
        let (index, (at, _)) =
            deepest.max_by_key(|(index, (at, _))| (at.components().len(), *index)).expect("all is below the root");
        let inner = if at == path { GuestPath::root() } else { path.moved(at, &GuestPath::root()) };
        (index, inner)
    }

    fn read<R>(&self, path: &GuestPath, read: impl FnOnce(&T, &GuestPath) -> Result<R>) -> Result<R> {
        let (index, inner) = self.route(path);
        read(&self.trees[index].1, &inner).map_err(|error| self.outside(index, error))
    }

    fn change<R>(&mut self, path: &GuestPath, change: impl FnOnce(&mut T, &GuestPath) -> Result<R>) -> Result<R> {
        let (index, inner) = self.route(path);
        change(&mut self.trees[index].1, &inner).map_err(|error| self.outside(index, error))
    }

    /// A change of two names, which must be in one tree.
    fn change_both(
        &mut self,
        one: &GuestPath,
        other: &GuestPath,
        change: impl FnOnce(&mut T, &GuestPath, &GuestPath) -> Result<()>,
    ) -> Result<()> {
        let ((index, one_inner), (second, other_inner)) = (self.route(one), self.route(other));
        if index != second {
            let message = format!("{other} is on another filesystem");
            return Err(Error::new(ErrorKind::OtherFilesystem, message).at_path(one.to_bytes()));
        }
        let result = change(&mut self.trees[index].1, &one_inner, &other_inner);
        result.map_err(|error| self.outside(index, error))
    }

    /// An error of a tree, with the path as it is in the whole.
    fn outside(&self, index: usize, error: Error) -> Error {
        error.below(&self.trees[index].0)
    }

    /// Refuses to move or remove what holds a mount point; the root, which holds all, no tree gives away.
    fn must_stay(&self, path: &GuestPath) -> Result<()> {
        let holds = |at: &&GuestPath| !path.is_root() && (*at == path || at.is_below(path));
        let held = self.trees.iter().map(|(at, _)| at).find(holds);
        held.map_or(Ok(()), |at| {
            let message = if at == path {
                "another filesystem is mounted here".to_owned()
            } else {
                format!("another filesystem is mounted below, at {at}")
            };
            Err(Error::new(ErrorKind::Refused, message).at_path(path.to_bytes()))
        })
    }
}

impl<T: FileTree> FileTree for MountTree<T> {
    fn stat(&self, path: &GuestPath) -> Result<Stat> {
        let (index, _) = self.route(path);
        let stat = self.read(path, |tree, path| tree.stat(path))?;
        Ok(Stat { dev: index as u32, ..stat })
    }

    fn read_at(&self, path: &GuestPath, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.read(path, |tree, path| tree.read_at(path, offset, buf))
    }

    fn data(&self, path: &GuestPath) -> Result<Vec<Range<u64>>> {
        self.read(path, |tree, path| tree.data(path))
    }

    fn read_link(&self, path: &GuestPath) -> Result<Vec<u8>> {
        self.read(path, |tree, path| tree.read_link(path))
    }

    fn entries(&self, path: &GuestPath) -> Result<Entries> {
        let mut entries = self.read(path, |tree, path| tree.entries(path))?;
        for (at, _) in self.trees.iter().filter(|(at, _)| path.is_parent_of(at)) {
            let name = at.name().unwrap_or_default();
            let root = self.stat(at)?;
            for entry in entries.iter_mut().filter(|entry| entry.name == name) {
                (entry.kind, entry.ino) = (root.kind, root.ino);
            }
        }
        Ok(entries)
    }

    fn xattrs(&self, path: &GuestPath) -> Result<Vec<Xattr>> {
        self.read(path, |tree, path| tree.xattrs(path))
    }

    fn create(&mut self, path: &GuestPath, node: NewNode, attr: SetAttr) -> Result<()> {
        self.change(path, |tree, path| tree.create(path, node, attr))
    }

    fn write_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        self.change(path, |tree, path| tree.write_file(path, contents))
    }

    fn append_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        self.change(path, |tree, path| tree.append_file(path, contents))
    }

    fn write_at(&mut self, path: &GuestPath, offset: u64, data: &[u8]) -> Result<()> {
        self.change(path, |tree, path| tree.write_at(path, offset, data))
    }

    fn truncate(&mut self, path: &GuestPath, size: u64) -> Result<()> {
        self.change(path, |tree, path| tree.truncate(path, size))
    }

    fn link(&mut self, old: &GuestPath, new: &GuestPath) -> Result<()> {
        self.change_both(old, new, |tree, old, new| tree.link(old, new))
    }

    fn rename(&mut self, from: &GuestPath, to: &GuestPath) -> Result<()> {
        self.must_stay(from)?;
        self.must_stay(to)?;
        self.change_both(from, to, |tree, from, to| tree.rename(from, to))
    }

    fn scrub(&mut self, path: &GuestPath) -> Result<()> {
        self.change(path, |tree, path| tree.scrub(path))
    }

    fn unlink(&mut self, path: &GuestPath) -> Result<()> {
        self.change(path, |tree, path| tree.unlink(path))
    }

    fn rmdir(&mut self, path: &GuestPath) -> Result<()> {
        self.must_stay(path)?;
        self.change(path, |tree, path| tree.rmdir(path))
    }

    fn remove_tree(&mut self, path: &GuestPath) -> Result<u64> {
        self.must_stay(path)?;
        self.change(path, |tree, path| tree.remove_tree(path))
    }

    fn set_attr(&mut self, path: &GuestPath, attr: SetAttr) -> Result<()> {
        self.change(path, |tree, path| tree.set_attr(path, attr))
    }

    fn set_xattr(&mut self, path: &GuestPath, name: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.change(path, |tree, path| tree.set_xattr(path, name, value))
    }

    fn mount_points(&self) -> Vec<GuestPath> {
        self.trees[1..].iter().map(|(at, _)| at.clone()).collect()
    }

    fn savepoint(&mut self) -> Savepoint {
        let marks = self.trees.iter_mut().map(|(_, tree)| tree.savepoint()).collect();
        self.marks.push(marks);
        Savepoint(self.marks.len() as u64 - 1)
    }

    fn rollback(&mut self, savepoint: Savepoint) {
        let taken = self.marks.drain(savepoint.0 as usize..).next();
        for ((_, tree), mark) in self.trees.iter_mut().zip(taken.into_iter().flatten()) {
            tree.rollback(mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memtree::MemTree;
    use super::super::{FileKind, Walk, contract};
    use super::*;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    /// /boot and /var on filesystems of their own, /var/log on a third; the root has something below each.
    fn guest() -> MountTree<MemTree> {
        let mut trees: [MemTree; 4] = std::array::from_fn(|_| MemTree::new());
        trees[0].file("/etc/fstab", "").file("/boot/hidden", "").dir("/var/hidden");
        trees[1].file("/vmlinuz", "kernel").dir("/efi");
        trees[2].dir("/log").file("/lib/x", "");
        trees[3].file("/syslog", "lines");
        let [root, boot, var, log] = trees;
        let mut tree = MountTree::new(root);
        tree.mount(path("/boot"), boot);
        tree.mount(path("/var"), var);
        tree.mount(path("/var/log"), log);
        tree
    }

    #[test]
    fn behaves_as_any_tree_does() {
        contract::check(&mut MountTree::new(MemTree::new()));
        let mut tree = guest();
        tree.mount(path("/etc"), MemTree::new());
        contract::check(&mut tree);
    }

    #[test]
    fn the_guest_sees_what_is_mounted_and_not_what_is_below() {
        let mut tree = guest();
        let mut walk = Walk::new(GuestPath::root());
        let mut seen = Vec::new();
        while let Some((path, stat)) = walk.next(&tree).unwrap() {
            seen.push(format!("{path}@{}", stat.dev));
        }
        let wanted = "/@0 /boot@1 /boot/efi@1 /boot/vmlinuz@1 /etc@0 /etc/fstab@0 /var@2 /var/lib@2 /var/lib/x@2 \
                      /var/log@3 /var/log/syslog@3";
        assert_eq!(seen.join(" "), wanted);
        tree.write_file(&path("/var/log/syslog"), b"more").unwrap();
        tree.create(&path("/boot/efi/new"), NewNode::File, SetAttr::default()).unwrap();
        assert_eq!(tree.mount_points(), [path("/boot"), path("/var"), path("/var/log")]);
        let trees: Vec<MemTree> = tree.into_trees().collect();
        assert!(trees[0].has("/boot/hidden") && !trees[0].has("/boot/efi"));
        assert!(trees[1].has("/efi/new") && trees[3].text("/syslog") == "more");
    }

    #[test]
    fn the_entry_of_a_mount_point_is_that_of_what_is_mounted() {
        let tree = guest();
        let entries = tree.entries(&GuestPath::root()).unwrap();
        let boot = entries.iter().find(|entry| entry.name == b"boot").unwrap();
        assert_eq!((boot.kind, boot.ino), (FileKind::Dir, tree.stat(&path("/boot")).unwrap().ino));
    }

    #[test]
    fn mount_points_stay_and_names_do_not_cross() {
        let mut tree = guest();
        let kind = |result: Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(tree.rename(&path("/boot"), &path("/b"))), ErrorKind::Refused);
        assert_eq!(kind(tree.rename(&path("/etc"), &path("/boot"))), ErrorKind::Refused);
        assert_eq!(kind(tree.rmdir(&path("/boot"))), ErrorKind::Refused);
        assert_eq!(kind(tree.remove_tree(&path("/var")).map(drop)), ErrorKind::Refused);
        assert_eq!(kind(tree.remove_tree(&GuestPath::root()).map(drop)), ErrorKind::Invalid);
        assert_eq!(kind(tree.rename(&path("/boot/vmlinuz"), &path("/vmlinuz"))), ErrorKind::OtherFilesystem);
        assert_eq!(kind(tree.link(&path("/boot/vmlinuz"), &path("/var/vmlinuz"))), ErrorKind::OtherFilesystem);
        tree.rename(&path("/boot/vmlinuz"), &path("/boot/efi/vmlinuz")).unwrap();
    }

    #[test]
    fn errors_name_the_whole_path() {
        let tree = guest();
        let error = tree.stat(&path("/var/log/no")).unwrap_err();
        assert_eq!(error.place().path.as_deref(), Some(&b"/var/log/no"[..]));
        let error = tree.stat(&path("/no")).unwrap_err();
        assert_eq!(error.place().path.as_deref(), Some(&b"/no"[..]));
    }

    #[test]
    fn a_mark_takes_all_of_them_back() {
        let mut tree = guest();
        let mark = tree.savepoint();
        tree.unlink(&path("/boot/vmlinuz")).unwrap();
        tree.unlink(&path("/etc/fstab")).unwrap();
        let _inner = tree.savepoint();
        tree.unlink(&path("/var/log/syslog")).unwrap();
        tree.rollback(mark);
        for name in ["/boot/vmlinuz", "/etc/fstab", "/var/log/syslog"] {
            assert!(tree.stat(&path(name)).is_ok(), "{name}");
        }
    }
}
