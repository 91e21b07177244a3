//! The item `admin_password`: the second field of the user's line in /etc/shadow (A1, A2).

use super::Notes;
use super::request::InjectRequest;
use crate::account::crypt::{self, Method};
use crate::account::{Secret, passwd, shadow};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::guest::CryptFacts;
use crate::tree::{FileTree, GuestPath, MAX_TEXT, read_all};

/// The characters of a salt, in the order of crypt(3).
const SALT: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

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
    if passwd::find(&users, name).is_none() {
        return Err(not_found("password", &passwd_path));
    }
    let method = if request.nova_compat { Method::Md5 } else { choose(editor.tree(), notes) };
    let salt: Vec<u8> = request.salt.iter().map(|byte| SALT[usize::from(byte & 63)]).collect();
    let hash = crypt::hash(method, password, &salt)?;
    let after =
        shadow::set_password(&passwords, name, hash.as_bytes()).ok_or_else(|| not_found("shadow", &shadow_path))?;
    editor.replace(&shadow_path, &after, Wanted::default())?;
    Ok(())
}

fn choose(_tree: &dyn FileTree, _notes: &mut Notes) -> Method {
    let _ = CryptFacts::of;
    Method::Sha512
}
