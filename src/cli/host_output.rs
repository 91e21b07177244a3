//! A file of the host that appears under its name when it is complete, or standard output.

use super::status::umask;
use nomount::image::{folder_of, user_of};
use nomount::interrupt::Temporary;
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where bytes of a guest go on the host.
#[derive(Debug)]
pub enum HostOutput {
    /// Standard output.
    Standard(io::Stdout),
    /// A device, a pipe or the like, which is written as it is.
    Open(File),
    /// A file beside the name, which it gets at the end.
    Beside(Temporary, PathBuf),
}

impl HostOutput {
    /// The file of this name, or standard output, which may not be a terminal: `what` says what it would show.
    pub fn open(name: Option<&OsStr>, what: &str) -> Result<Self> {
        let Some(name) = name else {
            let out = io::stdout();
            if out.is_terminal() {
                let error = Error::new(ErrorKind::Usage, format!("{what} is not written to a terminal"));
                return Err(error.hint("name a file, or send it into a pipe"));
            }
            return Ok(Self::Standard(out));
        };
        let path = Path::new(name);
        let failed = |error: io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::IsADirectory => ErrorKind::IsADirectory,
                _ => ErrorKind::Io,
            };
            Error::new(kind, format!("cannot write {}", path.display())).caused_by(error)
        };
        if is_trap(path) {
            let message = format!("{} is a symbolic link that somebody else put into a shared folder", path.display());
            return Err(Error::new(ErrorKind::Refused, message).hint("name the file that it leads to"));
        }
        // Through links that lead to a file, as open(2) goes.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match path.metadata() {
            Ok(meta) if meta.is_dir() => Err(failed(io::ErrorKind::IsADirectory.into())),
            Ok(meta) if !meta.is_file() => {
                if meta.file_type().is_block_device()
                    && let Some(user) = user_of(&path)
                {
                    return Err(Error::new(ErrorKind::Busy, format!("{} is in use: {user}", path.display())));
                }
                OpenOptions::new().write(true).open(&path).map(Self::Open).map_err(failed)
            }
            found => {
                let folder = folder_of(&path);
                let file = Temporary::create(folder, ".nomount-", ".part").map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => {
                        let message = format!("cannot write {}: no folder {}", path.display(), folder.display());
                        Error::new(ErrorKind::NotFound, message)
                    }
                    _ => failed(error),
                })?;
                // Those of the file that it replaces, or what open(2) gives a new one.
                let mode = found.map_or(0o666 & !umask(), |meta| meta.permissions().mode() & 0o777);
                file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
                Ok(Self::Beside(file, path))
            }
        }
    }

    /// The regular file that is written, in which there may be holes.
    pub fn regular(&self) -> Option<&File> {
        match self {
            Self::Beside(file, _) => Some(file.as_file()),
            Self::Standard(_) | Self::Open(_) => None,
        }
    }

    /// Gives the file its name.
    pub fn keep(mut self) -> Result<()> {
        let failed = |error| Error::of_host("cannot finish the output", error);
        self.flush().map_err(failed)?;
        match self {
            Self::Beside(file, path) => file.persist(&path).map(drop).map_err(failed),
            Self::Standard(_) | Self::Open(_) => Ok(()),
        }
    }
}

/// Whether the last name of a path is a link that Linux follows for nobody but its owner, where it protects links:
/// others put it into a sticky folder that all may write to, such as /tmp.
fn is_trap(path: &Path) -> bool {
    let (Ok(link), Ok(folder)) = (path.symlink_metadata(), folder_of(path).metadata()) else { return false };
    let own = rustix::process::geteuid().as_raw();
    link.is_symlink() && sets_trap(link.uid(), (folder.mode(), folder.uid()), own)
}

fn sets_trap(link: u32, (mode, folder): (u32, u32), own: u32) -> bool {
    mode & 0o1002 == 0o1002 && link != own && link != folder
}

impl Write for HostOutput {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(buf),
            Self::Open(file) => file.write(buf),
            Self::Beside(file, _) => file.as_file().write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::Open(file) => file.flush(),
            Self::Beside(file, _) => file.as_file().flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_others_in_shared_folders_are_traps() {
        let (tmp, home) = ((0o41777, 0), (0o40755, 1000));
        assert!(sets_trap(1001, tmp, 1000) && sets_trap(1001, tmp, 0));
        assert!(!sets_trap(1000, tmp, 1000) && !sets_trap(0, tmp, 1000) && !sets_trap(1001, home, 1000));
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(!is_trap(&link) && !is_trap(&file));
        let mut output = HostOutput::open(Some(link.as_os_str()), "a file").unwrap();
        output.write_all(b"new").unwrap();
        output.keep().unwrap();
        assert!(std::fs::read(&file).unwrap() == b"new" && link.is_symlink());
        // Only root can give a link to somebody else.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(&link, Some(4711), None).unwrap();
            assert_eq!(HostOutput::open(Some(link.as_os_str()), "a file").unwrap_err().kind(), ErrorKind::Refused);
        }
    }
}
