//! `touch`.

use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{Follow, GuestPath, Time, resolve};

/// What [`touch`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TouchOptions {
    /// Last access, where it is to be set.
    pub atime: Option<Time>,
    /// Last change of contents, where it is to be set.
    pub mtime: Option<Time>,
    /// A file that is missing is not created.
    pub no_create: bool,
    /// Whether a symbolic link is followed; one that is not must exist.
    pub follow: Follow,
}

/// Sets the times of what is at `path`; an empty file is created, root's with mode 0644, where nothing is.
pub fn touch(editor: &mut Editor<'_>, path: &GuestPath, options: TouchOptions) -> Result<()> {
    let found = resolve(editor.tree(), path, options.follow)?;
    match (found.stat, options.no_create, options.follow) {
        (Some(_), ..) => editor.set_times(&found.path, options.atime, options.mtime),
        (None, true, _) => Ok(()),
        (None, false, Follow::NotLast) => {
            Err(Error::new(ErrorKind::NotFound, "no such file or directory").at_path(path.to_bytes()))
        }
        (None, false, Follow::Last) => {
            let made = editor.append(&found.path, b"", Wanted::default())?;
            editor.set_times(&made, options.atime, options.mtime)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::FileTree;
    use crate::tree::memtree::MemTree;

    #[test]
    fn sets_the_times_asked_for_and_creates_what_is_missing() {
        let mut tree = MemTree::new();
        tree.file("/f", "text").link("/l", "f").link("/gone", "new");
        let path = |text: &str| GuestPath::parse(text).unwrap();
        let then = Time { sec: -5, nsec: 7 };
        let all = TouchOptions { atime: Some(then), mtime: Some(then), no_create: false, follow: Follow::Last };
        let mut run = |text: &str, options| {
            let mut editor = Editor::new(&mut tree);
            let done = touch(&mut editor, &path(text), options).map_err(|error| error.kind());
            done.map(|()| editor.into_changes().len())
        };
        assert_eq!(run("/l", TouchOptions { mtime: None, ..all }), Ok(1));
        assert_eq!(run("/l", TouchOptions { mtime: None, ..all }), Ok(0));
        assert_eq!(run("/l", TouchOptions { follow: Follow::NotLast, ..all }), Ok(1));
        assert_eq!(run("/x", TouchOptions { follow: Follow::NotLast, ..all }), Err(ErrorKind::NotFound));
        assert_eq!(run("/x", TouchOptions { no_create: true, ..all }), Ok(0));
        assert_eq!(run("/gone", all), Ok(2));
        assert_eq!(run("/no/x", all), Err(ErrorKind::NotFound));
        let times = |text: &str| {
            let stat = tree.stat(&path(text)).unwrap();
            (stat.atime == then, stat.mtime == then)
        };
        assert_eq!(["/f", "/l", "/new"].map(times), [(true, false), (true, true), (true, true)]);
        assert!(!tree.has("/x") && tree.mode("/new") == 0o644);
    }
}
