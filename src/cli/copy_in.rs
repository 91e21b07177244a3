//! `nomount copy-in`.

use super::copy_args::{IntoArgs, Local, into_dir, listener, more};
use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::ops::copy::{Copied, copy_in};
use nomount::sandbox::Access;
use nomount::tree::GuestPath;
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsString;

/// Copy files and directories of the host into a directory of a guest
///
/// The last argument is the directory, which must exist; everything before goes into it under its own name, directories
/// with all that is in them. Copies are root's, with mode 0644, or 0755 for directories and programs, unless --archive,
/// --preserve, --chown or --chmod say otherwise. What has the name already is replaced, a directory filled.
///
/// Example: nomount copy-in disk.qcow2 ./site ./motd /srv
///
/// Example: nomount copy-in --archive --chown www-data: disk.qcow2 ./site /srv
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image; with a path, that is the directory, and all arguments are to be copied
    #[arg(value_name = "IMAGE[@PARTITION][:/DIR]")]
    image: OsString,
    /// Files and directories of the host, then the directory in the guest
    #[arg(value_name = "LOCAL... DIR", required = true)]
    paths: Vec<OsString>,
    /// Make the directory if it is missing, and those on the way
    #[arg(long, short = 'D')]
    parents: bool,
    #[command(flatten)]
    into: IntoArgs,
    #[command(flatten)]
    pub edit: EditArgs,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let is_dir_named = Target::parse(self.image.clone()).path.is_some();
        let locals = self.paths.len().saturating_sub(usize::from(!is_dir_named));
        self.paths[..locals].iter().fold(self.edit.access(&self.image), |access, path| access.read(path))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let (locals, dir) = match (&target.path, &args.paths[..]) {
        (Some(dir), locals) => (locals, dir.clone()),
        (None, [locals @ .., dir]) if !locals.is_empty() => (locals, target.path_text(dir)),
        (None, _) => return Err(Error::new(ErrorKind::Usage, "files to copy and a directory of the guest are needed")),
    };
    let dir = GuestPath::parse(dir)?;
    let locals: Vec<Local> = locals.iter().map(|text| Local::find(text, false)).collect::<Result<_>>()?;
    let mut options = args.into.options();
    // As tar does, which other tools of this name call.
    options.keep.links = true;
    edit::run_telling(&args.edit, &target, |editor| {
        let dir = into_dir(editor, &dir, args.parents)?;
        let mut copied = Copied::default();
        for local in &locals {
            let to = local.name.name.as_ref().map_or(dir.clone(), |name| dir.join(name));
            let mut tree = local.tree(&target, options.keep);
            copied.add(copy_in(editor, &mut tree, &to, &options, &mut listener())?);
        }
        Ok(more(copied))
    })
}
