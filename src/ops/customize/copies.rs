//! `--copy`, `--copy-in`, `--tar-in`, `--upload`.

use super::Remarks;
use crate::error::Result;
use crate::ops::Silent;
use crate::ops::copy::{self, Copied, CopyOptions, Existing, Keep, SourceName, destination, directory};
use crate::ops::editor::{Editor, Wanted};
use crate::ops::populate::{Contents, Source};
use crate::tree::{FileKind, Follow, GuestPath, existing, find};

/// As `cp -a`: a link is copied itself, and everything keeps all its attributes.
pub(super) fn copy(editor: &mut Editor<'_>, source: &GuestPath, to: &[u8], remarks: &mut Remarks) -> Result<()> {
    let (from, stat) = existing(editor.tree(), source, Follow::NotLast)?;
    let name = SourceName { name: from.name().map(<[u8]>::to_vec), is_dir: stat.kind == FileKind::Dir };
    let to = destination(editor.tree(), to, &name, false)?;
    let how = CopyOptions { keep: Keep::ALL, ..CopyOptions::default() };
    copy::copy_within(editor, &from, &to, &how, &mut Silent).map(|copied| tell(copied, remarks))
}

/// Copies of the host's files are root's, 0644 or 0755.
pub(super) fn copy_in(
    editor: &mut Editor<'_>,
    name: Option<Vec<u8>>,
    source: &mut dyn Source,
    to: &GuestPath,
    remarks: &mut Remarks,
) -> Result<()> {
    let dir = directory(editor.tree(), to)?;
    let to = name.map_or(dir.clone(), |name| dir.join(name));
    let mut how = CopyOptions::default();
    how.keep.links = true;
    copy::copy_in(editor, source, &to, &how, &mut Silent).map(|copied| tell(copied, remarks))
}

/// What a stream says of owners, modes and attributes counts.
pub(super) fn tar_in(
    editor: &mut Editor<'_>,
    source: &mut dyn Source,
    to: &GuestPath,
    remarks: &mut Remarks,
) -> Result<()> {
    let dir = directory(editor.tree(), to)?;
    let existing = Existing::Unpack { keep_directory_symlink: true };
    let how = CopyOptions { keep: Keep::ALL, existing, ..CopyOptions::default() };
    copy::copy_in(editor, source, &dir, &how, &mut Silent).map(|copied| tell(copied, remarks))
}

/// A file that exists keeps its owner and mode.
pub(super) fn upload(
    editor: &mut Editor<'_>,
    name: &[u8],
    contents: &mut dyn Contents,
    executable: bool,
    to: &GuestPath,
) -> Result<()> {
    let found = find(editor.tree(), to)?.and_then(|found| Some((found.path, found.stat?)));
    let path = match found {
        Some((dir, stat)) if stat.kind == FileKind::Dir => dir.join(name),
        _ => to.clone(),
    };
    let is_new = find(editor.tree(), &path)?.is_none();
    copy::upload(editor, &path, contents, None, &mut Silent)?;
    if is_new && executable {
        let (place, _) = existing(editor.tree(), &path, Follow::Last)?;
        editor.set(&place, Wanted::mode(0o755))?;
    }
    Ok(())
}

fn tell(copied: Copied, remarks: &mut Remarks) {
    copied.remarks().for_each(|text| remarks.warn(text));
}
