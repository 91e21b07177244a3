//! The size that is wanted.

use crate::error::{Error, ErrorKind, Result};

/// Containers count in sectors.
const SECTOR: u64 = 512;

/// A new size, absolute or relative, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewSize {
    /// This many.
    To(u64),
    /// So many more.
    Plus(u64),
    /// So many less.
    Minus(u64),
    /// As it is: only what is on the disk changes.
    Same,
}

impl NewSize {
    /// The size that a disk of `old` bytes gets, rounded up to whole sectors.
    pub fn of(self, old: u64) -> Result<u64> {
        let new = match self {
            Self::To(bytes) => Some(bytes),
            Self::Plus(bytes) => old.checked_add(bytes),
            Self::Minus(bytes) => old.checked_sub(bytes),
            Self::Same => return Ok(old),
        };
        let new = new.filter(|new| *new > 0 && *new <= i64::MAX as u64);
        new.map(|new| new.next_multiple_of(SECTOR)).ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                format!("no disk can have the size that follows from {old} bytes and {self:?}"),
            )
        })
    }
}
