//! Filesystems that a program of the host makes: on a sparse file as long as the volume, whose contents are then
//! written to it. The program sees nothing of the image, and one that fails has changed nothing.

use super::super::program;
use super::template::{Template, package};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Temporary;
use nomount_block::{ExtentKind, HostFile, ReadAt, WriteAt};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A program that takes longer is ended. Nothing but a full format of a large disk comes near.
const TIME_LIMIT: Duration = Duration::from_secs(600);
/// Bytes copied at once, and the unit in which zeroes are left out.
const PIECE: usize = 64 << 10;

/// A program to run.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its command line.
    pub template: Template,
    /// The label to fill in.
    pub label: OsString,
    /// Where programs are looked for, as in `PATH`.
    pub search: OsString,
    /// The folder for the sparse file.
    pub scratch: PathBuf,
}

impl Tool {
    /// The program's path, and the command as it is told, with `target` for what it formats.
    pub(super) fn find(&self, target: &OsStr) -> Result<(PathBuf, Vec<OsString>)> {
        let words = self.template.fill(&self.label, target)?;
        let program = &words[0];
        let mut candidates = if program.as_encoded_bytes().contains(&b'/') {
            vec![PathBuf::from(program)]
        } else {
            std::env::split_paths(&self.search).map(|folder| folder.join(program)).collect()
        };
        candidates.retain(|path| path.is_file());
        let Some(path) = candidates.into_iter().next() else {
            let error = Error::new(ErrorKind::NotFound, format!("the program {program:?} is not installed"));
            return Err(match package(program) {
                Some(package) => error.hint(format!("it is in the package {package}")),
                None => error.hint("it is looked for in PATH, /usr/sbin and /sbin"),
            });
        };
        Ok((path, words))
    }

    /// Runs the program and writes what it made to the device. Answers the command.
    pub(super) fn run(&self, device: &mut impl WriteAt) -> Result<String> {
        let scratch = |error| {
            let message =
                format!("cannot make a file of {} bytes to format in {}", device.len(), self.scratch.display());
            Error::of_host(message, error).hint("TMPDIR names another folder for it")
        };
        let named = Temporary::create(&self.scratch, "nomount-mkfs-", "").map_err(scratch)?;
        let path = named.path().to_owned();
        named.as_file().set_len(device.len()).map_err(scratch)?;
        let file = HostFile::new(named.as_file().try_clone().map_err(scratch)?, false)?;
        let (program, words) = self.find(path.as_os_str())?;
        self.execute(&program, &words)?;
        let made = path.metadata().map_err(scratch)?.len();
        if made != device.len() {
            return Err(Error::new(ErrorKind::Io, format!("{} changed the length of its target", program.display())));
        }
        copy(&file, device)?;
        let told: Vec<_> = self.template.fill(&self.label, OsStr::new("TARGET"))?;
        Ok(told.join(OsStr::new(" ")).to_string_lossy().into_owned())
    }

    fn execute(&self, program: &Path, words: &[OsString]) -> Result<()> {
        let failed = |error| Error::new(ErrorKind::Io, format!("cannot run {}", program.display())).caused_by(error);
        let mut command = Command::new(program);
        command.args(&words[1..]).env("PATH", &self.search);
        let ran = program::run(command, &self.scratch, TIME_LIMIT).map_err(failed)?;
        let message = match ran.status {
            Some(status) if status.success() => return Ok(()),
            Some(status) => format!("{} ended with {status}", program.display()),
            None => format!("{} took longer than {} seconds", program.display(), TIME_LIMIT.as_secs()),
        };
        let error = Error::new(ErrorKind::Io, message);
        Err(if ran.text.is_empty() { error } else { error.caused_by(ran.text) })
    }
}

/// Makes the device hold what the file does.
fn copy(file: &HostFile, device: &mut impl WriteAt) -> Result<()> {
    let len = file.len();
    device.discard(0, len)?;
    let mut buf = vec![0; PIECE];
    let mut at = 0;
    while at < len {
        let extent = file.extent_at(at)?;
        let end = at + extent.len;
        if extent.kind == ExtentKind::Zero {
            at = end;
            continue;
        }
        while at < end {
            let piece = &mut buf[..(end - at).min(PIECE as u64) as usize];
            file.read_at(at, piece)?;
            if piece.iter().any(|byte| *byte != 0) {
                device.write_at(at, piece)?;
            }
            at += piece.len() as u64;
        }
    }
    device.barrier()?;
    Ok(())
}
