//! `nomount mtree`.

use super::ls::parse_algorithm;
use super::sandbox::HostAccess;
use super::stat::file_json;
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::ops::look::checksum::Algorithm;
use nomount::ops::look::mtree::{HEADER, check_hash, manifest};
use nomount::sandbox::Access;
use nomount::tree::{FileTree, Follow, existing};
use nomount::{Error, Result};
use serde_json::json;
use std::ffi::OsString;

/// Print a manifest of a guest's files: owners, modes, times, checksums
///
/// The format is mtree(5), as `systemd-dissect --mtree` and bsdtar write it: a line for each file with its full path
/// below the directory, which is `.`; names sorted; what is not a visible character in a name as `\040`. Two manifests
/// can be compared with diff(1), and a tree be verified with mtree(8).
///
/// Example: nomount mtree disk.qcow2:/usr > usr.mtree
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without a path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Path in the guest; a symbolic link is followed inside it [default: /]
    #[arg(value_name = "PATH")]
    path: Option<OsString>,
    #[command(flatten)]
    open: ImageArgs,
    /// Checksum of regular files, or none, which reads no contents
    #[arg(long, value_name = "md5|sha1|sha256|sha512|none", default_value = "sha256", value_parser = parse_hash)]
    hash: Hash,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// A checksum, or none.
type Hash = Option<Algorithm>;

fn parse_hash(name: &str) -> Result<Hash, String> {
    match name {
        "none" => Ok(None),
        name => {
            let hash = parse_algorithm(name)?;
            check_hash(hash).map(|()| Some(hash)).map_err(|error| error.message().to_owned())
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
    let path = target.guest_path(args.path.as_ref())?.unwrap_or_default();
    let mut session = args.open.open(&target)?;
    let volume = session.volume().to_string();
    let named = |error: Error| error.in_volume(&volume).in_image(&target.image);
    let tree: &dyn FileTree = session.tree();
    let top = existing(tree, &path, Follow::Last).map_err(named)?.0;
    let mut files = Vec::new();
    let mut out = ui::Stream::open();
    if !args.json {
        out.text(HEADER)?;
    }
    manifest(tree, &top, args.hash, &mut |entry| {
        if !args.json {
            return out.text(&entry.line(args.hash));
        }
        let mut file = file_json(&entry.file, None);
        if let Some(hash) = args.hash {
            file["checksum"] = entry.digest.as_ref().map_or(json!(null), |digest| json!({ hash.name(): digest }));
        }
        files.push(file);
        Ok(())
    })
    .map_err(named)?;
    match args.json {
        true => ui::json(json!({ "volume": volume, "files": files })).map_err(ui::output_failed)?,
        false => out.end()?,
    }
    Ok(exit::DONE)
}
