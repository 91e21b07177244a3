//! What people do to single files of a guest, by the verbs of coreutils. Each takes an [`Editor`], so that several make
//! one commit; [`edit`] does all of them or nothing.

mod chmod;
mod chown;
mod make_dir;
mod mode;
mod write;

pub use chmod::chmod;
pub use chown::chown;
pub use make_dir::make_dir;
pub use mode::{ModeChange, UMASK};
pub use write::{append, file_path, write};

use super::Change;
use super::editor::Editor;
use super::inject::{point_out_hidden, point_out_unlabelled};
use crate::error::Result;
use crate::tree::FileTree;
use serde::Serialize;

/// What a number of edits did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edited {
    /// What changed, in the order in which it did.
    pub changes: Vec<Change>,
    /// What may not be as wished: files that the guest will not see.
    pub warnings: Vec<String>,
    /// What is still to be done in the guest: files without an SELinux context.
    pub notes: Vec<String>,
}

/// Does what `work` does to `tree`; when it fails, the tree is as it was.
pub fn edit(tree: &mut dyn FileTree, work: impl FnOnce(&mut Editor<'_>) -> Result<()>) -> Result<Edited> {
    let mut editor = Editor::new(tree);
    let start = editor.mark();
    if let Err(error) = work(&mut editor) {
        editor.rollback(start);
        return Err(error);
    }
    let notes = point_out_unlabelled(editor.tree(), editor.changes()).into_iter().collect();
    let warnings = point_out_hidden(editor.tree(), editor.changes());
    Ok(Edited { changes: editor.into_changes(), warnings, notes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::GuestPath;
    use crate::tree::memtree::MemTree;

    #[test]
    fn all_of_it_or_nothing() {
        let mut tree = MemTree::new();
        tree.file("/f", "old");
        let before = tree.listing();
        let path = |text: &str| GuestPath::parse(text).unwrap();
        let failed = edit(&mut tree, |editor| {
            write(editor, &path("/f"), b"new")?;
            make_dir(editor, &path("/no/dir"), None, false)
        });
        assert!(failed.is_err() && tree.listing() == before);
        let done = edit(&mut tree, |editor| write(editor, &path("/f"), b"newer")).unwrap();
        assert_eq!((done.changes.len(), tree.text("/f").as_str()), (1, "newer"));
    }

    #[test]
    fn what_the_guest_will_not_see_is_pointed_out() {
        let mut tree = MemTree::new();
        tree.file("/etc/fstab", "/dev/sda1 /boot ext4 defaults 0 2\n").dir("/boot");
        tree.file("/etc/selinux/config", "SELINUX=enforcing\n");
        let path = GuestPath::parse("/boot/new").unwrap();
        let done = edit(&mut tree, |editor| write(editor, &path, b"")).unwrap();
        assert!(done.warnings[0].starts_with("/boot is another filesystem"), "{done:?}");
        assert!(done.notes[0].contains("without an SELinux context"), "{done:?}");
    }
}
