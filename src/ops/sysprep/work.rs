//! The kinds of work that tasks are made of.

use crate::account::passwd;
use crate::error::Result;
use crate::ops::Editor;
use crate::ops::edit::{self, RemoveOptions};
use crate::ops::editor::Wanted;
use crate::ops::glob::PathGlob;
use crate::tree::{FileKind, FileTree, GuestPath, MAX_TEXT, Walk, find, read_all, read_text};
use std::collections::BTreeSet;

/// The most home directories that are looked into: guests with more have them elsewhere.
const MAX_HOMES: usize = 1 << 16;

/// The home directories that the guest's passwd names and that are there, links followed; without passwd, root's.
pub(super) fn homes(tree: &dyn FileTree) -> Result<Vec<GuestPath>> {
    let file = GuestPath::parse("/etc/passwd")?;
    let text = read_text(tree, &file)?.unwrap_or_default();
    let named = passwd::users(&text).map(|user| user.home).chain([b"/root".to_vec()]);
    let mut homes = BTreeSet::new();
    for home in named.filter(|home| home.starts_with(b"/")).take(MAX_HOMES) {
        // A name that is no path is nobody's home.
        let Ok(path) = GuestPath::parse(&home) else { continue };
        if let Some(found) = find(tree, &path)?
            && found.stat.is_some_and(|stat| stat.kind == FileKind::Dir)
        {
            homes.insert(found.path);
        }
    }
    Ok(homes.into_iter().collect())
}

const ALL: RemoveOptions = RemoveOptions { recursive: true, empty_dirs: true, force: true };

pub(super) fn remove(editor: &mut Editor<'_>, pattern: &str) -> Result<()> {
    let matches = PathGlob::parse(pattern)?.matches(editor.tree())?;
    matches.iter().try_for_each(|path| edit::remove(editor, path, ALL))
}

pub(super) fn remove_from_homes(editor: &mut Editor<'_>, homes: &[GuestPath], names: &[&str]) -> Result<()> {
    let paths = homes.iter().flat_map(|home| names.iter().map(|name| home.join(name)));
    paths.collect::<Vec<_>>().iter().try_for_each(|path| edit::remove(editor, path, ALL))
}

pub(super) fn remove_files_below(editor: &mut Editor<'_>, dir: &str) -> Result<()> {
    remove_where(editor, dir, |name| !name.starts_with(b"."))
}

pub(super) fn remove_named(editor: &mut Editor<'_>, dirs: &[&str], suffixes: &[&str]) -> Result<()> {
    let ends_so = |name: &[u8]| suffixes.iter().any(|suffix| name.ends_with(suffix.as_bytes()));
    dirs.iter().try_for_each(|dir| remove_where(editor, dir, ends_so))
}

/// Removes the regular files below a directory, if it is there, whose names are `wanted`.
fn remove_where(editor: &mut Editor<'_>, dir: &str, wanted: impl Fn(&[u8]) -> bool) -> Result<()> {
    let found = find(editor.tree(), &GuestPath::parse(dir)?)?;
    let Some(dir) = found.filter(|found| found.stat.as_ref().is_some_and(|stat| stat.kind == FileKind::Dir)) else {
        return Ok(());
    };
    let mut walk = Walk::new(dir.path);
    while let Some((path, stat)) = walk.next(editor.tree())? {
        if stat.kind == FileKind::File && path.name().is_some_and(&wanted) {
            editor.remove(&path)?;
        }
    }
    Ok(())
}

/// A link to another of the files is left to that one.
pub(super) fn empty(editor: &mut Editor<'_>, file: &str) -> Result<()> {
    for path in PathGlob::parse(file)?.matches(editor.tree())? {
        if editor.tree().stat(&path)?.kind == FileKind::File {
            editor.truncate(&path, 0)?;
        }
    }
    Ok(())
}

pub(super) fn create(editor: &mut Editor<'_>, file: &str) -> Result<()> {
    editor.append(&GuestPath::parse(file)?, b"", Wanted::default()).map(drop)
}

/// Removes the lines that assign one of the variables `keys` from the regular files that match.
pub(super) fn remove_lines(editor: &mut Editor<'_>, pattern: &str, keys: &[&str]) -> Result<()> {
    let assigns = |line: &[u8]| {
        let line = line.trim_ascii_start();
        keys.iter().any(|key| line.strip_prefix(key.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")))
    };
    for path in PathGlob::parse(pattern)?.matches(editor.tree())? {
        if editor.tree().stat(&path)?.kind != FileKind::File {
            continue;
        }
        let before = read_all(editor.tree(), &path, MAX_TEXT)?;
        let lines = before.split_inclusive(|byte| *byte == b'\n');
        let after: Vec<u8> = lines.filter(|line| !assigns(line)).flatten().copied().collect();
        edit::write(editor, &path, &after)?;
    }
    Ok(())
}
