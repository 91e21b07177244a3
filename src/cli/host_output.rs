//! A file of the host that appears under its name when it is complete, or standard output.

use nomount::image::folder_of;
use nomount::interrupt::Temporary;
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
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
        // Through links that lead to a file, as open(2) goes.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match path.metadata() {
            Ok(meta) if meta.is_dir() => Err(failed(io::ErrorKind::IsADirectory.into())),
            Ok(meta) if !meta.is_file() => OpenOptions::new().write(true).open(&path).map(Self::Open).map_err(failed),
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

/// The bits that new files of this process do not get.
pub fn umask() -> u32 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
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
