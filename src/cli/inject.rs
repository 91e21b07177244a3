//! `nomount inject`.

use super::output::Output;
use super::password::{self, Chosen};
use super::target::{ImageArgs, Target, now};
use super::{exit, ui};
use nomount::ops::inject::{InjectFile, InjectReport, InjectRequest, Item, Outcome, inject, not_opened};
use nomount::session::{Commit, Verify};
use nomount::{Error, ErrorKind, Result, Session, SessionOptions};
use serde_json::json;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The largest host file that is injected, in bytes: it is held in memory.
const MAX_FILE: u64 = 1 << 30;

/// Put ssh keys, a password, network configuration, metadata and files into a guest
///
/// Everything is one commit: the image has all of it or is as it was. An item that fails is left out and the others go
/// on, unless --mandatory names it; the exit code is 1 then.
///
/// Example: nomount inject disk.qcow2 --key id_ed25519.pub --admin-password file:pw --file app.conf:/etc/app/app.conf
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    #[command(flatten)]
    open: ImageArgs,
    /// Public ssh keys to allow: a file, `-` for standard input, or string:TEXT. Repeatable
    #[arg(long, value_name = "FILE")]
    key: Vec<OsString>,
    /// Set the password, from one of the selectors below
    #[arg(long, value_name = "SELECTOR", help = format!("Set the password: {}", password::HELP), allow_hyphen_values = true)]
    admin_password: Option<String>,
    /// Whose keys and password
    #[arg(long, value_name = "NAME", default_value = "root")]
    user: String,
    /// A file to become /etc/network/interfaces
    #[arg(long, value_name = "FILE")]
    net: Option<PathBuf>,
    /// Name and value for /meta.js. Repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    metadata: Vec<(String, String)>,
    /// A file of the host and where it goes in the guest. Repeatable
    #[arg(long, value_name = "LOCAL:/PATH")]
    file: Vec<OsString>,
    /// Items whose failure is a failure of the whole: key, net, metadata, admin_password, files
    #[arg(long, value_name = "ITEM,...", value_delimiter = ',', value_parser = Item::parse)]
    mandatory: Vec<Item>,
    /// Write the very bytes and modes that OpenStack Nova writes, and treat an image that cannot be opened as it does
    #[arg(long)]
    nova_compat: bool,
    /// Write a new image and leave this one alone
    #[arg(long, short = 'o', value_name = "NEW")]
    output: Option<PathBuf>,
    /// Show what would change and write nothing
    #[arg(long, short = 'n', conflicts_with = "output")]
    dry_run: bool,
    /// Whether an independent reader checks the result before it is committed
    #[arg(long, value_name = "auto|always|never", default_value = "auto", value_parser = parse_verify)]
    verify: Verify,
    /// Do not wait for the disk: faster, for images that are thrown away when the machine stops
    #[arg(long)]
    no_sync: bool,
    /// Number to derive new inode generations from; with SOURCE_DATE_EPOCH the same edit gives the same bytes
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed")?;
    if name.is_empty() { Err("the name is empty".to_owned()) } else { Ok((name.to_owned(), value.to_owned())) }
}

pub(super) fn parse_verify(text: &str) -> Result<Verify, String> {
    match text {
        "auto" => Ok(Verify::Auto),
        "always" => Ok(Verify::Always),
        "never" => Ok(Verify::Never),
        _ => Err("auto, always or never is needed".to_owned()),
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    if target.path.is_some() {
        return Err(Error::new(ErrorKind::Usage, "inject works on an image, not on a path in it"));
    }
    let chosen = args.admin_password.as_deref().map(password::choose).transpose()?;
    if args.json && chosen.as_ref().is_some_and(|chosen| chosen.random) {
        let message = "a random password would have to be shown, and passwords are never part of JSON";
        return Err(Error::new(ErrorKind::Usage, message).hint("make one yourself and give it with file: or fd:"));
    }
    let request = request(&args, chosen)?;
    if request.request.is_empty() {
        return Err(Error::new(
            ErrorKind::Usage,
            "nothing to inject: give --key, --admin-password, --net, --metadata or --file",
        ));
    }
    let how = args.open.image_options();
    let output =
        args.output.as_deref().map(|new| Output::prepare(&target.image, new, how.format, how.lock)).transpose()?;
    let image = output.as_ref().map_or(target.image.clone(), |output| output.path().to_owned());
    let named = |error: Error| error.in_image(&image).rename_image(&image, &target.image);
    let options = SessionOptions {
        image: nomount::image::ImageOptions { write: true, sync: !args.no_sync, ..how },
        partition: args.open.choice(&target)?,
        now: now()?,
        seed: match args.seed {
            Some(seed) => seed,
            None => u32::from_le_bytes(password::random_bytes()?),
        },
        verify: args.verify,
        dry_run: args.dry_run,
        mmp_wait: Some(std::thread::sleep),
    };
    let mut session = match Session::open(&image, options) {
        Ok(session) => session,
        Err(error) if args.nova_compat => {
            let report = not_opened(&request.request, named(error))?;
            return finish(&args, &target, None, &report, None, &request);
        }
        Err(error) => return Err(named(error)),
    };
    session.notes().iter().for_each(|text| ui::note(text));
    let place = Place { volume: session.volume().to_string(), format: session.format().name() };
    let report = inject(session.tree(), &request.request).map_err(|e| named(e).in_volume(&place.volume))?;
    let commit = session.commit().map_err(named);
    let commit = match (commit, output) {
        (Ok(commit), Some(output)) => output.keep(!args.no_sync).map(|()| commit)?,
        (Err(error), Some(output)) => return Err(output.drop_after(error)),
        (commit, None) => commit?,
    };
    finish(&args, &target, Some(place), &report, Some(&commit), &request)
}

/// A request, and the password if it must be shown.
struct Prepared {
    request: InjectRequest,
    show: Option<String>,
}

fn request(args: &Args, chosen: Option<Chosen>) -> Result<Prepared> {
    let show = chosen.as_ref().filter(|chosen| chosen.random);
    let show = show.map(|chosen| String::from_utf8_lossy(chosen.secret.expose()).into_owned());
    let mut keys = Vec::new();
    for selector in &args.key {
        let mut text = key(selector)?;
        if !keys.is_empty() && !keys.ends_with(b"\n") {
            keys.push(b'\n');
        }
        keys.append(&mut text);
    }
    let mut files = Vec::new();
    for pair in &args.file {
        let (local, path) = split_file(pair)?;
        files.push(InjectFile { path, contents: read_host(&local)?, mode: None, owner: None });
    }
    let request = InjectRequest {
        key: (!args.key.is_empty()).then_some(keys),
        net: args.net.as_deref().map(read_host).transpose()?,
        metadata: (!args.metadata.is_empty()).then(|| args.metadata.clone()),
        admin_password: chosen.map(|chosen| chosen.secret),
        files,
        mandatory: args.mandatory.iter().copied().collect(),
        nova_compat: args.nova_compat,
        user: args.user.clone().into_bytes(),
        salt: password::random_bytes()?,
    };
    Ok(Prepared { request, show })
}

fn key(selector: &OsString) -> Result<Vec<u8>> {
    let bytes = selector.as_bytes();
    if let Some(text) = bytes.strip_prefix(b"string:") {
        return Ok(text.to_vec());
    }
    if bytes == b"-" {
        let mut text = Vec::new();
        let read = std::io::stdin().take(MAX_FILE).read_to_end(&mut text);
        read.map_err(|error| Error::new(ErrorKind::Io, "cannot read the key from standard input").caused_by(error))?;
        return Ok(text);
    }
    read_host(Path::new(std::ffi::OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes))))
}

/// `LOCAL:/PATH`: the first colon before a slash parts them; a relative guest path after the first colon will do.
fn split_file(pair: &OsString) -> Result<(PathBuf, Vec<u8>)> {
    let bytes = pair.as_bytes();
    let absolute = bytes.windows(2).position(|pair| pair == b":/");
    match absolute.or_else(|| bytes.iter().position(|byte| *byte == b':')) {
        Some(at) if at > 0 && at + 1 < bytes.len() => {
            Ok((PathBuf::from(std::ffi::OsStr::from_bytes(&bytes[..at])), bytes[at + 1..].to_vec()))
        }
        _ => Err(Error::new(ErrorKind::Usage, format!("--file {}: LOCAL:/PATH is needed", bytes.escape_ascii()))),
    }
}

fn read_host(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
        Error::new(kind, format!("cannot read {}", path.display())).caused_by(error)
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::new(ErrorKind::Limit, format!("{} is larger than 1 GiB", path.display())));
    }
    Ok(bytes)
}

struct Place {
    volume: String,
    format: &'static str,
}

fn finish(
    args: &Args,
    target: &Target,
    place: Option<Place>,
    report: &InjectReport,
    commit: Option<&Commit>,
    request: &Prepared,
) -> Result<u8> {
    let image = args.output.as_deref().unwrap_or(&target.image);
    if args.json {
        let opinion = commit.and_then(|commit| commit.opinion.as_ref());
        ui::json(json!({
            "image": image.display().to_string(),
            "format": place.as_ref().map(|place| place.format),
            "volume": place.as_ref().map(|place| &place.volume),
            "dry_run": args.dry_run,
            "report": report,
            "committed": commit.filter(|_| !args.dry_run).map(|commit| json!({
                "blocks_in_free_space": commit.blocks.in_place,
                "protected_blocks": commit.blocks.protected,
                "journaled": commit.blocks.journaled,
                "transactions": commit.blocks.transactions,
            })),
            "verified": opinion.map(|opinion| json!({
                "independent_reader": opinion.independent,
                "own_reader": opinion.own,
                "reason": opinion.reason,
            })),
        }))
        .map_err(ui::output_failed)?;
    } else {
        report.warnings.iter().for_each(|text| ui::warning(text));
        report.notes.iter().for_each(|text| ui::note(text));
        ui::lines(text(args, image, place.as_ref(), report, commit, request)).map_err(ui::output_failed)?;
    }
    Ok(if report.ok { exit::DONE } else { exit::FAILED })
}

fn text(
    args: &Args,
    image: &Path,
    place: Option<&Place>,
    report: &InjectReport,
    commit: Option<&Commit>,
    request: &Prepared,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(place) = place {
        lines.push(format!("{} ({}), {}", image.display(), place.format, place.volume));
    }
    let would = if args.dry_run { "would " } else { "" };
    lines.extend(report.changes.iter().map(|change| format!("  {would}{change}")));
    for item in &report.items {
        if let Outcome::Failed(reason) = &item.outcome {
            lines.push(format!("  {} not injected: {reason}", item.item));
        }
    }
    if report.changes.is_empty() && report.ok {
        lines.push("  nothing to change".to_owned());
    }
    if let Some(password) =
        request.show.as_ref().filter(|_| !args.dry_run && *report.outcome(Item::AdminPassword) == Outcome::Done)
    {
        lines.push(format!("  the new password of {} is {password}", args.user));
    }
    lines.extend(commit.and_then(verified));
    lines.push(if args.dry_run { "dry run: nothing was written".to_owned() } else { summary(commit) });
    lines
}

/// Who read the result back; nothing where nothing was written.
fn verified(commit: &Commit) -> Option<String> {
    if commit.blocks.is_empty() {
        return None;
    }
    Some(match &commit.opinion {
        None => "  not read back before the commit (see --verify)".to_owned(),
        Some(opinion) => {
            let own = match &opinion.reason {
                Some(reason) => format!(", {} by our own reader because ext4-view says: {reason}", opinion.own),
                None => String::new(),
            };
            format!("  read back before the commit: {} paths by ext4-view{own}", opinion.independent)
        }
    })
}

fn summary(commit: Option<&Commit>) -> String {
    match commit.map(|commit| commit.blocks) {
        None => "nothing was written".to_owned(),
        Some(blocks) if blocks.is_empty() => "nothing was written".to_owned(),
        Some(blocks) => {
            let how = match (blocks.journaled, blocks.transactions) {
                (false, _) => "through a redo file".to_owned(),
                (true, 0 | 1) => "through the journal".to_owned(),
                (true, several) => format!("through the journal, which took {several} transactions"),
            };
            format!("committed: {} metadata blocks in free space, {} {how}", blocks.in_place, blocks.protected)
        }
    }
}
