//! `nomount cat`.

use super::sandbox::HostAccess;
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::sandbox::Access;
use nomount::tree::{FileKind, FileTree, Follow, GuestPath, read_all, resolve};
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::ffi::OsString;
use std::io::Write;

/// Read at a time.
const BUFFER: usize = 1 << 20;
/// The longest file that is printed as JSON, in bytes: it is held in memory.
const MAX_JSON: u64 = 64 << 20;

/// Print files of a guest
///
/// Example: nomount cat disk.qcow2:/etc/os-release
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest; symbolic links are followed inside it
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    #[command(flatten)]
    open: ImageArgs,
    /// Print contents as JSON: text as a string, other bytes in hexadecimal
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
    let tree: &dyn FileTree = session.tree();
    let named = |error: Error| error.in_volume(&volume).in_image(&target.image);
    let mut found = Vec::new();
    for path in &paths {
        found.push(regular_file(tree, path).map_err(named)?);
    }
    if args.json {
        let mut files = Vec::new();
        for path in &found {
            let contents = read_all(tree, path, MAX_JSON).map_err(named)?;
            files.push(json!({ "path": ui::bytes_json(&path.to_bytes()), "contents": ui::bytes_json(&contents) }));
        }
        ui::json(json!({ "volume": volume, "files": files })).map_err(ui::output_failed)?;
        return Ok(exit::DONE);
    }
    let mut out = std::io::stdout().lock();
    let mut buf = vec![0; BUFFER];
    for path in &found {
        let mut offset = 0;
        loop {
            let got = tree.read_at(path, offset, &mut buf).map_err(named)?;
            if got == 0 {
                break;
            }
            out.write_all(&buf[..got]).map_err(ui::output_failed)?;
            offset += got as u64;
        }
    }
    out.flush().map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

/// Where a path leads, if that is a regular file.
fn regular_file(tree: &dyn FileTree, path: &GuestPath) -> Result<GuestPath> {
    let found = resolve(tree, path, Follow::Last)?;
    let (kind, message) = match found.stat.map(|stat| stat.kind) {
        Some(FileKind::File) => return Ok(found.path),
        None => (ErrorKind::NotFound, "no such file or directory".to_owned()),
        Some(FileKind::Dir) => (ErrorKind::IsADirectory, "is a directory".to_owned()),
        Some(kind) => (ErrorKind::Invalid, format!("is a {}, not a regular file", kind.noun())),
    };
    Err(Error::new(kind, message).at_path(path.to_bytes()))
}
