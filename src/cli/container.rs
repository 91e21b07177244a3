//! `nomount container`.

use super::owners;
use super::password::random_bytes;
use super::sandbox::HostAccess;
use super::target::{DeviceArgs, ImageArgs, Target, changing, now};
use super::{exit, progress, ui};
use nomount::image::{Backing, folder_of};
use nomount::ops::container::{
    Applied, Setup, SetupRequest, Teardown, TeardownRequest, clean, image_of, setup, teardown,
};
use nomount::ops::{IdMap, IdRange};
use nomount::sandbox::Access;
use nomount::{Error, ErrorKind, Result, SessionOptions};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Use the root filesystem of a guest as the directory of a container, without a mount
///
/// `setup` extracts it, `teardown` removes the directory again, with --commit after writing what has changed back into
/// the image. The directory is what LXC (lxc.rootfs.path), crun and podman (--rootfs) take. Without --commit the changes
/// are dropped: unlike a mount, the directory is a copy.
///
/// Example: nomount container setup disk.qcow2 ./rootfs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Setup(SetupArgs),
    Teardown(TeardownArgs),
    Clean(CleanArgs),
}

/// Extract the root filesystem of an image into a directory
///
/// DIR must be missing or empty; until it is complete only its owner can enter it. What was there is written to
/// DIR.nomount-manifest, one JSON object a line, also what the host cannot have: owners where files cannot be given
/// away, attributes but those of users, device nodes, set-user-ID bits.
///
/// Example: nomount container setup disk.qcow2 ./rootfs
#[derive(Debug, clap::Args)]
struct SetupArgs {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    /// The directory to make
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    open: ImageArgs,
    /// COUNT users of the container from CONTAINER on are those of the host from HOST on. Repeatable. By default root
    /// has everyone as they are; for others 0 is the caller, and the rest are those of /etc/subuid
    #[arg(long, value_name = "CONTAINER:HOST:COUNT", value_parser = IdRange::parse)]
    uid_map: Vec<IdRange>,
    /// The same for groups; by default from /etc/subgid
    #[arg(long, value_name = "CONTAINER:HOST:COUNT", value_parser = IdRange::parse)]
    gid_map: Vec<IdRange>,
    /// Give programs their set-user-ID and set-group-ID bits on the host
    #[arg(long)]
    set_id: bool,
    /// Make device nodes, where the caller may; runtimes make those that a container needs themselves
    #[arg(long)]
    devices: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Remove a container's directory, with --commit after writing its changes into the image
///
/// All changes are one commit; if it fails, the directory stays. An image that was changed since is refused. Nothing is
/// said to be wrong where there is no container any more.
///
/// Example: nomount container teardown ./rootfs --commit
#[derive(Debug, clap::Args)]
struct TeardownArgs {
    /// The directory that was set up
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Write what has changed into the image; without, it is dropped
    #[arg(long)]
    commit: bool,
    /// Also into an image that was changed since
    #[arg(long, requires = "commit")]
    force: bool,
    /// Where the image is now, if it was moved
    #[arg(long, value_name = "IMAGE")]
    image: Option<PathBuf>,
    /// Open the backing files of a qcow2 image, from its own folder or from another
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, require_equals = true)]
    allow_backing: Option<Option<PathBuf>>,
    /// Do not look whether a virtual machine or another program has the image open
    #[arg(long)]
    no_lock: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Do not wait for the disk: faster, for images that are thrown away when the machine stops
    #[arg(long)]
    no_sync: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Remove a container's directory and forget it, without a look at the image or at what has changed
///
/// Never fails: what cannot be removed is said. A directory that was not set up is left alone.
///
/// Example: nomount container clean ./rootfs
#[derive(Debug, clap::Args)]
struct CleanArgs {
    /// The directory that was set up
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Whether errors are to be told as JSON, too.
    pub fn json(&self) -> bool {
        match &self.verb {
            Verb::Setup(args) => args.json,
            Verb::Teardown(args) => args.json,
            Verb::Clean(args) => args.json,
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let _working = progress::begin("container");
    match &args.verb {
        Verb::Setup(args) => run_setup(args),
        Verb::Teardown(args) => run_teardown(args),
        Verb::Clean(args) => {
            let done = clean(&args.dir)?;
            print_teardown(&args.dir, &done, args.json).map_err(ui::output_failed)?;
            Ok(exit::DONE)
        }
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        match &self.verb {
            Verb::Setup(args) => {
                let owners = ["/etc/passwd", "/etc/subuid", "/etc/subgid"];
                owners.into_iter().fold(beside(&args.dir).and(args.open.reading(&args.image)), Access::read)
            }
            Verb::Teardown(args) if args.commit => {
                // Without a manifest that names it, there is nothing to commit.
                let image = args.image.clone().map_or_else(|| image_of(&args.dir), Ok);
                image.map_or(Access::none(), |image| changing(&image, &args.backing())).and(beside(&args.dir))
            }
            Verb::Teardown(args) => beside(&args.dir),
            Verb::Clean(args) => beside(&args.dir),
        }
    }
}

/// Everything below the folder that a container's directory is in, the manifest with it.
fn beside(dir: &Path) -> Access {
    let clean: PathBuf = dir.components().collect();
    Access::none().tree(folder_of(&clean))
}

impl TeardownArgs {
    fn backing(&self) -> Backing {
        match &self.allow_backing {
            None => Backing::Refused,
            Some(None) => Backing::Beside,
            Some(Some(folder)) => Backing::In(folder.clone()),
        }
    }
}

fn run_setup(args: &SetupArgs) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    if target.path.is_some() {
        return Err(Error::new(ErrorKind::Usage, "a container is made of a whole filesystem, not of a path in it"));
    }
    let partition = args.open.choice(&target)?;
    let map = |ranges: &[IdRange], default: fn() -> Result<IdMap>| match ranges {
        [] => default(),
        ranges => IdMap::new(ranges.to_vec()),
    };
    let request = SetupRequest {
        session: SessionOptions { image: args.open.image_options(), partition, ..SessionOptions::default() },
        uid_map: map(&args.uid_map, owners::users)?,
        gid_map: map(&args.gid_map, owners::groups)?,
        set_id: args.set_id,
        devices: args.devices,
    };
    let done = setup(&target.image, &args.dir, &request)?;
    print_setup(&target.image, &done, &request, args.json).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

fn map_json(map: &IdMap) -> Value {
    map.ranges().iter().map(|range| json!([range.container, range.host, range.count])).collect()
}

fn print_setup(image: &Path, done: &Setup, request: &SetupRequest, as_json: bool) -> io::Result<()> {
    let made = &done.extracted;
    if as_json {
        return ui::json(json!({
            "image": image.display().to_string(),
            "volume": done.volume,
            "directory": done.dir.display().to_string(),
            "manifest": done.manifest.display().to_string(),
            "names": made.names,
            "bytes": made.bytes,
            "owners_recorded": made.owners_recorded,
            "set_id_recorded": made.set_id_recorded,
            "devices_recorded": made.devices_recorded,
            "xattrs_recorded": made.xattrs_recorded,
            "uid_map": map_json(&request.uid_map),
            "gid_map": map_json(&request.gid_map),
            "notes": done.notes,
        }));
    }
    done.notes.iter().for_each(|note| ui::note(note));
    let mut lines = vec![format!(
        "{}: {} names, {} bytes of contents of {}, {}",
        done.dir.display(),
        made.names,
        made.bytes,
        image.display(),
        done.volume
    )];
    let recorded = [
        (made.owners_recorded, "owners"),
        (made.set_id_recorded, "programs with set-user-ID or set-group-ID"),
        (made.devices_recorded, "device nodes"),
        (made.xattrs_recorded, "extended attributes"),
    ];
    let recorded = recorded.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let recorded: Vec<String> = recorded.collect();
    if !recorded.is_empty() {
        lines.push(format!("only in {}: {}", done.manifest.display(), recorded.join(", ")));
    }
    ui::lines(lines)
}

fn run_teardown(args: &TeardownArgs) -> Result<u8> {
    let mut session =
        SessionOptions { now: now()?, seed: u32::from_le_bytes(random_bytes()?), ..SessionOptions::default() };
    session.image.sync = !args.no_sync;
    session.image.lock = !args.no_lock;
    session.image.backing = args.backing();
    session.image = args.device.on(session.image);
    let request = TeardownRequest { commit: args.commit, force: args.force, image: args.image.clone(), session };
    let done = teardown(&args.dir, &request)?;
    print_teardown(&args.dir, &done, args.json).map_err(ui::output_failed)?;
    Ok(exit::DONE)
}

fn applied_json(applied: &Applied) -> Value {
    json!({
        "created": applied.created,
        "linked": applied.linked,
        "changed": applied.changed,
        "removed": applied.removed,
        "bytes": applied.bytes,
        "owners_unknown": applied.owners_unknown,
        "xattrs_left_out": applied.xattrs_left_out,
    })
}

fn print_teardown(dir: &Path, done: &Teardown, as_json: bool) -> io::Result<()> {
    if as_json {
        return ui::json(json!({
            "directory": dir.display().to_string(),
            "found": done.found,
            "image": done.image.as_ref().map(|image| image.display().to_string()),
            "committed": done.applied.as_ref().map(applied_json),
            "written": done.commit.is_some(),
            "transactions": done.commit.as_ref().map(|commit| commit.blocks.transactions),
            "discarded": done.discarded,
            "removed": done.removed,
            "notes": done.notes,
        }));
    }
    done.notes.iter().for_each(|note| ui::warning(note));
    let mut lines = Vec::new();
    if let (Some(applied), Some(image)) = (&done.applied, &done.image) {
        let image = image.display();
        lines.push(match &done.commit {
            None => format!("{image}: nothing had changed, nothing was written"),
            Some(_) => format!(
                "{image}: {} created, {} changed, {} removed, {} bytes of contents written",
                applied.created, applied.changed, applied.removed, applied.bytes
            ),
        });
        let transactions = done.commit.as_ref().map_or(0, |commit| commit.blocks.transactions);
        if transactions > 1 {
            lines.push(format!("the journal took {transactions} transactions, each consistent"));
        }
        if applied.owners_unknown > 0 {
            lines.push(format!("{} owners of the host are nobody in the container", applied.owners_unknown));
        }
        if applied.xattrs_left_out > 0 {
            lines.push(format!("{} extended attributes are left out", applied.xattrs_left_out));
        }
    }
    if let Some(discarded) = done.discarded {
        lines.push(format!("{}: {discarded} changes dropped", dir.display()));
    }
    if !done.found {
        lines.push(format!("{}: there is no container", dir.display()));
    }
    ui::lines(lines)
}
