//! `ls`, `cat`, `stat`, `info`: what people see of an image.

use crate::common::{run, text};
use crate::{Guest, json, state};
use nomount_kit::fixture;
use std::fs;

#[test]
fn ls_lists_names_and_with_l_what_is_known_of_them() {
    let guest = fixture::guest();
    let image = text(&guest);
    let ran = run(["ls", &image]);
    let names = "bin\nboot\ndev\netc\nhome\nlib\nlib64\nlost+found\nmedia\nmnt\nopt\nproc\nroot\nrun\nsbin\nsrv\nsys\n\
                 tmp\nusr\nvar\n";
    assert_eq!((ran.code, &ran.stdout[..], &ran.stderr[..]), (Some(0), names, ""));
    let ran = run(["ls", "-l", &format!("{image}@1:/etc/shadow")]);
    assert!(ran.stdout.starts_with("-rw-r----- 1 root shadow "), "{ran:?}");
    assert!(ran.stdout.ends_with(" 2026-01-01T00:00:00Z /etc/shadow\n"), "{ran:?}");
    let ran = run(["ls", "-l", &image, "/"]);
    assert!(ran.stdout.contains(" bin -> usr/bin\n"), "{ran:?}");
    let ran = run(["ls", "-R", "-a", &image, "/root"]);
    assert_eq!(ran.stdout, "/root:\n.profile\n.ssh\n\n/root/.ssh:\n");
    let ran = run(["ls", &image, "/no"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("partition 1 (ext4), /no: no such file"), "{ran:?}");
}

#[test]
fn cat_follows_links_inside_the_guest() {
    let image = text(&fixture::guest());
    let wanted = fs::read_to_string(fixture::folder().join("../fixtures/guest/usr/lib/os-release")).unwrap();
    assert_eq!(run(["cat", &format!("{image}:/etc/os-release")]).stdout, wanted);
    let ran = run(["cat", &image, "/etc/hostname", "/etc/hostname"]);
    let name = fs::read_to_string(fixture::folder().join("../fixtures/guest/etc/hostname")).unwrap();
    assert_eq!(ran.stdout, name.repeat(2));
    for (path, code, words) in [("/etc", 1, "directory"), ("/nope", 1, "no such file"), ("/../etc", 2, "")] {
        let ran = run(["cat", &image, path]);
        assert!(ran.code == Some(code) && ran.stderr.contains(words) && ran.stdout.is_empty(), "{path}: {ran:?}");
    }
}

#[test]
fn stat_says_everything() {
    let image = text(&fixture::guest());
    let ran = run(["stat", "--json", &format!("{image}:/etc/shadow"), "/bin", "/tmp"]);
    let document = json(&ran);
    let files = document["files"].as_array().unwrap();
    let facts = |at: usize, name: &str| files[at][name].clone();
    assert_eq!((facts(0, "type"), facts(0, "mode"), facts(0, "gid")), ("file".into(), "0640".into(), 42.into()));
    assert_eq!((facts(1, "type"), facts(1, "target")), ("symlink".into(), "usr/bin".into()));
    assert_eq!((facts(2, "type"), facts(2, "mode")), ("directory".into(), "1777".into()));
    let ran = run(["stat", &format!("{image}:/tmp")]);
    assert!(ran.stdout.contains("  File: /tmp\n") && ran.stdout.contains("(1777/drwxrwxrwt)"), "{ran:?}");
}

#[test]
fn info_tells_container_table_filesystems_and_guest() {
    let guest = fixture::guest();
    let before = state(&guest);
    let ran = run(["info", &text(&guest)]);
    for line in [
        "format: qcow2\n",
        "virtual size: 64.0 MiB (67108864 bytes)\n",
        "partition table: GPT, ",
        "partition 1 \"root\": ext4, ",
        "partition 15 \"esp\": vfat, ",
        "    features: ",
        "orphan_file",
        "    guest: Debian",
        "    hostname ",
    ] {
        assert!(ran.stdout.contains(line), "{line:?} in {}", ran.stdout);
    }
    let document = json(&run(["info", "--json", &text(&guest)]));
    assert_eq!(document["partition_table"]["type"], "gpt");
    let numbers: Vec<u64> = document["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["partition"]["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 14, 15]);
    let root = &document["volumes"][0];
    assert_eq!(
        (&root["content"], &root["start"], &root["filesystem"]["label"]),
        (&"ext4".into(), &(13 << 20).into(), &"root".into())
    );
    assert!(state(&guest) == before);
}

#[test]
fn what_a_guest_calls_its_files_cannot_control_a_terminal() {
    let guest = Guest::new();
    let local = guest.path("local");
    fs::write(&local, "\u{1b}[2J").unwrap();
    let ran = run(["inject", &guest.arg(), "--file", &format!("{}:/srv/\u{1b}[31mred\n", local.display())]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut said = vec![ran];
    for args in [
        vec!["ls", &guest.arg(), "/srv"],
        vec!["ls", "-l", &guest.arg(), "/srv"],
        vec!["ls", "-R", &guest.arg(), "/srv"],
        vec!["stat", &guest.arg(), "/srv/\u{1b}[31mred\n"],
        vec!["ls", &guest.arg(), "/srv/\u{1b}no"],
        vec!["ls", "--json", &guest.arg(), "/srv"],
    ] {
        said.push(run(&args));
    }
    for ran in &said {
        assert!(ran.stdout.contains("red") || ran.stderr.contains("no such file"), "{ran:?}");
        assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran:?}");
    }
    let document = json(&said[6]);
    assert_eq!(document["files"][0]["path"], "/srv/\u{1b}[31mred\n");
}

#[test]
fn progress_is_told_as_json_where_that_is_asked_for_and_else_only_to_a_terminal() {
    let guest = Guest::new();
    let new = text(&guest.path("new.qcow2"));
    let args = ["write", &guest.arg(), "-o", &new, "/etc/motd", "--text", "x"];
    assert_eq!(run(args).stderr, "");
    fs::remove_file(&new).unwrap();
    let ran = run([&args[..], &["--progress", "json"]].concat());
    let line: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((ran.code, &line["schema"]), (Some(0), &1.into()), "{ran:?}");
    let told = &line["progress"];
    assert_eq!((&told["task"], &told["ended"]), (&"copy".into(), &true.into()));
    // A host that can share the blocks has nothing to copy.
    assert!(told["total"].is_null() || told["bytes"] == told["total"], "{ran:?}");
    let ran = run(["check", &guest.arg(), "--progress", "json"]);
    assert!(ran.stderr.contains(r#""task":"check""#), "{ran:?}");
    assert_eq!(run(["check", &guest.arg(), "--progress", "loud"]).code, Some(2));
}
