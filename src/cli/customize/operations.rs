//! The operations as options, in the order in which they are given, and as lines of a file.

use super::load::{self, Loaded};
use crate::cli::host_file;
use crate::cli::target::Target;
use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use nomount::{Error, ErrorKind, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An operation as the command line has it.
struct Spec {
    name: &'static str,
    value: &'static str,
    help: &'static str,
}

const fn spec(name: &'static str, value: &'static str, help: &'static str) -> Spec {
    Spec { name, value, help }
}

/// What is done here.
const SPECS: &[Spec] = &[
    spec("append-line", "FILE:LINE", "Add a line to the end of a file, with the line break that it has"),
    spec("chmod", "MODE:FILE", "Set permission bits, octal or symbolic"),
    spec("chown", "USER[:GROUP]:PATH", "Set owner and group, by the guest's names or by numbers"),
    spec("commands-from-file", "FILE", "Do what the lines of FILE say, each an operation as here without the hyphens"),
    spec("copy", "SOURCE:DEST", "Copy inside the guest, with all below and all attributes, as cp -a"),
    spec("copy-in", "LOCAL:DIR", "Copy a file or directory of the host into a directory that exists"),
    spec("delete", "PATH", "Remove what a path with wildcards matches, directories with all that is below"),
    spec("edit", "FILE:EXPR", "Change the lines of a text file by expressions such as s/old/new/g, as Perl has them"),
    spec("firstboot", "SCRIPT", "Run a script of the host once, at the guest's next boot"),
    spec("firstboot-command", "COMMAND", "Run a shell command once, at the guest's next boot"),
    spec("firstboot-install", "PKG,PKG..", "Let the guest's package manager install packages at its next boot"),
    spec("hostname", "HOSTNAME", "Set the name of the guest"),
    spec("link", "TARGET:LINK[:LINK..]", "Make symbolic links, replacing what has their names"),
    spec("mkdir", "DIR", "Make a directory, and those missing on the way"),
    spec("move", "SOURCE:DEST", "Rename, or move into a directory"),
    spec("password", "USER:SELECTOR", "Set a password, as --root-password"),
    spec(
        "root-password",
        "SELECTOR",
        "Set root's password: file:FILE, env:NAME, fd:NUMBER, - (standard input), random, password:TEXT; \
         or disabled, locked, locked:SELECTOR",
    ),
    spec("scrub", "FILE", "Remove a file of one name, and overwrite with zeroes the blocks that it had"),
    spec(
        "ssh-inject",
        "USER[:SELECTOR]",
        "Add public keys for a user: file:FILE, string:KEY, or by default the newest ~/.ssh/id*.pub",
    ),
    spec("tar-in", "TAR:DIR", "Unpack a tar file, compressed or not, or - for standard input, into a directory"),
    spec("timezone", "TIMEZONE", "Set the time zone, as Europe/Berlin"),
    spec("touch", "FILE", "Set a file's times to now, and create it if it is missing"),
    spec("truncate", "FILE", "Make a file empty"),
    spec("truncate-recursive", "PATH", "Make all regular files below a directory empty"),
    spec("upload", "FILE:DEST", "Copy a file of the host to a name or into a directory"),
    spec("write", "FILE:CONTENT", "Make CONTENT the whole of a file"),
];

const NEEDS_GUEST: &str = "programs of the guest are never run";
const AT_BOOT: &str = "--firstboot-command runs a command at the guest's next boot";
const WINDOWS: &str = "guests with Windows are not changed";
const NEITHER: &str = "virt-customize does it";

/// What virt-customize does and is refused here.
struct Refusal {
    name: &'static str,
    has_value: bool,
    why: &'static str,
    instead: &'static str,
}

const fn refusal(name: &'static str, why: &'static str, instead: &'static str) -> Refusal {
    Refusal { name, has_value: true, why, instead }
}

const REFUSED: &[Refusal] = &[
    refusal("inject-blnsvr", WINDOWS, NEITHER),
    refusal("inject-qemu-ga", NEEDS_GUEST, "--firstboot-install qemu-guest-agent installs it at the guest's next boot"),
    refusal("inject-virtio-win", WINDOWS, NEITHER),
    refusal("install", NEEDS_GUEST, "--firstboot-install installs packages at the guest's next boot"),
    refusal("run", NEEDS_GUEST, "--firstboot runs a script at the guest's next boot"),
    refusal("run-command", NEEDS_GUEST, AT_BOOT),
    refusal("uninstall", NEEDS_GUEST, AT_BOOT),
    Refusal { name: "update", has_value: false, why: NEEDS_GUEST, instead: AT_BOOT },
];

impl Refusal {
    fn error(&self) -> Error {
        let message = format!("--{} cannot be done: {}", self.name, self.why);
        Error::new(ErrorKind::Unsupported, message).hint(self.instead)
    }
}

/// The operations of a command line, in order.
#[derive(Debug, Clone, Default)]
pub struct OperationArgs {
    given: Vec<(&'static str, OsString)>,
    refused: Option<&'static str>,
}

impl OperationArgs {
    /// Loads what comes from the host. Lines of a file stand where the file does.
    pub fn load(&self, image: &Target) -> Result<Loaded> {
        if let Some(refusal) = REFUSED.iter().find(|refusal| Some(refusal.name) == self.refused) {
            return Err(refusal.error());
        }
        let mut loaded = Loaded::default();
        for (name, value) in &self.given {
            if *name != "commands-from-file" {
                load::operation(&mut loaded, image, name, value)?;
                continue;
            }
            let text = match value.as_bytes() {
                b"-" => host_file::standard_input("the operations")?,
                _ => host_file::read(Path::new(value))?,
            };
            for line in Line::all(&text) {
                let failed = |error: Error| {
                    let message = format!("{}, line {}: {}", value.display(), line.number, error.chain());
                    let named = Error::new(error.kind(), message);
                    match error.hint_text() {
                        Some(hint) => named.hint(hint),
                        None => named,
                    }
                };
                load::operation(&mut loaded, image, line.name().map_err(failed)?, OsStr::from_bytes(&line.value))
                    .map_err(failed)?;
            }
        }
        Ok(loaded)
    }
}

impl clap::Args for OperationArgs {
    fn augment_args(command: Command) -> Command {
        let any = |name: &'static str| {
            let argument = Arg::new(name).long(name).action(ArgAction::Append).allow_hyphen_values(true);
            argument.value_parser(ValueParser::os_string()).help_heading("Operations, done in order")
        };
        let done = SPECS.iter().map(|spec| any(spec.name).value_name(spec.value).help(spec.help));
        let refused = REFUSED.iter().map(|refusal| {
            let argument = Arg::new(refusal.name).long(refusal.name).hide(true);
            match refusal.has_value {
                true => argument.action(ArgAction::Append).allow_hyphen_values(true),
                false => argument.action(ArgAction::SetTrue),
            }
        });
        command.args(done).args(refused)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OperationArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let mut given = Vec::new();
        for name in SPECS.iter().map(|spec| spec.name).filter(|name| is_given(name)) {
            let values = matches.get_many::<OsString>(name).into_iter().flatten().cloned();
            given.extend(matches.indices_of(name).into_iter().flatten().zip(values.map(|value| (name, value))));
        }
        given.sort_by_key(|(index, _)| *index);
        let refused = REFUSED.iter().map(|refusal| refusal.name).find(|name| is_given(name));
        Ok(Self { given: given.into_iter().map(|(_, operation)| operation).collect(), refused })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A line of a file of operations, with those that continue it.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Line {
    /// The lines of a text that say something: no empty ones, and none that begin with `#`. A backslash at the end
    /// continues a line with the next, without the blanks that it begins with.
    fn all(text: &[u8]) -> Vec<Self> {
        let mut lines = Vec::new();
        let mut open: Option<(usize, Vec<u8>)> = None;
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
            let (number, mut joined) = open.take().unwrap_or((at + 1, Vec::new()));
            if joined.is_empty() && line.starts_with(b"#") {
                continue;
            }
            match line.strip_suffix(b"\\") {
                Some(more) => {
                    joined.extend_from_slice(more);
                    open = Some((number, joined));
                }
                None => {
                    joined.extend_from_slice(line);
                    lines.extend(Self::read(number, &joined));
                }
            }
        }
        lines.extend(open.and_then(|(number, joined)| Self::read(number, &joined)));
        lines
    }

    fn read(number: usize, line: &[u8]) -> Option<Self> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let name = line[..end].to_vec();
        Some(Self { number, name, value: line[end..].trim_ascii_start().to_vec() })
    }

    /// Its operation, by the name that the option has.
    fn name(&self) -> Result<&'static str> {
        let usage = |message: String| Error::new(ErrorKind::Usage, message);
        if let Some(refusal) = REFUSED.iter().find(|refusal| refusal.name.as_bytes() == self.name) {
            return Err(refusal.error());
        }
        match SPECS.iter().find(|spec| spec.name.as_bytes() == self.name) {
            None => Err(usage(format!("no operation \"{}\"", self.name.escape_ascii()))),
            Some(Spec { name: "commands-from-file", .. }) => {
                Err(usage("a file of operations cannot name another".into()))
            }
            Some(spec) if self.value.is_empty() => Err(usage(format!("{} needs {}", spec.name, spec.value))),
            Some(spec) => Ok(spec.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<OperationArgs, clap::Error> {
        use clap::Args;
        let command = OperationArgs::augment_args(Command::new("test").arg(Arg::new("image")));
        let matches = command.try_get_matches_from([&["test"], args].concat())?;
        OperationArgs::from_arg_matches(&matches)
    }

    #[test]
    fn options_keep_their_order() {
        let given = parse(&["--touch", "/a", "img", "--mkdir=/b", "--touch", "-c", "--delete", "/a"]).unwrap().given;
        let wanted = [("touch", "/a"), ("mkdir", "/b"), ("touch", "-c"), ("delete", "/a")];
        assert_eq!(given, wanted.map(|(name, value)| (name, value.into())));
    }

    #[test]
    fn what_needs_the_guest_is_refused_with_the_way_out() {
        for args in [&["img", "--install", "vim,nano"][..], &["--update", "img"], &["--run-command", "x"]] {
            let error = parse(args).unwrap().load(&Target::parse("no-such.img".into())).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("programs of the guest are never run"), "{error}");
            assert!(error.hint_text().unwrap().contains("--firstboot"), "{error}");
        }
    }

    #[test]
    fn lines_continue_and_comments_do_not_count() {
        let text = b"# all of it\n\n  touch /a\r\nwrite /b:one \\\n   two\\\n three\n#x\nlink a:b\\";
        let line = |number, name: &str, value: &str| Line { number, name: name.into(), value: value.into() };
        let wanted = [line(3, "touch", "/a"), line(4, "write", "/b:one twothree"), line(8, "link", "a:b")];
        assert_eq!(Line::all(text), wanted);
        let kind = |text: &str| Line::all(text.as_bytes())[0].name().unwrap_err().kind();
        for bad in ["nothing /a", "touch", "commands-from-file x"] {
            assert_eq!(kind(bad), ErrorKind::Usage, "{bad}");
        }
        assert_eq!(kind("install vim"), ErrorKind::Unsupported);
    }
}
