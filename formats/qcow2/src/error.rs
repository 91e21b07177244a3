//! What can go wrong with a qcow2 image.

use nomount_block::ErrorKind;
use std::fmt;

/// The result of opening, creating and describing an image.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an image cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The magic is missing.
    #[error("not a qcow2 image")]
    NotQcow2,
    /// A structure is wrong.
    #[error("qcow2 {0}")]
    Corrupt(Corrupt),
    /// A feature that is refused.
    #[error("unsupported qcow2 feature: {0}")]
    Unsupported(Unsupported),
    /// The corrupt bit is set: another program found the structures inconsistent.
    #[error("qcow2 image is marked corrupt, repair it with `qemu-img check -r all`")]
    MarkedCorrupt,
    /// The dirty bit is set, so the refcounts may be stale; the image can be read, not written.
    #[error("qcow2 image was not closed and its refcounts may be stale, repair it with `qemu-img check -r all`")]
    Dirty,
    /// The image has a backing file and the caller gave none.
    #[error("qcow2 image needs its backing file {:?}, which was not given", .0.escape_ascii().to_string())]
    BackingMissing(Vec<u8>),
    /// The caller gave a backing device to an image without a backing file.
    #[error("qcow2 image has no backing file, but one was given")]
    BackingUnexpected,
    /// A number in the image, or asked for, is beyond what is accepted.
    #[error("qcow2 {what} is {value}, the limit is {limit}")]
    Limit {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The greatest accepted value.
        limit: u64,
    },
    /// A parameter of a new image is not one the format allows.
    #[error("qcow2 {what} of {value} is not possible here")]
    BadOption {
        /// Which parameter.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// Opened read-only.
    #[error("qcow2 image was opened read-only")]
    ReadOnly,
    /// Writing the metadata failed before, so its state on the device is not known.
    #[error("an earlier write of qcow2 metadata failed, the image must be opened again")]
    Failed,
    /// The device below failed.
    #[error("the device of the qcow2 image failed")]
    Device(#[source] nomount_block::Error),
    /// The backing device failed.
    #[error("the backing device of the qcow2 image failed")]
    Backing(#[source] nomount_block::Error),
}

/// A feature by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsupported {
    /// A version other than 2 and 3.
    Version(u32),
    /// `crypt_method`: 1 is AES, 2 is LUKS.
    Encryption(u32),
    /// Guest data in another file.
    ExternalDataFile,
    /// Incompatible feature bits without a known meaning.
    IncompatibleBits(u64),
    /// Another length for an image with snapshots that do not say theirs: of version 2, or damaged.
    LengthWithSnapshots,
    /// A compression type other than zlib (0) and zstd (1).
    Compression(u8),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}, wanted 2 or 3"),
            Self::Encryption(1) => f.write_str("AES encryption"),
            Self::Encryption(2) => f.write_str("LUKS encryption"),
            Self::Encryption(method) => write!(f, "encryption method {method}"),
            Self::ExternalDataFile => f.write_str("external data file"),
            Self::IncompatibleBits(bits) => write!(f, "unknown incompatible feature bits {bits:#x}"),
            Self::LengthWithSnapshots => {
                f.write_str("a change of length with snapshots that do not record theirs, as in version 2")
            }
            Self::Compression(kind) => write!(f, "compression type {kind}, wanted 0 (zlib) or 1 (zstd)"),
        }
    }
}

/// A structure that is wrong: which, where, the value found and what was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupt {
    what: &'static str,
    at: u64,
    found: u64,
    wanted: &'static str,
}

impl Corrupt {
    pub(crate) fn new(what: &'static str, at: u64, found: u64, wanted: &'static str) -> Self {
        Self { what, at, found, wanted }
    }

    /// Which structure is wrong.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Where: a byte offset in the file for header fields and table entries, in the guest for guest clusters.
    pub fn at(&self) -> u64 {
        self.at
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:#x} is {:#x}, wanted {}", self.what, self.at, self.found, self.wanted)
    }
}

/// Shorthand for a corrupt structure.
pub(crate) fn corrupt(what: &'static str, at: u64, found: u64, wanted: &'static str) -> Error {
    Error::Corrupt(Corrupt::new(what, at, found, wanted))
}

impl Error {
    /// The kind this error has as a failed block operation.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotQcow2 | Self::Corrupt(_) | Self::MarkedCorrupt => ErrorKind::Corrupt,
            Self::Unsupported(_) | Self::Dirty | Self::BackingMissing(_) | Self::BackingUnexpected => {
                ErrorKind::Unsupported
            }
            Self::Limit { .. } | Self::BadOption { .. } => ErrorKind::Limit,
            Self::ReadOnly => ErrorKind::ReadOnly,
            Self::Failed => ErrorKind::Io,
            Self::Device(source) | Self::Backing(source) => source.kind(),
        }
    }

    /// As the failure of a block operation at guest `offset`.
    pub(crate) fn at(self, offset: u64) -> nomount_block::Error {
        nomount_block::Error::with_source(self.kind(), offset, self)
    }
}
