//! `mkdir`.

use super::mode::ModeChange;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{FileKind, Follow, GuestPath, find, resolve};

/// Makes the directory `path`, 0755 and root's, with the group and set-gid bit of a set-gid parent.
///
/// `mode` is for that directory alone and starts from 0777 when symbolic, as for mkdir(1). With `parents` what is
/// missing on the way is made, too, and a directory that exists stays as it is (V2); without,
/// [`Exists`](ErrorKind::Exists) and [`NotFound`](ErrorKind::NotFound) are errors.
pub fn make_dir(editor: &mut Editor<'_>, path: &GuestPath, mode: Option<&ModeChange>, parents: bool) -> Result<()> {
    let exists = || Error::new(ErrorKind::Exists, "file exists").at_path(path.to_bytes());
    let place = if parents {
        match find(editor.tree(), path)?.and_then(|found| found.stat) {
            Some(stat) if stat.kind == FileKind::Dir => return Ok(()),
            Some(_) => return Err(exists()),
            None => {}
        }
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Err(exists()) };
        editor.make_dirs(&parent, Wanted::default())?.0.join(name)
    } else {
        let found = resolve(editor.tree(), path, Follow::NotLast)?;
        if found.stat.is_some() {
            return Err(exists().hint("-p takes a directory that exists for made"));
        }
        found.path
    };
    editor.make_dir(&place, |made| mode.map_or(made, |mode| mode.apply(0o777 | made & 0o2000, true)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn make(tree: &mut MemTree, path: &str, mode: Option<&str>, parents: bool) -> Result<(), ErrorKind> {
        let mode = mode.map(|mode| ModeChange::parse(mode).unwrap());
        let mut editor = Editor::new(tree);
        let path = GuestPath::parse(path).unwrap();
        make_dir(&mut editor, &path, mode.as_ref(), parents).map_err(|error| error.kind())
    }

    #[test]
    fn v2_one_directory_in_one_that_exists() {
        let mut tree = MemTree::new();
        tree.dir("/a").link("/l", "a").link("/gone", "nowhere").file("/f", "");
        assert_eq!(make(&mut tree, "/l/b", None, false), Ok(()));
        assert_eq!((tree.mode("/a/b"), tree.owner_of("/a/b")), (0o755, (0, 0)));
        for (path, kind) in [
            ("/a/b", ErrorKind::Exists),
            ("/l", ErrorKind::Exists),
            ("/gone", ErrorKind::Exists),
            ("/", ErrorKind::Exists),
            ("/f/x", ErrorKind::NotADirectory),
            ("/no/x", ErrorKind::NotFound),
        ] {
            assert_eq!(make(&mut tree, path, None, false), Err(kind), "{path}");
        }
    }

    #[test]
    fn v2_with_parents_what_exists_is_made() {
        let mut tree = MemTree::new();
        tree.dir("/a").chmod("/a", 0o700).link("/l", "a").link("/gone", "nowhere").file("/f", "");
        assert_eq!(make(&mut tree, "/l/b/c", Some("go-rwx"), true), Ok(()));
        assert_eq!((tree.mode("/a/b"), tree.mode("/a/b/c")), (0o755, 0o700));
        for path in ["/", "/l", "/a/b"] {
            assert_eq!(make(&mut tree, path, Some("711"), true), Ok(()), "{path}");
        }
        assert_eq!((tree.mode("/a"), tree.mode("/a/b")), (0o700, 0o755));
        assert_eq!(make(&mut tree, "/f", None, true), Err(ErrorKind::Exists));
        assert_eq!(make(&mut tree, "/f/x", None, true), Err(ErrorKind::NotADirectory));
        assert_eq!(make(&mut tree, "/gone", None, true), Err(ErrorKind::Exists));
    }

    #[test]
    fn a_set_gid_parent_passes_its_bit_on_unless_it_is_taken() {
        let mut tree = MemTree::new();
        tree.dir("/s").chmod("/s", 0o2775).owner("/s", 1, 50);
        for (name, mode, wanted) in [("a", "750", 0o2750), ("b", "00750", 0o750), ("c", "g-s", 0o777)] {
            make(&mut tree, &format!("/s/{name}"), Some(mode), false).unwrap();
            assert_eq!(tree.mode(&format!("/s/{name}")), wanted, "{mode}");
            assert_eq!(tree.owner_of(&format!("/s/{name}")), (0, 50));
        }
    }
}
