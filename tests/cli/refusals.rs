//! Images that are not touched: each with its exit code and a message that says why.

use crate::common::{run, text};
use crate::{Guest, json, state};
use nomount_kit::{fixture, require, scratch, tool};
use std::fs;
use std::path::Path;

/// Every command refuses the image with that code and those words, in text and in JSON, and leaves it as it is.
fn refused(image: &Path, args: &[&str], code: i32, kind: &str, words: &str) {
    let before = state(image);
    let image_arg = text(image);
    for command in [vec!["ls", &image_arg], vec!["inject", &image_arg, "--metadata", "a=b"]] {
        let ran = run([&command, args].concat());
        assert_eq!(ran.code, Some(code), "{command:?}: {ran:?}");
        assert!(ran.stderr.contains(words) && ran.stdout.is_empty(), "{command:?}: {ran:?}");
        let ran = run([&command, args, &["--json"]].concat());
        assert_eq!(ran.code, Some(code), "{command:?}: {ran:?}");
        let error = &json(&ran)["error"];
        assert_eq!((&error["kind"], &error["exit_code"]), (&kind.into(), &code.into()), "{command:?}: {ran:?}");
        assert!(error["message"].as_str().unwrap().contains(words), "{command:?}: {ran:?}");
        assert_eq!(error["image"].as_str(), Some(&image_arg[..]), "{command:?}: {ran:?}");
    }
    assert!(state(image) == before, "{}: written", image.display());
}

#[test]
fn an_unsupported_filesystem_is_named_with_code_4() {
    let folder = scratch::folder();
    for (at, magic, name) in [(0, &b"XFSB"[..], "xfs"), (0x10040, b"_BHRfS_M", "btrfs"), (0, b"LUKS\xba\xbe", "LUKS")] {
        let image = folder.path().join("disk.img");
        let mut bytes = vec![0; 1 << 20];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        fs::write(&image, bytes).unwrap();
        refused(&image, &[], 4, "unsupported", name);
    }
    let image = fixture::file("unknown-incompat");
    refused(&image, &[], 4, "unsupported", "FEATURE_I31");
}

#[test]
fn a_corrupt_filesystem_has_code_7() {
    let image = fixture::file("ext4-147");
    let mut bytes = fs::read(&image).unwrap();
    bytes[1024 + 0x78] ^= 0xff;
    fs::write(&image, bytes).unwrap();
    refused(&image, &[], 7, "corrupt", "checksum");
}

#[test]
fn a_corrupt_container_has_code_7() {
    let guest = Guest::new();
    let mut bytes = fs::read(&guest.image).unwrap();
    // The L1 table beyond the end of everything.
    bytes[40..48].copy_from_slice(&(1u64 << 55).to_be_bytes());
    fs::write(&guest.image, bytes).unwrap();
    refused(&guest.image, &[], 7, "corrupt", "l1_table_offset at 0x28");
}

#[test]
fn no_image_has_code_1_and_no_file_code_2() {
    let ran = run(["ls", "/nonexistent/disk.img"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("/nonexistent/disk.img: cannot open"), "{ran:?}");
    let folder = scratch::folder();
    refused_folder(folder.path());
}

fn refused_folder(folder: &Path) {
    let ran = run(["ls", &text(folder)]);
    assert!(ran.code == Some(2) && ran.stderr.contains("a directory"), "{ran:?}");
}

#[test]
fn a_backing_file_is_opened_only_where_that_is_allowed() {
    if !require(&["qemu-img"]) {
        return;
    }
    let create = |folder: &Path, backing: &Path, name: &str| {
        let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"];
        let mut command = tool::command("qemu-img");
        let done = tool::output(command.current_dir(folder).args(create).arg(backing).arg(name));
        assert!(done.status.success(), "{}", tool::text(&done));
        folder.join(name)
    };
    let (guest, elsewhere) = (Guest::new(), scratch::folder());
    let base = state(&guest.image);
    let overlay = create(guest.folder.path(), Path::new("guest.qcow2"), "overlay.qcow2");
    refused(&overlay, &[], 3, "refused", "backed by guest.qcow2");
    refused(&overlay, &[&format!("--allow-backing={}", text(elsewhere.path()))], 3, "refused", "is outside");
    let outside = create(elsewhere.path(), &guest.image, "outside.qcow2");
    refused(&outside, &["--allow-backing"], 3, "refused", "is outside");

    let folder = format!("--allow-backing={}", text(guest.folder.path()));
    for (image, allow) in [(&overlay, "--allow-backing"), (&outside, &folder)] {
        let ran = run(["inject", &text(image), allow, "--metadata", "role=web"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let ran = run(["cat", &format!("{}:/meta.js", text(image)), allow]);
        assert_eq!(ran.stdout, crate::common::META, "{ran:?}");
    }
    assert!(state(&guest.image) == base, "the backing file was written");

    let far = elsewhere.path().join("copy.qcow2");
    let near = guest.path("copy.qcow2");
    let copy = |to: &Path| run(["inject", &text(&overlay), "--allow-backing", "--metadata", "a=b", "-o", &text(to)]);
    let ran = copy(&far);
    assert!(ran.code == Some(3) && ran.stderr.contains("would not be found from another folder"), "{ran:?}");
    assert!(!far.exists());
    assert_eq!(copy(&near).code, Some(0));
}

#[test]
fn a_chain_of_backing_files_that_bites_its_tail_ends() {
    if !require(&["qemu-img"]) {
        return;
    }
    let folder = scratch::folder();
    for (name, backing) in [("a.qcow2", "b.qcow2"), ("b.qcow2", "a.qcow2")] {
        let args = ["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", backing, name, "64M"];
        let done = tool::output(tool::command("qemu-img").current_dir(folder.path()).args(args));
        assert!(done.status.success(), "{}", tool::text(&done));
    }
    let ran = run(["ls", &text(&folder.path().join("a.qcow2")), "--allow-backing"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("more than 32 backing files"), "{ran:?}");
}
