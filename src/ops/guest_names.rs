//! Names of users and groups, looked up in the guest's own passwd and group (V5), never in the host's.

use crate::account::{group, passwd};
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileTree, GuestPath, MAX_TEXT, read_all};

/// A user of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// As passwd has it: not yet checked to be a path.
    pub(crate) home: Vec<u8>,
}

/// The user `name` of the guest; [`NotFound`](ErrorKind::NotFound) without one, or without /etc/passwd.
pub(crate) fn user(tree: &dyn FileTree, name: &[u8]) -> Result<User> {
    let text = account_file(tree, "/etc/passwd", "user", name)?;
    let entry = passwd::find(&text, name).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("user {} not found in password file", name.escape_ascii()))
            .at_path("/etc/passwd")
    })?;
    Ok(User { uid: entry.uid, gid: entry.gid, home: entry.home })
}

/// The group `name` of the guest; [`NotFound`](ErrorKind::NotFound) without one, or without /etc/group.
pub(crate) fn group_id(tree: &dyn FileTree, name: &[u8]) -> Result<u32> {
    let text = account_file(tree, "/etc/group", "group", name)?;
    let entry = group::find(&text, name).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("group {} not found in group file", name.escape_ascii()))
            .at_path("/etc/group")
    })?;
    Ok(entry.gid)
}

/// Reads passwd or group; without the file, the error says which name could not be looked up.
fn account_file(tree: &dyn FileTree, path: &str, what: &str, name: &[u8]) -> Result<Vec<u8>> {
    read_all(tree, &GuestPath::parse(path)?, MAX_TEXT).map_err(|error| {
        if error.kind() != ErrorKind::NotFound {
            return error;
        }
        let message = format!("{what} {} cannot be looked up: the guest has no {path}", name.escape_ascii());
        Error::new(ErrorKind::NotFound, message)
            .hint("some guests, such as CirrOS, make their accounts at the first boot: use numbers")
    })
}

/// An owner as chown(1) takes it: names or numbers, either part may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    user: Option<Vec<u8>>,
    group: Option<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Group {
    Named(Vec<u8>),
    /// `user:` means the group that passwd has for the user.
    OfUser,
}

impl Owner {
    /// Reads `USER`, `USER:GROUP`, `:GROUP` or `USER:`; a dot is no separator, as names may have one.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        let invalid = |why: &str| {
            Error::new(ErrorKind::Usage, format!("invalid owner {:?}: {why}", String::from_utf8_lossy(text)))
        };
        let mut parts = text.split(|byte| *byte == b':');
        let user = parts.next().filter(|user| !user.is_empty()).map(<[u8]>::to_vec);
        let group = match (parts.next(), &user) {
            (None, _) => None,
            (Some(b""), None) => return Err(invalid("neither a user nor a group")),
            (Some(b""), Some(_)) => Some(Group::OfUser),
            (Some(group), _) => Some(Group::Named(group.to_vec())),
        };
        if parts.next().is_some() {
            return Err(invalid("more than one colon"));
        }
        if user.is_none() && group.is_none() {
            return Err(invalid("it is empty"));
        }
        Ok(Self { user, group })
    }

    /// As numbers of the guest: (uid, gid), `None` for what is to stay. A name wins over a number, as in chown(1).
    pub(crate) fn look_up(&self, tree: &dyn FileTree) -> Result<(Option<u32>, Option<u32>)> {
        let found = self.user.as_deref().map(|name| or_number(user(tree, name), name)).transpose()?;
        let uid = found.as_ref().map(|found| match found {
            Found::Named(user) => user.uid,
            Found::Number(uid) => *uid,
        });
        let gid = match &self.group {
            None => None,
            Some(Group::Named(name)) => Some(match or_number(group_id(tree, name), name)? {
                Found::Named(gid) | Found::Number(gid) => gid,
            }),
            Some(Group::OfUser) => match found {
                Some(Found::Named(user)) => Some(user.gid),
                _ => {
                    let message = "a user given by number has no login group: name the group after the colon";
                    return Err(Error::new(ErrorKind::Usage, message));
                }
            },
        };
        Ok((uid, gid))
    }
}

enum Found<T> {
    Named(T),
    Number(u32),
}

/// What the lookup found, or the number that the text is.
fn or_number<T>(looked_up: Result<T>, text: &[u8]) -> Result<Found<T>> {
    match looked_up {
        Ok(found) => Ok(Found::Named(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let number = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            // The highest number means "unchanged" to chown(2) and is no id.
            match number.and_then(|text| text.parse().ok()).filter(|id| *id != u32::MAX) {
                Some(id) => Ok(Found::Number(id)),
                None => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn guest() -> MemTree {
        let mut tree = MemTree::new();
        tree.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv/web:/bin/sh\n123:x:9:9::/:/bin/sh\n");
        tree.file("/etc/group", "root:x:0:\nadm:x:4:web\n");
        tree
    }

    #[test]
    fn v5_owners_are_names_of_the_guest_or_numbers() {
        let tree = guest();
        let ids = |text: &str| Owner::parse(text).unwrap().look_up(&tree).map_err(|error| error.kind());
        assert_eq!(ids("web:adm"), Ok((Some(33), Some(4))));
        assert_eq!(ids("web"), Ok((Some(33), None)));
        assert_eq!(ids("web:"), Ok((Some(33), Some(44))));
        assert_eq!(ids(":adm"), Ok((None, Some(4))));
        assert_eq!(ids("1000:1001"), Ok((Some(1000), Some(1001))));
        assert_eq!(ids("123"), Ok((Some(9), None)));
        assert_eq!(ids("nobody"), Err(ErrorKind::NotFound));
        assert_eq!(ids("web:nogroup"), Err(ErrorKind::NotFound));
        assert_eq!(ids("4294967295"), Err(ErrorKind::NotFound));
        assert_eq!(ids("-1"), Err(ErrorKind::NotFound));
        assert_eq!(ids("77:"), Err(ErrorKind::Usage));
        for bad in ["", ":", "a:b:c"] {
            assert_eq!(Owner::parse(bad).unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
    }

    #[test]
    fn v5_names_cannot_be_looked_up_without_the_files() {
        let tree = MemTree::new();
        let error = user(&tree, b"root").unwrap_err();
        assert_eq!(error.to_string(), "user root cannot be looked up: the guest has no /etc/passwd");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(group_id(&tree, b"root").is_err());
        assert_eq!(Owner::parse("7:8").unwrap().look_up(&tree).unwrap(), (Some(7), Some(8)));
    }
}
