//! What can go wrong with a FAT filesystem.

use std::fmt;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What contradicts itself on the disk: the structure, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupt {
    what: &'static str,
    why: String,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// An error about a structure.
pub(crate) fn corrupt(what: &'static str, why: impl Into<String>) -> Error {
    Error::Corrupt(Corrupt { what, why: why.into() })
}

/// Why a filesystem is not made, read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The volume label cannot be stored; the text says why.
    #[error("FAT volume label {label:?} {why}")]
    Label {
        /// The label.
        label: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No FAT has so many clusters, or so few, as the volume would have.
    #[error("no {kind} filesystem fits a volume of {len} bytes with sectors of {sector}")]
    Size {
        /// Which one was asked for.
        kind: &'static str,
        /// Bytes of the volume.
        len: u64,
        /// Bytes of a sector.
        sector: u32,
    },
    /// The sector size is not one that FAT has.
    #[error("FAT sectors of {0} bytes are not possible, wanted 512, 1024, 2048 or 4096")]
    Sector(u32),
    /// There is no FAT filesystem; the text says what is missing.
    #[error("no FAT filesystem: {0}")]
    NotFat(&'static str),
    /// The filesystem contradicts itself.
    #[error("FAT filesystem is corrupt: {0}")]
    Corrupt(Corrupt),
    /// It uses something that is not supported.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// More memory is needed than is granted.
    #[error(transparent)]
    OutOfBudget(#[from] nomount_block::OutOfBudget),
    /// It was opened for reading.
    #[error("the FAT filesystem was opened for reading only")]
    ReadOnly,
    /// Nothing has that name.
    #[error("no such file or directory")]
    NotFound,
    /// The name is taken, perhaps in other case or as somebody's short name.
    #[error("file exists{}", alias(.0))]
    Exists(Option<String>),
    /// A directory is needed.
    #[error("not a directory")]
    NotDirectory,
    /// A file is needed.
    #[error("is a directory")]
    IsDirectory,
    /// The directory has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// The root directory can be neither moved nor removed, and nothing into itself.
    #[error("{0}")]
    Place(&'static str),
    /// No such name can be stored; the text says why.
    #[error("FAT cannot store the name \"{}\": it {why}", .name.escape_ascii())]
    Name {
        /// The name.
        name: Vec<u8>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No clusters are left.
    #[error("no space left on the FAT filesystem: {wanted} clusters wanted, {free} free")]
    NoSpace {
        /// Clusters wanted at once.
        wanted: u32,
        /// Clusters that are free.
        free: u32,
    },
    /// A directory cannot hold more.
    #[error("the directory is full: it holds {slots} entries of 32 bytes at most")]
    DirectoryFull {
        /// The most that it can hold.
        slots: u32,
    },
    /// A file would be longer than FAT can say.
    #[error("a file of {0} bytes is longer than FAT allows, which is 4 GiB less one byte")]
    FileTooLarge(u64),
    /// A limit of this library would be exceeded.
    #[error("{0}")]
    Limit(String),
    /// The device failed.
    #[error("the device of the FAT filesystem failed")]
    Device(#[source] nomount_block::Error),
    /// `fatfs` refused; nothing that was checked before explains it.
    #[error("the FAT filesystem could not be laid out")]
    Layout(#[source] std::io::Error),
    /// `fatfs`, as second reader, cannot read what is there.
    #[error("fatfs cannot read the FAT filesystem")]
    View(#[source] std::io::Error),
}

fn alias(name: &Option<String>) -> String {
    name.as_ref().map_or(String::new(), |name| format!(": it is another name of {name}"))
}

impl From<nomount_block::Error> for Error {
    fn from(error: nomount_block::Error) -> Self {
        Self::Device(error)
    }
}
