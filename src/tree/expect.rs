//! What was asked for, kept apart from what was done: a second reader compares the two before anything is committed.

use super::{FileKind, GuestPath, NewNode, SetAttr, Stat};
use std::collections::BTreeMap;

/// What must be found at the paths that were touched.
#[derive(Debug, Clone, Default)]
pub struct Expectations(BTreeMap<GuestPath, Expected>);

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

/// What must be found at one path. What was not asked for is as it was before the first change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
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
    /// Contents that were written, in order, without overlap.
    pub contents: Vec<Piece>,
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Extended attributes that were set, or with `None` removed.
    pub xattrs: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Expectations {
    /// The paths, sorted, and what must be found there.
    pub fn iter(&self) -> impl Iterator<Item = (&GuestPath, &Expected)> {
        self.0.iter()
    }

    /// How many paths.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of(&mut self, path: &GuestPath, stat: &Stat) -> &mut Expected {
        self.0.entry(path.clone()).or_insert_with(|| Expected {
            kind: stat.kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            contents: Vec::new(),
            target: None,
            xattrs: BTreeMap::new(),
        })
    }
}

impl Expected {
    pub(super) fn created(&mut self, node: &NewNode, attr: SetAttr) {
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
        self.changed(attr);
    }

    pub(super) fn changed(&mut self, attr: SetAttr) {
        // A new directory in a set-gid one inherits that bit.
        let inherited = if self.kind == FileKind::Dir { self.mode & 0o2000 } else { 0 };
        if let Some(mode) = attr.mode {
            self.mode = mode | inherited & self.mode;
        }
        self.uid = attr.uid.unwrap_or(self.uid);
        self.gid = attr.gid.unwrap_or(self.gid);
    }

    pub(super) fn replaced(&mut self, contents: &[u8]) {
        self.contents.clear();
        self.size = 0;
        self.appended(0, contents);
    }

    pub(super) fn appended(&mut self, before: u64, contents: &[u8]) {
        let len = contents.len() as u64;
        self.contents.push(Piece { offset: before, len, crc: crc32c::crc32c(contents) });
        self.size = before + len;
    }

    pub(super) fn xattr(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.xattrs.insert(name.to_vec(), value.map(<[u8]>::to_vec));
    }
}
