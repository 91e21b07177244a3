//! `rm` and `rmdir`.

use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::Editor;
use crate::tree::{FileKind, Follow, GuestPath, existing};

/// How [`remove`] goes about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// A directory goes with all that is in it.
    pub recursive: bool,
    /// An empty directory goes, too.
    pub empty_dirs: bool,
    /// What is not there needs no removing.
    pub force: bool,
}

/// Removes the name `path`. A symbolic link goes itself, never what it leads to; the root directory is refused.
pub fn remove(editor: &mut Editor<'_>, path: &GuestPath, options: RemoveOptions) -> Result<()> {
    refuse_root(path)?;
    let (place, stat) = match existing(editor.tree(), path, Follow::NotLast) {
        Err(error) if options.force && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(());
        }
        found => found?,
    };
    match stat.kind {
        FileKind::Dir if options.recursive => editor.remove_tree(&place),
        FileKind::Dir if !options.empty_dirs => {
            let error = Error::new(ErrorKind::IsADirectory, "is a directory").at_path(path.to_bytes());
            Err(error.hint("-r removes a directory and all that is in it, -d an empty one"))
        }
        _ => editor.remove(&place),
    }
}

/// Removes the empty directory `path`; with `parents` then those that it is in, each of which must be empty, too.
pub fn remove_dir(editor: &mut Editor<'_>, path: &GuestPath, parents: bool) -> Result<()> {
    refuse_root(path)?;
    let mut next = Some(path.clone());
    while let Some(path) = next.filter(|path| !path.is_root()) {
        let (place, stat) = existing(editor.tree(), &path, Follow::NotLast)?;
        if stat.kind != FileKind::Dir {
            return Err(Error::new(ErrorKind::NotADirectory, "not a directory").at_path(path.to_bytes()));
        }
        editor.remove(&place)?;
        next = path.parent().filter(|_| parents);
    }
    Ok(())
}

fn refuse_root(path: &GuestPath) -> Result<()> {
    if path.is_root() {
        return Err(Error::new(ErrorKind::Refused, "the root directory cannot be removed").at_path(path.to_bytes()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    fn rm(tree: &mut MemTree, text: &str, options: RemoveOptions) -> Result<(), ErrorKind> {
        remove(&mut Editor::new(tree), &path(text), options).map_err(|error| error.kind())
    }

    #[test]
    fn directories_need_to_be_asked_for_and_links_are_not_followed() {
        let mut tree = MemTree::new();
        tree.file("/d/e/f", "").link("/l", "d").dir("/empty").dir("/empty2").link("/gone", "nowhere");
        let plain = RemoveOptions::default();
        let recursive = RemoveOptions { recursive: true, ..plain };
        assert_eq!(rm(&mut tree, "/d", plain), Err(ErrorKind::IsADirectory));
        assert_eq!(rm(&mut tree, "/l", recursive), Ok(()));
        assert_eq!(rm(&mut tree, "/gone", plain), Ok(()));
        let empty = RemoveOptions { empty_dirs: true, ..plain };
        assert_eq!(rm(&mut tree, "/d", empty), Err(ErrorKind::NotEmpty));
        assert_eq!(rm(&mut tree, "/empty", empty), Ok(()));
        assert!(tree.has("/d/e/f") && !tree.has("/l") && !tree.has("/empty"));
        assert_eq!(rm(&mut tree, "/d", recursive), Ok(()));
        assert_eq!(rm(&mut tree, "/d", recursive), Err(ErrorKind::NotFound));
        let force = RemoveOptions { force: true, ..recursive };
        for gone in ["/d", "/d/e/f"] {
            assert_eq!(rm(&mut tree, gone, force), Ok(()), "{gone}");
        }
        assert_eq!(rm(&mut tree, "/", force), Err(ErrorKind::Refused));
    }

    #[test]
    fn rmdir_takes_empty_directories_and_with_p_those_above() {
        let mut tree = MemTree::new();
        tree.dir("/a/b/c").file("/f", "").link("/l", "a").dir("/x/y").file("/x/f", "");
        let mut rmdir = |text: &str, parents| {
            remove_dir(&mut Editor::new(&mut tree), &path(text), parents).map_err(|error| error.kind())
        };
        assert_eq!(rmdir("/a", false), Err(ErrorKind::NotEmpty));
        assert_eq!(rmdir("/f", false), Err(ErrorKind::NotADirectory));
        assert_eq!(rmdir("/l", false), Err(ErrorKind::NotADirectory));
        assert_eq!(rmdir("/no", false), Err(ErrorKind::NotFound));
        assert_eq!(rmdir("/", false), Err(ErrorKind::Refused));
        assert_eq!(rmdir("/a/b/c", true), Ok(()));
        assert_eq!(rmdir("/x/y", true), Err(ErrorKind::NotEmpty));
        assert!(!tree.has("/a"));
    }
}
