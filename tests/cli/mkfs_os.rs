//! `nomount mkfs` by type and by operating system. Names begin with the ids of `virt_mkfs` behaviours in Nova's code.

use crate::common::{nomount, ran, run, text};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{require, scratch, tool};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const UUID: &str = "01234567-89ab-4def-8123-456789abcdef";
const EXT3: &str = "linux=mkfs.ext3 -q -F -L %(fs_label)s -O ^resize_inode -E root_owner=0:0 %(target)s";

/// What blkid sees at the beginning of a raw image, or at an offset.
fn seen(image: &Path, offset: u64) -> BTreeMap<String, String> {
    let mut blkid = Command::new("blkid");
    let done = tool::output(blkid.args(["-p", "-o", "export", "-O", &offset.to_string()]).arg(image));
    let said = tool::text(&done);
    said.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect()
}

fn type_and_label(image: &Path) -> (String, String) {
    let mut seen = seen(image, 0);
    let mut take = |key| seen.remove(key).unwrap_or_default();
    (take("TYPE"), take("LABEL").replace('\\', ""))
}

/// Makes a filesystem that must succeed; answers what it says as JSON.
fn made(args: &[&str]) -> Value {
    let done = run([&["mkfs", "--json", "--no-sync", "--seed", "7"], args].concat());
    assert_eq!(done.code, Some(0), "{args:?}: {done:?}");
    serde_json::from_str(&done.stdout).unwrap()
}

fn fresh(path: &Path) -> String {
    let _ = std::fs::remove_file(path);
    text(path)
}

#[test]
fn f1_f2_a_template_makes_what_its_command_says() {
    if !require(&["mkfs.ext3", "dumpe2fs", "blkid", "e2fsck"]) {
        return;
    }
    let folder = scratch::folder();
    let path = folder.path().join("a image.img");
    let default = "default=mkfs.ext2 -q -F -L %(fs_label)s -m 100%% %(target)s";
    let image = fresh(&path);
    let told = made(&[&image, "20M", "--os-type", "linux", "--mkfs-template", EXT3, "-L", "two words"]);
    assert_eq!((&told["type"], &told["label"]), (&"ext3".into(), &"two words".into()));
    assert_eq!(type_and_label(&path), ("ext3".to_owned(), "two words".to_owned()));
    let dump = tool::text(&Command::new("dumpe2fs").arg("-h").arg(&path).output().unwrap());
    assert!(!dump.contains("resize_inode"), "the command's options beyond its second `=` are used: {dump}");
    judges::e2fsck_fn(&path, 0).unwrap();
    // An unknown system takes the default, and so does no system; an entry for none is ignored.
    for os in [&["--os-type", "plan9"][..], &[]] {
        let image = fresh(&path);
        let options = ["--mkfs-template", EXT3, "--mkfs-template", "=false %(target)s", "--mkfs-template", default];
        let done = run([&["mkfs", &image, "20M"], os, &options].concat());
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains("reserved blocks percent"), "the doubled percent sign is one: {}", done.stderr);
        assert!(!path.exists());
        let image = fresh(&path);
        let good = default.replace("100", "9").replace("%%", "");
        assert_eq!(made(&[&[&image[..], "20M"], os, &["--mkfs-template", &good]].concat())["type"], "ext2");
    }
}

#[test]
fn f3_without_a_template_the_type_or_the_operating_system_decides() {
    if !require(&["blkid", "mkfs.ntfs"]) {
        return;
    }
    let folder = scratch::folder();
    let path = folder.path().join("image");
    for (args, wanted) in [
        (&[][..], "ext4"),
        (&["--os-type", "linux"], "ext4"),
        (&["--os-type", "windows"], "ntfs"),
        (&["--os-type", "vxworks"], "vfat"),
        (&["--os-type", "windows", "--type", "ext2"], "ext2"),
        (&["--os-type", "windows", "--mkfs-template", "linux=false %(target)s"], "ntfs"),
    ] {
        let image = fresh(&path);
        assert_eq!(made(&[&[&image, "20M"], args].concat())["type"], wanted);
        assert_eq!(type_and_label(&path).0, wanted, "{args:?}");
    }
}

#[test]
fn f4_f5_every_type_is_what_it_says_and_has_its_label() {
    if !require(&["blkid", "mkfs.ntfs", "mkfs.xfs", "mkfs.btrfs", "fsck.fat", "e2fsck"]) {
        return;
    }
    let folder = scratch::folder();
    let path = folder.path().join("image");
    let types = ["ext2", "ext3", "ext4", "vfat", "fat", "msdos", "swap", "ntfs", "xfs", "btrfs"];
    for kind in types {
        for label in [None, Some("ephemeral0")] {
            let image = fresh(&path);
            let mut args = vec![&image[..], "320M", "-t", kind];
            args.extend(label.iter().flat_map(|label| ["-L", label]));
            let told = made(&args);
            let fat = ["fat", "msdos", "vfat"].contains(&kind);
            let wanted = if fat { label.map(str::to_uppercase) } else { label.map(str::to_owned) };
            let name = if fat { "vfat" } else { kind };
            assert_eq!(told["type"], name);
            assert_eq!(type_and_label(&path), (name.to_owned(), wanted.unwrap_or_default()));
            match told["uuid"].as_str() {
                Some(uuid) => assert_eq!(seen(&path, 0)["UUID"], uuid, "{kind}"),
                None => assert!(fat || kind == "ntfs"),
            }
            assert_eq!(run([&["mkfs"], &args[..]].concat()).code, Some(3), "{kind} is not overwritten");
            // Two signatures would be none: blkid names neither.
            let other = if label.is_none() { "vfat" } else { "swap" };
            made(&[&image, "-F", "-t", other]);
            assert_eq!(type_and_label(&path).0, other, "over {kind}");
            made(&[&image, "-F", "-t", kind]);
            assert_eq!(type_and_label(&path).0, name, "over {other}");
        }
        if kind.ends_with("fat") {
            judges::fsck_fat_n(&path, 0, 320 << 20).unwrap();
        }
    }
}

#[test]
fn f4_swap_is_byte_for_byte_what_mkswap_makes() {
    if !require(&["mkswap"]) {
        return;
    }
    let folder = scratch::folder();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    for (size, label) in [(40 << 10, ""), ((1 << 20) + 1000, "swap"), (5 << 30, "fifteen letters")] {
        std::fs::File::create(&theirs).unwrap().set_len(size).unwrap();
        let mut mkswap = Command::new("mkswap");
        mkswap.args(["-U", UUID]).args(["-L", label].iter().filter(|_| !label.is_empty())).arg(&theirs);
        assert!(tool::output(&mut mkswap).status.success());
        let image = fresh(&ours);
        let size = format!("{}s", size / 512);
        made(&[&image, &size, "-t", "swap", "-U", UUID, "-L", label]);
        let head = |path: &Path| {
            let mut page = vec![0; 8192];
            std::os::unix::fs::FileExt::read_exact_at(&std::fs::File::open(path).unwrap(), &mut page, 0).unwrap();
            page
        };
        assert!(head(&ours) == head(&theirs), "{size}");
    }
    let small = run(["mkfs", &fresh(&ours), "39K", "-t", "swap"]);
    assert_eq!(small.code, Some(6), "{small:?}");
    assert!(!ours.exists());
}

#[test]
fn f6_a_label_too_long_is_an_error_and_makes_nothing() {
    let folder = scratch::folder();
    let path = folder.path().join("image");
    let long = "x".repeat(40);
    for (kind, limit) in [("ext4", 16), ("vfat", 11), ("swap", 15), ("ntfs", 32), ("xfs", 12)] {
        let done = run(["mkfs", &text(&path), "400M", "-t", kind, "-L", &long[..limit + 1]]);
        assert_eq!(done.code, Some(2), "{kind}: {done:?}");
        assert!(done.stderr.contains("longer than"), "{}", done.stderr);
        assert!(!path.exists());
    }
    let done = run(["mkfs", &text(&path), "400M", "--mkfs-template", EXT3, "--os-type", "linux", "-L", &long[..17]]);
    assert_eq!(done.code, Some(2), "{done:?}");
}

#[test]
fn a_missing_image_is_made_as_qcow2_when_that_is_asked_for() {
    if !require(&["qemu-img", "blkid", "mkfs.ntfs"]) {
        return;
    }
    let folder = scratch::folder();
    let (path, raw) = (folder.path().join("image"), folder.path().join("raw"));
    for kind in ["ext4", "vfat", "swap", "ntfs"] {
        let image = fresh(&path);
        let planned = made(&[&image, "300M", "--format", "qcow2", "-t", kind, "-n"]);
        assert!(!path.exists(), "a dry run makes nothing");
        let told = made(&[&image, "300M", "--format", "qcow2", "-t", kind, "-L", "inside"]);
        assert_eq!((&told["created"], &planned["created"]), (&true.into(), &true.into()));
        judges::qemu_img_check(&path, Leaks::Refused).unwrap();
        assert!(path.metadata().unwrap().len() < 40 << 20, "{kind} is as long as what is in it");
        fresh(&raw);
        let convert = ["convert", "-f", "qcow2", "-O", "raw", &image, &text(&raw)];
        assert!(tool::output(Command::new("qemu-img").args(convert)).status.success());
        assert_eq!(raw.metadata().unwrap().len(), 300 << 20);
        let label = if kind == "vfat" { "INSIDE" } else { "inside" };
        assert_eq!(type_and_label(&raw), (kind.to_owned(), label.to_owned()));
    }
    let image = fresh(&path);
    let done = run(["mkfs", &image, "20K", "--format", "qcow2", "-t", "swap"]);
    assert_eq!(done.code, Some(6), "{done:?}");
    let done = run(["mkfs", &image, "64M", "--format", "qcow2", "--mkfs-template", "default=false %(target)s"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(!path.exists(), "what failed is removed");
}

#[test]
fn a_program_makes_it_in_a_partition_and_touches_nothing_else() {
    if !require(&["sgdisk", "blkid", "mkfs.ntfs", "fsck.fat"]) {
        return;
    }
    let folder = scratch::folder();
    let path = folder.path().join("disk");
    std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let parts = ["-n", "1:2048:+20M", "-n", "2:0:+40M", "-n", "3:0:+20M"];
    assert!(tool::output(Command::new("sgdisk").args(parts).arg(&path)).status.success());
    let start = |number: u64| (1 << 20) + [0, 20 << 20, 60 << 20][number as usize - 1];
    let disk = text(&path);
    // Garbage, so that what must be zero is seen to be.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xa5; 35 << 20], start(2)).unwrap();
    let before = std::fs::read(&path).unwrap();
    made(&[&format!("{disk}@2"), "-t", "ntfs", "-L", "data"]);
    let after = std::fs::read(&path).unwrap();
    assert_eq!(seen(&path, start(2))["LABEL"], "data");
    let (from, to) = (start(2) as usize, start(3) as usize);
    assert!(before[..from] == after[..from] && before[to..] == after[to..]);
    assert!(!after[from..to].windows(4096).step_by(4096).any(|piece| piece.iter().all(|byte| *byte == 0xa5)));
    made(&[&format!("{disk}@3"), "-t", "vfat"]);
    judges::fsck_fat_n(&path, start(3), 20 << 20).unwrap();
    let boot = std::fs::read(&path).unwrap()[start(3) as usize..][..512].to_vec();
    assert_eq!(boot[28..32], (start(3) as u32 / 512).to_le_bytes(), "hidden sectors");
    made(&[&format!("{disk}@1"), "-t", "swap"]);
    judges::sgdisk_v(&path).unwrap();
    // A program that fails has changed nothing.
    let before = std::fs::read(&path).unwrap();
    let done = run(["mkfs", &format!("{disk}@2"), "-F", "--mkfs-template", "default=mkfs.ntfs --no-such %(target)s"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("ended with exit status") && done.stderr.contains("no-such"), "{}", done.stderr);
    assert!(before == std::fs::read(&path).unwrap());
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let folder = scratch::folder();
    let path = folder.path().join("image");
    let done = run(["mkfs", &text(&path), "64M", "--mkfs-template", "default=/no/such/mkfs.f2fs %(target)s"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("not installed") && done.stderr.contains("package f2fs-tools"), "{}", done.stderr);
    assert!(!path.exists());
}

#[test]
fn options_of_ext_are_refused_for_other_types() {
    let folder = scratch::folder();
    let image = text(&folder.path().join("image"));
    for option in [&["-N", "99"][..], &["-O", "quota"], &["-d", "/etc"], &["-b", "4096"], &["-m", "1"], &["-E", "x"]] {
        for kind in ["vfat", "swap", "ntfs"] {
            let done = run([&["mkfs", &image, "64M", "-t", kind], option].concat());
            assert_eq!(done.code, Some(2), "{option:?} {kind}: {done:?}");
            assert!(done.stderr.contains("is for ext2, ext3 and ext4"), "{}", done.stderr);
        }
    }
    for (wrong, says) in [("linux", "not of the form"), ("linux=mkfs", "no %(target)s"), ("a=b %x %(target)s", "%x")] {
        let done = run(["mkfs", &image, "64M", "--mkfs-template", wrong]);
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(says), "{}", done.stderr);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folder = scratch::folder();
    let paths = ["one", "two"].map(|name| folder.path().join(name));
    for kind in ["vfat", "swap"] {
        for path in &paths {
            let image = fresh(path);
            let done = ran(nomount().args(["mkfs", &image, "40M", "-t", kind, "-L", "label", "--seed", "3"]));
            assert_eq!(done.code, Some(0), "{done:?}");
        }
        assert!(std::fs::read(&paths[0]).unwrap() == std::fs::read(&paths[1]).unwrap(), "{kind}");
    }
}
