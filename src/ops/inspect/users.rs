//! The people who can log in: accounts that are not the system's and have a shell.

use super::reader::{Reader, known};
use crate::account::login_defs::{ID_MIN, LoginDefs};
use crate::account::passwd;
use serde::Serialize;

/// Names that are listed; the count has no limit.
const MAX_NAMES: usize = 64;
/// `nobody`, of Linux and of 16-bit numbers.
const NOBODY: [u32; 2] = [65534, 65535];

/// Accounts of people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Users {
    /// How many there are.
    pub count: usize,
    /// The names of the first 64.
    pub names: Vec<String>,
}

/// Counts the accounts of /etc/passwd from UID_MIN on whose shell is none that refuses.
pub(super) fn users(reader: &mut Reader<'_>) -> Users {
    let login_defs = reader.bytes(&known("/etc/login.defs")).unwrap_or_default();
    let uid_min = LoginDefs(&login_defs).number("UID_MIN").unwrap_or(ID_MIN);
    let text = reader.bytes(&known("/etc/passwd")).unwrap_or_default();
    let people = passwd::users(&text).filter(|user| {
        let refuses = [&b"/nologin"[..], b"/false"].iter().any(|end| user.shell.ends_with(end));
        user.uid >= uid_min && !NOBODY.contains(&user.uid) && !refuses
    });
    people.fold(Users::default(), |mut users, user| {
        users.count += 1;
        if users.names.len() < MAX_NAMES {
            users.names.push(String::from_utf8_lossy(&user.name).into_owned());
        }
        users
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn people_have_a_number_of_their_own_and_a_shell() {
        let mut tree = MemTree::new();
        let passwd = "root:x:0:0::/root:/bin/bash\ndaemon:x:500:500::/:/usr/sbin/nologin\nann:x:1000:1000::/h:/bin/sh\n\
            bob:x:1001:1::/h:\nsvc:x:1002:1::/:/bin/false\nnobody:x:65534:1::/:/bin/sh\nold:x:501:1::/h:/bin/sh\n";
        tree.file("/etc/passwd", passwd);
        assert_eq!(users(&mut Reader::new(&tree)), Users { count: 2, names: vec!["ann".into(), "bob".into()] });
        tree.file("/etc/login.defs", "# UID_MIN 9\nUID_MIN 1000\nUID_MIN\t\t500\n");
        assert_eq!(users(&mut Reader::new(&tree)).names, ["ann", "bob", "old"]);
    }
}
