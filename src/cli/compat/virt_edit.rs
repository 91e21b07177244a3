//! `virt-edit`.

use super::disks::{Disks, Mounts};
use super::{Next, Stop, command_line, parse};
use clap::Parser;
use nomount::{Error, ErrorKind};
use std::ffi::OsString;

/// Edit a file of a guest in your editor, or with an expression, as virt-edit of libguestfs
///
/// Expressions are those of `nomount edit`: Perl's s/// is understood where sed means the same by it.
#[derive(Debug, Parser)]
#[command(name = "virt-edit", version, disable_help_flag = true)]
#[command(after_help = "Example:\n  virt-edit -a disk.qcow2 -e 's/^root:.*?:/root::/' /etc/passwd")]
struct Args {
    #[command(flatten)]
    disks: Disks,
    #[command(flatten)]
    mounts: Mounts,
    /// Keep the old text beside the file, under its name and this suffix
    #[arg(short = 'b', long, value_name = "SUFFIX", allow_hyphen_values = true)]
    backup: Option<OsString>,
    /// What to do to the text, in place of an editor
    #[arg(short = 'e', long = "edit", visible_alias = "expr", value_name = "EXPR", allow_hyphen_values = true)]
    expression: Vec<OsString>,
    /// The file; without -a the image, then the file
    #[arg(value_name = "FILE", required = true)]
    files: Vec<OsString>,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (mut args, matches) = parse::<Args>(arguments)?;
    let image = args.disks.image(&matches, &mut args.files, 1)?;
    let [file] = &args.files[..] else {
        let error = Error::new(ErrorKind::Unsupported, "several files are given: one is edited at a time");
        return Err(error.hint("run it once for each").into());
    };
    let mut options = [image.arguments(), args.mounts.arguments()?, vec!["--quiet".into()]].concat();
    let with = |name: &str, value: OsString| {
        let mut option = OsString::from(name);
        option.push(value);
        option
    };
    options.extend(args.backup.map(|suffix| with("--backup=", suffix)));
    options.extend(args.expression.into_iter().map(|expression| with("--expression=", expression)));
    Ok(command_line("edit", options, [image.path.into_os_string(), file.clone()]))
}
