//! `nomount ls`.

use super::stat::{Described, describe};
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::tree::{FileKind, FileTree, Follow, GuestPath, resolve};
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::collections::HashSet;
use std::ffi::OsString;

/// The deepest directory that -R goes into: PATH_MAX holds no more.
const MAX_DEPTH: usize = 2048;

/// List files of a guest
///
/// Example: nomount ls -l disk.qcow2:/etc/ssh
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Path in the guest; a symbolic link to a directory is followed inside the guest [default: /]
    #[arg(value_name = "PATH")]
    path: Option<OsString>,
    #[command(flatten)]
    open: ImageArgs,
    /// One line for each file with its mode, links, owner, size, time
    #[arg(long, short)]
    long: bool,
    /// Names that begin with a dot, too
    #[arg(long, short)]
    all: bool,
    /// Directories and what is below them
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let path = target.guest_path(args.path.as_ref())?.unwrap_or_default();
    let mut session = args.open.open(&target)?;
    let volume = session.volume().to_string();
    let named = |error: Error| error.in_volume(&volume).in_image(&target.image);
    let tree: &dyn FileTree = session.tree();
    let found = resolve(tree, &path, Follow::Last).map_err(named)?;
    let Some(stat) = found.stat else {
        return Err(named(Error::new(ErrorKind::NotFound, "no such file or directory").at_path(path.to_bytes())));
    };
    let mut list = Vec::new();
    if stat.kind == FileKind::Dir {
        let mut seen = HashSet::from([stat.id()]);
        walk(tree, &found.path, args, &mut seen, &mut list).map_err(named)?;
    } else {
        list.push((GuestPath::root(), vec![describe(tree, &found.path).map_err(named)?]));
    }
    if args.json {
        let files: Vec<_> = list.iter().flat_map(|(_, files)| files).map(Described::json).collect();
        ui::json(json!({ "volume": volume, "files": files })).map_err(ui::output_failed)?;
        return Ok(exit::DONE);
    }
    let mut lines = Vec::new();
    for (at, (folder, files)) in list.iter().enumerate() {
        if args.recursive && stat.kind == FileKind::Dir {
            if at > 0 {
                lines.push(String::new());
            }
            lines.push(format!("{}:", ui::safe(&folder.to_bytes())));
        }
        lines.extend(files.iter().map(|file| if args.long { file.long_line() } else { file.name() }));
    }
    ui::lines(lines).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

/// Directories with their files, each sorted by name.
type Listing = Vec<(GuestPath, Vec<Described>)>;

/// Lists `folder`, and with -R what is below; `seen` are the directories that were met.
fn walk(
    tree: &dyn FileTree,
    folder: &GuestPath,
    args: &Args,
    seen: &mut HashSet<(u32, u64)>,
    list: &mut Listing,
) -> Result<()> {
    let mut entries = tree.entries(folder)?;
    entries.retain(|entry| args.all || !entry.name.starts_with(b"."));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut files = Vec::with_capacity(entries.len());
    let mut folders = Vec::new();
    for entry in entries {
        // A name that no system could have made: it cannot be part of a path.
        if entry.name.is_empty() || entry.name.contains(&b'/') || entry.name.contains(&0) {
            let message = format!("a directory holds the impossible name \"{}\"", entry.name.escape_ascii());
            return Err(Error::new(ErrorKind::Corrupt, message).at_path(folder.to_bytes()));
        }
        let path = folder.join(&entry.name);
        if args.recursive && entry.kind == FileKind::Dir {
            let stat = tree.stat(&path)?;
            if stat.ino != 0 && !seen.insert(stat.id()) {
                let message = format!("directory inode {} has two names", stat.ino);
                return Err(Error::new(ErrorKind::Corrupt, message).at_path(path.to_bytes()));
            }
            folders.push(path.clone());
        }
        files.push(describe(tree, &path)?);
    }
    list.push((folder.clone(), files));
    if folder.components().len() >= MAX_DEPTH && !folders.is_empty() {
        let message = format!("directories are nested deeper than {MAX_DEPTH}");
        return Err(Error::new(ErrorKind::Limit, message).at_path(folder.to_bytes()));
    }
    folders.iter().try_for_each(|folder| walk(tree, folder, args, seen, list))
}
