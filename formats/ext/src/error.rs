//! What can go wrong in a filesystem, sorted by whose fault it is.

use crate::mmp::Holder;
use std::fmt;

/// The result of every operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device below failed.
    #[error("the block device failed")]
    Device(#[from] nomount_block::Error),
    /// The filesystem contradicts its own specification.
    #[error("corrupt filesystem: {0}")]
    Corrupt(Corrupt),
    /// No ext2, ext3 or ext4 superblock is where one should be.
    #[error("not an ext2, ext3 or ext4 filesystem: superblock magic is {found:#06x}, expected 0xef53")]
    NotExt {
        /// What stands where the magic should be.
        found: u16,
    },
    /// It uses something that is not supported at all; the text names it.
    #[error("unsupported filesystem: {0}")]
    Unsupported(String),
    /// It can be read but not written; the text names what stands against it.
    #[error("the filesystem can only be read: {0}")]
    ReadOnly(String),
    /// No such name, or no such inode.
    #[error("no such file or directory")]
    NotFound,
    /// The name is taken.
    #[error("file exists")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// Something other than a directory was needed.
    #[error("is a directory")]
    IsDirectory,
    /// The directory has names in it.
    #[error("directory not empty")]
    NotEmpty,
    /// The inode and the directory belong to different projects, and the directory's is for all that is in it.
    #[error("another project: {0}")]
    OtherProject(String),
    /// A regular file was needed.
    #[error("not a regular file")]
    NotFile,
    /// A symbolic link was needed.
    #[error("not a symbolic link")]
    NotSymlink,
    /// A name that no directory can hold.
    #[error("invalid file name: {0}")]
    InvalidName(&'static str),
    /// A value that the caller may not give.
    #[error("invalid argument: {0}")]
    Invalid(String),
    /// Somebody else writes to the filesystem, or did when it crashed (feature mmp).
    #[error("the filesystem is in use: {}", in_use(.0))]
    Busy(Holder),
    /// The inode has as many names as it can count.
    #[error("too many links: {0} is the most this filesystem counts")]
    TooManyLinks(u32),
    /// The file would be larger than the filesystem can map.
    #[error("file too large: {size} bytes, at most {max} can be mapped")]
    FileTooLarge {
        /// Bytes asked for.
        size: u64,
        /// Bytes possible.
        max: u64,
    },
    /// Extended attributes of one file do not fit.
    #[error("no room for extended attributes: {needed} bytes needed, {room} available")]
    XattrSpace {
        /// Bytes of names and values.
        needed: usize,
        /// Bytes of the place that is left for them.
        room: usize,
    },
    /// All blocks are in use, or became free only by the change in progress.
    #[error("no space left on the filesystem: {wanted} blocks wanted, {free} free")]
    NoSpace {
        /// Blocks wanted.
        wanted: u64,
        /// Blocks free.
        free: u64,
    },
    /// All inodes are in use.
    #[error("no inodes left on the filesystem")]
    NoInodes,
    /// The change has more blocks that need protection than the log has room for.
    #[error("the change is too large for the journal: {needed} blocks of log needed, {available} available")]
    JournalTooSmall {
        /// Blocks needed.
        needed: u64,
        /// Blocks of the log.
        available: u64,
    },
    /// The filesystem is larger than it should become, and does not shrink.
    #[error("the filesystem has {blocks} blocks and cannot shrink to {wanted}")]
    CannotShrink {
        /// Blocks that it has.
        blocks: u64,
        /// Blocks wanted.
        wanted: u64,
    },
    /// This filesystem is not grown here, though another tool may be able to: the text names what stands against it.
    #[error("the filesystem cannot be grown: {0}")]
    CannotGrow(String),
    /// An operation failed halfway before; its remains must be rolled back first.
    #[error("an earlier change failed halfway and was not rolled back")]
    HalfDone,
    /// A commit failed between its first write and its last. The device is for recovery, as after a crash: open it
    /// again.
    #[error("an earlier commit failed; the filesystem must be opened again, which recovers it")]
    CommitFailed,
    /// More memory is needed than is granted.
    #[error(transparent)]
    OutOfBudget(#[from] nomount_block::OutOfBudget),
    /// A limit that keeps memory or time bounded.
    #[error("limit exceeded: {0}")]
    Limit(String),
}

fn in_use(holder: &Holder) -> String {
    let Holder { node, device, time, checking } = holder;
    let who = if *checking { "e2fsck" } else { "somebody" };
    format!("{who} on node '{node}', device '{device}', said so last at {time} seconds since 1970")
}

/// Where the filesystem is wrong and how. Opaque; prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupt {
    place: String,
    detail: String,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.detail)
    }
}

/// A corruption found at `place` (`inode 12`), told by `detail` (`size is 5, expected 0`).
pub(crate) fn corrupt(place: impl Into<String>, detail: impl Into<String>) -> Error {
    Error::Corrupt(Corrupt { place: place.into(), detail: detail.into() })
}

/// A stored checksum that is not what the bytes give.
pub(crate) fn bad_checksum(place: impl Into<String>, found: u32, wanted: u32) -> Error {
    corrupt(place, format!("checksum is {found:#010x}, expected {wanted:#010x}"))
}
