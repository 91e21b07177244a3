//! `virt-copy-out`.

use super::disks::{Disks, Mounts};
use super::{Next, Stop, command_line, parse};
use clap::Parser;
use std::ffi::OsString;

/// Copy files and directories of a guest into a directory of the host, as virt-copy-out of libguestfs
#[derive(Debug, Parser)]
#[command(name = "virt-copy-out", version, disable_help_flag = true)]
#[command(after_help = "Example:\n  virt-copy-out -a disk.qcow2 /var/log /etc/fstab ./out")]
struct Args {
    #[command(flatten)]
    disks: Disks,
    #[command(flatten)]
    mounts: Mounts,
    /// Files and directories of the guest, then the directory of the host, which must exist
    #[arg(value_name = "PATH... LOCALDIR", required = true, num_args = 2..)]
    paths: Vec<OsString>,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (mut args, matches) = parse::<Args>(arguments)?;
    let image = args.disks.image(&matches, &mut Vec::new(), 0)?;
    let options = [image.arguments(), args.mounts.arguments()?, vec!["--preserve=timestamps".into()]].concat();
    let paths = std::mem::take(&mut args.paths);
    Ok(command_line("copy-out", options, std::iter::once(image.path.into_os_string()).chain(paths)))
}
