//! `virt-ls`.

use super::disks::{Disks, Image, Mounts};
use super::{Next, Stop, dates, parse};
use crate::cli::bytes::{Rounding, short};
use crate::cli::stat::{letter, permissions};
use crate::cli::table::csv_line;
use crate::cli::target::now;
use crate::cli::{exit, ui};
use clap::Parser;
use nomount::disk::Choice;
use nomount::ops::look::checksum::{Algorithm, of_file};
use nomount::ops::look::{FileInfo, look};
use nomount::tree::{FileKind, FileTree, Follow, GuestPath, Time, Walk, existing};
use nomount::{Error, ErrorKind, Session, SessionOptions};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// List files of a guest, as virt-ls of libguestfs
///
/// Times are UTC.
#[derive(Debug, Parser)]
#[command(name = "virt-ls", version, disable_help_flag = true)]
#[command(after_help = "Example:\n  virt-ls -lR -a disk.qcow2 /etc")]
struct Args {
    #[command(flatten)]
    disks: Disks,
    #[command(flatten)]
    mounts: Mounts,
    /// As ls -la; with -R type, mode, size and path of everything below
    #[arg(short = 'l', long)]
    long: bool,
    /// Everything below
    #[arg(short = 'R', long)]
    recursive: bool,
    /// With -lR: checksums of regular files, with md5 where none is named
    #[arg(long, visible_alias = "checksums", value_name = "md5|sha1|sha256|sha512|crc", num_args = 0..=1,
          require_equals = true, default_missing_value = "md5")]
    checksum: Option<String>,
    /// With -lR: comma-separated values
    #[arg(long)]
    csv: bool,
    /// With -lR: sizes with K, M, G, T
    #[arg(short = 'h', long = "human-readable", conflicts_with = "csv")]
    human: bool,
    /// With -lR: owner and group, by number
    #[arg(long, visible_alias = "uid")]
    uids: bool,
    /// With -lR: times of last access, change of contents, change of the inode
    #[arg(long, visible_alias = "time")]
    times: bool,
    /// The same in seconds since 1970
    #[arg(long)]
    time_t: bool,
    /// The same in seconds before now
    #[arg(long)]
    time_relative: bool,
    /// The same in days before now
    #[arg(long)]
    time_days: bool,
    #[arg(long, visible_alias = "extra-stat", hide = true)]
    extra_stats: bool,
    /// Directories of the guest; without -a the image, then one directory
    #[arg(value_name = "DIR", required = true)]
    dirs: Vec<OsString>,
}

pub(super) fn run(arguments: &[OsString]) -> Result<Next, Stop> {
    let (mut args, matches) = parse::<Args>(arguments)?;
    let image = args.disks.image(&matches, &mut args.dirs, 1)?;
    let times = args.times || args.time_t || args.time_relative || args.time_days;
    let only_both = args.csv || args.human || args.uids || times || args.checksum.is_some();
    if only_both && !(args.long && args.recursive) {
        return Err(Error::new(ErrorKind::Usage, "--csv, -h, --uids, --times and --checksum are for -lR").into());
    }
    if args.extra_stats {
        let message = "--extra-stats: no machine runs that would give the disk a device number";
        return Err(Error::new(ErrorKind::Unsupported, message)
            .hint("`nomount ls --json` has inodes and links")
            .into());
    }
    let partition = match args.mounts.arguments()?.first().and_then(|argument| argument.to_str()) {
        Some(argument) => Choice::parse(argument.trim_start_matches("--partition="))?,
        None => Choice::default(),
    };
    let options = SessionOptions { image: image.options(), partition, ..SessionOptions::default() };
    Ok(Next::Work(image.access(), Box::new(move || list_all(&args, &image, options))))
}

fn list_all(args: &Args, image: &Image, options: SessionOptions) -> nomount::Result<u8> {
    let mut session = Session::open(&image.path, options)?;
    session.notes().iter().for_each(|note| ui::note(note));
    let volume = session.volume().to_string();
    let tree: &dyn FileTree = session.tree();
    let mut failed = false;
    for dir in &args.dirs {
        if let Err(error) = list(args, tree, dir) {
            if ui::is_broken_pipe(&error) {
                return Err(error);
            }
            // The others are listed all the same.
            ui::error(&error.in_volume(&volume).in_image(&image.path), false);
            failed = true;
        }
    }
    Ok(if failed { exit::FAILED } else { exit::DONE })
}

fn list(args: &Args, tree: &dyn FileTree, dir: &OsString) -> nomount::Result<()> {
    let path = GuestPath::parse(dir.as_bytes())?;
    let (top, stat) = existing(tree, &path, Follow::Last)?;
    if stat.kind != FileKind::Dir {
        let message = format!("not a directory but a {}", stat.kind.noun());
        return Err(Error::new(ErrorKind::NotADirectory, message).at_path(path.to_bytes()));
    }
    let mut walk = Walk::to_depth(top.clone(), if args.recursive { usize::MAX } else { 1 });
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut files = Vec::new();
    // What is under the directory has its name as it was given.
    let shown = |found: &GuestPath| {
        let below = found.components().skip(top.components().len());
        below.fold(path.clone(), |path, name| path.join(name))
    };
    while let Some((found, _)) = walk.next(tree)? {
        let is_top = found == top;
        match (args.long, args.recursive) {
            (false, false) if !is_top => lines.push(found.name().unwrap_or_default().to_vec()),
            (false, true) if !is_top => {
                let whole = shown(&found).to_bytes();
                let skip = path.to_bytes().len() + usize::from(!path.is_root());
                lines.push(whole[skip..].to_vec());
            }
            (true, true) => lines.push(long_recursive(args, tree, &look(tree, &found)?, &shown(&found))?),
            (true, false) if !is_top => files.push(look(tree, &found)?),
            _ => {}
        }
    }
    if args.long && !args.recursive {
        lines = as_ls(tree, &top, files)?;
    } else if args.recursive && !args.long {
        lines.sort();
    }
    ui::raw_lines(lines.iter().map(Vec::as_slice)).map_err(ui::output_failed)
}

/// Type, mode, size, what else was asked for, and path, as -lR.
fn long_recursive(args: &Args, tree: &dyn FileTree, file: &FileInfo, shown: &GuestPath) -> nomount::Result<Vec<u8>> {
    let stat = &file.stat;
    let size = if args.human { short(stat.size, Rounding::Nearest) } else { stat.size.to_string() };
    let mut cells: Vec<Vec<u8>> = vec![
        letter(stat.kind).to_string().into(),
        format!("{:04o}", stat.mode).into(),
        if args.csv { size.into() } else { format!("{size:>10}").into() },
    ];
    if args.uids {
        cells.extend([stat.uid, stat.gid].map(|id| format!("{id:4}").into_bytes()));
    }
    if args.times || args.time_t || args.time_relative || args.time_days {
        let now = now()?;
        cells.extend([stat.atime, stat.mtime, stat.ctime].map(|time| time_text(args, time, now).into_bytes()));
    }
    if let Some(name) = &args.checksum {
        let algorithm = Algorithm::parse(name).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("--checksum={name}: md5, sha1, sha256, sha512 and crc are known"),
            )
        })?;
        match stat.kind {
            FileKind::File => cells.push(of_file(tree, &file.path, stat.size, algorithm)?.0.into()),
            _ if args.csv => cells.push(Vec::new()),
            _ => {}
        }
    }
    // Numbers and times are not quoted, blanks or not.
    let text = |bytes: &[u8]| if args.csv { csv_line([ui::safe(bytes)]).into_bytes() } else { bytes.to_vec() };
    cells.push(text(&shown.to_bytes()));
    if let Some(target) = &file.target {
        let arrow = if args.csv { &b""[..] } else { b"-> " };
        cells.push([arrow, &text(target)].concat());
    }
    Ok(cells.join(if args.csv { b"," } else { b" " }.as_slice()))
}

fn time_text(args: &Args, time: Time, now: Time) -> String {
    let age = now.sec.saturating_sub(time.sec);
    if args.time_days {
        format!("{:3}", age / 86_400)
    } else if args.time_relative {
        format!("{age:8}")
    } else if args.time_t {
        format!("{:10}", time.sec)
    } else {
        dates::of_virt_ls(time)
    }
}

/// The lines of `ls -la`, with owners as numbers, but for root.
fn as_ls(tree: &dyn FileTree, top: &GuestPath, files: Vec<FileInfo>) -> nomount::Result<Vec<Vec<u8>>> {
    let now = now()?;
    let above = top.parent().unwrap_or_default();
    let dots = [(b".".to_vec(), look(tree, top)?), (b"..".to_vec(), look(tree, &above)?)];
    let named = files.into_iter().map(|file| (file.path.name().unwrap_or_default().to_vec(), file));
    let all: Vec<(Vec<u8>, FileInfo)> = dots.into_iter().chain(named).collect();
    let owner = |id: u32| if id == 0 { "root".to_owned() } else { id.to_string() };
    let cells = all.iter().map(|(_, file)| {
        let stat = &file.stat;
        let size = stat.device.map_or(stat.size.to_string(), |(major, minor)| format!("{major}, {minor}"));
        [stat.links.to_string(), owner(stat.uid), owner(stat.gid), size]
    });
    let cells: Vec<[String; 4]> = cells.collect();
    let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let [links, user, group, size] = [0, 1, 2, 3].map(width);
    // In units of 1 KiB, of which st_blocks has two.
    let total: u64 = all.iter().map(|(_, file)| file.stat.blocks).sum::<u64>() / 2;
    let mut lines = vec![format!("total {total}").into_bytes()];
    for ((name, file), row) in all.iter().zip(&cells) {
        let (kind, mode) = (letter(file.stat.kind), permissions(file.stat.mode));
        let time = dates::of_ls(file.stat.mtime, now);
        let [a, b, c, d] = row;
        let mut line = format!("{kind}{mode} {a:>links$} {b:user$} {c:group$} {d:>size$} {time} ").into_bytes();
        line.extend(name);
        if let Some(target) = &file.target {
            line.extend([b" -> ", &target[..]].concat());
        }
        lines.push(line);
    }
    Ok(lines)
}
