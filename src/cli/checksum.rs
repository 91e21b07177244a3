//! `nomount checksum`.

use super::sandbox::{HostAccess, read_file};
use super::target::{ImageArgs, Target};
use super::{exit, host_file, ui};
use nomount::disk::{Choice, Layout};
use nomount::image::Image;
use nomount::ops::look::checksum::{Algorithm, Wanted, line, of_device, of_file, parse_list};
use nomount::sandbox::Access;
use nomount::session::redo_path;
use nomount::tree::{FileKind, FileTree, Follow, GuestPath, Walk, existing};
use nomount::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Print or check checksums of files of a guest, or of a whole disk
///
/// Lines are those of sha256sum and its relatives, of cksum for crc. The algorithm may stand before the image; without,
/// it is sha256. Symbolic links are followed inside the guest. An image without a path means what the guest sees of
/// its disk, whatever the container, and with @N a partition of it.
///
/// Example: nomount checksum disk.qcow2:/boot -r > boot.sums
///
/// Example: nomount checksum disk.qcow2 -c boot.sums
///
/// Example: nomount checksum md5 disk.qcow2:/etc/hosts
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An algorithm (md5, sha1, sha256, sha512, crc), the image, with or without a path in it, and paths in the guest
    #[arg(value_name = "[ALGORITHM] IMAGE[@PARTITION][:/PATH] [PATH]", required = true)]
    arguments: Vec<OsString>,
    #[command(flatten)]
    open: ImageArgs,
    /// All regular files in directories and below; symbolic links in these are not followed
    #[arg(long, short)]
    recursive: bool,
    /// Check the files of a list made by this command or by md5sum, sha1sum, sha256sum, sha512sum; `-` is standard
    /// input. Exit code 1 when one is not as it was
    #[arg(long, short, value_name = "LIST", conflicts_with = "recursive")]
    check: Option<PathBuf>,
    /// With --check: name only those that are not as they were
    #[arg(long, requires = "check")]
    quiet: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// The algorithm that is named, and the arguments behind it, the first of which is the image.
    fn algorithm(&self) -> (Option<Algorithm>, &[OsString]) {
        let named = self.arguments[0].to_str().and_then(Algorithm::parse);
        // A single argument is an image, whatever its name.
        match (named, &self.arguments[1..]) {
            (Some(algorithm), rest @ [_, ..]) => (Some(algorithm), rest),
            _ => (None, &self.arguments[..]),
        }
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let (_, rest) = self.algorithm();
        self.open.reading(&rest[0]).and(read_file(self.check.as_ref()))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let (named, rest) = args.algorithm();
    let target = Target::parse(rest[0].clone());
    let algorithm = named.unwrap_or(Algorithm::Sha256);
    match (&args.check, &target.path, &rest[1..]) {
        (None, None, []) if !args.recursive => device(args, &target, &rest[0], algorithm),
        (None, None, []) => files(args, &target, &[GuestPath::root()], algorithm),
        (None, _, paths) => files(args, &target, &target.guest_paths(paths)?, algorithm),
        (Some(list), None, []) => check(args, &target, list, named),
        (Some(_), _, _) => Err(Error::new(ErrorKind::Usage, "the paths are given twice, in the list and before it")),
    }
}

/// What the guest sees of its disk, or of a partition.
fn device(args: &Args, target: &Target, name: &OsString, algorithm: Algorithm) -> Result<u8> {
    let named = |error: Error| error.in_image(&target.image);
    let choice = args.open.choice(target)?;
    let image = Image::open(&target.image, &args.open.image_options())?;
    if redo_path(&target.image).exists() {
        let message = "a commit was interrupted: part of its changes are in the image";
        return Err(named(Error::new(ErrorKind::Refused, message).hint("run `nomount recover` first")));
    }
    let (start, len) = match choice {
        Choice::Auto | Choice::Whole => (0, image.device.len()),
        Choice::Number(number) => {
            let layout = Layout::read(&image.device, choice).map_err(named)?;
            let volume = layout.partition(number).map_err(named)?;
            (volume.start, volume.len)
        }
        Choice::Inspect => {
            return Err(named(Error::new(ErrorKind::Usage, "a partition needs its number here")));
        }
    };
    let sum = of_device(&image.device, start, len, algorithm).map_err(named)?;
    if args.json {
        let document = json!({
            "algorithm": algorithm.name(),
            "image": target.image.display().to_string(),
            "start": start,
            "size": len,
            "checksum": sum,
        });
        ui::json(document).map_err(ui::output_failed)?;
    } else {
        let mut out = ui::Stream::open();
        out.line(&line(algorithm, &sum, len, name.as_encoded_bytes()))?;
        out.end()?;
    }
    Ok(exit::DONE)
}

fn files(args: &Args, target: &Target, paths: &[GuestPath], algorithm: Algorithm) -> Result<u8> {
    let mut session = args.open.open(target)?;
    let volume = session.volume().to_string();
    let named = |error: Error| error.in_volume(&volume).in_image(&target.image);
    let tree: &dyn FileTree = session.tree();
    let mut tops = Vec::new();
    for path in paths {
        let (place, stat) = existing(tree, path, Follow::Last).map_err(named)?;
        must_be(stat.kind, path, args.recursive).map_err(named)?;
        tops.push((path, place, stat.kind));
    }
    let mut documents = ui::JsonList::new();
    let mut out = ui::Stream::open();
    let mut tell = |name: &GuestPath, place: &GuestPath, size: u64| -> Result<()> {
        let (sum, len) = of_file(tree, place, size, algorithm)?;
        if args.json {
            return documents.push(&json!({ "path": ui::bytes_json(&name.to_bytes()), "size": len, "checksum": sum }));
        }
        out.line(&line(algorithm, &sum, len, &name.to_bytes()))
    };
    for (path, place, kind) in tops {
        let mut walk = Walk::new(place);
        while let Some((found, stat)) = walk.next(tree).map_err(named)? {
            if stat.kind == FileKind::File {
                // A file goes by the name that it was given, not by that of what it leads to.
                let name = if kind == FileKind::File { path } else { &found };
                tell(name, &found, stat.size).map_err(named)?;
            }
        }
    }
    match args.json {
        true => {
            documents.print(json!({ "volume": volume, "algorithm": algorithm.name() }), "files")?;
        }
        false => out.end()?,
    }
    Ok(exit::DONE)
}

fn must_be(kind: FileKind, path: &GuestPath, recursive: bool) -> Result<()> {
    match kind {
        FileKind::File => Ok(()),
        FileKind::Dir if recursive => Ok(()),
        FileKind::Dir => Err(Error::new(ErrorKind::IsADirectory, "is a directory")
            .at_path(path.to_bytes())
            .hint("-r takes all files in it")),
        kind => {
            let message = format!("not a regular file but a {}", kind.noun());
            Err(Error::new(ErrorKind::Refused, message).at_path(path.to_bytes()))
        }
    }
}

/// What became of a file of a list.
enum Verdict {
    Ok,
    Differs,
    /// It cannot be read; the message says why.
    Unreadable(String),
}

fn check(args: &Args, target: &Target, list: &Path, algorithm: Option<Algorithm>) -> Result<u8> {
    let text = match list == Path::new("-") {
        true => host_file::standard_input("the list")?,
        false => host_file::read(list)?,
    };
    let list = parse_list(&text)?;
    if let Some(other) = list.iter().find(|wanted| algorithm.is_some_and(|algorithm| algorithm != wanted.algorithm)) {
        let message = format!("the list has checksums of {}", other.algorithm.name());
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let mut session = args.open.open(target)?;
    let volume = session.volume().to_string();
    let tree: &dyn FileTree = session.tree();
    let mut documents = Vec::new();
    let mut out = ui::Stream::open();
    let (mut differing, mut unreadable) = (0, 0);
    for wanted in &list {
        let verdict = judge(tree, wanted);
        let word = match &verdict {
            Verdict::Ok => "OK",
            Verdict::Differs => "FAILED",
            Verdict::Unreadable(_) => "FAILED open or read",
        };
        differing += u64::from(matches!(verdict, Verdict::Differs));
        unreadable += u64::from(matches!(verdict, Verdict::Unreadable(_)));
        if args.json {
            documents.push(document(wanted, &verdict));
        } else if !args.quiet || !matches!(verdict, Verdict::Ok) {
            out.line(&[ui::safe(&wanted.name).as_bytes(), b": ", word.as_bytes()].concat())?;
            if let Verdict::Unreadable(why) = &verdict {
                ui::warning(&format!("{}: {why}", ui::safe(&wanted.name)));
            }
        }
    }
    let all_ok = differing + unreadable == 0;
    if args.json {
        ui::json(json!({ "volume": volume, "ok": all_ok, "files": documents })).map_err(ui::output_failed)?;
    } else {
        out.end()?;
        if !all_ok {
            let of = list.len();
            ui::warning(&format!("of {of} files, {differing} differ and {unreadable} cannot be read"));
        }
    }
    Ok(if all_ok { exit::DONE } else { exit::FAILED })
}

fn judge(tree: &dyn FileTree, wanted: &Wanted) -> Verdict {
    let read = || -> Result<String> {
        let path = GuestPath::parse(&wanted.name)?;
        let (place, stat) = existing(tree, &path, Follow::Last)?;
        must_be(stat.kind, &path, false)?;
        Ok(of_file(tree, &place, stat.size, wanted.algorithm)?.0)
    };
    match read() {
        Ok(sum) if sum == wanted.sum => Verdict::Ok,
        Ok(_) => Verdict::Differs,
        Err(error) => Verdict::Unreadable(error.chain()),
    }
}

fn document(wanted: &Wanted, verdict: &Verdict) -> Value {
    let (word, why) = match verdict {
        Verdict::Ok => ("ok", None),
        Verdict::Differs => ("differs", None),
        Verdict::Unreadable(why) => ("unreadable", Some(why)),
    };
    json!({
        "path": ui::bytes_json(&wanted.name),
        "algorithm": wanted.algorithm.name(),
        "checksum": wanted.sum,
        "verdict": word,
        "error": why,
    })
}
