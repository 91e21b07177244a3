//! `user-account`: users of people, with their homes and mail.

use crate::account::login_defs::{ID_MAX, ID_MIN, LoginDefs};
use crate::account::{passwd, remove as account};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Editor;
use crate::ops::customize::Remarks;
use crate::ops::edit::{self, RemoveOptions};
use crate::tree::{FileTree, GuestPath, MAX_TEXT, find, read_all, read_text};

/// Which accounts go.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// These and no others; when empty, all whose numbers login.defs gives to people.
    pub remove: Vec<String>,
    /// These stay.
    pub keep: Vec<String>,
}

/// Removes accounts: their lines and memberships, homes and mail. A home that others have, too, stays.
pub(super) fn remove(editor: &mut Editor<'_>, accounts: &Accounts, remarks: &mut Remarks) -> Result<()> {
    let users_path = GuestPath::parse("/etc/passwd")?;
    let text = read_all(editor.tree(), &users_path, MAX_TEXT)?;
    if let Some(missing) = accounts.remove.iter().find(|name| passwd::find(&text, name.as_bytes()).is_none()) {
        let message = format!("user {missing} not found in password file");
        return Err(Error::new(ErrorKind::NotFound, message).at_path(users_path.to_bytes()));
    }
    let (first, last) = numbers_of_people(editor.tree())?;
    let is_named = |list: &[String], name: &[u8]| list.iter().any(|other| other.as_bytes() == name);
    let goes = |user: &passwd::User| {
        let chosen = match accounts.remove.is_empty() {
            true => (first..=last).contains(&user.uid),
            false => is_named(&accounts.remove, &user.name),
        };
        chosen && user.uid != 0 && !is_named(&accounts.keep, &user.name)
    };
    if accounts.remove.iter().any(|name| passwd::find(&text, name.as_bytes()).is_some_and(|user| user.uid == 0)) {
        return Err(Error::new(ErrorKind::Refused, "a guest without root is of no use"));
    }
    let (going, staying): (Vec<_>, Vec<_>) = passwd::users(&text).partition(|user| goes(user));
    if going.is_empty() {
        return Ok(());
    }
    let names: Vec<&[u8]> = going.iter().map(|user| user.name.as_slice()).collect();
    // A group of the same name is the user's own, unless it is somebody else's first.
    let group_text = read_text(editor.tree(), &GuestPath::parse("/etc/group")?)?.unwrap_or_default();
    let own_groups: Vec<&[u8]> = going
        .iter()
        .filter(|user| {
            let group = crate::account::group::find(&group_text, &user.name);
            group.is_some_and(|group| group.gid == user.gid && staying.iter().all(|other| other.gid != group.gid))
        })
        .map(|user| user.name.as_slice())
        .collect();
    for file in ["/etc/passwd", "/etc/shadow", "/etc/subuid", "/etc/subgid"] {
        change(editor, file, |text| account::without(text, &names))?;
    }
    for (file, first_list) in [("/etc/group", 3), ("/etc/gshadow", 2)] {
        change(editor, file, |text| {
            account::without_members(&account::without(text, &own_groups), &names, first_list)
        })?;
    }
    let options = RemoveOptions { recursive: true, empty_dirs: true, force: true };
    for user in &going {
        for spool in ["/var/spool/mail", "/var/mail"] {
            if !user.name.contains(&b'/') && user.name != b"." && user.name != b".." {
                edit::remove(editor, &GuestPath::parse(spool)?.join(&user.name), options)?;
            }
        }
        remove_home(editor, user, &staying, remarks)?;
    }
    Ok(())
}

/// The range that useradd takes numbers from.
fn numbers_of_people(tree: &dyn FileTree) -> Result<(u32, u32)> {
    let text = read_text(tree, &GuestPath::parse("/etc/login.defs")?)?.unwrap_or_default();
    let value = |key: &str, otherwise| LoginDefs(&text).number(key).unwrap_or(otherwise);
    Ok((value("UID_MIN", ID_MIN), value("UID_MAX", ID_MAX)))
}

fn change(editor: &mut Editor<'_>, file: &str, how: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<()> {
    let path = GuestPath::parse(file)?;
    let Some(before) = read_text(editor.tree(), &path)? else { return Ok(()) };
    edit::write(editor, &path, &how(&before))
}

/// Removes a home that nobody else's is in, or the same as, and that is the user's own.
fn remove_home(
    editor: &mut Editor<'_>,
    user: &passwd::User,
    staying: &[passwd::User],
    remarks: &mut Remarks,
) -> Result<()> {
    let home = match GuestPath::parse(&user.home) {
        Ok(home) if user.home.starts_with(b"/") && !home.is_root() => home,
        _ => return Ok(()),
    };
    let Some(found) = find(editor.tree(), &home)? else { return Ok(()) };
    let is_shared = staying
        .iter()
        .filter_map(|other| GuestPath::parse(&other.home).ok())
        .any(|other| other == home || other.is_below(&home) || other == found.path || other.is_below(&found.path));
    let is_own = found.stat.is_some_and(|stat| stat.uid == user.uid);
    if is_shared || !is_own {
        let why = if is_shared { "others have theirs there, too" } else { "it is not the user's own" };
        remarks.warn(format!("the home of {} stays: {why}: {home}", user.name.escape_ascii()));
        return Ok(());
    }
    let options = RemoveOptions { recursive: true, empty_dirs: true, force: true };
    edit::remove(editor, &found.path, options)?;
    // Where a link led there, that goes as well.
    edit::remove(editor, &home, RemoveOptions { recursive: false, ..options })
}
