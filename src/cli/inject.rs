//! `nomount inject`.

use super::edit::{self, EditArgs, Place};
use super::password::{self, Chosen};
use super::sandbox::{HostAccess, read_file};
use super::target::Target;
use super::{exit, host_file, ui};
use nomount::ops::inject::{InjectFile, InjectReport, InjectRequest, Item, Outcome, inject, not_opened};
use nomount::sandbox::Access;
use nomount::session::Commit;
use nomount::{Error, ErrorKind, Result};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
    #[command(flatten)]
    pub edit: EditArgs,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed")?;
    if name.is_empty() { Err("the name is empty".to_owned()) } else { Ok((name.to_owned(), value.to_owned())) }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        let files = self.file.iter().filter_map(|pair| Some(split_file(pair).ok()?.0));
        files
            .fold(self.edit.access(&self.image), |access, file| access.read(file))
            .and(key_files(&self.key))
            .and(read_file(password::file(self.admin_password.as_deref())))
            .and(read_file(self.net.as_ref()))
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<u8> {
    let target = Target::parse(args.image.clone());
    if target.path.is_some() {
        return Err(Error::new(ErrorKind::Usage, "inject works on an image, not on a path in it"));
    }
    let chosen = args.admin_password.as_deref().map(password::choose).transpose()?;
    if args.edit.json && chosen.as_ref().is_some_and(|chosen| chosen.random) {
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
    let prepared = args.edit.prepare(&target)?;
    let mut session = match prepared.open() {
        Ok(session) => session,
        Err(error) if args.nova_compat => {
            let report = not_opened(&request.request, error)?;
            return finish(&args, &target, None, &report, None, &request);
        }
        Err(error) => return Err(error),
    };
    let place = Place::of(&session);
    let report = inject(session.tree(), &request.request).map_err(|e| prepared.named(e).in_volume(&place.volume))?;
    let commit = prepared.commit(session)?;
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
    let mut files = Vec::new();
    for pair in &args.file {
        let (local, path) = split_file(pair)?;
        files.push(InjectFile { path, contents: host_file::read(&local)?, mode: None, owner: None });
    }
    let request = InjectRequest {
        key: (!args.key.is_empty()).then(|| keys(&args.key)).transpose()?,
        net: args.net.as_deref().map(host_file::read).transpose()?,
        metadata: (!args.metadata.is_empty()).then(|| args.metadata.clone()),
        admin_password: chosen.map(|chosen| chosen.secret),
        files,
        mandatory: args.mandatory.iter().copied().collect(),
        nova_compat: args.nova_compat,
        labelling: args.edit.selinux,
        user: args.user.clone().into_bytes(),
        salt: password::random_bytes()?,
    };
    Ok(Prepared { request, show })
}

/// All keys of several selectors, one a line.
pub fn keys(selectors: &[OsString]) -> Result<Vec<u8>> {
    let mut keys = Vec::new();
    for selector in selectors {
        let mut text = key(selector)?;
        if !keys.is_empty() && !keys.ends_with(b"\n") {
            keys.push(b'\n');
        }
        keys.append(&mut text);
    }
    Ok(keys)
}

/// The files of the host that selectors of keys read.
pub fn key_files(selectors: &[OsString]) -> Access {
    let files = selectors.iter().filter(|selector| !selector.as_bytes().starts_with(b"string:"));
    files.fold(Access::none(), |access, selector| access.and(read_file(Some(key_file(selector)))))
}

fn key_file(selector: &OsString) -> &OsStr {
    let bytes = selector.as_bytes();
    OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes))
}

fn key(selector: &OsString) -> Result<Vec<u8>> {
    let bytes = selector.as_bytes();
    if let Some(text) = bytes.strip_prefix(b"string:") {
        return Ok(text.to_vec());
    }
    if bytes == b"-" {
        return host_file::standard_input("the key");
    }
    host_file::read(Path::new(key_file(selector)))
}

/// `LOCAL:/PATH`: the first colon before a slash parts them; a relative guest path after the first colon will do.
fn split_file(pair: &OsString) -> Result<(PathBuf, Vec<u8>)> {
    let bytes = pair.as_bytes();
    let absolute = bytes.windows(2).position(|pair| pair == b":/");
    match absolute.or_else(|| bytes.iter().position(|byte| *byte == b':')) {
        Some(at) if at > 0 && at + 1 < bytes.len() => {
            Ok((PathBuf::from(OsStr::from_bytes(&bytes[..at])), bytes[at + 1..].to_vec()))
        }
        _ => Err(Error::new(ErrorKind::Usage, format!("--file {}: LOCAL:/PATH is needed", bytes.escape_ascii()))),
    }
}

fn finish(
    args: &Args,
    target: &Target,
    place: Option<Place>,
    report: &InjectReport,
    commit: Option<&Commit>,
    request: &Prepared,
) -> Result<u8> {
    let image = args.edit.result(target);
    if args.edit.json {
        let mut document = edit::document(image, place.as_ref(), args.edit.dry_run, commit);
        document["report"] = json!(report);
        ui::json(document).map_err(ui::output_failed)?;
    } else {
        report.warnings.iter().for_each(|text| ui::warning(text));
        report.notes.iter().for_each(|text| ui::note(text));
        ui::lines(text(args, image, place.as_ref(), report, commit, request)).map_err(ui::output_failed)?;
    }
    Ok(if report.ok { args.edit.exit_code(!report.changes.is_empty()) } else { exit::FAILED })
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
    lines.extend(place.map(|place| place.line(image)));
    let would = if args.edit.dry_run { "would " } else { "" };
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
        request.show.as_ref().filter(|_| !args.edit.dry_run && *report.outcome(Item::AdminPassword) == Outcome::Done)
    {
        lines.push(format!("  the new password of {} is {password}", args.user));
    }
    lines.extend(edit::outcome(commit, args.edit.dry_run));
    lines
}
