//! Making a guest what a recipe says it is to be. What is so already is not touched: a second time nothing changes.

mod files;
mod recipe;
mod users;
mod values;

pub use recipe::Recipe;

use super::account::{NewGroup, Password, add_group};
use super::customize::{self, Operation, Settings};
use super::editor::Editor;
use super::service::{Action, UnitName, service};
use crate::account::group;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileTree, GuestPath, MAX_TEXT, Time, read_all};
use recipe::{Contents, Firstboot, GroupSpec};
use std::collections::BTreeMap;
use values::{Name, Unit};

/// What a recipe needs from outside of itself.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The contents of its [sources](Recipe::sources), by their names there.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Its [passwords](Recipe::passwords), by the names of their users.
    pub passwords: BTreeMap<String, Password>,
    /// The time now.
    pub now: Time,
}

impl Inputs {
    fn file(&self, name: &str) -> Result<&[u8]> {
        let missing = || Error::new(ErrorKind::NotFound, format!("{name} was not given with the recipe"));
        self.files.get(name).map(Vec::as_slice).ok_or_else(missing)
    }

    fn contents<'a>(&'a self, contents: &'a Contents) -> Result<&'a [u8]> {
        match contents {
            Contents::Text(text) => Ok(text.as_bytes()),
            Contents::Source(name) => self.file(name),
            Contents::Lines(_) => Ok(b""),
        }
    }

    /// Days since 1970.
    fn today(&self) -> u32 {
        u32::try_from(self.now.sec / 86_400).unwrap_or(0)
    }
}

/// Makes the guest what `recipe` says. Returns what is to be noticed. Work in [`edit`](super::edit::edit) to have all of
/// it or nothing.
pub fn apply(editor: &mut Editor<'_>, recipe: &Recipe, inputs: &Inputs) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (name, spec) in &recipe.groups {
        ensure_group(editor, name, spec).map_err(|error| error.during(&format!("groups.{}", name.0)))?;
    }
    for (name, spec) in &recipe.users {
        let done = users::ensure(editor, &name.0, spec, inputs);
        notes.extend(done.map_err(|error| error.during(&format!("users.{}", name.0)))?);
    }
    recipe.directories.iter().try_for_each(|(path, spec)| files::ensure_directory(editor, &path.0, spec))?;
    recipe.files.iter().try_for_each(|(path, spec)| files::ensure_file(editor, &path.0, spec, inputs))?;
    recipe.links.iter().try_for_each(|(path, target)| files::ensure_link(editor, &path.0, target))?;
    recipe.absent.iter().try_for_each(|path| files::ensure_absent(editor, &path.0))?;
    let names = [
        recipe.hostname.as_ref().map(|name| Operation::Hostname(name.0.clone())),
        recipe.timezone.as_ref().map(|zone| Operation::Timezone(zone.0.clone())),
    ];
    notes.extend(customize(editor, names.into_iter().flatten().collect(), inputs)?);
    let services = &recipe.services;
    for (action, units) in [
        (Action::Unmask, &services.unmask),
        (Action::Disable, &services.disable),
        (Action::Enable, &services.enable),
        (Action::Mask, &services.mask),
    ] {
        let units: Vec<UnitName> = units.iter().map(|Unit(name)| name.clone()).collect();
        if !units.is_empty() {
            notes.extend(service(editor, action, &units).map_err(|error| error.during("services"))?);
        }
    }
    for script in &recipe.firstboot {
        ensure_firstboot(editor, script, inputs, &mut notes)?;
    }
    for (name, spec) in &recipe.users {
        let done = users::ensure_password(editor, &name.0, spec, inputs);
        done.map_err(|error| error.during(&format!("users.{}", name.0)))?;
    }
    Ok(notes)
}

fn customize(editor: &mut Editor<'_>, operations: Vec<Operation>, inputs: &Inputs) -> Result<Vec<String>> {
    let settings = Settings { now: inputs.now, ..Settings::default() };
    let done = customize::apply(editor, operations, &settings)?;
    Ok(done.into_iter().flat_map(|done| done.warnings).collect())
}

fn ensure_group(editor: &mut Editor<'_>, name: &Name, spec: &GroupSpec) -> Result<()> {
    let text = read_all(editor.tree(), &GuestPath::parse("/etc/group")?, MAX_TEXT)?;
    let Some(group) = group::find(&text, name.0.as_bytes()) else {
        let new = NewGroup { name: name.0.clone().into_bytes(), gid: spec.gid, system: spec.system };
        return add_group(editor, &new).map(drop);
    };
    match spec.gid.filter(|gid| *gid != group.gid) {
        Some(gid) => Err(other_number("gid", group.gid, gid)),
        None => Ok(()),
    }
}

/// The files of the account would be somebody else's.
fn other_number(what: &str, is: u32, wanted: u32) -> Error {
    let message = format!("its {what} is {is} already, and stays so: its files would not follow to {wanted}");
    Error::new(ErrorKind::Refused, message)
}

/// Adds the script, unless one of the same name and contents waits or has run.
fn ensure_firstboot(
    editor: &mut Editor<'_>,
    script: &Firstboot,
    inputs: &Inputs,
    notes: &mut Vec<String>,
) -> Result<()> {
    let contents = inputs.contents(&script.script)?;
    for folder in ["/usr/lib/nomount/firstboot.d", "/usr/lib/nomount/firstboot.done"] {
        if has_script(editor.tree(), &GuestPath::parse(folder)?, script.name.as_bytes(), contents)? {
            return Ok(());
        }
    }
    let operation = Operation::Firstboot { name: script.name.clone().into_bytes(), script: contents.to_vec() };
    notes.extend(customize(editor, vec![operation], inputs)?);
    Ok(())
}

/// Whether `folder` has a script of that name, after its number, with those contents.
fn has_script(tree: &dyn FileTree, folder: &GuestPath, name: &[u8], contents: &[u8]) -> Result<bool> {
    let entries = match tree.entries(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(false),
        Err(error) => return Err(error),
    };
    let is_it = |entry: &[u8]| {
        let (number, rest) = entry.split_at_checked(4)?;
        (number.iter().all(u8::is_ascii_digit) && rest.strip_prefix(b"-")? == name).then_some(())
    };
    for entry in entries.iter().filter(|entry| is_it(&entry.name).is_some()) {
        let path = folder.join(&entry.name);
        if tree.stat(&path)?.size == contents.len() as u64 && read_all(tree, &path, contents.len() as u64)? == contents
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
