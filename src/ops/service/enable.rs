//! `enable`.

use super::install::expand;
use super::missing;
use super::name::UnitName;
use super::units::{CONFIG, Found, Unit, look_up};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{FileKind, Follow, GuestPath, resolve};
use std::collections::BTreeSet;

/// The most units that one brings along with `Also=`.
const MAX_ALSO: usize = 256;

/// Makes the links that the unit's `[Install]` section asks for, and those of the units it brings along.
pub(super) fn enable(editor: &mut Editor<'_>, name: &UnitName, notes: &mut Vec<String>) -> Result<()> {
    let mut pending = vec![name.clone()];
    let mut seen = BTreeSet::new();
    while let Some(name) = pending.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        if seen.len() > MAX_ALSO {
            return Err(Error::new(ErrorKind::Limit, format!("a unit brings more than {MAX_ALSO} others along")));
        }
        let unit = match look_up(editor.tree(), &name)? {
            Found::Unit(unit) => unit,
            Found::Missing => return Err(missing(&name)),
            Found::Masked(name) => {
                let error = Error::new(ErrorKind::Refused, format!("unit {name} is masked"));
                return Err(error.hint("unmask it first"));
            }
        };
        if unit.install.is_empty() {
            notes.push(format!("{name} has no [Install] section: it is not meant to be enabled, and stays as it is"));
        }
        pending.extend(also(&unit)?);
        link(editor, &unit)?;
    }
    Ok(())
}

/// The units that come and go with this one.
pub(super) fn also(unit: &Unit) -> Result<Vec<UnitName>> {
    unit.install.also.iter().map(|text| valid(&expand(text, &unit.name)?, &unit.name)).collect()
}

fn valid(text: &str, of: &UnitName) -> Result<UnitName> {
    UnitName::exact(text).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            format!("{of} has {text:?} in its [Install] section, which is no name of a unit"),
        )
    })
}

/// Makes the links for one unit.
fn link(editor: &mut Editor<'_>, unit: &Unit) -> Result<()> {
    let config = GuestPath::parse(CONFIG)?;
    let install = &unit.install;
    let name = match &install.default_instance {
        Some(instance) if unit.name.is_template() => {
            let instance = expand(instance, &unit.name)?;
            unit.name.with_instance(&instance).ok_or_else(|| {
                let message = format!("{} has the default instance {instance:?}, which is none", unit.name);
                Error::new(ErrorKind::Invalid, message)
            })?
        }
        _ => unit.name.clone(),
    };
    for text in &install.alias {
        let alias = valid(&expand(text, &name)?, &name)?;
        let alias = alias.with_instance(name.instance().unwrap_or_default()).unwrap_or(alias);
        if alias.parts().1 != name.parts().1 || alias.is_template() != name.is_template() {
            let message = format!("{name} cannot have the alias {alias}, which is of another kind");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if alias != name {
            make(editor, &config.join(alias.as_bytes()), &unit.file)?;
        }
    }
    let wishes = [(&install.wanted_by, "wants"), (&install.required_by, "requires"), (&install.upheld_by, "upholds")];
    for (target, kind) in wishes.iter().flat_map(|(targets, kind)| targets.iter().map(move |target| (target, kind))) {
        if name.is_template() {
            if install.alias.is_empty() {
                let message = format!("{name} is a template, and {target} cannot want all of its instances");
                let example = name.with_instance("NAME").unwrap_or(name);
                return Err(Error::new(ErrorKind::Usage, message).hint(format!("name one: {example}")));
            }
            continue;
        }
        let target = valid(&expand(target, &name)?, &name)?;
        let dir = config.join(format!("{target}.{kind}"));
        let (dir, _) = editor.make_dirs(&dir, Wanted::all(0o755, (0, 0)))?;
        make(editor, &dir.join(name.as_bytes()), &unit.file)?;
    }
    Ok(())
}

/// Makes a link to a unit's file, unless there is one that leads there.
fn make(editor: &mut Editor<'_>, link: &GuestPath, file: &GuestPath) -> Result<()> {
    editor.make_dirs(&link.parent().unwrap_or_default(), Wanted::all(0o755, (0, 0)))?;
    let there = resolve(editor.tree(), link, Follow::NotLast)?;
    match there.stat.map(|stat| stat.kind) {
        None => editor.symlink(&there.path, &file.to_bytes()),
        Some(FileKind::Symlink) => {
            let target = editor.tree().read_link(&there.path)?;
            // What the link says may be another way to the same file, or be gone.
            let leads = resolve(editor.tree(), link, Follow::Last).is_ok_and(|found| found.path == *file);
            if leads || target == file.to_bytes() {
                return Ok(());
            }
            let message = format!("there is a link to {} already", target.escape_ascii());
            Err(Error::new(ErrorKind::Exists, message).at_path(link.to_bytes()))
        }
        Some(_) => Err(Error::new(ErrorKind::Exists, "there is a file already").at_path(link.to_bytes())),
    }
}
