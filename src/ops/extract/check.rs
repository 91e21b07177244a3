//! What no sound filesystem says.

use crate::error::{Error, ErrorKind, Result};
use crate::tree::{GuestPath, MAX_NAME};

/// Bytes that the shortest name takes in a directory of any filesystem.
const MIN_ENTRY: u64 = 8;

/// Refuses a name that no system could have made and that means something else to the host.
pub(super) fn name(dir: &GuestPath, name: &[u8]) -> Result<()> {
    let impossible = name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| b"/\0".contains(byte));
    if impossible || name.len() > MAX_NAME {
        let message = format!("a directory holds the impossible name \"{}\"", name.escape_ascii());
        return Err(Error::new(ErrorKind::Corrupt, message).at_path(dir.to_bytes()));
    }
    Ok(())
}

/// What a filesystem has room for. Two files that claim the same blocks would fill the host's disk with copies.
#[derive(Debug)]
pub(in crate::ops) struct Budget {
    room: u64,
    names: u64,
    bytes: u64,
}

impl Budget {
    pub(in crate::ops) fn new(room: u64) -> Self {
        Self { room, names: 0, bytes: 0 }
    }

    /// Counts a name.
    pub(in crate::ops) fn name(&mut self, path: &GuestPath) -> Result<()> {
        self.names += 1;
        if self.names > self.room / MIN_ENTRY {
            return Err(self.exceeded("names", path));
        }
        Ok(())
    }

    /// Counts contents of a file.
    pub(in crate::ops) fn bytes(&mut self, bytes: u64, path: &GuestPath) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.room {
            return Err(self.exceeded("bytes of contents", path));
        }
        Ok(())
    }

    fn exceeded(&self, what: &str, path: &GuestPath) -> Error {
        let message = format!("more {what} than a filesystem of {} bytes has room for", self.room);
        Error::new(ErrorKind::Corrupt, message).at_path(path.to_bytes())
    }
}
