//! `mv`.

use super::directory;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::Editor;
use crate::tree::{FileKind, Follow, GuestPath, existing, resolve};

/// How [`rename`] goes about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RenameOptions {
    /// The destination is the new name, also where a directory has it.
    pub no_target_dir: bool,
    /// What has the new name already is kept, and the source stays where it is.
    pub no_clobber: bool,
}

/// Moves each source into the directory that `destination` leads to, or, if that is none, the only source to that name.
///
/// Symbolic links are moved themselves. What has the new name goes, a directory only if it is empty and for a directory.
pub fn rename(
    editor: &mut Editor<'_>,
    sources: &[GuestPath],
    destination: &GuestPath,
    options: RenameOptions,
) -> Result<()> {
    let dir = if options.no_target_dir { None } else { directory(editor.tree(), destination)? };
    if dir.is_none() && sources.len() != 1 {
        let error = Error::new(ErrorKind::NotADirectory, "several files can only be moved into a directory");
        return Err(error.at_path(destination.to_bytes()));
    }
    sources.iter().try_for_each(|source| {
        let (from, _) = existing(editor.tree(), source, Follow::NotLast)?;
        let to = match (&dir, from.name()) {
            (Some(dir), Some(name)) => dir.join(name),
            (Some(dir), None) => dir.clone(),
            (None, _) => destination.clone(),
        };
        move_one(editor, &from, &to, options.no_clobber)
    })
}

fn move_one(editor: &mut Editor<'_>, from: &GuestPath, to: &GuestPath, no_clobber: bool) -> Result<()> {
    let to = resolve(editor.tree(), to, Follow::NotLast)?;
    if let Some(over) = &to.stat {
        if no_clobber {
            return Ok(());
        }
        if *from == to.path {
            return Err(Error::new(ErrorKind::Exists, "it has that name already").at_path(from.to_bytes()));
        }
        // Two names of one file stay as they are with rename(2); with mv(1) the old one goes. Where one name is found in
        // any case, it is the only one, and another case is a new name for it.
        let same = || editor.tree().stat(from).map(|stat| stat.id() == over.id());
        if over.kind != FileKind::Dir && over.ino != 0 && over.links > 1 && same()? {
            return editor.remove(from);
        }
    }
    editor.rename(from, &to.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn mv(tree: &mut MemTree, sources: &[&str], to: &str, options: RenameOptions) -> Result<(), ErrorKind> {
        let path = |text: &&str| GuestPath::parse(text).unwrap();
        let sources: Vec<GuestPath> = sources.iter().map(path).collect();
        rename(&mut Editor::new(tree), &sources, &path(&to), options).map_err(|error| error.kind())
    }

    const PLAIN: RenameOptions = RenameOptions { no_target_dir: false, no_clobber: false };

    #[test]
    fn into_a_directory_or_to_a_name() {
        let mut tree = MemTree::new();
        tree.file("/a", "a").file("/b", "b").dir("/d").link("/to_d", "d").link("/l", "nowhere");
        mv(&mut tree, &["/a", "/l"], "/to_d", PLAIN).unwrap();
        assert!(tree.has("/d/a") && !tree.has("/a") && !tree.has("/l"));
        mv(&mut tree, &["/d/a"], "/d/renamed", PLAIN).unwrap();
        mv(&mut tree, &["/b"], "/d/renamed", RenameOptions { no_clobber: true, ..PLAIN }).unwrap();
        assert_eq!((tree.text("/d/renamed").as_str(), tree.has("/b")), ("a", true));
        mv(&mut tree, &["/b"], "/d/renamed", PLAIN).unwrap();
        assert_eq!((tree.text("/d/renamed").as_str(), tree.has("/b")), ("b", false));
        // The link to the directory is a name itself with -T.
        mv(&mut tree, &["/d/renamed"], "/to_d", RenameOptions { no_target_dir: true, ..PLAIN }).unwrap();
        assert_eq!(tree.text("/to_d"), "b");
    }

    #[test]
    fn what_mv_refuses() {
        let mut tree = MemTree::new();
        tree.file("/a", "").file("/b", "").file("/d/sub/f", "").file("/e/sub/g", "").hard_link("/b", "/b2");
        for (sources, to, kind) in [
            (&["/a", "/b"][..], "/new", ErrorKind::NotADirectory),
            (&["/a"], "/a", ErrorKind::Exists),
            (&["/no"], "/new", ErrorKind::NotFound),
            (&["/a"], "/no/new", ErrorKind::NotFound),
            (&["/d"], "/d/sub", ErrorKind::Invalid),
            (&["/d/sub"], "/e", ErrorKind::NotEmpty),
            (&["/d"], "/a", ErrorKind::NotADirectory),
            (&["/"], "/d", ErrorKind::Invalid),
        ] {
            assert_eq!(mv(&mut tree, sources, to, PLAIN), Err(kind), "{sources:?} {to}");
        }
        mv(&mut tree, &["/b"], "/b2", PLAIN).unwrap();
        assert!(!tree.has("/b") && tree.has("/b2"));
    }
}
