//! The gate for backing files: a name stored in an image is opened only if the caller allowed it.

use super::lock::{Lock, LockKind};
use super::{ImageOptions, TABLE_CACHE, open_file};
use crate::error::{Error, ErrorKind, Result};
use nomount_block::{HostFile, ReadAt};
use nomount_qcow2::{Info, Qcow2};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest chain of backing files.
pub const MAX_CHAIN: usize = 32;

/// Which backing files may be opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Backing {
    /// None: an image that has one is refused.
    #[default]
    Refused,
    /// Those in the folder of the image that names them.
    Beside,
    /// Those in this folder or below.
    In(PathBuf),
}

/// Opens what an image is backed by, and what that is backed by. The paths go to `chain`.
pub(super) fn open(
    info: &Info,
    image: &Path,
    options: &ImageOptions,
    chain: &mut Vec<PathBuf>,
    locks: &mut Vec<Lock>,
) -> Result<Option<Box<dyn ReadAt>>> {
    let Some(name) = &info.backing_file else { return Ok(None) };
    if chain.len() >= MAX_CHAIN {
        return Err(Error::new(ErrorKind::Limit, format!("more than {MAX_CHAIN} backing files")));
    }
    let (path, folder) = allowed_path(name, image, &options.backing)?;
    let named = |error: Error| error.in_image(&path);
    let file = open_file(&path, false, rustix::fs::OFlags::empty()).map_err(named)?;
    if !is_below(&file, &folder) {
        return Err(named(Error::new(ErrorKind::Refused, "the backing file has just become another one")));
    }
    if options.lock {
        locks.push(Lock::take(&file, LockKind::Read).map_err(named)?);
    }
    let file = HostFile::new(file, false)?;
    chain.push(path.clone());
    match info.backing_format.as_deref() {
        Some(b"raw") => Ok(Some(Box::new(file))),
        Some(b"qcow2") => {
            let below = nomount_qcow2::read_info(&file).map_err(|e| named(e.into()))?;
            let backing = open(&below, &path, options, chain, locks)?;
            let how = nomount_qcow2::Options { read_only: true, cache_bytes: TABLE_CACHE };
            let image = Qcow2::open(file, backing, how).map_err(|e| named(e.into()))?;
            Ok(Some(Box::new(image)))
        }
        Some(other) => {
            let message = format!("backing file of format {} is not supported", other.escape_ascii());
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        // Guessing would let a guest choose: it writes the first bytes of a raw backing file.
        None => Err(Error::new(ErrorKind::Refused, "the format of the backing file is not recorded in the image")
            .hint("record it with `qemu-img rebase -u -F raw|qcow2 -b FILE IMAGE`")),
    }
}

/// Whether what was opened is in the folder, as far as the host tells: whoever may write there may have put a link in
/// place of the file after its path was looked at.
fn is_below(file: &File, folder: &Path) -> bool {
    let place = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    place.map_or(true, |place| place.starts_with(folder))
}

/// The path of a backing file without links in it, and the folder that was allowed, if it may be opened: a plain file
/// name that leads, links followed, into that folder.
fn allowed_path(name: &[u8], image: &Path, backing: &Backing) -> Result<(PathBuf, PathBuf)> {
    let shown = name.escape_ascii();
    let refused = |why: String| Error::new(ErrorKind::Refused, why);
    let beside = image.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    let folder = match backing {
        Backing::Refused => {
            return Err(refused(format!("the image is backed by {shown}, which is not opened unasked"))
                .hint("allow it with --allow-backing, or --allow-backing=FOLDER if it is elsewhere"));
        }
        Backing::Beside => beside.clone(),
        Backing::In(folder) => Some(folder.clone()),
    };
    let is_protocol = name.iter().position(|byte| *byte == b':').is_some_and(|at| !name[..at].contains(&b'/'));
    if is_protocol {
        return Err(refused(format!("the backing file {shown} is not a plain path")));
    }
    let gone = |error: std::io::Error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
        Error::new(kind, format!("cannot find the backing file {shown}")).caused_by(error)
    };
    let joined = beside.unwrap_or_default().join(OsStr::from_bytes(name));
    let path = joined.canonicalize().map_err(gone)?;
    let folder = folder.unwrap_or_default().canonicalize().map_err(gone)?;
    if !path.starts_with(&folder) {
        return Err(refused(format!("the backing file {} is outside {}", path.display(), folder.display()))
            .hint("allow its folder with --allow-backing=FOLDER"));
    }
    Ok((path, folder))
}
