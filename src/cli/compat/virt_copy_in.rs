//! `virt-copy-in`.

use super::disks::{Disks, Mounts};
use super::{Next, Stop, command_line, parse};
use clap::Parser;
use std::ffi::OsString;

/// Copy files and directories of the host into a directory of a guest, as virt-copy-in of libguestfs
///
/// Copies keep their modes and times, and are root's: owners of the host mean others in a guest.
#[derive(Debug, Parser)]
#[command(name = "virt-copy-in", version, disable_help_flag = true)]
#[command(after_help = "Example:\n  virt-copy-in -a disk.qcow2 ./site ./motd /srv")]
struct Args {
    #[command(flatten)]
    disks: Disks,
    #[command(flatten)]
    mounts: Mounts,
    /// Files and directories of the host, then the directory in the guest, which must exist
    #[arg(value_name = "LOCAL... DIR", required = true, num_args = 2..)]
    paths: Vec<OsString>,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (mut args, matches) = parse::<Args>(arguments)?;
    let image = args.disks.image(&matches, &mut Vec::new(), 0)?;
    let options =
        [image.arguments(), args.mounts.arguments()?, vec!["--preserve=mode,timestamps".into(), "--quiet".into()]]
            .concat();
    let paths = std::mem::take(&mut args.paths);
    Ok(command_line("copy-in", options, std::iter::once(image.path.into_os_string()).chain(paths)))
}
