//! The second opinion on a FAT filesystem: what was written is read back by `fatfs`, and by our own reader opened
//! afresh, and compared with what was asked for.

use super::expect::{Expectations, Expected, REMOVED, differs};
use super::fat::FatTree;
use super::{FileKind, FileTree, GuestPath};
use crate::error::{Error, Result};
use nomount_block::{ReadAt, ReadOnly};
use nomount_fat::{Filesystem, OpenOptions, View, ViewDir};
use std::collections::BTreeMap;

/// Who found at how many paths what was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// Paths that `fatfs` confirmed, and our own reader as well.
    pub independent: usize,
    /// Paths that only our own reader confirmed.
    pub own: usize,
    /// Why `fatfs` could not, for the first of those.
    pub reason: Option<String>,
}

/// Compares a filesystem with what was asked for. A difference is an error.
pub fn look_at_fat<D: ReadAt>(device: &D, expected: &Expectations) -> Result<Looked> {
    let fs = Filesystem::open(ReadOnly(device), OpenOptions::default())?;
    let own = FatTree::new(fs);
    let view = View::open(device);
    let mut looked = Looked::default();
    // A directory is gone through once, however many of its names are looked for.
    let mut dirs: BTreeMap<GuestPath, Vec<(&GuestPath, Option<&Expected>)>> = BTreeMap::new();
    for (path, expected) in expected.iter() {
        look_ourselves(&own, path, expected)?;
        match path.parent() {
            Some(parent) => dirs.entry(parent).or_default().push((path, expected)),
            None => looked.own += 1,
        }
    }
    for (parent, paths) in dirs {
        let names: Vec<&[u8]> = parent.components().collect();
        let dir =
            view.as_ref().map_err(ToString::to_string).and_then(|view| view.dir(&names).map_err(|e| e.to_string()));
        for (path, expected) in paths {
            let seen = match &dir {
                Ok(dir) => look_independently(dir.as_ref(), path, expected),
                Err(reason) => Err(reason.clone()),
            };
            match seen {
                Ok(None) => looked.independent += 1,
                Ok(Some(what)) => return Err(differs(path, &what, "fatfs")),
                Err(reason) => {
                    looked.own += 1;
                    looked.reason.get_or_insert(reason);
                }
            }
        }
    }
    Ok(looked)
}

/// What is said of no name where there should be one.
const NAME: &str = "the name";

fn kind(is_dir: bool) -> FileKind {
    if is_dir { FileKind::Dir } else { FileKind::File }
}

/// What is not as it should be, of what `fatfs` can tell.
fn compare(expected: &Expected, is_dir: bool, size: u64, read_only: bool) -> Option<String> {
    let is_file = expected.kind == FileKind::File;
    let checks = [
        (kind(is_dir) == expected.kind, "type"),
        (!is_file || size == expected.size, "size"),
        (!is_file || read_only == (expected.mode & 0o200 == 0), "mode"),
    ];
    checks.into_iter().find(|(same, _)| !same).map(|(_, what)| what.to_owned())
}

/// What `fatfs` sees differently, if anything; an error where it cannot see.
fn look_independently<D: ReadAt>(
    dir: Option<&ViewDir<'_, '_, D>>,
    path: &GuestPath,
    expected: Option<&Expected>,
) -> std::result::Result<Option<String>, String> {
    let name = path.name().unwrap_or_default();
    let Some(expected) = expected else {
        return Ok(dir.is_some_and(|dir| dir.has(name)).then(|| REMOVED.to_owned()));
    };
    let Some(dir) = dir else { return Ok(Some(NAME.to_owned())) };
    let Some(seen) = dir.get(name) else {
        // It does not know the code page of short names.
        return if name.is_ascii() { Ok(Some(NAME.to_owned())) } else { Err("a name is not ASCII".to_owned()) };
    };
    if let Some(what) = compare(expected, seen.is_dir, seen.size, seen.read_only) {
        return Ok(Some(what));
    }
    for piece in &expected.contents {
        let read = piece.is_read(|offset, buf| dir.read_at(name, offset, buf));
        if !read.map_err(|error| error.to_string())? {
            return Ok(Some(format!("contents from byte {}", piece.offset)));
        }
    }
    Ok(None)
}

fn look_ourselves<D: ReadAt>(own: &FatTree<ReadOnly<&D>>, path: &GuestPath, expected: Option<&Expected>) -> Result<()> {
    const WHO: &str = "a fresh reader";
    let Some(expected) = expected else {
        let names: Vec<&[u8]> = path.components().collect();
        // Another name that differs only in case, or in a longer form, may have come after it.
        return match own.filesystem().stat(&names) {
            Err(nomount_fat::Error::NotFound | nomount_fat::Error::NotDirectory) => Ok(()),
            Ok(_) if own.filesystem().spelling(&names)? != names => Ok(()),
            Ok(_) => Err(differs(path, REMOVED, WHO)),
            Err(error) => Err(Error::from(error).at_path(path.to_bytes())),
        };
    };
    let stat = own.stat(path)?;
    if own.spelling(path)? != *path {
        return Err(differs(path, NAME, WHO));
    }
    let mut what = compare(expected, stat.kind == FileKind::Dir, stat.size, stat.mode & 0o200 == 0);
    if expected.times.is_some_and(|times| times != (stat.atime, stat.mtime)) {
        what.get_or_insert("times".to_owned());
    }
    for piece in &expected.contents {
        if !piece.is_read(|offset, buf| own.read_at(path, offset, buf))? {
            what.get_or_insert(format!("contents from byte {}", piece.offset));
        }
    }
    what.map_or(Ok(()), |what| Err(differs(path, &what, WHO)))
}
