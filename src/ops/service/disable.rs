//! `disable`.

use super::enable::also;
use super::missing;
use super::name::UnitName;
use super::units::{CONFIG, Found, look_up};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::Editor;
use crate::tree::{FileKind, Follow, GuestPath, Walk, find, resolve};
use std::collections::BTreeSet;

/// The most units that go with one by `Also=`.
const MAX_ALSO: usize = 256;

/// Removes all links to the unit and to those that come and go with it, and directories that are empty then. Masks
/// stay.
pub(super) fn disable(editor: &mut Editor<'_>, name: &UnitName, notes: &mut Vec<String>) -> Result<()> {
    let mut pending = vec![name.clone()];
    let mut names = BTreeSet::new();
    let mut is_missing = false;
    while let Some(next) = pending.pop() {
        if names.contains(&next) {
            continue;
        }
        match look_up(editor.tree(), &next)? {
            Found::Unit(unit) => {
                pending.extend(also(&unit)?);
                names.insert(unit.name);
            }
            Found::Masked(masked) => {
                notes.push(format!("unit {masked} is masked, and stays so"));
                continue;
            }
            // Links may be left over from a unit that is gone.
            Found::Missing if next == *name => is_missing = true,
            Found::Missing => {}
        }
        names.insert(next);
        if names.len() > MAX_ALSO {
            return Err(Error::new(ErrorKind::Limit, format!("a unit takes more than {MAX_ALSO} others along")));
        }
    }
    let removed = remove_links(editor, &names)?;
    if is_missing && !removed { Err(missing(name)) } else { Ok(()) }
}

/// Removes the links whose name, or whose target's, is one of `names` or an instance of it. Says whether there were any.
fn remove_links(editor: &mut Editor<'_>, names: &BTreeSet<UnitName>) -> Result<bool> {
    let Some(config) = find(editor.tree(), &GuestPath::parse(CONFIG)?)? else { return Ok(false) };
    let is_one = |name: Option<&[u8]>, with_template: bool| {
        let name = name.and_then(|name| UnitName::exact(std::str::from_utf8(name).ok()?));
        name.is_some_and(|name| {
            let of_template = || name.template().is_some_and(|(template, _)| names.contains(&template));
            names.contains(&name) || with_template && of_template()
        })
    };
    let mut links = Vec::new();
    let mut walk = Walk::new(config.path.clone());
    while let Some((path, stat)) = walk.next(editor.tree())? {
        if stat.kind != FileKind::Symlink {
            continue;
        }
        let target = editor.tree().read_link(&path)?;
        if target == b"/dev/null" {
            continue;
        }
        let said = target.rsplit(|byte| *byte == b'/').next();
        let leads = resolve(editor.tree(), &path, Follow::Last).ok().map(|found| found.path);
        let leads = leads.as_ref().and_then(GuestPath::name);
        if is_one(path.name(), true) || is_one(said, false) || is_one(leads, false) {
            links.push(path);
        }
    }
    for link in &links {
        editor.remove(link)?;
        let dir = link.parent().unwrap_or_default();
        if dir != config.path && editor.tree().entries(&dir)?.is_empty() {
            editor.remove(&dir)?;
        }
    }
    Ok(!links.is_empty())
}
