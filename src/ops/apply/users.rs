//! Users: made if they are missing, else brought to what is said of them.

use super::recipe::{UserSpec, key_file};
use super::{Inputs, other_number};
use crate::account::passwd::{self, Field};
use crate::account::shadow::{self, Change};
use crate::account::{Secret, crypt};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::account::{Files, NewUser, add_to_group, add_user, ensure_home, wrong};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::guest;
use crate::ops::inject::add_keys;
use crate::tree::GuestPath;

pub(super) fn ensure(editor: &mut Editor<'_>, name: &str, spec: &UserSpec, inputs: &Inputs) -> Result<Vec<String>> {
    let keys = keys(spec, inputs)?;
    let files = Files::read(editor.tree())?;
    let Some(user) = passwd::find(&files.passwd, name.as_bytes()) else {
        let bytes = |text: &String| text.clone().into_bytes();
        let new = NewUser {
            name: name.into(),
            uid: spec.uid,
            group: spec.group.as_ref().map(bytes),
            groups: spec.groups.iter().map(bytes).collect(),
            home: spec.home.as_ref().map(bytes),
            create_home: spec.create_home,
            shell: spec.shell.as_ref().map(bytes),
            comment: spec.comment.as_ref().map(bytes).unwrap_or_default(),
            system: spec.system,
            keys,
            today: inputs.today(),
            ..NewUser::default()
        };
        return add_user(editor, &new).map(|added| added.notes);
    };
    if let Some(uid) = spec.uid.filter(|uid| *uid != user.uid) {
        return Err(other_number("uid", user.uid, uid));
    }
    if let Some(group) = &spec.group {
        let gid = files.find_group(group.as_bytes())?.gid;
        if gid != user.gid {
            return Err(other_number("primary group", user.gid, gid));
        }
    }
    set_fields(editor, name, spec, files.passwd)?;
    spec.groups.iter().try_for_each(|group| add_to_group(editor, name.as_bytes(), group.as_bytes()))?;
    if spec.create_home == Some(true) {
        ensure_home(editor, name.as_bytes())?;
    }
    if keys.is_empty() { Ok(Vec::new()) } else { add_keys(editor, name.as_bytes(), &keys) }
}

/// All keys, one a line.
fn keys(spec: &UserSpec, inputs: &Inputs) -> Result<Vec<u8>> {
    let mut keys = Vec::new();
    for key in &spec.ssh_keys {
        match key_file(key) {
            Some(name) => keys.extend_from_slice(inputs.file(name)?),
            None => keys.extend_from_slice(key.as_bytes()),
        }
        keys.push(b'\n');
    }
    Ok(keys)
}

/// Comment, home and shell of a user that is there.
fn set_fields(editor: &mut Editor<'_>, name: &str, spec: &UserSpec, mut text: Vec<u8>) -> Result<()> {
    let path = "/etc/passwd";
    for (field, value) in [(Field::Comment, &spec.comment), (Field::Home, &spec.home), (Field::Shell, &spec.shell)] {
        let Some(value) = value else { continue };
        if field != Field::Comment && !value.starts_with('/') {
            return Err(Error::new(ErrorKind::Invalid, format!("{value:?} is no absolute path")));
        }
        if passwd::field(&text, name.as_bytes(), field) != Some(value.as_bytes()) {
            text = passwd::set_field(&text, name.as_bytes(), field, value.as_bytes())
                .map_err(|error| wrong(error, path))?;
        }
    }
    editor.replace(&GuestPath::parse(path)?, &text, Wanted::default()).map(drop)
}

/// Sets the password, unless the present one is the same.
pub(super) fn ensure_password(editor: &mut Editor<'_>, name: &str, spec: &UserSpec, inputs: &Inputs) -> Result<()> {
    let password = inputs.passwords.get(name);
    if spec.password_hash.is_none() && password.is_none() {
        return Ok(());
    }
    let files = Files::read(editor.tree())?;
    let no_shadow = || Error::new(ErrorKind::NotFound, "the guest has no /etc/shadow to put a password in");
    let text = files.shadow.as_ref().ok_or_else(no_shadow)?;
    let present = shadow::password(text, name.as_bytes());
    let hash = match (&spec.password_hash, password) {
        (Some(hash), _) if present == Some(hash.0.as_bytes()) => return Ok(()),
        (Some(hash), _) => Secret::new(hash.0.as_bytes()),
        (None, Some(password)) => {
            let present = present.map(Secret::new);
            // A hash of a kind that cannot be verified is replaced: it may be anything.
            if present.is_some_and(|hash| crypt::verify(&hash, password.secret.expose()) == Ok(true)) {
                return Ok(());
            }
            password.hash(guest::password_method(editor.tree()).method)?
        }
        (None, None) => return Ok(()),
    };
    let today = Some(inputs.today()).filter(|today| *today > 0);
    let path = "/etc/shadow";
    let text =
        shadow::change(text, name.as_bytes(), &Change::Hash(&hash), today).map_err(|error| wrong(error, path))?;
    editor.replace(&GuestPath::parse(path)?, &text, Wanted::default()).map(drop)
}
