//! `nomount rm` and `nomount rmdir`.

use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::Result;
use nomount::ops::edit::{RemoveOptions, remove, remove_dir};
use nomount::sandbox::Access;
use std::ffi::OsString;

/// Remove files of a guest
///
/// Symbolic links are removed themselves, never what they lead to. Nothing is asked: -n shows what would go.
///
/// Example: nomount rm -rf disk.qcow2:/var/cache/apt
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; all removals are one commit
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Directories and all that is in them
    #[arg(long, short, visible_short_alias = 'R')]
    recursive: bool,
    /// What is not there needs no removing
    #[arg(long, short = 'f')]
    force: bool,
    /// Empty directories, too
    #[arg(long, short)]
    dir: bool,
    #[command(flatten)]
    pub edit: EditArgs,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.edit.access(&self.image)
    }
}

/// Runs `rm`.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let paths = target.guest_paths(&args.paths)?;
    let options = RemoveOptions { recursive: args.recursive, empty_dirs: args.dir, force: args.force };
    edit::run(&args.edit, &target, |editor| paths.iter().try_for_each(|path| remove(editor, path, options)))
}

/// Remove empty directories of a guest
///
/// Example: nomount rmdir disk.qcow2:/srv/empty
#[derive(Debug, clap::Args)]
pub struct DirArgs {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; all removals are one commit
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Then the directories that they are in, each of which must be empty, too
    #[arg(long, short)]
    parents: bool,
    #[command(flatten)]
    pub edit: EditArgs,
}

impl HostAccess for DirArgs {
    fn access(&self) -> Access {
        self.edit.access(&self.image)
    }
}

/// Runs `rmdir`.
pub fn run_dir(args: &DirArgs) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let paths = target.guest_paths(&args.paths)?;
    edit::run(&args.edit, &target, |editor| paths.iter().try_for_each(|path| remove_dir(editor, path, args.parents)))
}
