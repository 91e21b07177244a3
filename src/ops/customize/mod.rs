//! Making a guest what it should be: the operations of virt-customize that need no program of the guest to run, in the
//! order in which they are given, passwords last.

mod append_line;
mod assignment;
mod copies;
mod firstboot;
mod hostname;
mod operation;
mod passwords;
mod timezone;

pub use firstboot::MAX_SCRIPTS;
pub(crate) use hostname::check as check_hostname;
pub use operation::{NewPassword, Operation};
pub(crate) use timezone::check as check_timezone;

use super::edit::{self, LinkOptions, NewSize, RenameOptions, TouchOptions};
use super::glob::PathGlob;
use super::inject::add_keys;
use super::selinux::{Relabel, has_policy, relabel};
use super::{Editor, Silent};
use crate::account::crypt::Method;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileKind, Follow, GuestPath, MAX_TEXT, Time, Walk, existing, read_all};
use serde::Serialize;
use std::collections::BTreeSet;

/// What all operations of one command line share.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// What `touch` sets.
    pub now: Time,
    /// How passwords are hashed; without, as the guest's own files tell.
    pub password_method: Option<Method>,
}

/// What one operation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Its name, as the option of the command line without the hyphens.
    pub operation: &'static str,
    /// What it was about: a path, a user, a name.
    pub subject: String,
    /// How many of the editor's changes are its own, after those of the ones before.
    pub changes: usize,
    /// What may not be as wished.
    pub warnings: Vec<String>,
}

/// What an operation has to say.
#[derive(Debug, Default)]
pub(super) struct Remarks(Vec<String>);

impl Remarks {
    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    pub(super) fn into_warnings(self) -> Vec<String> {
        self.0
    }
}

/// Does `operations`, in order but for passwords, which come last. The first that fails ends it, with its name in the
/// error: work in [`edit`](super::edit::edit) to have all or nothing.
pub fn apply(editor: &mut Editor<'_>, operations: Vec<Operation>, settings: &Settings) -> Result<Vec<Done>> {
    let is_password = |operation: &Operation| matches!(operation, Operation::Password { .. });
    let (passwords, others): (Vec<_>, Vec<_>) = operations.into_iter().partition(is_password);
    refuse_twice(&passwords)?;
    let mut done = Vec::new();
    for operation in others.into_iter().chain(passwords) {
        let before = editor.changes().len();
        let (name, subject) = (operation.name(), String::from_utf8_lossy(&operation.subject()).into_owned());
        let mut remarks = Remarks::default();
        apply_one(editor, operation, settings, &mut remarks).map_err(|error| error.during(name))?;
        let changes = editor.changes().len() - before;
        done.push(Done { operation: name, subject, changes, warnings: remarks.into_warnings() });
    }
    Ok(done)
}

/// Gives every file of the guest, but those at `exclude` and below, the SELinux context of the guest's own policy; in a
/// guest without one nothing happens.
pub fn relabel_all(editor: &mut Editor<'_>, exclude: &[GuestPath]) -> Result<Done> {
    let before = editor.changes().len();
    let warnings = if has_policy(editor.tree())? {
        let request = Relabel { paths: vec![GuestPath::root()], exclude: exclude.to_vec(), ..Relabel::default() };
        relabel(editor, &request).map_err(|error| error.during(RELABEL))?.1
    } else {
        Vec::new()
    };
    Ok(Done { operation: RELABEL, subject: String::new(), changes: editor.changes().len() - before, warnings })
}

const RELABEL: &str = "selinux-relabel";

/// Which of two passwords was meant cannot be known.
fn refuse_twice(passwords: &[Operation]) -> Result<()> {
    let mut users = BTreeSet::new();
    match passwords.iter().map(Operation::subject).find(|user| !users.insert(user.clone())) {
        Some(user) => {
            let message = format!("the password of {} is given twice", user.escape_ascii());
            Err(Error::new(ErrorKind::Usage, message))
        }
        None => Ok(()),
    }
}

fn apply_one(editor: &mut Editor<'_>, operation: Operation, settings: &Settings, remarks: &mut Remarks) -> Result<()> {
    match operation {
        Operation::AppendLine { path, line } => append_line::append_line(editor, &path, &line),
        Operation::Chmod { mode, path } => edit::chmod(editor, &path, &mode, false),
        Operation::Chown { owner, path } => edit::chown(editor, &path, &owner, Follow::Last, false),
        Operation::Copy { source, destination } => copies::copy(editor, &source, &destination, remarks),
        Operation::CopyIn { name, mut source, directory } => {
            copies::copy_in(editor, name, source.as_mut(), &directory, remarks)
        }
        Operation::Delete(pattern) => delete(editor, &pattern, remarks),
        Operation::Edit { path, script } => {
            let before = read_all(editor.tree(), &path, MAX_TEXT)?;
            let after = script.apply(&before).map_err(|error| error.at_path(path.to_bytes()))?;
            edit::write(editor, &path, &after)
        }
        Operation::Firstboot { name, script } => firstboot::add(editor, &name, &script),
        Operation::FirstbootInstall(packages) => firstboot::add_install(editor, &packages),
        Operation::Hostname(name) => hostname::set(editor, &name, remarks),
        Operation::Link { target, links } => {
            let options = LinkOptions { force: true, ..LinkOptions::default() };
            links.iter().try_for_each(|link| edit::symlink(editor, &target, link, options))
        }
        Operation::Mkdir(path) => edit::make_dir(editor, &path, None, true),
        Operation::Move { source, destination } => {
            let notes = edit::rename(editor, &[source], &destination, RenameOptions::default(), &mut Silent)?;
            notes.into_iter().for_each(|text| remarks.warn(text));
            Ok(())
        }
        Operation::Password { user, password } => {
            passwords::set(editor, &user, &password, settings.password_method, remarks)
        }
        Operation::Scrub(path) => {
            let (place, _) = existing(editor.tree(), &path, Follow::Last)?;
            editor.scrub(&place)
        }
        Operation::SshInject { user, keys } => {
            add_keys(editor, &user, &keys).map(|warnings| warnings.into_iter().for_each(|text| remarks.warn(text)))
        }
        Operation::TarIn { mut source, directory } => copies::tar_in(editor, source.as_mut(), &directory, remarks),
        Operation::Timezone(name) => timezone::set(editor, &name),
        Operation::Touch(path) => {
            let (atime, mtime) = (Some(settings.now), Some(settings.now));
            edit::touch(editor, &path, TouchOptions { atime, mtime, no_create: false, follow: Follow::Last })
        }
        Operation::Truncate(path) => {
            existing(editor.tree(), &path, Follow::Last)?;
            edit::truncate(editor, &path, NewSize::To(0), false)
        }
        Operation::TruncateRecursive(path) => truncate_recursive(editor, &path),
        Operation::Upload { name, mut contents, executable, destination } => {
            copies::upload(editor, &name, contents.as_mut(), executable, &destination)
        }
        Operation::Write { path, contents } => edit::write(editor, &path, &contents),
    }
}

fn delete(editor: &mut Editor<'_>, pattern: &[u8], remarks: &mut Remarks) -> Result<()> {
    let matches = PathGlob::parse(pattern)?.matches(editor.tree())?;
    if matches.is_empty() {
        remarks.warn(format!("nothing to delete: no {}", pattern.escape_ascii()));
    }
    let options = edit::RemoveOptions { recursive: true, empty_dirs: true, force: true };
    matches.iter().try_for_each(|path| edit::remove(editor, path, options))
}

fn truncate_recursive(editor: &mut Editor<'_>, path: &GuestPath) -> Result<()> {
    let (place, _) = existing(editor.tree(), path, Follow::Last)?;
    let mut walk = Walk::new(place);
    while let Some((place, stat)) = walk.next(editor.tree())? {
        if stat.kind == FileKind::File {
            editor.truncate(&place, 0)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
