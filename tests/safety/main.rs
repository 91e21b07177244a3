//! The safety verdict beside that of OpenStack's `oslo.utils`: the same formats, and the same word on every image,
//! but for the differences that [`differences`] lists with their reasons.
//!
//! The images: all fixtures, one of each format and subformat as QEMU makes them, files that claim several formats,
//! what is cut short or changed on purpose, and headers spoiled field by field. `NOMOUNT_LONG=1` takes all, else of
//! the second and the last kind one in seventeen.

#[path = "../common/mod.rs"]
mod common;
mod differences;
mod images;
mod spoil;

use differences::{DIFFERENCES, Opinion, ROWS_OF_README};
use images::{Base, Case};
use nomount_block::Memory;
use nomount_container::{Format, judge};
use nomount_kit::{require, scratch, tool};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Of what claims several formats, and of the spoiled headers, one in so many is tried by default.
const SAMPLE: usize = 17;

/// The Python that has oslo.utils; none where it cannot be installed here.
fn python() -> Option<PathBuf> {
    if !require(&["python3"]) {
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/oslo-utils.sh");
    let done = tool::output(Command::new(&script).stderr(Stdio::inherit()));
    if !done.status.success() {
        tool::skip(
            "oslo.utils is not there and cannot be installed: Python 3.11, its module venv and a network are needed",
        );
        return None;
    }
    Some(String::from_utf8(done.stdout).expect("a path").trim_end().into())
}

/// What oslo.utils says of each case.
fn theirs(python: &Path, cases: &[Case]) -> Vec<Opinion> {
    let mut input = scratch::file();
    for case in cases {
        let edits: Vec<Value> = case.edits.iter().map(|(at, bytes)| json!([at, images::hex(bytes)])).collect();
        let line = json!({ "base": case.base.path, "edits": edits, "length": case.length });
        writeln!(input, "{line}").unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/oslo_safety.py");
    let input = std::fs::File::open(input.path()).unwrap();
    let done = tool::output(Command::new(python).arg(script).stdin(input));
    assert!(done.status.success(), "{}", tool::text(&done));
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let opinion = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        Opinion { formats: strings(&value["formats"]), failures: strings(&value["failures"]) }
    };
    String::from_utf8(done.stdout).unwrap().lines().map(opinion).collect()
}

fn ours(bytes: Vec<u8>) -> Opinion {
    let verdict = judge(&Memory::new(bytes), None).unwrap();
    // One word there for what has one magic.
    let name = |format: &Format| match format {
        Format::Qcow => "qcow2",
        Format::Mbr => "gpt",
        other => other.name(),
    };
    let mut formats: Vec<String> = verdict.formats.iter().map(|format| name(format).to_owned()).collect();
    formats.sort();
    Opinion { formats, failures: verdict.failures().map(|rule| rule.id.to_owned()).collect() }
}

#[test]
fn verdicts_agree_with_those_of_openstack() {
    if !require(&["qemu-img", "mkfs.fat"]) {
        return;
    }
    let Some(python) = python() else { return };
    let folder = scratch::folder();
    let mut bases = images::made(folder.path());
    bases.extend(images::fixtures(folder.path()));
    let mut cases: Vec<Case> = bases.iter().map(Base::whole).collect();
    cases.extend(images::by_hand(&bases));
    let step = if common::long() { 1 } else { SAMPLE };
    cases.extend(images::crossed(&bases).into_iter().step_by(step));
    cases.extend(bases.iter().flat_map(spoil::cases).step_by(step));
    // Python keeps one base in memory.
    cases.sort_by_key(|case| case.base.path.clone());

    let theirs = theirs(&python, &cases);
    assert_eq!(theirs.len(), cases.len());
    let (mut wrong, mut seen, mut alike) = (Vec::new(), BTreeMap::<&str, usize>::new(), [0, 0]);
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = ours(case.bytes());
        if ours.formats == theirs.formats && ours.is_safe() == theirs.is_safe() {
            alike[usize::from(ours.is_safe())] += 1;
            continue;
        }
        match DIFFERENCES.iter().find(|difference| difference.explains(&ours, theirs)) {
            Some(difference) => *seen.entry(difference.id).or_default() += 1,
            None => wrong.push(format!("{}: ours {ours:?}, theirs {theirs:?}", case.name)),
        }
    }
    println!("{} images: alike {alike:?} (not safe, safe); differences {seen:?}", cases.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let never: Vec<&str> =
        DIFFERENCES.iter().map(|difference| difference.id).filter(|id| !seen.contains_key(id)).collect();
    assert!(never.is_empty(), "differences that no image shows: {never:?}");
}

/// Nova also asks QEMU, and refuses what the two see differently: no file that QEMU opens as something is raw here.
#[test]
fn formats_agree_with_qemu() {
    if !require(&["qemu-img", "mkfs.fat"]) {
        return;
    }
    let folder = scratch::folder();
    for base in images::made(folder.path()) {
        let done = tool::output(tool::command("qemu-img").args(["info", "-U", "--output=json"]).arg(&base.path));
        // What QEMU cannot open it recognises all the same.
        let Ok(info) = serde_json::from_slice::<Value>(&done.stdout) else { continue };
        let theirs = match info["format"].as_str().unwrap() {
            "vpc" => "vhd",
            other => other,
        };
        let ours = judge(&Memory::new(base.bytes().to_vec()), None).unwrap();
        let names: Vec<&str> = ours.formats.iter().map(|format| format.name()).collect();
        let is_raw = ours.formats.iter().all(|format| format.is_one_to_one());
        let agree = if theirs == "raw" { is_raw || !ours.is_safe() } else { names == [theirs] };
        assert!(agree, "{}: {theirs}, {names:?}", base.name);
        if !is_raw && ours.is_safe() {
            assert_eq!(info["virtual-size"].as_u64(), ours.virtual_size, "{}", base.name);
            assert!(info["backing-filename"].is_null(), "{}: {info}", base.name);
        }
    }
}

/// The README of the crate names each difference with its reason.
#[test]
fn every_difference_is_in_the_readme() {
    let readme = include_str!("../../formats/container/README.md");
    for difference in DIFFERENCES {
        let row = format!("| `{}` | {} |", difference.id, difference.reason);
        assert!(readme.contains(&row), "missing: {row}");
    }
    assert_eq!(readme.lines().filter(|line| line.starts_with(ROWS_OF_README)).count(), DIFFERENCES.len());
}
