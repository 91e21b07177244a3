//! Keeping out of the way of others: the byte-range locks that QEMU takes on images.
//!
//! QEMU (block/file-posix.c and docs/devel on image locking) holds a shared lock on byte 100 + n for each permission n
//! that it uses, and on byte 200 + n for each that it does not let others use. Whoever wants permission n looks at
//! byte 200 + n; whoever wants to deny it looks at byte 100 + n. Open-file-description locks, so that they go with
//! the file and not with the process.

use crate::error::{Error, ErrorKind, Result};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::File;

const USED: i64 = 100;
const DENIED: i64 = 200;

/// Permissions, by their bit in QEMU's masks.
const CONSISTENT_READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

/// What an image is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockKind {
    /// Others may read.
    Read,
    /// Nobody else may do anything.
    Write,
}

impl LockKind {
    fn used(self) -> &'static [i64] {
        match self {
            Self::Read => &[CONSISTENT_READ],
            Self::Write => &[CONSISTENT_READ, WRITE, RESIZE],
        }
    }

    fn denied(self) -> &'static [i64] {
        match self {
            Self::Read => &[WRITE, RESIZE],
            Self::Write => &[CONSISTENT_READ, WRITE, RESIZE],
        }
    }
}

/// Locks on an image, held as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

fn range(kind: i32, start: i64) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: start, l_len: 1, l_pid: 0 }
}

/// Filesystems without locks cannot keep anyone out; QEMU goes on there, too.
fn without_locks(error: nix::errno::Errno) -> bool {
    matches!(error, nix::errno::Errno::ENOLCK | nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::EINVAL)
}

impl Lock {
    /// Takes the locks for `kind` on an open image, or says that somebody else has it.
    pub fn take(file: &File, kind: LockKind) -> Result<Self> {
        let io = |error: std::io::Error| Error::new(ErrorKind::Io, "cannot lock the image").caused_by(error);
        // The same open file: a lock of one is no conflict for the other.
        let held = file.try_clone().map_err(io)?;
        let own: Vec<i64> =
            kind.used().iter().map(|bit| USED + bit).chain(kind.denied().iter().map(|bit| DENIED + bit)).collect();
        for byte in own {
            match fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_RDLCK, byte))) {
                Ok(_) => {}
                Err(error) if without_locks(error) => return Ok(Self { _file: held }),
                Err(error) => return Err(busy(byte).caused_by(std::io::Error::from(error))),
            }
        }
        let conflicts = kind.used().iter().map(|bit| DENIED + bit).chain(kind.denied().iter().map(|bit| USED + bit));
        for byte in conflicts {
            let mut found = range(libc::F_WRLCK, byte);
            fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).map_err(|error| io(error.into()))?;
            if i32::from(found.l_type) != libc::F_UNLCK {
                return Err(busy(byte));
            }
        }
        Ok(Self { _file: held })
    }
}

fn busy(byte: i64) -> Error {
    let message = format!("the image is in use by another program (lock on byte {byte})");
    Error::new(ErrorKind::Busy, message).hint("stop the virtual machine or the other program first")
}
