//! `nomount check --deterministic`: for programs that look at very many images.

use super::super::{exit, ui};
use super::{counted, found, report_json, volume_json};
use nomount::image::Format;
use nomount::ops::harness::{Limits, Outcome, Seen, Verdict, Walked, check_bytes, check_file};
use nomount::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

/// The longest image that is read from standard input, in bytes: it is kept in memory.
const MAX_INPUT: u64 = 256 << 20;

/// Looks at all images in turn.
pub fn run(images: &[OsString], format: Option<Format>, json: bool) -> Result<u8> {
    let mut worst = Verdict::Clean;
    for image in images {
        let outcome = match image.to_str() {
            Some("-") => check_bytes(&input()?, format, &Limits::default()),
            _ => check_file(Path::new(image), format, &Limits::default()).map_err(|error| error.in_image(image))?,
        };
        worst = worst.max(outcome.verdict);
        let printed = if json { ui::json_line(as_json(&outcome)) } else { ui::lines(as_text(&outcome)) };
        printed.map_err(ui::output_failed)?;
    }
    Ok(code(worst))
}

fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Clean | Verdict::Walked => exit::DONE,
        Verdict::Unsupported => exit::code(ErrorKind::Unsupported),
        Verdict::Refused => exit::code(ErrorKind::Refused),
        Verdict::Corrupt => exit::CORRUPT,
        Verdict::Unreadable => exit::FAILED,
    }
}

fn input() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let failed = |error| Error::of_host("cannot read standard input", error);
    std::io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_INPUT {
        let message = format!("standard input has more than {MAX_INPUT} bytes");
        return Err(Error::new(ErrorKind::Limit, message).hint("give the image as a file"));
    }
    Ok(bytes)
}

/// An error without the image's name.
fn told(error: &Error) -> String {
    let place = error.place();
    let volume = place.volume.iter().map(|volume| format!("{volume}: "));
    let path = place.path.iter().map(|path| format!("{}: ", ui::safe(path)));
    volume.chain(path).chain([error.chain()]).collect()
}

fn as_text(outcome: &Outcome) -> Vec<String> {
    let mut lines: Vec<String> = outcome.notes.iter().map(|note| format!("note: {note}")).collect();
    outcome.volumes.iter().for_each(|seen| lines.extend(seen_text(seen)));
    lines.extend(outcome.error.iter().map(|error| format!("error: {}", told(error))));
    lines.push(format!("verdict: {}", outcome.verdict.name()));
    lines
}

fn seen_text(seen: &Seen) -> Vec<String> {
    let mut lines = seen.report.as_ref().map(found).unwrap_or_default();
    let errors = seen.walked.iter().flat_map(|walked| &walked.errors).chain(&seen.error);
    lines.extend(errors.map(|error| format!("error: {}", told(error))));
    let report = seen.report.as_ref().map_or_else(|| "not checked".to_owned(), counted);
    let walked = match &seen.walked {
        None => "nothing read".to_owned(),
        Some(walked) => {
            let Walked { directories, files, bytes, complete, digest, .. } = walked;
            let all = if *complete { "all" } else { "not all" };
            format!("{all} read: {directories} directories, {files} other names, {bytes} bytes, tree {digest:08x}")
        }
    };
    lines.push(format!("{}: {}; {report}; {walked}", seen.volume, seen.verdict.name()));
    lines
}

fn as_json(outcome: &Outcome) -> Value {
    json!({
        "verdict": outcome.verdict.name(),
        "format": outcome.format.map(Format::name),
        "notes": outcome.notes,
        "message": outcome.error.as_ref().map(told),
        "volumes": outcome.volumes.iter().map(seen_json).collect::<Vec<_>>(),
    })
}

fn seen_json(seen: &Seen) -> Value {
    let mut fields = volume_json(&seen.volume);
    fields.insert("verdict".to_owned(), json!(seen.verdict.name()));
    fields.extend(seen.report.as_ref().map(report_json).unwrap_or_default());
    let errors = seen.walked.iter().flat_map(|walked| &walked.errors).chain(&seen.error);
    fields.insert("errors".to_owned(), errors.map(told).collect());
    let read = seen.walked.as_ref().map(|walked| {
        json!({
            "directories": walked.directories,
            "files": walked.files,
            "bytes": walked.bytes,
            "complete": walked.complete,
            "digest": format!("{:08x}", walked.digest),
        })
    });
    fields.insert("read".to_owned(), json!(read));
    Value::Object(fields)
}
