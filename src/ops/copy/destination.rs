//! Where copies go, by the rules of `docker cp` and cp(1).

use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileKind, FileTree, Follow, GuestPath, resolve};

/// What is known of a source before it is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceName {
    /// The name that it has in a directory; none where its contents are meant, as `folder/.` does.
    pub name: Option<Vec<u8>>,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Where a source goes when `to`, as the user gives it, is the destination. In a directory that exists it keeps its
/// name; otherwise `to` is its new name, in a directory that exists. A link as the destination is followed. One of
/// `several` sources needs the directory, and so does a file where `to` ends with a slash.
pub fn destination(tree: &dyn FileTree, to: &[u8], source: &SourceName, several: bool) -> Result<GuestPath> {
    let fails = |kind, message: &str| Err(Error::new(kind, message).at_path(to));
    let found = resolve(tree, &GuestPath::parse(to)?, Follow::Last)?;
    let must_be_dir = several || to.ends_with(b"/") || to.ends_with(b"/.");
    match found.stat.map(|stat| stat.kind) {
        Some(FileKind::Dir) => Ok(source.name.as_ref().map_or(found.path.clone(), |name| found.path.join(name))),
        Some(_) if must_be_dir => fails(ErrorKind::NotADirectory, "not a directory"),
        Some(_) if source.is_dir => fails(ErrorKind::NotADirectory, "a directory cannot take the place of a file"),
        None if several || must_be_dir && !source.is_dir => {
            fails(ErrorKind::NotFound, "the directory to copy into does not exist")
        }
        _ => Ok(found.path),
    }
}

/// The directory at `path`, links followed, which must exist.
pub fn directory(tree: &dyn FileTree, path: &GuestPath) -> Result<GuestPath> {
    let found = resolve(tree, path, Follow::Last)?;
    match found.stat.map(|stat| stat.kind) {
        Some(FileKind::Dir) => Ok(found.path),
        Some(_) => Err(Error::new(ErrorKind::NotADirectory, "not a directory").at_path(path.to_bytes())),
        None => Err(Error::new(ErrorKind::NotFound, "no such directory").at_path(path.to_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn goes(to: &str, name: Option<&str>, is_dir: bool, several: bool) -> Result<String, ErrorKind> {
        let mut tree = MemTree::new();
        tree.dir("/d").file("/f", "").link("/to_d", "d").link("/to_new", "d/new").link("/to_f", "f");
        let source = SourceName { name: name.map(|name| name.as_bytes().to_vec()), is_dir };
        let place = destination(&tree, to.as_bytes(), &source, several);
        place.map(|place| place.to_string()).map_err(|error| error.kind())
    }

    #[test]
    fn the_rules_of_docker_cp() {
        for (to, name, is_dir, several, wanted) in [
            ("/d", Some("s"), false, false, Ok("/d/s")),
            ("/to_d/", Some("s"), true, true, Ok("/d/s")),
            ("/d", None, true, false, Ok("/d")),
            ("/new", Some("s"), false, false, Ok("/new")),
            ("/new", Some("s"), true, false, Ok("/new")),
            ("/new/", Some("s"), true, false, Ok("/new")),
            ("/new", None, true, false, Ok("/new")),
            ("/f", Some("s"), false, false, Ok("/f")),
            ("/to_f", Some("s"), false, false, Ok("/f")),
            ("/to_new", Some("s"), false, false, Ok("/d/new")),
            ("/new/", Some("s"), false, false, Err(ErrorKind::NotFound)),
            ("/new", Some("s"), false, true, Err(ErrorKind::NotFound)),
            ("/f", Some("s"), true, false, Err(ErrorKind::NotADirectory)),
            ("/f/", Some("s"), false, false, Err(ErrorKind::NotADirectory)),
            ("/f", Some("s"), false, true, Err(ErrorKind::NotADirectory)),
            ("/no/new", Some("s"), false, false, Err(ErrorKind::NotFound)),
        ] {
            assert_eq!(goes(to, name, is_dir, several), wanted.map(str::to_owned), "{to} {name:?} {is_dir} {several}");
        }
    }
}
