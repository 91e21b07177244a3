//! `nomount df`.

use super::bytes::{Rounding, short};
use super::sandbox::HostAccess;
use super::table::{columns, csv_line};
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::Result;
use nomount::disk::device_name;
use nomount::ops::volumes::{Survey, Surveyed, Usage, survey};
use nomount::sandbox::Access;
use nomount::session::redo_path;
use serde_json::{Value, json};
use std::ffi::OsString;

/// Show how full the filesystems of disks are
///
/// The numbers are those of df in the guest: sizes without the filesystem's own tables and journal, Available without
/// what is kept for root. The first partition of each disk is called /dev/sda1, whatever the guest calls it.
///
/// Example: nomount df -h disk.qcow2
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// The images
    #[arg(value_name = "IMAGE[@PARTITION]", required = true)]
    images: Vec<OsString>,
    #[command(flatten)]
    open: ImageArgs,
    /// Sizes with K, M, G, T (1024 each) instead of units of 1 KiB
    #[arg(long, short = 'h', conflicts_with = "csv")]
    human_readable: bool,
    /// Numbers of files instead of sizes
    #[arg(long, short)]
    inodes: bool,
    /// Comma-separated values
    #[arg(long)]
    csv: bool,
    /// Print the result as JSON, sizes in bytes
    #[arg(long)]
    pub json: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// How numbers are shown.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Sizes with units.
    pub human: bool,
    /// Numbers of files.
    pub inodes: bool,
    /// Percentages with a decimal and without their sign, which are not rounded up.
    pub csv: bool,
}

impl Form {
    /// The heads of the columns behind the name.
    pub fn heads(self) -> [&'static str; 4] {
        match (self.inodes, self.human) {
            (true, _) => ["Inodes", "IUsed", "IFree", "IUse%"],
            (false, true) => ["Size", "Used", "Available", "Use%"],
            (false, false) => ["1K-blocks", "Used", "Available", "Use%"],
        }
    }

    /// The columns behind the name.
    pub fn cells(self, usage: &Usage) -> [String; 4] {
        let (numbers, all, used) = if self.inodes {
            let numbers = [usage.inodes, usage.used_inodes(), usage.free_inodes];
            (numbers.map(|number| number.to_string()), usage.inodes, usage.used_inodes())
        } else {
            let size =
                |bytes: u64| if self.human { short(bytes, Rounding::Nearest) } else { (bytes / 1024).to_string() };
            ([usage.size, usage.used(), usage.available].map(size), usage.size, usage.used())
        };
        let percent = if all == 0 { 0.0 } else { 100.0 * used as f64 / all as f64 };
        let percent = if self.csv { format!("{percent:.1}") } else { format!("{:.0}%", percent.ceil()) };
        let [first, second, third] = numbers;
        [first, second, third, percent]
    }
}

/// The filesystems of a disk whose use can be told; why the others' cannot goes to standard error.
pub fn readable<'a>(disk: &'a Survey, failed: &mut bool) -> Vec<(&'a Surveyed, &'a Usage)> {
    let mut readable = Vec::new();
    for found in &disk.volumes {
        match &found.usage {
            Some(Ok(usage)) => readable.push((found, usage)),
            Some(Err(error)) => {
                *failed = true;
                ui::warning(&format!("{}, {}: {}", disk.image.display(), found.volume, error.chain()));
            }
            None if found.volume.content.is_filesystem() => {
                ui::note(&format!("{}, {}: cannot be read", disk.image.display(), found.volume));
            }
            None => {}
        }
    }
    readable
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.images.iter().fold(Access::none(), |access, image| access.and(self.open.reading(image)))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let mut disks = Vec::new();
    for image in &args.images {
        let target = Target::parse(image.clone());
        if redo_path(&target.image).exists() {
            ui::note("a commit of this image was interrupted: what is shown may be half of it, see `nomount recover`");
        }
        disks.push(survey(&target.image, &args.open.image_options(), args.open.choice(&target)?)?);
    }
    let form = Form { human: args.human_readable, inodes: args.inodes, csv: args.csv };
    let mut failed = false;
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for disk in &disks {
        for (found, usage) in readable(disk, &mut failed) {
            let device = device_name(0, found.volume.number());
            let image = disk.image.display().to_string();
            if args.json {
                documents.push(as_json(disk, found, usage));
                continue;
            }
            let names =
                if args.csv { vec![image, device] } else { vec![ui::safe(format!("{image}:{device}").as_bytes())] };
            rows.push([names, form.cells(usage).to_vec()].concat());
        }
    }
    let heads: &[&str] = if args.csv { &["Image", "Filesystem"] } else { &["Filesystem"] };
    rows.insert(0, heads.iter().chain(&form.heads()).map(|head| (*head).to_owned()).collect());
    let printed = if args.json {
        ui::json(json!({ "filesystems": documents }))
    } else if args.csv {
        ui::lines(rows.iter().map(csv_line))
    } else {
        ui::lines(columns(&right_aligned(rows), 2))
    };
    printed.map_err(ui::output_failed)?;
    Ok(if failed { exit::FAILED } else { exit::DONE })
}

/// Rows whose columns but the first are as wide as their widest cell, numbers to the right.
fn right_aligned(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let count = rows.first().map_or(0, Vec::len);
    for column in 1..count {
        let width = rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        rows.iter_mut().for_each(|row| row[column] = format!("{:>width$}", row[column]));
    }
    rows
}

fn as_json(disk: &Survey, found: &Surveyed, usage: &Usage) -> Value {
    json!({
        "image": disk.image.display().to_string(),
        "device": device_name(0, found.volume.number()),
        "partition": found.volume.number(),
        "type": found.volume.content.name(),
        "label": found.identity.label.as_deref().map(ui::bytes_json),
        "uuid": found.identity.uuid,
        "size": usage.size,
        "used": usage.used(),
        "free": usage.free,
        "available": usage.available,
        "inodes": usage.inodes,
        "used_inodes": usage.used_inodes(),
        "free_inodes": usage.free_inodes,
    })
}
