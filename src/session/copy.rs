//! A new image beside the old one: a copy that shares or skips what it can, in place under its name only when it is
//! complete.

use super::redo;
use crate::error::{Error, ErrorKind, Result};
use crate::image::open_to_copy;
use nomount_block::{ExtentKind, HostFile, ReadAt};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tempfile::NamedTempFile;

/// Copied at a time.
const PIECE: u64 = 1 << 20;

/// Copies the image file `source` into a new temporary file beside `target`: as a reflink where the host can, else
/// byte by byte with its holes kept. The caller changes it and persists it under its name.
///
/// With `lock`, a source that somebody is writing is refused. So is one whose commit was interrupted: the copy would
/// lack its redo file.
pub fn copy_image(source: &Path, target: &Path, lock: bool) -> Result<NamedTempFile> {
    let host = |what: &'static str| {
        move |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Refused,
                std::io::ErrorKind::StorageFull => ErrorKind::NoSpace,
                _ => ErrorKind::Io,
            };
            Error::new(kind, what).caused_by(error)
        }
    };
    if redo::pending(source)? {
        return Err(redo::unfinished(source).in_image(source));
    }
    let from = open_to_copy(source, lock).map_err(|e| e.in_image(source))?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".nomount-").suffix(".part").tempfile_in(folder);
    let into = made.map_err(host("cannot create a file beside the output")).map_err(|e| e.in_image(target))?;
    if rustix::fs::ioctl_ficlone(into.as_file(), &from).is_err() {
        copy_sparse(&HostFile::new(from, false)?, into.as_file()).map_err(|e| e.in_image(target))?;
    }
    Ok(into)
}

fn copy_sparse(from: &HostFile, into: &File) -> Result<()> {
    let host = |at: u64| move |error| Error::from(nomount_block::Error::from_io(at, error));
    into.set_len(from.len()).map_err(host(0))?;
    let mut at = 0;
    let mut buf = Vec::new();
    while at < from.len() {
        let extent = from.extent_at(at)?;
        if extent.kind == ExtentKind::Zero {
            at += extent.len;
            continue;
        }
        buf.resize(extent.len.min(PIECE) as usize, 0);
        from.read_at(at, &mut buf)?;
        into.write_all_at(&buf, at).map_err(host(at))?;
        at += buf.len() as u64;
    }
    Ok(())
}
