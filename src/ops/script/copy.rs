//! `cp` and `cp-a` inside the guest.

use super::MAX_COPY;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{FileKind, Follow, GuestPath, NewNode, Stat, Walk, existing, find, read_all};

/// The most names that are copied together.
const MAX_NAMES: usize = 100_000;

/// Copies a file to a new name or into a directory; with `archive` also trees, links and devices, each with its owner,
/// mode, times and extended attributes. Holes are filled, and names of one file become files of their own.
pub(super) fn copy(editor: &mut Editor<'_>, from: &GuestPath, to: &GuestPath, archive: bool) -> Result<()> {
    let (from, stat) = existing(editor.tree(), from, if archive { Follow::NotLast } else { Follow::Last })?;
    let dir =
        find(editor.tree(), to)?.filter(|found| found.stat.as_ref().is_some_and(|stat| stat.kind == FileKind::Dir));
    let to = match (dir, from.name()) {
        (Some(dir), Some(name)) => dir.path.join(name),
        _ => to.clone(),
    };
    let at = |kind, message: &str| Err(Error::new(kind, message).at_path(from.to_bytes()));
    if to == from {
        return at(ErrorKind::Exists, "it cannot be copied onto itself");
    }
    if !archive {
        if stat.kind == FileKind::Dir {
            return at(ErrorKind::IsADirectory, "is a directory: cp-a copies trees");
        }
        let contents = read_all(editor.tree(), &from, MAX_COPY)?;
        return editor.replace(&to, &contents, Wanted::mode(stat.mode & 0o777)).map(drop);
    }
    if to.is_below(&from) {
        return at(ErrorKind::Invalid, "a directory cannot be copied into itself");
    }
    // Listed first: what is made must not be met.
    let mut names = Vec::new();
    let mut walk = Walk::new(from.clone());
    while let Some(next) = walk.next(editor.tree())? {
        if names.len() == MAX_NAMES {
            return at(ErrorKind::Limit, "more than 100000 names to copy");
        }
        names.push(next);
    }
    let place = |path: &GuestPath| if *path == from { to.clone() } else { path.moved(&from, &to) };
    names.iter().try_for_each(|(path, stat)| copy_one(editor, path, stat, &place(path)))?;
    // The times of directories change until all is in them.
    names.iter().rev().try_for_each(|(path, stat)| {
        let (atime, mtime) = (Some(stat.atime), Some(stat.mtime));
        editor.set_times(&place(path), atime, mtime)
    })
}

fn copy_one(editor: &mut Editor<'_>, from: &GuestPath, stat: &Stat, to: &GuestPath) -> Result<()> {
    let there = editor.tree().stat(to).ok();
    let mode = stat.mode;
    match (stat.kind, stat.device) {
        (FileKind::Dir, _) if there.as_ref().is_some_and(|there| there.kind == FileKind::Dir) => {}
        (FileKind::Dir, _) => editor.make_dir(to, |_| mode)?,
        (FileKind::File, _) => {
            let contents = read_all(editor.tree(), from, MAX_COPY)?;
            editor.replace(to, &contents, Wanted::mode(mode))?;
        }
        (FileKind::Symlink, _) => {
            let target = editor.tree().read_link(from)?;
            if there.is_some_and(|there| there.kind != FileKind::Dir) {
                editor.remove(to)?;
            }
            editor.symlink(to, &target)?;
        }
        (FileKind::CharDevice, Some((major, minor))) => editor.node(to, NewNode::CharDevice(major, minor), mode)?,
        (FileKind::BlockDevice, Some((major, minor))) => editor.node(to, NewNode::BlockDevice(major, minor), mode)?,
        (FileKind::Fifo, _) => editor.node(to, NewNode::Fifo, mode)?,
        (FileKind::Socket, _) => editor.node(to, NewNode::Socket, mode)?,
        (FileKind::CharDevice | FileKind::BlockDevice, None) => {
            return Err(Error::new(ErrorKind::Corrupt, "a device without numbers").at_path(from.to_bytes()));
        }
    }
    let mode = (stat.kind != FileKind::Symlink).then_some(mode);
    editor.set(to, Wanted { mode, uid: Some(stat.uid), gid: Some(stat.gid) })?;
    let xattrs = editor.tree().xattrs(from)?;
    xattrs.iter().try_for_each(|(name, value)| editor.set_xattr(to, name, Some(value)))
}
