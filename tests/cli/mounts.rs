//! A guest whose /boot, /var and /home are filesystems of their own: one tree, changed in one commit.

use crate::common::{long, nomount, ran, run, text};
use crate::partitions::disk;
use nomount::disk::Choice;
use nomount::image::ImageOptions;
use nomount::ops::edit::{edit, write};
use nomount::session::{recover, redo_path};
use nomount::tree::{GuestPath, Time};
use nomount::{Session, SessionOptions};
use nomount_block::{FaultPlan, HostFile};
use nomount_kit::{Shared, TreeDigest, judges, require, scratch, tool};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, TempPath};

const MIB: u64 = 1 << 20;
const TABLE: &str = "label: dos\nlabel-id: 0x1a2b3c4d\nstart=1MiB, size=16MiB, type=83\nstart=17MiB, size=16MiB, type=83\n\
                     start=33MiB, size=300MiB, type=5\nstart=34MiB, size=16MiB, type=83\nstart=51MiB, size=16MiB\n";
/// Root, /boot, /var, /home: where they begin.
const STARTS: [&str; 4] = ["1", "17", "34", "51"];
const FSTAB: &str = "# of every kind\nLABEL=root / ext4 errors=remount-ro 0 1\nUUID=11111111-2222-4333-8444-555555555555 \
                     /boot ext2 defaults\nPARTUUID=1a2b3c4d-05 /var ext4 defaults\n/dev/sda6 /home ext4 nodev\n\
                     /dev/sda7 /opt ext4\nLABEL=later /srv ext4 noauto\n/dev/mapper/vg-data /data xfs\ntmpfs /tmp tmpfs\n";

/// A filesystem of 16 MiB with these files.
fn filesystem(files: &[(&str, &str)], more: &[&str]) -> TempPath {
    let folder = scratch::folder();
    for (path, contents) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    let image = scratch::file().into_temp_path();
    let path = text(&image);
    let made = run([&["mkfs", &path, "16M", "--force", "-d", &text(folder.path())], more].concat());
    assert_eq!(made.code, Some(0), "{made:?}");
    image
}

/// The guest's disk.
fn guest() -> (TempDir, PathBuf) {
    let root = [
        ("etc/fstab", FSTAB),
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("usr/bin/x", ""),
        ("proc/.keep", ""),
        ("boot/hidden", "below the mount point"),
        ("var/.keep", ""),
        ("home/.keep", ""),
        ("opt/.keep", ""),
        ("data/.keep", ""),
    ];
    let parts = [
        filesystem(&root, &["--label", "root"]),
        filesystem(&[("vmlinuz", "kernel")], &["--type", "ext2", "--uuid", "11111111-2222-4333-8444-555555555555"]),
        filesystem(&[("log/syslog", "one\n")], &[]),
        filesystem(&[("user/.profile", "x")], &[]),
    ];
    let parts: Vec<(&str, &Path)> = STARTS.iter().copied().zip(parts.iter().map(|part| &**part)).collect();
    disk(&parts, TABLE)
}

fn trees(disk: &Path) -> [TreeDigest; 4] {
    STARTS.map(|start| {
        let offset = start.parse::<u64>().unwrap() * MIB;
        judges::e2fsck_fn(disk, offset).unwrap();
        TreeDigest::of_ext(disk, offset)
    })
}

#[test]
fn what_the_guest_mounts_is_one_tree() {
    if !require(&["sfdisk"]) {
        return;
    }
    let (_folder, disk) = guest();
    let list = run(["ls", "-R", &text(&disk), "/"]);
    assert_eq!(list.code, Some(0), "{list:?}");
    for name in ["vmlinuz", "syslog", "user"] {
        assert!(list.stdout.contains(name), "{list:?}");
    }
    assert!(!list.stdout.contains("hidden"), "{list:?}");
    assert_eq!(run(["cat", &format!("{}:/var/log/syslog", text(&disk))]).stdout, "one\n");
    // A partition that is asked for by number is that alone.
    assert_eq!(run(["cat", &format!("{}@1:/boot/hidden", text(&disk))]).stdout, "below the mount point");
    assert_ne!(run(["cat", &format!("{}@1:/var/log/syslog", text(&disk))]).code, Some(0));
}

#[test]
fn one_change_of_several_filesystems_is_one_commit() {
    if !require(&["sfdisk", "e2fsck", "debugfs"]) {
        return;
    }
    let (_folder, disk) = guest();
    let before = trees(&disk);
    let image = text(&disk);
    let mut command = nomount();
    command.args(["mkdir", "--json", &image, "/etc/new", "/boot/new", "/var/log/new"]);
    let made = ran(&mut command);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made:?}");
    let said: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!((&said["committed"]["journaled"], &said["warnings"]), (&false.into(), &serde_json::json!([])));
    let after = trees(&disk);
    assert!(after[0].get("/etc/new").is_some() && after[0].get("/boot/new").is_none());
    assert!(after[1].get("/new").is_some() && after[2].get("/log/new").is_some() && after[3] == before[3]);
    // What is not part of the tree is pointed out; mount points stay where they are.
    let hidden = run(["mkdir", &image, "/opt/new", "/data/new"]);
    assert!(hidden.stderr.contains("/opt is another filesystem") && hidden.stderr.contains("/data is"), "{hidden:?}");
    let moved = run(["mv", &image, "/var/log", "/log"]);
    assert_eq!(moved.code, Some(0), "copied and removed: {moved:?}");
    let after = trees(&disk);
    assert!(after[0].get("/log/new").is_some() && after[2].get("/log").is_none());
    let removed = run(["rm", "-r", &image, "/var"]);
    assert!(removed.code == Some(3) && removed.stderr.contains("is mounted here"), "{removed:?}");
}

#[test]
fn a_filesystem_that_is_only_looked_at_is_not_recovered() {
    if !require(&["sfdisk", "debugfs"]) {
        return;
    }
    let (_folder, disk) = guest();
    let offset: u64 = STARTS[2].parse::<u64>().unwrap() * MIB;
    let at = format!("{}?offset={offset}", text(&disk));
    let dirty = tool::output(tool::command("debugfs").args(["-w", "-R", "feature needs_recovery", &at]));
    assert!(dirty.status.success(), "{}", tool::text(&dirty));
    let var = scratch::window(&disk, offset, 16 * MIB);
    let wrote = ran(nomount().args(["touch", &format!("{}:/etc/x", text(&disk))]));
    assert_eq!(wrote.code, Some(0), "{wrote:?}");
    assert!(fs::read(&var).unwrap() == fs::read(scratch::window(&disk, offset, 16 * MIB)).unwrap());
    let wrote = run(["chmod", "600", &format!("{}:/var/log/syslog", text(&disk))]);
    assert_eq!(wrote.code, Some(0), "{wrote:?}");
    judges::e2fsck_fn(&disk, offset).unwrap();
}

#[test]
fn a_disk_that_fails_at_any_write_has_all_filesystems_old_or_all_new() {
    if !require(&["sfdisk", "e2fsck", "debugfs"]) {
        return;
    }
    let (_folder, disk) = guest();
    let options = SessionOptions {
        image: ImageOptions { write: true, sync: false, lock: false, ..ImageOptions::default() },
        partition: Choice::Inspect,
        now: Time { sec: 1_780_000_000, nsec: 0 },
        ..SessionOptions::default()
    };
    let change = |image: &Path, plan: FaultPlan| {
        let file = File::options().read(true).write(true).open(image).unwrap();
        let device = Shared::new(HostFile::new(file, false).unwrap(), plan);
        let handle = device.clone();
        let mut session = Session::open_device(Box::new(device), image, options.clone()).unwrap();
        edit(session.tree(), |editor| {
            ["/etc/a", "/boot/b", "/var/log/syslog", "/home/user/d"]
                .iter()
                .try_for_each(|path| write(editor, &GuestPath::parse(path)?, b"new"))
        })
        .unwrap();
        (session.commit().map(drop), handle.log().len() as u64)
    };
    let place = || {
        let folder = scratch::folder();
        let image = folder.path().join("disk.img");
        scratch::copy(&disk).persist(&image).unwrap();
        (folder, image)
    };
    let old = trees(&disk);
    let (_whole, image) = place();
    let (done, writes) = change(&image, FaultPlan::default());
    done.unwrap();
    let new = trees(&image);
    assert!(old.iter().zip(&new).all(|(old, new)| old != new));
    let (mut olds, mut news) = (0, 0);
    // In full it takes a minute.
    let step = if long() { 1 } else { 4 };
    for number in (0..writes).step_by(step) {
        let (folder, image) = place();
        let (done, _) = change(&image, FaultPlan { fail_write: Some(number), ..FaultPlan::default() });
        if done.is_ok() {
            // A barrier, which is no write.
            continue;
        }
        let pending = redo_path(&image).exists();
        if pending {
            recover(&image, &options.image).unwrap();
        }
        let wanted = if pending { &new } else { &old };
        assert!(trees(&image) == *wanted, "write {number}, redo file: {pending}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "write {number}");
        if pending { news += 1 } else { olds += 1 }
    }
    assert!(olds > 0 && news > 1, "{olds} old, {news} new");
}

#[test]
fn an_esp_is_part_of_the_tree_and_a_disk_of_its_own() {
    if !require(&["qemu-img", "e2fsck", "fsck.fat"]) {
        return;
    }
    let folder = scratch::folder();
    let disk = folder.path().join("disk.qcow2");
    fs::copy(nomount_kit::fixture::guest(), &disk).unwrap();
    let image = text(&disk);
    // The guest mounts it by LABEL=ESP.
    let made = run(["mkdir", "--json", &image, "/boot/efi/EFI/new", "/root/new"]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made:?}");
    let said: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(said["verified"]["independent_reader"], 2, "{said}");
    let esp = format!("{image}@15");
    for (args, output) in [
        (vec!["ls".to_owned(), format!("{esp}:/EFI")], "BOOT\nnew\n"),
        (
            vec![
                "mv".to_owned(),
                esp.clone(),
                "/loader/loader.conf".to_owned(),
                "/loader/a rather long name".to_owned(),
            ],
            "",
        ),
        (vec!["ls".to_owned(), format!("{esp}:/LOADER")], "a rather long name\nentries\n"),
        (vec!["rm".to_owned(), "-r".to_owned(), esp.clone(), "/EFI".to_owned()], ""),
        (vec!["ls".to_owned(), esp.clone(), "/".to_owned()], "loader\n"),
    ] {
        let done = run(&args);
        assert_eq!(done.code, Some(0), "{args:?}: {done:?}");
        assert!(args[0] != "ls" || done.stdout == output, "{args:?}: {done:?}");
    }
    let refused = run(["ln", "-s", &esp, "x", "/link"]);
    assert!(refused.code == Some(4) && refused.stderr.contains("no symbolic links"), "{refused:?}");
    judges::qemu_img_check(&disk, judges::Leaks::Refused).unwrap();
    let raw = scratch::raw_of(&disk, "qcow2");
    judges::fsck_fat_n(&raw, 2 * MIB, 10 * MIB).unwrap();
    judges::e2fsck_fn(&raw, 13 * MIB).unwrap();
}
