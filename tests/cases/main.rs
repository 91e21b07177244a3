//! The sessions in `testdata/cases`: what a person types, and what the program then prints. Afterwards the judges look
//! at every image that a session leaves. `testdata/README.md` says how a file is written.

#[path = "../common/mod.rs"]
mod common;

mod case;
mod help;
mod json;
mod judge;

use case::Case;
use nomount_kit::{fixture, require};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;

/// What the sessions use, and the judges.
const TOOLS: [&str; 6] = ["e2fsck", "resize2fs", "qemu-img", "sgdisk", "sfdisk", "fsck.fat"];

fn folder() -> PathBuf {
    fixture::folder().join("../cases")
}

/// The cases by name; `NOMOUNT_CASE` picks one.
fn cases() -> Vec<Case> {
    let only = std::env::var("NOMOUNT_CASE").ok();
    let mut cases: Vec<Case> = std::fs::read_dir(folder())
        .expect("the folder of cases is there")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| Case::read(&path))
        .filter(|case| only.as_ref().is_none_or(|name| *name == case.name))
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

#[test]
fn every_session_prints_what_its_file_says() {
    if !require(&TOOLS) {
        return;
    }
    let update = std::env::var_os("NOMOUNT_UPDATE").is_some_and(|value| value == "1");
    let (waiting, failures) = (Mutex::new(cases()), Mutex::new(Vec::new()));
    let one = || loop {
        let Some(case) = waiting.lock().unwrap().pop() else { break };
        let folder = nomount_kit::scratch::folder();
        let is = case.run(folder.path());
        if update && is != case.text {
            std::fs::write(&case.path, &is).unwrap();
        } else if is != case.text {
            failures.lock().unwrap().push(format!("{}:\n{}", case.name, case::difference(&case.text, &is)));
        }
        for complaint in judge::complaints(folder.path()) {
            failures.lock().unwrap().push(format!("{}: {complaint}", case.name));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(one))));
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(failures.is_empty(), "NOMOUNT_UPDATE=1 rewrites the files\n\n{}", failures.join("\n"));
}

#[test]
fn every_verb_has_a_session_and_every_session_a_verb() {
    let help = common::run(["--help"]).stdout;
    let is_verb = |line: &&str| line.starts_with("  ") && line.as_bytes().get(2).is_some_and(u8::is_ascii_lowercase);
    let verbs = help.lines().filter(is_verb).filter_map(|line| line.split_whitespace().next());
    // Help is what `testdata/help` shows.
    let verbs: BTreeSet<&str> = verbs.filter(|verb| *verb != "help").collect();
    assert!(verbs.len() > 40 && verbs.contains("ls"), "{help}");
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let names: Vec<String> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), verbs);
}
