//! `nomount mv`.

use super::copy_args::{contents_only, listener};
use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::ops::edit::{RenameOptions, rename};
use nomount::sandbox::Access;
use nomount::tree::GuestPath;
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

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.edit.access(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let texts = target.path_texts(&args.paths)?;
    let Some((destination, sources)) = texts.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        return Err(Error::new(ErrorKind::Usage, "no path to move to is given"));
    };
    let options = RenameOptions {
        no_target_dir: args.no_target_directory,
        dir_only: destination.ends_with(b"/") || contents_only(destination),
        no_clobber: args.no_clobber,
    };
    let destination = GuestPath::parse(destination)?;
    let paths = sources.iter().map(GuestPath::parse).collect::<Result<Vec<GuestPath>>>()?;
    edit::run_telling(&args.edit, &target, |editor| {
        rename(editor, &paths, &destination, options, &mut listener()).map(Into::into)
    })
}
