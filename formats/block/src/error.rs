//! What can go wrong with bytes at an offset.

use std::fmt;

/// The result of every block operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The range reaches beyond the end of the device: the caller did not bound a number.
    OutOfBounds,
    /// The device cannot be written.
    ReadOnly,
    /// The device below is full.
    NoSpace,
    /// A structure of the container is wrong; the source says which.
    Corrupt,
    /// The container uses something that is not supported; the source says what.
    Unsupported,
    /// The operating system refused; the source says why.
    Io,
    /// A configured limit would be exceeded.
    Limit,
    /// More memory is needed than is granted; the source says for what.
    OutOfBudget,
}

impl ErrorKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::OutOfBounds => "access beyond the end of the device",
            Self::ReadOnly => "device is read-only",
            Self::NoSpace => "no space left on the device below",
            Self::Corrupt => "container is corrupt",
            Self::Unsupported => "container feature is not supported",
            Self::Io => "input/output error",
            Self::Limit => "limit exceeded",
            Self::OutOfBudget => "memory is not granted",
        }
    }
}

/// A failed block operation: its kind, the byte offset it concerned, and its cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    offset: u64,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure without a deeper cause.
    pub fn new(kind: ErrorKind, offset: u64) -> Self {
        Self { kind, offset, source: None }
    }

    /// A failure caused by `source`, for example an error of a container format.
    pub fn with_source(
        kind: ErrorKind,
        offset: u64,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, offset, source: Some(source.into()) }
    }

    /// A failure reported by the operating system at `offset`; a full disk becomes [`ErrorKind::NoSpace`].
    pub fn from_io(offset: u64, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            // The last is the limit of the filesystem, or of `ulimit -f`.
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => {
                ErrorKind::NoSpace
            }
            std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            _ => ErrorKind::Io,
        };
        Self::with_source(kind, offset, source)
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The byte offset, in the device that reported the error.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {:#x}", self.kind.as_str(), self.offset)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}
