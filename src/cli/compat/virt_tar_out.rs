//! `virt-tar-out`.

use super::disks::{Disks, Mounts};
use super::{Next, Stop, command_line, parse};
use clap::Parser;
use std::ffi::OsString;

/// Write a directory of a guest as a tar file, as virt-tar-out of libguestfs
#[derive(Debug, Parser)]
#[command(name = "virt-tar-out", version, disable_help_flag = true)]
#[command(after_help = "Example:\n  virt-tar-out -a disk.qcow2 /home home.tar")]
struct Args {
    #[command(flatten)]
    disks: Disks,
    #[command(flatten)]
    mounts: Mounts,
    /// The directory in the guest
    #[arg(value_name = "DIR")]
    dir: OsString,
    /// The tar file, or `-` for standard output
    #[arg(value_name = "TAR|-")]
    tar: OsString,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (args, matches) = parse::<Args>(arguments)?;
    let image = args.disks.image(&matches, &mut Vec::new(), 0)?;
    // The name of the file says nothing of compression there.
    let options = [image.arguments(), args.mounts.arguments()?, vec!["--compress=none".into()]].concat();
    Ok(command_line("tar-out", options, [image.path.into_os_string(), args.dir, args.tar]))
}
