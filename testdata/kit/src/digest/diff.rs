//! What changed between two trees.

use super::{Bytes, Entry, TreeDigest};
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
    Added(Bytes, Entry),
    /// Only before.
    Removed(Bytes, Entry),
    /// In both, with these fields different.
    Changed {
        /// The path.
        path: Bytes,
        /// Which fields.
        fields: Vec<Field>,
        /// The entry before.
        before: Entry,
        /// The entry after.
        after: Entry,
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

/// `+ /new`, `- /old`, `~ /changed: Mode, Content`: a list of changes in an assertion stays readable.
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
    let mut changes = Vec::new();
    for (path, old) in &before.entries {
        match after.entries.get(path) {
            None => changes.push(Change::Removed(path.clone(), old.clone())),
            Some(new) if new != old => changes.push(Change::Changed {
                path: path.clone(),
                fields: fields(old, new),
                before: old.clone(),
                after: new.clone(),
            }),
            Some(_) => {}
        }
    }
    for (path, new) in &after.entries {
        if !before.entries.contains_key(path) {
            changes.push(Change::Added(path.clone(), new.clone()));
        }
    }
    changes.sort_by(|a, b| a.path().cmp(b.path()));
    changes
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
