//! `virt-tar-in`.

use super::disks::{Disks, Mounts};
use super::{Next, Stop, command_line, parse};
use clap::Parser;
use std::ffi::OsString;

/// Unpack a tar file into a directory of a guest, as virt-tar-in of libguestfs
///
/// gzip, xz and zstd are recognised, too.
#[derive(Debug, Parser)]
#[command(name = "virt-tar-in", version, disable_help_flag = true)]
#[command(after_help = "Example:\n  virt-tar-in -a disk.qcow2 site.tar /srv")]
struct Args {
    #[command(flatten)]
    disks: Disks,
    #[command(flatten)]
    mounts: Mounts,
    /// The tar file, or `-` for standard input
    #[arg(value_name = "TAR|-")]
    tar: OsString,
    /// The directory in the guest, which must exist
    #[arg(value_name = "DIR")]
    dir: OsString,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (args, matches) = parse::<Args>(arguments)?;
    let image = args.disks.image(&matches, &mut Vec::new(), 0)?;
    let options = [image.arguments(), args.mounts.arguments()?, vec!["--quiet".into()]].concat();
    Ok(command_line("tar-in", options, [image.path.into_os_string(), args.tar, args.dir]))
}
