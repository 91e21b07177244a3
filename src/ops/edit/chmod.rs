//! `chmod`.

use super::mode::ModeChange;
use crate::error::Result;
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{FileKind, Follow, GuestPath, Walk, existing};

/// Changes the permission bits of what `path` leads to, which must exist (V4); with `recursive` also of all below, where
/// symbolic links are left alone.
pub fn chmod(editor: &mut Editor<'_>, path: &GuestPath, mode: &ModeChange, recursive: bool) -> Result<()> {
    let (place, stat) = existing(editor.tree(), path, Follow::Last)?;
    if !recursive {
        return editor.set(&place, Wanted::mode(mode.apply(stat.mode, stat.kind == FileKind::Dir)));
    }
    let mut walk = Walk::new(place);
    while let Some((place, stat)) = walk.next(editor.tree())? {
        if stat.kind != FileKind::Symlink {
            editor.set(&place, Wanted::mode(mode.apply(stat.mode, stat.kind == FileKind::Dir)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::tree::memtree::MemTree;

    #[test]
    fn v4_what_is_named_and_with_r_what_is_below() {
        let mut tree = MemTree::new();
        tree.file("/d/f", "").file("/d/e/run", "").chmod("/d/e/run", 0o700).file("/out", "").chmod("/out", 0o600);
        tree.link("/d/l", "/out").link("/to_d", "d").link("/gone", "nowhere");
        let path = |text: &str| GuestPath::parse(text).unwrap();
        let mode = |text: &str| ModeChange::parse(text).unwrap();
        let mut editor = Editor::new(&mut tree);
        chmod(&mut editor, &path("/d/l"), &mode("7777"), false).unwrap();
        chmod(&mut editor, &path("/to_d"), &mode("a=rX,u+w"), true).unwrap();
        // What has its mode already is not touched.
        chmod(&mut editor, &path("/d"), &mode("a=rX,u+w"), true).unwrap();
        let changes: Vec<String> = editor.changes().iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["chmod /out (0600 -> 7777)", "chmod /d/e/run (0700 -> 0755)"]);
        for (missing, recursive) in [("/gone", false), ("/no", true)] {
            let error = chmod(&mut editor, &path(missing), &mode("0"), recursive).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        assert_eq!(tree.mode("/d/f"), 0o644);
    }
}
