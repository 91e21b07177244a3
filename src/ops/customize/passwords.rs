//! `--password` and `--root-password`.

use super::Remarks;
use super::operation::NewPassword;
use crate::account::crypt::{self, Method};
use crate::account::shadow::{self, Change};
use crate::account::{Error as AccountError, Secret, passwd};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::guest;
use crate::tree::{GuestPath, MAX_TEXT, read_all};

/// Changes the password of `user`, which passwd and shadow must both have. Every other field stays, expiry as well.
pub(super) fn set(
    editor: &mut Editor<'_>,
    user: &[u8],
    password: &NewPassword,
    method: Option<Method>,
    remarks: &mut Remarks,
) -> Result<()> {
    let users_path = GuestPath::parse("/etc/passwd")?;
    let shadow_path = GuestPath::parse("/etc/shadow")?;
    let users = read_all(editor.tree(), &users_path, MAX_TEXT)?;
    let account = passwd::find(&users, user).ok_or_else(|| {
        let message = format!("user {} not found in password file", user.escape_ascii());
        Error::new(ErrorKind::NotFound, message).at_path(users_path.to_bytes())
    })?;
    if !account.shadowed {
        let user = user.escape_ascii();
        remarks.warn(format!("/etc/passwd does not refer to /etc/shadow for {user}: the password may not count"));
    }
    let invalid = |error: AccountError| {
        let kind = match error {
            AccountError::UserNotFound { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        };
        Error::new(kind, "the password cannot be set").caused_by(error).at_path(shadow_path.to_bytes())
    };
    let mut text = read_all(editor.tree(), &shadow_path, MAX_TEXT)?;
    for change in changes(editor, password, method).map_err(invalid)? {
        text = shadow::change(&text, user, &change.as_change(), None).map_err(invalid)?;
    }
    editor.replace(&shadow_path, &text, Wanted::default()).map(drop)
}

/// A [`Change`] that has what it needs.
enum Step {
    Hash(Secret),
    Disable,
    Lock,
}

impl Step {
    fn as_change(&self) -> Change<'_> {
        match self {
            Self::Hash(hash) => Change::Hash(hash),
            Self::Disable => Change::Disable,
            Self::Lock => Change::Lock,
        }
    }
}

fn changes(editor: &Editor<'_>, password: &NewPassword, method: Option<Method>) -> Result<Vec<Step>, AccountError> {
    let (first, locked) = match password {
        NewPassword::Set { secret, salt, locked } => {
            let method = method.unwrap_or_else(|| guest::password_method(editor.tree()).method);
            let hash = crypt::hash(method, secret.expose(), &salt[..method.salt_len()])?;
            (Step::Hash(hash), *locked)
        }
        NewPassword::Disabled { locked } => (Step::Disable, *locked),
        NewPassword::Locked => return Ok(vec![Step::Lock]),
    };
    Ok([first].into_iter().chain(locked.then_some(Step::Lock)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn run(tree: &mut MemTree, user: &str, password: NewPassword) -> Result<Vec<String>, ErrorKind> {
        let mut remarks = Remarks::default();
        let done = set(&mut Editor::new(tree), user.as_bytes(), &password, Some(Method::Sha256), &mut remarks);
        done.map(|()| remarks.0).map_err(|error| error.kind())
    }

    fn guest() -> MemTree {
        let mut tree = MemTree::new();
        tree.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nold:y:5:5::/:\nlost:x:6:6::/:\n")
            .chmod("/etc/passwd", 0o644);
        tree.file("/etc/shadow", "root:$6$a$b:1:0:99999:7:::\nold:z:1::::::\n").chmod("/etc/shadow", 0o640);
        tree.owner("/etc/shadow", 0, 42);
        tree
    }

    #[test]
    fn one_field_changes() {
        let secret =
            |text: &str| NewPassword::Set { secret: Secret::new(text), salt: [7; 16], locked: text == "locked" };
        let mut tree = guest();
        assert_eq!(run(&mut tree, "root", secret("pass:word")), Ok(vec![]));
        let text = tree.text("/etc/shadow");
        let hash = text.split(':').nth(1).unwrap().to_owned();
        assert!(hash.starts_with("$5$") && crypt::verify(&Secret::new(hash.clone()), b"pass:word").unwrap());
        assert_eq!(text, format!("root:{hash}:1:0:99999:7:::\nold:z:1::::::\n"));
        assert_eq!((tree.mode("/etc/shadow"), tree.owner_of("/etc/shadow")), (0o640, (0, 42)));
        assert_eq!(run(&mut tree, "root", secret("locked")), Ok(vec![]));
        assert!(tree.text("/etc/shadow").starts_with("root:!$5$"));
        assert_eq!(run(&mut tree, "old", secret("x")).unwrap().len(), 1);
        assert_eq!(run(&mut tree, "lost", secret("x")), Err(ErrorKind::NotFound));
        assert_eq!(run(&mut tree, "nobody", secret("x")), Err(ErrorKind::NotFound));
    }

    #[test]
    fn disabled_and_locked() {
        let field = |password| {
            let mut tree = guest();
            run(&mut tree, "root", password).unwrap();
            tree.text("/etc/shadow").split(':').nth(1).unwrap().to_owned()
        };
        assert_eq!(field(NewPassword::Disabled { locked: false }), "*");
        assert_eq!(field(NewPassword::Disabled { locked: true }), "!*");
        assert_eq!(field(NewPassword::Locked), "!$6$a$b");
    }
}
