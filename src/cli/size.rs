//! `nomount size`, `nomount can-resize`, `nomount is-partitionless`.

use super::sandbox::HostAccess;
use super::target::{ContainerArgs, ImageArgs, Target};
use super::{bytes, exit, ui};
use nomount::Result;
use nomount::ops::resize::{DiskSize, Extendable, VolumeSize, can_resize, disk_size, is_extendable};
use nomount::sandbox::Access;
use serde_json::{Value, json};
use std::ffi::OsString;

/// Show how large a disk is, and how small its filesystems surely can become
///
/// Example: nomount size disk.qcow2
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    #[command(flatten)]
    open: ImageArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Tell whether a disk can be made that large
///
/// It can where that is more than it has. The exit code is 0 for yes and 1 for no.
///
/// Example: nomount can-resize disk.qcow2 40G
#[derive(Debug, clap::Args)]
pub struct CanResizeArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: OsString,
    /// Bytes, or a number with K, M, G or T
    #[arg(value_name = "SIZE", value_parser = |text: &str| bytes::parse(text, 1))]
    size: u64,
    #[command(flatten)]
    open: ContainerArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Tell whether a disk is one ext filesystem without a partition table
///
/// Such a disk can be grown as a whole. The exit code is 0 for yes and 1 for no; an image that cannot be opened is a no,
/// with the reason.
///
/// Example: nomount is-partitionless disk.raw
#[derive(Debug, clap::Args)]
pub struct IsPartitionlessArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: OsString,
    #[command(flatten)]
    open: ContainerArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs `nomount size`.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let size = disk_size(&target.image, &args.open.image_options(), args.open.choice(&target)?)?;
    if let Some(error) = &size.unreadable {
        ui::warning(&format!("what is on the disk cannot be looked at: {}", error.chain()));
    }
    let printed = if args.json { ui::json(as_json(&target, &size)) } else { ui::lines(as_text(&target, &size)) };
    printed.map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

fn name(volume: &VolumeSize) -> String {
    volume.volume.number().map_or("whole device".to_owned(), |number| format!("partition {number}"))
}

fn as_text(target: &Target, size: &DiskSize) -> Vec<String> {
    let amount = |bytes: u64| format!("{} ({bytes} bytes)", bytes::human(bytes));
    let mut lines = vec![
        format!("image: {}", target.image.display()),
        format!("format: {}", size.format.name()),
        format!("virtual size: {}", amount(size.virtual_size)),
        format!("on the host: {}", amount(size.host_bytes)),
    ];
    for volume in &size.volumes {
        let (name, content, len) = (name(volume), volume.volume.content, amount(volume.volume.len));
        lines.push(match &volume.filesystem {
            None => format!("{name}: {content}, {len}"),
            Some(Err(error)) => format!("{name}: {content}, {len}, cannot be read: {}", error.chain()),
            Some(Ok(filesystem)) => format!(
                "{name}: {content}, {len}, filesystem {}, can shrink to {}",
                amount(filesystem.bytes),
                amount(filesystem.minimum)
            ),
        });
    }
    lines
}

fn as_json(target: &Target, size: &DiskSize) -> Value {
    let volumes = size.volumes.iter().map(|volume| {
        let filesystem = volume.filesystem.as_ref().map(|filesystem| match filesystem {
            Ok(filesystem) => json!({ "size": filesystem.bytes, "minimum_size": filesystem.minimum }),
            Err(error) => json!({ "error": error.chain() }),
        });
        json!({
            "partition": volume.volume.number(),
            "start": volume.volume.start,
            "size": volume.volume.len,
            "content": volume.volume.content.name(),
            "filesystem": filesystem,
        })
    });
    json!({
        "image": target.image.display().to_string(),
        "format": size.format.name(),
        "virtual_size": size.virtual_size,
        "actual_size": size.host_bytes,
        "volumes": volumes.collect::<Vec<_>>(),
        "unreadable": size.unreadable.as_ref().map(|error| error.chain()),
    })
}

impl HostAccess for CanResizeArgs {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs `nomount can-resize`.
pub fn run_can_resize(args: &CanResizeArgs) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let can = can_resize(&target.image, args.size, &args.open.image_options())?;
    let said = if args.json {
        ui::json(json!({ "image": target.image.display().to_string(), "size": args.size, "can_resize": can }))
    } else {
        let text = if can { "can be made" } else { "has so much already, and cannot be made" };
        ui::lines([format!("{}: {text} {}", target.image.display(), bytes::human(args.size))])
    };
    said.map_err(ui::output_failed)?;
    Ok(if can { exit::DONE } else { exit::FAILED })
}

impl HostAccess for IsPartitionlessArgs {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs `nomount is-partitionless`.
pub fn run_is_partitionless(args: &IsPartitionlessArgs) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let answer = is_extendable(&target.image, &args.open.image_options());
    let (yes, content, reason) = match &answer {
        Extendable::Yes(volume) => (true, Some(volume.content.name()), None),
        Extendable::No { reason } => (false, None, Some(reason)),
    };
    let said = if args.json {
        let image = target.image.display().to_string();
        ui::json(json!({ "image": image, "partitionless": yes, "content": content, "reason": reason }))
    } else {
        let text = match (content, reason) {
            (Some(content), _) => format!("yes, {content} on the whole disk"),
            (_, reason) => format!("no: {}", reason.map_or("", String::as_str)),
        };
        ui::lines([format!("{}: {text}", target.image.display())])
    };
    said.map_err(ui::output_failed)?;
    Ok(if yes { exit::DONE } else { exit::FAILED })
}
