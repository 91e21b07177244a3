//! `virt-df`.

use super::disks::{Disks, Image};
use super::{Next, Stop, parse};
use crate::cli::df::{Form, readable};
use crate::cli::table::csv_line;
use crate::cli::{exit, ui};
use clap::Parser;
use nomount::Result as Outcome;
use nomount::disk::{Choice, device_name};
use nomount::ops::volumes::survey;
use nomount::sandbox::Access;
use std::ffi::OsString;

/// Show how full the filesystems of a guest's disks are, as virt-df of libguestfs
#[derive(Debug, Parser)]
#[command(name = "virt-df", version, disable_help_flag = true)]
#[command(after_help = "Example:\n  virt-df -h -a disk.qcow2")]
struct Args {
    #[command(flatten)]
    disks: Disks,
    /// Comma-separated values
    #[arg(long)]
    csv: bool,
    /// Sizes with K, M, G, T instead of units of 1 KiB
    #[arg(short = 'h', long = "human-readable", conflicts_with = "csv")]
    human: bool,
    /// Numbers of files instead of sizes
    #[arg(short = 'i', long)]
    inodes: bool,
    /// UUIDs of machines, which image files do not have: their names are printed
    #[arg(long)]
    uuid: bool,
    /// How many machines are looked at at once: there is one
    #[arg(short = 'P', value_name = "N")]
    threads: Option<u32>,
    /// Does nothing, as there
    #[arg(long)]
    one_per_guest: bool,
    /// The disks, without -a
    #[arg(value_name = "IMAGE")]
    images: Vec<OsString>,
}

/// Columns of the name, in text.
const NAME_WIDTH: usize = 36;

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (mut args, matches) = parse::<Args>(arguments)?;
    let images = args.disks.images(&matches, &mut args.images, 0)?;
    let access = images.iter().fold(Access::none(), |access, image| access.and(image.access()));
    Ok(Next::Work(access, Box::new(move || report(&args, &images))))
}

fn report(args: &Args, images: &[Image]) -> Outcome<u8> {
    let disks = images.iter().map(|image| survey(&image.path, &image.options(), Choice::Auto));
    let disks = disks.collect::<Outcome<Vec<_>>>()?;
    let form = Form { human: args.human, inodes: args.inodes, csv: args.csv };
    // The first disk names the machine, with a plus for each more.
    let first = images.first().and_then(|image| image.path.file_name()).unwrap_or_default();
    let machine = format!("{}{}", first.to_string_lossy(), "+".repeat(images.len().saturating_sub(1)));
    let heads = form.heads().map(str::to_owned);
    let mut lines = vec![match args.csv {
        true => csv_line(["VirtualMachine".to_owned(), "Filesystem".to_owned()].into_iter().chain(heads)),
        false => format!("{:NAME_WIDTH$}{}", "Filesystem", numbers(&heads)),
    }];
    let mut failed = false;
    for (number, disk) in disks.iter().enumerate() {
        for (found, usage) in readable(disk, &mut failed) {
            let device = device_name(number, found.volume.number());
            let cells = form.cells(usage);
            if args.csv {
                lines.push(csv_line([machine.clone(), device].into_iter().chain(cells)));
                continue;
            }
            let name = ui::safe(format!("{machine}:{device}").as_bytes());
            if name.chars().count() > NAME_WIDTH {
                lines.push(name);
                lines.push(format!("{:NAME_WIDTH$}{}", "", numbers(&cells)));
            } else {
                lines.push(format!("{name:NAME_WIDTH$}{}", numbers(&cells)));
            }
        }
    }
    ui::lines(lines).map_err(ui::output_failed)?;
    Ok(if failed { exit::FAILED } else { exit::DONE })
}

/// The columns behind the name.
fn numbers(cells: &[String; 4]) -> String {
    let [size, used, available, percent] = cells;
    format!("{size:>10} {used:>10} {available:>10} {percent:>5}")
}
