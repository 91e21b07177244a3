//! What a layer of an OCI image removes: a name after `.wh.`, or with `.wh..wh..opq` all of a directory, of what was
//! there before the layer, whether the layer has told of it already or not.

use super::place::Placer;
use crate::error::Result;
use crate::ops::editor::Editor;
use crate::tree::{FileKind, GuestPath};

const PREFIX: &[u8] = b".wh.";
/// Files of the union filesystem itself, which are not part of the tree.
const RESERVED: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

impl Placer<'_> {
    /// Does what an entry with this name stands for; whether it stands for anything.
    pub(super) fn whiteout(&mut self, editor: &mut Editor<'_>, dir: &GuestPath, name: &[u8]) -> Result<bool> {
        let Some(hidden) = name.strip_prefix(PREFIX) else { return Ok(false) };
        if name == OPAQUE {
            self.remove_older(editor, children(editor, dir)?)?;
        } else if !name.starts_with(RESERVED) && !matches!(hidden, b"" | b"." | b"..") {
            let place = dir.join(hidden);
            if editor.tree().entries(dir)?.iter().any(|entry| entry.name == hidden) {
                self.remove_older(editor, vec![place])?;
            }
        }
        Ok(true)
    }

    /// Removes all of `places` that was there before the layer.
    fn remove_older(&mut self, editor: &mut Editor<'_>, mut places: Vec<GuestPath>) -> Result<()> {
        while let Some(place) = places.pop() {
            if !self.made.contains(&place) {
                editor.remove_tree(&place)?;
            } else if editor.tree().stat(&place)?.kind == FileKind::Dir {
                places.extend(children(editor, &place)?);
            }
        }
        Ok(())
    }
}

fn children(editor: &Editor<'_>, dir: &GuestPath) -> Result<Vec<GuestPath>> {
    Ok(editor.tree().entries(dir)?.into_iter().map(|entry| dir.join(entry.name)).collect())
}
