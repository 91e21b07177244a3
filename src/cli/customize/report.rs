//! Doing operations, committing them, and telling what each did.

use super::SettingArgs;
use crate::cli::edit::{self, EditArgs, Place};
use crate::cli::target::Target;
use crate::cli::ui;
use nomount::image::Format;
use nomount::ops::customize::Done;
use nomount::ops::edit::{Edited, edit_labelled};
use nomount::ops::{Change, Editor};
use nomount::{Error, ErrorKind, Result};
use serde_json::{Value, json};

/// Changes of one operation that are listed as text; JSON and dry runs have all.
const SHOWN: usize = 20;

/// What zeroes that the guest's disk gets do not reach.
const KEPT: &str = "what was scrubbed may still be in the qcow2 file, where a snapshot or a backing file has it or its \
                    clusters were compressed";

/// Opens the image, does `work`, commits, and prints what each operation did. `passwords` are random ones, by user.
pub fn run_and_report(
    args: &EditArgs,
    settings: &SettingArgs,
    target: &Target,
    passwords: &[(String, String)],
    work: impl FnOnce(&mut Editor<'_>) -> Result<Vec<Done>>,
) -> Result<u8> {
    if args.json && !passwords.is_empty() {
        let message = "a random password would have to be shown, and passwords are never part of JSON";
        return Err(Error::new(ErrorKind::Usage, message).hint("make one yourself and give it with file: or fd:"));
    }
    let prepared = args.prepare(target)?;
    let mut session = prepared.open()?;
    let place = Place::of(&session);
    let mut done = Vec::new();
    let edited = edit_labelled(session.tree(), settings.labelling(args), |editor| {
        done = work(editor)?;
        done.extend(settings.finish(editor)?);
        Ok(())
    });
    let mut edited = edited.map_err(|error| prepared.named(error).in_volume(&place.volume))?;
    if session.format() == Format::Qcow2 && done.iter().any(|done| done.operation == "scrub") {
        edited.notes.push(KEPT.to_owned());
    }
    let commit = prepared.commit(session)?;
    let image = args.result(target);
    let operations = with_changes(&done, &edited);
    if args.json {
        let mut document = edit::document(image, Some(&place), args.dry_run, Some(&commit));
        document["operations"] = operations.iter().map(|(done, changes)| as_json(done, changes)).collect();
        for (name, value) in
            [("changes", json!(edited.changes)), ("warnings", json!(edited.warnings)), ("notes", json!(edited.notes))]
        {
            document[name] = value;
        }
        ui::json(document).map_err(ui::output_failed)?;
        return Ok(args.exit_code(!edited.changes.is_empty()));
    }
    done.iter().for_each(|done| done.warnings.iter().for_each(|text| ui::warning(text)));
    edited.warnings.iter().for_each(|text| ui::warning(text));
    edited.notes.iter().for_each(|text| ui::note(text));
    let mut lines = vec![place.line(image)];
    operations.iter().for_each(|(done, changes)| lines.extend(as_text(done, changes, args.dry_run)));
    let labels = edited.changes.len() - done.iter().map(|done| done.changes).sum::<usize>();
    if labels > 0 {
        let (would, files) =
            (if args.dry_run { "would get" } else { "got" }, if labels == 1 { "file" } else { "files" });
        lines.push(format!("  {labels} {files} {would} an SELinux context"));
    }
    if edited.changes.is_empty() {
        lines.push("  nothing to change".to_owned());
    }
    if !args.dry_run {
        lines.extend(
            passwords
                .iter()
                .map(|(user, password)| format!("  the new password of {} is {password}", ui::safe(user.as_bytes()))),
        );
    }
    lines.extend(edit::outcome(Some(&commit), args.dry_run));
    ui::lines(lines).map_err(ui::output_failed)?;
    Ok(args.exit_code(!edited.changes.is_empty()))
}

/// Each operation with its own changes. What comes after the last, as labels do, belongs to none.
fn with_changes<'d>(done: &'d [Done], edited: &'d Edited) -> Vec<(&'d Done, &'d [Change])> {
    let mut rest = edited.changes.as_slice();
    let mut take = |count: usize| {
        let (own, others) = rest.split_at(count.min(rest.len()));
        rest = others;
        own
    };
    done.iter().map(|done| (done, take(done.changes))).collect()
}

fn as_json(done: &Done, changes: &[Change]) -> Value {
    json!({
        "operation": done.operation,
        "subject": done.subject,
        "changes": changes,
        "warnings": done.warnings,
    })
}

/// Operations that changed nothing are left out: sysprep has dozens.
fn as_text(done: &Done, changes: &[Change], dry_run: bool) -> Vec<String> {
    if changes.is_empty() {
        return Vec::new();
    }
    let name = format!("  {} {}", done.operation, ui::safe(done.subject.as_bytes()));
    let would = if dry_run { "would " } else { "" };
    let shown = if dry_run { changes.len() } else { SHOWN };
    let mut lines = vec![name.trim_end().to_owned()];
    lines.extend(changes.iter().take(shown).map(|change| format!("    {would}{change}")));
    if changes.len() > shown {
        lines.push(format!("    and {} more changes (--json lists all)", changes.len() - shown));
    }
    lines
}
