//! A tree of files inside an image, as operations see it, whatever the filesystem.

#[cfg(test)]
pub(crate) mod contract;
mod entries;
mod expect;
mod ext;
mod fat;
mod fat_look;
mod make;
#[cfg(test)]
pub(crate) mod memtree;
mod mounts;
mod path;
mod resolve;
mod walk;

pub use entries::Entries;
pub use expect::{Expectations, Expected, Piece};
pub(crate) use expect::{REMOVED, differs};
pub use ext::ExtTree;
pub use fat::FatTree;
pub use fat_look::{Looked, look_at_fat};
pub use make::{MadeDirs, Written, append, make_dirs, replace};
pub use mounts::MountTree;
pub use path::{GuestPath, MAX_NAME, MAX_PATH};
pub use resolve::{
    Follow, MAX_LINKS, MAX_STEPS, MAX_TEXT, Resolved, existing, exists, find, read_all, read_text, resolve,
};
pub use walk::Walk;

use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::ops::Range;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    #[serde(rename = "directory")]
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileKind {
    /// In words, for messages.
    pub fn noun(self) -> &'static str {
        match self {
            Self::File => "regular file",
            Self::Dir => "directory",
            Self::Symlink => "symbolic link",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
        }
    }
}

/// A point in time: seconds since 1970 (negative before) and nanoseconds below 10^9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Time {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds.
    pub nsec: u32,
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Which of several filesystems in one tree it is in: 0 for the one with the tree's root.
    pub dev: u32,
    /// Inode number, of its own among those with the same `dev`; 0 where the filesystem has none.
    pub ino: u64,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// Number of names.
    pub links: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Allocated bytes in units of 512, as st_blocks.
    pub blocks: u64,
    /// Device number (major, minor) of a device file.
    pub device: Option<(u32, u32)>,
    /// Last access.
    pub atime: Time,
    /// Last change of contents.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Birth, where the filesystem keeps it.
    pub btime: Option<Time>,
}

impl Stat {
    /// What tells a file from all others of its tree, where [`ino`](Self::ino) is not 0: its filesystem and number.
    pub fn id(&self) -> (u32, u64) {
        (self.dev, self.ino)
    }
}

/// One name in a directory. `.` and `..` are never listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, raw bytes: from an image, never to be trusted as a host path or printed raw.
    pub name: Vec<u8>,
    /// What it stands for.
    pub kind: FileKind,
    /// Inode number; 0 where the filesystem has none.
    pub ino: u64,
}

/// Changes of a file's attributes; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits, at most 0o7777.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Time>,
    /// Last change of contents.
    pub mtime: Option<Time>,
}

/// What to create under a new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewNode {
    /// An empty regular file.
    File,
    /// An empty directory.
    Dir,
    /// A symbolic link to these bytes.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device (major, minor).
    CharDevice(u32, u32),
    /// A block device (major, minor).
    BlockDevice(u32, u32),
}

/// An extended attribute: full name (`user.x`, `security.selinux`) and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// A mark to which a tree can be taken back. Marks nest: rolling back to one drops later ones.
#[derive(Debug)]
pub struct Savepoint(pub u64);

/// A tree of files that operations read and change.
///
/// No method follows symbolic links, in no component: [`resolve`](crate::tree) does, inside the guest. A parent that
/// is missing is [`NotFound`](crate::ErrorKind::NotFound), one that is no directory is
/// [`NotADirectory`](crate::ErrorKind::NotADirectory). Changes are staged: nothing is durable before the session
/// commits. Times come from the clock that the tree was opened with.
pub trait FileTree: Debug {
    /// What is at `path`.
    fn stat(&self, path: &GuestPath) -> Result<Stat>;

    /// Reads a regular file at byte `offset`; short only at its end. Returns how many bytes.
    fn read_at(&self, path: &GuestPath, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// The stretches of a regular file, in bytes, that have a place on the disk: ascending, without overlap, inside the
    /// file. What is not among them is a hole and reads as zero.
    fn data(&self, path: &GuestPath) -> Result<Vec<Range<u64>>>;

    /// The target of a symbolic link.
    fn read_link(&self, path: &GuestPath) -> Result<Vec<u8>>;

    /// The names in a directory, in the order the filesystem has them.
    fn entries(&self, path: &GuestPath) -> Result<Entries>;

    /// Extended attributes, sorted by name.
    fn xattrs(&self, path: &GuestPath) -> Result<Vec<Xattr>>;

    /// Creates something new; `attr` wins over what would be inherited. Without a mode: 0644 for files, 0755 for
    /// directories; without owners: 0, or the parent's group when the parent is set-gid. A directory made in a set-gid
    /// one without a mode is set-gid, too.
    fn create(&mut self, path: &GuestPath, node: NewNode, attr: SetAttr) -> Result<()>;

    /// Replaces the contents of a regular file. Inode, owner, mode, extended attributes and other names stay.
    fn write_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()>;

    /// Adds to the end of a regular file.
    fn append_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()>;

    /// Writes into a regular file at byte `offset`; what lies between its end and `offset` becomes a hole. Writing
    /// nothing changes nothing.
    fn write_at(&mut self, path: &GuestPath, offset: u64, data: &[u8]) -> Result<()>;

    /// Sets the length of a regular file in bytes. What is cut off is gone; what is added is a hole.
    fn truncate(&mut self, path: &GuestPath, size: u64) -> Result<()>;

    /// Gives what is at `old`, anything but a directory, another name.
    fn link(&mut self, old: &GuestPath, new: &GuestPath) -> Result<()>;

    /// Moves a name, as rename(2) does: what has the new name is replaced if it is of the same kind, a directory only
    /// if it is empty. Two names of one file stay as they are; a directory cannot go into itself, and nothing into
    /// another filesystem ([`OtherFilesystem`](crate::ErrorKind::OtherFilesystem)).
    fn rename(&mut self, from: &GuestPath, to: &GuestPath) -> Result<()>;

    /// Has the commit overwrite with zeroes what a regular file holds and held, as far as nothing uses its place then:
    /// of a file that is removed next, all of it. For files with one name only.
    fn scrub(&mut self, path: &GuestPath) -> Result<()> {
        let message = "on this filesystem what a removed file held is not overwritten";
        Err(Error::new(ErrorKind::Unsupported, message).at_path(path.to_bytes()))
    }

    /// Removes a name of anything but a directory.
    fn unlink(&mut self, path: &GuestPath) -> Result<()>;

    /// Removes an empty directory.
    fn rmdir(&mut self, path: &GuestPath) -> Result<()>;

    /// Removes whatever is at `path` and below. Returns how many names went. When it fails, those that went before are
    /// gone: take a savepoint first to have all or nothing.
    fn remove_tree(&mut self, path: &GuestPath) -> Result<u64>;

    /// Changes attributes.
    fn set_attr(&mut self, path: &GuestPath, attr: SetAttr) -> Result<()>;

    /// Sets or, with `None`, removes an extended attribute.
    fn set_xattr(&mut self, path: &GuestPath, name: &[u8], value: Option<&[u8]>) -> Result<()>;

    /// Where other filesystems are part of this tree. Their directories can be neither moved nor removed.
    fn mount_points(&self) -> Vec<GuestPath> {
        Vec::new()
    }

    /// Marks the state now.
    fn savepoint(&mut self) -> Savepoint;

    /// Takes everything back that happened since the mark.
    fn rollback(&mut self, savepoint: Savepoint);
}
