//! A FAT filesystem as a tree of files, with a record of what was asked for.

use super::expect::Expectations;
use super::{Entries, Entry, FileKind, FileTree, GuestPath, NewNode, Savepoint, SetAttr, Stat, Time, Xattr};
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
    pub(super) fn spelling(&self, path: &GuestPath) -> Result<GuestPath> {
        let names = self.at(path, self.fs.spelling(&parts(path)))?;
        Ok(names.into_iter().fold(GuestPath::root(), |path, name| path.join(name)))
    }

    /// What is at `path`; see [`FileTree::stat`].
    fn found(&self, path: &GuestPath) -> Result<Stat> {
        let stat = self.at(path, self.fs.stat(&parts(path)))?;
        Ok(Stat {
            kind: kind(stat.is_dir),
            dev: 0,
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

    fn entries(&self, path: &GuestPath) -> Result<Entries> {
        let entries = self.at(path, self.fs.entries(&parts(path)))?;
        let mut list = Entries::within(self.fs.budget());
        for entry in entries {
            let pushed = list.push(Entry { kind: kind(entry.is_dir), ino: entry.number, name: entry.name });
            pushed.map_err(|error| Error::from(error).at_path(path.to_bytes()))?;
        }
        Ok(list)
    }

    fn xattrs(&self, path: &GuestPath) -> Result<Vec<Xattr>> {
        self.found(path).map(|_| Vec::new())
    }

    fn create(&mut self, path: &GuestPath, node: NewNode, attr: SetAttr) -> Result<()> {
        check_mode(path, attr.mode)?;
        if matches!(node, NewNode::File | NewNode::Dir) {
            check_owner(path, attr)?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Walk, contract, look_at_fat};
    use nomount_block::{Memory, Overlay, Spill};
    use nomount_fat::{Kind, OpenOptions, Options, mkfs};
    use nomount_kit::{judges, require, scratch};

    const NOW: OpenOptions = OpenOptions { now: nomount_fat::Time { sec: 1_709_212_454, nsec: 0 } };
    const NONE: SetAttr = SetAttr { mode: None, uid: None, gid: None, atime: None, mtime: None };

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    fn volume(kind: Kind) -> Memory {
        let len = if kind == Kind::Fat32 { 34 << 20 } else { 8 << 20 };
        let mut volume = Memory::zeroed(len);
        mkfs(&mut volume, &Options { kind: Some(kind), ..Options::default() }).unwrap();
        volume
    }

    fn opened(volume: Memory) -> FatTree<Overlay<Memory>> {
        FatTree::new(Filesystem::open_for_write(Overlay::new(volume, Spill::Never), NOW).unwrap())
    }

    #[test]
    fn keeps_the_contract_as_far_as_fat_can() {
        for kind in [Kind::Fat12, Kind::Fat16, Kind::Fat32] {
            let mut tree = opened(volume(kind));
            contract::check_plain(&mut tree);
            let (committed, expected) = tree.commit().unwrap();
            assert!(committed.is_empty() && expected.is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn nothing_is_scrubbed() {
        let mut tree = opened(volume(Kind::Fat12));
        tree.create(&path("/f"), NewNode::File, NONE).unwrap();
        let error = tree.scrub(&path("/f")).unwrap_err();
        assert_eq!((error.kind(), error.place().path.as_deref()), (ErrorKind::Unsupported, Some(&b"/f"[..])));
    }

    #[test]
    fn what_fat_has_not_is_refused_by_name() {
        let mut tree = opened(volume(Kind::Fat12));
        let attr = |mode, uid| SetAttr { mode, uid, ..NONE };
        tree.create(&path("/f"), NewNode::File, attr(Some(0o644), Some(0))).unwrap();
        tree.create(&path("/r"), NewNode::File, attr(Some(0o444), None)).unwrap();
        tree.create(&path("/d"), NewNode::Dir, attr(Some(0o700), None)).unwrap();
        let mode = |tree: &dyn FileTree, at: &str| tree.stat(&path(at)).unwrap().mode;
        assert_eq!((mode(&tree, "/f"), mode(&tree, "/r"), mode(&tree, "/d")), (0o755, 0o555, 0o755));
        let refused = [
            (tree.create(&path("/l"), NewNode::Symlink(b"f".to_vec()), NONE), "FAT has no symbolic links"),
            (tree.create(&path("/l"), NewNode::CharDevice(1, 3), attr(None, Some(5))), "FAT has no device files"),
            (tree.create(&path("/l"), NewNode::File, attr(None, Some(5))), "FAT has no owners: 5:0 cannot be stored"),
            (tree.link(&path("/f"), &path("/l")), "FAT has no hard links"),
            (tree.set_xattr(&path("/f"), b"user.x", Some(b"")), "FAT has no extended attributes"),
            (
                tree.set_attr(&path("/f"), attr(Some(0o600), None)),
                "FAT cannot store mode 0600, only 0755, or 0555 for read-only",
            ),
            (tree.set_attr(&path("/d"), attr(Some(0o555), None)), "FAT cannot store mode 0555, only 0755"),
            (tree.set_attr(&path("/f"), attr(None, Some(7))), "FAT has no owners: 7:0 cannot be stored"),
        ];
        for (result, text) in refused {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Unsupported, text));
        }
        assert!(tree.stat(&path("/l")).is_err());
        tree.set_attr(&path("/f"), attr(Some(0o555), Some(0))).unwrap();
        tree.set_attr(&path("/r"), attr(Some(0o755), None)).unwrap();
        tree.set_attr(&path("/"), attr(Some(0o755), Some(0))).unwrap();
        assert_eq!((mode(&tree, "/f"), mode(&tree, "/r")), (0o555, 0o755));
    }

    fn every_kind(tree: &mut dyn FileTree) {
        let mtime = Some(Time { sec: 1_000_000_001, nsec: 0 });
        for name in ["/EFI", "/old", "/old/inner"] {
            tree.create(&path(name), NewNode::Dir, NONE).unwrap();
        }
        for name in ["/EFI/a loader.efi", "/gone", "/old/inner/f", "/Case", "/over"] {
            tree.create(&path(name), NewNode::File, SetAttr { mtime, ..NONE }).unwrap();
        }
        tree.write_file(&path("/efi/A LOADER.EFI"), &[1; 70_000]).unwrap();
        tree.write_at(&path("/EFI/a loader.efi"), 10, b"x").unwrap();
        tree.append_file(&path("/EFI/ALOADE~1.EFI"), b"end").unwrap();
        tree.rename(&path("/Case"), &path("/CASE")).unwrap();
        tree.rename(&path("/gone"), &path("/OVER")).unwrap();
        tree.rename(&path("/old"), &path("/EFI/New Name")).unwrap();
        tree.create(&path("/gone"), NewNode::File, NONE).unwrap();
        tree.unlink(&path("/GONE")).unwrap();
        tree.set_attr(&path("/OVER"), SetAttr { mode: Some(0o555), mtime, ..NONE }).unwrap();
    }

    #[test]
    fn what_was_asked_for_is_found_by_both_readers() {
        for kind in [Kind::Fat12, Kind::Fat16, Kind::Fat32] {
            let mut tree = opened(volume(kind));
            every_kind(&mut tree);
            let mut walk = Walk::new(GuestPath::root());
            let mut walked = 0;
            while walk.next(&tree).unwrap().is_some() {
                walked += 1;
            }
            assert_eq!(walked, 8);
            let (_, expected) = tree.commit().unwrap();
            let staged = tree.into_device();
            let looked = look_at_fat(&staged, &expected).unwrap();
            assert_eq!((looked.independent, looked.own), (expected.len(), 0), "{looked:?}");
            if require(&["fsck.fat"]) {
                let disk = staged.commit().unwrap();
                let folder = scratch::folder();
                let file = folder.path().join("volume");
                std::fs::write(&file, disk.bytes()).unwrap();
                judges::fsck_fat_n(&file, 0, disk.bytes().len() as u64).unwrap();
            }
        }
    }

    #[test]
    fn what_was_not_done_is_noticed() {
        let mut tree = opened(volume(Kind::Fat16));
        every_kind(&mut tree);
        let (_, expected) = tree.commit().unwrap();
        let done = tree.into_device().commit().unwrap();
        type Undo = fn(&mut dyn FileTree) -> Result<()>;
        let undo: [(&str, Undo); 8] = [
            ("a removed file", |tree| tree.create(&path("/gone"), NewNode::File, NONE)),
            ("the old name", |tree| tree.create(&path("/old"), NewNode::Dir, NONE)),
            ("a name", |tree| tree.unlink(&path("/CASE"))),
            ("its case", |tree| tree.rename(&path("/CASE"), &path("/case"))),
            ("a length", |tree| tree.truncate(&path("/EFI/a loader.efi"), 11)),
            ("contents", |tree| tree.write_at(&path("/EFI/a loader.efi"), 10, b"y")),
            ("a mode", |tree| tree.set_attr(&path("/OVER"), SetAttr { mode: Some(0o755), ..NONE })),
            ("a time", |tree| {
                tree.set_attr(&path("/OVER"), SetAttr { mtime: Some(Time { sec: 1_100_000_000, nsec: 0 }), ..NONE })
            }),
        ];
        for (what, change) in undo {
            let mut tree = opened(done.clone());
            change(&mut tree).unwrap();
            tree.commit().unwrap();
            let error = look_at_fat(&tree.into_device(), &expected).expect_err(what);
            assert!(matches!(error.kind(), ErrorKind::Differs | ErrorKind::NotFound), "{what}: {error}");
        }
    }
}
