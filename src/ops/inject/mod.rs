//! Puts keys, network, metadata, password and files into a guest: what Nova's disk injection does, correctly.
//!
//! Each item is whole or absent: one that fails is taken back, and unless it is mandatory the others go on. When a
//! mandatory one fails, everything is taken back and the error returned. That holds with `nova_compat`, too, where
//! otherwise bytes and modes are exactly those of Nova.

mod files;
mod metadata;
mod mounts;
mod net;
mod nova;
mod password;
mod public_key;
mod rc_local;
mod report;
mod request;
mod selinux;
mod ssh_key;
#[cfg(test)]
mod tests;

pub use report::{InjectReport, ItemReport, Outcome, not_opened};
pub use request::{InjectFile, InjectRequest, Item};

pub(super) use mounts::point_out_hidden;
pub(super) use ssh_key::add_keys;

use super::editor::Editor;
use super::guest::{RootVerdict, looks_like_root};
use super::selinux::label_touched;
use crate::error::Result;
use crate::tree::FileTree;

/// What an item has to say.
#[derive(Debug, Default)]
struct Notes {
    warnings: Vec<String>,
    notes: Vec<String>,
}

impl Notes {
    /// Something may not be as wished.
    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// Something will happen.
    fn note(&mut self, text: String) {
        self.notes.push(text);
    }
}

/// Injects what `request` asks for into `tree`.
///
/// Items come in the order of [`Item::ALL`]; the report says what became of each. An error means that a mandatory item
/// failed, or that the request makes no sense: then the tree is as it was.
pub fn inject(tree: &mut dyn FileTree, request: &InjectRequest) -> Result<InjectReport> {
    request.check()?;
    let mut report = InjectReport::new();
    let mut editor = Editor::new(tree);
    // Without anything to do not even a mark is set.
    let mut start = (!request.is_empty()).then(|| editor.mark());
    if start.is_some() && matches!(looks_like_root(editor.tree()), RootVerdict::AwaitsFirstBoot(_)) {
        let filled = "the guest is filled from its initramfs at the first boot";
        report.warnings.push(format!("{filled}, which replaces injected files that it has itself"));
    }
    for item in Item::ALL {
        if !request.asks_for(item) {
            report.add(item, Outcome::Skipped);
            continue;
        }
        let mark = editor.mark();
        let mut notes = Notes::default();
        match inject_item(&mut editor, request, item, &mut notes) {
            Ok(()) => {
                report.add(item, Outcome::Done);
                report.warnings.append(&mut notes.warnings);
                report.notes.append(&mut notes.notes);
            }
            Err(error) if request.mandatory.contains(&item) => {
                editor.rollback(start.take().unwrap_or(mark));
                return Err(error);
            }
            Err(error) => {
                editor.rollback(mark);
                report.add(item, Outcome::Failed(report::explain(&error)));
            }
        }
    }
    if !request.nova_compat
        && let Some(start) = start
    {
        match label_touched(&mut editor, request.labelling) {
            Ok(notes) => report.notes.extend(notes),
            Err(error) => {
                editor.rollback(start);
                return Err(error);
            }
        }
    }
    report.warnings.extend(point_out_hidden(editor.tree(), editor.changes()));
    report.changes = editor.into_changes();
    Ok(report)
}

fn inject_item(editor: &mut Editor<'_>, request: &InjectRequest, item: Item, notes: &mut Notes) -> Result<()> {
    match item {
        Item::Key => ssh_key::inject(editor, request, request.key.as_deref().unwrap_or_default(), notes),
        Item::Net => net::inject(editor, request, request.net.as_deref().unwrap_or_default(), notes),
        Item::Metadata => metadata::inject(editor, request.metadata.as_deref().unwrap_or_default()),
        Item::AdminPassword => match &request.admin_password {
            Some(password) => password::inject(editor, request, password, notes),
            None => Ok(()),
        },
        Item::Files => files::inject(editor, request, &request.files),
    }
}
