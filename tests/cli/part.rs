//! `nomount part`: the verbs on raw and qcow2 images, what is refused, what the judges say.

use crate::common::{Ran, run, text};
use crate::{json, state};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{fixture, require, scratch, tool};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const TOOLS: &[&str] = &["sgdisk", "sfdisk", "qemu-img"];
const FORMATS: [&str; 2] = ["raw", "qcow2"];

/// An empty image in a folder of its own.
fn image(format: &str, size: u64) -> (TempDir, PathBuf) {
    let folder = scratch::folder();
    let path = folder.path().join("disk.img");
    let done =
        tool::output(tool::command("qemu-img").args(["create", "-q", "-f", format]).arg(&path).arg(size.to_string()));
    assert!(done.status.success(), "{}", tool::text(&done));
    (folder, path)
}

/// `nomount part VERB IMAGE@N ...`, in the words of a user: `@` stands for the image.
fn part(image: &Path, line: &str) -> Ran {
    let words = line.split_whitespace().map(|word| match word.strip_prefix('@') {
        Some("") => text(image),
        Some(number) => format!("{}@{number}", text(image)),
        None => word.to_owned(),
    });
    run(std::iter::once("part".to_owned()).chain(words))
}

#[track_caller]
fn done(image: &Path, line: &str) -> String {
    let ran = part(image, line);
    assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
    ran.stdout
}

/// Refused with that exit code and those words, and nothing is written.
#[track_caller]
fn refused(image: &Path, line: &str, code: i32, words: &[&str]) {
    let before = state(image);
    let ran = part(image, line);
    assert_eq!(ran.code, Some(code), "{line}: {ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{line}: {word:?} in {ran:?}");
    }
    assert!(state(image) == before, "{line}: written");
}

/// The table as sfdisk reads it; the container and the table are sound.
#[track_caller]
fn judged(image: &Path, format: &str) -> serde_json::Value {
    if format == "qcow2" {
        judges::qemu_img_check(image, Leaks::Refused).unwrap();
    }
    let raw = scratch::raw_of(image, format);
    let table = judges::sfdisk_json(&raw).unwrap();
    if table["partitiontable"]["label"] == "gpt" {
        judges::sgdisk_v(&raw).unwrap();
    }
    let done = tool::output(tool::command("sfdisk").arg("--verify").arg(&raw));
    assert!(tool::text(&done).contains("No errors detected"), "{}", tool::text(&done));
    table["partitiontable"].clone()
}

/// Number, first sector and sectors of each partition.
fn places(table: &serde_json::Value) -> Vec<(String, u64, u64)> {
    let partitions = table["partitions"].as_array().into_iter().flatten();
    let place = |p: &serde_json::Value| {
        (p["node"].as_str().unwrap().to_owned(), p["start"].as_u64().unwrap(), p["size"].as_u64().unwrap())
    };
    partitions.map(place).collect()
}

fn place(number: &str, start: u64, sectors: u64) -> (String, u64, u64) {
    (number.to_owned(), start, sectors)
}

#[test]
fn a_gpt_from_nothing() {
    if !require(TOOLS) {
        return;
    }
    for format in FORMATS {
        let (_folder, disk) = image(format, 64 * MIB);
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        assert!(done(&disk, &format!("create @ gpt --disk-id {id}")).contains(&format!("has a new GPT, id {id}")));
        done(&disk, "add @14 --size 1M --type bios-boot");
        done(&disk, &format!("add @ --size 16M --type esp --name EFI --guid {id} -f {format}"));
        let said = done(&disk, "add @ --type 8304 --name root");
        assert!(said.contains("partition 2 has 45.0 MiB at byte 18874368, type root-x86-64, name \"root\""), "{said}");
        done(&disk, "attributes @2 --set bootable");
        done(&disk, "attributes @2 --set read-only,59 --clear bootable");
        done(&disk, "type @1 XBOOTLDR");
        done(&disk, "name @14 grün");
        let table = judged(&disk, format);
        assert_eq!(table["id"], id.to_uppercase());
        let expected = [place("1", 4096, 32_768), place("2", 36_864, 92_160), place("14", 2048, 2048)];
        assert_eq!(places(&table), expected);
        let partitions = &table["partitions"];
        assert_eq!(partitions[0]["type"], "BC13C2FF-59E6-4262-A352-B275FD6F7172");
        assert_eq!(partitions[0]["uuid"], id.to_uppercase());
        assert_eq!(partitions[1]["attrs"], "GUID:59,60");
        assert_eq!(partitions[2]["name"], "grün");

        let document = json(&part(&disk, "list @ --json"));
        assert_eq!(document["table"]["type"], "gpt");
        assert_eq!(document["partitions"][1]["attribute_names"], serde_json::json!(["grow-file-system", "read-only"]));
        assert_eq!(document["partitions"][2]["type_name"], "bios-boot");
        let listed = done(&disk, "list @");
        assert!(listed.contains("14      1048576   1048576   1.0 MiB   bios-boot    unknown  grün"), "{listed}");
        done(&disk, "delete @2");
        assert_eq!(places(&judged(&disk, format)).len(), 2);
    }
}

#[test]
fn sizes_are_absolute_relative_and_max() {
    if !require(TOOLS) {
        return;
    }
    for format in FORMATS {
        let (_folder, disk) = image(format, 64 * MIB);
        done(&disk, "create @");
        done(&disk, "add @ --size 8M");
        done(&disk, "add @ --start 32M --size 4M");
        for (size, mib) in [("16M", 16), ("+2M", 18), ("-1M", 17), ("max", 31)] {
            done(&disk, &format!("resize @1 {size}"));
            assert_eq!(places(&judged(&disk, format))[0], place("1", 2048, mib * 2048), "{size}");
        }
        refused(&disk, "resize @1 +1M", 6, &["overlap partition 2"]);
        refused(&disk, "resize @1 -31M", 2, &["0 bytes"]);
        refused(&disk, "resize @1 -1G", 2, &["no more can go"]);
        refused(&disk, "resize @2 1G", 6, &["where partitions may be"]);
        refused(&disk, "resize @2 1000000", 2, &["no multiple of the sector size 512"]);
        refused(&disk, "resize @ 1G", 2, &["which partition is not said", "IMAGE@2"]);
        refused(&disk, "resize @7 1G", 1, &["partition 7 not found; there is: partition 1, 2"]);
        refused(&disk, "type @1 nonsense", 2, &["\"nonsense\"", "or one of: linux, swap"]);
        refused(&disk, "add @1", 1, &["partition 1 is there already"]);
        refused(&disk, "attributes @1", 2, &["neither --set nor --clear"]);
        refused(&disk, "attributes @1 --set 3 --clear 3", 2, &["set and cleared"]);
    }
}

#[test]
fn a_grown_image_has_its_backup_moved_and_that_is_said() {
    if !require(TOOLS) {
        return;
    }
    let folder = scratch::folder();
    let disk = scratch::copy_as(&fixture::guest(), folder.path().join("guest.qcow2"));
    let before = judged(&disk, "qcow2");
    let qemu = tool::output(tool::command("qemu-img").args(["resize", "-q", "-f", "qcow2"]).arg(&disk).arg("100M"));
    assert!(qemu.status.success(), "{}", tool::text(&qemu));
    let ran = part(&disk, "resize @1 max -n");
    assert!(ran.stdout.contains("partition 1 would have 86.0 MiB"), "{ran:?}");
    let ran = part(&disk, "resize @1 max");
    assert!(ran.code == Some(0) && ran.stderr.contains("put right: backup GPT is expected at byte"), "{ran:?}");
    let after = judged(&disk, "qcow2");
    let root = places(&after)[0].clone();
    assert_eq!((root.1 + root.2) * 512, 99 * MIB);
    assert_eq!((&after["id"], &after["partitions"][1]), (&before["id"], &before["partitions"][1]));
    assert_eq!(after["partitions"][0]["uuid"], before["partitions"][0]["uuid"]);
    // The filesystem in it is smaller than the partition, and never cut.
    let raw = scratch::raw_of(&disk, "qcow2");
    judges::e2fsck_fn(&raw, root.1 * 512).unwrap();
    for force in ["", "--force"] {
        refused(&disk, &format!("resize @1 20M {force}"), 3, &["too few for its filesystem", "`nomount shrink`"]);
        refused(&disk, &format!("create @ mbr {}", &force[..0]), 3, &["GPT with partition 1 (ext4)", "--force"]);
    }
    done(&disk, "resize @1 53M");
    refused(&disk, "delete @1", 3, &["partition 1 (ext4): it holds something", "--force"]);
    refused(&disk, "resize @15 1M", 3, &["partition 15 (vfat): how much of it"]);
    done(&disk, "delete @1 --force");
    assert_eq!(places(&judged(&disk, "qcow2")).len(), places(&before).len() - 1);
    done(&disk, "create @ mbr --force --disk-id 1234abcd");
    let listed = json(&part(&disk, "list @ --json"));
    assert_eq!((&listed["table"]["id"], &listed["partitions"]), (&"1234abcd".into(), &serde_json::json!([])));
}

#[test]
fn an_mbr_with_logical_partitions() {
    if !require(TOOLS) {
        return;
    }
    for format in FORMATS {
        let (_folder, disk) = image(format, 64 * MIB);
        done(&disk, "create @ mbr --disk-id 0xcafef00d");
        refused(&disk, "add @ --logical", 2, &["no extended partition"]);
        done(&disk, "add @ --size 8M --bootable");
        done(&disk, "add @ --size 32M --type extended");
        done(&disk, "add @ --size 4M --logical --type swap");
        done(&disk, "add @ --size 4M --logical");
        done(&disk, "add @ --size 4M --logical --type 8e");
        let said = done(&disk, "delete @5");
        assert!(said.contains("partition 6 is now 5\npartition 7 is now 6\n"), "{said}");
        let document = json(&part(&disk, "delete @5 --json -n"));
        assert_eq!(document["renumbered"], serde_json::json!([{ "old": 6, "new": 5 }]));
        // The extended partition goes along.
        done(&disk, "resize @6 max");
        done(&disk, "type @1 ef");
        let table = judged(&disk, format);
        assert_eq!((&table["id"], &table["partitions"][0]["bootable"]), (&"0xcafef00d".into(), &true.into()));
        assert_eq!(table["partitions"][0]["type"], "ef");
        let expected = [
            place("1", 2048, 16_384),
            place("2", 18_432, 131_072 - 18_432),
            place("5", 30_720, 8192),
            place("6", 40_960, 131_072 - 40_960),
        ];
        assert_eq!(places(&table), expected);
        refused(&disk, "delete @2", 3, &["holds partition 5, 6", "delete the logical partitions first"]);
        refused(&disk, "name @1 x", 2, &["MBR has no partition names"]);
        refused(&disk, "attributes @1 --set hidden", 2, &["MBR has no partition attributes"]);
        done(&disk, "attributes @1 --clear bootable");
        assert!(!judged(&disk, format)["partitions"][0]["bootable"].as_bool().unwrap_or(false));
    }
}

#[test]
fn a_dry_run_writes_nothing_and_says_the_same() {
    if !require(TOOLS) {
        return;
    }
    for format in FORMATS {
        let (_folder, disk) = image(format, 32 * MIB);
        done(&disk, "create @ --disk-id 01234567-89ab-cdef-0123-456789abcdef");
        let line = "add @ --size 4M --guid 11234567-89ab-cdef-0123-456789abcdef --json";
        let before = state(&disk);
        let mut would = json(&part(&disk, &format!("{line} --dry-run")));
        assert!(state(&disk) == before, "written");
        let did = json(&part(&disk, line));
        assert_eq!(would["dry_run"].take(), true);
        would["dry_run"] = false.into();
        assert_eq!(would, did);
    }
}

#[test]
fn what_has_no_table_is_told() {
    if !require(TOOLS) {
        return;
    }
    let (_folder, disk) = image("raw", 16 * MIB);
    refused(&disk, "list @", 1, &["no partition table; there is: whole device (unknown)", "`nomount part create`"]);
    refused(&disk, "add @", 1, &["no partition table"]);
    refused(&disk, "add @:/etc", 2, &["not on a path in it"]);
    refused(&disk, "create @2", 2, &["create works on the whole disk"]);
    refused(&disk, "create @ mbr --sector-size 4096", 2, &["an MBR has 512"]);
    refused(&disk, "create @ mbr --disk-id 0", 2, &["not all zero"]);
    let filesystem = tool::output(tool::command("mke2fs").args(["-q", "-F"]).arg(&disk));
    assert!(filesystem.status.success(), "{}", tool::text(&filesystem));
    refused(&disk, "create @", 3, &["the disk holds whole device (ext2)", "--force"]);
    done(&disk, "create @ --force");
    done(&disk, "add @");
    assert_eq!(places(&judged(&disk, "raw")), [place("1", 2048, 28_672)]);
}
