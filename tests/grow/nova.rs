//! What Nova's get_disk_size, can_resize_image, is_image_extendable, extend and resize2fs do, by the ids of its cases.

use crate::common::{Ran, nomount, ran, run, text};
use crate::disks::{Disk, Layout, MIB};
use crate::matrix::TOOLS;
use nomount_kit::{require, scratch, tool};
use std::fs::{self, File};
use std::path::Path;

const EXT4: &[&str] = &["-t", "ext4", "-b", "1024"];

#[track_caller]
fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn extend(disk: &Disk, size: u64, more: &[&str]) -> Ran {
    let size = size.to_string();
    let fixed = ["extend", "--json", "--no-sync", "--format", disk.format(), &text(&disk.image), &size];
    run([&fixed, more].concat())
}

#[test]
fn s1_the_size_is_that_of_the_guests_disk() {
    if !require(TOOLS) {
        return;
    }
    let folder = scratch::folder();
    let image = folder.path().join("disk.qcow2");
    let made = tool::output(tool::command("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("40G"));
    assert!(made.status.success());
    let said = json(&run(["size", "--json", &text(&image)]));
    assert_eq!(said["virtual_size"], 40u64 << 30);
    assert!(said["actual_size"].as_u64().unwrap() < MIB, "{said}");
    assert_eq!((&said["format"], said["schema"].as_u64()), (&"qcow2".into(), Some(1)));
    let plain = run(["size", &text(&image)]);
    assert!(plain.stdout.contains("virtual size: 40.0 GiB (42949672960 bytes)"), "{plain:?}");
}

#[test]
fn s2_a_disk_that_is_missing_is_named() {
    for command in ["size", "can-resize", "grow", "extend"] {
        let mut args = vec![command, "/nonexistent/disk.img", "--json", "--format=raw"];
        args.extend((command != "size").then_some("1G"));
        let ran = run(args);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let error = &json(&ran)["error"];
        assert_eq!((&error["kind"], &error["image"]), (&"not_found".into(), &"/nonexistent/disk.img".into()));
    }
}

/// S3: what a hostile header claims costs nothing.
#[test]
fn s3_sizes_of_hostile_headers_are_bounded() {
    let folder = scratch::folder();
    let image = folder.path().join("disk.qcow2");
    let mut header = vec![0; 65536];
    header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    header[20..24].copy_from_slice(&16u32.to_be_bytes());
    header[24..32].copy_from_slice(&(1u64 << 62).to_be_bytes());
    header[36..40].copy_from_slice(&u32::MAX.to_be_bytes());
    header[100..104].copy_from_slice(&104u32.to_be_bytes());
    fs::write(&image, header).unwrap();
    for args in [&["size"][..], &["can-resize"], &["grow"]] {
        let size = (args[0] != "size").then_some("1T");
        let ran = run([args, &[&text(&image)], size.as_slice()].concat());
        assert!(matches!(ran.code, Some(1 | 7)), "{ran:?}");
        assert!(ran.stderr.contains("limit") || ran.stderr.contains("L1"), "{ran:?}");
    }
}

#[test]
fn c1_c2_only_more_than_there_is_can_be_had() {
    let folder = scratch::folder();
    let image = folder.path().join("disk.img");
    File::create(&image).unwrap().set_len(10 * MIB).unwrap();
    for (size, can) in [("9M", false), ("10M", false), ("10485761", true), ("11M", true)] {
        let ran = run(["can-resize", "--json", &text(&image), size]);
        assert_eq!((ran.code, &json(&ran)["can_resize"]), (Some(i32::from(!can)), &can.into()), "{size}: {ran:?}");
    }
}

#[test]
fn e2_not_larger_is_no_work_and_no_failure() {
    if !require(TOOLS) {
        return;
    }
    let disk = Disk::new(Layout::None, false, 64 * MIB, EXT4);
    let before = scratch::fingerprint(&disk.image);
    for size in [64 * MIB, 63 * MIB, 512] {
        let ran = extend(&disk, size, &[]);
        assert_eq!((ran.code, &json(&ran)["disk"]["resized"]), (Some(0), &false.into()), "{ran:?}");
    }
    assert_eq!(scratch::fingerprint(&disk.image), before);
    for _ in 0..2 {
        assert_eq!(extend(&disk, 100 * MIB, &[]).code, Some(0));
        let seen = disk.judge();
        assert_eq!((seen.disk, seen.blocks), (100 * MIB, 100 * 1024));
    }
}

/// E1 (RBD) and E3 (ploop) are formats that are not there; E4: any other is refused before anything is done.
#[test]
fn e1_e3_e4_m1_only_raw_and_qcow2_are_formats() {
    let folder = scratch::folder();
    let image = folder.path().join("disk.vmdk");
    fs::write(&image, b"KDMV\0\0\0\0").unwrap();
    for format in ["vmdk", "ploop", "rbd"] {
        let ran = run(["extend", "--format", format, &text(&image), "1G"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains("only raw, qcow2"), "{ran:?}");
    }
    assert_eq!(fs::read(&image).unwrap().len(), 8);
}

/// E5, CVE-2026-24708: a guest that writes a qcow2 header into its raw disk chooses nothing.
#[test]
fn e5_m3_the_format_must_be_named_and_is_believed() {
    let folder = scratch::folder();
    let image = folder.path().join("disk.img");
    let mut bytes = vec![0; 65536];
    bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    bytes[8..16].copy_from_slice(&1024u64.to_be_bytes());
    fs::write(&image, &bytes).unwrap();
    let ran = run(["extend", &text(&image), "1M"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("--format raw"), "{ran:?}");
    let ran = run(["extend", "--format=raw", &text(&image), "1M"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bytes.resize(MIB as usize, 0);
    assert!(fs::read(&image).unwrap() == bytes, "nothing but the length has changed");
}

#[test]
fn e6_a_filesystem_in_a_container_is_not_looked_at_unless_asked_for() {
    if !require(TOOLS) {
        return;
    }
    let disk = Disk::new(Layout::None, true, 64 * MIB, EXT4);
    let before = disk.judge();
    let said = json(&extend(&disk, 100 * MIB, &[]));
    assert_eq!((&said["disk"]["resized"], &said["filesystem"]["resized"]), (&true.into(), &false.into()));
    assert!(said["filesystem"]["reason"].as_str().unwrap().contains("qcow2"), "{said}");
    assert_eq!(disk.judge().blocks, before.blocks);
    let said = json(&extend(&disk, 128 * MIB, &["--filesystem"]));
    assert_eq!(said["filesystem"]["by"], "native", "{said}");
    let after = disk.judge();
    assert_eq!((after.disk, after.blocks), (128 * MIB, 128 * 1024));
    assert!(after.tree == before.tree);
}

#[test]
fn e7_e8_a_filesystem_on_the_whole_disk_grows_with_it() {
    if !require(TOOLS) {
        return;
    }
    for kind in ["ext2", "ext3", "ext4"] {
        let disk = Disk::new(Layout::None, false, 64 * MIB, &["-t", kind, "-b", "1024"]);
        let before = disk.judge();
        let said = json(&extend(&disk, 150 * MIB, &[]));
        assert_eq!((&said["filesystem"]["content"], &said["filesystem"]["by"]), (&kind.into(), &"native".into()));
        let after = disk.judge();
        assert_eq!((after.disk, after.blocks), (150 * MIB, 150 * 1024));
        assert!(after.tree == before.tree);
    }
}

#[test]
fn e9_a_partition_table_is_never_touched() {
    if !require(TOOLS) {
        return;
    }
    for layout in [Layout::MbrPrimary, Layout::Gpt] {
        let disk = Disk::new(layout, false, 64 * MIB, EXT4);
        let before = fs::read(&disk.image).unwrap();
        let said = json(&extend(&disk, 70 * MIB, &[]));
        assert_eq!((&said["disk"]["resized"], &said["filesystem"]["resized"]), (&true.into(), &false.into()));
        assert!(said["filesystem"]["reason"].as_str().unwrap().contains("partition table"), "{said}");
        let after = fs::read(&disk.image).unwrap();
        assert_eq!(after.len() as u64, 70 * MIB);
        assert!(after[..before.len()] == before && after[before.len()..].iter().all(|byte| *byte == 0));
    }
}

/// A filesystem that says it has errors, which nobody grows.
fn with_errors(layout: Layout) -> Disk {
    let disk = Disk::new(layout, false, 64 * MIB, EXT4);
    let done = tool::output(tool::command("debugfs").args(["-w", "-R", "set_super_value state 2"]).arg(&disk.image));
    assert!(done.status.success(), "{}", tool::text(&done));
    disk
}

#[test]
fn e10_r3_a_filesystem_that_cannot_be_grown_is_no_failure_but_said() {
    if !require(TOOLS) {
        return;
    }
    let disk = with_errors(Layout::None);
    let said = json(&extend(&disk, 100 * MIB, &["--grow-with=native"]));
    assert_eq!((&said["disk"]["resized"], &said["filesystem"]["resized"]), (&true.into(), &false.into()), "{said}");
    assert!(said["filesystem"]["reason"].as_str().unwrap().contains("errors"), "{said}");
    assert_eq!(fs::metadata(&disk.image).unwrap().len(), 100 * MIB);
}

/// R1: 0, 1 and 2 of e2fsck go on; anything else stops before resize2fs.
#[test]
fn r1_e2fscks_exit_codes_decide() {
    if !require(TOOLS) {
        return;
    }
    for code in [0, 1, 2, 3, 4, 8, 16, 32, 127] {
        let disk = Disk::new(Layout::None, false, 64 * MIB, EXT4);
        let before = scratch::fingerprint(&disk.image);
        let fsck = format!("echo 'fsck said so' >&2; exit {code}");
        let programs = [("e2fsck", fsck.as_str()), ("resize2fs", "exec /sbin/resize2fs \"$@\"")];
        let args = ["grow", "--json", "--no-sync", "--grow-with=e2fsprogs", "--format=raw", "--", "+20M"];
        let ran = grow_with(&disk, &programs, &args);
        if code <= 2 {
            assert_eq!(ran.code, Some(0), "{code}: {ran:?}");
            assert_eq!(json(&ran)["filesystem"]["by"], "resize2fs", "{code}: {ran:?}");
            assert_eq!(disk.judge().blocks, 84 * 1024, "{code}");
        } else {
            assert_eq!(ran.code, Some(4), "{code}: {ran:?}");
            let message = json(&ran)["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains(&format!("exit code {code}: fsck said so")), "{message}");
            assert_eq!(scratch::fingerprint(&disk.image), before, "{code}");
        }
    }
}

#[test]
fn r2_resize2fs_failing_or_missing_leaves_everything_as_it_was() {
    if !require(TOOLS) {
        return;
    }
    let disk = Disk::new(Layout::Gpt, false, 64 * MIB, EXT4);
    let before = scratch::fingerprint(&disk.image);
    let args = ["grow", "--json", "--no-sync", "--grow-with=e2fsprogs", "--format=raw", "--", "+20M"];
    let programs = [("e2fsck", "exit 0"), ("resize2fs", "echo 'no room' >&2; exit 1")];
    let ran = grow_with(&disk, &programs, &args);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stdout.contains("resize2fs ended with exit code 1: no room"), "{ran:?}");
    assert_eq!(scratch::fingerprint(&disk.image), before);
    let others: Vec<_> = fs::read_dir(disk.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(others.len(), 1, "{others:?}");
}

/// Runs `nomount` with programs of ours before those of the system. `args` end in `--` and the size.
fn grow_with(disk: &Disk, programs: &[(&str, &str)], args: &[&str]) -> Ran {
    let bin = scratch::folder();
    for (name, body) in programs {
        let path = bin.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (size, options) = args.split_last().unwrap();
    let path = format!("{}:/usr/bin:/bin", text(bin.path()));
    ran(nomount().env("PATH", path).args(options).arg(&disk.image).arg(size))
}

#[test]
fn x1_x2_only_ext_on_the_whole_disk_is_partitionless() {
    if !require(TOOLS) {
        return;
    }
    let check = |image: &Path, yes: bool, word: &str| {
        let ran = run(["is-partitionless", "--json", &text(image)]);
        let said = json(&ran);
        assert_eq!((ran.code, &said["partitionless"]), (Some(i32::from(!yes)), &yes.into()), "{ran:?}");
        assert!(ran.stdout.contains(word), "{ran:?}");
    };
    for is_qcow2 in [false, true] {
        check(&Disk::new(Layout::None, is_qcow2, 64 * MIB, EXT4).image, true, "ext4");
        check(&Disk::new(Layout::Gpt, is_qcow2, 64 * MIB, EXT4).image, false, "partition table");
    }
    let folder = scratch::folder();
    let fat = folder.path().join("fat.img");
    File::create(&fat).unwrap().set_len(64 * MIB).unwrap();
    check(&fat, false, "no ext filesystem (unknown)");
    let made = tool::output(tool::command("mkfs.fat").arg(&fat));
    assert!(made.status.success(), "{}", tool::text(&made));
    check(&fat, false, "no ext filesystem (vfat)");
}

/// X3, LP#1094373: what cannot be opened must not pass for what can be resized.
#[test]
fn x3_what_cannot_be_opened_is_not_partitionless() {
    if !require(TOOLS) {
        return;
    }
    let disk = Disk::new(Layout::None, false, 64 * MIB, EXT4);
    // The magic is there, and the first descriptor is not.
    let file = File::options().write(true).open(&disk.image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xFF; 64], 2048).unwrap();
    for image in [text(&disk.image), "/nonexistent".to_owned(), "/".to_owned(), "/dev/null".to_owned()] {
        let ran = run(["is-partitionless", "--json", &image]);
        assert_eq!((ran.code, &json(&ran)["partitionless"]), (Some(1), &false.into()), "{image}: {ran:?}");
        assert!(!json(&ran)["reason"].as_str().unwrap().is_empty(), "{ran:?}");
    }
}
