//! `nomount copy-out`.

use super::copy_args::{KeepArgs, contents_only, listener, room};
use super::sandbox::HostAccess;
use super::target::{ImageArgs, Target};
use super::{exit, ui};
use nomount::ops::copy::{Copied, OutOptions, copy_out};
use nomount::ops::populate::{GuestTree, GuestWalk};
use nomount::sandbox::Access;
use nomount::tree::{FileTree, Follow, GuestPath, existing};
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::ffi::OsString;
use std::path::Path;

/// Copy files and directories of a guest into a directory of the host
///
/// The last argument is the directory, which must exist; everything before goes into it under its own name, directories
/// with all that is in them. Copies belong to the caller and have the modes of the guest without set-id bits, unless
/// --archive or --preserve say otherwise; with --archive, what the host refuses is noted. Whatever names, links and
/// devices the image holds, nothing outside the directory is written.
///
/// Example: nomount copy-out disk.qcow2 /var/log /etc/fstab ./out
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, with or without the first path in it
    #[arg(value_name = "IMAGE[@PARTITION][:/PATH]")]
    image: OsString,
    /// Paths in the guest, then the directory of the host
    #[arg(value_name = "PATH... DIR", required = true)]
    paths: Vec<OsString>,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    open: ImageArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let access = self.open.reading(&self.image);
        match self.paths.last() {
            Some(dir) => access.tree(dir),
            None => access,
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    let (dir, paths) = args.paths.split_last().expect("one is required");
    if target.path.is_none() && paths.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "paths of the guest and a directory of the host are needed"));
    }
    let texts = target.path_texts(paths)?;
    let dir = Path::new(dir);
    if !dir.is_dir() {
        let kind = if dir.exists() { ErrorKind::NotADirectory } else { ErrorKind::NotFound };
        return Err(Error::new(kind, format!("{} is no directory of the host", dir.display())));
    }
    let mut how = OutOptions { keep: args.keep.keep(), devices: args.keep.archive };
    // As tar does, which other tools of this name call.
    how.keep.links = true;
    let mut session = args.open.open(&target)?;
    let (volume, room) = (session.volume().to_string(), room(&session));
    let tree: &dyn FileTree = session.tree();
    let mut copied = Copied::default();
    for text in &texts {
        let one = copy_one(tree, room, text, dir, how);
        copied.add(one.map_err(|error| error.in_volume(&volume).in_image(&target.image))?);
    }
    report(args.json, &volume, &copied)
}

/// Copies what `text` names in the guest into `dir` under its own name.
fn copy_one(tree: &dyn FileTree, room: u64, text: &[u8], dir: &Path, how: OutOptions) -> Result<Copied> {
    let path = GuestPath::parse(text)?;
    let follow = if text.ends_with(b"/") || contents_only(text) { Follow::Last } else { Follow::NotLast };
    let (place, _) = existing(tree, &path, follow)?;
    let name = path.name().filter(|_| !contents_only(text));
    let walk = GuestWalk::new(place, room, how.keep.links, how.keep.xattrs);
    copy_out(&mut GuestTree::new(tree, walk), dir, name, how, &mut listener())
}

/// Prints what was copied to the host: without --json only what is to be noticed, as cp(1) does.
pub fn report(as_json: bool, volume: &str, copied: &Copied) -> Result<u8> {
    copied.notes.iter().for_each(|note| ui::note(note));
    if as_json {
        let document = json!({ "volume": volume, "copied": copied, "notes": copied.notes });
        ui::json(document).map_err(ui::output_failed)?;
    }
    Ok(exit::DONE)
}
