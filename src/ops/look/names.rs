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
    problem: Option<String>,
}

impl Names {
    /// Reads them from /etc/passwd and /etc/group. Without one of these, or where it cannot be read, it has no names:
    /// looking at files must go on. See [`Self::problem`].
    pub fn of(tree: &dyn FileTree) -> Self {
        let mut problem = None;
        let mut text = |path| sound_text(tree, path).map_err(|error| problem = Some(error)).unwrap_or_default();
        let (passwd, group) = (text(PASSWD), text(GROUP));
        let problem = problem.map(|error| format!("owners are shown as numbers: {}: {}", error.place(), error.chain()));
        Self { problem, ..Self::parse(&passwd, &group) }
    }

    /// The same, for what is to be kept: a file that is damaged, or cannot be read from the disk, is an error.
    pub fn of_sound(tree: &dyn FileTree) -> Result<Self> {
        Ok(Self::parse(&sound_text(tree, PASSWD)?, &sound_text(tree, GROUP)?))
    }

    /// Why there are fewer names than the guest may have: a file that is damaged, or that the disk does not give.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
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

fn sound_text(tree: &dyn FileTree, path: &str) -> Result<Vec<u8>> {
    match GuestPath::parse(path).and_then(|at| read_text(tree, &at)) {
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io) => Err(error.at_path(path)),
        // A directory, a link that leads nowhere or the like: then there are no names.
        text => Ok(text.ok().flatten().unwrap_or_default()),
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
        assert_eq!(Names::of_sound(&tree).unwrap().user(33), Some(&b"web"[..]));
    }
}
