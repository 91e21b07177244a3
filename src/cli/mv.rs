//! `nomount mv`.

use super::copy_args::listener;
use super::edit::{self, EditArgs};
use super::target::Target;
use nomount::ops::edit::{RenameOptions, rename};
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsString;

/// Rename files of a guest, or move them into a directory
///
/// The last path is the new name, or the directory to move into. What has the new name already is replaced, a directory
/// only if it is empty. Into another filesystem of the guest, such as a /boot of its own, files are copied with all that
/// they have, and removed.
///
/// Example: nomount mv disk.qcow2:/etc/motd /etc/motd.old
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without the first path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest, at least two with that of the image; all moves are one commit
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// The last path is the new name, also where a directory has it
    #[arg(long, short = 'T')]
    no_target_directory: bool,
    /// Leave alone what has the new name already
    #[arg(long, short = 'n')]
    no_clobber: bool,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let mut paths = target.guest_paths(&args.paths)?;
    let destination = paths.pop().filter(|_| !paths.is_empty());
    let destination = destination.ok_or_else(|| Error::new(ErrorKind::Usage, "no path to move to is given"))?;
    let options = RenameOptions { no_target_dir: args.no_target_directory, no_clobber: args.no_clobber };
    edit::run_telling(&args.edit, &target, |editor| {
        rename(editor, &paths, &destination, options, &mut listener()).map(Into::into)
    })
}
