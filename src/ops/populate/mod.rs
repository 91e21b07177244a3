//! Filling a filesystem with a tree that comes from somewhere else: a directory of the host, a tar stream.
//!
//! A [`Source`] tells entry after entry in terms of neither; [`populate`] makes them. Files pass through a buffer of
//! fixed size, so memory does not depend on how large they are, and holes stay holes.

mod acl;
mod exclude;
mod fill;
mod guard;
mod guest;
mod host;
mod sparse;
mod stream;

pub use exclude::Exclude;
pub use fill::{Fill, Filled, populate};
pub use guest::{GuestData, GuestTree, GuestWalk, Met};
pub use host::HostTree;
pub use stream::TarStream;

use crate::error::{Error, ErrorKind, Result};
use crate::tree::{Time, Xattr};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What an entry is.
#[derive(Debug)]
pub enum Node<'a> {
    /// A regular file of so many bytes.
    File(u64, &'a mut dyn Contents),
    /// A directory.
    Dir,
    /// A symbolic link to these bytes.
    Symlink(&'a [u8]),
    /// Another name of an entry told before: its path.
    HardLink(&'a [u8]),
    /// A character device with major and minor number.
    CharDevice(u32, u32),
    /// A block device with major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Attributes of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, at most 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the contents.
    pub mtime: Time,
    /// Full names and values of extended attributes; ACLs in the form in which programs give them to a kernel.
    pub xattrs: Vec<Xattr>,
}

/// An entry.
#[derive(Debug)]
pub struct Item<'a> {
    /// Path from the root of the tree; a leading `/` or `./` means nothing. The root itself is `.` or empty.
    pub path: &'a [u8],
    /// What it is.
    pub node: Node<'a>,
    /// Its attributes.
    pub meta: Meta,
}

/// The bytes of a file, from its start to its end.
pub trait Contents: std::fmt::Debug {
    /// The next stretch that is no hole: where in the file it begins and how many bytes of it are in `buf` now. None
    /// after the last one. What is left out reads as zero.
    fn next_data(&mut self, buf: &mut [u8]) -> Result<Option<(u64, usize)>>;

    /// Where all of the data is, ascending, if that is known before it is read.
    fn stretches(&self) -> Option<&[Range<u64>]>;
}

/// Where a tree comes from.
pub trait Source {
    /// Calls `visit` for each entry, a directory before what is in it. What is left out on purpose is added to
    /// `notes`.
    fn each(&mut self, notes: &mut Vec<String>, visit: &mut dyn FnMut(Item<'_>) -> Result<()>) -> Result<()>;
}

/// A path without what means nothing; empty for the root. One that leaves the tree is refused.
pub(in crate::ops) fn clean(path: &[u8]) -> Result<Vec<u8>> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        let message = format!("path {} leaves the tree", path.escape_ascii());
        return Err(Error::new(ErrorKind::Refused, message));
    }
    Ok(parts.join(&b'/'))
}

/// The directory of a clean path, empty for the root, and the name in it.
pub(in crate::ops) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// The error for something of the host that cannot be read.
fn unreadable(path: &Path, error: impl Into<std::io::Error>) -> Error {
    let error = error.into();
    let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
    Error::new(kind, format!("cannot read {}", path.as_os_str().as_bytes().escape_ascii())).caused_by(error)
}
