//! `virt-cat`.

use super::disks::{Disks, Mounts};
use super::{Next, Stop, command_line, parse};
use clap::Parser;
use std::ffi::OsString;

/// Print files of a guest, as virt-cat of libguestfs
#[derive(Debug, Parser)]
#[command(name = "virt-cat", version, disable_help_flag = true)]
#[command(after_help = "Example:\n  virt-cat -a disk.qcow2 /etc/os-release")]
struct Args {
    #[command(flatten)]
    disks: Disks,
    #[command(flatten)]
    mounts: Mounts,
    /// Files of the guest; without -a the image, then one file
    #[arg(value_name = "FILE", required = true)]
    files: Vec<OsString>,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (mut args, matches) = parse::<Args>(arguments)?;
    let image = args.disks.image(&matches, &mut args.files, 1)?;
    let options = [image.arguments(), args.mounts.arguments()?].concat();
    Ok(command_line("cat", options, std::iter::once(image.path.into_os_string()).chain(args.files)))
}
