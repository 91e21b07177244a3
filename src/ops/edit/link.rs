//! `ln`.

use super::directory;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::Editor;
use crate::tree::{FileKind, Follow, GuestPath, existing, resolve};

/// How links are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkOptions {
    /// What has the name already is removed, unless it is a directory.
    pub force: bool,
    /// The destination is the new name, also where a directory has it.
    pub no_target_dir: bool,
    /// The same where a symbolic link to a directory has it.
    pub no_dereference: bool,
}

/// Makes a symbolic link that says `target`, byte for byte: named `destination`, or after the target inside the
/// directory that it leads to.
pub fn symlink(editor: &mut Editor<'_>, target: &[u8], destination: &GuestPath, options: LinkOptions) -> Result<()> {
    let name = target.split(|byte| *byte == b'/').rfind(|name| !name.is_empty());
    let place = place(editor, name, destination, options)?;
    make_room(editor, &place, options)?;
    editor.symlink(&place, target)
}

/// Gives the file `target`, a symbolic link itself if it is one, another name in the same way.
pub fn hard_link(
    editor: &mut Editor<'_>,
    target: &GuestPath,
    destination: &GuestPath,
    options: LinkOptions,
) -> Result<()> {
    let (target, stat) = existing(editor.tree(), target, Follow::NotLast)?;
    if stat.kind == FileKind::Dir {
        let error = Error::new(ErrorKind::IsADirectory, "a directory has one name only").at_path(target.to_bytes());
        return Err(error.hint("-s makes a symbolic link"));
    }
    let place = place(editor, target.name(), destination, options)?;
    if place == target {
        return Err(Error::new(ErrorKind::Exists, "it has that name already").at_path(target.to_bytes()));
    }
    make_room(editor, &place, options)?;
    editor.link(&target, &place)
}

/// Where the link goes.
fn place(editor: &Editor<'_>, name: Option<&[u8]>, destination: &GuestPath, options: LinkOptions) -> Result<GuestPath> {
    let itself = resolve(editor.tree(), destination, Follow::NotLast)?;
    let is_link = itself.stat.as_ref().is_some_and(|stat| stat.kind == FileKind::Symlink);
    if options.no_target_dir || options.no_dereference && is_link {
        return Ok(itself.path);
    }
    match (directory(editor.tree(), destination)?, name) {
        (Some(_), None | Some(b"." | b"..")) => {
            let message = "the target has no name that the link could have in this directory";
            Err(Error::new(ErrorKind::Exists, message).at_path(destination.to_bytes()))
        }
        (Some(dir), Some(name)) => Ok(resolve(
            editor.tree(),
            &GuestPath::parse([&dir.to_bytes(), &b"/"[..], name].concat())?,
            Follow::NotLast,
        )?
        .path),
        (None, _) => Ok(itself.path),
    }
}

fn make_room(editor: &mut Editor<'_>, place: &GuestPath, options: LinkOptions) -> Result<()> {
    let error = |kind, message: &str| Err(Error::new(kind, message).at_path(place.to_bytes()));
    match resolve(editor.tree(), place, Follow::NotLast)?.stat {
        None => Ok(()),
        Some(stat) if stat.kind == FileKind::Dir => error(ErrorKind::IsADirectory, "is a directory"),
        Some(_) if options.force => editor.remove(place),
        Some(_) => error(ErrorKind::Exists, "file exists"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::FileTree;
    use crate::tree::memtree::MemTree;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    const PLAIN: LinkOptions = LinkOptions { force: false, no_target_dir: false, no_dereference: false };
    const FORCE: LinkOptions = LinkOptions { force: true, ..PLAIN };

    #[test]
    fn symbolic_links_say_what_they_are_told() {
        let mut tree = MemTree::new();
        tree.dir("/d").link("/to_d", "d").file("/f", "");
        let mut ln = |target: &str, to: &str, options| {
            symlink(&mut Editor::new(&mut tree), target.as_bytes(), &path(to), options).map_err(|error| error.kind())
        };
        ln("../x//y", "/new", PLAIN).unwrap();
        ln("../x/y/", "/to_d", PLAIN).unwrap();
        assert_eq!(ln("x", "/f", PLAIN), Err(ErrorKind::Exists));
        ln("x", "/f", FORCE).unwrap();
        ln("x", "/to_d", LinkOptions { no_dereference: true, ..FORCE }).unwrap();
        assert_eq!(ln("x", "/d", LinkOptions { no_target_dir: true, ..FORCE }), Err(ErrorKind::IsADirectory));
        assert_eq!(ln("..", "/d", PLAIN), Err(ErrorKind::Exists));
        assert_eq!(ln("x", "/no/l", PLAIN), Err(ErrorKind::NotFound));
        let target = |text: &str| String::from_utf8(tree.read_link(&path(text)).unwrap()).unwrap();
        assert_eq!(["/new", "/d/y", "/f", "/to_d"].map(target), ["../x//y", "../x/y/", "x", "x"]);
    }

    #[test]
    fn hard_links_are_other_names() {
        let mut tree = MemTree::new();
        tree.file("/f", "text").dir("/d").link("/l", "nowhere").file("/other", "");
        let mut ln = |target: &str, to: &str, options| {
            hard_link(&mut Editor::new(&mut tree), &path(target), &path(to), options).map_err(|error| error.kind())
        };
        ln("/f", "/d", PLAIN).unwrap();
        ln("/l", "/l2", PLAIN).unwrap();
        assert_eq!(ln("/f", "/other", PLAIN), Err(ErrorKind::Exists));
        ln("/f", "/other", FORCE).unwrap();
        assert_eq!(ln("/f", "/f", FORCE), Err(ErrorKind::Exists));
        assert_eq!(ln("/d", "/d2", PLAIN), Err(ErrorKind::IsADirectory));
        assert_eq!(ln("/no", "/x", PLAIN), Err(ErrorKind::NotFound));
        assert_eq!(tree.stat(&path("/d/f")).unwrap().links, 3);
        assert_eq!(tree.text("/other"), "text");
        assert_eq!(tree.read_link(&path("/l2")).unwrap(), b"nowhere");
    }
}
