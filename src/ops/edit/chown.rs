//! `chown`.

use crate::error::Result;
use crate::ops::Owner;
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{Follow, GuestPath, Walk, existing};

/// Gives what is at `path` to `owner`, whose names are those of the guest (V5). A link is followed or not as `follow`
/// says; with `recursive` all below changes hands as well, and links are changed themselves, never followed.
///
/// Files that change hands lose set-id bits and capabilities, as with chown(2).
pub fn chown(editor: &mut Editor<'_>, path: &GuestPath, owner: &Owner, follow: Follow, recursive: bool) -> Result<()> {
    let (uid, gid) = owner.look_up(editor.tree())?;
    let wanted = Wanted { mode: None, uid, gid };
    let (place, _) = existing(editor.tree(), path, if recursive { Follow::NotLast } else { follow })?;
    if !recursive {
        return editor.set(&place, wanted);
    }
    let mut walk = Walk::new(place);
    while let Some((place, _)) = walk.next(editor.tree())? {
        editor.set(&place, wanted)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::tree::memtree::MemTree;

    fn guest() -> MemTree {
        let mut tree = MemTree::new();
        tree.file("/etc/passwd", "web:x:33:34::/:/bin/sh\n").file("/etc/group", "adm:x:4:\n");
        tree.file("/srv/f", "").chmod("/srv/f", 0o4755).file("/out", "").link("/srv/l", "/out").link("/to_srv", "srv");
        tree
    }

    fn give(tree: &mut MemTree, path: &str, owner: &str, follow: Follow, recursive: bool) -> Result<(), ErrorKind> {
        let (path, owner) = (GuestPath::parse(path).unwrap(), Owner::parse(owner).unwrap());
        chown(&mut Editor::new(tree), &path, &owner, follow, recursive).map_err(|error| error.kind())
    }

    #[test]
    fn v5_names_are_those_of_the_guest() {
        let mut tree = guest();
        give(&mut tree, "/srv/f", "web:adm", Follow::Last, false).unwrap();
        assert_eq!((tree.owner_of("/srv/f"), tree.mode("/srv/f")), ((33, 4), 0o755));
        give(&mut tree, "/srv/f", ":7", Follow::Last, false).unwrap();
        assert_eq!(tree.owner_of("/srv/f"), (33, 7));
        assert_eq!(give(&mut tree, "/srv/f", "nobody-here", Follow::Last, false), Err(ErrorKind::NotFound));
        assert_eq!(give(&mut MemTree::new(), "/", "root", Follow::Last, false), Err(ErrorKind::NotFound));
        assert_eq!(give(&mut MemTree::new(), "/", "1:2", Follow::Last, false), Ok(()));
        assert_eq!(give(&mut tree, "/no", "1", Follow::Last, false), Err(ErrorKind::NotFound));
    }

    #[test]
    fn links_are_followed_only_alone_and_when_asked() {
        let mut tree = guest();
        give(&mut tree, "/srv/l", "1", Follow::Last, false).unwrap();
        give(&mut tree, "/srv/l", "2", Follow::NotLast, false).unwrap();
        assert_eq!((tree.owner_of("/out").0, tree.owner_of("/srv/l").0), (1, 2));
        give(&mut tree, "/to_srv", "3", Follow::Last, true).unwrap();
        assert_eq!((tree.owner_of("/to_srv").0, tree.owner_of("/srv").0), (3, 0));
        give(&mut tree, "/srv", "4", Follow::Last, true).unwrap();
        let owners = ["/srv", "/srv/f", "/srv/l", "/out"].map(|name| tree.owner_of(name).0);
        assert_eq!(owners, [4, 4, 4, 1]);
    }
}
