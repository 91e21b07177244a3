//! `nomount du`.

use super::bytes::{self, Rounding};
use super::sandbox::HostAccess;
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::ops::look::du::{DuOptions, Usage};
use nomount::sandbox::Access;
use nomount::tree::{FileTree, Follow, GuestPath, existing};
use nomount::{Error, Result};
use serde_json::json;
use std::ffi::OsString;

/// Show how much space files and directories of a guest take
///
/// Options and output are those of coreutils: units of 1 KiB, rounded up, directories after what is in them. A file
/// with several names is counted once, under the first that is met; names are sorted. Symbolic links are not followed.
///
/// Example: nomount du -sh disk.qcow2:/usr disk.qcow2:/var
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
    /// Files, too, not only directories
    #[arg(long, short)]
    all: bool,
    /// Only a total for each path
    #[arg(long, short, conflicts_with_all = ["all", "max_depth"])]
    summarize: bool,
    /// Nothing that is more than N directories below the paths
    #[arg(long, short = 'd', value_name = "N")]
    max_depth: Option<usize>,
    /// A total of all paths at the end
    #[arg(long, short = 'c')]
    total: bool,
    /// Lengths of regular files and symbolic links, in place of what is allocated on the disk
    #[arg(long)]
    apparent_size: bool,
    /// As --apparent-size, in bytes
    #[arg(long, short)]
    bytes: bool,
    /// Sizes such as 4.0K and 12M
    #[arg(long, short, conflicts_with = "bytes")]
    human_readable: bool,
    /// Nothing that is in directories where other filesystems are mounted
    #[arg(long, short = 'x')]
    one_file_system: bool,
    /// Print the result as JSON: sizes in bytes
    #[arg(long)]
    pub json: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

impl Args {
    fn shown(&self, size: u64) -> String {
        match (self.bytes, self.human_readable) {
            (true, _) => size.to_string(),
            (_, true) => bytes::short(size, Rounding::Up),
            _ => size.div_ceil(1024).to_string(),
        }
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
    let paths = match (&target.path, &args.paths[..]) {
        (None, []) => vec![GuestPath::root()],
        _ => target.guest_paths(&args.paths)?,
    };
    let mut session = args.open.open(&target)?;
    let volume = session.volume().to_string();
    let named = |error: Error| error.in_volume(&volume).in_image(&target.image);
    let tree: &dyn FileTree = session.tree();
    let mut tops = Vec::new();
    for path in &paths {
        tops.push(existing(tree, path, Follow::NotLast).map_err(named)?.0);
    }
    let options = DuOptions {
        apparent_size: args.apparent_size || args.bytes,
        all: args.all,
        max_depth: if args.summarize { 0 } else { args.max_depth.unwrap_or(usize::MAX) },
        one_filesystem: args.one_file_system,
    };
    let mut usage = Usage::new(options, tops.len() > 1);
    let mut files = Vec::new();
    let mut out = ui::Stream::open();
    let mut sink = |path: &GuestPath, size: u64| {
        if args.json {
            files.push(json!({ "path": ui::bytes_json(&path.to_bytes()), "bytes": size }));
            return Ok(());
        }
        out.line(&[args.shown(size).as_bytes(), b"\t", &path.to_bytes()].concat())
    };
    for top in &tops {
        usage.count(tree, top, &mut sink).map_err(named)?;
    }
    if args.json {
        let document = json!({ "volume": volume, "files": files, "total_bytes": usage.total() });
        ui::json(document).map_err(ui::output_failed)?;
        return Ok(exit::DONE);
    }
    if args.total {
        out.text(&format!("{}\ttotal", args.shown(usage.total())))?;
    }
    out.end()?;
    Ok(exit::DONE)
}
