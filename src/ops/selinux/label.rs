//! Contexts for what an edit has touched.

use super::{Policy, XATTR, config};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::Editor;
use crate::ops::{Change, What};
use crate::tree::{FileKind, GuestPath};
use std::collections::BTreeMap;

/// Files that a note names.
const SHOWN: usize = 20;

/// Whether an edit gives SELinux contexts to what it creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Labelling {
    /// Where the guest uses SELinux, from its own policy.
    #[default]
    Auto,
    /// Never.
    None,
}

/// Gives every file that was created or rewritten and has no context the one of the guest's policy, or where that has
/// none the one of its directory, as the kernel does. What has a context keeps it: so do rewritten and moved files, and
/// those that were given one. Returns what the user should know.
///
/// A guest without SELinux costs one look at /etc/selinux/config.
pub(in crate::ops) fn label_touched(editor: &mut Editor<'_>, how: Labelling) -> Result<Vec<String>> {
    if editor.changes().is_empty() || !config::is_enabled(editor.tree()).unwrap_or(false) {
        return Ok(Vec::new());
    }
    let bare = without_context(editor, touched(editor.changes()))?;
    if bare.is_empty() {
        return Ok(Vec::new());
    }
    if how == Labelling::None {
        return Ok(still_bare(&bare, "").into_iter().collect());
    }
    let mut policy = match Policy::of_guest(editor.tree()) {
        Ok(Some(policy)) => policy,
        Ok(None) => {
            // Keys are labelled at boot by what `inject` leaves in such a guest.
            let is_key = |file: &Bare| file.path.components().any(|name| name == b".ssh");
            let bare: Vec<Bare> = bare.into_iter().filter(|file| !is_key(file)).collect();
            return Ok(still_bare(&bare, ", as the guest has no policy with file_contexts,").into_iter().collect());
        }
        Err(error) => return Ok(still_bare(&bare, &unusable(&error)).into_iter().collect()),
    };
    let mut left = Vec::new();
    let mut trouble = String::new();
    for file in bare {
        let context = match policy.lookup(&file.path, file.kind) {
            Ok(Some(context)) => Some([context.as_bytes(), b"\0"].concat()),
            Ok(None) => file.path.parent().map(|dir| context_of(editor, &dir)).transpose()?.flatten(),
            Err(error) => {
                trouble = unusable(&error);
                None
            }
        };
        match context {
            Some(context) => match editor.set_context(&file.path, &context) {
                // A filesystem without attributes gets its context when it is mounted.
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                done => done?,
            },
            None => left.push(file),
        }
    }
    Ok(policy.notes().into_iter().chain(still_bare(&left, &trouble)).collect())
}

/// A file without a context.
#[derive(Debug)]
struct Bare {
    path: GuestPath,
    kind: FileKind,
    is_new: bool,
}

/// Where what was created or rewritten is now, and whether it was created.
fn touched(changes: &[Change]) -> BTreeMap<GuestPath, bool> {
    let mut paths = BTreeMap::new();
    for change in changes {
        match &change.what {
            What::CreatedDir { .. }
            | What::CreatedFile { .. }
            | What::CreatedLink { .. }
            | What::CreatedNode { .. } => drop(paths.insert(change.path.clone(), true)),
            What::Replaced { .. } | What::Appended { .. } => drop(paths.entry(change.path.clone()).or_insert(false)),
            What::RemovedXattr { name } if name == XATTR => drop(paths.remove(&change.path)),
            What::Renamed { to, .. } => {
                let is_moved = |path: &&GuestPath| **path == change.path || path.is_below(&change.path);
                let moved: Vec<GuestPath> = paths.keys().filter(is_moved).cloned().collect();
                for path in moved {
                    let is_new = paths.remove(&path).unwrap_or_default();
                    let now = if path == change.path { to.clone() } else { path.moved(&change.path, to) };
                    paths.insert(now, is_new);
                }
            }
            _ => {}
        }
    }
    paths
}

/// Those of the paths, directories first, that are there and have no context.
fn without_context(editor: &Editor<'_>, paths: BTreeMap<GuestPath, bool>) -> Result<Vec<Bare>> {
    let mut bare = Vec::new();
    for (path, is_new) in paths {
        let kind = match editor.tree().stat(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            stat => stat?.kind,
        };
        if context_of(editor, &path)?.is_none() {
            bare.push(Bare { path, kind, is_new });
        }
    }
    Ok(bare)
}

fn context_of(editor: &Editor<'_>, path: &GuestPath) -> Result<Option<Vec<u8>>> {
    Ok(editor.tree().xattrs(path)?.into_iter().find(|(name, _)| name == XATTR).map(|(_, context)| context))
}

fn unusable(error: &Error) -> String {
    format!(", as the guest's policy cannot be used ({}),", error.chain())
}

/// Says which new files are without a context, and why.
fn still_bare(files: &[Bare], why: &str) -> Option<String> {
    let new: Vec<&Bare> = files.iter().filter(|file| file.is_new).collect();
    let shown: Vec<String> = new.iter().take(SHOWN).map(|file| file.path.to_string()).collect();
    let more = if new.len() > SHOWN { format!(" and {} more", new.len() - SHOWN) } else { String::new() };
    let how = "until restorecon or a relabel (/.autorelabel) gives them one";
    (!new.is_empty()).then(|| format!("without an SELinux context{why} {how}: {}{more}", shown.join(", ")))
}
