//! `inspect-safety`: the verdict as it is printed, and images that it cannot read.

use crate::common::{run, text};
use crate::{Guest, json};
use std::fs;

fn judged(args: &[&str]) -> crate::common::Ran {
    run([&["inspect-safety"], args].concat())
}

#[test]
fn one_bad_image_makes_the_verdict_and_all_are_told() {
    let guest = Guest::new();
    let bad = guest.path("bad.qcow2");
    let mut bytes = fs::read(&guest.image).unwrap();
    bytes[8..16].copy_from_slice(&520u64.to_be_bytes());
    fs::write(&bad, bytes).unwrap();
    let (good, bad) = (guest.arg(), text(&bad));
    assert_eq!(judged(&[&good]).code, Some(0));
    let ran = judged(&[&good, &bad]);
    assert!(ran.code == Some(3) && ran.stdout.contains(&format!("{good}: safe\n")), "{ran:?}");
    assert!(
        ran.stdout.contains(&format!("{bad}: not safe\n")) && ran.stdout.contains("failed backing_file"),
        "{ran:?}"
    );
    let ran = judged(&["--json", &good, &bad]);
    let document = json(&ran);
    assert_eq!(document["safe"], false);
    assert_eq!((&document["images"][0]["safe"], &document["images"][1]["safe"]), (&true.into(), &false.into()));
}

#[test]
fn the_named_format_is_checked() {
    let guest = Guest::new();
    for (format, code) in [("qcow2", 0), ("auto", 0), ("raw", 3), ("vmdk", 3), ("qcow3", 2)] {
        let ran = judged(&["--format", format, &guest.arg()]);
        assert_eq!(ran.code, Some(code), "{format}: {ran:?}");
    }
}

#[test]
fn what_is_no_file_has_a_code_of_its_own() {
    let guest = Guest::new();
    for (path, code) in [("/nonexistent", 1), ("/dev/null", 2), (guest.folder.path().to_str().unwrap(), 2)] {
        let ran = judged(&[path, &guest.arg()]);
        assert!(ran.code == Some(code) && ran.stdout.contains(": safe\n"), "{ran:?}");
        let document = json(&judged(&["--json", path, &guest.arg()]));
        assert!(document["safe"] == false && document["images"][0]["error"]["message"].is_string(), "{document}");
    }
}

#[test]
fn a_shell_can_read_the_key_values() {
    let guest = Guest::new();
    let ran = judged(&["--key-value", &guest.arg()]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let length = fs::metadata(&guest.image).unwrap().len();
    let wanted = ["SAFETY_CHECK_PASSED=True", "VIRTUAL_SIZE=67108864", &format!("ACTUAL_SIZE={length}")];
    assert_eq!((&lines[..3], lines[3]), (&wanted[..], "IMAGE_FORMAT=\"qcow2\""));
    let ran = judged(&["--key-value", "--format", "raw", &guest.arg()]);
    assert!(ran.stdout.contains("FAILURE_REASONS='claim: it was said to be raw, but it is qcow2'\n"), "{ran:?}");
}
