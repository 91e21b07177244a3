//! A FAT filesystem as a tree of files, with a record of what was asked for.

use super::expect::Expectations;
use super::{Entry, FileKind, FileTree, GuestPath, NewNode, Savepoint, SetAttr, Stat, Time, Xattr};
use crate::error::{Error, ErrorKind, Result};
use nomount_block::{ReadAt, WriteAt};
use nomount_fat::{Attrs, Committed, Filesystem};
use std::ops::Range;

/// What every file has that is not marked as read-only, and every directory.
const MODE: u32 = 0o755;
/// What a file has that is.
const READ_ONLY: u32 = 0o555;
/// Without this bit, a mode is that of a file marked as read-only.
const OWNER_WRITES: u32 = 0o200;

/// A [`FileTree`] over [`Filesystem`].
///
/// FAT has less than the trait can say. Everything belongs to user and group 0 and has one name; directories have mode
/// 0755 and files, too, or 0555 where they are marked as read-only. What is created gets that whatever mode is asked
/// for, as when mcopy or `cp` copies to FAT: a file without the owner's write bit is marked. What is asked for by
/// itself and cannot be stored is [`Unsupported`](ErrorKind::Unsupported): another mode, another owner, also of
/// something new, symbolic and hard links, devices, pipes, sockets, extended attributes. Names are found in any case,
/// and by their short form. Files have no holes. Times are kept to two seconds, the last access to the day; that of
/// the last change of the inode is that of the contents. The root directory has no times.
#[derive(Debug)]
pub struct FatTree<D> {
    fs: Filesystem<D>,
    expected: Expectations,
    /// For each savepoint of the filesystem, what was expected then.
    marks: Vec<Expectations>,
}

fn time(time: nomount_fat::Time) -> Time {
    Time { sec: time.sec, nsec: time.nsec }
}

fn fat_time(time: Time) -> nomount_fat::Time {
    nomount_fat::Time { sec: time.sec, nsec: time.nsec }
}

fn parts(path: &GuestPath) -> Vec<&[u8]> {
    path.components().collect()
}

fn unsupported(path: &GuestPath, what: impl Into<String>) -> Error {
    let hint = "FAT keeps names, contents, times and a read-only mark, nothing else";
    Error::new(ErrorKind::Unsupported, what).hint(hint).at_path(path.to_bytes())
}

fn check_mode(path: &GuestPath, mode: Option<u32>) -> Result<()> {
    match mode {
        Some(mode) if mode > 0o7777 => {
            let message = format!("mode {mode:o} is more than permission bits");
            Err(Error::new(ErrorKind::Invalid, message).at_path(path.to_bytes()))
        }
        _ => Ok(()),
    }
}

fn check_owner(path: &GuestPath, attr: SetAttr) -> Result<()> {
    let (uid, gid) = (attr.uid.unwrap_or(0), attr.gid.unwrap_or(0));
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    Err(unsupported(path, format!("FAT has no owners: {uid}:{gid} cannot be stored")))
}

fn kind(is_dir: bool) -> FileKind {
    if is_dir { FileKind::Dir } else { FileKind::File }
}

impl<D> FatTree<D> {
    /// The tree of an open filesystem.
    pub fn new(fs: Filesystem<D>) -> Self {
        Self { fs, expected: Expectations::default(), marks: Vec::new() }
    }

    /// The filesystem below.
    pub fn filesystem(&self) -> &Filesystem<D> {
        &self.fs
    }

    fn at<T>(&self, path: &GuestPath, result: nomount_fat::Result<T>) -> Result<T> {
        result.map_err(|error| Error::from(error).at_path(path.to_bytes()))
    }
}

impl<D: ReadAt> FatTree<D> {
    /// The device below.
    pub fn into_device(self) -> D {
        self.fs.into_device()
    }

    /// The path by which a file is known, however it was spelt.
    fn spelling(&self, path: &GuestPath) -> Result<GuestPath> {
        let names = self.at(path, self.fs.spelling(&parts(path)))?;
        Ok(names.into_iter().fold(GuestPath::root(), |path, name| path.join(name)))
    }

    /// What is at `path`; see [`FileTree::stat`].
    fn found(&self, path: &GuestPath) -> Result<Stat> {
        let stat = self.at(path, self.fs.stat(&parts(path)))?;
        Ok(Stat {
            kind: kind(stat.is_dir),
            ino: stat.number,
            mode: if stat.read_only && !stat.is_dir { READ_ONLY } else { MODE },
            links: 1,
            uid: 0,
            gid: 0,
            size: stat.size,
            blocks: stat.allocated / 512,
            device: None,
            atime: time(stat.accessed),
            mtime: time(stat.modified),
            ctime: time(stat.modified),
            btime: stat.created.map(time),
        })
    }

    /// The length of the file at `path`.
    fn file_size(&self, path: &GuestPath) -> Result<u64> {
        let stat = self.found(path)?;
        if stat.kind == FileKind::Dir {
            return self.at(path, Err(nomount_fat::Error::IsDirectory));
        }
        Ok(stat.size)
    }
}

impl<D: WriteAt> FatTree<D> {
    /// Makes the changes durable on the device below, and says what a reader must find there now.
    pub fn commit(&mut self) -> Result<(Committed, Expectations)> {
        let committed = self.fs.commit()?;
        self.marks.clear();
        Ok((committed, std::mem::take(&mut self.expected)))
    }

    /// Records what must be found at `path` later.
    fn expect(&mut self, path: &GuestPath, change: impl FnOnce(&mut super::Expected)) -> Result<()> {
        let stat = self.found(path)?;
        let path = self.spelling(path)?;
        change(self.expected.of(&path, &stat));
        Ok(())
    }

    /// Records that what is at `path` goes, once `remove` did it.
    fn removed<T>(&mut self, path: &GuestPath, remove: impl FnOnce(&mut Self) -> nomount_fat::Result<T>) -> Result<T> {
        let (stat, spelt) = (self.found(path)?, self.spelling(path)?);
        let result = remove(self);
        let removed = self.at(path, result)?;
        self.expected.removed_tree(&spelt, &stat);
        Ok(removed)
    }
}

impl<D: WriteAt> FileTree for FatTree<D> {
    fn stat(&self, path: &GuestPath) -> Result<Stat> {
        self.found(path)
    }

    fn read_at(&self, path: &GuestPath, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.at(path, self.fs.read_at(&parts(path), offset, buf))
    }

    fn data(&self, path: &GuestPath) -> Result<Vec<Range<u64>>> {
        let size = self.file_size(path)?;
        Ok(if size == 0 { Vec::new() } else { vec![Range { start: 0, end: size }] })
    }

    fn read_link(&self, path: &GuestPath) -> Result<Vec<u8>> {
        self.found(path)?;
        Err(Error::new(ErrorKind::Invalid, "not a symbolic link").at_path(path.to_bytes()))
    }

    fn entries(&self, path: &GuestPath) -> Result<Vec<Entry>> {
        let entries = self.at(path, self.fs.entries(&parts(path)))?;
        let entry = |entry: nomount_fat::Entry| Entry { kind: kind(entry.is_dir), ino: entry.number, name: entry.name };
        Ok(entries.into_iter().map(entry).collect())
    }

    fn xattrs(&self, path: &GuestPath) -> Result<Vec<Xattr>> {
        self.found(path).map(|_| Vec::new())
    }

    fn create(&mut self, path: &GuestPath, node: NewNode, attr: SetAttr) -> Result<()> {
        check_mode(path, attr.mode)?;
        check_owner(path, attr)?;
        let mut attrs =
            Attrs { accessed: attr.atime.map(fat_time), modified: attr.mtime.map(fat_time), ..Attrs::default() };
        let created = match &node {
            NewNode::File => {
                attrs.read_only = attr.mode.map(|mode| mode & OWNER_WRITES == 0);
                self.fs.create_file(&parts(path), attrs)
            }
            NewNode::Dir => self.fs.create_dir(&parts(path), attrs),
            other => {
                let what = match other {
                    NewNode::Symlink(_) => "symbolic links",
                    NewNode::Fifo => "named pipes",
                    NewNode::Socket => "sockets",
                    _ => "device files",
                };
                return Err(unsupported(path, format!("FAT has no {what}")));
            }
        };
        self.at(path, created)?;
        let (stat, spelt) = (self.found(path)?, self.spelling(path)?);
        // What was made is what could be: its mode is known, and not the one asked for.
        self.expected.created(&spelt, &stat, &node, SetAttr::default());
        if attr.atime.is_some() || attr.mtime.is_some() {
            self.expected.of(&spelt, &stat).times = Some((stat.atime, stat.mtime));
        }
        Ok(())
    }

    fn write_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        let result = self.fs.write_contents(&parts(path), contents);
        self.at(path, result)?;
        self.expect(path, |expected| expected.replaced(contents))
    }

    fn append_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        let before = self.file_size(path)?;
        let result = self.fs.append(&parts(path), contents);
        self.at(path, result)?;
        self.expect(path, |expected| expected.written(before, contents))
    }

    fn write_at(&mut self, path: &GuestPath, offset: u64, data: &[u8]) -> Result<()> {
        let result = self.fs.write_at(&parts(path), offset, data);
        self.at(path, result)?;
        if data.is_empty() {
            return Ok(());
        }
        self.expect(path, |expected| expected.written(offset, data))
    }

    fn truncate(&mut self, path: &GuestPath, size: u64) -> Result<()> {
        let result = self.fs.truncate(&parts(path), size);
        self.at(path, result)?;
        self.expect(path, |expected| expected.truncated(size))
    }

    fn link(&mut self, old: &GuestPath, new: &GuestPath) -> Result<()> {
        self.found(old)?;
        Err(unsupported(new, "FAT has no hard links"))
    }

    fn rename(&mut self, from: &GuestPath, to: &GuestPath) -> Result<()> {
        let old = self.found(from)?;
        let over = self.found(to).ok().filter(|over| over.ino != old.ino);
        let (before, replaced) = (self.spelling(from)?, self.spelling(to)?);
        let result = self.fs.rename(&parts(from), &parts(to));
        self.at(from, result)?;
        let (stat, after) = (self.found(to)?, self.spelling(to)?);
        if let Some(over) = &over {
            // It may have been spelt in another way.
            self.expected.removed(&replaced, over);
        }
        if after != before {
            self.expected.renamed(&before, &after, &stat, None);
        }
        Ok(())
    }

    fn unlink(&mut self, path: &GuestPath) -> Result<()> {
        self.removed(path, |tree| tree.fs.unlink(&parts(path)))
    }

    fn rmdir(&mut self, path: &GuestPath) -> Result<()> {
        self.removed(path, |tree| tree.fs.rmdir(&parts(path)))
    }

    fn remove_tree(&mut self, path: &GuestPath) -> Result<u64> {
        self.removed(path, |tree| tree.fs.remove_tree(&parts(path)))
    }

    fn set_attr(&mut self, path: &GuestPath, attr: SetAttr) -> Result<()> {
        check_mode(path, attr.mode)?;
        let stat = self.found(path)?;
        check_owner(path, attr)?;
        let read_only = match attr.mode {
            None | Some(MODE) => attr.mode.map(|_| false),
            Some(READ_ONLY) if stat.kind == FileKind::File => Some(true),
            Some(mode) => {
                let possible = if stat.kind == FileKind::File { "0755, or 0555 for read-only" } else { "0755" };
                return Err(unsupported(path, format!("FAT cannot store mode {mode:04o}, only {possible}")));
            }
        };
        let attrs = Attrs { read_only, accessed: attr.atime.map(fat_time), modified: attr.mtime.map(fat_time) };
        let changes_times = attr.atime.is_some() || attr.mtime.is_some();
        if path.is_root() && changes_times {
            return Err(unsupported(path, "the root directory of FAT has no times"));
        }
        if path.is_root() || attrs == Attrs::default() {
            return Ok(());
        }
        let result = self.fs.set_attrs(&parts(path), attrs);
        self.at(path, result)?;
        let (stat, spelt) = (self.found(path)?, self.spelling(path)?);
        let expected = self.expected.of(&spelt, &stat);
        expected.mode = stat.mode;
        if changes_times {
            expected.times = Some((stat.atime, stat.mtime));
        }
        Ok(())
    }

    fn set_xattr(&mut self, path: &GuestPath, _: &[u8], _: Option<&[u8]>) -> Result<()> {
        self.found(path)?;
        Err(unsupported(path, "FAT has no extended attributes"))
    }

    fn savepoint(&mut self) -> Savepoint {
        self.marks.push(self.expected.clone());
        Savepoint(self.fs.savepoint() as u64)
    }

    fn rollback(&mut self, savepoint: Savepoint) {
        let mark = savepoint.0 as usize;
        self.fs.rollback(mark);
        if mark < self.marks.len() {
            self.expected = self.marks.swap_remove(mark);
            self.marks.truncate(mark);
        }
    }
}
