//! An ext filesystem as a tree of files, with a record of what was asked for.

use super::expect::{Expectations, Expected};
use super::{Entries, Entry, FileKind, FileTree, GuestPath, NewNode, Savepoint, SetAttr, Stat, Time, Xattr};
use crate::error::{Error, ErrorKind, Result};
use nomount_block::WriteAt;
use nomount_ext::{Attrs, Committed, FileType, Filesystem, Inode, New, ROOT_INO};
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

/// The most names of one directory that are listed at once: a larger one is no directory anyone made.
const MAX_ENTRIES: usize = 4 << 20;

/// The access control list that shares its first bits with the mode: changing one changes the other.
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";

/// A [`FileTree`] over [`Filesystem`].
#[derive(Debug)]
pub struct ExtTree<D> {
    fs: Filesystem<D>,
    expected: Expectations,
    /// For each savepoint of the filesystem, what was expected then.
    marks: Vec<Expectations>,
    /// The directory that was looked into last: whoever goes through a tree asks for its neighbours next.
    last_dir: Mutex<Option<Arc<(GuestPath, u32)>>>,
}

fn kind(file_type: FileType) -> FileKind {
    match file_type {
        FileType::Regular => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        FileType::CharDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
    }
}

fn time(time: nomount_ext::Time) -> Time {
    Time { sec: time.sec, nsec: time.nsec }
}

fn ext_time(time: Time) -> nomount_ext::Time {
    nomount_ext::Time { sec: time.sec, nsec: time.nsec }
}

fn attrs(attr: SetAttr) -> Result<Attrs> {
    let mode = match attr.mode {
        Some(mode) if mode > 0o7777 => {
            return Err(Error::new(ErrorKind::Invalid, format!("mode {mode:o} is more than permission bits")));
        }
        mode => mode.map(|mode| mode as u16),
    };
    let (atime, mtime) = (attr.atime.map(ext_time), attr.mtime.map(ext_time));
    Ok(Attrs { mode, uid: attr.uid, gid: attr.gid, atime, mtime, ..Attrs::default() })
}

impl<D: WriteAt> ExtTree<D> {
    /// The tree of an open filesystem.
    pub fn new(fs: Filesystem<D>) -> Self {
        Self { fs, expected: Expectations::default(), marks: Vec::new(), last_dir: Mutex::new(None) }
    }

    /// The filesystem below.
    pub fn filesystem(&self) -> &Filesystem<D> {
        &self.fs
    }

    /// Makes the changes durable on the device below, and says what a reader must find there now.
    pub fn commit(&mut self) -> Result<(Committed, Expectations)> {
        let committed = self.fs.commit()?;
        self.marks.clear();
        Ok((committed, std::mem::take(&mut self.expected)))
    }

    /// The device below.
    pub fn into_device(self) -> D {
        self.fs.into_device()
    }

    fn ino(&self, path: &GuestPath) -> Result<u32> {
        let last = self.last_dir.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(last), Some(name)) = (last.filter(|last| last.0.is_parent_of(path)), path.name()) {
            return self.lookup(path, path.components().len() - 1, last.1, name);
        }
        let mut ino = ROOT_INO;
        for (depth, name) in path.components().enumerate() {
            let next = self.lookup(path, depth, ino, name)?;
            if depth + 1 == path.components().len() {
                let last = Some(Arc::new((path.prefix(depth), ino)));
                *self.last_dir.lock().unwrap_or_else(PoisonError::into_inner) = last;
            }
            ino = next;
        }
        Ok(ino)
    }

    /// Looks for the name of `path` that is in the directory `depth` components down, inode `ino`.
    fn lookup(&self, path: &GuestPath, depth: usize, ino: u32, name: &[u8]) -> Result<u32> {
        let found = self.fs.lookup(ino, name).map_err(|e| Error::from(e).at_path(path.prefix(depth).to_bytes()))?;
        Ok(found.ok_or_else(|| Error::from(nomount_ext::Error::NotFound).at_path(path.to_bytes()))?.ino)
    }

    /// The directory of `path` and the name in it.
    fn parent_and_name<'p>(&self, path: &'p GuestPath) -> Result<(u32, &'p [u8])> {
        let root = || Error::new(ErrorKind::Invalid, "the root directory stays where it is").at_path(path.to_bytes());
        let (parent, name) = (path.parent().ok_or_else(root)?, path.name().ok_or_else(root)?);
        Ok((self.ino(&parent)?, name))
    }

    /// Paths may lead elsewhere from now on.
    fn names_changed(&mut self) {
        *self.last_dir.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn at<T>(&self, path: &GuestPath, result: nomount_ext::Result<T>) -> Result<T> {
        result.map_err(|e| Error::from(e).at_path(path.to_bytes()))
    }

    fn inode(&self, path: &GuestPath) -> Result<Inode> {
        let ino = self.ino(path)?;
        self.at(path, self.fs.inode(ino))
    }

    /// Records what must be found at `path` later, as far as it is known.
    fn expect(&mut self, path: &GuestPath, change: impl FnOnce(&mut Expected)) -> Result<()> {
        let stat = self.stat(path)?;
        change(self.expected.of(path, &stat));
        Ok(())
    }
}

impl<D: WriteAt> FileTree for ExtTree<D> {
    fn stat(&self, path: &GuestPath) -> Result<Stat> {
        let inode = self.inode(path)?;
        let Some(file_type) = inode.file_type() else {
            let message = format!("inode {} has the unknown type {:#o}", inode.ino(), inode.mode());
            return Err(Error::new(ErrorKind::Corrupt, message).at_path(path.to_bytes()));
        };
        Ok(Stat {
            kind: kind(file_type),
            dev: 0,
            ino: inode.ino().into(),
            mode: u32::from(inode.mode() & 0o7777),
            links: inode.links().into(),
            uid: inode.uid(),
            gid: inode.gid(),
            size: inode.size(),
            blocks: inode.blocks_512(self.fs.geometry()),
            device: inode.device(),
            atime: time(inode.atime()),
            mtime: time(inode.mtime()),
            ctime: time(inode.ctime()),
            btime: inode.crtime().map(time),
        })
    }

    fn read_at(&self, path: &GuestPath, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let ino = self.ino(path)?;
        self.at(path, self.fs.read(ino, offset, buf))
    }

    fn data(&self, path: &GuestPath) -> Result<Vec<Range<u64>>> {
        let inode = self.inode(path)?;
        let runs = self.at(path, self.fs.runs(inode.ino()))?;
        let size = inode.size();
        if runs.is_empty() && inode.is_inline() && size > 0 {
            return Ok(vec![Range { start: 0, end: size }]);
        }
        let block = u64::from(self.fs.geometry().block_size);
        let mut data: Vec<Range<u64>> = Vec::new();
        for run in runs.into_iter().filter(|run| !run.unwritten) {
            let start = u64::from(run.file_block) * block;
            let end = (start + u64::from(run.len) * block).min(size);
            match data.last_mut() {
                // Blocks behind the end are not part of the file.
                _ if start >= end => {}
                Some(last) if last.end == start => last.end = end,
                _ => data.push(start..end),
            }
        }
        Ok(data)
    }

    fn read_link(&self, path: &GuestPath) -> Result<Vec<u8>> {
        let ino = self.ino(path)?;
        self.at(path, self.fs.read_link(ino))
    }

    fn entries(&self, path: &GuestPath) -> Result<Entries> {
        let ino = self.ino(path)?;
        let mut list = Entries::within(self.fs.budget());
        let stopped = self.fs.read_dir(ino, |entry| {
            if entry.name == b"." || entry.name == b".." {
                return ControlFlow::Continue(());
            }
            // Only ext2 without the filetype feature leaves the type to the inode.
            let file_type = match entry.file_type {
                Some(file_type) => Ok(file_type),
                None => self.fs.inode(entry.ino).map(|inode| inode.file_type().unwrap_or(FileType::Regular)),
            };
            match file_type {
                Err(error) => ControlFlow::Break(Error::from(error)),
                Ok(_) if list.len() >= MAX_ENTRIES => {
                    let message = format!("a directory of more than {MAX_ENTRIES} names");
                    ControlFlow::Break(Error::new(ErrorKind::Limit, message))
                }
                Ok(file_type) => {
                    let entry = Entry { name: entry.name, kind: kind(file_type), ino: entry.ino.into() };
                    match list.push(entry) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(error) => ControlFlow::Break(Error::from(error)),
                    }
                }
            }
        });
        match self.at(path, stopped)? {
            Some(error) => Err(error.at_path(path.to_bytes())),
            None => Ok(list),
        }
    }

    fn xattrs(&self, path: &GuestPath) -> Result<Vec<Xattr>> {
        let ino = self.ino(path)?;
        self.at(path, self.fs.xattrs(ino))
    }

    fn create(&mut self, path: &GuestPath, node: NewNode, attr: SetAttr) -> Result<()> {
        let exists = || Error::new(ErrorKind::Exists, "file exists").at_path(path.to_bytes());
        let (parent, name) = (path.parent().ok_or_else(exists)?, path.name().ok_or_else(exists)?);
        let parent = self.ino(&parent)?;
        let new = match &node {
            NewNode::File => New::File,
            NewNode::Dir => New::Dir,
            NewNode::Symlink(target) => New::Symlink(target),
            NewNode::Fifo => New::Fifo,
            NewNode::Socket => New::Socket,
            NewNode::CharDevice(major, minor) => New::CharDevice(*major, *minor),
            NewNode::BlockDevice(major, minor) => New::BlockDevice(*major, *minor),
        };
        let created = attrs(attr).and_then(|attrs| Ok(self.fs.create(parent, name, &new, attrs)?));
        created.map_err(|e| e.at_path(path.to_bytes()))?;
        let stat = self.stat(path)?;
        self.expected.created(path, &stat, &node, attr);
        Ok(())
    }

    fn write_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        let ino = self.ino(path)?;
        let result = self.fs.write_contents(ino, contents);
        self.at(path, result)?;
        self.expect(path, |expected| expected.replaced(contents))
    }

    fn append_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        let before = self.stat(path)?.size;
        let ino = self.ino(path)?;
        let result = self.fs.append(ino, contents);
        self.at(path, result)?;
        self.expect(path, |expected| expected.written(before, contents))
    }

    fn write_at(&mut self, path: &GuestPath, offset: u64, data: &[u8]) -> Result<()> {
        let ino = self.ino(path)?;
        let result = self.fs.write_at(ino, offset, data);
        self.at(path, result)?;
        if data.is_empty() {
            return Ok(());
        }
        self.expect(path, |expected| expected.written(offset, data))
    }

    fn truncate(&mut self, path: &GuestPath, size: u64) -> Result<()> {
        let ino = self.ino(path)?;
        let result = self.fs.truncate(ino, size);
        self.at(path, result)?;
        self.expect(path, |expected| expected.truncated(size))
    }

    fn link(&mut self, old: &GuestPath, new: &GuestPath) -> Result<()> {
        let ino = self.ino(old)?;
        if new.is_root() {
            return Err(Error::from(nomount_ext::Error::Exists).at_path(new.to_bytes()));
        }
        let (dir, name) = self.parent_and_name(new)?;
        let result = self.fs.link(ino, dir, name);
        self.at(new, result)?;
        let stat = self.stat(new)?;
        self.expected.linked(old, new, &stat);
        Ok(())
    }

    fn rename(&mut self, from: &GuestPath, to: &GuestPath) -> Result<()> {
        let (dir, name) = self.parent_and_name(from)?;
        let (new_dir, new_name) = self.parent_and_name(to)?;
        let (old, over) = (self.ino(from)?, self.stat(to).ok());
        let result = self.fs.rename(dir, name, new_dir, new_name);
        self.names_changed();
        self.at(from, result)?;
        if over.as_ref().is_none_or(|over| over.ino != u64::from(old)) {
            let stat = self.stat(to)?;
            self.expected.renamed(from, to, &stat, over.as_ref());
        }
        Ok(())
    }

    fn scrub(&mut self, path: &GuestPath) -> Result<()> {
        let ino = self.ino(path)?;
        let result = self.fs.scrub(ino);
        self.at(path, result)
    }

    fn unlink(&mut self, path: &GuestPath) -> Result<()> {
        let (dir, name) = self.parent_and_name(path)?;
        let stat = self.stat(path)?;
        let result = self.fs.unlink(dir, name);
        self.names_changed();
        self.at(path, result)?;
        self.expected.removed(path, &stat);
        Ok(())
    }

    fn rmdir(&mut self, path: &GuestPath) -> Result<()> {
        let (dir, name) = self.parent_and_name(path)?;
        let stat = self.stat(path)?;
        let result = self.fs.rmdir(dir, name);
        self.names_changed();
        self.at(path, result)?;
        self.expected.removed(path, &stat);
        Ok(())
    }

    fn remove_tree(&mut self, path: &GuestPath) -> Result<u64> {
        let (dir, name) = self.parent_and_name(path)?;
        let stat = self.stat(path)?;
        let result = self.fs.remove_tree(dir, name);
        self.names_changed();
        let removed = self.at(path, result)?;
        self.expected.removed_tree(path, &stat);
        Ok(removed)
    }

    fn set_attr(&mut self, path: &GuestPath, attr: SetAttr) -> Result<()> {
        let ino = self.ino(path)?;
        let result = attrs(attr).and_then(|attrs| Ok(self.fs.set_attrs(ino, attrs)?));
        result.map_err(|e| e.at_path(path.to_bytes()))?;
        let stat = self.stat(path)?;
        let expected = self.expected.of(path, &stat);
        expected.changed(attr);
        if attr.mode.is_some() {
            // It has part of the mode in it, which is not what was asked for any more.
            expected.xattrs.remove(ACL_ACCESS);
        }
        if attr.atime.is_some() || attr.mtime.is_some() {
            expected.times = Some((stat.atime, stat.mtime));
        }
        Ok(())
    }

    fn set_xattr(&mut self, path: &GuestPath, name: &[u8], value: Option<&[u8]>) -> Result<()> {
        let ino = self.ino(path)?;
        let result = self.fs.set_xattr(ino, name, value);
        self.at(path, result)?;
        let stat = self.stat(path)?;
        let expected = self.expected.of(path, &stat);
        expected.xattr(name, value);
        if name == ACL_ACCESS {
            expected.mode = stat.mode;
        }
        Ok(())
    }

    fn savepoint(&mut self) -> Savepoint {
        self.marks.push(self.expected.clone());
        Savepoint(self.fs.savepoint() as u64)
    }

    fn rollback(&mut self, savepoint: Savepoint) {
        let mark = savepoint.0 as usize;
        self.fs.rollback(mark);
        self.names_changed();
        if mark < self.marks.len() {
            self.expected = self.marks.swap_remove(mark);
            self.marks.truncate(mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::contract;
    use nomount_ext::Options;
    use nomount_kit::{TreeDigest, fixture, judges, require, scratch};

    #[test]
    fn keeps_the_contract_on_every_kind_of_filesystem() {
        let judged = require(&["e2fsck", "debugfs"]);
        for name in [
            "ext2-1k",
            "ext3-1k",
            "ext3-4k",
            "ext4-142",
            "ext4-147",
            "ext4-1k",
            "ext4-i128",
            "ext4-i128-csum",
            "ext4-nojournal",
            "ext4-rpi",
            "dirty-csum3",
        ] {
            eprintln!("{name}");
            let fs = Filesystem::open_for_write(fixture::memory(name), Options::default()).unwrap();
            let mut tree = ExtTree::new(fs);
            contract::check(&mut tree);
            // All of it was taken back: what is committed is the old tree.
            tree.commit().unwrap();
            if judged {
                let before = fixture::file(name);
                judges::e2fsck_recover(&before, 0).unwrap();
                let after = scratch::device(&tree.into_device());
                judges::e2fsck_fn(&after, 0).unwrap();
                let changes = TreeDigest::of_ext(&before, 0).diff(&TreeDigest::of_ext(&after, 0));
                assert!(changes.is_empty(), "{name}: {changes:?}");
            }
        }
    }

    #[test]
    fn a_mode_and_a_list_of_access_rights_change_each_other() {
        let fs = Filesystem::open_for_write(fixture::memory("ext4-147"), Options::default()).unwrap();
        let mut tree = ExtTree::new(fs);
        let file = GuestPath::parse("/etc/passwd").unwrap();
        let mode = |mode| SetAttr { mode: Some(mode), ..SetAttr::default() };
        let expected = |tree: &ExtTree<_>| {
            let (path, expected) = tree.expected.iter().next().unwrap();
            let expected = expected.unwrap();
            assert_eq!(expected.mode, tree.stat(path).unwrap().mode);
            let found = tree.xattrs(path).unwrap();
            assert!(expected.xattrs.iter().all(|(name, value)| {
                found.iter().any(|(other, found)| other == name && Some(found) == value.as_ref())
            }));
            expected.mode
        };
        tree.set_attr(&file, mode(0o600)).unwrap();
        // Version 2, then tag, rights and id: the owner rw, user 1000 rw, the group r, the mask rw, others nothing.
        let entries: [(u16, u16, u32); 5] =
            [(1, 6, u32::MAX), (2, 6, 1000), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)];
        let mut list = 2u32.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            list.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
            list.extend(id.to_le_bytes());
        }
        tree.set_xattr(&file, ACL_ACCESS, Some(&list)).unwrap();
        assert_eq!(expected(&tree), 0o660);
        tree.set_attr(&file, mode(0o640)).unwrap();
        assert_eq!(expected(&tree), 0o640);
    }
}
