//! `nomount inspect-safety`.

use super::sandbox::HostAccess;
use super::{bytes, exit, ui};
use nomount::image::safety::{Container, Judged, judge};
use nomount::sandbox::Access;
use nomount::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Tell whether an image is safe to open: which format it has, and that it names no other file
///
/// Exit code 0 when every image is safe, 3 when one is not. Formats are judged that nomount does not open, too: qcow,
/// qcow2, qed, vmdk, vhd, vhdx, vdi, luks, iso, gpt, mbr. An image is not safe when several formats claim it, when it
/// is not of the format that was named, or when it is cut off. Only headers are read, and only in the image itself.
///
/// Example: nomount inspect-safety upload.img
///
/// Example: nomount inspect-safety -v --format qcow2 *.qcow2
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The images: files or block devices
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Format that the images are said to have: raw (with or without a partition table), qcow2, vmdk, vhd, vhdx, vdi,
    /// luks, iso, gpt, mbr; an image of another format is not safe
    #[arg(long, short = 'f', value_name = "FORMAT|auto", default_value = "auto", value_parser = parse_format)]
    format: Claim,
    /// Show the rules that hold, too
    #[arg(long, short)]
    verbose: bool,
    /// Print lines of KEY=VALUE, as OpenStack's imageutils does; a shell can read them
    #[arg(long, conflicts_with_all = ["json", "verbose"])]
    key_value: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The format that was named; none where any will do.
type Claim = Option<Container>;

fn parse_format(text: &str) -> Result<Claim, String> {
    match text {
        "auto" => Ok(None),
        name => Container::parse(name).map(Some).ok_or_else(|| {
            let names: Vec<&str> = Container::names().collect();
            format!("known are auto, {}", names.join(", "))
        }),
    }
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.images.iter().fold(Access::none(), Access::read)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let judged: Vec<(&Path, Result<Judged>)> =
        args.images.iter().map(|path| (path.as_path(), judge(path, args.format))).collect();
    let is_safe = |judged: &Result<Judged>| judged.as_ref().is_ok_and(|judged| judged.verdict.is_safe());
    let all_safe = judged.iter().all(|(_, judged)| is_safe(judged));
    if args.json {
        let images: Vec<Value> = judged.iter().map(|(path, judged)| as_json(path, judged)).collect();
        ui::json(json!({ "safe": all_safe, "images": images })).map_err(ui::output_failed)?;
    } else {
        for (path, judged) in &judged {
            match judged {
                Ok(judged) if args.key_value => ui::lines(key_values(path, judged, args.images.len() > 1)),
                Ok(judged) => ui::lines(as_text(path, judged, args.verbose)),
                Err(error) => {
                    ui::error(error, false);
                    continue;
                }
            }
            .map_err(ui::output_failed)?;
        }
    }
    let error = judged.iter().find_map(|(_, judged)| judged.as_ref().err());
    Ok(match error {
        Some(error) => exit::code(error.kind()),
        None if all_safe => exit::DONE,
        None => exit::REFUSED,
    })
}

/// The formats in a row: one, unless several claim the image.
fn formats(judged: &Judged, name: fn(Container) -> &'static str) -> String {
    judged.verdict.formats.iter().map(|format| name(*format)).collect::<Vec<_>>().join(", ")
}

fn as_text(path: &Path, judged: &Judged, verbose: bool) -> Vec<String> {
    let verdict = &judged.verdict;
    let word = if verdict.is_safe() { "safe" } else { "not safe" };
    let mut lines =
        vec![format!("{}: {word}", path.display()), format!("    format: {}", formats(judged, Container::name))];
    if let Some(size) = verdict.virtual_size {
        lines.push(format!("    virtual size: {} ({size} bytes)", bytes::human(size)));
    }
    let (file, host) = (judged.file_size, judged.host_bytes);
    lines.push(format!("    file: {} ({file} bytes), {} on the host", bytes::human(file), bytes::human(host)));
    for outcome in &verdict.outcomes {
        match &outcome.failure {
            Some(why) => lines.push(format!("    failed {} ({}): {why}", outcome.id, outcome.about)),
            None if verbose => lines.push(format!("    passed {}: {}", outcome.id, outcome.about)),
            None => {}
        }
    }
    lines.extend(verdict.notes.iter().map(|note| format!("    note: {note}")));
    lines
}

fn as_json(path: &Path, judged: &Result<Judged>) -> Value {
    let image = path.display().to_string();
    let judged = match judged {
        Ok(judged) => judged,
        Err(error) => return json!({ "image": image, "safe": false, "error": of_error(error) }),
    };
    let verdict = &judged.verdict;
    let rules = verdict.outcomes.iter().map(|outcome| {
        json!({
            "rule": outcome.id,
            "about": outcome.about,
            "holds": outcome.failure.is_none(),
            "reason": outcome.failure,
        })
    });
    let names: Vec<&str> = verdict.formats.iter().map(|format| format.name()).collect();
    json!({
        "image": image,
        "safe": verdict.is_safe(),
        "format": (names.len() == 1).then_some(names[0]),
        "formats": names,
        "virtual_size": verdict.virtual_size,
        "file_size": judged.file_size,
        "host_bytes": judged.host_bytes,
        "rules": rules.collect::<Vec<_>>(),
        "notes": verdict.notes,
    })
}

fn of_error(error: &Error) -> Value {
    json!({ "kind": exit::word(error.kind()), "message": error.chain() })
}

/// The words of OpenStack's program, which has one name for each magic.
fn openstack_name(format: Container) -> &'static str {
    match format {
        Container::Qcow => "qcow2",
        Container::Mbr => "gpt",
        other => other.name(),
    }
}

fn key_values(path: &Path, judged: &Judged, named: bool) -> Vec<String> {
    let verdict = &judged.verdict;
    let mut lines = Vec::new();
    if named {
        lines.push(format!("IMAGE={}", quoted(&path.display().to_string())));
    }
    lines.push(format!("SAFETY_CHECK_PASSED={}", if verdict.is_safe() { "True" } else { "False" }));
    lines.push(format!("VIRTUAL_SIZE={}", verdict.virtual_size.unwrap_or_default()));
    lines.push(format!("ACTUAL_SIZE={}", judged.file_size));
    lines.push(format!("IMAGE_FORMAT=\"{}\"", formats(judged, openstack_name)));
    if !verdict.is_safe() {
        let failures = verdict.failures().filter_map(|rule| rule.failure.as_ref().map(|why| (rule.id, why)));
        let reasons: Vec<String> = failures.map(|(id, why)| format!("{id}: {why}")).collect();
        lines.push(format!("FAILURE_REASONS={}", quoted(&reasons.join(","))));
    }
    lines
}

/// A word for a shell: in single quotes, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
