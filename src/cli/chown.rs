//! `nomount chown`.

use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::Result;
use nomount::ops::Owner;
use nomount::ops::edit::chown;
use nomount::sandbox::Access;
use nomount::tree::Follow;
use std::ffi::OsString;

/// Change owner and group of files of a guest
///
/// Names are looked up in the guest's own passwd and group, never in the host's; numbers need neither. Files that change
/// hands lose set-id bits and capabilities, as with chown(2).
///
/// Example: nomount chown -R www-data:www-data disk.qcow2:/srv/www
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// USER, USER:GROUP, USER: (the user's own group) or :GROUP
    #[arg(value_name = "OWNER[:GROUP]", value_parser = |text: &str| Owner::parse(text))]
    owner: Owner,
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; all changes are one commit
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Directories and all that is below them; symbolic links change hands themselves and are not followed
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Change symbolic links themselves instead of following them inside the guest
    #[arg(long, short = 'h')]
    no_dereference: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
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
    let follow = if args.no_dereference { Follow::NotLast } else { Follow::Last };
    edit::run(&args.edit, &target, |editor| {
        paths.iter().try_for_each(|path| chown(editor, path, &args.owner, follow, args.recursive))
    })
}
