//! `virt-filesystems`.

use super::disks::{Disks, Image};
use super::{Next, Stop, parse};
use crate::cli::filesystems::Shown;
use crate::cli::{exit, ui};
use clap::Parser;
use nomount::disk::{Choice, Content};
use nomount::ops::volumes::{Survey, items, survey};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result as Outcome};
use std::ffi::OsString;

/// List filesystems, partitions and disks of a guest, as virt-filesystems of libguestfs
#[derive(Debug, Parser)]
#[command(name = "virt-filesystems", version, disable_help_flag = true)]
#[command(after_help = "Example:\n  virt-filesystems -a disk.qcow2 --all --long --uuid -h")]
struct Args {
    #[command(flatten)]
    disks: Disks,
    #[command(flatten)]
    shown: Shown,
    /// Logical volumes of LVM: an error where the disk has any
    #[arg(long, visible_aliases = ["lvs", "logvols"])]
    logical_volumes: bool,
    /// Volume groups of LVM: an error where the disk has any
    #[arg(long, visible_aliases = ["vgs", "volgroups"])]
    volume_groups: bool,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (args, matches) = parse::<Args>(arguments)?;
    let images = args.disks.images(&matches, &mut Vec::new(), 0)?;
    let access = images.iter().fold(Access::none(), |access, image| access.and(image.access()));
    Ok(Next::Work(access, Box::new(move || report(&args, &images))))
}

fn report(args: &Args, images: &[Image]) -> Outcome<u8> {
    let disks = images.iter().map(|image| survey(&image.path, &image.options(), Choice::Auto));
    let disks = disks.collect::<Outcome<Vec<_>>>()?;
    let has_lvm = |disk: &Survey| disk.volumes.iter().any(|found| found.volume.content == Content::Lvm);
    let lvm = disks.iter().find(|disk| has_lvm(disk));
    let asked = args.logical_volumes || args.volume_groups;
    if let Some(disk) = lvm {
        let message = "volume groups and logical volumes of LVM are not looked into";
        if asked {
            return Err(Error::new(ErrorKind::Unsupported, message).in_image(&disk.image));
        }
        ui::note(message);
    }
    // Only these, of which there is none.
    if asked && args.shown.chooses_nothing() {
        return Ok(exit::DONE);
    }
    args.shown.print(&items(&disks, args.shown.selection())).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}
