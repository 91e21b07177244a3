//! `groupadd`.

use super::files::{Files, wrong};
use crate::account::{check_name, group};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::Editor;

/// A group to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewGroup {
    /// Its name.
    pub name: Vec<u8>,
    /// Its number; by default the next one of the range that the guest's login.defs has.
    pub gid: Option<u32>,
    /// From the range for the system's own groups.
    pub system: bool,
}

/// Makes a group; its number is returned. A name or number that is taken is [`Exists`](ErrorKind::Exists).
pub fn add_group(editor: &mut Editor<'_>, new: &NewGroup) -> Result<u32> {
    let mut files = Files::read(editor.tree())?;
    let gid = stage(&mut files, new, None)?;
    files.write(editor)?;
    Ok(gid)
}

/// The same in the texts alone; `preferred` is the number it gets if that is free.
pub(super) fn stage(files: &mut Files, new: &NewGroup, preferred: Option<u32>) -> Result<u32> {
    check_name(&new.name).map_err(|error| wrong(error, super::files::GROUP))?;
    let exists = |message: String| Err(Error::new(ErrorKind::Exists, message).at_path(super::files::GROUP));
    if group::find(&files.group, &new.name).is_some() {
        return exists(format!("group {} exists already", new.name.escape_ascii()));
    }
    let gid = match new.gid {
        Some(gid) => gid,
        None => files.free_gid(new.system, preferred)?,
    };
    if let Some(other) = group::find_id(&files.group, gid) {
        return exists(format!("gid {gid} is that of group {}", other.name.escape_ascii()));
    }
    files.add_group(&new.name, gid)?;
    Ok(gid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn add(tree: &mut MemTree, name: &str, gid: Option<u32>, system: bool) -> Result<u32, ErrorKind> {
        let new = NewGroup { name: name.into(), gid, system };
        add_group(&mut Editor::new(tree), &new).map_err(|error| error.kind())
    }

    #[test]
    fn numbers_come_from_the_guests_ranges() {
        let mut tree = MemTree::new();
        tree.file("/etc/passwd", "").file("/etc/group", "root:x:0:\nold:x:998:\nme:x:1500:\n+:::\n");
        tree.file("/etc/login.defs", "GID_MIN 1000\nGID_MAX 1502\n");
        assert_eq!(add(&mut tree, "a", None, false), Ok(1501));
        assert_eq!(add(&mut tree, "sys", None, true), Ok(997));
        assert_eq!(add(&mut tree, "given", Some(1502), false), Ok(1502));
        assert_eq!(add(&mut tree, "wraps", None, false), Ok(1000));
        let wanted = "root:x:0:\nold:x:998:\nme:x:1500:\na:!:1501:\nsys:!:997:\ngiven:!:1502:\nwraps:!:1000:\n+:::\n";
        assert_eq!(tree.text("/etc/group"), wanted);
        for (name, gid) in [("a", None), ("b", Some(998))] {
            assert_eq!(add(&mut tree, name, gid, false), Err(ErrorKind::Exists), "{name}");
        }
        assert_eq!(add(&mut tree, "a b", None, false), Err(ErrorKind::Invalid));
        assert_eq!(add(&mut MemTree::new(), "a", None, false), Err(ErrorKind::NotFound));
    }

    #[test]
    fn gshadow_keeps_step_and_its_mode() {
        let mut tree = MemTree::new();
        tree.file("/etc/passwd", "").file("/etc/group", "root:x:0:").file("/etc/gshadow", "root:*::\n");
        tree.chmod("/etc/gshadow", 0o640).owner("/etc/gshadow", 0, 42);
        assert_eq!(add(&mut tree, "web", None, false), Ok(1000));
        assert_eq!(tree.text("/etc/group"), "root:x:0:\nweb:x:1000:\n");
        assert_eq!(tree.text("/etc/gshadow"), "root:*::\nweb:!::\n");
        assert_eq!((tree.mode("/etc/gshadow"), tree.owner_of("/etc/gshadow")), (0o640, (0, 42)));
    }
}
