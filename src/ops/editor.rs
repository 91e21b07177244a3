//! A tree whose changes are written down as they are made, and forgotten when they are taken back.

mod bulk;

use super::change::{Change, What};
use super::selinux;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileKind, FileTree, GuestPath, NewNode, Savepoint, SetAttr, Stat, Time, append, make_dirs, replace};

/// What chown(2) takes away from a file: who has it now must not run it with what it could do.
const CAPABILITY: &[u8] = b"security.capability";

/// Works on a tree and remembers what it changed.
#[derive(Debug)]
pub struct Editor<'t> {
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

    /// The tree as it is now.
    pub fn tree(&self) -> &dyn FileTree {
        self.tree
    }

    pub(crate) fn mark(&mut self) -> Mark {
        Mark { savepoint: self.tree.savepoint(), changes: self.changes.len() }
    }

    pub(crate) fn rollback(&mut self, mark: Mark) {
        self.tree.rollback(mark.savepoint);
        self.changes.truncate(mark.changes);
    }

    /// What was changed so far.
    pub fn changes(&self) -> &[Change] {
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
        made.created.iter().try_for_each(|dir| self.created_dir(dir))?;
        Ok((made.path, !made.created.is_empty()))
    }

    /// Makes one directory in one that exists. `mode` says what becomes of the mode that a new directory has there.
    pub(crate) fn make_dir(&mut self, path: &GuestPath, mode: impl FnOnce(u32) -> u32) -> Result<()> {
        self.tree.create(path, NewNode::Dir, SetAttr::default())?;
        let made = self.tree.stat(path)?.mode;
        let wanted = mode(made);
        if wanted != made {
            // Not when it is created: a set-gid parent passes its bit on whatever is asked for.
            self.tree.set_attr(path, SetAttr { mode: Some(wanted), ..SetAttr::default() })?;
        }
        self.created_dir(path)
    }

    fn created_dir(&mut self, path: &GuestPath) -> Result<()> {
        let stat = self.tree.stat(path)?;
        self.record(path, What::CreatedDir { mode: stat.mode, uid: stat.uid, gid: stat.gid });
        Ok(())
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
    pub(crate) fn symlink(&mut self, path: &GuestPath, target: &[u8]) -> Result<()> {
        self.tree.create(path, NewNode::Symlink(target.to_vec()), SetAttr::default())?;
        self.record(path, What::CreatedLink { target: target.to_vec() });
        Ok(())
    }

    /// Creates a device, a named pipe or a socket.
    pub(crate) fn node(&mut self, path: &GuestPath, node: NewNode, mode: u32) -> Result<()> {
        self.tree.create(path, node, SetAttr { mode: Some(mode), ..SetAttr::default() })?;
        let stat = self.tree.stat(path)?;
        let (kind, device) = (stat.kind, stat.device);
        self.record(path, What::CreatedNode { kind, mode: stat.mode, uid: stat.uid, gid: stat.gid, device });
        Ok(())
    }

    /// Gives the file `target` the name `path` as well.
    pub(crate) fn link(&mut self, target: &GuestPath, path: &GuestPath) -> Result<()> {
        self.tree.link(target, path)?;
        self.record(path, What::Linked { target: target.clone() });
        Ok(())
    }

    /// Gives what is at `from` the name `to`, as rename(2) does.
    pub(crate) fn rename(&mut self, from: &GuestPath, to: &GuestPath) -> Result<()> {
        let before = self.tree.stat(from)?;
        // Where names are found in any case, it may be the same file.
        let other = |over: &Stat| over.ino == 0 || over.id() != before.id();
        let replaced = self.tree.stat(to).ok().filter(other).map(|over| over.kind);
        self.tree.rename(from, to)?;
        self.record(from, What::Renamed { to: to.clone(), replaced });
        Ok(())
    }

    /// Removes a name: of a directory only when it is empty.
    pub(crate) fn remove(&mut self, path: &GuestPath) -> Result<()> {
        let kind = self.tree.stat(path)?.kind;
        if kind == FileKind::Dir {
            self.tree.rmdir(path)?
        } else {
            self.tree.unlink(path)?
        }
        self.record(path, What::Removed { kind, names: 1 });
        Ok(())
    }

    /// Removes a regular file that has no other name, and has what it held overwritten.
    pub(crate) fn scrub(&mut self, path: &GuestPath) -> Result<()> {
        let stat = self.tree.stat(path)?;
        if stat.kind == FileKind::File && stat.links > 1 {
            let message = format!("the file has {} names, and its contents would stay in use", stat.links);
            let error = Error::new(ErrorKind::Refused, message).at_path(path.to_bytes());
            return Err(error.hint("remove its other names first"));
        }
        self.tree.scrub(path)?;
        self.record(path, What::Scrubbed { before: stat.size });
        self.remove(path)
    }

    /// Removes a name and all that is below.
    pub(crate) fn remove_tree(&mut self, path: &GuestPath) -> Result<()> {
        let kind = self.tree.stat(path)?.kind;
        let names = self.tree.remove_tree(path)?;
        self.record(path, What::Removed { kind, names });
        Ok(())
    }

    /// Sets the length of a regular file.
    pub(crate) fn truncate(&mut self, path: &GuestPath, size: u64) -> Result<()> {
        let before = self.tree.stat(path)?.size;
        if before != size {
            self.tree.truncate(path, size)?;
            self.record(path, What::Truncated { before, after: size });
        }
        Ok(())
    }

    /// Sets the times that are given.
    pub(crate) fn set_times(&mut self, path: &GuestPath, atime: Option<Time>, mtime: Option<Time>) -> Result<()> {
        let before = self.tree.stat(path)?;
        if atime.unwrap_or(before.atime) == before.atime && mtime.unwrap_or(before.mtime) == before.mtime {
            return Ok(());
        }
        self.tree.set_attr(path, SetAttr { atime, mtime, ..SetAttr::default() })?;
        // As the filesystem can store them.
        let after = self.tree.stat(path)?;
        if (after.atime, after.mtime) != (before.atime, before.mtime) {
            self.record(path, What::Times { atime: after.atime, mtime: after.mtime });
        }
        Ok(())
    }

    /// Sets an extended attribute, or removes one that is there.
    pub(crate) fn set_xattr(&mut self, path: &GuestPath, name: &[u8], value: Option<&[u8]>) -> Result<()> {
        let present = self.tree.xattrs(path)?.into_iter().find(|(present, _)| present == name);
        if value.is_some() && present.as_ref().map(|(_, present)| present.as_slice()) == value {
            return Ok(());
        }
        self.tree.set_xattr(path, name, value)?;
        let name = name.to_vec();
        self.record(
            path,
            match value {
                Some(value) => What::SetXattr { name, len: value.len() as u64 },
                None => What::RemovedXattr { name },
            },
        );
        Ok(())
    }

    /// Sets the SELinux context, which ends with a NUL byte as the kernel keeps it.
    pub(crate) fn set_context(&mut self, path: &GuestPath, context: &[u8]) -> Result<()> {
        self.tree.set_xattr(path, selinux::XATTR, Some(context))?;
        let context = context.strip_suffix(b"\0").unwrap_or(context).to_vec();
        self.record(path, What::Labelled { context });
        Ok(())
    }

    /// Gives what is at `path`, links not followed, the attributes wanted. What is so already is not touched.
    ///
    /// What changes hands loses what chown(2) takes: its capabilities, if it is no directory, and unless a mode is
    /// wanted its set-id bits, but for a set-gid bit that without execution means locking.
    pub(crate) fn set(&mut self, path: &GuestPath, wanted: Wanted) -> Result<()> {
        let stat = self.tree.stat(path)?;
        let before = (stat.uid, stat.gid);
        let after = (wanted.uid.unwrap_or(stat.uid), wanted.gid.unwrap_or(stat.gid));
        let changes_hands = before != after && !matches!(stat.kind, FileKind::Dir | FileKind::Symlink);
        let kept = if changes_hands { without_set_id(stat.mode) } else { stat.mode };
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
        if changes_hands && self.tree.xattrs(path)?.iter().any(|(name, _)| name == CAPABILITY) {
            self.tree.set_xattr(path, CAPABILITY, None)?;
            self.record(path, What::RemovedXattr { name: CAPABILITY.to_vec() });
        }
        Ok(())
    }
}

fn without_set_id(mode: u32) -> u32 {
    let lost = if mode & 0o010 != 0 { 0o6000 } else { 0o4000 };
    mode & !lost
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
        editor.symlink(&path("/l"), b"../etc").unwrap();
        let lines: Vec<String> = editor.into_changes().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "create directory /a (mode 0750, 0:0)",
                "create directory /a/b (mode 0750, 0:0)",
                "append to /etc/f (3 -> 5 bytes)",
                "create link /l -> ../etc",
            ]
        );
        assert!(!tree.has("/a/f"));
    }

    #[test]
    fn a_file_that_changes_hands_loses_its_set_id_bits_and_capabilities() {
        let mut tree = MemTree::new();
        tree.file("/f", "").chmod("/f", 0o6755).dir("/d").chmod("/d", 0o6755).file("/locked", "");
        tree.chmod("/locked", 0o2644);
        for name in [&b"security.capability"[..], b"security.selinux"] {
            tree.set_xattr(&path("/f"), name, Some(b"x")).unwrap();
        }
        let mut editor = Editor::new(&mut tree);
        editor.set(&path("/f"), Wanted::all(0o6755, (0, 0))).unwrap();
        assert_eq!(editor.changes(), []);
        let to_user = Wanted { uid: Some(7), ..Wanted::default() };
        for name in ["/f", "/d", "/locked"] {
            editor.set(&path(name), to_user).unwrap();
        }
        let removed = editor.changes().iter().filter(|change| matches!(change.what, What::RemovedXattr { .. })).count();
        assert_eq!(removed, 1);
        assert_eq!((tree.mode("/f"), tree.mode("/d"), tree.mode("/locked")), (0o755, 0o6755, 0o2644));
        assert_eq!(tree.xattrs(&path("/f")).unwrap(), [(b"security.selinux".to_vec(), b"x".to_vec())]);
        assert_eq!(tree.owner_of("/f"), (7, 0));
    }
}
