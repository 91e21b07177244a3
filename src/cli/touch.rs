//! `nomount touch`.

use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::{Target, now};
use super::time;
use nomount::ops::edit::{TouchOptions, touch};
use nomount::sandbox::Access;
use nomount::tree::{Follow, GuestPath, Time, existing};
use nomount::{Result, ops::Editor};
use std::ffi::OsString;

/// Set the times of files of a guest, and create those that are missing
///
/// Both times become now, or SOURCE_DATE_EPOCH. A new file is empty, root's, with mode 0644.
///
/// Example: nomount touch -d 2026-01-31T12:00:00Z disk.qcow2:/etc/stamp
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; all changes are one commit
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Only the time of the last access
    #[arg(short = 'a')]
    access: bool,
    /// Only the time of the last change of contents
    #[arg(short = 'm')]
    modification: bool,
    /// Do not create what is missing
    #[arg(long, short = 'c')]
    no_create: bool,
    /// This time instead of now: @SECONDS since 1970, or 2026-01-31, 2026-01-31T12:00:00Z (UTC), each with a fraction
    #[arg(long, short, value_name = "TIME", value_parser = time::parse, conflicts_with = "reference", allow_hyphen_values = true)]
    date: Option<Time>,
    /// The times of this file of the guest instead of now
    #[arg(long, short, value_name = "PATH")]
    reference: Option<OsString>,
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
    let reference = args.reference.as_ref().map(|path| GuestPath::parse(target.path_text(path))).transpose()?;
    let now = now()?;
    let follow = if args.no_dereference { Follow::NotLast } else { Follow::Last };
    edit::run(&args.edit, &target, |editor| {
        let (atime, mtime) = times(args, editor, reference.as_ref(), now, follow)?;
        let both = args.access == args.modification;
        let options = TouchOptions {
            atime: (both || args.access).then_some(atime),
            mtime: (both || args.modification).then_some(mtime),
            no_create: args.no_create,
            follow,
        };
        paths.iter().try_for_each(|path| touch(editor, path, options))
    })
}

fn times(
    args: &Args,
    editor: &Editor<'_>,
    reference: Option<&GuestPath>,
    now: Time,
    follow: Follow,
) -> Result<(Time, Time)> {
    match reference {
        Some(path) => existing(editor.tree(), path, follow).map(|(_, stat)| (stat.atime, stat.mtime)),
        None => Ok((args.date.unwrap_or(now), args.date.unwrap_or(now))),
    }
}
