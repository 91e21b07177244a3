//! `nomount find`.

use super::long::{TimeStyle, arrow};
use super::sandbox::HostAccess;
use super::stat::{file_json, letter, permissions};
use super::target::{ImageArgs, Target, now};
use super::{exit, time, ui};
use nomount::ops::look::find::{Context, Told, find, parse};
use nomount::ops::look::{FileInfo, Names};
use nomount::sandbox::Access;
use nomount::tree::{FileTree, Follow, GuestPath, existing};
use nomount::{Error, Result};
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Find files of a guest by name, type, size, age, mode, owner
///
/// Takes the expressions of find(1). Paths are printed as the guest has them, sorted within their directories, byte
/// for byte but on a terminal. Symbolic links are not followed. Patterns are quoted, so that the shell leaves them.
///
/// Options of nomount stand before the image; --json may also stand in the expression.
#[derive(Debug, clap::Args)]
#[command(after_help = EXPRESSIONS)]
pub struct Args {
    #[command(flatten)]
    open: ImageArgs,
    /// Print what is known of the files that are found as JSON
    #[arg(long)]
    json: bool,
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths to start from [default: /], then the expression [default: -print]
    #[arg(value_name = "PATH... EXPRESSION", trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

const EXPRESSIONS: &str = "\
Tests (N may be +N for more or -N for less):
  -name GLOB -iname GLOB         the last component of the path
  -path GLOB -ipath GLOB         all of the path
  -lname GLOB -ilname GLOB       what a symbolic link says
  -type f,d,l,c,b,p,s            what it is
  -size N[c|w|b|k|M|G]           length, rounded up to units; blocks of 512 bytes without a letter
  -mtime N -mmin N               age of its contents in days or minutes; also a, c and B for m
  -newer FILE -newermt TIME      changed after FILE of the guest, or after 2026-01-31T12:00:00Z or @SECONDS
  -perm MODE|-MODE|/MODE         exactly, all or any of these bits, octal or symbolic
  -user NAME -group NAME         owners by the guest's passwd and group, or by number
  -uid N -gid N -nouser -nogroup -links N -inum N -empty -true -false
Where: -maxdepth N -mindepth N -xdev -prune -quit
Operators, the strongest first: ( ), ! or -not, -a or nothing, -o
Actions: -print -print0 -ls; without one, -print

Ages count from now, or from SOURCE_DATE_EPOCH where it is set.

Example:
  nomount find disk.qcow2:/etc -name '*.conf' -mtime -7
  nomount find disk.qcow2 / -xdev -type f -perm /6000 -ls";

impl Args {
    /// Whether JSON is printed: --json is understood in the expression, too, where no test of find has two dashes.
    pub fn json(&self) -> bool {
        self.json || self.rest.iter().any(|word| word == "--json")
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let begins = |word: &OsString| {
        let word = word.as_encoded_bytes();
        word.starts_with(b"-") || matches!(word, b"(" | b")" | b"!" | b",")
    };
    let rest: Vec<OsString> = args.rest.iter().filter(|word| *word != "--json").cloned().collect();
    let split = rest.iter().position(begins).unwrap_or(rest.len());
    let (paths, expression) = rest.split_at(split);
    let paths = match (&target.path, paths) {
        (None, []) => vec![GuestPath::root()],
        _ => target.guest_paths(paths)?,
    };
    let expression: Vec<Vec<u8>> = expression.iter().map(|word| word.clone().into_vec()).collect();
    let mut session = args.open.open(&target)?;
    let volume = session.volume().to_string();
    let named = |error: Error| error.in_volume(&volume).in_image(&target.image);
    let tree: &dyn FileTree = session.tree();
    let expression = parse(&expression, Context { tree, now: now()?, parse_time: time::parse }).map_err(named)?;
    let mut tops = Vec::new();
    for path in &paths {
        tops.push(existing(tree, path, Follow::NotLast).map_err(named)?.0);
    }
    let names = Names::of(tree);
    if let Some(problem) = names.problem().filter(|_| args.json()) {
        ui::warning(problem);
    }
    let mut files = ui::JsonList::new();
    let mut out = ui::Stream::open();
    let mut sink = |file: &FileInfo, told| match (args.json(), told) {
        (true, _) => files.push(&file_json(file, Some(&names))),
        (false, Told::Path) => out.line(&file.path.to_bytes()),
        (false, Told::PathZero) => out.zero_terminated(&file.path.to_bytes()),
        (false, Told::Line) => out.text(&line(file, &names)),
    };
    for top in &tops {
        if !find(tree, top, &expression, &mut sink).map_err(named)? {
            break;
        }
    }
    match args.json() {
        true => files.print(json!({ "volume": volume }), "files")?,
        false => out.end()?,
    }
    Ok(exit::DONE)
}

/// As find's -ls prints it: inode, KiB, mode, links, owners, size or device, time, path.
fn line(file: &FileInfo, names: &Names) -> String {
    let stat = &file.stat;
    let owner = |name: Option<&[u8]>, number: u32| name.map_or_else(|| number.to_string(), ui::safe);
    let size = match stat.device {
        Some((major, minor)) => format!("{major}, {minor}"),
        None => stat.size.to_string(),
    };
    format!(
        "{:>9} {:>6} {}{} {:>3} {:<8} {:<8} {size:>8} {} {}{}",
        stat.ino,
        stat.blocks.div_ceil(2),
        letter(stat.kind),
        permissions(stat.mode),
        stat.links,
        owner(names.user(stat.uid), stat.uid),
        owner(names.group(stat.gid), stat.gid),
        TimeStyle::Utc.show(stat.mtime),
        ui::safe(&file.path.to_bytes()),
        arrow(file),
    )
}
