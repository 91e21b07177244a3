//! `nomount mkdir`.

use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::Result;
use nomount::ops::edit::{ModeChange, make_dir};
use nomount::sandbox::Access;
use std::ffi::OsString;

/// Make directories in a guest
///
/// They are root's with mode 0755; in a set-gid directory they get its group and that bit.
///
/// Example: nomount mkdir -p disk.qcow2:/srv/www/html
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; all directories are one commit
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Make missing directories on the way, too, and take one that exists for made
    #[arg(long, short)]
    parents: bool,
    /// Mode of the directories named, octal or symbolic
    #[arg(long, short, value_name = "MODE", allow_hyphen_values = true, value_parser = ModeChange::parse)]
    mode: Option<ModeChange>,
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
    let paths = target.guest_paths(&args.paths)?;
    edit::run(&args.edit, &target, |editor| {
        paths.iter().try_for_each(|path| make_dir(editor, path, args.mode.as_ref(), args.parents))
    })
}
