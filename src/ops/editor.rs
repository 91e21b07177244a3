//! A tree whose changes are written down as they are made, and forgotten when they are taken back.

use super::change::{Change, What};
use crate::error::Result;
use crate::tree::{FileKind, FileTree, GuestPath, NewNode, Savepoint, SetAttr, append, make_dirs, replace};

/// Works on a tree and remembers what it changed.
#[derive(Debug)]
pub(crate) struct Editor<'t> {
    tree: &'t mut dyn FileTree,
    changes: Vec<Change>,
}

/// A state to which an [`Editor`] can go back.
#[derive(Debug)]
pub(crate) struct Mark {
    savepoint: Savepoint,
    changes: usize,
}

/// Attributes that a file must have in the end; `None` leaves one as it is, or as a new file gets it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

impl Wanted {
    /// Permission bits and owner, all of them.
    pub(crate) fn all(mode: u32, (uid, gid): (u32, u32)) -> Self {
        Self { mode: Some(mode), uid: Some(uid), gid: Some(gid) }
    }

    /// Permission bits only.
    pub(crate) fn mode(mode: u32) -> Self {
        Self { mode: Some(mode), ..Self::default() }
    }

    fn for_new(self) -> SetAttr {
        SetAttr { mode: self.mode, uid: self.uid, gid: self.gid, ..SetAttr::default() }
    }
}

impl<'t> Editor<'t> {
    pub(crate) fn new(tree: &'t mut dyn FileTree) -> Self {
        Self { tree, changes: Vec::new() }
    }

    pub(crate) fn tree(&self) -> &dyn FileTree {
        self.tree
    }

    pub(crate) fn mark(&mut self) -> Mark {
        Mark { savepoint: self.tree.savepoint(), changes: self.changes.len() }
    }

    pub(crate) fn rollback(&mut self, mark: Mark) {
        self.tree.rollback(mark.savepoint);
        self.changes.truncate(mark.changes);
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(crate) fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    fn record(&mut self, path: &GuestPath, what: What) {
        self.changes.push(Change { path: path.clone(), what });
    }

    /// Makes missing directories, each with `new`; returns where `path` leads and whether it had to be made.
    pub(crate) fn make_dirs(&mut self, path: &GuestPath, new: Wanted) -> Result<(GuestPath, bool)> {
        let made = make_dirs(self.tree, path, new.for_new())?;
        for dir in &made.created {
            let stat = self.tree.stat(dir)?;
            self.record(dir, What::CreatedDir { mode: stat.mode, uid: stat.uid, gid: stat.gid });
        }
        Ok((made.path, !made.created.is_empty()))
    }

    /// Replaces or creates a file; `new` is for a new one only. Returns where `path` leads.
    pub(crate) fn replace(&mut self, path: &GuestPath, contents: &[u8], new: Wanted) -> Result<GuestPath> {
        let written = replace(self.tree, path, contents, new.for_new())?;
        match written.before {
            None => self.created_file(&written.path)?,
            Some(before) if written.changed => {
                self.record(&written.path, What::Replaced { before, after: written.after });
            }
            Some(_) => {}
        }
        Ok(written.path)
    }

    /// Appends to a file or creates it; `new` is for a new one only. Returns where `path` leads.
    pub(crate) fn append(&mut self, path: &GuestPath, contents: &[u8], new: Wanted) -> Result<GuestPath> {
        let written = append(self.tree, path, contents, new.for_new())?;
        match written.before {
            None => self.created_file(&written.path)?,
            Some(before) if written.changed => {
                self.record(&written.path, What::Appended { before, after: written.after });
            }
            Some(_) => {}
        }
        Ok(written.path)
    }

    fn created_file(&mut self, path: &GuestPath) -> Result<()> {
        let stat = self.tree.stat(path)?;
        self.record(path, What::CreatedFile { mode: stat.mode, uid: stat.uid, gid: stat.gid, after: stat.size });
        Ok(())
    }

    /// Creates a symbolic link.
    pub(crate) fn symlink(&mut self, path: &GuestPath, target: &GuestPath) -> Result<()> {
        self.tree.create(path, NewNode::Symlink(target.to_bytes()), SetAttr::default())?;
        self.record(path, What::CreatedLink { target: target.clone() });
        Ok(())
    }

    /// Gives what is at `path`, links not followed, the attributes wanted. What is so already is not touched.
    ///
    /// A file that changes hands loses its set-id bits unless a mode is wanted, as with chown(2).
    pub(crate) fn set(&mut self, path: &GuestPath, wanted: Wanted) -> Result<()> {
        let stat = self.tree.stat(path)?;
        let before = (stat.uid, stat.gid);
        let after = (wanted.uid.unwrap_or(stat.uid), wanted.gid.unwrap_or(stat.gid));
        let kept = if before != after && stat.kind == FileKind::File { stat.mode & !0o6000 } else { stat.mode };
        let mode = wanted.mode.unwrap_or(kept);
        if before == after && mode == stat.mode {
            return Ok(());
        }
        let attr = SetAttr {
            mode: (mode != stat.mode).then_some(mode),
            uid: (before.0 != after.0).then_some(after.0),
            gid: (before.1 != after.1).then_some(after.1),
            ..SetAttr::default()
        };
        self.tree.set_attr(path, attr)?;
        if before != after {
            self.record(path, What::Owner { before, after });
        }
        if mode != stat.mode {
            self.record(path, What::Mode { before: stat.mode, after: mode });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    #[test]
    fn writes_down_what_changes_and_forgets_what_is_taken_back() {
        let mut tree = MemTree::new();
        tree.file("/etc/f", "old");
        let mut editor = Editor::new(&mut tree);
        editor.make_dirs(&path("/a/b"), Wanted::mode(0o750)).unwrap();
        editor.make_dirs(&path("/a"), Wanted::default()).unwrap();
        let mark = editor.mark();
        editor.append(&path("/a/f"), b"12", Wanted::all(0o600, (1, 2))).unwrap();
        editor.rollback(mark);
        editor.append(&path("/etc/f"), b"12", Wanted::default()).unwrap();
        editor.replace(&path("/etc/f"), b"old12", Wanted::default()).unwrap();
        editor.set(&path("/etc/f"), Wanted::all(0o644, (0, 0))).unwrap();
        editor.symlink(&path("/l"), &path("/etc")).unwrap();
        let lines: Vec<String> = editor.into_changes().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "create directory /a (mode 0750, 0:0)",
                "create directory /a/b (mode 0750, 0:0)",
                "append to /etc/f (3 -> 5 bytes)",
                "create link /l -> /etc",
            ]
        );
        assert!(!tree.has("/a/f"));
    }

    #[test]
    fn a_file_that_changes_hands_loses_its_set_id_bits() {
        let mut tree = MemTree::new();
        tree.file("/f", "").chmod("/f", 0o6755).dir("/d").chmod("/d", 0o2755);
        let mut editor = Editor::new(&mut tree);
        let to_user = Wanted { uid: Some(7), ..Wanted::default() };
        editor.set(&path("/f"), to_user).unwrap();
        editor.set(&path("/d"), to_user).unwrap();
        assert_eq!((tree.mode("/f"), tree.mode("/d")), (0o755, 0o2755));
        assert_eq!(tree.owner_of("/f"), (7, 0));
    }
}
