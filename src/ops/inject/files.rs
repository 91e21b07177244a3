//! The item `files`: contents put at paths of the guest (L1, L2).

use super::nova;
use super::request::{InjectFile, InjectRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{GuestPath, exists};

/// Puts each file in place, in the order given.
pub(super) fn inject(editor: &mut Editor<'_>, request: &InjectRequest, files: &[InjectFile]) -> Result<()> {
    files.iter().try_for_each(|file| place(editor, request, file))
}

fn place(editor: &mut Editor<'_>, request: &InjectRequest, file: &InjectFile) -> Result<()> {
    let path = destination(&file.path)?;
    let parent = path.parent().unwrap_or_default();
    if !parent.is_root() && !exists(editor.tree(), &parent) {
        let (leaf, _) = editor.make_dirs(&parent, Wanted::default())?;
        if request.nova_compat {
            let root = nova::root_by_name(editor.tree())?;
            editor.set(&leaf, Wanted::all(0o744, root))?;
        }
    }
    let (uid, gid) = file.owner.as_ref().map(|owner| owner.look_up(editor.tree())).transpose()?.unwrap_or_default();
    let wanted = Wanted { mode: file.mode, uid, gid };
    let place = editor.replace(&path, &file.contents, wanted)?;
    editor.set(&place, wanted)
}

/// The path to write to (Z1).
fn destination(text: &[u8]) -> Result<GuestPath> {
    let path = GuestPath::parse(text).map_err(|error| {
        Error::new(ErrorKind::Invalid, "injected file path not valid").at_path(text).caused_by(error)
    })?;
    if path.is_root() || text.ends_with(b"/") || text.ends_with(b"/.") {
        return Err(Error::new(ErrorKind::Invalid, "injected file path names a directory").at_path(text));
    }
    Ok(path)
}
