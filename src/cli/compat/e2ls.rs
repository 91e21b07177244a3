//! `e2ls`.

use super::{Next, Stop, dates, parse};
use crate::cli::target::Target;
use crate::cli::{exit, ui};
use clap::Parser;
use nomount::ops::glob::Glob;
use nomount::ops::look::{FileInfo, look};
use nomount::sandbox::Access;
use nomount::tree::{FileKind, FileTree, Follow, GuestPath, existing};
use nomount::{Error, ErrorKind, Session, SessionOptions};
use std::cmp::Ordering;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// List files of an ext filesystem, as e2ls of e2tools
///
/// Times are UTC.
#[derive(Debug, Parser)]
#[command(name = "e2ls", version)]
#[command(after_help = "Example:\n  e2ls -l disk.img:/etc")]
struct Args {
    /// Names that begin with a dot, too
    #[arg(short)]
    all: bool,
    /// The time of the last change of the inode, in place of the contents'
    #[arg(short)]
    ctime: bool,
    #[arg(short = 'D', hide = true)]
    deleted: bool,
    /// Image, and directory, for files that are given without an image
    #[arg(short, value_name = "IMAGE:")]
    dir: Option<OsString>,
    /// As they are in the directory, not sorted
    #[arg(short)]
    found: bool,
    /// By inode number, which is printed
    #[arg(short)]
    inode: bool,
    /// Inode, mode, owner, group, size, time
    #[arg(short)]
    long: bool,
    /// In reverse
    #[arg(short)]
    reverse: bool,
    /// By time, the newest first
    #[arg(short)]
    time: bool,
    /// Directories, files, or patterns of names
    #[arg(value_name = "IMAGE:PATH", required = true)]
    files: Vec<OsString>,
}

/// Columns of a terminal, for names beside each other.
const WIDTH: usize = 80;

/// A directory with the files of it that are shown.
struct Listed {
    title: Vec<u8>,
    files: Vec<(Vec<u8>, FileInfo)>,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (args, _) = parse::<Args>(arguments)?;
    if args.deleted {
        let message = "-D: names of deleted files are not looked for";
        return Err(Error::new(ErrorKind::Unsupported, message).into());
    }
    let base = args.dir.as_ref().map(|dir| super::image_and_path(dir).0);
    let named = args.files.iter().map(|file| {
        let (image, path) = match &base {
            Some(base) if !file.as_bytes().contains(&b':') => (base.clone(), file.as_bytes().to_vec()),
            _ => super::image_and_path(file),
        };
        (Target::parse(image), path)
    });
    let named: Vec<(Target, Vec<u8>)> = named.collect();
    let access = named.iter().fold(Access::none(), |access, (target, _)| access.read(&target.image));
    Ok(Next::Work(access, Box::new(move || list_all(&args, &named))))
}

fn list_all(args: &Args, named: &[(Target, Vec<u8>)]) -> nomount::Result<u8> {
    let mut lists = Vec::new();
    for (target, path) in named {
        let options = SessionOptions { partition: target.partition.unwrap_or_default(), ..SessionOptions::default() };
        let mut session = Session::open(&target.image, options)?;
        let listed = list(args, session.tree(), path).map_err(|error| error.in_image(&target.image))?;
        lists.push(listed);
    }
    let several = lists.len() > 1;
    let mut lines = Vec::new();
    for listed in &lists {
        if several {
            lines.push([&listed.title[..], b":"].concat());
        }
        if listed.files.is_empty() {
            lines.push(b"No files found!".to_vec());
        } else if args.long {
            lines.extend(listed.files.iter().map(|(name, file)| long_line(args, name, file)));
        } else {
            lines.extend(beside_each_other(args, &listed.files));
        }
    }
    ui::raw_lines(lines.iter().map(Vec::as_slice)).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

fn list(args: &Args, tree: &dyn FileTree, text: &[u8]) -> nomount::Result<Listed> {
    let path = GuestPath::parse(text)?;
    let is_pattern = path.name().is_some_and(|name| name.iter().any(|byte| b"*?[".contains(byte)));
    let (dir, pattern) = match path.name() {
        Some(name) if is_pattern => {
            (existing(tree, &path.parent().unwrap_or_default(), Follow::Last)?.0, Some(Glob::new(name, false)))
        }
        _ => {
            let (found, stat) = existing(tree, &path, Follow::Last)?;
            if stat.kind != FileKind::Dir {
                let name = path.name().unwrap_or_default().to_vec();
                return Ok(Listed { title: text.to_vec(), files: vec![(name, look(tree, &found)?)] });
            }
            (found, None)
        }
    };
    let is_shown = |name: &[u8]| {
        (args.all || !name.starts_with(b".")) && pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
    };
    let mut files = Vec::new();
    if args.all && pattern.is_none() {
        let above = dir.parent().unwrap_or_default();
        files.push((b".".to_vec(), look(tree, &dir)?));
        files.push((b"..".to_vec(), look(tree, &above)?));
    }
    for entry in tree.entries(&dir)?.into_iter().filter(|entry| is_shown(&entry.name)) {
        if entry.name.is_empty() || entry.name.contains(&b'/') || entry.name.contains(&0) {
            let message = format!("a directory holds the impossible name \"{}\"", entry.name.escape_ascii());
            return Err(Error::new(ErrorKind::Corrupt, message).at_path(dir.to_bytes()));
        }
        let file = look(tree, &dir.join(&entry.name))?;
        files.push((entry.name, file));
    }
    if !args.found {
        files.sort_by(|a, b| order(args, a, b));
    }
    if args.reverse {
        files.reverse();
    }
    Ok(Listed { title: text.to_vec(), files })
}

fn order(args: &Args, a: &(Vec<u8>, FileInfo), b: &(Vec<u8>, FileInfo)) -> Ordering {
    let (first, second) = (&a.1.stat, &b.1.stat);
    let by_name = a.0.cmp(&b.0);
    if args.inode {
        first.ino.cmp(&second.ino).then(by_name)
    } else if args.ctime && (args.time || !args.long) {
        second.ctime.cmp(&first.ctime).then(by_name)
    } else if args.time {
        second.mtime.cmp(&first.mtime).then(by_name)
    } else {
        by_name
    }
}

/// The type in the bits of st_mode.
fn type_bits(kind: FileKind) -> u32 {
    match kind {
        FileKind::Fifo => 0o010_000,
        FileKind::CharDevice => 0o020_000,
        FileKind::Dir => 0o040_000,
        FileKind::BlockDevice => 0o060_000,
        FileKind::File => 0o100_000,
        FileKind::Symlink => 0o120_000,
        FileKind::Socket => 0o140_000,
    }
}

fn long_line(args: &Args, name: &[u8], file: &FileInfo) -> Vec<u8> {
    let stat = &file.stat;
    let time = dates::of_e2ls(if args.ctime { stat.ctime } else { stat.mtime });
    let mode = type_bits(stat.kind) | stat.mode;
    let (ino, uid, gid, size) = (stat.ino, stat.uid, stat.gid, stat.size);
    let mut line = format!(" {ino:6}  {mode:6o} {uid:5} {gid:5}  {size:7} {time} ").into_bytes();
    line.extend(name);
    line
}

/// Names in columns that are as wide as the longest.
fn beside_each_other(args: &Args, files: &[(Vec<u8>, FileInfo)]) -> Vec<Vec<u8>> {
    let numbers = if args.inode { 8 } else { 0 };
    let longest = files.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let column = WIDTH / (WIDTH / (longest + 2 + numbers)).max(1);
    let mut lines = Vec::new();
    let mut line = Vec::new();
    for (name, file) in files {
        let number = if args.inode { format!("{:7} ", file.stat.ino) } else { String::new() };
        let cell = [number.as_bytes(), name, b" "].concat();
        if !line.is_empty() && line.len() + cell.len() > WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        let padding = column.saturating_sub(cell.len());
        line.extend(cell);
        line.extend(std::iter::repeat_n(b' ', padding));
    }
    lines.push(line);
    lines
}
