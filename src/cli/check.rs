//! `nomount check`.

use super::target::{self, ImageArgs, Target};
use super::{exit, progress, ui};
use nomount::Result;
use nomount::session::{Checked, check_image};
use nomount_ext::{Finding, Severity};
use serde_json::{Value, json};
use std::ffi::OsString;

/// Find what is wrong in the ext filesystems of an image
///
/// Nothing is written; a journal that needs recovery is replayed in memory. Each finding has the name that e2fsck has
/// for the problem, or one that begins with NM_ where `e2fsck -fn` says nothing. Without --partition all ext
/// filesystems are checked. The exit code is 7 if any is corrupt; warnings and notes alone leave it 0.
///
/// Example: nomount check disk.qcow2
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE[@PARTITION]")]
    image: OsString,
    #[command(flatten)]
    open: ImageArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    let _working = progress::begin("check");
    let target = Target::parse(args.image.clone());
    let choice = args.open.choice(&target)?;
    let (checked, notes) = check_image(&target.image, &args.open.image_options(), choice, target::now()?)?;
    notes.iter().for_each(|text| ui::note(text));
    let printed = if args.json {
        let volumes: Vec<Value> = checked.iter().map(as_json).collect();
        ui::json(json!({ "image": target.image.display().to_string(), "volumes": volumes }))
    } else {
        ui::lines(checked.iter().flat_map(as_text))
    };
    printed.map_err(ui::output_failed)?;
    Ok(if checked.iter().all(|checked| checked.report.is_sound()) { exit::DONE } else { exit::CORRUPT })
}

fn as_text(checked: &Checked) -> Vec<String> {
    let report = &checked.report;
    let mut lines: Vec<String> = report.findings().iter().map(ToString::to_string).collect();
    let left_out = report.total() - report.findings().len() as u64;
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
    let counts: Vec<String> = Severity::ALL
        .into_iter()
        .rev()
        .filter(|severity| report.count(*severity) > 0)
        .map(|severity| format!("{} {}", report.count(severity), severity.name()))
        .collect();
    let verdict = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
    lines.push(format!(
        "{}: {verdict}; {} inodes in use, {} of them directories, {} blocks",
        checked.volume, report.inodes, report.directories, report.blocks
    ));
    lines
}

fn as_json(checked: &Checked) -> Value {
    let report = &checked.report;
    let counts = Severity::ALL.into_iter().map(|severity| (severity.name().to_owned(), json!(report.count(severity))));
    json!({
        "partition": checked.volume.number(),
        "content": checked.volume.content.name(),
        "sound": report.is_sound(),
        "counts": serde_json::Map::from_iter(counts),
        "left_out": report.total() - report.findings().len() as u64,
        "inodes": report.inodes,
        "directories": report.directories,
        "blocks": report.blocks,
        "findings": report.findings().iter().map(finding).collect::<Vec<_>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "id": finding.id,
        "severity": finding.severity.name(),
        "place": finding.place,
        "found": finding.found,
        "expected": finding.wanted,
        "e2fsck_silent": finding.e2fsck_is_silent(),
    })
}
