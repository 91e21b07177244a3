//! `nomount write` and `nomount append`.

use super::edit::{self, EditArgs};
use super::host_file;
use super::sandbox::{HostAccess, read_file};
use super::target::Target;
use nomount::ops::Editor;
use nomount::ops::edit::{append, file_path, write};
use nomount::sandbox::Access;
use nomount::tree::GuestPath;
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::path::Path;

/// What both commands take.
#[derive(Debug, clap::Args)]
struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// The path in the guest, where the image has none, then a file of the host; `-`, or no file, is standard input
    #[arg(value_name = "[PATH] [FILE|-]", num_args = 0..=2)]
    rest: Vec<OsString>,
    /// These very bytes; no line break is added
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<OsString>,
    #[command(flatten)]
    edit: EditArgs,
}

/// Replace the contents of a file of a guest
///
/// The contents are those of a file of the host, of standard input, or --text. A file that exists keeps its owner, mode,
/// extended attributes and other names, and symbolic links are followed inside the guest; a new one is root's with mode
/// 0644, in a directory that exists.
///
/// Example: nomount write disk.qcow2:/etc/hostname --text web1
#[derive(Debug, clap::Args)]
pub struct WriteArgs {
    #[command(flatten)]
    args: Args,
}

/// Add to the end of a file of a guest, and create it if it is missing
///
/// What is added is a file of the host, standard input, or --text. All else is as with `write`.
///
/// Example: echo '192.0.2.1 db' | nomount append disk.qcow2:/etc/hosts
#[derive(Debug, clap::Args)]
pub struct AppendArgs {
    #[command(flatten)]
    args: Args,
}

impl WriteArgs {
    /// Whether errors are to be told as JSON.
    pub fn json(&self) -> bool {
        self.args.edit.json
    }
}

impl AppendArgs {
    /// Whether errors are to be told as JSON.
    pub fn json(&self) -> bool {
        self.args.edit.json
    }
}

impl HostAccess for WriteArgs {
    fn access(&self) -> Access {
        self.args.access()
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let rest = self.rest.get(usize::from(Target::parse(self.image.clone()).path.is_none())..);
        self.edit.access(&self.image).and(read_file(rest.and_then(<[OsString]>::first)))
    }
}

/// Runs `write`.
pub fn run_write(args: &WriteArgs) -> Result<u8> {
    run(&args.args, write)
}

impl HostAccess for AppendArgs {
    fn access(&self) -> Access {
        self.args.access()
    }
}

/// Runs `append`.
pub fn run_append(args: &AppendArgs) -> Result<u8> {
    run(&args.args, append)
}

fn run(args: &Args, how: fn(&mut Editor<'_>, &GuestPath, &[u8]) -> Result<()>) -> Result<u8> {
    use std::os::unix::ffi::OsStrExt;

    let target = Target::parse(args.image.clone());
    let path_given = usize::from(target.path.is_none()).min(args.rest.len());
    let (path, file) = args.rest.split_at(path_given);
    let path = file_path(&target.path_texts(path)?[0])?;
    let contents = match (&args.text, file) {
        (Some(_), [_, ..]) => return Err(Error::new(ErrorKind::Usage, "both a file and --text are given")),
        (_, [_, _, ..]) => return Err(Error::new(ErrorKind::Usage, "the path is given twice")),
        (Some(text), []) => text.as_bytes().to_vec(),
        (None, [file]) if file != "-" => host_file::read(Path::new(file))?,
        (None, _) => host_file::standard_input("the contents")?,
    };
    edit::run(&args.edit, &target, |editor| how(editor, &path, &contents))
}
