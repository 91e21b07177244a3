//! From the text of an operation to the operation, with what it takes from the host.

use crate::cli::copy_args::Local;
use crate::cli::tar_in::open;
use crate::cli::target::Target;
use crate::cli::{host_file, password};
use nomount::ops::copy::{Keep, Stream};
use nomount::ops::customize::{NewPassword, Operation};
use nomount::ops::edit::{ModeChange, file_path, sed};
use nomount::ops::populate::TarStream;
use nomount::ops::{Owner, decompressed};
use nomount::tree::GuestPath;
use nomount::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Operations, and the passwords that nobody knows yet.
#[derive(Default)]
pub struct Loaded {
    /// In order.
    pub operations: Vec<Operation>,
    /// Users and their random passwords, to be shown once they are set.
    pub passwords: Vec<(String, String)>,
    /// What of the host is read only when it is its turn.
    pub trees: Vec<PathBuf>,
}

/// Reads the operation `name` with `value`, as an option has them. The image itself is not copied into itself.
pub fn operation(loaded: &mut Loaded, image: &Target, name: &str, value: &OsStr) -> Result<()> {
    let operation = read(loaded, image, name, value.as_bytes()).map_err(|error| match error.kind() {
        // Which of the operations it was, the place does not tell.
        ErrorKind::Usage | ErrorKind::Invalid => {
            let named = Error::new(ErrorKind::Usage, format!("--{name}: {}", error.chain()));
            match error.hint_text() {
                Some(hint) => named.hint(hint),
                None => named,
            }
        }
        _ => error,
    })?;
    loaded.operations.push(operation);
    Ok(())
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

fn read(loaded: &mut Loaded, image: &Target, name: &str, value: &[u8]) -> Result<Operation> {
    let path = GuestPath::parse;
    Ok(match name {
        "append-line" => {
            let (file, line) = pair(value, "FILE:LINE")?;
            Operation::AppendLine { path: file_path(file)?, line: line.to_vec() }
        }
        "chmod" => {
            let (mode, file) = pair(value, "MODE:FILE")?;
            let mode = std::str::from_utf8(mode).map_err(|_| usage("the mode is not text"))?;
            Operation::Chmod { mode: ModeChange::parse(mode)?, path: path(file)? }
        }
        "chown" => chown(value)?,
        "copy" => {
            let (source, destination) = pair(value, "SOURCE:DEST")?;
            path(destination)?;
            Operation::Copy { source: path(source)?, destination: destination.to_vec() }
        }
        "copy-in" => {
            let (local, directory) = local_and_path(value, "LOCAL:DIR")?;
            let local = Local::find(local.as_os_str(), false)?;
            loaded.trees.push(local.path().to_owned());
            let source = Box::new(local.tree(image, Keep { links: true, ..Keep::default() }));
            Operation::CopyIn { name: local.name.name, source, directory: path(directory)? }
        }
        "delete" => Operation::Delete(value.to_vec()),
        "edit" => {
            let (file, script) = pair(value, "FILE:EXPR")?;
            Operation::Edit { path: file_path(file)?, script: sed::parse_perl(text(script)?)? }
        }
        "firstboot" => {
            let local = Path::new(OsStr::from_bytes(value));
            Operation::Firstboot { name: file_name(local)?, script: host_file::read(local)? }
        }
        "firstboot-command" => {
            let script = [b"#!/bin/sh\n", value, b"\n"].concat();
            Operation::Firstboot { name: b"command".to_vec(), script }
        }
        "firstboot-install" => {
            Operation::FirstbootInstall(text(value)?.split(',').map(|name| name.trim().to_owned()).collect())
        }
        "hostname" => Operation::Hostname(text(value)?.to_owned()),
        "link" => {
            let (target, links) = pair(value, "TARGET:LINK[:LINK..]")?;
            let links = links.split(|byte| *byte == b':').map(path).collect::<Result<_>>()?;
            Operation::Link { target: target.to_vec(), links }
        }
        "mkdir" => Operation::Mkdir(path(value)?),
        "move" => {
            let (source, destination) = pair(value, "SOURCE:DEST")?;
            Operation::Move { source: path(source)?, destination: path(destination)? }
        }
        "password" => {
            let (user, selector) = pair(value, "USER:SELECTOR")?;
            new_password(loaded, user, selector)?
        }
        "root-password" => new_password(loaded, b"root", value)?,
        "scrub" => Operation::Scrub(file_path(value)?),
        "ssh-inject" => ssh_inject(value)?,
        "tar-in" => {
            let (local, directory) = local_and_path(value, "TAR:DIR")?;
            let stream = decompressed(open(local.as_os_str(), "a tar stream")?)?;
            Operation::TarIn { source: Box::new(TarStream::new(stream)), directory: path(directory)? }
        }
        "timezone" => Operation::Timezone(text(value)?.to_owned()),
        "touch" => Operation::Touch(file_path(value)?),
        "truncate" => Operation::Truncate(file_path(value)?),
        "truncate-recursive" => Operation::TruncateRecursive(path(value)?),
        "upload" => {
            let (local, destination) = local_and_path(value, "FILE:DEST")?;
            let executable = std::fs::metadata(&local).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
            let (name, contents) =
                (file_name(&local)?, Box::new(Stream::new(open(local.as_os_str(), "the contents")?)));
            Operation::Upload { name, contents, executable, destination: path(destination)? }
        }
        "write" => {
            let (file, contents) = pair(value, "FILE:CONTENT")?;
            Operation::Write { path: file_path(file)?, contents: contents.to_vec() }
        }
        other => return Err(usage(format!("no operation {other:?}"))),
    })
}

fn text(value: &[u8]) -> Result<&str> {
    std::str::from_utf8(value).map_err(|_| usage("the value is not text"))
}

/// What the first colon parts.
fn pair<'v>(value: &'v [u8], form: &str) -> Result<(&'v [u8], &'v [u8])> {
    match value.iter().position(|byte| *byte == b':') {
        Some(at) if at > 0 => Ok((&value[..at], &value[at + 1..])),
        // The value may hold a secret: it is not repeated.
        _ => Err(usage(format!("{form} is needed"))),
    }
}

/// A name of the host and a path of the guest: the first colon before a slash parts them, or else the last one.
fn local_and_path<'v>(value: &'v [u8], form: &str) -> Result<(PathBuf, &'v [u8])> {
    let absolute = value.windows(2).position(|pair| pair == b":/");
    match absolute.or_else(|| value.iter().rposition(|byte| *byte == b':')) {
        Some(at) if at > 0 && at + 1 < value.len() => {
            Ok((PathBuf::from(OsStr::from_bytes(&value[..at])), &value[at + 1..]))
        }
        _ => Err(usage(format!("{form} is needed"))),
    }
}

fn file_name(local: &Path) -> Result<Vec<u8>> {
    let name = local.file_name().ok_or_else(|| usage(format!("{} is no file", local.display())))?;
    Ok(name.as_bytes().to_vec())
}

/// `OWNER:PATH`, where the owner may have a colon, or between two numbers a dot.
fn chown(value: &[u8]) -> Result<Operation> {
    let at = value.windows(2).position(|pair| pair == b":/");
    let at = at.or_else(|| value.iter().rposition(|byte| *byte == b':'));
    let at = at.ok_or_else(|| usage("USER[:GROUP]:PATH is needed"))?;
    let mut owner = value[..at].to_vec();
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if let Some(dot) = owner.iter().position(|byte| *byte == b'.')
        && is_number(&owner[..dot])
        && is_number(&owner[dot + 1..])
    {
        owner[dot] = b':';
    }
    Ok(Operation::Chown { owner: Owner::parse(owner)?, path: GuestPath::parse(&value[at + 1..])? })
}

fn new_password(loaded: &mut Loaded, user: &[u8], selector: &[u8]) -> Result<Operation> {
    let selector = std::str::from_utf8(selector).map_err(|_| usage("the password selector is not text"))?;
    let (locked, inner) = match selector.strip_prefix("locked:") {
        Some(inner) => (true, inner),
        None => (false, selector),
    };
    let password = match inner {
        "disabled" => NewPassword::Disabled { locked },
        "locked" if !locked => NewPassword::Locked,
        _ => {
            let chosen = password::choose(inner).map_err(|error| {
                // The others are known to the reader of this one.
                let is_unknown = !["file:", "fd:", "env:", "password:"].iter().any(|kind| inner.starts_with(kind));
                if is_unknown && inner != "-" { error.hint("or disabled, locked, locked:SELECTOR") } else { error }
            })?;
            if chosen.random {
                let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                loaded.passwords.push((shown(user), shown(chosen.secret.expose())));
            }
            NewPassword::Set { secret: chosen.secret, salt: password::random_bytes()?, locked }
        }
    };
    Ok(Operation::Password { user: user.to_vec(), password })
}

fn ssh_inject(value: &[u8]) -> Result<Operation> {
    let (user, keys) = match value.iter().position(|byte| *byte == b':') {
        None => (value, host_file::read(&newest_key()?)?),
        Some(at) => {
            let selector = &value[at + 1..];
            let keys = if let Some(text) = selector.strip_prefix(b"string:") {
                text.to_vec()
            } else if let Some(file) = selector.strip_prefix(b"file:") {
                host_file::read(Path::new(OsStr::from_bytes(file)))?
            } else {
                return Err(usage("USER, USER:file:FILE or USER:string:KEY is needed"));
            };
            (&value[..at], keys)
        }
    };
    if user.is_empty() {
        return Err(usage("no user is given"));
    }
    Ok(Operation::SshInject { user: user.to_vec(), keys })
}

/// The public key of the caller that was changed last, certificates left out, as ssh-copy-id finds it.
fn newest_key() -> Result<PathBuf> {
    let missing = |message: String| {
        Error::new(ErrorKind::NotFound, message).hint("name the key: USER:file:FILE or USER:string:KEY")
    };
    let home = std::env::var_os("HOME").ok_or_else(|| missing("no ssh key: HOME is not set".to_owned()))?;
    let folder = Path::new(&home).join(".ssh");
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten().filter(|entry| {
        let name = entry.file_name();
        let name = name.as_bytes();
        name.starts_with(b"id") && name.ends_with(b".pub") && !name.ends_with(b"-cert.pub")
    });
    let dated = entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())));
    let newest = dated.max().map(|(_, path)| path);
    newest.ok_or_else(|| missing(format!("no ssh key: no id*.pub in {}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str, value: &str) -> Result<String, ErrorKind> {
        let mut loaded = Loaded::default();
        operation(&mut loaded, &Target::parse("no-such.img".into()), name, OsStr::new(value))
            .map_err(|error| error.kind())?;
        Ok(format!("{:?}", loaded.operations[0]))
    }

    #[test]
    fn values_are_parted_where_virt_customize_parts_them() {
        for (name, value, shown) in [
            ("append-line", "/etc/f:a:b", "append-line /etc/f"),
            ("chmod", "u+x:/f:x", "chmod /f:x"),
            ("chmod", "644:f", "chmod /f"),
            ("chown", "0.0:/f", "chown /f"),
            ("chown", "a.b:c:/f:/x", "chown /f:/x"),
            ("chown", "1:2:f", "chown /f"),
            ("edit", "/f:s/:/;/", "edit /f"),
            ("link", "../a:/b:c", "link ../a"),
            ("password", "me:locked:disabled", "password me"),
            ("root-password", "locked", "password root"),
            ("ssh-inject", "me:string:ssh-rsa x:y", "ssh-inject me"),
            ("write", "/f:", "write /f"),
        ] {
            assert_eq!(load(name, value).unwrap(), shown, "{name} {value}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error_of_usage() {
        for (name, value) in [
            ("append-line", "/f"),
            ("append-line", ":x"),
            ("chmod", "9:/f"),
            ("chown", "/f"),
            ("chown", ":/f"),
            ("write", "/etc/:x"),
            ("edit", "/f:nonsense"),
            ("mkdir", "/../.."),
            ("password", "me"),
            ("password", "me:hunter2"),
            ("root-password", "locked:locked"),
            ("ssh-inject", "me:ssh-rsa x"),
            ("ssh-inject", ":string:x"),
        ] {
            assert_eq!(load(name, value), Err(ErrorKind::Usage), "{name} {value}");
        }
        assert_eq!(load("upload", "/no/such/file:/f"), Err(ErrorKind::NotFound));
    }
}
