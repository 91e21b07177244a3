//! `nomount grow`, `nomount shrink`, `nomount extend`.

use super::edit::parse_verify;
use super::output::Output;
use super::progress;
use super::sandbox::{HostAccess, search_folders};
use super::target::{self, ContainerArgs, DeviceArgs, ImageArgs, Target};
use super::{bytes, exit, ui};
use nomount::disk::Choice;
use nomount::image::{ImageOptions, folder_of};
use nomount::ops::resize::{
    Change, ExtendRequest, GrowRequest, GrowWith, NewSize, Resized, ShrinkRequest, ShrinkTo, extend, grow, shrink,
};
use nomount::sandbox::Access;
use nomount::session::Verify;
use nomount::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;

/// Options of every change of size.
#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    device: DeviceArgs,
    /// Say what would be done and write nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Check the filesystem as it would be before the commit
    #[arg(long, value_name = "auto|always|never", default_value = "auto", value_parser = parse_verify)]
    verify: Verify,
    /// Do not wait for the disk
    #[arg(long)]
    no_sync: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Grow a disk with what is on it, in place and in one commit
///
/// Container, partition table, partition and filesystem grow together. The last partition on the disk gets the room, or the one named with --expand; an extended partition grows with the
/// logical one in it. Without SIZE the disk stays as large as it is, and what is on it grows to its end. Whenever it is
/// interrupted, the image is the old one or the new one.
///
/// Example: nomount grow disk.qcow2 +10G
#[derive(Debug, clap::Args)]
pub struct GrowArgs {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    /// The new size, or with + how much more: a number of bytes, or with K, M, G or T
    #[arg(value_name = "[+]SIZE", value_parser = parse_size)]
    size: Option<NewSize>,
    /// The partition that grows: a number, or a device name that ends in one
    #[arg(long, value_name = "N", value_parser = parse_partition)]
    expand: Option<Choice>,
    /// Who grows the filesystem; auto is e2fsprogs where nomount cannot
    #[arg(long, value_name = "auto|native|e2fsprogs", default_value = "auto", value_parser = parse_with)]
    grow_with: GrowWith,
    /// Leave the filesystem as it is
    #[arg(long)]
    no_filesystem: bool,
    /// Leave the image alone and write a new one
    #[arg(long, short = 'o', value_name = "NEW", conflicts_with = "dry_run")]
    output: Option<PathBuf>,
    #[command(flatten)]
    open: ImageArgs,
    #[command(flatten)]
    common: Common,
}

/// Shrink a disk with what is on it, in place and in one commit
///
/// Filesystem, partition, partition table and container shrink together. The last partition on the disk gives the room, or the one named with --shrink. The filesystem is shrunk by resize2fs
/// on a copy; what cannot fit is refused before anything is touched.
///
/// Example: nomount shrink disk.qcow2 --minimum
#[derive(Debug, clap::Args)]
pub struct ShrinkArgs {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    /// The new size, or with - how much less: a number of bytes, or with K, M, G or T
    #[arg(value_name = "[-]SIZE", value_parser = parse_size, allow_hyphen_values = true)]
    size: Option<NewSize>,
    /// As small as the filesystem can be made
    #[arg(long, conflicts_with = "size", required_unless_present = "size")]
    minimum: bool,
    /// The partition that shrinks: a number, or a device name that ends in one
    #[arg(long, value_name = "N", value_parser = parse_partition)]
    shrink: Option<Choice>,
    /// Leave the image alone and write a new one
    #[arg(long, short = 'o', value_name = "NEW", conflicts_with = "dry_run")]
    output: Option<PathBuf>,
    #[command(flatten)]
    open: ImageArgs,
    #[command(flatten)]
    common: Common,
}

/// Make a disk larger as OpenStack Nova does
///
/// That is the container, and then an ext filesystem that is the whole disk. A disk that has the size, or more, stays as it is. The format must be named. A partition table is never touched, and
/// in containers other than raw the filesystem is not looked at without --filesystem. What was not done is said; it is
/// no failure.
///
/// Example: nomount extend --format raw disk.img 40G
#[derive(Debug, clap::Args)]
pub struct ExtendArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: OsString,
    /// The size: a number of bytes, or with K, M, G or T
    #[arg(value_name = "SIZE", value_parser = |text: &str| bytes::parse(text, 1))]
    size: u64,
    /// Grow the filesystem in other containers than raw, too
    #[arg(long)]
    filesystem: bool,
    /// Who grows the filesystem; auto is e2fsprogs where nomount cannot
    #[arg(long, value_name = "auto|native|e2fsprogs", default_value = "auto", value_parser = parse_with)]
    grow_with: GrowWith,
    #[command(flatten)]
    open: ContainerArgs,
    #[command(flatten)]
    common: Common,
}

fn parse_size(text: &str) -> Result<NewSize, String> {
    match text.as_bytes().first() {
        Some(b'+') => bytes::parse(&text[1..], 1).map(NewSize::Plus),
        Some(b'-') => bytes::parse(&text[1..], 1).map(NewSize::Minus),
        _ => bytes::parse(text, 1).map(NewSize::To),
    }
}

/// `2`, or `/dev/sda2` as other tools call it.
fn parse_partition(text: &str) -> Result<Choice, String> {
    let name = text.strip_prefix("/dev/").unwrap_or(text);
    let digits = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let number = if text.starts_with("/dev/") { digits } else { text };
    match Choice::parse(number) {
        Ok(choice @ Choice::Number(_)) => Ok(choice),
        _ => Err(format!("{text:?}: the number of a partition is needed")),
    }
}

fn parse_with(text: &str) -> Result<GrowWith, String> {
    match text {
        "auto" => Ok(GrowWith::Auto),
        "native" => Ok(GrowWith::Native),
        "e2fsprogs" => Ok(GrowWith::E2fsprogs),
        _ => Err("auto, native or e2fsprogs is needed".to_owned()),
    }
}

/// The partition named in one of the three ways.
fn choice(open: &ImageArgs, target: &Target, own: Option<Choice>) -> Result<Choice> {
    match (own, open.choice(target)?) {
        (Some(own), Choice::Auto) => Ok(own),
        (Some(_), _) => Err(Error::new(ErrorKind::Usage, "the partition is given twice")),
        (None, choice) => Ok(choice),
    }
}

impl Common {
    fn image(&self, open: ImageOptions) -> ImageOptions {
        ImageOptions { sync: !self.no_sync, ..self.device.on(open) }
    }

    /// Runs a change on the image, or on a new one, and tells what it did.
    fn run(
        &self,
        target: &Target,
        how: &ImageOptions,
        output: Option<&PathBuf>,
        change: impl FnOnce(&std::path::Path) -> Result<Resized>,
    ) -> Result<u8> {
        let new = output.map(|new| Output::prepare(&target.image, new, how.format, how.lock)).transpose()?;
        let path = new.as_ref().map_or(target.image.clone(), |new| new.path().to_owned());
        let report = match (change(&path), new) {
            (Ok(report), Some(new)) => new.keep(!self.no_sync).map(|()| report)?,
            (Err(error), Some(new)) => return Err(new.drop_after(error)),
            (result, None) => result?,
        };
        let image = output.unwrap_or(&target.image);
        report.notes.iter().for_each(|note| ui::note(note));
        let printed = if self.json {
            ui::json(as_json(&image.display().to_string(), self.dry_run, &report))
        } else {
            ui::lines(as_text(&image.display().to_string(), self.dry_run, &report))
        };
        printed.map_err(ui::output_failed)?;
        Ok(exit::DONE)
    }
}

fn image_only(target: &Target) -> Result<()> {
    match target.path {
        None => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::Usage, "sizes are those of an image, not of a path in it")),
    }
}

/// What a change of size takes of the host. `programs` tells whether e2fsck and resize2fs may run: on a copy beside
/// the image, also where nothing is written.
fn access(changing: Access, image: &OsString, output: Option<&PathBuf>, programs: bool) -> Access {
    let image = Target::parse(image.clone()).image;
    let access = changing.folder(folder_of(output.unwrap_or(&image)));
    if programs { access.programs(search_folders()) } else { access }
}

impl HostAccess for GrowArgs {
    fn access(&self) -> Access {
        let in_place = self.output.is_none() && !self.common.dry_run;
        let open = if in_place { self.open.changing(&self.image) } else { self.open.reading(&self.image) };
        let programs = !self.no_filesystem && self.grow_with != GrowWith::Native;
        access(open, &self.image, self.output.as_ref(), programs)
    }
}

impl HostAccess for ShrinkArgs {
    fn access(&self) -> Access {
        let in_place = self.output.is_none() && !self.common.dry_run;
        let open = if in_place { self.open.changing(&self.image) } else { self.open.reading(&self.image) };
        access(open, &self.image, self.output.as_ref(), true)
    }
}

impl HostAccess for ExtendArgs {
    fn access(&self) -> Access {
        let open = if self.common.dry_run { self.open.reading(&self.image) } else { self.open.changing(&self.image) };
        access(open, &self.image, None, self.grow_with != GrowWith::Native)
    }
}

/// Runs `nomount grow`.
pub fn run_grow(args: &GrowArgs) -> Result<u8> {
    let _working = progress::begin("grow");
    let target = Target::parse(args.image.clone());
    image_only(&target)?;
    let request = GrowRequest {
        image: args.common.image(args.open.image_options()),
        size: args.size.unwrap_or(NewSize::Same),
        expand: choice(&args.open, &target, args.expand)?,
        filesystem: !args.no_filesystem,
        with: args.grow_with,
        verify: args.common.verify,
        now: target::now()?,
        dry_run: args.common.dry_run,
    };
    args.common.run(&target, &request.image, args.output.as_ref(), |path| grow(path, &request))
}

/// Runs `nomount shrink`.
pub fn run_shrink(args: &ShrinkArgs) -> Result<u8> {
    let _working = progress::begin("shrink");
    let target = Target::parse(args.image.clone());
    image_only(&target)?;
    let request = ShrinkRequest {
        image: args.common.image(args.open.image_options()),
        to: args.size.map_or(ShrinkTo::Minimum, ShrinkTo::Size),
        shrink: choice(&args.open, &target, args.shrink)?,
        verify: args.common.verify,
        now: target::now()?,
        dry_run: args.common.dry_run,
    };
    args.common.run(&target, &request.image, args.output.as_ref(), |path| shrink(path, &request))
}

/// Runs `nomount extend`.
pub fn run_extend(args: &ExtendArgs) -> Result<u8> {
    let _working = progress::begin("extend");
    let target = Target::parse(args.image.clone());
    image_only(&target)?;
    if target.partition.is_some() {
        return Err(Error::new(ErrorKind::Usage, "extend works on the whole disk; `nomount grow` grows a partition"));
    }
    let request = ExtendRequest {
        image: args.common.image(args.open.image_options()),
        size: args.size,
        filesystem_in_container: args.filesystem,
        with: args.grow_with,
        verify: args.common.verify,
        now: target::now()?,
        dry_run: args.common.dry_run,
    };
    args.common.run(&target, &request.image, None, |path| extend(path, &request))
}

impl GrowArgs {
    /// Whether errors are to be told as JSON.
    pub fn json(&self) -> bool {
        self.common.json
    }
}

impl ShrinkArgs {
    /// Whether errors are to be told as JSON.
    pub fn json(&self) -> bool {
        self.common.json
    }
}

impl ExtendArgs {
    /// Whether errors are to be told as JSON.
    pub fn json(&self) -> bool {
        self.common.json
    }
}

fn change_text(change: Change) -> String {
    if change.is_change() {
        return format!(
            "{} -> {} ({} -> {} bytes)",
            bytes::human(change.from),
            bytes::human(change.to),
            change.from,
            change.to
        );
    }
    format!("{} as before", bytes::human(change.to))
}

fn as_text(image: &str, dry_run: bool, report: &Resized) -> Vec<String> {
    let mut lines = vec![format!("{image}: {}", change_text(report.disk))];
    lines.extend(report.partitions.iter().map(|part| format!("partition {}: {}", part.number, change_text(part.size))));
    if let Some(filesystem) = &report.filesystem {
        let by = filesystem.by.map(|by| format!(", by {by}")).unwrap_or_default();
        lines.push(format!("filesystem ({}): {}{by}", filesystem.content, change_text(filesystem.size)));
        lines.extend(filesystem.reason.iter().chain(&filesystem.notes).map(|text| format!("  {text}")));
    }
    if dry_run {
        lines.push("dry run: nothing was written".to_owned());
    }
    lines
}

fn as_json(image: &str, dry_run: bool, report: &Resized) -> Value {
    let change = |change: Change| json!({ "from": change.from, "to": change.to, "resized": change.is_change() });
    let partitions = report.partitions.iter().map(|part| {
        let mut value = change(part.size);
        value["partition"] = json!(part.number);
        value
    });
    let filesystem = report.filesystem.as_ref().map(|filesystem| {
        let mut value = change(filesystem.size);
        value["content"] = json!(filesystem.content);
        value["by"] = json!(filesystem.by);
        value["reason"] = json!(filesystem.reason);
        value["notes"] = json!(filesystem.notes);
        value
    });
    json!({
        "image": image,
        "dry_run": dry_run,
        "disk": change(report.disk),
        "partitions": partitions.collect::<Vec<_>>(),
        "filesystem": filesystem,
        "notes": report.notes,
    })
}
