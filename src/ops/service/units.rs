//! Finding units in a guest, systemd.unit(5), and what their drop-ins add.

use super::install::Install;
use super::name::UnitName;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::guest::{Init, init};
use crate::tree::{FileKind, FileTree, Follow, GuestPath, find, read_all, resolve};
use std::collections::BTreeMap;

/// Where the administrator's units are; what is enabled is there, too.
pub(super) const CONFIG: &str = "/etc/systemd/system";
/// Where units are, what is earlier wins. /run is empty in an image.
const SEARCH: [&str; 4] = [CONFIG, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Where presets are.
const PRESETS: [&str; 4] = [
    "/etc/systemd/system-preset",
    "/usr/local/lib/systemd/system-preset",
    "/usr/lib/systemd/system-preset",
    "/lib/systemd/system-preset",
];
/// The longest unit, drop-in or preset that is read, in bytes.
const MAX_UNIT_FILE: u64 = 1 << 20;
/// The most names from one to the next that lead to a unit.
const MAX_ALIASES: usize = 16;
/// The most names in a directory of drop-ins or presets.
const MAX_FILES: usize = 1024;

/// A unit that has a file.
#[derive(Debug)]
pub(super) struct Unit {
    /// Its own name, aliases followed; an instance's is that of the instance.
    pub(super) name: UnitName,
    /// Its file, of an instance the template's, without links to directories in it.
    pub(super) file: GuestPath,
    pub(super) install: Install,
}

/// What a name leads to.
#[derive(Debug)]
pub(super) enum Found {
    Unit(Unit),
    Masked(UnitName),
    Missing,
}

/// Refuses a guest whose services are somebody else's.
pub(super) fn must_be_systemd(tree: &dyn FileTree) -> Result<()> {
    let refuse = |message: String| {
        Err(Error::new(ErrorKind::Unsupported, message).hint("only units of systemd are enabled and disabled here"))
    };
    match init(tree) {
        Some(Init::Systemd) => Ok(()),
        Some(other) => refuse(format!("the guest's services are started by {other:?}, not by systemd")),
        None if SEARCH.iter().any(|dir| directory(tree, dir).is_some()) => Ok(()),
        None => refuse("the guest has no units of systemd".to_owned()),
    }
}

/// Where a directory leads, if it is one.
fn directory(tree: &dyn FileTree, path: &str) -> Option<GuestPath> {
    let found = find(tree, &GuestPath::parse(path).expect("a literal path is valid")).ok().flatten()?;
    found.stat.is_some_and(|stat| stat.kind == FileKind::Dir).then_some(found.path)
}

/// Directories, links followed, each once.
fn directories<'a>(tree: &dyn FileTree, paths: impl IntoIterator<Item = &'a str>) -> Vec<GuestPath> {
    let mut dirs: Vec<GuestPath> = Vec::new();
    for dir in paths.into_iter().filter_map(|path| directory(tree, path)) {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs
}

/// Looks for the unit that has `name`, as it is or as an instance of a template.
pub(super) fn look_up(tree: &dyn FileTree, name: &UnitName) -> Result<Found> {
    let dirs = directories(tree, SEARCH);
    let mut name = name.clone();
    for _ in 0..MAX_ALIASES {
        let mut at = place(tree, &dirs, &name)?;
        if at.is_none()
            && let Some((template, _)) = name.template()
        {
            at = place(tree, &dirs, &template)?;
        }
        let Some((file, kind, size)) = at else { return Ok(Found::Missing) };
        if kind == FileKind::Symlink {
            let target = tree.read_link(&file)?;
            if target == b"/dev/null" {
                return Ok(Found::Masked(name));
            }
            let leads = resolve(tree, &file, Follow::Last)?;
            let own = leads.path.name().and_then(|name| UnitName::exact(std::str::from_utf8(name).ok()?));
            let (Some(own), Some(stat)) = (own, leads.stat) else { return Ok(Found::Missing) };
            if own.as_bytes() == file.name().unwrap_or_default() {
                // A link to a unit that lies elsewhere: that is its file.
                return read(tree, &dirs, name, leads.path, stat.size);
            }
            // An alias. The instance of a template that is one is that of the other.
            name = match name.instance().filter(|instance| !instance.is_empty()) {
                Some(instance) => own.with_instance(instance).unwrap_or(own),
                None => own,
            };
            continue;
        }
        return read(tree, &dirs, name, file, size);
    }
    let message = format!("unit {name} is an alias of an alias, more than {MAX_ALIASES} times");
    Err(Error::new(ErrorKind::Loop, message))
}

/// The first file or link of that name.
fn place(tree: &dyn FileTree, dirs: &[GuestPath], name: &UnitName) -> Result<Option<(GuestPath, FileKind, u64)>> {
    for dir in dirs {
        match tree.stat(&dir.join(name.as_bytes())) {
            Ok(stat) if matches!(stat.kind, FileKind::File | FileKind::Symlink) => {
                return Ok(Some((dir.join(name.as_bytes()), stat.kind, stat.size)));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Reads a unit and its drop-ins.
fn read(tree: &dyn FileTree, dirs: &[GuestPath], name: UnitName, file: GuestPath, size: u64) -> Result<Found> {
    if size == 0 {
        return Ok(Found::Masked(name));
    }
    let at = |error: Error| error.at_path(file.to_bytes());
    let mut install = Install::default();
    install.read(&read_all(tree, &file, MAX_UNIT_FILE)?).map_err(at)?;
    let folders = dropin_names(&name);
    let dropins = dirs.iter().flat_map(|dir| folders.iter().map(|folder| dir.join(folder)));
    // Of several of one name the one in the earlier directory counts, then that of the more special folder.
    for dropin in collect(tree, dropins.collect(), b".conf")? {
        install.read(&read_all(tree, &dropin, MAX_UNIT_FILE)?).map_err(|error| error.at_path(dropin.to_bytes()))?;
    }
    Ok(Found::Unit(Unit { name, file, install }))
}

/// Folders of drop-ins for a unit: `a-b@x.service.d`, `a-b@.service.d`, `a-.service.d`, `service.d`.
fn dropin_names(name: &UnitName) -> Vec<String> {
    let (_, suffix) = name.parts();
    let mut names = vec![format!("{name}.d")];
    names.extend(name.template().map(|(template, _)| format!("{template}.d")));
    let prefix = name.prefix();
    names.extend(prefix.rmatch_indices('-').map(|(at, _)| format!("{}.{suffix}.d", &prefix[..=at])));
    names.push(format!("{suffix}.d"));
    names
}

/// Files whose names end in `ending` in several directories, by name; of several of one name the first counts. What is
/// a link to /dev/null is none.
fn collect(tree: &dyn FileTree, dirs: Vec<GuestPath>, ending: &[u8]) -> Result<Vec<GuestPath>> {
    let mut files: BTreeMap<Vec<u8>, GuestPath> = BTreeMap::new();
    for dir in dirs {
        let entries = match tree.entries(&dir) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            if entry.name.ends_with(ending) && entry.name.len() > ending.len() && !entry.name.contains(&b'/') {
                files.entry(entry.name.clone()).or_insert_with(|| dir.join(&entry.name));
            }
        }
        if files.len() > MAX_FILES {
            let message = format!("more than {MAX_FILES} files");
            return Err(Error::new(ErrorKind::Limit, message).at_path(dir.to_bytes()));
        }
    }
    let is_file = |path: &GuestPath| {
        let found = find(tree, path).ok().flatten();
        found.and_then(|found| found.stat).is_some_and(|stat| stat.kind == FileKind::File)
    };
    Ok(files.into_values().filter(is_file).collect())
}

/// The texts of the guest's presets, in the order in which they count.
pub(super) fn presets(tree: &dyn FileTree) -> Result<Vec<Vec<u8>>> {
    let files = collect(tree, directories(tree, PRESETS), b".preset")?;
    files.iter().map(|file| read_all(tree, file, MAX_UNIT_FILE)).collect()
}
