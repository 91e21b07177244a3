//! What is refused, what else `grow` takes, and shrinking.

use crate::common::{Ran, run, text};
use crate::disks::{Disk, Layout, MIB};
use crate::matrix::TOOLS;
use nomount_kit::{require, scratch, tool};
use std::fs::{self, File};

const EXT4: &[&str] = &["-t", "ext4", "-b", "1024"];

/// Fails with that exit code and these words, and leaves every byte as it was.
#[track_caller]
fn refused(disk: &Disk, args: &[&str], code: i32, words: &[&str]) {
    let before = scratch::fingerprint(&disk.image);
    let ran = run(args);
    assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{args:?}: {word:?} is missing in {ran:?}");
    }
    assert_eq!(scratch::fingerprint(&disk.image), before, "{args:?}");
    let files = fs::read_dir(disk.folder.path()).unwrap().count();
    assert_eq!(files, 1, "{args:?} left a file");
}

#[track_caller]
fn json(ran: &Ran) -> serde_json::Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn sizes_and_partitions_that_make_no_sense_are_refused() {
    if !require(TOOLS) {
        return;
    }
    let disk = Disk::new(Layout::Gpt, false, 64 * MIB, EXT4);
    let image = text(&disk.image);
    refused(&disk, &["grow", &image, "63M"], 2, &["67108864 bytes", "nomount shrink"]);
    refused(&disk, &["grow", &image, "ten"], 2, &["a size such as"]);
    refused(&disk, &["grow", &image, "-5M"], 2, &[]);
    refused(&disk, &["grow", &image, "100M", "--expand", "7"], 1, &["partition 7 not found", "partition 1 (ext4)"]);
    refused(&disk, &["grow", &image, "100M", "--expand", "root"], 2, &["number of a partition"]);
    refused(&disk, &["grow", &format!("{image}@1"), "100M", "--expand", "1"], 2, &["given twice"]);
    refused(&disk, &["shrink", &image, "65M"], 2, &["nomount grow"]);
    refused(&disk, &["shrink", &image], 2, &["--minimum"]);
    refused(&disk, &["shrink", &image, "--minimum", "60M"], 2, &["--minimum"]);
    refused(&disk, &["shrink", &image, "2M"], 2, &["begins at byte 3145728"]);
    refused(&disk, &["shrink", &image, "60M", "--shrink", "14"], 4, &["partition 14"]);
    refused(&disk, &["extend", &format!("{image}@1"), "100M", "-f", "raw"], 2, &["whole disk"]);
}

#[test]
fn an_mbr_ends_at_2_tib_and_says_so() {
    if !require(TOOLS) {
        return;
    }
    let disk = Disk::new(Layout::MbrPrimary, false, 64 * MIB, EXT4);
    let said = json(&run(["grow", &text(&disk.image), "3T", "--json", "--no-sync", "--no-filesystem"]));
    let to = said["partitions"][0]["to"].as_u64().unwrap();
    assert!(to <= 512 * u64::from(u32::MAX) && to > (2 << 40) - 8 * MIB, "{said}");
    assert_eq!(said["filesystem"]["reason"], "it was not to be grown");
    let seen = disk.judge();
    assert_eq!((seen.disk, seen.blocks), (3 << 40, 60 * 1024));
}

#[test]
fn a_dry_run_says_the_same_and_writes_nothing() {
    if !require(TOOLS) {
        return;
    }
    for is_qcow2 in [false, true] {
        let disk = Disk::new(Layout::MbrLogical, is_qcow2, 64 * MIB, EXT4);
        let before = scratch::fingerprint(&disk.image);
        let mut dry = json(&run(["grow", &text(&disk.image), "+36M", "--json", "--dry-run"]));
        assert_eq!(scratch::fingerprint(&disk.image), before);
        let mut wet = json(&run(["grow", &text(&disk.image), "+36M", "--json"]));
        assert_eq!((dry["dry_run"].take(), wet["dry_run"].take()), (true.into(), false.into()));
        assert_eq!(dry, wet);
        assert_eq!(disk.judge().disk, 100 * MIB);
    }
}

#[test]
fn a_new_image_is_grown_and_the_old_one_stays() {
    if !require(TOOLS) {
        return;
    }
    let disk = Disk::new(Layout::Gpt, true, 64 * MIB, EXT4);
    let before = scratch::fingerprint(&disk.image);
    let new = disk.folder.path().join("new.qcow2");
    json(&run(["grow", &text(&disk.image), "100M", "-o", &text(&new), "--json"]));
    assert_eq!(scratch::fingerprint(&disk.image), before);
    assert_eq!(disk.judge_image(&new).disk, 100 * MIB);
}

/// A disk that was made longer by somebody else: what is on it follows.
#[test]
fn without_a_size_what_is_on_the_disk_fills_it() {
    if !require(TOOLS) {
        return;
    }
    for layout in Layout::ALL {
        let disk = Disk::new(layout, false, 64 * MIB, EXT4);
        let before = disk.judge();
        File::options().write(true).open(&disk.image).unwrap().set_len(90 * MIB + 512).unwrap();
        let said = json(&run(["grow", &text(&disk.image), "--json"]));
        assert_eq!((&said["disk"]["resized"], &said["filesystem"]["by"]), (&false.into(), &"native".into()));
        let after = disk.judge();
        assert!(after.blocks > before.blocks + 20 * 1024 && after.tree == before.tree, "{layout:?}");
    }
}

#[test]
fn other_filesystems_are_left_to_the_guest() {
    if !require(&[TOOLS, &["mkfs.fat"]].concat()) {
        return;
    }
    let disk = Disk::new(Layout::Gpt, false, 64 * MIB, EXT4);
    let fat = scratch::file();
    fat.as_file().set_len(60 * MIB).unwrap();
    let made = tool::output(tool::command("mkfs.fat").arg(fat.path()));
    assert!(made.status.success(), "{}", tool::text(&made));
    let file = File::options().write(true).open(&disk.image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &fs::read(fat.path()).unwrap(), disk.start).unwrap();
    let said = json(&run(["grow", &text(&disk.image), "100M", "--json"]));
    assert_eq!((&said["filesystem"]["content"], &said["filesystem"]["resized"]), (&"vfat".into(), &false.into()));
    assert_eq!(said["partitions"][0]["resized"], true);
    nomount_kit::judges::sgdisk_v(&disk.image).unwrap();
}

#[test]
fn shrinking_undoes_growing() {
    if !require(&[TOOLS, &["resize2fs"]].concat()) {
        return;
    }
    for layout in Layout::ALL {
        for is_qcow2 in [false, true] {
            let what = format!("{layout:?}, qcow2 {is_qcow2}");
            let disk = Disk::new(layout, is_qcow2, 64 * MIB, EXT4);
            let before = disk.judge();
            json(&run(["grow", &text(&disk.image), "300M", "--json", "--no-sync"]));
            let said = json(&run(["shrink", &text(&disk.image), "64M", "--json", "--no-sync"]));
            assert_eq!(said["filesystem"]["by"], "resize2fs", "{what}: {said}");
            let after = disk.judge();
            assert_eq!(after.disk, 64 * MIB, "{what}");
            assert!(after.tree == before.tree, "{what}: {:?}", before.tree.diff(&after.tree));
            assert!(after.blocks * 1024 + 5 * MIB > before.blocks * 1024, "{what}: {} blocks", after.blocks);

            let said = json(&run(["shrink", &text(&disk.image), "--minimum", "--json", "--no-sync"]));
            let least = disk.judge();
            assert!(least.disk < 30 * MIB && least.tree == before.tree, "{what}: {} bytes, {said}", least.disk);
            let bytes = fs::read(&disk.image).unwrap().len();
            let ran = run(["shrink", &text(&disk.image), "1M"]);
            assert!(matches!(ran.code, Some(2 | 4)), "{what}: {ran:?}");
            assert!(disk.judge() == least && fs::read(&disk.image).unwrap().len() == bytes, "{what}");
        }
    }
}

#[test]
fn the_minimum_that_size_tells_can_be_had() {
    if !require(&[TOOLS, &["resize2fs"]].concat()) {
        return;
    }
    for kind in ["ext2", "ext4"] {
        let disk = Disk::new(Layout::None, false, 1024 * MIB, &["-t", kind, "-b", "4096"]);
        let before = disk.judge();
        let said = json(&run(["size", "--json", &text(&disk.image)]));
        let minimum = said["volumes"][0]["filesystem"]["minimum_size"].as_u64().unwrap();
        assert!(minimum < 700 * MIB, "{said}");
        json(&run(["shrink", &text(&disk.image), &minimum.to_string(), "--json"]));
        let after = disk.judge();
        assert!(after.disk == minimum && after.tree == before.tree);
    }
}
