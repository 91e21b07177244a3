//! Numbers of owners as the names that the guest's own passwd and group have for them.

use crate::account::{group, passwd};
use crate::error::{ErrorKind, Result};
use crate::tree::{FileTree, GuestPath, read_text};
use std::collections::HashMap;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The names of users and groups of a guest.
#[derive(Debug, Clone, Default)]
pub struct Names {
    users: HashMap<u32, Vec<u8>>,
    groups: HashMap<u32, Vec<u8>>,
}

impl Names {
    /// Reads them from /etc/passwd and /etc/group. Without one of these, or where it cannot be read, it has no names:
    /// looking at files must go on.
    pub fn of(tree: &dyn FileTree) -> Self {
        Self::parse(&text(tree, PASSWD).unwrap_or_default(), &text(tree, GROUP).unwrap_or_default())
    }

    /// The same, for what is to be kept: a file that is damaged, or cannot be read from the disk, is an error.
    pub fn of_sound(tree: &dyn FileTree) -> Result<Self> {
        let text = |path| match text(tree, path) {
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io) => Err(error),
            // A directory, a link that leads nowhere or the like: then there are no names.
            text => Ok(text.unwrap_or_default()),
        };
        Ok(Self::parse(&text(PASSWD)?, &text(GROUP)?))
    }

    /// As for getpwuid(3), the first line with a number counts.
    fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let mut names = Self::default();
        for user in passwd::users(passwd) {
            names.users.entry(user.uid).or_insert(user.name);
        }
        for group in group::groups(group) {
            names.groups.entry(group.gid).or_insert(group.name);
        }
        names
    }

    /// The name of a user; raw bytes.
    pub fn user(&self, uid: u32) -> Option<&[u8]> {
        self.users.get(&uid).map(Vec::as_slice)
    }

    /// The name of a group; raw bytes.
    pub fn group(&self, gid: u32) -> Option<&[u8]> {
        self.groups.get(&gid).map(Vec::as_slice)
    }
}

fn text(tree: &dyn FileTree, path: &str) -> Result<Vec<u8>> {
    Ok(read_text(tree, &GuestPath::parse(path)?)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn the_first_name_of_a_number_counts_and_no_file_is_no_name() {
        let mut tree = MemTree::new();
        assert_eq!(Names::of(&tree).user(0), None);
        tree.file("/etc/passwd", "root:x:0:0::/:\ntoor:x:0:0::/:\nweb:x:33:33::/:\n");
        tree.link("/etc/group", "group");
        let names = Names::of(&tree);
        assert_eq!((names.user(0), names.user(33), names.user(1)), (Some(&b"root"[..]), Some(&b"web"[..]), None));
        assert_eq!(names.group(0), None);
        assert_eq!(Names::of_sound(&tree).unwrap().user(33), Some(&b"web"[..]));
    }
}
