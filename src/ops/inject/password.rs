//! The item `admin_password`: the second field of the user's lines in /etc/shadow (A1, A2).

use super::Notes;
use super::request::InjectRequest;
use crate::account::crypt::{self, Method};
use crate::account::shadow::{self, Change};
use crate::account::{Error as AccountError, Secret, passwd};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::guest;
use crate::tree::{GuestPath, MAX_TEXT, read_all};

/// Sets `password`. Both account files must be there and have the user.
pub(super) fn inject(
    editor: &mut Editor<'_>,
    request: &InjectRequest,
    password: &Secret,
    notes: &mut Notes,
) -> Result<()> {
    let name = request.user.as_slice();
    let passwd_path = GuestPath::parse("/etc/passwd")?;
    let shadow_path = GuestPath::parse("/etc/shadow")?;
    let users = read_all(editor.tree(), &passwd_path, MAX_TEXT)?;
    let passwords = read_all(editor.tree(), &shadow_path, MAX_TEXT)?;
    let not_found = |file: &str, path: &GuestPath| {
        let message = format!("user {} not found in {file} file", name.escape_ascii());
        Error::new(ErrorKind::NotFound, message).at_path(path.to_bytes())
    };
    let user = passwd::find(&users, name).ok_or_else(|| not_found("password", &passwd_path))?;
    if !user.shadowed {
        let name = name.escape_ascii();
        notes.warn(format!("/etc/passwd does not refer to /etc/shadow for {name}: the new password may not count"));
    }
    let method = if request.nova_compat { Method::Md5 } else { guest::password_method(editor.tree()).method };
    let invalid = |error| Error::new(ErrorKind::Invalid, "the password cannot be set").caused_by(error);
    let salt = &request.salt[..method.salt_len()];
    let hash = crypt::hash(method, password.expose(), salt).map_err(invalid)?;
    // The day of the last change stays as well, with all that depends on it, such as a change forced at next login.
    let after = shadow::change(&passwords, name, &Change::Hash(&hash), None).map_err(|error| match error {
        AccountError::UserNotFound { .. } => not_found("shadow", &shadow_path),
        error => invalid(error),
    })?;
    editor.replace(&shadow_path, &after, Wanted::default())?;
    Ok(())
}
