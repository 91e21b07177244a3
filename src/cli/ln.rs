//! `nomount ln`.

use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::ops::Editor;
use nomount::ops::edit::{LinkOptions, hard_link, symlink};
use nomount::sandbox::Access;
use nomount::tree::{FileKind, GuestPath, find};
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsString;

/// Make links in a guest: other names for a file, or with -s symbolic links
///
/// The image is named by the last argument or by the first: `ln -s TARGET IMAGE:/link` or `ln -s IMAGE TARGET /link`. A
/// link into a directory has the name of its target. What a symbolic link is to say is taken as it is.
///
/// Example: nomount ln -s ../run/resolv.conf disk.qcow2:/etc/resolv.conf.new
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Targets, then the link or the directory for the links; one of the ends names the image
    #[arg(value_name = "TARGET|IMAGE:/PATH", required = true, num_args = 2..)]
    arguments: Vec<OsString>,
    /// Symbolic links
    #[arg(long, short)]
    symbolic: bool,
    /// Remove what has the name of the link already, unless it is a directory
    #[arg(long, short = 'f')]
    force: bool,
    /// The last path is the name of the link, also where a directory has it
    #[arg(long, short = 'T')]
    no_target_directory: bool,
    /// The same where a symbolic link to a directory has it
    #[arg(long, short = 'n')]
    no_dereference: bool,
    #[command(flatten)]
    pub edit: EditArgs,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.edit.access_to(&split(&self.arguments).0)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let (target, mut texts) = split(&args.arguments);
    let destination = texts.pop().filter(|_| !texts.is_empty());
    let destination = destination.ok_or_else(|| {
        Error::new(ErrorKind::Usage, "an image, a target and a link are needed")
            .hint("ln -s TARGET IMAGE:/link, or ln -s IMAGE TARGET /link")
    })?;
    let destination = GuestPath::parse(destination)?;
    let options =
        LinkOptions { force: args.force, no_target_dir: args.no_target_directory, no_dereference: args.no_dereference };
    let old: Vec<GuestPath> = match args.symbolic {
        true => Vec::new(),
        false => texts.iter().map(GuestPath::parse).collect::<Result<_>>()?,
    };
    edit::run(&args.edit, &target, |editor| {
        must_be_directory(editor, &destination, texts.len())?;
        if args.symbolic {
            texts.iter().try_for_each(|text| symlink(editor, text, &destination, options))
        } else {
            old.iter().try_for_each(|old| hard_link(editor, old, &destination, options))
        }
    })
}

/// Several links need a directory: each would replace the one before, or fail with a message about that one.
fn must_be_directory(editor: &Editor<'_>, destination: &GuestPath, links: usize) -> Result<()> {
    let found = find(editor.tree(), destination)?.and_then(|found| found.stat);
    if links > 1 && found.is_none_or(|stat| stat.kind != FileKind::Dir) {
        let error = Error::new(ErrorKind::NotADirectory, "several links can only be made in a directory");
        return Err(error.at_path(destination.to_bytes()));
    }
    Ok(())
}

/// The image, and what the arguments say beside it: the last one names it if that is a path in an image that exists.
fn split(arguments: &[OsString]) -> (Target, Vec<Vec<u8>>) {
    let (last, before) = arguments.split_last().expect("two arguments are required");
    let named = Target::parse(last.clone());
    if named.image.is_file()
        && let Some(path) = named.path.clone()
    {
        let mut texts: Vec<Vec<u8>> = before.iter().map(|argument| named.path_text(argument)).collect();
        texts.push(path);
        return (named, texts);
    }
    let target = Target::parse(arguments[0].clone());
    // With no path in the image the first text is the next argument's.
    let texts = target.path_texts(&arguments[1..]).unwrap_or_default();
    (target, texts)
}
