//! Numbers of owners as the names that the guest's own passwd and group have for them.

use crate::account::{group, passwd};
use crate::tree::{FileTree, GuestPath, MAX_TEXT, read_all};
use std::collections::HashMap;

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
        let text =
            |path: &str| GuestPath::parse(path).and_then(|path| read_all(tree, &path, MAX_TEXT)).unwrap_or_default();
        let mut names = Self::default();
        // As for getpwuid(3), the first line with a number counts.
        for user in passwd::users(&text("/etc/passwd")) {
            names.users.entry(user.uid).or_insert(user.name);
        }
        for group in group::groups(&text("/etc/group")) {
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
    }
}
