//! `nomount stat`, and how a file is shown.

use super::sandbox::HostAccess;
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::ops::look::{FileInfo, Names, look};
use nomount::sandbox::Access;
use nomount::tree::{FileKind, FileTree, Follow, Time, Xattr, resolve};
use nomount::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::ffi::OsString;

/// Show what is known of files of a guest: type, mode, owner, size, times, extended attributes
///
/// Example: nomount stat disk.qcow2:/etc/shadow
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    #[command(flatten)]
    open: ImageArgs,
    /// Follow symbolic links
    #[arg(long, short = 'L')]
    dereference: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let paths = target.guest_paths(&args.paths)?;
    let mut session = args.open.open(&target)?;
    let volume = session.volume().to_string();
    let named = |error: Error| error.in_volume(&volume).in_image(&target.image);
    let follow = if args.dereference { Follow::Last } else { Follow::NotLast };
    let tree: &dyn FileTree = session.tree();
    let mut files = Vec::new();
    for path in &paths {
        let found = resolve(tree, path, follow).map_err(named)?;
        if found.stat.is_none() {
            return Err(named(Error::new(ErrorKind::NotFound, "no such file or directory").at_path(path.to_bytes())));
        }
        files.push((look(tree, &found.path).map_err(named)?, tree.xattrs(&found.path).map_err(named)?));
    }
    let printed = if args.json {
        let files: Vec<Value> = files.iter().map(|(file, xattrs)| with_xattrs(file_json(file, None), xattrs)).collect();
        ui::json(json!({ "volume": volume, "files": files }))
    } else {
        ui::lines(files.iter().flat_map(|(file, xattrs)| paragraph(file, xattrs)))
    };
    printed.map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

/// Adds extended attributes to a file's JSON.
pub fn with_xattrs(mut file: Value, xattrs: &[Xattr]) -> Value {
    let list: Vec<Value> = xattrs
        .iter()
        .map(|(name, value)| json!({ "name": ui::bytes_json(name), "value_hex": ui::hex(value) }))
        .collect();
    file["xattrs"] = Value::Array(list);
    file
}

/// The letter that ls begins a line with.
pub fn letter(kind: FileKind) -> char {
    match kind {
        FileKind::File => '-',
        FileKind::Dir => 'd',
        FileKind::Symlink => 'l',
        FileKind::CharDevice => 'c',
        FileKind::BlockDevice => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
    }
}

/// The word for a kind of file in JSON and CSV.
pub fn word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Dir => "directory",
        FileKind::Symlink => "symlink",
        FileKind::CharDevice => "char_device",
        FileKind::BlockDevice => "block_device",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
    }
}

/// `rwxr-sr-t`, as ls prints it.
pub fn permissions(mode: u32) -> String {
    let mut text = String::new();
    for (shift, special, both, alone) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift & 7;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => both,
            (false, true) => alone,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// `2026-11-23T12:34:56Z`: days since 1970 as a date, after the usual reckoning in eras of 400 years.
pub fn utc(time: Time) -> String {
    const DAY: i64 = 86_400;
    let (days, of_day) = (time.sec.div_euclid(DAY), time.sec.rem_euclid(DAY));
    // Years begin in March here, so that the leap day is the last.
    let since_era_zero = days + 719_468;
    let (era, of_era) = (since_era_zero.div_euclid(146_097), since_era_zero.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn time_json(time: Time) -> Value {
    json!({ "sec": time.sec, "nsec": time.nsec })
}

fn paragraph(file: &FileInfo, xattrs: &[Xattr]) -> Vec<String> {
    let stat = &file.stat;
    let arrow = file.target.as_ref().map(|target| format!(" -> {}", ui::safe(target))).unwrap_or_default();
    let mut lines = vec![
        format!("  File: {}{arrow}", ui::safe(&file.path.to_bytes())),
        format!("  Size: {:<12} Blocks: {:<10} {}", stat.size, stat.blocks, stat.kind.noun()),
        format!(" Inode: {:<12} Links: {}", stat.ino, stat.links),
        format!(
            "Access: ({:04o}/{}{})  Uid: {}  Gid: {}",
            stat.mode,
            letter(stat.kind),
            permissions(stat.mode),
            stat.uid,
            stat.gid
        ),
    ];
    if let Some((major, minor)) = stat.device {
        lines.push(format!("Device: {major}, {minor}"));
    }
    let times = [("Access", Some(stat.atime)), ("Modify", Some(stat.mtime)), ("Change", Some(stat.ctime))];
    for (name, time) in times.into_iter().chain([(" Birth", stat.btime)]) {
        if let Some(time) = time {
            lines.push(format!("{name}: {} ({}.{:09})", utc(time), time.sec, time.nsec));
        }
    }
    lines.extend(xattrs.iter().map(|(name, value)| format!(" Xattr: {}={}", ui::safe(name), ui::safe(value))));
    lines
}

/// All that is known of a file as JSON; with the names of its owners where `names` are given, null where they have none.
pub fn file_json(file: &FileInfo, names: Option<&Names>) -> Value {
    let stat = &file.stat;
    let mut document = json!({
        "path": ui::bytes_json(&file.path.to_bytes()),
        "type": word(stat.kind),
        "mode": format!("{:04o}", stat.mode),
        "uid": stat.uid,
        "gid": stat.gid,
        "size": stat.size,
        "blocks": stat.blocks,
        "inode": stat.ino,
        "links": stat.links,
        "device": stat.device.map(|(major, minor)| json!({ "major": major, "minor": minor })),
        "target": file.target.as_deref().map(ui::bytes_json),
        "atime": time_json(stat.atime),
        "mtime": time_json(stat.mtime),
        "ctime": time_json(stat.ctime),
        "btime": stat.btime.map(time_json),
    });
    if let Some(names) = names {
        document["user"] = names.user(stat.uid).map_or(Value::Null, ui::bytes_json);
        document["group"] = names.group(stat.gid).map_or(Value::Null, ui::bytes_json);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_as_ls_prints_them() {
        assert_eq!(permissions(0o755), "rwxr-xr-x");
        assert_eq!(permissions(0o7644), "rwSr-Sr-T");
        assert_eq!(permissions(0o7777), "rwsrwsrwt");
    }

    #[test]
    fn dates_of_the_calendar() {
        for (sec, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_478_400, "2026-11-24T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (15_032_385_535, "2446-05-10T22:38:55Z"),
        ] {
            assert_eq!(utc(Time { sec, nsec: 0 }), text);
        }
    }
}
