//! `nomount readlink`.

use super::sandbox::HostAccess;
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::sandbox::Access;
use nomount::tree::{FileKind, FileTree, Follow, GuestPath, existing, resolve};
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::ffi::OsString;

/// Print what symbolic links of a guest say, or where paths lead
///
/// On a terminal, what could control it is escaped.
///
/// Example: nomount readlink -f disk.qcow2:/etc/os-release
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Print the path without symbolic links in it; the last component need not exist
    #[arg(long, short = 'f')]
    canonicalize: bool,
    #[command(flatten)]
    open: ImageArgs,
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
    let tree: &dyn FileTree = session.tree();
    let mut found = Vec::new();
    for path in &paths {
        let text = match args.canonicalize {
            true => resolve(tree, path, Follow::Last).map(|found| found.path.to_bytes()),
            false => read(tree, path),
        };
        found.push((path, text.map_err(named)?));
    }
    let printed = if args.json {
        let name = if args.canonicalize { "canonical" } else { "target" };
        let links: Vec<_> = found
            .iter()
            .map(|(path, text)| json!({ "path": ui::bytes_json(&path.to_bytes()), name: ui::bytes_json(text) }))
            .collect();
        ui::json(json!({ "volume": volume, "links": links }))
    } else {
        ui::raw_lines(found.iter().map(|(_, text)| text.as_slice()))
    };
    printed.map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

fn read(tree: &dyn FileTree, path: &GuestPath) -> Result<Vec<u8>> {
    let (place, stat) = existing(tree, path, Follow::NotLast)?;
    if stat.kind != FileKind::Symlink {
        let message = format!("not a symbolic link but a {}", stat.kind.noun());
        return Err(Error::new(ErrorKind::NotFound, message).at_path(path.to_bytes()));
    }
    tree.read_link(&place)
}
