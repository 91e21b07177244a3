//! Running a program of the host that works on a file of ours: for so long at most, and heard only so far.

use std::io::{Read, Result, Seek};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often it is looked after.
const PATIENCE: Duration = Duration::from_millis(2);
/// So much of what it says is told, in bytes.
const MAX_TEXT: u64 = 4 << 10;

/// How a program ended.
pub(super) struct Ran {
    /// None when it was ended because it took too long.
    pub status: Option<ExitStatus>,
    /// The beginning of what it said.
    pub text: String,
}

/// Runs a program in English and without input. What it says is kept in `folder` meanwhile, in a file without a name:
/// unlike a pipe, that never makes it wait.
pub(super) fn run(mut command: Command, folder: &Path, limit: Duration) -> Result<Ran> {
    let mut said = tempfile::tempfile_in(folder)?;
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command.stdout(said.try_clone()?).stderr(said.try_clone()?);
    let status = wait(command.spawn()?, limit)?;
    let mut text = Vec::new();
    said.rewind()?;
    said.take(MAX_TEXT).read_to_end(&mut text)?;
    Ok(Ran { status, text: String::from_utf8_lossy(&text).trim().to_owned() })
}

fn wait(mut child: Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PATIENCE);
    }
}
