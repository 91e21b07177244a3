//! What people do to single files of a guest, by the verbs of coreutils. Each takes an [`Editor`], so that several make
//! one commit; [`edit`] does all of them or nothing.

mod chmod;
mod chown;
mod link;
mod make_dir;
mod make_node;
mod mode;
mod remove;
mod rename;
pub mod sed;
mod set_xattr;
mod text;
mod touch;
mod truncate;
mod write;

pub use chmod::chmod;
pub use chown::chown;
pub use link::{LinkOptions, hard_link, symlink};
pub use make_dir::make_dir;
pub use make_node::{MAX_MAJOR, MAX_MINOR, make_node};
pub use mode::{ModeChange, UMASK};
pub use remove::{RemoveOptions, remove, remove_dir};
pub use rename::{RenameOptions, rename};
pub use set_xattr::set_xattr;
pub use text::edit_text;
pub use touch::{TouchOptions, touch};
pub use truncate::{NewSize, truncate};
pub use write::{append, file_path, write};

use super::Change;
use super::editor::Editor;
use super::inject::point_out_hidden;
use super::selinux::{Labelling, label_touched};
use crate::error::Result;
use crate::tree::{FileKind, FileTree, GuestPath, find};
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

/// Does what `work` does to `tree`, and gives what it created its SELinux contexts; when it fails, the tree is as it
/// was.
pub fn edit(tree: &mut dyn FileTree, work: impl FnOnce(&mut Editor<'_>) -> Result<()>) -> Result<Edited> {
    edit_labelled(tree, Labelling::Auto, work)
}

/// The same, with contexts or without.
pub fn edit_labelled(
    tree: &mut dyn FileTree,
    labelling: Labelling,
    work: impl FnOnce(&mut Editor<'_>) -> Result<()>,
) -> Result<Edited> {
    let mut editor = Editor::new(tree);
    let start = editor.mark();
    let notes = match work(&mut editor).and_then(|()| label_touched(&mut editor, labelling)) {
        Ok(notes) => notes,
        Err(error) => {
            editor.rollback(start);
            return Err(error);
        }
    };
    let warnings = point_out_hidden(editor.tree(), editor.changes());
    Ok(Edited { changes: editor.into_changes(), warnings, notes })
}

/// The directory that `path` leads to, links followed; none when that is something else or nothing.
fn directory(tree: &dyn FileTree, path: &GuestPath) -> Result<Option<GuestPath>> {
    let is_dir = |kind| kind == FileKind::Dir;
    Ok(find(tree, path)?
        .filter(|found| found.stat.as_ref().is_some_and(|stat| is_dir(stat.kind)))
        .map(|found| found.path))
}

#[cfg(test)]
mod tests {
    use super::*;
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
