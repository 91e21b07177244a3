//! Directories of the host, reached through descriptors and never by joined paths: no symbolic link is followed and no
//! mount point crossed, whoever else writes there at the same time.

mod facts;
mod made;
mod remove;

pub(crate) use facts::{Facts, host_time, kind_name};
pub(crate) use remove::{remove, remove_contents};

use crate::error::{Error, ErrorKind, Result};
use crate::tree::GuestPath;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, chmod, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Directories below each other that are walked through: each needs an open descriptor, of which Linux allows 1,024.
pub(crate) const MAX_DEPTH: usize = 512;
/// Names of one directory that are listed at once.
const MAX_ENTRIES: usize = 4 << 20;

/// An open directory. What its owner may not do in it by its mode was allowed when it was opened, and is forbidden
/// again when it is dropped.
#[derive(Debug)]
pub(crate) struct HostDir {
    fd: OwnedFd,
    restore: Option<Mode>,
}

impl Drop for HostDir {
    fn drop(&mut self) {
        if let Some(mode) = self.restore {
            // It may be gone by now.
            let _ = rustix::fs::fchmod(&self.fd, mode);
        }
    }
}

impl AsFd for HostDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory in `dir` on the same filesystem and mount.
fn open_inside(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(dir, name, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, and where a filter forbids what it does not know.
        Err(Errno::NOSYS | Errno::PERM) => {
            if name == b".." || name.contains(&b'/') {
                return Err(Errno::XDEV);
            }
            let fd = openat(dir, name, flags, Mode::empty())?;
            if fstat(&fd)?.st_dev == fstat(dir)?.st_dev { Ok(fd) } else { Err(Errno::XDEV) }
        }
        opened => opened,
    }
}

/// The path under which Linux reaches what a descriptor is open on, also one that was opened without the right to read.
fn through(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

impl HostDir {
    /// Opens the directory that the user names; a symbolic link as the last component is refused.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fd = openat(CWD, path, DIRECTORY, Mode::empty()).map_err(|e| unreachable_path(path, e))?;
        Ok(Self { fd, restore: None })
    }

    /// Opens a directory in this one, and allows its owner everything in it meanwhile.
    pub(crate) fn subdir(&self, name: &[u8]) -> rustix::io::Result<Self> {
        let all = Mode::RWXU;
        match open_inside(self.as_fd(), name, DIRECTORY) {
            Ok(fd) => {
                let mode = Mode::from_raw_mode(fstat(&fd)?.st_mode & 0o7777);
                let allow = !mode.contains(all) && rustix::fs::fchmod(&fd, mode | all).is_ok();
                Ok(Self { fd, restore: allow.then_some(mode) })
            }
            Err(Errno::ACCESS) => {
                let path = open_inside(self.as_fd(), name, OFlags::PATH | DIRECTORY)?;
                let mode = Mode::from_raw_mode(fstat(&path)?.st_mode & 0o7777);
                chmod(through(&path), mode | all).map_err(|_| Errno::ACCESS)?;
                let fd = open_inside(path.as_fd(), b".", DIRECTORY)?;
                Ok(Self { fd, restore: Some(mode) })
            }
            Err(e) => Err(e),
        }
    }

    /// Opens the directory that `path` leads to from this one.
    pub(crate) fn descend(&self, path: &GuestPath) -> rustix::io::Result<Self> {
        let mut here = Self { fd: open_inside(self.as_fd(), b".", DIRECTORY)?, restore: None };
        for name in path.components() {
            here = here.subdir(name)?;
        }
        Ok(here)
    }

    /// Opens a regular file for reading; what is no regular file is not opened.
    pub(crate) fn file(&self, name: &[u8]) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        // First without any access: opening a device or a pipe may do something.
        let path = openat(&self.fd, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&path)?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let open = || openat(&self.fd, name, flags, Mode::empty());
        let fd = match open() {
            Err(Errno::ACCESS) => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                chmod(through(&path), mode | Mode::RUSR).map_err(|_| Errno::ACCESS)?;
                let opened = open();
                chmod(through(&path), mode)?;
                opened?
            }
            opened => opened?,
        };
        Ok(File::from(fd))
    }

    /// The target of a symbolic link.
    pub(crate) fn read_link(&self, name: &[u8]) -> rustix::io::Result<Vec<u8>> {
        Ok(readlinkat(&self.fd, name, Vec::new())?.into_bytes())
    }

    /// What is known of a name, links not followed.
    pub(crate) fn facts(&self, name: &[u8]) -> rustix::io::Result<Facts> {
        facts::facts(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// What is known of the directory itself.
    pub(crate) fn own_facts(&self) -> rustix::io::Result<Facts> {
        let mut facts = facts::facts(&self.fd, b"", AtFlags::EMPTY_PATH)?;
        if let Some(mode) = self.restore {
            facts.mode = mode.as_raw_mode();
        }
        Ok(facts)
    }

    /// The names in it, unsorted, without `.` and `..`.
    pub(crate) fn names(&self) -> rustix::io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
            if names.len() > MAX_ENTRIES {
                return Err(Errno::TOOBIG);
            }
        }
        Ok(names)
    }
}

/// The error for a place of the host.
pub(crate) fn host_error(what: &str, path: &GuestPath, error: Errno) -> Error {
    let failed = |kind| Error::new(kind, format!("cannot {what}")).at_path(path.to_bytes()).caused_by(error_of(error));
    match error {
        Errno::XDEV => Error::new(ErrorKind::Busy, "a filesystem is mounted here")
            .at_path(path.to_bytes())
            .hint("unmount it first: what is mounted does not belong to the image"),
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => failed(ErrorKind::NoSpace),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => failed(ErrorKind::Refused),
        Errno::TOOBIG | Errno::MFILE => failed(ErrorKind::Limit),
        _ => failed(ErrorKind::Io),
    }
}

/// The error for a directory that the user named.
fn unreachable_path(path: &Path, error: Errno) -> Error {
    let kind = match error {
        Errno::NOENT => ErrorKind::NotFound,
        Errno::NOTDIR | Errno::LOOP => ErrorKind::NotADirectory,
        Errno::ACCESS => ErrorKind::Refused,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("cannot open the directory {}", path.display())).caused_by(error_of(error))
}

pub(crate) fn error_of(error: Errno) -> std::io::Error {
    std::io::Error::from(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn z4_links_are_never_followed() {
        let folder = nomount_kit::scratch::folder();
        std::fs::create_dir_all(folder.path().join("in/sub")).unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        symlink("..", folder.path().join("in/up")).unwrap();
        symlink("../secret", folder.path().join("in/file")).unwrap();
        let dir = HostDir::open(&folder.path().join("in")).unwrap();
        assert!(dir.subdir(b"sub").is_ok());
        for name in [&b"up"[..], b"..", b"sub/../..", b"file"] {
            assert!(dir.subdir(name).is_err(), "{}", name.escape_ascii());
        }
        assert!(dir.file(b"file").is_err());
        assert!(HostDir::open(&folder.path().join("in/up")).is_err());
    }

    #[test]
    fn what_a_mode_forbids_its_owner_is_allowed_meanwhile() {
        let folder = nomount_kit::scratch::folder();
        let closed = folder.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::write(closed.join("f"), "x").unwrap();
        let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        set(&closed.join("f"), 0);
        set(&closed, 0o500);
        let dir = HostDir::open(folder.path()).unwrap().subdir(b"closed").unwrap();
        assert_eq!((mode(&closed), dir.own_facts().unwrap().mode), (0o700, 0o500));
        assert!(dir.file(b"f").is_ok());
        assert_eq!(mode(&closed.join("f")), 0);
        drop(dir);
        assert_eq!(mode(&closed), 0o500);
        set(&closed, 0o700);
    }
}
