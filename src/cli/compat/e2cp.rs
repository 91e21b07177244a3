//! `e2cp`.

use super::{Next, Stop, command_line, parse};
use clap::Parser;
use nomount::{Error, ErrorKind};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Copy files into an ext filesystem or out of it, as e2cp of e2tools
///
/// Without -p, -O, -G and -P copies in the filesystem are root's, with mode 0644, or 0755 for programs.
#[derive(Debug, Parser)]
#[command(name = "e2cp", version)]
#[command(after_help = "Example:\n  e2cp -p motd disk.img:/etc")]
struct Args {
    #[arg(short = '0', hide = true)]
    null: bool,
    #[arg(short = 'a', hide = true)]
    absolute: bool,
    /// Where to copy to
    #[arg(short, value_name = "DIR")]
    dir: Option<OsString>,
    /// Keep owner, mode and times
    #[arg(short)]
    preserve: bool,
    /// Mode of the copies, octal
    #[arg(short = 'P', value_name = "MODE")]
    permissions: Option<String>,
    /// Owner of the copies
    #[arg(short = 'O', value_name = "UID")]
    owner: Option<u32>,
    /// Group of the copies
    #[arg(short = 'G', value_name = "GID")]
    group: Option<u32>,
    #[arg(short, hide = true)]
    source: Option<OsString>,
    /// Nothing more is printed
    #[arg(short)]
    verbose: bool,
    /// Files, IMAGE:PATH or of the host, then where; `-` is standard input or output
    #[arg(value_name = "[IMAGE:]FILE")]
    files: Vec<OsString>,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (mut args, _) = parse::<Args>(arguments)?;
    let unsupported = |message: &str, hint: &str| -> Result<Next, Stop> {
        Err(Error::new(ErrorKind::Unsupported, message).hint(hint).into())
    };
    if args.null || args.absolute || args.files.is_empty() {
        let message = "names of files to copy are not read from standard input";
        return unsupported(message, "make a tar stream of them: nomount tar-in IMAGE - DIR");
    }
    if args.source.is_some() {
        return unsupported("-s: sources are named in full", "give IMAGE:PATH for each file");
    }
    args.files.extend(args.dir.take());
    let [sources @ .., to] = &args.files[..] else { unreachable!("one file is given at least") };
    if sources.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "files and where to copy them are needed").into());
    }
    let mut options = Vec::new();
    if args.preserve {
        options.push("--preserve".into());
    }
    if args.owner.is_some() || args.group.is_some() {
        let id = |id: Option<u32>| id.map(|id| id.to_string()).unwrap_or_default();
        options.push(format!("--chown={}:{}", id(args.owner), id(args.group)).into());
    }
    options.extend(args.permissions.map(|mode| format!("--chmod={mode}").into()));
    match (sources, to.as_os_str()) {
        // A file's contents, where `cp` would take or give a tar stream.
        ([source], to) if to == "-" && is_in_image(source) => {
            let (image, path) = super::image_and_path(source);
            Ok(command_line("cat", Vec::new(), [image, OsStr::from_bytes(&path).to_owned()]))
        }
        ([source], to) if source == "-" && is_in_image(to) => {
            let (image, path) = super::image_and_path(to);
            let path = OsStr::from_bytes(&path).to_owned();
            if options.is_empty() {
                return Ok(command_line("write", vec!["--quiet".into()], [image, path, "-".into()]));
            }
            unsupported("attributes are not given to what comes from standard input", "use `nomount chown` and `chmod`")
        }
        (sources, to) => {
            options.extend(["--follow-link".into(), "--quiet".into()]);
            let full = |file: &OsStr| {
                if !is_in_image(file) {
                    return file.to_owned();
                }
                let (mut image, path) = super::image_and_path(file);
                image.push(":");
                image.push(OsStr::from_bytes(&path));
                image
            };
            let files: Vec<OsString> = sources.iter().map(|source| full(source)).chain([full(to)]).collect();
            Ok(command_line("cp", options, files))
        }
    }
}

fn is_in_image(file: &OsStr) -> bool {
    file.as_bytes().contains(&b':')
}
