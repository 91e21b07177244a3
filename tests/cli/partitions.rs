//! P1 to P7 and I2: which volume is worked on.

use crate::common::{META, Ran, nomount, ran, run, text};
use crate::{Guest, json, state};
use nomount_block::{ReadAt, WriteAt};
use nomount_kit::{fixture, require, scratch, tool};
use std::fs::File;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, TempPath};

const MIB: u64 = 1 << 20;

/// The root filesystem of the small guest.
fn root() -> TempPath {
    let disk = scratch::raw_of(&fixture::guest(), "qcow2");
    scratch::window(&disk, 13 * MIB, 13_051 * 4096)
}

/// A disk with an MBR of 64 MiB partitions, which hold these filesystems; an extended one is number 4.
pub fn disk(parts: &[(&str, &Path)], table: &str) -> (TempDir, PathBuf) {
    let folder = scratch::folder();
    let path = folder.path().join("disk.img");
    let file = File::create_new(&path).unwrap();
    file.set_len(400 * MIB).unwrap();
    let script = folder.path().join("table");
    std::fs::write(&script, table).unwrap();
    let done = tool::output(tool::command("sfdisk").arg("-q").arg(&path).stdin(File::open(&script).unwrap()));
    assert!(done.status.success(), "{}", tool::text(&done));
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut disk = nomount_block::HostFile::new(file, false).unwrap();
    for (start, filesystem) in parts {
        let start: u64 = start.parse().unwrap();
        let part = nomount_block::HostFile::new(File::open(filesystem).unwrap(), false).unwrap();
        let mut buf = vec![0; part.len() as usize];
        part.read_at(0, &mut buf).unwrap();
        disk.write_at(start * MIB, &buf).unwrap();
    }
    (folder, path)
}

const TWO: &str = "label: dos\nstart=1MiB, size=64MiB, type=83\nstart=65MiB, size=64MiB, type=83\n";
const LOGICAL: &str = "label: dos\nstart=1MiB, size=64MiB, type=83\nstart=65MiB, size=300MiB, type=5\n\
                       start=66MiB, size=64MiB, type=83\nstart=131MiB, size=64MiB, type=82\n";

fn inject(image: &Path, more: &[&str]) -> Ran {
    run([&["inject", &text(image), "--metadata", "role=web"], more].concat())
}

#[track_caller]
fn done(image: &Path, more: &[&str], volume: &str) {
    let ran = inject(image, more);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.lines().next().unwrap().ends_with(volume), "{ran:?}");
    let meta = run([&["cat", &format!("{}:/meta.js", text(image))], more].concat());
    assert_eq!(meta.stdout, META, "{meta:?}");
}

#[track_caller]
fn fails(image: &Path, more: &[&str], code: i32, words: &[&str]) {
    let before = state(image);
    let ran = inject(image, more);
    assert_eq!(ran.code, Some(code), "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} in {ran:?}");
    }
    assert!(state(image) == before, "written");
}

#[test]
fn p1_none_and_0_are_the_whole_device() {
    for partition in ["none", "0"] {
        done(&root(), &["--partition", partition], "whole device (ext4)");
    }
    done(&root(), &[], "whole device (ext4)");
    // A partitioned disk is not a filesystem.
    let guest = Guest::new();
    fails(&guest.image, &["--partition", "none"], 4, &["whole device (unknown)", "no filesystem is recognised"]);
}

#[test]
fn p2_a_number_is_that_partition() {
    if !require(&["sfdisk"]) {
        return;
    }
    let root = root();
    let (_folder, disk) = disk(&[("1", &root), ("66", &root)], LOGICAL);
    for (number, volume) in [("1", "partition 1 (ext4)"), ("5", "partition 5 (ext4)")] {
        done(&disk, &["--partition", number], volume);
    }
    let other = run(["cat", &format!("{}@5:/meta.js", text(&disk))]);
    assert_eq!(other.stdout, META, "{other:?}");
}

#[test]
fn p3_inspection_finds_the_only_root() {
    let guest = Guest::new();
    for partition in ["inspect", "-1"] {
        done(&guest.image, &["--partition", partition], "partition 1 (ext4)");
    }
    done(&guest.image, &[], "partition 1 (ext4)");
}

#[test]
fn p3_no_root_is_an_error_that_lists_what_was_seen() {
    if !require(&["sfdisk"]) {
        return;
    }
    let mut xfs = scratch::file();
    std::io::Write::write_all(&mut xfs, b"XFSB").unwrap();
    let empty = scratch::file();
    let args = ["-q", "-F", "-t", "ext2"];
    let done = tool::output(tool::command("mke2fs").args(args).arg(empty.path()).arg("16M"));
    assert!(done.status.success(), "{}", tool::text(&done));
    let (_folder, disk) = disk(&[("1", xfs.path()), ("65", empty.path())], TWO);
    let seen = ["no operating system found", "partition 1 (xfs): xfs is not supported", "partition 2 (ext2): it lacks"];
    fails(&disk, &[], 1, &seen);
    fails(&disk, &["--partition", "inspect"], 1, &seen);
}

#[test]
fn p3_several_roots_are_an_error_that_lists_them() {
    if !require(&["sfdisk"]) {
        return;
    }
    let root = root();
    let (_folder, disk) = disk(&[("1", &root), ("65", &root)], TWO);
    let seen = ["multi-boot operating system found", "partition 1 (ext4): it has", "partition 2 (ext4): it has"];
    fails(&disk, &["--partition", "-1"], 2, &seen);
    fails(&disk, &[], 2, &seen);
}

#[test]
fn p4_what_a_mounted_filesystem_hides_is_told() {
    let guest = Guest::new();
    let local = guest.path("local");
    std::fs::write(&local, "x").unwrap();
    assert_eq!(
        run(["append", &guest.arg(), "/etc/fstab", "--text", "/dev/sdb1 /srv ext4 defaults 0 2\n"]).code,
        Some(0)
    );
    let file = format!("{}:/srv/loader.conf", local.display());
    let ran = run(["inject", &guest.arg(), "--file", &file]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let warning = "/srv is another filesystem in the guest's fstab: /srv/loader.conf will be hidden there";
    assert!(ran.stderr.contains(warning), "{ran:?}");
}

#[test]
fn p5_other_negatives_are_a_usage_error() {
    let guest = Guest::new();
    for partition in ["-2", "-3", "two", ""] {
        let ran = inject(&guest.image, &["--partition", partition]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
}

#[test]
fn p7_a_partition_that_is_not_there_is_told_with_those_that_are() {
    let guest = Guest::new();
    let seen = ["partition 7 not found", "partition 1 (ext4)", "partition 15 (vfat)"];
    fails(&guest.image, &["--partition", "7"], 1, &seen);
    fails(&guest.image, &["--partition", "14"], 4, &["partition 14 (unknown)", "no filesystem is recognised"]);
}

#[test]
fn p7_the_extended_partition_holds_no_filesystem() {
    if !require(&["sfdisk"]) {
        return;
    }
    let (_folder, disk) = disk(&[], LOGICAL);
    fails(&disk, &["--partition", "2"], 2, &["partition 2 is extended"]);
}

#[test]
fn i2_an_image_that_cannot_be_opened_fails_only_what_is_mandatory() {
    let guest = Guest::new();
    let compat = ["--partition", "7", "--nova-compat"];
    // With nova-compat a failure to open is a warning, and the result false.
    let told = inject(&guest.image, &[&compat[..], &["--json"]].concat());
    assert_eq!(told.code, Some(1), "{told:?}");
    let document = json(&told);
    assert_eq!(document["report"]["ok"], false);
    let warning = document["report"]["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("ignoring error injecting data into image: "), "{warning}");
    // An item that is mandatory but not asked for does not count; one that is asked for does.
    assert_eq!(inject(&guest.image, &[&compat[..], &["--mandatory", "files"]].concat()).code, Some(1));
    fails(&guest.image, &[&compat[..], &["--mandatory", "metadata"]].concat(), 1, &["partition 7 not found"]);
    // I6: the password counts, too.
    let mut command = nomount();
    command.args(["inject", &guest.arg(), "--admin-password", "env:NOMOUNT_TEST_PW"]).args(compat);
    let failed = ran(command.args(["--mandatory", "admin_password"]).env("NOMOUNT_TEST_PW", "x"));
    assert!(failed.code == Some(1) && failed.stderr.contains("partition 7 not found"), "{failed:?}");
    assert!(!failed.stderr.contains("ignoring"), "{failed:?}");
    // Without it, it is the error that it is.
    fails(&guest.image, &["--partition", "7"], 1, &["partition 7 not found"]);
}
