//! The help of every verb, as a text that people can read and compare.

use nomount_kit::{fixture, require, scratch, tool};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

fn folder() -> PathBuf {
    fixture::folder().join("../help")
}

/// What `nomount ARGS --help` prints where it is 100 columns wide.
fn help(args: &[String]) -> String {
    let mut command = crate::common::nomount();
    // Without a terminal and without COLUMNS, the width is the widest there is.
    command.args(args).arg("--help").stdin(Stdio::null()).env_remove("COLUMNS").env("NO_COLOR", "1");
    let ran = crate::common::ran(&mut command);
    assert!(ran.code == Some(0) && ran.stderr.is_empty(), "{args:?}: {ran:?}");
    ran.stdout
}

/// Every page with its name: of the program, of its verbs and of theirs.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(args) = waiting.pop() {
        let page = help(&args);
        waiting.extend(crate::common::listed(&page).into_iter().map(|verb| [&args[..], &[verb]].concat()));
        let name = if args.is_empty() { "nomount".to_owned() } else { args.join("-") };
        pages.push((name, page));
    }
    pages.sort();
    pages
}

#[test]
fn help_is_as_it_was_read() {
    let update = std::env::var_os("NOMOUNT_UPDATE").is_some_and(|value| value == "1");
    let pages = pages();
    let mut differences = Vec::new();
    for (name, page) in &pages {
        let path = folder().join(format!("{name}.txt"));
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        if update && wanted != *page {
            fs::write(&path, page).unwrap();
        } else if wanted != *page {
            differences.push(format!("{name}: {}", crate::case::difference(&wanted, page)));
        }
    }
    for entry in fs::read_dir(folder()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if !pages.iter().any(|(page, _)| *name == format!("{page}.txt")) {
            match update {
                true => fs::remove_file(entry.path()).unwrap(),
                false => differences.push(format!("{name} is of no verb")),
            }
        }
    }
    assert!(differences.is_empty(), "NOMOUNT_UPDATE=1 rewrites the pages\n\n{}", differences.join("\n"));
}

#[test]
fn every_page_of_a_verb_ends_with_an_example_of_it() {
    for (name, page) in pages().iter().filter(|(name, _)| name != "nomount") {
        let split = page.rsplit_once("\nExample:\n  ");
        let (text, examples) = split.unwrap_or_else(|| panic!("{name} has no example"));
        // `part list` has the page of `partitions`.
        let spelt = if page.contains("\nUsage: nomount part list") {
            "nomount partitions ".to_owned()
        } else {
            format!("nomount-{name}")
        };
        let spelt = examples.lines().any(|line| line.contains(&spelt) || line.replace(' ', "-").contains(&spelt));
        assert!(spelt || page.contains("\nCommands:\n"), "{name}: {examples}");
        let fits = |line: &str| line.chars().count() <= 100 || line.starts_with("Usage: ");
        assert!(text.lines().all(fits), "{name} has long lines");
    }
}

#[test]
fn a_misspelt_word_brings_the_right_one() {
    let ran = |args: &[&str]| crate::common::run(args);
    let said = ran(&["chmdo", "600", "disk.raw:/x"]);
    assert!(said.code == Some(2) && said.stderr.contains("tip: a similar subcommand exists: 'chmod'"), "{said:?}");
    let said = ran(&["ls", "--recursiv", "disk.raw:/"]);
    assert!(said.code == Some(2) && said.stderr.contains("'--recursive'"), "{said:?}");
}

#[test]
fn a_command_line_that_makes_no_sense_is_told_as_json_where_json_is_asked_for() {
    let ran = crate::common::run(["ls", "--json", "--recursiv", "disk.raw:/"]);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    let error = &document["error"];
    assert_eq!((ran.code, &ran.stderr[..]), (Some(2), ""));
    assert_eq!((&error["kind"], &error["exit_code"]), (&"usage".into(), &2.into()));
    assert_eq!(error["message"], "unexpected argument '--recursiv' found");
    assert_eq!(error["hint"], "a similar argument exists: '--recursive'");
    // What follows `--` is no option.
    assert_eq!(crate::common::run(["ls", "a", "b", "c", "--", "--json"]).stdout, "");
}

#[test]
fn man_pages_have_nothing_that_groff_warns_of() {
    if !require(&["groff"]) {
        return;
    }
    let folder = scratch::folder();
    let dir = folder.path().to_str().unwrap();
    assert_eq!(crate::common::run(["man", "--dir", dir]).code, Some(0));
    let pages: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() > crate::common::verbs().len(), "{pages:?}");
    let mut groff = tool::command("groff");
    groff.args(["-man", "-Tutf8", "-K", "utf8", "-ww", "-z"]).args(&pages);
    let done = tool::output(&mut groff);
    assert!(done.status.success() && tool::text(&done).is_empty(), "{}", tool::text(&done));
}
