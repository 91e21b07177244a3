//! The one error of the library: what kind of failure, where, and why.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of every operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault a failure is, and what a caller may do about it. Stable: match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something that makes no sense.
    Usage,
    /// No file, directory, partition or user of that name.
    NotFound,
    /// Something of that name is there already.
    Exists,
    /// A path component that must be a directory is none.
    NotADirectory,
    /// A directory stands where a file was expected.
    IsADirectory,
    /// A directory to be removed has entries.
    NotEmpty,
    /// A name cannot be moved to another filesystem, nor a file have names in two.
    OtherFilesystem,
    /// More symbolic links on the way than a kernel would follow.
    Loop,
    /// A path, name or value that no guest could have, or that leaves the guest.
    Invalid,
    /// Refused because going on could lose data or reveal the host's.
    Refused,
    /// The image uses a feature that is not supported; the text names it.
    Unsupported,
    /// Somebody else is using the image.
    Busy,
    /// The filesystem, or the disk below, is full.
    NoSpace,
    /// The image contradicts itself; the source says where.
    Corrupt,
    /// What was written does not read back as it was meant; nothing was committed.
    Differs,
    /// The host failed to read or write.
    Io,
    /// A configured limit would be exceeded.
    Limit,
    /// What the image asks for takes more memory than is granted.
    OutOfBudget,
}

/// Where a failure happened. Prints as `disk.qcow2, partition 2 (ext4), /etc/shadow`; unknown parts are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The image on the host.
    pub image: Option<PathBuf>,
    /// The partition or device inside it, as text.
    pub volume: Option<String>,
    /// The path inside the guest, raw bytes.
    pub path: Option<Vec<u8>>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = self.image.as_ref().map(|path| path.display().to_string());
        let path = self.path.as_ref().map(|path| path.escape_ascii().to_string());
        let parts: Vec<String> = [image, self.volume.clone(), path].into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// A failed operation.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    place: Box<Place>,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure of `kind`; `message` is lower case, without a full stop, with the offending value in it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, place: Box::default(), message: message.into(), hint: None, source: None }
    }

    /// A failure of the host, such as of a file that is written there: [`ErrorKind::NoSpace`] where it is full.
    pub fn of_host(message: impl Into<String>, source: std::io::Error) -> Self {
        // A file beyond the limit of its size (of the filesystem, or of ulimit -f) is one for which there is no room.
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let full = matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge);
        Self::new(if full { ErrorKind::NoSpace } else { ErrorKind::Io }, message).caused_by(source)
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds another failure that came of this one: both are said.
    #[must_use]
    pub(crate) fn and(mut self, also: &Self) -> Self {
        use std::error::Error as _;
        self.message = format!("{}; {also}", self.message);
        let mut cause = also.source();
        while let Some(error) = cause {
            self.message = format!("{}: {error}", self.message);
            cause = error.source();
        }
        self
    }

    /// Says which of several things was being done.
    #[must_use]
    pub fn during(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Adds what the user can do, printed as a line of its own.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the image, unless a deeper layer did.
    #[must_use]
    pub fn in_image(mut self, image: impl Into<PathBuf>) -> Self {
        self.place.image.get_or_insert_with(|| image.into());
        self
    }

    /// Calls the image `name` where the error calls it `working`: the copy that is worked on under another name.
    #[must_use]
    pub fn rename_image(mut self, working: &Path, name: &Path) -> Self {
        if self.place.image.as_deref() == Some(working) {
            self.place.image = Some(name.to_owned());
        }
        self
    }

    /// Names the partition or device, unless a deeper layer did.
    #[must_use]
    pub fn in_volume(mut self, volume: impl Into<String>) -> Self {
        self.place.volume.get_or_insert_with(|| volume.into());
        self
    }

    /// Names the path inside the guest, unless a deeper layer did.
    #[must_use]
    pub fn at_path(mut self, path: impl AsRef<[u8]>) -> Self {
        self.place.path.get_or_insert_with(|| path.as_ref().to_vec());
        self
    }

    /// An error of a tree that is mounted at `at`: its path is below that.
    #[must_use]
    pub(crate) fn below(mut self, at: &crate::tree::GuestPath) -> Self {
        if !at.is_root()
            && let Some(path) = &mut self.place.path
        {
            *path = if path == b"/" { at.to_bytes() } else { [&at.to_bytes()[..], path].concat() };
        }
        self
    }

    /// What kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The message without place, source and hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The message with its causes, without place and hint.
    pub fn chain(&self) -> String {
        let first = std::error::Error::source(self);
        let causes = std::iter::successors(first, |cause| cause.source()).map(ToString::to_string);
        [self.message.clone()].into_iter().chain(causes).collect::<Vec<_>>().join(": ")
    }

    /// What the user can do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self.place != Place::default() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

impl From<nomount_block::Error> for Error {
    fn from(error: nomount_block::Error) -> Self {
        use nomount_block::ErrorKind as Block;
        let kind = match error.kind() {
            Block::ReadOnly => ErrorKind::Refused,
            Block::NoSpace => ErrorKind::NoSpace,
            Block::OutOfBounds | Block::Corrupt => ErrorKind::Corrupt,
            Block::Unsupported => ErrorKind::Unsupported,
            Block::Limit => ErrorKind::Limit,
            Block::OutOfBudget => ErrorKind::OutOfBudget,
            _ => ErrorKind::Io,
        };
        let message = match kind {
            ErrorKind::Limit | ErrorKind::OutOfBudget => "this is more than is allowed",
            _ => "the image cannot be accessed",
        };
        Self::new(kind, message).caused_by(error)
    }
}

impl From<nomount_block::OutOfBudget> for Error {
    fn from(error: nomount_block::OutOfBudget) -> Self {
        Self::new(ErrorKind::OutOfBudget, error.to_string())
    }
}

impl From<nomount_ext::Error> for Error {
    fn from(error: nomount_ext::Error) -> Self {
        use nomount_ext::Error as Ext;
        let kind = match &error {
            Ext::Device(_) => {
                let Ext::Device(device) = error else { unreachable!("matched just above") };
                return Self::from(device);
            }
            Ext::Corrupt(_) | Ext::NotExt { .. } => ErrorKind::Corrupt,
            Ext::Unsupported(_) | Ext::ReadOnly(_) | Ext::CannotGrow(_) => ErrorKind::Unsupported,
            Ext::Busy(_) => ErrorKind::Busy,
            Ext::NotFound => ErrorKind::NotFound,
            Ext::Exists => ErrorKind::Exists,
            Ext::NotDirectory => ErrorKind::NotADirectory,
            Ext::IsDirectory => ErrorKind::IsADirectory,
            Ext::NotEmpty => ErrorKind::NotEmpty,
            Ext::NoSpace { .. } | Ext::NoInodes | Ext::XattrSpace { .. } => ErrorKind::NoSpace,
            Ext::OutOfBudget(_) => ErrorKind::OutOfBudget,
            Ext::Limit(_) | Ext::FileTooLarge { .. } | Ext::TooManyLinks(_) | Ext::JournalTooSmall { .. } => {
                ErrorKind::Limit
            }
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<nomount_ptable::Error> for Error {
    fn from(error: nomount_ptable::Error) -> Self {
        match error {
            nomount_ptable::Error::Device(device) => Self::from(device),
            error => Self::new(ErrorKind::Corrupt, error.to_string())
                .hint("name the place yourself: --partition none takes the whole device as a filesystem"),
        }
    }
}

impl From<nomount_ptable::EditError> for Error {
    fn from(error: nomount_ptable::EditError) -> Self {
        use nomount_ptable::EditError as Edit;
        let (kind, hint) = match error {
            Edit::Read(error) => return error.into(),
            Edit::Device(error) => return error.into(),
            Edit::NotFound { .. } => (ErrorKind::NotFound, None),
            Edit::NumberTaken { .. } => (ErrorKind::Exists, None),
            Edit::NoSpace { .. } => (ErrorKind::NoSpace, Some("a start that is given need not be aligned")),
            Edit::Beyond32Bits { .. } => (ErrorKind::NoSpace, Some("a GPT has no such limit")),
            Edit::Overlap { .. }
            | Edit::Outside { .. }
            | Edit::NoFreeNumber { .. }
            | Edit::DeviceTooShort { .. }
            | Edit::DoesNotFit { .. } => (ErrorKind::NoSpace, None),
            Edit::HoldsLogical { .. } => (ErrorKind::Refused, Some("delete the logical partitions first")),
            Edit::Hybrid { .. } | Edit::Sector0 => (ErrorKind::Refused, None),
            Edit::SecondExtended { .. } => (ErrorKind::Unsupported, None),
            Edit::BrokenChain | Edit::EntriesMisplaced { .. } => (ErrorKind::Corrupt, None),
            _ => (ErrorKind::Invalid, None),
        };
        let wrapped = Self::new(kind, error.to_string());
        match hint {
            Some(hint) => wrapped.hint(hint),
            None => wrapped,
        }
    }
}

impl From<nomount_fat::Error> for Error {
    fn from(error: nomount_fat::Error) -> Self {
        use nomount_fat::Error as Fat;
        let (kind, hint) = match error {
            Fat::Device(device) => return Self::from(device),
            Fat::Layout(_) => (ErrorKind::Io, None),
            Fat::NotFat(_) => (ErrorKind::Corrupt, None),
            Fat::Corrupt(_) | Fat::View(_) => (ErrorKind::Corrupt, Some("fsck.fat can repair it")),
            Fat::OutOfBudget(_) => (ErrorKind::OutOfBudget, None),
            Fat::Unsupported(_) => (ErrorKind::Unsupported, None),
            Fat::ReadOnly => (ErrorKind::Refused, None),
            Fat::NotFound => (ErrorKind::NotFound, None),
            Fat::Exists(_) => (ErrorKind::Exists, None),
            Fat::NotDirectory => (ErrorKind::NotADirectory, None),
            Fat::IsDirectory => (ErrorKind::IsADirectory, None),
            Fat::NotEmpty => (ErrorKind::NotEmpty, None),
            Fat::NoSpace { .. } | Fat::DirectoryFull { .. } => (ErrorKind::NoSpace, None),
            Fat::FileTooLarge(_) | Fat::Limit(_) => (ErrorKind::Limit, None),
            _ => (ErrorKind::Invalid, None),
        };
        let wrapped = Self::new(kind, error.to_string());
        match hint {
            Some(hint) => wrapped.hint(hint),
            None => wrapped,
        }
    }
}

impl From<nomount_qcow2::Error> for Error {
    fn from(error: nomount_qcow2::Error) -> Self {
        use nomount_block::ErrorKind as Block;
        use nomount_qcow2::Error as Qcow2;
        let kind = match &error {
            Qcow2::MarkedCorrupt | Qcow2::Dirty | Qcow2::BackingMissing(_) => ErrorKind::Refused,
            _ => match error.kind() {
                Block::Unsupported => ErrorKind::Unsupported,
                Block::Limit => ErrorKind::Limit,
                Block::OutOfBudget => ErrorKind::OutOfBudget,
                Block::Io => ErrorKind::Io,
                Block::NoSpace => ErrorKind::NoSpace,
                _ => ErrorKind::Corrupt,
            },
        };
        Self::new(kind, "the qcow2 image cannot be opened").caused_by(error)
    }
}
