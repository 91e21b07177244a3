//! Making many files at once: each is told as one change, when all of it is there.

use super::Editor;
use crate::error::Result;
use crate::ops::change::What;
use crate::tree::{FileKind, GuestPath, NewNode, SetAttr, Xattr};

/// The label of SELinux: one that is given is told apart, so that nobody gives the file another.
const LABEL: &[u8] = b"security.selinux";
/// What a directory passes on to what is made in it.
const LISTS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

impl Editor<'_> {
    /// Makes something new of which nothing is recorded yet: [`Editor::finish`] does, and until then it is written
    /// with [`Editor::fill`].
    pub(crate) fn begin(&mut self, path: &GuestPath, node: NewNode, attr: SetAttr) -> Result<()> {
        self.tree.create(path, node, attr)
    }

    /// Writes into a file that was begun.
    pub(crate) fn fill(&mut self, path: &GuestPath, offset: u64, data: &[u8]) -> Result<()> {
        self.tree.write_at(path, offset, data)
    }

    /// Sets the length of a file that was begun.
    pub(crate) fn fill_to(&mut self, path: &GuestPath, size: u64) -> Result<()> {
        self.tree.truncate(path, size)
    }

    /// Gives what was begun its attributes and records it. With `exactly` it has no access list but those given.
    pub(crate) fn finish(&mut self, path: &GuestPath, attr: SetAttr, xattrs: &[Xattr], exactly: bool) -> Result<()> {
        let stat = self.complete(path, attr, xattrs, exactly)?;
        let (mode, uid, gid) = (stat.mode, stat.uid, stat.gid);
        let what = match stat.kind {
            FileKind::File => What::CreatedFile { mode, uid, gid, after: stat.size },
            FileKind::Dir => What::CreatedDir { mode, uid, gid },
            FileKind::Symlink => What::CreatedLink { target: self.tree.read_link(path)? },
            kind => What::CreatedNode { kind, mode, uid, gid, device: stat.device },
        };
        self.record(path, what);
        self.record_label(path, xattrs);
        Ok(())
    }

    /// Records that a file, which had `before` bytes and was written with [`Editor::fill`], has other contents.
    pub(crate) fn refilled(&mut self, path: &GuestPath, before: u64) -> Result<()> {
        let after = self.tree.stat(path)?.size;
        self.record(path, What::Replaced { before, after });
        Ok(())
    }

    /// Gives a directory that was finished, and is full by now, its attributes.
    pub(crate) fn finish_dir(&mut self, path: &GuestPath, attr: SetAttr, xattrs: &[Xattr]) -> Result<()> {
        self.complete(path, attr, xattrs, false)?;
        self.record_label(path, xattrs);
        Ok(())
    }

    fn complete(
        &mut self,
        path: &GuestPath,
        attr: SetAttr,
        xattrs: &[Xattr],
        exactly: bool,
    ) -> Result<crate::tree::Stat> {
        if exactly {
            for (name, _) in self.tree.xattrs(path)? {
                if LISTS.contains(&&*name) && !xattrs.iter().any(|(wanted, _)| *wanted == name) {
                    self.tree.set_xattr(path, &name, None)?;
                }
            }
        }
        for (name, value) in xattrs {
            self.tree.set_xattr(path, name, Some(value))?;
        }
        // After the lists, which have part of the mode in them.
        if attr != SetAttr::default() {
            self.tree.set_attr(path, attr)?;
        }
        self.tree.stat(path)
    }

    fn record_label(&mut self, path: &GuestPath, xattrs: &[Xattr]) {
        if let Some((name, value)) = xattrs.iter().find(|(name, _)| name == LABEL) {
            self.record(path, What::SetXattr { name: name.clone(), len: value.len() as u64 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn one_change_for_each_name_and_one_for_a_label() {
        let mut tree = MemTree::new();
        let mut editor = Editor::new(&mut tree);
        let path = GuestPath::parse("/f").unwrap();
        let attr = SetAttr { mode: Some(0o4755), ..SetAttr::default() };
        editor.begin(&path, NewNode::File, SetAttr::default()).unwrap();
        editor.fill(&path, 3, b"abc").unwrap();
        editor.fill_to(&path, 10).unwrap();
        assert_eq!(editor.changes(), []);
        let xattrs = [(LABEL.to_vec(), b"etc_t".to_vec()), (b"user.x".to_vec(), b"1".to_vec())];
        editor.finish(&path, attr, &xattrs, true).unwrap();
        let lines: Vec<String> = editor.changes().iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("/f") && lines[0].contains("4755") && lines[1].contains("security.selinux"));
        assert_eq!(tree.bytes("/f"), b"\0\0\0abc\0\0\0\0");
    }
}
