//! `nomount part`.

use super::bytes;
use super::password::random_bytes;
use super::sandbox::HostAccess;
use super::target::{DeviceArgs, ImageArgs, Target};
use super::{exit, part_show, ui};
use clap::Subcommand;
use nomount::disk::Choice;
use nomount::image::ImageOptions;
use nomount::ops::part::{Addition, PartEdit, PartSize, edit, list};
use nomount::sandbox::Access;
use nomount::session::redo_path;
use nomount::{Error, ErrorKind, Result};
use nomount_ptable::{DiskId, Guid, NewPartition, Scheme};
use std::ffi::OsString;

/// List and edit partitions of a GPT or MBR
///
/// A partition is named by its number: IMAGE@2, or --partition 2. Sizes are bytes, or have K, M, G or T (1024). Numbers
/// stay, but for logical partitions of an MBR behind a deleted one, which Linux counts.
///
/// Types are names (linux, swap, esp, bios-boot, xbootldr, home, root-x86-64, lvm, raid, ...), codes of sgdisk (8300),
/// GUIDs, and bytes of an MBR (83).
///
/// Each edit is one commit: an interrupted one leaves the old table or the new. A damaged copy of a GPT, or a backup that
/// is not at the end of the disk, is put right with any edit.
///
/// Example: nomount part add disk.qcow2 --size 8G --type home --name home
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(ListArgs),
    Create(CreateArgs),
    Add(AddArgs),
    #[command(visible_aliases = ["del", "rm"])]
    Delete(DeleteArgs),
    Resize(ResizeArgs),
    Type(TypeArgs),
    Name(NameArgs),
    Attributes(AttributeArgs),
}

/// Show the partition table of a disk, and what each partition holds
///
/// `nomount partitions` and `nomount part list` are the same.
///
/// Example: nomount partitions disk.qcow2
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The image: raw or qcow2
    #[arg(value_name = "IMAGE")]
    image: OsString,
    #[command(flatten)]
    open: ImageArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// What every edit takes.
#[derive(Debug, clap::Args)]
pub struct EditArgs {
    /// The image, and the partition in it
    #[arg(value_name = "IMAGE[@PARTITION]")]
    pub image: OsString,
    #[command(flatten)]
    open: ImageArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Say what would be done and write nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not wait for the disk
    #[arg(long)]
    no_sync: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Make a new table without partitions
///
/// Example: nomount part create disk.raw gpt
#[derive(Debug, clap::Args)]
struct CreateArgs {
    #[command(flatten)]
    common: EditArgs,
    /// Kind of the table
    #[arg(value_name = "gpt|mbr", default_value = "gpt", value_parser = parse_scheme)]
    table: Scheme,
    /// Bytes of a sector: 512, or 4096 on a GPT for disks that have such
    #[arg(long, value_name = "BYTES", default_value_t = 512)]
    sector_size: u32,
    /// Identity of the disk: a GUID for a GPT, 8 hexadecimal digits for an MBR; by default random
    #[arg(long, value_name = "ID")]
    disk_id: Option<String>,
    /// Replace a table or filesystem
    #[arg(long, short = 'F')]
    force: bool,
}

/// Add a partition
///
/// Without a start it begins at the first multiple of 1 MiB where it has room; without a size it takes the largest free
/// space, or what is free behind the start.
///
/// Example: nomount part add disk.qcow2 --size 8G --type home --name home
#[derive(Debug, clap::Args)]
struct AddArgs {
    #[command(flatten)]
    common: EditArgs,
    /// How large
    #[arg(long, short = 's', value_name = "SIZE|max", default_value = "max", value_parser = parse_size_or_max)]
    size: PartSize,
    /// Where it begins, from the start of the disk
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    start: Option<u64>,
    /// What it is for
    #[arg(long = "type", short = 't', value_name = "TYPE", default_value = "linux")]
    type_name: String,
    /// Name, on a GPT
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
    /// Identity of the partition, on a GPT; by default random
    #[arg(long, value_name = "GUID", value_parser = parse_guid)]
    guid: Option<Guid>,
    /// The MBR's active flag, or the GPT attribute "legacy BIOS bootable"
    #[arg(long)]
    bootable: bool,
    /// Put it into the extended partition of an MBR
    #[arg(long)]
    logical: bool,
}

/// Delete a partition
///
/// Example: nomount part delete disk.qcow2@3
#[derive(Debug, clap::Args)]
struct DeleteArgs {
    #[command(flatten)]
    common: EditArgs,
    /// Even if it holds a filesystem or the like
    #[arg(long, short = 'F')]
    force: bool,
}

/// Move the end of a partition
///
/// The filesystem in it stays as it is. A partition never becomes smaller than an ext filesystem in it.
///
/// Example: nomount part resize disk.qcow2@3 +2G
#[derive(Debug, clap::Args)]
struct ResizeArgs {
    #[command(flatten)]
    common: EditArgs,
    /// How large, or larger or smaller by how much
    #[arg(value_name = "SIZE|+SIZE|-SIZE|max", allow_hyphen_values = true, value_parser = parse_new_size)]
    size: PartSize,
    /// Shrink it even if it holds something whose size is not known
    #[arg(long, short = 'F')]
    force: bool,
}

/// Say what a partition is for
///
/// Example: nomount part type disk.qcow2@3 swap
#[derive(Debug, clap::Args)]
struct TypeArgs {
    #[command(flatten)]
    common: EditArgs,
    /// What it is for
    #[arg(value_name = "TYPE")]
    type_name: String,
}

/// Name a partition of a GPT
///
/// Example: nomount part name disk.qcow2@3 scratch
#[derive(Debug, clap::Args)]
struct NameArgs {
    #[command(flatten)]
    common: EditArgs,
    /// At most 36 characters
    #[arg(value_name = "NAME")]
    name: String,
}

/// Set and clear attributes of a partition
///
/// Names are required, no-block-io, bootable, grow-file-system, read-only, hidden, no-auto; numbers are bits. An MBR has
/// bootable alone, which is its active flag.
///
/// Example: nomount part attributes disk.qcow2@3 --set read-only,no-auto
#[derive(Debug, clap::Args)]
struct AttributeArgs {
    #[command(flatten)]
    common: EditArgs,
    /// Set these. Repeatable
    #[arg(long, value_name = "NAME|BIT", value_delimiter = ',', value_parser = parse_attribute)]
    set: Vec<u32>,
    /// Clear these. Repeatable
    #[arg(long, value_name = "NAME|BIT", value_delimiter = ',', value_parser = parse_attribute)]
    clear: Vec<u32>,
}

/// Bit of a GPT entry that means what an MBR's active flag means.
const BOOTABLE: u32 = 2;
/// Attributes by name: UEFI 2.10 table 5.8, and those of the Discoverable Partitions Specification.
pub const ATTRIBUTES: &[(&str, u32)] = &[
    ("required", 0),
    ("no-block-io", 1),
    ("bootable", BOOTABLE),
    ("grow-file-system", 59),
    ("read-only", 60),
    ("hidden", 62),
    ("no-auto", 63),
];

fn parse_scheme(text: &str) -> Result<Scheme, String> {
    match text.to_ascii_lowercase().as_str() {
        "gpt" => Ok(Scheme::Gpt),
        "mbr" | "dos" | "msdos" => Ok(Scheme::Mbr),
        _ => Err("gpt or mbr is needed".to_owned()),
    }
}

fn parse_guid(text: &str) -> Result<Guid, String> {
    text.parse().map_err(|error: nomount_ptable::NoGuid| error.to_string())
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    bytes::parse(text, 1)
}

fn parse_size_or_max(text: &str) -> Result<PartSize, String> {
    if text == "max" { Ok(PartSize::Max) } else { parse_bytes(text).map(PartSize::To) }
}

fn parse_new_size(text: &str) -> Result<PartSize, String> {
    match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(more), _) => parse_bytes(more).map(PartSize::Grow),
        (_, Some(less)) => parse_bytes(less).map(PartSize::Shrink),
        _ => parse_size_or_max(text),
    }
}

fn parse_attribute(text: &str) -> Result<u32, String> {
    if let Some((_, bit)) = ATTRIBUTES.iter().find(|(name, _)| *name == text) {
        return Ok(*bit);
    }
    let bit = text.parse().ok().filter(|bit| *bit < u64::BITS);
    bit.ok_or_else(|| format!("{text:?}: a bit from 0 to 63 or a name such as bootable is needed"))
}

fn usage(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, text)
}

impl EditArgs {
    fn image_options(&self) -> ImageOptions {
        ImageOptions { sync: !self.no_sync, ..self.device.on(self.open.image_options()) }
    }

    /// The image and the partition that is named, if any.
    fn target(&self) -> Result<(Target, Option<u32>)> {
        let target = Target::parse(self.image.clone());
        if target.path.is_some() {
            return Err(usage("part works on an image, not on a path in it"));
        }
        let number = match self.open.choice(&target)? {
            Choice::Auto => None,
            Choice::Number(number) => Some(number),
            Choice::Whole | Choice::Inspect => return Err(usage("a partition by its number is needed")),
        };
        Ok((target, number))
    }

    fn number(&self) -> Result<u32> {
        let missing = || usage("which partition is not said").hint("IMAGE@2 or --partition 2 is the second");
        self.target()?.1.ok_or_else(missing)
    }

    fn edit(&self, change: &PartEdit, force: bool) -> Result<u8> {
        let (target, _) = self.target()?;
        let report = edit(&target.image, &self.image_options(), change, force, self.dry_run)?;
        part_show::report(self, &target, change, &report).map_err(ui::output_failed)?;
        Ok(exit::DONE)
    }
}

impl Args {
    /// Whether errors are to be told as JSON, too.
    pub fn json(&self) -> bool {
        match &self.verb {
            Verb::List(args) => args.json,
            Verb::Create(args) => args.common.json,
            Verb::Add(args) => args.common.json,
            Verb::Delete(args) => args.common.json,
            Verb::Resize(args) => args.common.json,
            Verb::Type(args) => args.common.json,
            Verb::Name(args) => args.common.json,
            Verb::Attributes(args) => args.common.json,
        }
    }
}

impl HostAccess for ListArgs {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs `nomount part list` and `nomount partitions`.
pub fn run_list(args: &ListArgs) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    if redo_path(&target.image).exists() {
        ui::note("a commit of this image was interrupted: what is shown may be half of it, see `nomount recover`");
    }
    let found = list(&target.image, &args.open.image_options())?;
    part_show::list(&target, &found, args.json).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let common = match &self.verb {
            Verb::List(args) => return args.access(),
            Verb::Create(args) => &args.common,
            Verb::Add(args) => &args.common,
            Verb::Delete(args) => &args.common,
            Verb::Resize(args) => &args.common,
            Verb::Type(args) => &args.common,
            Verb::Name(args) => &args.common,
            Verb::Attributes(args) => &args.common,
        };
        if common.dry_run { common.open.reading(&common.image) } else { common.open.changing(&common.image) }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    match &args.verb {
        Verb::List(args) => run_list(args),
        Verb::Create(args) => {
            if args.common.target()?.1.is_some() {
                return Err(usage("create works on the whole disk"));
            }
            let disk_id = disk_id(args)?;
            let change = PartEdit::Create { scheme: args.table, sector_size: args.sector_size, disk_id };
            args.common.edit(&change, args.force)
        }
        Verb::Add(args) => args.common.edit(&PartEdit::Add(addition(args)?), false),
        Verb::Delete(args) => args.common.edit(&PartEdit::Delete(args.common.number()?), args.force),
        Verb::Resize(args) => args.common.edit(&PartEdit::Resize(args.common.number()?, args.size), args.force),
        Verb::Type(args) => args.common.edit(&PartEdit::SetType(args.common.number()?, args.type_name.clone()), false),
        Verb::Name(args) => args.common.edit(&PartEdit::SetName(args.common.number()?, args.name.clone()), false),
        Verb::Attributes(args) => args.common.edit(&attributes(args)?, false),
    }
}

fn disk_id(args: &CreateArgs) -> Result<DiskId> {
    let wrong = |needed: &str| usage(format!("--disk-id {}: {needed}", args.disk_id.as_deref().unwrap_or_default()));
    match (args.table, &args.disk_id) {
        (Scheme::Gpt, None) => Ok(DiskId::Guid(random_guid()?)),
        (Scheme::Gpt, Some(text)) => parse_guid(text).map(DiskId::Guid).map_err(|error| wrong(&error)),
        // An MBR without a signature has no identity.
        (Scheme::Mbr, None) => Ok(DiskId::Signature(u32::from_le_bytes(random_bytes()?).max(1))),
        (Scheme::Mbr, Some(text)) => {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            let id = u32::from_str_radix(digits, 16).ok().filter(|id| *id != 0 && !digits.starts_with('+'));
            id.map(DiskId::Signature).ok_or_else(|| wrong("8 hexadecimal digits are needed, not all zero"))
        }
    }
}

/// A UUID of version 4.
fn random_guid() -> Result<Guid> {
    let mut bytes: [u8; 16] = random_bytes()?;
    // The third group is little-endian: its high byte comes second.
    bytes[7] = bytes[7] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    Ok(Guid(bytes))
}

fn addition(args: &AddArgs) -> Result<Addition> {
    let guid = match args.guid {
        Some(guid) => guid,
        None => random_guid()?,
    };
    let mut addition = Addition::new(&args.type_name, guid);
    addition.partition = NewPartition {
        number: args.common.target()?.1,
        start: args.start,
        len: match args.size {
            PartSize::To(len) => Some(len),
            _ => None,
        },
        name: args.name.clone(),
        bootable: args.bootable,
        logical: args.logical,
        ..addition.partition
    };
    Ok(addition)
}

fn attributes(args: &AttributeArgs) -> Result<PartEdit> {
    let number = args.common.number()?;
    let mask = |bits: &[u32]| bits.iter().fold(0_u64, |mask, bit| mask | 1 << bit);
    let (set, clear) = (mask(&args.set), mask(&args.clear));
    match (set, clear) {
        (0, 0) => Err(usage("neither --set nor --clear is given")),
        _ if set & clear != 0 => Err(usage("the same attribute is set and cleared")),
        // Both kinds of table know this one.
        _ if set | clear == 1 << BOOTABLE => Ok(PartEdit::SetBootable(number, set != 0)),
        _ => Ok(PartEdit::SetAttributes { number, set, clear }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_attributes() {
        assert_eq!(parse_new_size("+1G"), Ok(PartSize::Grow(1 << 30)));
        assert_eq!(parse_new_size("-512"), Ok(PartSize::Shrink(512)));
        assert_eq!(parse_new_size("10M"), Ok(PartSize::To(10 << 20)));
        assert_eq!(parse_new_size("max"), Ok(PartSize::Max));
        assert!(["", "+", "--1", "+-1", "max+"].iter().all(|text| parse_new_size(text).is_err()));
        assert_eq!(parse_attribute("hidden"), Ok(62));
        assert_eq!(parse_attribute("48"), Ok(48));
        assert!(parse_attribute("64").is_err() && parse_attribute("-1").is_err() && parse_attribute("").is_err());
    }
}
