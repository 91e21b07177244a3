//! `mask` and `unmask`.

use super::name::UnitName;
use super::units::{CONFIG, Found, look_up};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{FileKind, Follow, GuestPath, resolve};

const NOTHING: &[u8] = b"/dev/null";

/// Puts a link to /dev/null where the unit's file would be looked for first.
pub(super) fn mask(editor: &mut Editor<'_>, name: &UnitName, notes: &mut Vec<String>) -> Result<()> {
    if matches!(look_up(editor.tree(), name)?, Found::Missing) {
        notes.push(format!("the guest has no unit {name}: it is masked all the same"));
    }
    let (config, _) = editor.make_dirs(&GuestPath::parse(CONFIG)?, Wanted::all(0o755, (0, 0)))?;
    let place = config.join(name.as_bytes());
    match resolve(editor.tree(), &place, Follow::NotLast)?.stat.map(|stat| stat.kind) {
        None => editor.symlink(&place, NOTHING),
        Some(FileKind::Symlink) if editor.tree().read_link(&place)? == NOTHING => Ok(()),
        Some(kind) => {
            let message = format!("there is a {} already", kind.noun());
            let error = Error::new(ErrorKind::Exists, message).at_path(place.to_bytes());
            Err(error.hint("a unit or an alias of the administrator: disable or remove it first"))
        }
    }
}

/// Removes the mask, if there is one.
pub(super) fn unmask(editor: &mut Editor<'_>, name: &UnitName) -> Result<()> {
    let place = GuestPath::parse(CONFIG)?.join(name.as_bytes());
    let found = match resolve(editor.tree(), &place, Follow::NotLast) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let is_mask = match found.stat {
        Some(stat) if stat.kind == FileKind::Symlink => editor.tree().read_link(&found.path)? == NOTHING,
        // An empty file masks, too.
        Some(stat) => stat.kind == FileKind::File && stat.size == 0,
        None => false,
    };
    if is_mask { editor.remove(&found.path) } else { Ok(()) }
}
