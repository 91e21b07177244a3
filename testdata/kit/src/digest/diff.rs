//! What changed between two trees.

use super::{Bytes, Entry, TreeDigest};
use std::collections::BTreeSet;
use std::fmt;

/// A property of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are those of the fields of Entry")]
pub enum Field {
    Inode,
    Kind,
    Mode,
    Flags,
    Uid,
    Gid,
    Project,
    Size,
    Links,
    Mtime,
    Ctime,
    Atime,
    Crtime,
    Device,
    Target,
    Content,
    Xattrs,
}

/// A path that differs.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Only after.
    Added(Bytes, Box<Entry>),
    /// Only before.
    Removed(Bytes, Box<Entry>),
    /// In both, with these fields different.
    Changed {
        /// The path.
        path: Bytes,
        /// Which fields.
        fields: Vec<Field>,
        /// The entry before.
        before: Box<Entry>,
        /// The entry after.
        after: Box<Entry>,
    },
}

impl Change {
    /// The path it is about.
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Added(path, _) | Self::Removed(path, _) | Self::Changed { path, .. } => path,
        }
    }
}

/// `+ /new`, `- /old`, `~ /changed: [Mode, Content]`: a list of changes in an assertion stays readable.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = String::from_utf8_lossy(self.path());
        match self {
            Self::Added(..) => write!(f, "+ {path}"),
            Self::Removed(..) => write!(f, "- {path}"),
            Self::Changed { fields, .. } => write!(f, "~ {path}: {fields:?}"),
        }
    }
}

pub(super) fn diff(before: &TreeDigest, after: &TreeDigest) -> Vec<Change> {
    let paths: BTreeSet<&Bytes> = before.entries.keys().chain(after.entries.keys()).collect();
    let change = |path: &Bytes| match (before.entries.get(path), after.entries.get(path)) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(Change::Changed {
            path: path.clone(),
            fields: fields(old, new),
            before: Box::new(old.clone()),
            after: Box::new(new.clone()),
        }),
        (Some(old), None) => Some(Change::Removed(path.clone(), Box::new(old.clone()))),
        (None, new) => new.map(|new| Change::Added(path.clone(), Box::new(new.clone()))),
    };
    paths.into_iter().filter_map(change).collect()
}

fn fields(a: &Entry, b: &Entry) -> Vec<Field> {
    let differs = [
        (Field::Inode, a.inode != b.inode),
        (Field::Kind, a.kind != b.kind),
        (Field::Mode, a.mode != b.mode),
        (Field::Flags, a.flags != b.flags),
        (Field::Uid, a.uid != b.uid),
        (Field::Gid, a.gid != b.gid),
        (Field::Project, a.project != b.project),
        (Field::Size, a.size != b.size),
        (Field::Links, a.links != b.links),
        (Field::Mtime, a.mtime != b.mtime),
        (Field::Ctime, a.ctime != b.ctime),
        (Field::Atime, a.atime != b.atime),
        (Field::Crtime, a.crtime != b.crtime),
        (Field::Device, a.device != b.device),
        (Field::Target, a.target != b.target),
        (Field::Content, a.content != b.content),
        (Field::Xattrs, a.xattrs != b.xattrs),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
}
