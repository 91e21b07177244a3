//! `nomount info`.

use super::sandbox::HostAccess;
use super::target::{ImageArgs, Target};
use super::{bytes, exit, map, ui};
use nomount::disk::{Choice, Layout, Volume};
use nomount::image::Image;
use nomount::ops::guest::{GuestInfo, RootVerdict, describe, looks_like_root};
use nomount::sandbox::Access;
use nomount::session::redo_path;
use nomount::tree::ExtTree;
use nomount::{Error, Result};
use nomount_block::{Budget, ReadAt, ReadOnly, Window};
use nomount_ext::{Filesystem, Options};
use serde_json::{Value, json};
use std::ffi::OsString;

/// Show what an image is and holds: container, partitions, filesystems with their features, the guest
///
/// A row of boxes shows the partitions in their order on the disk, and free space, as wide as they are large.
///
/// Example: nomount info disk.qcow2
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: OsString,
    #[command(flatten)]
    open: ImageArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// A volume and what was found in it.
struct Found {
    volume: Volume,
    filesystem: Option<Result<nomount_ext::Info>>,
    guest: Option<GuestInfo>,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let named = |error: Error| error.in_image(&target.image);
    let choice = args.open.choice(&target)?;
    let options = args.open.image_options();
    let image = Image::open(&target.image, &options)?;
    if redo_path(&target.image).exists() {
        ui::note("a commit of this image was interrupted: what is shown may be half of it, see `nomount recover`");
    }
    let layout = Layout::read(&image.device, choice).map_err(named)?;
    let wanted = match choice {
        Choice::Number(number) => Some(layout.partition(number).map_err(named)?.number()),
        _ => None,
    };
    let chosen = layout.volumes.iter().filter(|volume| wanted.is_none_or(|number| volume.number() == number));
    let found: Vec<Found> = chosen.map(|volume| look(&image.device, volume, &options.memory)).collect();
    let printed = if args.json {
        ui::json(as_json(&image, &layout, &found))
    } else {
        ui::lines(as_text(&image, &layout, &found))
    };
    printed.map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

fn look(device: &dyn ReadAt, volume: &Volume, memory: &Budget) -> Found {
    let mut found = Found { volume: volume.clone(), filesystem: None, guest: None };
    if volume.content.is_ext() {
        let opened = Window::new(ReadOnly(device), volume.start, volume.len)
            .map_err(Error::from)
            .and_then(|window| Ok(Filesystem::open_within(window, Options::default(), memory)?));
        found.filesystem = Some(opened.map(|fs| {
            let info = fs.info();
            let tree = ExtTree::new(fs);
            found.guest = matches!(looks_like_root(&tree), RootVerdict::Root(_)).then(|| describe(&tree));
            info
        }));
    }
    found
}

fn uuid(bytes: &[u8; 16]) -> String {
    let hex = ui::hex(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn as_text(image: &Image, layout: &Layout, found: &[Found]) -> Vec<String> {
    let size = image.device.len();
    let mut lines = vec![
        format!("image: {}", image.path.display()),
        format!("format: {}", image.format.name()),
        format!("virtual size: {} ({size} bytes)", bytes::human(size)),
        format!("on the host: {}", bytes::human(image.host_bytes)),
    ];
    if let Some(info) = &image.qcow2 {
        let compat = if info.version == 2 { "0.10" } else { "1.1" };
        lines.push(format!(
            "qcow2: compat {compat}, clusters of {} bytes, {} snapshots",
            info.cluster_size(),
            info.snapshots.len()
        ));
    }
    lines.extend(image.chain.iter().map(|path| format!("backing file: {}", path.display())));
    match &layout.table {
        Some(table) => {
            lines.push(format!(
                "partition table: {}, id {}, sectors of {} bytes",
                table.scheme, table.disk_id, table.sector_size
            ));
            lines.extend(table.notes.iter().map(|note| format!("note: {note}")));
            lines.extend(map::draw(&layout.volumes, size, ui::width().unwrap_or(map::PLAIN_WIDTH)));
        }
        None => lines.push("partition table: none".to_owned()),
    }
    found.iter().for_each(|found| volume_text(found, &mut lines));
    lines
}

fn volume_text(found: &Found, lines: &mut Vec<String>) {
    let volume = &found.volume;
    let name = match &volume.partition {
        Some(partition) => {
            let name = if partition.name.is_empty() {
                String::new()
            } else {
                format!(" \"{}\"", ui::safe(partition.name.as_bytes()))
            };
            format!("partition {}{name}", partition.number)
        }
        None => "whole device".to_owned(),
    };
    lines.push(format!("{name}: {}, {} at byte {}", volume.content, bytes::human(volume.len), volume.start));
    match &found.filesystem {
        None => {}
        Some(Err(error)) => lines.push(format!("    cannot be opened: {}", error.message())),
        Some(Ok(info)) => {
            let state = match (info.needs_recovery, info.clean) {
                (true, _) => "journal to be replayed",
                (false, true) => "clean",
                (false, false) => "not cleanly unmounted",
            };
            if !info.label.is_empty() {
                lines.push(format!("    label: {}", ui::safe(&info.label)));
            }
            lines.push(format!("    uuid: {}", uuid(&info.uuid)));
            lines.push(format!(
                "    {} of {} blocks of {} bytes free, {} of {} inodes free, {state}",
                info.free_blocks, info.blocks, info.block_size, info.free_inodes, info.inodes
            ));
            lines.push(format!("    features: {}", info.features.names().join(" ")));
        }
    }
    if let Some(guest) = &found.guest {
        let name = guest.os.as_ref().and_then(|os| os.pretty_name.clone());
        lines.push(format!(
            "    guest: {}",
            ui::safe(name.unwrap_or_else(|| "an unnamed system".to_owned()).as_bytes())
        ));
        let facts = [
            guest.hostname.as_ref().map(|name| format!("hostname {}", ui::safe(name.as_bytes()))),
            guest.architecture.map(str::to_owned),
            guest.package_manager.map(str::to_owned),
        ];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        if !facts.is_empty() {
            lines.push(format!("    {}", facts.join(", ")));
        }
    }
}

fn as_json(image: &Image, layout: &Layout, found: &[Found]) -> Value {
    let chain: Vec<String> = image.chain.iter().map(|path| path.display().to_string()).collect();
    json!({
        "image": image.path.display().to_string(),
        "format": image.format.name(),
        "virtual_size": image.device.len(),
        "host_bytes": image.host_bytes,
        "qcow2": image.qcow2.as_ref().map(|info| json!({
            "version": info.version,
            "cluster_size": info.cluster_size(),
            "refcount_bits": info.refcount_bits,
            "extended_l2": info.extended_l2,
            "lazy_refcounts": info.lazy_refcounts,
            "snapshots": info.snapshots.iter().map(|snapshot| ui::bytes_json(&snapshot.name)).collect::<Vec<_>>(),
        })),
        "backing_chain": chain,
        "unfinished_commit": redo_path(&image.path).exists(),
        "partition_table": layout.table.as_ref().map(|table| json!({
            "type": table.scheme.to_string().to_lowercase(),
            "id": table.disk_id.to_string(),
            "sector_size": table.sector_size,
            "notes": table.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })),
        "volumes": found.iter().map(volume_json).collect::<Vec<_>>(),
    })
}

fn volume_json(found: &Found) -> Value {
    let volume = &found.volume;
    json!({
        "partition": volume.partition.as_ref().map(|partition| json!({
            "number": partition.number,
            "type": partition.type_id.to_string(),
            "name": partition.name,
            "partuuid": partition.partuuid,
            "bootable": partition.bootable,
        })),
        "start": volume.start,
        "size": volume.len,
        "content": volume.content.name(),
        "filesystem": found.filesystem.as_ref().map(|filesystem| match filesystem {
            Err(error) => json!({ "error": error.message() }),
            Ok(info) => json!({
                "type": info.kind.name(),
                "label": ui::bytes_json(&info.label),
                "uuid": uuid(&info.uuid),
                "block_size": info.block_size,
                "blocks": info.blocks,
                "free_blocks": info.free_blocks,
                "inodes": info.inodes,
                "free_inodes": info.free_inodes,
                "features": info.features.names(),
                "clean": info.clean,
                "needs_recovery": info.needs_recovery,
            }),
        }),
        "guest": found.guest,
    })
}
