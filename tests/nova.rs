//! Cases of Nova's disk code that are about the whole command. The others are beside what they test.

use nomount_kit::{fixture, scratch};
use std::path::Path;
use std::process::{Command, Output};

fn nomount(arguments: &[&str], image: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomount"));
    command.arg(arguments[0]).arg(image).args(&arguments[1..]).output().expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn p2_a_partition_by_its_number_is_the_whole_tree() {
    let guest = fixture::guest();
    let listed = nomount(&["ls", "/", "--partition", "1"], &guest);
    assert!(listed.status.success() && text(&listed.stdout).lines().any(|name| name == "etc"), "{listed:?}");
    for (number, code, word) in [("14", 4, "no filesystem"), ("2", 1, "partition 2 not found")] {
        let refused = nomount(&["ls", "/", "--partition", number], &guest);
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
        assert!(text(&refused.stderr).contains(word), "{refused:?}");
    }
}

/// Nova's driver says -2 for "do not inject"; whoever does not want an injection does not ask for one.
#[test]
fn p6_the_number_for_no_injection_is_a_usage_error() {
    let image = scratch::copy(&fixture::guest());
    let before = scratch::fingerprint(&image);
    let refused = nomount(&["inject", "--metadata", "a=b", "--partition", "-2"], &image);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(scratch::fingerprint(&image), before);
}

#[test]
fn v6_an_image_that_cannot_be_opened_is_named_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("broken.img");
    std::fs::write(&image, vec![0xA5; 1 << 20]).unwrap();
    let refused = nomount(&["inject", "--metadata", "a=b", "--partition", "none"], &image);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(text(&refused.stderr).contains("broken.img"), "{refused:?}");
    assert_eq!(std::fs::read(&image).unwrap(), vec![0xA5; 1 << 20]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Nova's way needs the host's own kernel to be readable; this one needs nothing of the host.
#[test]
fn v7_nothing_of_the_host_is_needed() {
    let image = scratch::copy(&fixture::guest());
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomount"));
    command.env_clear().current_dir("/").arg("inject").arg(&image).args(["--metadata", "a=b", "--no-sync"]);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(nomount(&["cat", "/meta.js"], &image).stdout, b"{\"a\": \"b\"}");
}

#[test]
fn z4_a_name_that_no_system_could_have_made_is_refused_and_escaped() {
    let mut bytes = fixture::bytes("ext2-1k");
    let name = b"hostname-1";
    let hostile = b"../../pw\x1b[";
    let places: Vec<usize> = (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + name.len()].copy_from_slice(hostile);
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("hostile.img");
    std::fs::write(&image, bytes).unwrap();
    let refused = nomount(&["ls", "/etc", "-a", "--partition", "none"], &image);
    assert_eq!(refused.status.code(), Some(7), "{refused:?}");
    assert!(text(&refused.stderr).contains(r"../../pw\x1b["), "{refused:?}");
    assert!(!refused.stderr.contains(&0x1b));
}
