//! Directories, files, links, and what is to be absent.

use super::Inputs;
use super::recipe::{Contents, DirSpec, FileSpec};
use super::values::{Line, Mode, OwnerText};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::customize::Operation;
use crate::ops::edit::{LinkOptions, RemoveOptions, remove, symlink};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{FileKind, FileTree, Follow, GuestPath, MAX_TEXT, Stat, read_all, resolve};

/// What is at `path`, links followed, with the directories on the way made.
fn place(editor: &mut Editor<'_>, path: &GuestPath) -> Result<(GuestPath, Option<Stat>)> {
    editor.make_dirs(&path.parent().unwrap_or_default(), Wanted::default())?;
    let found = resolve(editor.tree(), path, Follow::Last)?;
    Ok((found.path, found.stat))
}

/// The attributes that are wanted; a mode may depend on the one there is.
fn wanted(
    tree: &dyn FileTree,
    mode: &Option<Mode>,
    owner: &Option<OwnerText>,
    now: u32,
    is_dir: bool,
) -> Result<Wanted> {
    let (uid, gid) = match owner {
        Some(owner) => owner.0.look_up(tree)?,
        None => (None, None),
    };
    Ok(Wanted { mode: mode.as_ref().map(|mode| mode.0.apply(now, is_dir)), uid, gid })
}

pub(super) fn ensure_directory(editor: &mut Editor<'_>, path: &GuestPath, spec: &DirSpec) -> Result<()> {
    let (place, stat) = place(editor, path)?;
    if stat.as_ref().is_some_and(|stat| stat.kind != FileKind::Dir) {
        return Err(Error::new(ErrorKind::NotADirectory, "not a directory").at_path(path.to_bytes()));
    }
    let now = stat.as_ref().map_or(0o755, |stat| stat.mode);
    let wanted = wanted(editor.tree(), &spec.mode, &spec.owner, now, true)?;
    if stat.is_none() {
        editor.make_dir(&place, |made| wanted.mode.unwrap_or(made))?;
    }
    editor.set(&place, wanted)
}

pub(super) fn ensure_file(editor: &mut Editor<'_>, path: &GuestPath, spec: &FileSpec, inputs: &Inputs) -> Result<()> {
    let (place, stat) = place(editor, path)?;
    let now = stat.as_ref().map_or(0o644, |stat| stat.mode);
    let wanted = wanted(editor.tree(), &spec.mode, &spec.owner, now, false)?;
    match &spec.contents {
        Contents::Lines(lines) => {
            if stat.is_none() {
                editor.append(&place, b"", wanted)?;
            }
            ensure_lines(editor, &place, lines, inputs)?;
        }
        contents => {
            editor.replace(&place, inputs.contents(contents)?, wanted)?;
        }
    }
    editor.set(&place, wanted)
}

/// Adds the lines that the file lacks.
fn ensure_lines(editor: &mut Editor<'_>, path: &GuestPath, lines: &[Line], inputs: &Inputs) -> Result<()> {
    let text = read_all(editor.tree(), path, MAX_TEXT)?;
    let mut present: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    present.iter_mut().for_each(|line| *line = line.strip_suffix(b"\r").unwrap_or(line));
    let mut missing: Vec<&str> = Vec::new();
    for Line(line) in lines {
        if !present.contains(&line.as_bytes()) && !missing.contains(&line.as_str()) {
            missing.push(line);
        }
    }
    let append = |line: &str| Operation::AppendLine { path: path.clone(), line: line.as_bytes().to_vec() };
    super::customize(editor, missing.into_iter().map(append).collect(), inputs).map(drop)
}

pub(super) fn ensure_link(editor: &mut Editor<'_>, path: &GuestPath, target: &str) -> Result<()> {
    editor.make_dirs(&path.parent().unwrap_or_default(), Wanted::default())?;
    let found = resolve(editor.tree(), path, Follow::NotLast)?;
    if found.stat.is_some_and(|stat| stat.kind == FileKind::Symlink)
        && editor.tree().read_link(&found.path)? == target.as_bytes()
    {
        return Ok(());
    }
    let options = LinkOptions { force: true, no_target_dir: true, no_dereference: true };
    symlink(editor, target.as_bytes(), path, options)
}

pub(super) fn ensure_absent(editor: &mut Editor<'_>, path: &GuestPath) -> Result<()> {
    remove(editor, path, RemoveOptions { recursive: true, empty_dirs: true, force: true })
}
