//! `nomount ls`.

use super::bytes::{self, Rounding};
use super::long::{Long, TimeStyle, arrow};
use super::sandbox::HostAccess;
use super::stat::{file_json, word};
use super::table::csv;
use super::target::{ImageArgs, Target};
use super::{exit, memory, ui};
use nomount::Result;
use nomount::ops::look::checksum::{Algorithm, of_file};
use nomount::ops::look::{FileInfo, Folder, ListOptions, Names, list, look};
use nomount::sandbox::Access;
use nomount::tree::{FileKind, FileTree, Follow, GuestPath, existing};
use serde_json::{Value, json};
use std::ffi::OsString;

/// List files of a guest
///
/// Options and output are those of coreutils; names are sorted by their bytes. A symbolic link to a directory is
/// followed inside the guest, but with -d. Owners are named by the guest's own passwd and group. Times are UTC.
///
/// What could control a terminal in a name is escaped, wherever it is printed; --csv and `find` give the bytes.
///
/// Example: nomount ls -l disk.qcow2:/etc/ssh
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest [default: /]
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    #[command(flatten)]
    open: ImageArgs,
    /// One line for each file with its mode, links, owner, size, time
    #[arg(long, short)]
    long: bool,
    /// Names that begin with a dot, too, but never `.` and `..`
    #[arg(long, short, visible_short_alias = 'A')]
    all: bool,
    /// Directories and what is below them
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Directories themselves and not what is in them
    #[arg(long, short, conflicts_with = "recursive")]
    directory: bool,
    /// With -l: sizes such as 4.0K and 12M
    #[arg(long, short)]
    human_readable: bool,
    /// As -l, with the numbers of owners
    #[arg(long, short)]
    numeric_uid_gid: bool,
    /// With -l: how times are printed, always UTC; +%s are seconds since 1970
    #[arg(long, value_name = "utc|full-iso|long-iso|+%s", default_value = "utc", value_parser = TimeStyle::parse)]
    time_style: TimeStyle,
    /// Checksums of regular files, with sha256 where none is named
    #[arg(long, value_name = "md5|sha1|sha256|sha512|crc", num_args = 0..=1, require_equals = true,
          default_missing_value = "sha256", value_parser = parse_algorithm)]
    checksum: Option<Algorithm>,
    /// All that -l has as comma-separated values, with a line of titles
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// Reads the name of a checksum.
pub fn parse_algorithm(name: &str) -> Result<Algorithm, String> {
    Algorithm::parse(name).ok_or_else(|| "md5, sha1, sha256, sha512 or crc is needed".to_owned())
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.open.reading(&self.image)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let paths = match (&target.path, &args.paths[..]) {
        (None, []) => vec![GuestPath::root()],
        _ => target.guest_paths(&args.paths)?,
    };
    let mut session = args.open.open(&target)?;
    let volume = session.volume().to_string();
    run_on(args, session.tree(), &paths, &volume).map_err(|error| error.in_volume(&volume).in_image(&target.image))
}

fn run_on(args: &Args, tree: &dyn FileTree, paths: &[GuestPath], volume: &str) -> Result<u8> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for path in paths {
        match folder(tree, path, args.directory)? {
            Some(folder) => folders.push(folder),
            None => files.push(look(tree, &existing(tree, path, Follow::NotLast)?.0)?),
        }
    }
    let mut printer = Printer::new(args, tree, folders.len() + files.len() > 1);
    if !files.is_empty() {
        printer.print(None, files)?;
    }
    let options = ListOptions { all: args.all, recursive: args.recursive };
    for path in &folders {
        list(tree, path, options, &memory::budget(), &mut |Folder { path, files }| printer.print(Some(&path), files))?;
    }
    printer.end(volume)
}

/// Where a path leads, if that is a directory whose files are to be listed.
fn folder(tree: &dyn FileTree, path: &GuestPath, itself: bool) -> Result<Option<GuestPath>> {
    if itself {
        return Ok(None);
    }
    // A link that leads nowhere is a file to be listed.
    let found = nomount::tree::find(tree, path);
    let is_link = || existing(tree, path, Follow::NotLast).is_ok_and(|(_, stat)| stat.kind == FileKind::Symlink);
    match found {
        Ok(found) => {
            let is_dir = |stat: &nomount::tree::Stat| stat.kind == FileKind::Dir;
            Ok(found.filter(|found| found.stat.as_ref().is_some_and(is_dir)).map(|found| found.path))
        }
        Err(_) if is_link() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Prints one directory after the other.
struct Printer<'a> {
    args: &'a Args,
    tree: &'a dyn FileTree,
    long: Option<Long>,
    names: Names,
    /// Whether directories are named before what is in them.
    headed: bool,
    first: bool,
    out: ui::Stream,
    json: ui::JsonList,
}

impl<'a> Printer<'a> {
    fn new(args: &'a Args, tree: &'a dyn FileTree, several: bool) -> Self {
        let is_long = args.long || args.numeric_uid_gid;
        let names = if is_long || args.csv || args.json { Names::of(tree) } else { Names::default() };
        if let Some(problem) = names.problem().filter(|_| !args.numeric_uid_gid) {
            ui::warning(problem);
        }
        let long = is_long.then(|| Long {
            names: (!args.numeric_uid_gid).then(|| names.clone()),
            human: args.human_readable,
            style: args.time_style,
        });
        let headed = several || args.recursive;
        Self { args, tree, long, names, headed, first: true, out: ui::Stream::open(), json: ui::JsonList::new() }
    }

    /// Prints the files of a directory, or those that were named.
    fn print(&mut self, folder: Option<&GuestPath>, files: Vec<FileInfo>) -> Result<()> {
        let first = std::mem::take(&mut self.first);
        if self.args.json {
            for file in &files {
                let document = self.file_json(file)?;
                self.json.push(&document)?;
            }
            return Ok(());
        }
        if self.args.csv {
            if first {
                self.titles()?;
            }
            return files.iter().try_for_each(|file| self.row(file));
        }
        if let Some(folder) = folder {
            self.head(folder, &files, first)?;
        }
        match self.long.take() {
            Some(long) => {
                let printed = long.lines(&files, &mut |file, line| self.line(file, folder, &line, &arrow(file)));
                self.long = Some(long);
                printed
            }
            None => files.iter().try_for_each(|file| self.line(file, folder, "", "")),
        }
    }

    /// A line with the checksum that was asked for and the name of a file: of one that is in no folder, its path.
    fn line(&mut self, file: &FileInfo, folder: Option<&GuestPath>, before: &str, after: &str) -> Result<()> {
        let name = match (folder, file.path.name()) {
            (Some(_), Some(name)) => ui::safe(name),
            _ => ui::safe(&file.path.to_bytes()),
        };
        let sum = match self.args.checksum {
            None => String::new(),
            Some(algorithm) => {
                let sum = self.sum(file)?;
                format!("{:<width$}  ", sum.as_deref().unwrap_or("-"), width = algorithm.width())
            }
        };
        self.out.text(&format!("{before}{sum}{name}{after}"))
    }

    /// The directory's name where there are several, and with -l what its files take.
    fn head(&mut self, folder: &GuestPath, files: &[FileInfo], first: bool) -> Result<()> {
        if self.headed {
            if !first {
                self.out.text("")?;
            }
            self.out.text(&format!("{}:", ui::safe(&folder.to_bytes())))?;
        }
        if self.long.is_some() {
            let sectors = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.stat.blocks));
            let total = match self.args.human_readable {
                true => bytes::short(sectors.saturating_mul(512), Rounding::Up),
                false => sectors.div_ceil(2).to_string(),
            };
            self.out.text(&format!("total {total}"))?;
        }
        Ok(())
    }

    fn sum(&self, file: &FileInfo) -> Result<Option<String>> {
        match (self.args.checksum, file.stat.kind) {
            (Some(algorithm), FileKind::File) => {
                of_file(self.tree, &file.path, file.stat.size, algorithm).map(|(sum, _)| Some(sum))
            }
            _ => Ok(None),
        }
    }

    fn file_json(&self, file: &FileInfo) -> Result<Value> {
        let mut document = file_json(file, Some(&self.names));
        if let Some(algorithm) = self.args.checksum {
            document["checksum"] = self.sum(file)?.map_or(Value::Null, |sum| json!({ algorithm.name(): sum }));
        }
        Ok(document)
    }

    fn titles(&mut self) -> Result<()> {
        const TITLES: [&str; 12] =
            ["path", "type", "mode", "links", "uid", "user", "gid", "group", "size", "device", "mtime", "target"];
        let sum = self.args.checksum.map(Algorithm::name);
        self.out.line(&csv(TITLES.into_iter().chain(sum)))
    }

    fn row(&mut self, file: &FileInfo) -> Result<()> {
        let stat = &file.stat;
        let name = |name: Option<&[u8]>| name.unwrap_or_default().to_vec();
        let mut fields = vec![
            file.path.to_bytes(),
            word(stat.kind).into(),
            format!("{:04o}", stat.mode).into_bytes(),
            stat.links.to_string().into_bytes(),
            stat.uid.to_string().into_bytes(),
            name(self.names.user(stat.uid)),
            stat.gid.to_string().into_bytes(),
            name(self.names.group(stat.gid)),
            stat.size.to_string().into_bytes(),
            stat.device.map(|(major, minor)| format!("{major}:{minor}")).unwrap_or_default().into_bytes(),
            self.args.time_style.show(stat.mtime).into_bytes(),
            file.target.clone().unwrap_or_default(),
        ];
        if self.args.checksum.is_some() {
            fields.push(self.sum(file)?.unwrap_or_default().into_bytes());
        }
        self.out.line(&csv(fields))
    }

    fn end(self, volume: &str) -> Result<u8> {
        if self.args.json {
            self.json.print(json!({ "volume": volume }), "files")?;
        } else {
            self.out.end()?;
        }
        Ok(exit::DONE)
    }
}
