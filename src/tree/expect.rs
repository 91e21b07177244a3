//! What was asked for, kept apart from what was done: a second reader compares the two before anything is committed.

use super::{FileKind, GuestPath, NewNode, SetAttr, Stat, Time};
use crate::error::{Error, ErrorKind};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Read at a time, in bytes.
const READ: u64 = 1 << 20;

/// What must be found, and what must not, at the paths that were touched.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// What was touched, by inode number: a file is the same under each of its names.
    files: BTreeMap<u64, Expected>,
    /// Paths, and the inode that must be there; none where nothing may be.
    names: BTreeMap<GuestPath, Option<u64>>,
    /// Files of which the number of names is known.
    linked: BTreeSet<u64>,
}

/// A piece of a file's contents that must be found, where it begins and a hash of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// CRC-32C of the bytes: it tells damage on the way, not what somebody forged.
    pub crc: u32,
}

impl Piece {
    fn new(offset: u64, bytes: &[u8]) -> Self {
        Self { offset, len: bytes.len() as u64, crc: crc32c::crc32c(bytes) }
    }

    fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// Whether these bytes are what `read(offset, buffer)` gives, which returns how many bytes it read, 0 at the end.
    pub fn is_read<E>(&self, mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, E>) -> Result<bool, E> {
        let mut buf = vec![0; READ.min(self.len) as usize];
        let (mut crc, mut done) = (0, 0);
        while done < self.len {
            let want = READ.min(self.len - done) as usize;
            let got = read(self.offset + done, &mut buf[..want])?;
            if got == 0 {
                return Ok(false);
            }
            crc = crc32c::crc32c_append(crc, &buf[..got]);
            done += got as u64;
        }
        Ok(crc == self.crc)
    }
}

/// What must be found at one path. What was not asked for is as it was before the first change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Inode number.
    pub ino: u64,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes of a regular file.
    pub size: u64,
    /// Number of names, where one was added or taken away.
    pub links: Option<u64>,
    /// Last access and last change of contents, where they were set, as the filesystem can store them.
    pub times: Option<(Time, Time)>,
    /// Contents that were written, ascending, without overlap.
    pub contents: Vec<Piece>,
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Extended attributes that were set, or with `None` removed.
    pub xattrs: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// How many of the paths lead here.
    paths: usize,
}

/// What is said of a name where nothing should be.
pub(crate) const REMOVED: &str = "the removal";

/// The error for a path where `reader` does not find what was asked for.
pub(crate) fn differs(path: &GuestPath, what: &str, reader: &str) -> Error {
    let message = format!("{what} is not as asked for when read back by {reader}; nothing was committed");
    Error::new(ErrorKind::Differs, message).at_path(path.to_bytes())
}

impl Expectations {
    /// The paths, sorted, and what must be found there; none where nothing may be.
    pub fn iter(&self) -> impl Iterator<Item = (&GuestPath, Option<&Expected>)> {
        self.names.iter().map(|(path, ino)| (path, ino.map(|ino| &self.files[&ino])))
    }

    /// How many paths.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Bytes of contents that must be found.
    pub fn bytes(&self) -> u64 {
        self.files.values().flat_map(|file| &file.contents).map(|piece| piece.len).sum()
    }

    /// What must be found at `path`, where `stat` was found before the first change or just after it.
    pub(super) fn of(&mut self, path: &GuestPath, stat: &Stat) -> &mut Expected {
        self.files.entry(stat.ino).or_insert_with(|| Expected {
            ino: stat.ino,
            kind: stat.kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            links: None,
            times: None,
            contents: Vec::new(),
            target: None,
            xattrs: BTreeMap::new(),
            paths: 0,
        });
        self.point(path.clone(), Some(stat.ino));
        self.files.get_mut(&stat.ino).expect("a path leads to it")
    }

    /// Something new is at `path`.
    pub(super) fn created(&mut self, path: &GuestPath, stat: &Stat, node: &NewNode, attr: SetAttr) {
        self.of(path, stat).created(node, attr);
    }

    /// What has `old` as a name has `new` as well; `stat` is what it is now.
    pub(super) fn linked(&mut self, old: &GuestPath, new: &GuestPath, stat: &Stat) {
        self.of(old, stat).links = Some(stat.links);
        self.linked.insert(stat.ino);
        self.point(new.clone(), Some(stat.ino));
    }

    /// A directory goes with all that is in it, which may be names of any file.
    pub(super) fn removed_tree(&mut self, path: &GuestPath, stat: &Stat) {
        if stat.kind == FileKind::Dir {
            for ino in std::mem::take(&mut self.linked) {
                if let Some(file) = self.files.get_mut(&ino) {
                    file.links = None;
                }
            }
        }
        self.removed(path, stat);
    }

    /// Nothing is at `path` any more, where `stat` was, nor below.
    pub(super) fn removed(&mut self, path: &GuestPath, stat: &Stat) {
        for name in self.below(path) {
            self.point(name.clone(), None);
            // Where nothing is, nothing is below.
            self.names.remove(&name);
        }
        self.point(path.clone(), None);
        if stat.kind != FileKind::Dir
            && let Some(file) = self.files.get_mut(&stat.ino)
        {
            file.links = Some(stat.links.saturating_sub(1));
            self.linked.insert(stat.ino);
        }
    }

    /// What was at `from` is at `to`, where `replaced` was before; `stat` is what it is now.
    pub(super) fn renamed(&mut self, from: &GuestPath, to: &GuestPath, stat: &Stat, replaced: Option<&Stat>) {
        if let Some(replaced) = replaced {
            self.removed(to, replaced);
        }
        for name in self.below(from) {
            let ino = self.names[&name];
            self.point(name.moved(from, to), ino);
            self.point(name.clone(), None);
            self.names.remove(&name);
        }
        self.of(to, stat);
        self.point(from.clone(), None);
    }

    fn below(&self, path: &GuestPath) -> Vec<GuestPath> {
        let after = self.names.range((Bound::Excluded(path), Bound::Unbounded));
        after.map(|(name, _)| name).take_while(|name| name.is_below(path)).cloned().collect()
    }

    /// Makes `path` lead to a file that is known, or to nothing. A file to which no path leads is forgotten: its
    /// number may be given to another.
    fn point(&mut self, path: GuestPath, ino: Option<u64>) {
        if let Some(ino) = ino {
            self.files.get_mut(&ino).expect("the file is known").paths += 1;
        }
        if let Some(before) = self.names.insert(path, ino).flatten() {
            let file = self.files.get_mut(&before).expect("a path leads to it");
            file.paths -= 1;
            if file.paths == 0 {
                self.files.remove(&before);
            }
        }
    }
}

impl Expected {
    fn created(&mut self, node: &NewNode, attr: SetAttr) {
        self.kind = match node {
            NewNode::File => FileKind::File,
            NewNode::Dir => FileKind::Dir,
            NewNode::Symlink(_) => FileKind::Symlink,
            NewNode::Fifo => FileKind::Fifo,
            NewNode::Socket => FileKind::Socket,
            NewNode::CharDevice(..) => FileKind::CharDevice,
            NewNode::BlockDevice(..) => FileKind::BlockDevice,
        };
        if let NewNode::Symlink(target) = node {
            self.target = Some(target.clone());
        }
        if *node == NewNode::File {
            self.size = 0;
        }
        // A new directory in a set-gid one inherits that bit, whatever mode is asked for.
        let inherited = if self.kind == FileKind::Dir { self.mode & 0o2000 } else { 0 };
        self.changed(attr);
        self.mode |= inherited;
    }

    pub(super) fn changed(&mut self, attr: SetAttr) {
        self.mode = attr.mode.unwrap_or(self.mode);
        self.uid = attr.uid.unwrap_or(self.uid);
        self.gid = attr.gid.unwrap_or(self.gid);
    }

    pub(super) fn replaced(&mut self, contents: &[u8]) {
        self.contents = vec![Piece::new(0, contents)];
        self.size = contents.len() as u64;
        self.times = None;
    }

    pub(super) fn written(&mut self, offset: u64, bytes: &[u8]) {
        let piece = Piece::new(offset, bytes);
        let from = self.contents.partition_point(|other| other.end() <= offset);
        let to = self.contents.partition_point(|other| other.offset < piece.end()).max(from);
        self.size = self.size.max(piece.end());
        // Of a piece that is written over in part, the rest is not compared.
        self.contents.splice(from..to, [piece]);
        self.times = None;
    }

    pub(super) fn truncated(&mut self, size: u64) {
        self.contents.retain(|piece| piece.end() <= size);
        self.size = size;
        self.times = None;
    }

    pub(super) fn xattr(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.xattrs.insert(name.to_vec(), value.map(<[u8]>::to_vec));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    fn stat(kind: FileKind, ino: u64, links: u64) -> Stat {
        Stat {
            kind,
            dev: 0,
            ino,
            mode: 0o644,
            links,
            uid: 0,
            gid: 0,
            size: 0,
            blocks: 0,
            device: None,
            atime: Time::default(),
            mtime: Time::default(),
            ctime: Time::default(),
            btime: None,
        }
    }

    fn shown(all: &Expectations) -> Vec<String> {
        all.iter().map(|(path, file)| format!("{path} {:?}", file.map(|file| (file.ino, file.links)))).collect()
    }

    #[test]
    fn names_follow_renames_and_end_with_removals() {
        let mut all = Expectations::default();
        let (dir, file) = (stat(FileKind::Dir, 12, 2), stat(FileKind::File, 13, 1));
        all.created(&path("/a"), &dir, &NewNode::Dir, SetAttr::default());
        all.created(&path("/a/f"), &file, &NewNode::File, SetAttr::default());
        all.linked(&path("/a/f"), &path("/a/g"), &stat(FileKind::File, 13, 2));
        all.renamed(&path("/a"), &path("/b"), &dir, None);
        all.removed(&path("/b/f"), &stat(FileKind::File, 13, 2));
        assert_eq!(shown(&all), ["/a None", "/b Some((12, None))", "/b/f None", "/b/g Some((13, Some(1)))"]);
        all.of(&path("/b/g"), &file).written(0, b"x");
        assert_eq!(all.bytes(), 1);
        all.linked(&path("/b/g"), &path("/g"), &stat(FileKind::File, 13, 2));
        all.removed_tree(&path("/b"), &dir);
        assert_eq!(shown(&all), ["/a None", "/b None", "/g Some((13, None))"]);
        all.removed(&path("/g"), &file);
        all.names.remove(&path("/g"));
        assert_eq!((shown(&all), all.bytes()), (vec!["/a None".to_owned(), "/b None".to_owned()], 0));
        // The number is given to another file: nothing of the old one is expected of it.
        all.created(&path("/b"), &file, &NewNode::File, SetAttr::default());
        assert_eq!(shown(&all), ["/a None", "/b Some((13, None))"]);
    }

    #[test]
    fn a_file_that_is_replaced_by_a_rename_is_forgotten() {
        let mut all = Expectations::default();
        let (one, two) = (stat(FileKind::File, 13, 1), stat(FileKind::File, 14, 1));
        all.of(&path("/one"), &one).written(0, b"1");
        all.of(&path("/two"), &two).written(0, b"22");
        all.renamed(&path("/one"), &path("/two"), &one, Some(&two));
        assert_eq!((shown(&all), all.bytes()), (vec!["/one None".to_owned(), "/two Some((13, None))".to_owned()], 1));
    }

    #[test]
    fn the_set_gid_bit_is_inherited_once() {
        let mut all = Expectations::default();
        let inherited = Stat { mode: 0o2755, ..stat(FileKind::Dir, 12, 2) };
        let attr = SetAttr { mode: Some(0o700), ..SetAttr::default() };
        all.created(&path("/d"), &inherited, &NewNode::Dir, attr);
        let file = all.of(&path("/d"), &inherited);
        assert_eq!(file.mode, 0o2700);
        file.changed(attr);
        assert_eq!(file.mode, 0o700);
    }

    #[test]
    fn pieces_do_not_overlap() {
        let mut all = Expectations::default();
        let file = all.of(&path("/f"), &stat(FileKind::File, 13, 1));
        let places = |file: &Expected| file.contents.iter().map(|piece| (piece.offset, piece.len)).collect::<Vec<_>>();
        for offset in [20, 0, 10] {
            file.written(offset, &[1; 10]);
        }
        assert_eq!(places(file), [(0, 10), (10, 10), (20, 10)]);
        file.written(5, &[2; 10]);
        assert_eq!((places(file), file.size), (vec![(5, 10), (20, 10)], 30));
        file.truncated(29);
        assert_eq!((places(file), file.size), (vec![(5, 10)], 29));
        file.replaced(b"abc");
        assert_eq!((places(file), file.size), (vec![(0, 3)], 3));
    }
}
