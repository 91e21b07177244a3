//! Other tools by their names: a link to this program that has one of them takes that tool's options and prints what it
//! prints. What cannot be done here is an error with the reason, never passed over.

mod dates;
mod disks;
mod e2cp;
mod e2ls;
mod virt_cat;
mod virt_copy_in;
mod virt_copy_out;
mod virt_customize;
mod virt_df;
mod virt_edit;
mod virt_filesystems;
mod virt_ls;
mod virt_tar_in;
mod virt_tar_out;

use super::{exit, finish, sandbox, ui};
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use nomount::sandbox::Access;
use nomount::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

/// What came of reading a tool's command line.
enum Next {
    /// Work of its own, which answers the exit code, and what it takes of the host.
    Work(Access, Work),
    /// The same as a command line of nomount.
    Run(Vec<OsString>),
}

/// What a tool does itself.
type Work = Box<dyn FnOnce() -> Result<u8>>;

/// Why a tool did not get to its work.
enum Stop {
    /// The command line makes no sense, or asks for help.
    Usage(clap::Error),
    /// It cannot be done.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<clap::Error> for Stop {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

/// A tool: reads its command line, the first argument its own name.
pub struct Tool {
    name: &'static str,
    run: fn(&[OsString]) -> Result<Next, Stop>,
}

/// The tools by name.
const TOOLS: &[Tool] = &[
    Tool { name: "virt-cat", run: virt_cat::run },
    Tool { name: "virt-ls", run: virt_ls::run },
    Tool { name: "virt-df", run: virt_df::run },
    Tool { name: "virt-filesystems", run: virt_filesystems::run },
    Tool { name: "virt-edit", run: virt_edit::run },
    Tool { name: "virt-copy-in", run: virt_copy_in::run },
    Tool { name: "virt-copy-out", run: virt_copy_out::run },
    Tool { name: "virt-tar-in", run: virt_tar_in::run },
    Tool { name: "virt-tar-out", run: virt_tar_out::run },
    Tool { name: "virt-customize", run: virt_customize::run },
    Tool { name: "e2cp", run: e2cp::run },
    Tool { name: "e2ls", run: e2ls::run },
];

/// The tool that a program of this name is.
pub fn find(program: &OsStr) -> Option<&'static Tool> {
    let name = Path::new(program).file_name()?;
    TOOLS.iter().find(|tool| name == tool.name)
}

/// Does what the tool would do.
pub fn main(tool: &Tool, arguments: &[OsString]) -> ExitCode {
    let mut next = None;
    let code = finish(false, || match (tool.run)(arguments) {
        Ok(Next::Work(access, work)) => {
            sandbox::enter(&access)?;
            work()
        }
        Ok(Next::Run(line)) => {
            next = Some(line);
            Ok(exit::DONE)
        }
        Err(Stop::Usage(error)) => {
            ui::usage_error(&error, false);
            Ok(if error.use_stderr() { exit::USAGE } else { exit::DONE })
        }
        Err(Stop::Failed(error)) => Err(error),
    });
    next.map_or(code, |line| super::run(&line))
}

/// Reads a command line.
fn parse<T: CommandFactory + FromArgMatches>(arguments: &[OsString]) -> Result<(T, ArgMatches), clap::Error> {
    let matches = T::command().try_get_matches_from(arguments)?;
    Ok((T::from_arg_matches(&matches)?, matches))
}

/// A command line of nomount.
fn command_line<S: Into<OsString>>(verb: &str, options: Vec<OsString>, arguments: impl IntoIterator<Item = S>) -> Next {
    let mut line: Vec<OsString> = vec!["nomount".into(), verb.into()];
    line.extend(options);
    line.push("--".into());
    line.extend(arguments.into_iter().map(Into::into));
    Next::Run(line)
}

/// `IMAGE:PATH` of e2tools: the path is from the root directory, with a slash before it and without.
fn image_and_path(text: &OsStr) -> (OsString, Vec<u8>) {
    let bytes = text.as_bytes();
    let (image, path) = bytes.iter().position(|byte| *byte == b':').map_or((bytes, &b""[..]), |at| {
        let (image, path) = bytes.split_at(at);
        (image, &path[1..])
    });
    let slash = if path.starts_with(b"/") { &b""[..] } else { b"/" };
    (OsStr::from_bytes(image).to_owned(), [slash, path].concat())
}
