//! `setfattr`.

use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::Editor;
use crate::tree::{Follow, GuestPath, existing};

/// Sets the extended attribute `name`, with its name space, of what is at `path`, or with `None` removes it.
/// [`NotFound`](ErrorKind::NotFound) where there is none to be removed.
pub fn set_xattr(
    editor: &mut Editor<'_>,
    path: &GuestPath,
    name: &[u8],
    value: Option<&[u8]>,
    follow: Follow,
) -> Result<()> {
    let (place, _) = existing(editor.tree(), path, follow)?;
    if value.is_none() && !editor.tree().xattrs(&place)?.iter().any(|(present, _)| present == name) {
        let message = format!("no attribute {}", name.escape_ascii());
        return Err(Error::new(ErrorKind::NotFound, message).at_path(path.to_bytes()));
    }
    editor.set_xattr(&place, name, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::FileTree;
    use crate::tree::memtree::MemTree;

    #[test]
    fn sets_replaces_and_removes() {
        let mut tree = MemTree::new();
        tree.file("/f", "").link("/l", "f");
        let path = |text: &str| GuestPath::parse(text).unwrap();
        let mut run = |text: &str, value: Option<&[u8]>, follow| {
            let mut editor = Editor::new(&mut tree);
            let done = set_xattr(&mut editor, &path(text), b"user.a", value, follow).map_err(|error| error.kind());
            done.map(|()| editor.into_changes().len())
        };
        assert_eq!(run("/l", None, Follow::Last), Err(ErrorKind::NotFound));
        assert_eq!(run("/l", Some(b"1"), Follow::Last), Ok(1));
        assert_eq!(run("/l", Some(b"1"), Follow::Last), Ok(0));
        assert_eq!(run("/f", Some(b""), Follow::Last), Ok(1));
        assert_eq!(run("/l", None, Follow::NotLast), Err(ErrorKind::NotFound));
        assert_eq!(run("/no", Some(b"1"), Follow::Last), Err(ErrorKind::NotFound));
        assert_eq!(run("/f", None, Follow::Last), Ok(1));
        assert_eq!(tree.xattrs(&path("/f")).unwrap(), []);
    }
}
