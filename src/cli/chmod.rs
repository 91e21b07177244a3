//! `nomount chmod`.

use super::edit::{self, EditArgs};
use super::sandbox::HostAccess;
use super::target::Target;
use nomount::Result;
use nomount::ops::edit::{ModeChange, chmod};
use nomount::sandbox::Access;
use std::ffi::OsString;

/// Change permission bits of files of a guest
///
/// MODE is what chmod(1) takes: octal (0644, 4755), or symbolic (u+x, go-w, a=rX, g=u, +t). Without u, g, o or a, a
/// symbolic mode leaves w for group and others alone, as with umask 022. A directory keeps its set-id bits unless they
/// are named or an octal mode has five digits. Symbolic links are followed inside the guest; those met by -R are not.
///
/// Example: nomount chmod -R u=rwX,go=rX disk.qcow2:/srv/www
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Octal or symbolic mode
    #[arg(value_name = "MODE", allow_hyphen_values = true, value_parser = ModeChange::parse)]
    mode: ModeChange,
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; all changes are one commit
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Directories and all that is below them
    #[arg(long, short = 'R')]
    recursive: bool,
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
        paths.iter().try_for_each(|path| chmod(editor, path, &args.mode, args.recursive))
    })
}
