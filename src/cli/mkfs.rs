//! `nomount mkfs`.

use super::password::random_bytes;
use super::target::{ImageArgs, Target, now};
use super::{exit, ui};
use nomount::ops::mkfs::{From, MkfsReport, MkfsRequest, mkfs};
use nomount::ops::populate::{Fill, TarStream};
use nomount::{Error, ErrorKind, Result};
use nomount_ext::{InodeCount, Kind, MkfsOptions, Profile};
use serde_json::json;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Make an ext2, ext3 or ext4 filesystem, empty or filled from a directory or a tar stream
///
/// Options are spelled as mke2fs spells them, and the layout is the same. A missing image is made when a size is given,
/// sparse. The root directory keeps the owner and mode it is made with, whatever the directory or stream says of its
/// own; links of the host are not followed.
///
/// With SOURCE_DATE_EPOCH and --seed the same files give the same bytes: it is the clock, times after it become it, and
/// UUID and hash seed come from the seed.
///
/// Example: nomount mkfs root.img 2G -L root -d ./tree
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image: raw or qcow2
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    /// How large: a number with K, M, G or T; without, in blocks (KiB without -b). By default all of the device
    #[arg(value_name = "SIZE", allow_hyphen_values = true)]
    size: Option<String>,
    #[command(flatten)]
    open: ImageArgs,
    /// Which filesystem
    #[arg(long = "type", short = 't', value_name = "ext2|ext3|ext4", default_value = "ext4", value_parser = parse_kind)]
    kind: Kind,
    /// Whose default features
    #[arg(long, value_name = "1.46|1.47", default_value = "1.47", value_parser = parse_profile)]
    profile: Profile,
    /// Features to add, or with ^ to remove. Repeatable
    #[arg(long = "features", short = 'O', value_name = "NAME,^NAME,...")]
    features: Vec<String>,
    /// Volume name, at most 16 bytes
    #[arg(long, short = 'L', value_name = "NAME")]
    label: Option<OsString>,
    /// UUID; by default random
    #[arg(long, short = 'U', value_name = "UUID", value_parser = parse_uuid)]
    uuid: Option<Uuid>,
    /// Bytes of a block
    #[arg(short = 'b', long, value_name = "BYTES", value_parser = parse_u32)]
    block_size: Option<u32>,
    /// Bytes of a cluster, with -O bigalloc
    #[arg(short = 'C', long, value_name = "BYTES", value_parser = parse_u32)]
    cluster_size: Option<u32>,
    /// Blocks of a group
    #[arg(short = 'g', long, value_name = "BLOCKS")]
    blocks_per_group: Option<u32>,
    /// Groups whose tables lie together
    #[arg(short = 'G', long, value_name = "GROUPS")]
    flex_groups: Option<u32>,
    /// Bytes of an inode
    #[arg(short = 'I', long, value_name = "BYTES")]
    inode_size: Option<u16>,
    /// One inode for so many bytes
    #[arg(short = 'i', long, value_name = "BYTES", value_parser = parse_u32, conflicts_with = "inodes")]
    inode_ratio: Option<u32>,
    /// How many inodes
    #[arg(short = 'N', long, value_name = "NUMBER")]
    inodes: Option<u32>,
    /// Percent of the blocks kept for root
    #[arg(short = 'm', long, value_name = "PERCENT", default_value_t = 5.0)]
    reserved: f64,
    /// Journal: size=MEGABYTES
    #[arg(short = 'J', long, value_name = "size=MB", value_parser = parse_journal)]
    journal: Option<u64>,
    /// More: resize=SIZE, hash_seed=UUID, root_owner=UID:GID, root_perms=OCTAL, mmp_update_interval=SECONDS,
    /// num_backup_sb=N, lazy_itable_init[=0|1], discard, nodiscard
    #[arg(short = 'E', long, value_name = "KEY=VALUE,...")]
    extended: Vec<String>,
    /// Fill it from a directory, a tar file, or `-` for a tar stream on standard input
    #[arg(short = 'd', long = "from", value_name = "DIR|TAR|-")]
    from: Option<OsString>,
    /// Owner of everything that it is filled with, and of the root directory
    #[arg(long, value_name = "UID:GID", value_parser = parse_owner)]
    owner: Option<Owner>,
    /// Overwrite a filesystem or partition table
    #[arg(short = 'F', long)]
    force: bool,
    /// Say what would be made and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not wait for the disk
    #[arg(long)]
    no_sync: bool,
    /// Number to derive UUID, hash seed and inode generations from, where they are not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

type Uuid = [u8; 16];
type Owner = (u32, u32);

fn parse_kind(text: &str) -> Result<Kind, String> {
    let kinds = [Kind::Ext2, Kind::Ext3, Kind::Ext4];
    kinds.into_iter().find(|kind| kind.name() == text).ok_or_else(|| "ext2, ext3 or ext4 is needed".to_owned())
}

fn parse_profile(text: &str) -> Result<Profile, String> {
    Profile::parse(text).ok_or_else(|| "1.46 or 1.47 is needed".to_owned())
}

fn parse_uuid(text: &str) -> Result<Uuid, String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let wrong = || "a UUID of 32 hexadecimal digits is needed".to_owned();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(wrong());
    }
    let mut uuid = Uuid::default();
    for (byte, pair) in uuid.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(uuid)
}

fn parse_owner(text: &str) -> Result<Owner, String> {
    let wrong = || format!("{text:?}: UID:GID is needed");
    let (uid, gid) = text.split_once(':').ok_or_else(wrong)?;
    Ok((uid.parse().map_err(|_| wrong())?, gid.parse().map_err(|_| wrong())?))
}

fn parse_journal(text: &str) -> Result<u64, String> {
    let size = text.strip_prefix("size=").ok_or("size=MEGABYTES is needed")?;
    parse_size(size, 1 << 20)
}

fn parse_u32(text: &str) -> Result<u32, String> {
    u32::try_from(parse_size(text, 1)?).map_err(|_| format!("{text} is too large"))
}

/// A number of bytes: with a suffix, or in units of `unit`.
pub(super) fn parse_size(text: &str, unit: u64) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b's' | b'S') => (&text[..text.len() - 1], 512),
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        Some(b't' | b'T') => (&text[..text.len() - 1], 1 << 40),
        _ => (text, unit),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text:?}: a size such as 512M or 4G is needed"))?;
    number.checked_mul(unit).filter(|size| *size <= i64::MAX as u64).ok_or_else(|| format!("{text} is too large"))
}

fn usage(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, text)
}

/// Applies the list of `-E`. Returns whether to discard.
fn extend(options: &mut MkfsOptions, list: &[String], unit: u64) -> Result<bool> {
    let mut discard = true;
    for item in list.iter().flat_map(|list| list.split(',')).filter(|item| !item.is_empty()) {
        let (key, value) = item.split_once('=').map_or((item, None), |(key, value)| (key, Some(value)));
        let needed = || value.ok_or_else(|| usage(format!("-E {key} needs a value")));
        let wrong = |error: String| usage(format!("-E {key}: {error}"));
        match key {
            "resize" => options.resize_limit = Some(parse_size(needed()?, unit).map_err(wrong)?),
            "hash_seed" => options.hash_seed = parse_uuid(needed()?).map_err(wrong)?,
            "root_owner" => options.root_owner = parse_owner(needed()?).map_err(wrong)?,
            "root_perms" => {
                let mode = u16::from_str_radix(needed()?, 8).map_err(|e| wrong(e.to_string()))?;
                options.root_mode = mode;
            }
            "mmp_update_interval" => {
                options.mmp_interval = needed()?.parse().map_err(|_| wrong("seconds are needed".to_owned()))?;
            }
            "num_backup_sb" => {
                options.backups = needed()?.parse().map_err(|_| wrong("a number is needed".to_owned()))?;
            }
            "lazy_itable_init" => options.lazy_tables = value != Some("0"),
            "discard" => discard = true,
            "nodiscard" => discard = false,
            _ => return Err(usage(format!("-E {key} is not known"))),
        }
    }
    Ok(discard)
}

/// Numbers that look random and follow from the seed alone (SplitMix64).
fn from_seed(seed: u64, index: u64) -> [u8; 16] {
    let word = |index: u64| {
        let mut z = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&word(2 * index + 1).to_le_bytes());
    bytes[8..].copy_from_slice(&word(2 * index + 2).to_le_bytes());
    // A UUID of version 4 is one that was drawn at random.
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    bytes
}

fn options(args: &Args, seed: u64) -> Result<(MkfsOptions, bool)> {
    let now = now()?;
    let unit = args.block_size.map_or(1024, u64::from);
    let mut options = MkfsOptions {
        kind: args.kind,
        profile: args.profile,
        features: args.features.clone(),
        block_size: args.block_size,
        cluster_size: args.cluster_size,
        blocks_per_group: args.blocks_per_group,
        groups_per_flex: args.flex_groups,
        inode_size: args.inode_size,
        inodes: match (args.inodes, args.inode_ratio) {
            (Some(count), _) => InodeCount::Exactly(count),
            (None, Some(ratio)) => InodeCount::Ratio(ratio),
            (None, None) => InodeCount::Default,
        },
        reserved_percent: args.reserved,
        journal_size: args.journal,
        label: args.label.as_ref().map(|label| label.as_bytes().to_vec()).unwrap_or_default(),
        uuid: args.uuid.unwrap_or_else(|| from_seed(seed, 0)),
        hash_seed: from_seed(seed, 1),
        root_owner: args.owner.unwrap_or_default(),
        now: nomount_ext::Time { sec: now.sec, nsec: now.nsec },
        ..MkfsOptions::default()
    };
    let discard = extend(&mut options, &args.extended, unit)?;
    Ok((options, discard))
}

fn source(from: &OsString) -> Result<From> {
    if from == "-" {
        return Ok(From::Tar(TarStream::new(Box::new(std::io::stdin().lock()) as Box<dyn Read>)));
    }
    let path = Path::new(from);
    let failed = |error| Error::new(ErrorKind::Io, format!("cannot open {}", path.display())).caused_by(error);
    if path.metadata().map_err(failed)?.is_dir() {
        return Ok(From::Dir(path.to_owned()));
    }
    let file = std::io::BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    Ok(From::Tar(TarStream::new(Box::new(file) as Box<dyn Read>)))
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    if target.path.is_some() {
        return Err(usage("mkfs works on an image, not on a path in it"));
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => u64::from_le_bytes(random_bytes()?),
    };
    let (options, discard) = options(args, seed)?;
    let unit = args.block_size.map_or(1024, u64::from);
    let reproducible = std::env::var_os("SOURCE_DATE_EPOCH").is_some();
    let request = MkfsRequest {
        image: nomount::image::ImageOptions { sync: !args.no_sync, ..args.open.image_options() },
        partition: args.open.choice(&target)?,
        size: args.size.as_deref().map(|text| parse_size(text, unit)).transpose().map_err(usage)?,
        options,
        discard,
        force: args.force,
        from: args.from.as_ref().map(source).transpose()?,
        fill: Fill { owner: args.owner, latest: if reproducible { Some(now()?) } else { None } },
        seed: seed as u32,
        dry_run: args.dry_run,
    };
    let kind = request.options.kind;
    let uuid = request.options.uuid;
    let report = mkfs(&target.image, request)?;
    print(args, &target, kind, uuid, &report).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

fn uuid_text(uuid: Uuid) -> String {
    let hex = ui::hex(&uuid);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn print(args: &Args, target: &Target, kind: Kind, uuid: Uuid, report: &MkfsReport) -> std::io::Result<()> {
    let made = &report.made;
    let filled = report.filled.as_ref();
    let notes = || made.notes.iter().chain(filled.iter().flat_map(|filled| &filled.notes));
    if args.json {
        return ui::json(json!({
            "image": target.image.display().to_string(),
            "partition": report.partition,
            "created": report.created,
            "dry_run": args.dry_run,
            "type": kind.name(),
            "uuid": uuid_text(uuid),
            "block_size": made.block_size,
            "blocks": made.blocks,
            "free_blocks": made.free_blocks,
            "reserved_blocks": made.reserved_blocks,
            "inodes": made.inodes,
            "inode_size": made.inode_size,
            "groups": made.groups,
            "journal_blocks": made.journal_blocks,
            "features": made.features,
            "filled": filled.map(|filled| json!({
                "entries": filled.entries,
                "directories": filled.dirs,
                "hard_links": filled.links,
                "bytes": filled.bytes,
            })),
            "notes": notes().collect::<Vec<_>>(),
        }));
    }
    notes().for_each(|note| ui::note(note));
    let would = if args.dry_run { "would have" } else { "has" };
    let mut lines = vec![
        format!(
            "{}: {} {would} {} blocks of {} bytes, {} inodes, journal of {} blocks",
            target.image.display(),
            kind.name(),
            made.blocks,
            made.block_size,
            made.inodes,
            made.journal_blocks
        ),
        format!("UUID {}", uuid_text(uuid)),
    ];
    if let Some(filled) = filled {
        lines.push(format!("{} entries, {} bytes of contents", filled.entries, filled.bytes));
    }
    ui::lines(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_identities() {
        assert_eq!(parse_size("4G", 1024), Ok(4 << 30));
        assert_eq!(parse_size("100", 4096), Ok(409_600));
        assert_eq!(parse_size("8s", 1), Ok(4096));
        assert!(parse_size("4X", 1).is_err() && parse_size("", 1).is_err() && parse_size("99999999T", 1).is_err());
        let text = "01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(uuid_text(parse_uuid(text).unwrap()), text);
        assert!(parse_uuid("0123").is_err() && parse_uuid(&"\u{e9}".repeat(16)).is_err());
        assert_eq!(from_seed(1, 0), from_seed(1, 0));
        assert_ne!(from_seed(1, 0), from_seed(1, 1));
    }
}
