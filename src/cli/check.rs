//! `nomount check`.

mod deterministic;

use super::sandbox::HostAccess;
use super::target::{self, ImageArgs, Target};
use super::{exit, progress, ui};
use nomount::disk::Volume;
use nomount::sandbox::Access;
use nomount::session::{Checked, check_image};
use nomount::{Error, ErrorKind, Result};
use nomount_ext::{Finding, Report, Severity};
use serde_json::{Map, Value, json};
use std::ffi::OsString;

/// Find what is wrong in the ext filesystems of an image
///
/// Nothing is written; a journal that needs recovery is replayed in memory. Each finding has the name that e2fsck has
/// for the problem, or one that begins with NM_ where `e2fsck -fn` says nothing. Without --partition all ext
/// filesystems are checked. The exit code is 7 if any is corrupt; warnings and notes alone leave it 0.
///
/// With --deterministic what is printed follows from the bytes of the images alone, for fuzz harnesses: no names, no
/// times, no locks, no other file. All filesystems are checked and everything in them is read, FAT, too; each image
/// ends with its verdict. The exit code is that of the worst: 0 clean or (FAT, which has no check) walked, 4
/// unsupported, 3 refused, 7 corrupt, 1 not readable; 70 is a bug.
///
/// Example: nomount check disk.qcow2
///
/// Example: nomount check --deterministic before.img after.img
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image; with --deterministic several, whose names are taken as they are, and `-` is standard input
    #[arg(value_name = "IMAGE[@PARTITION]", required = true)]
    images: Vec<OsString>,
    #[command(flatten)]
    open: ImageArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print what follows from the images' bytes alone; with --json an object a line
    #[arg(long, conflicts_with_all = ["partition", "allow_backing"])]
    deterministic: bool,
}

impl HostAccess for Args {
    fn access(&self) -> Access {
        self.images.iter().fold(Access::none(), |access, image| access.and(self.open.reading(image)))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8> {
    if args.deterministic {
        return deterministic::run(&args.images, args.open.image_options().format, args.json);
    }
    let [image] = &args.images[..] else {
        let message = format!("{} images are given", args.images.len());
        return Err(Error::new(ErrorKind::Usage, message).hint("several are checked with --deterministic"));
    };
    let _working = progress::begin("check");
    let target = Target::parse(image.clone());
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
    let mut lines = found(&checked.report);
    lines.push(format!("{}: {}", checked.volume, counted(&checked.report)));
    lines
}

/// A line for each finding.
fn found(report: &Report) -> Vec<String> {
    let mut lines: Vec<String> = report.findings().iter().map(ToString::to_string).collect();
    let left_out = report.total() - report.findings().len() as u64;
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
    lines
}

/// How many findings there are, and of what.
fn counted(report: &Report) -> String {
    let counts: Vec<String> = Severity::ALL
        .into_iter()
        .rev()
        .filter(|severity| report.count(*severity) > 0)
        .map(|severity| format!("{} {}", report.count(severity), severity.name()))
        .collect();
    let verdict = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
    let Report { inodes, directories, blocks, .. } = report;
    format!("{verdict}; {inodes} inodes in use, {directories} of them directories, {blocks} blocks")
}

fn as_json(checked: &Checked) -> Value {
    let mut fields = volume_json(&checked.volume);
    fields.extend(report_json(&checked.report));
    Value::Object(fields)
}

fn volume_json(volume: &Volume) -> Map<String, Value> {
    let fields = [("partition", json!(volume.number())), ("content", json!(volume.content.name()))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn report_json(report: &Report) -> Map<String, Value> {
    let counts = Severity::ALL.into_iter().map(|severity| (severity.name().to_owned(), json!(report.count(severity))));
    let fields = json!({
        "sound": report.is_sound(),
        "counts": Map::from_iter(counts),
        "left_out": report.total() - report.findings().len() as u64,
        "inodes": report.inodes,
        "directories": report.directories,
        "blocks": report.blocks,
        "findings": report.findings().iter().map(finding).collect::<Vec<_>>(),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => unreachable!("it was made as an object"),
    }
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
