//! A new image beside the old one: a copy that shares or skips what it can, in place under its name only when it is
//! complete.

use super::redo;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{folder_of, open_to_copy};
use crate::interrupt::Temporary;
use nomount_block::{HostFile, ReadAt, SetLen, Window, copy_to_zeroed};
use std::fs::File;
use std::path::Path;

/// Bytes after which a listener hears of a copy.
const PIECE: u64 = 8 << 20;

/// Hears how many bytes are done, and of how many.
pub type Heard<'a> = &'a mut dyn FnMut(u64, u64);

/// Copies the image file `source` into a new temporary file beside `target`: as a reflink where the host can, else
/// byte by byte with its holes kept. The caller changes it and persists it under its name.
///
/// `heard` is told how many bytes of the file are done, and of how many.
///
/// With `lock`, a source that somebody is writing is refused. So is one whose commit was interrupted: the copy would
/// lack its redo file.
pub fn copy_image(source: &Path, target: &Path, lock: bool, heard: Heard<'_>) -> Result<Temporary> {
    let host = |what: &'static str| {
        move |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Refused,
                _ => return Error::of_host(what, error),
            };
            Error::new(kind, what).caused_by(error)
        }
    };
    let from = open_to_copy(source, lock).map_err(|e| e.in_image(source))?;
    // With the lock: nobody commits any more.
    if redo::pending(source)? {
        return Err(redo::unfinished(source).in_image(source));
    }
    let folder = folder_of(target);
    let made = Temporary::create(folder, ".nomount-", ".part");
    let into = made.map_err(host("cannot create a file beside the output")).map_err(|e| e.in_image(target))?;
    if rustix::fs::ioctl_ficlone(into.as_file(), &from).is_err() {
        copy_sparse(from, &into, heard).map_err(|e| e.in_image(target))?;
    }
    Ok(into)
}

fn copy_sparse(from: File, into: &Temporary, heard: Heard<'_>) -> Result<()> {
    let from = HostFile::new(from, false)?;
    let clone = into.as_file().try_clone().map_err(|error| nomount_block::Error::from_io(0, error))?;
    let mut into = HostFile::new(clone, false)?;
    into.set_len(from.len())?;
    let (len, mut at) = (from.len(), 0);
    while at < len {
        let piece = PIECE.min(len - at);
        copy_to_zeroed(&Window::new(&from, at, piece)?, &mut Window::new(&mut into, at, piece)?)?;
        at += piece;
        heard(at, len);
    }
    Ok(())
}
