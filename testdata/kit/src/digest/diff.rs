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
pub struct Change {
    /// The path.
    pub path: Bytes,
    /// What was there; `None` for a path that was added.
    pub before: Option<Entry>,
    /// What is there; `None` for a path that was removed.
    pub after: Option<Entry>,
    /// Which fields differ, where both are there.
    pub fields: Vec<Field>,
}

/// `+ /new`, `- /old`, `~ /changed: [Mode, Content]`: a list of changes in an assertion stays readable.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = String::from_utf8_lossy(&self.path);
        match (&self.before, &self.after) {
            (None, _) => write!(f, "+ {path}"),
            (_, None) => write!(f, "- {path}"),
            _ => write!(f, "~ {path}: {:?}", self.fields),
        }
    }
}

pub(super) fn diff(before: &TreeDigest, after: &TreeDigest) -> Vec<Change> {
    let paths: BTreeSet<&Bytes> = before.entries.keys().chain(after.entries.keys()).collect();
    let changes = paths.into_iter().map(|path| {
        let (old, new) = (before.entries.get(path), after.entries.get(path));
        let fields = old.zip(new).map(|(old, new)| fields(old, new)).unwrap_or_default();
        Change { path: path.clone(), before: old.cloned(), after: new.cloned(), fields }
    });
    changes.filter(|change| change.before != change.after).collect()
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
