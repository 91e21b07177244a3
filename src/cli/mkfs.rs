//! `nomount mkfs`.

use super::password::random_bytes;
use super::progress;
use super::sandbox::{HostAccess, read_file, search_folders};
use super::target::{DeviceArgs, ImageArgs, Target, now};
use super::{bytes, exit, ui};
use nomount::image::folder_of;
use nomount::ops::decompressed;
use nomount::ops::mkfs::{
    From, Made, MkfsReport, MkfsRequest, SwapOptions, Template, Templates, Tool, What, check_label, mkfs, type_for_os,
};
use nomount::ops::populate::{Fill, TarStream};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result};
use nomount_ext::{InodeCount, Kind, MkfsOptions, Profile};
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Make a filesystem or swap area: ext filesystems also filled from a directory or a tar stream
///
/// ext2, ext3, ext4, vfat and swap are made in process; ntfs, xfs and btrfs by their own programs, on a sparse file
/// whose contents are then written to the image. For ext, options are spelled as mke2fs spells them, and the layout is
/// the same.
///
/// A missing image is made when a size is given: raw and sparse, or with --format qcow2 a qcow2 image. The root directory keeps the owner and mode it is made with, whatever the directory or stream says of its
/// own; links of the host are not followed.
///
/// With SOURCE_DATE_EPOCH and --seed the same files give the same bytes: it is the clock, times after it become it, and
/// UUID or volume number and hash seed come from the seed.
///
/// Example: nomount mkfs root.img 2G -L root -d ./tree
///
/// Example: nomount mkfs -t vfat esp.img 64M -L ESP -U 1234-ABCD
///
/// Example: nomount mkfs --os-type windows --mkfs-template 'windows=mkfs.ntfs -Q -F -L %(fs_label)s %(target)s' disk.1 4G
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
    #[command(flatten)]
    device: DeviceArgs,
    /// Which filesystem: ext2, ext3, ext4, vfat, swap, ntfs, xfs or btrfs. By default that of --os-type, else ext4
    #[arg(long = "type", short = 't', value_name = "TYPE", value_parser = parse_type)]
    kind: Option<&'static str>,
    /// The operating system that it is for: linux gets ext4, windows ntfs, any other vfat, unless --type is given or a
    /// template is for it
    #[arg(long, value_name = "OS")]
    os_type: Option<String>,
    /// Command that makes the filesystem for an operating system, in place of --type; `default` stands for all others.
    /// %(fs_label)s and %(target)s are filled in, no shell sees it. Repeatable
    #[arg(long = "mkfs-template", value_name = "OS=COMMAND")]
    templates: Vec<String>,
    /// Whose default features: 1.47 where it is not given
    #[arg(long, value_name = "1.46|1.47", value_parser = parse_profile)]
    profile: Option<Profile>,
    /// Features to add, or with ^ to remove. Repeatable
    #[arg(long = "features", short = 'O', value_name = "NAME,^NAME,...")]
    features: Vec<String>,
    /// Volume name. At most 16 bytes for ext, 11 for vfat, 15 for swap, 12 for xfs, 32 characters for ntfs
    #[arg(long, short = 'L', value_name = "NAME")]
    label: Option<OsString>,
    /// UUID, or the volume number of vfat such as 1234-ABCD; by default random
    #[arg(long, short = 'U', value_name = "UUID", value_parser = parse_id)]
    uuid: Option<Id>,
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
    /// Percent of the blocks kept for root: 5 where it is not given
    #[arg(short = 'm', long, value_name = "PERCENT")]
    reserved: Option<f64>,
    /// Journal: size=MEGABYTES
    #[arg(short = 'J', long, value_name = "size=MB", value_parser = parse_journal)]
    journal: Option<u64>,
    /// More: resize=SIZE, hash_seed=UUID, root_owner=UID:GID, root_perms=OCTAL, mmp_update_interval=SECONDS,
    /// num_backup_sb=N, lazy_itable_init[=0|1], discard, nodiscard
    #[arg(short = 'E', long, value_name = "KEY=VALUE,...")]
    extended: Vec<String>,
    /// Fill it from a directory, a tar file, or `-` for a tar stream on standard input; gzip, xz and zstd are recognised
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
    /// Number to derive UUID or volume number, hash seed and inode generations from, where they are not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

type Uuid = [u8; 16];

/// By what a filesystem is known.
#[derive(Debug, Clone, Copy)]
enum Id {
    Uuid(Uuid),
    /// The volume number of FAT.
    Number(u32),
}

impl Args {
    fn uuid(&self) -> Option<Uuid> {
        self.uuid.and_then(|id| if let Id::Uuid(uuid) = id { Some(uuid) } else { None })
    }
}

type Owner = (u32, u32);

/// The names of what can be made; the others mean the same as the one before them.
fn parse_type(text: &str) -> Result<&'static str, String> {
    const TYPES: [(&str, &str); 10] = [
        ("ext2", "ext2"),
        ("ext3", "ext3"),
        ("ext4", "ext4"),
        ("vfat", "vfat"),
        ("fat", "vfat"),
        ("msdos", "vfat"),
        ("swap", "swap"),
        ("ntfs", "ntfs"),
        ("xfs", "xfs"),
        ("btrfs", "btrfs"),
    ];
    let found = TYPES.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
    found.ok_or_else(|| "ext2, ext3, ext4, vfat, swap, ntfs, xfs or btrfs is needed".to_owned())
}

fn parse_profile(text: &str) -> Result<Profile, String> {
    Profile::parse(text).ok_or_else(|| "1.46 or 1.47 is needed".to_owned())
}

fn parse_id(text: &str) -> Result<Id, String> {
    let digits = text.replace('-', "");
    if digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return u32::from_str_radix(&digits, 16).map(Id::Number).map_err(|error| error.to_string());
    }
    parse_uuid(text).map(Id::Uuid).map_err(|error| format!("{error}, or for vfat 8 of them"))
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
    bytes::parse(size, 1 << 20)
}

fn parse_u32(text: &str) -> Result<u32, String> {
    u32::try_from(bytes::parse(text, 1)?).map_err(|_| format!("{text} is too large"))
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
            "resize" => options.resize_limit = Some(bytes::parse(needed()?, unit).map_err(wrong)?),
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

fn ext_options(args: &Args, kind: Kind, seed: u64) -> Result<(MkfsOptions, bool)> {
    let now = now()?;
    let unit = args.block_size.map_or(1024, u64::from);
    let mut options = MkfsOptions {
        kind,
        profile: args.profile.unwrap_or_default(),
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
        reserved_percent: args.reserved.unwrap_or(MkfsOptions::default().reserved_percent),
        journal_size: args.journal,
        label: args.label.as_ref().map(|label| label.as_bytes().to_vec()).unwrap_or_default(),
        uuid: args.uuid().unwrap_or_else(|| from_seed(seed, 0)),
        hash_seed: from_seed(seed, 1),
        root_owner: args.owner.unwrap_or_default(),
        now: nomount_ext::Time { sec: now.sec, nsec: now.nsec },
        ..MkfsOptions::default()
    };
    let discard = extend(&mut options, &args.extended, unit)?;
    Ok((options, discard))
}

/// Fails for an option that only ext has.
fn refuse_ext_options(args: &Args, name: &str) -> Result<()> {
    let given = [
        ("--profile", args.profile.is_some()),
        ("--features", !args.features.is_empty()),
        ("--block-size", args.block_size.is_some()),
        ("--cluster-size", args.cluster_size.is_some()),
        ("--blocks-per-group", args.blocks_per_group.is_some()),
        ("--flex-groups", args.flex_groups.is_some()),
        ("--inode-size", args.inode_size.is_some()),
        ("--inode-ratio", args.inode_ratio.is_some()),
        ("--inodes", args.inodes.is_some()),
        ("--reserved", args.reserved.is_some()),
        ("--journal", args.journal.is_some()),
        ("--extended", !args.extended.is_empty()),
        ("--from", args.from.is_some()),
        ("--owner", args.owner.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(usage(format!("{option} is for ext2, ext3 and ext4, not for {name}"))),
        None => Ok(()),
    }
}

/// The program that makes a filesystem, with what it needs to write to a file, and quietly.
fn program(kind: &str, label: bool, uuid: &str) -> Result<Template> {
    let command = match kind {
        // A file has no bad sectors to look for.
        "ntfs" => "mkfs.ntfs -q -Q -F".to_owned(),
        "xfs" => format!("mkfs.xfs -q -f -m uuid={uuid}"),
        _ => format!("mkfs.{kind} -q -f -U {uuid}"),
    };
    let label = if label { "-L %(fs_label)s" } else { "" };
    Template::parse(&format!("{command} {label} %(target)s"))
}

/// What the options ask for: its name, what it is, the UUID that it gets where we choose it, and whether to discard.
struct Wanted {
    name: String,
    what: What,
    uuid: Option<Uuid>,
    discard: bool,
}

fn wanted(args: &Args, seed: u64) -> Result<Wanted> {
    let mut templates = Templates::default();
    args.templates.iter().try_for_each(|entry| templates.add(entry))?;
    let template = templates.find(args.os_type.as_deref());
    let kind = args.kind.or(args.os_type.as_deref().map(type_for_os)).unwrap_or("ext4");
    let name = template.map_or(kind, Template::filesystem).to_owned();
    let label = args.label.clone().unwrap_or_default();
    check_label(&name, &label)?;
    if matches!(args.uuid, Some(Id::Number(_))) && (template.is_some() || kind != "vfat") {
        return Err(usage(format!("{name} has a UUID of 32 hexadecimal digits; 8 are for vfat")));
    }
    let uuid = args.uuid().unwrap_or_else(|| from_seed(seed, 0));
    if template.is_none()
        && let Some(kind) = [Kind::Ext2, Kind::Ext3, Kind::Ext4].into_iter().find(|ext| ext.name() == kind)
    {
        let (options, discard) = ext_options(args, kind, seed)?;
        return Ok(Wanted { name, what: What::Ext(Box::new(options)), uuid: Some(uuid), discard });
    }
    refuse_ext_options(args, &name)?;
    let (what, uuid) = match (template, kind) {
        (None, "vfat") => {
            let volume_id = match args.uuid {
                Some(Id::Number(number)) => number,
                Some(Id::Uuid(_)) => {
                    return Err(usage(
                        "vfat has no UUID but a volume number of 8 hexadecimal digits: --uuid 1234-ABCD",
                    ));
                }
                None => {
                    let id = from_seed(seed, 0);
                    u32::from_le_bytes([id[0], id[1], id[2], id[3]])
                }
            };
            let label = label.as_bytes().to_vec();
            (What::Fat(nomount_fat::Options { label, volume_id, ..nomount_fat::Options::default() }), None)
        }
        (None, "swap") => (What::Swap(SwapOptions { label: label.as_bytes().to_vec(), uuid }), Some(uuid)),
        _ => {
            if args.uuid.is_some() && (template.is_some() || kind == "ntfs") {
                return Err(usage(format!("--uuid is not for {name} made by another program")));
            }
            let own = || program(kind, !label.is_empty(), &uuid_text(uuid));
            let tool = Tool {
                template: template.map_or_else(own, |template| Ok(template.clone()))?,
                label,
                search: search_path(),
                scratch: std::env::temp_dir(),
            };
            let chosen = template.is_none() && kind != "ntfs";
            (What::Tool(tool), chosen.then_some(uuid))
        }
    };
    Ok(Wanted { name, what, uuid, discard: true })
}

/// Where programs are looked for: ordinary users often lack the folders that these are in.
fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(if path.is_empty() { "" } else { ":" });
    path.push(OsStr::new("/usr/sbin:/sbin:/usr/bin:/bin"));
    path
}

fn source(from: &OsString) -> Result<From> {
    if from == "-" {
        return Ok(From::Tar(TarStream::new(decompressed(std::io::stdin())?)));
    }
    let path = Path::new(from);
    let failed = |error| Error::new(ErrorKind::Io, format!("cannot open {}", path.display())).caused_by(error);
    if path.metadata().map_err(failed)?.is_dir() {
        return Ok(From::Dir(path.to_owned()));
    }
    Ok(From::Tar(TarStream::new(decompressed(File::open(path).map_err(failed)?)?)))
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let image = if self.dry_run { self.open.reading(&self.image) } else { self.open.changing(&self.image) };
        let access = image.and(read_file(self.from.as_ref()));
        let kind = self.kind.or(self.os_type.as_deref().map(type_for_os)).unwrap_or("ext4");
        let own = ["ext2", "ext3", "ext4", "vfat", "swap"].contains(&kind);
        if own && self.templates.is_empty() {
            return access;
        }
        let named = self.templates.iter().filter_map(|entry| entry.split_once('=')?.1.split_whitespace().next());
        let named =
            named.filter(|program| program.contains('/')).map(|program| folder_of(Path::new(program)).to_owned());
        access.folder(std::env::temp_dir()).programs(search_folders().into_iter().chain(named))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let _working = progress::begin("mkfs");
    let target = Target::parse(args.image.clone());
    if target.path.is_some() {
        return Err(usage("mkfs works on an image, not on a path in it"));
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => u64::from_le_bytes(random_bytes()?),
    };
    let Wanted { name, what, uuid, discard } = wanted(args, seed)?;
    let unit = args.block_size.map_or(1024, u64::from);
    let reproducible = std::env::var_os("SOURCE_DATE_EPOCH").is_some();
    let request = MkfsRequest {
        image: nomount::image::ImageOptions { sync: !args.no_sync, ..args.device.on(args.open.image_options()) },
        partition: args.open.choice(&target)?,
        size: args.size.as_deref().map(|text| bytes::parse(text, unit)).transpose().map_err(usage)?,
        what,
        discard,
        force: args.force,
        from: args.from.as_ref().map(source).transpose()?,
        fill: Fill { owner: args.owner, latest: if reproducible { Some(now()?) } else { None } },
        seed: seed as u32,
        dry_run: args.dry_run,
    };
    let report = mkfs(&target.image, request)?;
    print(args, &target, &name, uuid, &report).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

fn uuid_text(uuid: Uuid) -> String {
    let hex = ui::hex(&uuid);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// What is told of what was made: the sentence, and the JSON members.
fn described(made: &Made) -> (String, Value) {
    match made {
        Made::Ext(made) => (
            format!(
                "{} blocks of {} bytes, {} inodes, journal of {} blocks",
                made.blocks, made.block_size, made.inodes, made.journal_blocks
            ),
            json!({
                "block_size": made.block_size,
                "blocks": made.blocks,
                "free_blocks": made.free_blocks,
                "reserved_blocks": made.reserved_blocks,
                "inodes": made.inodes,
                "inode_size": made.inode_size,
                "groups": made.groups,
                "journal_blocks": made.journal_blocks,
                "features": made.features,
            }),
        ),
        Made::Fat(made) => (
            format!("{}, {} clusters of {} bytes", made.kind.name(), made.clusters, made.cluster),
            json!({ "fat": made.kind.name(), "clusters": made.clusters, "cluster_size": made.cluster }),
        ),
        Made::Swap(pages) => (format!("{pages} pages of 4096 bytes"), json!({ "pages": pages, "page_size": 4096 })),
        Made::Tool(command) => (format!("what `{command}` makes"), json!({ "command": command })),
    }
}

fn print(args: &Args, target: &Target, name: &str, uuid: Option<Uuid>, report: &MkfsReport) -> std::io::Result<()> {
    let filled = report.filled.as_ref();
    let own = if let Made::Ext(made) = &report.made { &made.notes[..] } else { &[] };
    let notes = || own.iter().chain(filled.iter().flat_map(|filled| &filled.notes));
    let (sentence, members) = described(&report.made);
    if args.json {
        let mut value = json!({
            "image": target.image.display().to_string(),
            "partition": report.partition,
            "created": report.created,
            "dry_run": args.dry_run,
            "type": name,
            "label": args.label.as_ref().map(|label| label.to_string_lossy()),
            "uuid": uuid.map(uuid_text),
        });
        if let (Value::Object(value), Value::Object(members)) = (&mut value, members) {
            value.extend(members);
            let filled = filled.map(|filled| {
                json!({
                    "entries": filled.entries,
                    "directories": filled.dirs,
                    "hard_links": filled.links,
                    "bytes": filled.bytes,
                })
            });
            value.insert("filled".to_owned(), json!(filled));
            value.insert("notes".to_owned(), json!(notes().collect::<Vec<_>>()));
        }
        return ui::json(value);
    }
    notes().for_each(|note| ui::note(note));
    let would = if args.dry_run { "would have" } else { "has" };
    let mut lines = vec![format!("{}: {name} {would} {sentence}", target.image.display())];
    lines.extend(uuid.map(|uuid| format!("UUID {}", uuid_text(uuid))));
    if let Some(filled) = filled {
        lines.push(format!("{} entries, {} bytes of contents", filled.entries, filled.bytes));
    }
    ui::lines(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_and_follow_from_a_seed() {
        let text = "01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(uuid_text(parse_uuid(text).unwrap()), text);
        assert!(parse_uuid("0123").is_err() && parse_uuid(&"\u{e9}".repeat(16)).is_err());
        assert_eq!(from_seed(1, 0), from_seed(1, 0));
        assert_ne!(from_seed(1, 0), from_seed(1, 1));
    }
}
