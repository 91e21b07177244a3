//! `mv`.

use super::directory;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Progress;
use crate::ops::copy::{CopyOptions, Keep, copy_within};
use crate::ops::editor::Editor;
use crate::tree::{FileKind, Follow, GuestPath, existing, resolve};

/// How [`rename`] goes about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RenameOptions {
    /// The destination is the new name, also where a directory has it.
    pub no_target_dir: bool,
    /// The destination is written as that of a directory, with a slash at its end: no file gets that name.
    pub dir_only: bool,
    /// What has the new name already is kept, and the source stays where it is.
    pub no_clobber: bool,
}

/// Moves each source into the directory that `destination` leads to, or, if that is none, the only source to that name.
///
/// Symbolic links are moved themselves. What has the new name goes, a directory only if it is empty and for a directory.
/// Into another filesystem of the guest a source is copied with all that it has, and then removed, as mv(1) does; what
/// that filesystem cannot store is answered, to be noticed.
pub fn rename(
    editor: &mut Editor<'_>,
    sources: &[GuestPath],
    destination: &GuestPath,
    options: RenameOptions,
    progress: &mut dyn Progress,
) -> Result<Vec<String>> {
    let dir = if options.no_target_dir { None } else { directory(editor.tree(), destination)? };
    if dir.is_none() && sources.len() != 1 {
        let error = Error::new(ErrorKind::NotADirectory, "several files can only be moved into a directory");
        return Err(error.at_path(destination.to_bytes()));
    }
    let mut notes = Vec::new();
    for source in sources {
        let (from, _) = existing(editor.tree(), source, Follow::NotLast)?;
        if dir.is_none() && options.dir_only && editor.tree().stat(&from)?.kind != FileKind::Dir {
            let error = match resolve(editor.tree(), destination, Follow::Last)?.stat {
                Some(_) => Error::new(ErrorKind::NotADirectory, "not a directory"),
                None => Error::new(ErrorKind::NotFound, "no such directory"),
            };
            return Err(error.at_path(destination.to_bytes()));
        }
        let to = match (&dir, from.name()) {
            (Some(dir), Some(name)) => dir.join(name),
            (Some(dir), None) => dir.clone(),
            (None, _) => destination.clone(),
        };
        notes.extend(move_one(editor, &from, &to, options.no_clobber, progress)?);
    }
    Ok(notes)
}

fn move_one(
    editor: &mut Editor<'_>,
    from: &GuestPath,
    to: &GuestPath,
    no_clobber: bool,
    progress: &mut dyn Progress,
) -> Result<Vec<String>> {
    let to = resolve(editor.tree(), to, Follow::NotLast)?;
    if let Some(over) = &to.stat {
        if no_clobber {
            return Ok(Vec::new());
        }
        if *from == to.path {
            return Err(Error::new(ErrorKind::Exists, "it has that name already").at_path(from.to_bytes()));
        }
        // Two names of one file stay as they are with rename(2); with mv(1) the old one goes. Where one name is found in
        // any case, it is the only one, and another case is a new name for it.
        let source = editor.tree().stat(from)?;
        let same = over.ino != 0 && source.id() == over.id();
        if over.kind != FileKind::Dir && over.links > 1 && same {
            return editor.remove(from).map(|()| Vec::new());
        }
        // Said of what is in the way, and before a filesystem says it of the source.
        let refused = |kind, message: &str| Err(Error::new(kind, message).at_path(to.path.to_bytes()));
        match (source.kind == FileKind::Dir, over.kind == FileKind::Dir) {
            (true, false) => return refused(ErrorKind::NotADirectory, "a directory cannot take the place of a file"),
            (false, true) => return refused(ErrorKind::IsADirectory, "a file cannot take the place of a directory"),
            _ => {}
        }
    }
    match editor.rename(from, &to.path) {
        Err(error) if error.kind() == ErrorKind::OtherFilesystem => {
            move_across(editor, from, &to.path, to.stat.is_some(), progress)
        }
        renamed => renamed.map(|()| Vec::new()),
    }
}

/// Copies `from` to `to`, which is in another filesystem and where, with `over`, something of its kind is, and removes it.
fn move_across(
    editor: &mut Editor<'_>,
    from: &GuestPath,
    to: &GuestPath,
    over: bool,
    progress: &mut dyn Progress,
) -> Result<Vec<String>> {
    if over {
        editor.remove(to)?;
    }
    let copied = copy_within(editor, from, to, &CopyOptions { keep: Keep::ALL, ..CopyOptions::default() }, progress)?;
    editor.remove_tree(from)?;
    Ok(copied.remarks().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Silent;
    use crate::tree::memtree::MemTree;
    use crate::tree::{FileTree, MountTree};

    fn mv(tree: &mut dyn FileTree, sources: &[&str], to: &str, options: RenameOptions) -> Result<(), ErrorKind> {
        let path = |text: &&str| GuestPath::parse(text).unwrap();
        let sources: Vec<GuestPath> = sources.iter().map(path).collect();
        let moved = rename(&mut Editor::new(tree), &sources, &path(&to), options, &mut Silent);
        moved.map(drop).map_err(|error| error.kind())
    }

    const PLAIN: RenameOptions = RenameOptions { no_target_dir: false, dir_only: false, no_clobber: false };

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
        let slash = RenameOptions { dir_only: true, ..PLAIN };
        assert_eq!(mv(&mut tree, &["/a"], "/new", slash), Err(ErrorKind::NotFound));
        assert_eq!(mv(&mut tree, &["/a"], "/b", slash), Err(ErrorKind::NotADirectory));
        mv(&mut tree, &["/e"], "/new", slash).unwrap();
        mv(&mut tree, &["/a"], "/new", slash).unwrap();
        assert!(tree.has("/new/sub/g") && tree.has("/new/a"));
        mv(&mut tree, &["/b"], "/b2", PLAIN).unwrap();
        assert!(!tree.has("/b") && tree.has("/b2"));
    }

    #[test]
    fn into_another_filesystem_of_the_guest() {
        let path = |text: &str| GuestPath::parse(text).unwrap();
        let (mut root, mut boot) = (MemTree::new(), MemTree::new());
        root.dir("/boot").file("/d/f", "text").hard_link("/d/f", "/d/g").link("/d/l", "f").file("/x", "x");
        root.chmod("/d", 0o2750).owner("/d", 1, 2).chmod("/d/f", 0o4711).owner("/d/f", 3, 4);
        root.set_xattr(&path("/d/f"), b"user.a", Some(b"1")).unwrap();
        boot.file("/full/f", "").dir("/empty").file("/x", "old");
        let mut tree = MountTree::new(root);
        tree.mount(path("/boot"), boot);
        for (source, to, kind) in [
            ("/d", "/boot/full", ErrorKind::NotEmpty),
            ("/d", "/boot/x", ErrorKind::NotADirectory),
            ("/x", "/boot/empty", ErrorKind::IsADirectory),
            ("/boot", "/new", ErrorKind::Refused),
            ("/", "/boot/root", ErrorKind::Invalid),
        ] {
            let options = RenameOptions { no_target_dir: true, ..PLAIN };
            assert_eq!(mv(&mut tree, &[source], to, options), Err(kind), "{source} {to}");
        }
        mv(&mut tree, &["/d"], "/boot/empty", RenameOptions { no_target_dir: true, ..PLAIN }).unwrap();
        mv(&mut tree, &["/x"], "/boot", PLAIN).unwrap();
        let trees: Vec<MemTree> = tree.into_trees().collect();
        assert!(!trees[0].has("/d") && !trees[0].has("/x"));
        let boot = &trees[1];
        assert_eq!((boot.mode("/empty"), boot.owner_of("/empty")), (0o2750, (1, 2)));
        assert_eq!((boot.mode("/empty/f"), boot.owner_of("/empty/f")), (0o4711, (3, 4)));
        assert_eq!(boot.xattrs(&path("/empty/f")).unwrap().len(), 1);
        assert_eq!(boot.stat(&path("/empty/g")).unwrap().links, 2);
        assert_eq!((boot.text("/empty/g").as_str(), boot.text("/x").as_str()), ("text", "x"));
    }
}
