//! The user's editor, which must do what it always does: read its own configuration, write where it likes, use the
//! terminal. A process that is locked in cannot start it any more. So a shell is started before, which waits at a pipe
//! until there is a text to edit, and ends if there is none.

use super::{host_file, signal, ui};
use nomount::interrupt::Pending;
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use rustix::io::dup;
use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io::{PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use tempfile::TempDir;

/// An editor that waits for a text.
pub struct Waiting {
    editor: OsString,
    /// Only the user can enter it; gone in the end, whatever happens.
    folder: TempDir,
    /// Removes it where a signal ends the process.
    _pending: Pending,
    file: PathBuf,
    shell: Child,
    go: PipeWriter,
}

fn failed(what: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, what.to_owned()).caused_by(error)
}

impl Waiting {
    /// Makes it wait, for the text of a file of this name.
    pub fn start(name: &[u8]) -> Result<Self> {
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("nomount-edit-").permissions(private).tempdir();
        let folder = folder.map_err(|error| failed("cannot make a folder for the text", error))?;
        let path = folder.path().to_owned();
        let pending = Pending::new(move || {
            // Nobody is left to hear of a text that stays.
            let _ = std::fs::remove_dir_all(path);
        });
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let name: Vec<u8> = name.iter().map(|byte| if is_plain(byte) { *byte } else { b'_' }).collect();
        let file = folder.path().join(OsStr::from_bytes(&name));
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| OsString::from("vi"));
        let unable = |error| failed("cannot run sh for the editor", error);
        let (end, go) = std::io::pipe().map_err(unable)?;
        // The shell has this end under its number, and standard input is the editor's.
        let end = dup(end).map_err(|error| unable(error.into()))?;
        // The variable may hold options, so that a shell must read it; the file is an argument of its own.
        let mut script = OsString::from(format!("read -r go <&{} || exit 0\n", end.as_raw_fd()));
        script.push(&editor);
        script.push(" \"$@\"");
        let shell = Command::new("sh").arg("-c").arg(script).arg(&editor).arg(&file).spawn();
        Ok(Self { editor, folder, _pending: pending, file, shell: shell.map_err(unable)?, go })
    }

    /// What is left to do of it when the process is locked in.
    pub fn access(&self) -> Access {
        let around = self.folder.path().parent().map(|parent| Access::none().empty_folders(parent));
        around.unwrap_or_default().folder(self.folder.path())
    }

    /// The text as the user leaves it in the editor.
    pub fn edit(mut self, text: &[u8]) -> Result<Vec<u8>> {
        std::fs::write(&self.file, text).map_err(|error| failed("cannot write the text to be edited", error))?;
        self.go.write_all(b"go\n").map_err(|error| failed("cannot run sh for the editor", error))?;
        let status =
            signal::lend_terminal(|| self.shell.wait()).map_err(|error| failed("cannot wait for the editor", error))?;
        if !status.success() {
            let message = format!("the editor {:?} failed ({status}): the text is taken as unchanged", self.editor);
            return Err(Error::new(ErrorKind::Refused, message));
        }
        let text = host_file::read(&self.file);
        let left = self.folder.path().to_owned();
        if let Err(error) = self.folder.close() {
            ui::warning(&format!("a copy of the text must be removed by hand, {}: {error}", left.display()));
        }
        text
    }
}
