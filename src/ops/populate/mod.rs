//! Filling a filesystem with a tree that comes from somewhere else: a directory of the host, a tar stream.
//!
//! A [`Source`] tells entry after entry in terms of neither; [`populate`] makes them. Files pass through a buffer of
//! fixed size, so memory does not depend on how large they are, and holes stay holes.

mod fill;
mod host;
mod sparse;
mod stream;

pub use fill::{Fill, Filled, populate};
pub use host::HostTree;
pub use stream::TarStream;

use crate::error::Result;
use crate::tree::Time;

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
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
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
}

/// Where a tree comes from.
pub trait Source {
    /// Calls `visit` for each entry, a directory before what is in it. What is left out on purpose is added to
    /// `notes`.
    fn each(&mut self, notes: &mut Vec<String>, visit: &mut dyn FnMut(Item<'_>) -> Result<()>) -> Result<()>;
}

/// The error for something of the host that cannot be read.
fn unreadable(path: &[u8], error: impl Into<std::io::Error>) -> crate::Error {
    let message = format!("cannot read {}", path.escape_ascii());
    crate::Error::new(crate::ErrorKind::Io, message).caused_by(error.into())
}
