//! The names of owners, by the accounts of the guest.

use crate::error::{ErrorKind, Result};
use crate::tree::{FileTree, GuestPath, MAX_TEXT, read_all};
use std::collections::HashMap;

/// Names of users and groups by their numbers.
#[derive(Debug, Clone, Default)]
pub struct AccountNames {
    users: HashMap<u32, Vec<u8>>,
    groups: HashMap<u32, Vec<u8>>,
}

impl AccountNames {
    /// Those in the passwd and group of a guest; none where it has no such files.
    pub fn of_guest(tree: &dyn FileTree) -> Result<Self> {
        Ok(Self { users: names(tree, "/etc/passwd")?, groups: names(tree, "/etc/group")? })
    }

    /// Of a user and a group; empty for those without.
    pub(super) fn of(&self, uid: u32, gid: u32) -> (Vec<u8>, Vec<u8>) {
        let of = |names: &HashMap<_, Vec<u8>>, id: u32| names.get(&id).cloned().unwrap_or_default();
        (of(&self.users, uid), of(&self.groups, gid))
    }
}

/// Lines `NAME:PASSWORD:ID:...`; the first with an id counts.
fn names(tree: &dyn FileTree, path: &str) -> Result<HashMap<u32, Vec<u8>>> {
    let text = match read_all(tree, &GuestPath::parse(path)?, MAX_TEXT) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io) => return Err(error),
        // A link that leads nowhere or the like: then there are no names.
        Err(_) => return Ok(HashMap::new()),
    };
    let mut names = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        if let (Some(name), Some(id)) = (fields.next(), fields.nth(1))
            && !name.is_empty()
            && !name.contains(&0)
            && let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok())
        {
            names.entry(id).or_insert_with(|| name.to_vec());
        }
    }
    Ok(names)
}
