//! The fixtures are what `testdata/README.md` says they are, by the judges' word.

use nomount_kit::judges::{self, Leaks};
use nomount_kit::tool::{command, output, text};
use nomount_kit::{TreeDigest, fixture, require, scratch};

/// Not clean by intent: a log to replay, an orphan, bits or a role that e2fsck refuses.
const NOT_CLEAN: &[&str] = &[
    "dirty-32bit",
    "dirty-csum2",
    "dirty-csum3",
    "dirty-ext3",
    "journal-dev",
    "orphan-list",
    "unknown-compat",
    "unknown-incompat",
    "unknown-ro-compat",
];

#[test]
fn every_fixture_is_clean_unless_it_is_meant_not_to_be() {
    if !require(&["e2fsck"]) {
        return;
    }
    let names = fixture::names();
    assert!(names.len() >= 36, "{names:?}");
    for name in &names {
        let verdict = judges::e2fsck_fn(&fixture::file(name), 0);
        assert_eq!(verdict.is_ok(), !NOT_CLEAN.contains(&name.as_str()), "{name}: {verdict:?}");
    }
}

#[test]
fn fixtures_have_the_features_they_are_named_after() {
    if !require(&["dumpe2fs"]) {
        return;
    }
    let with = [
        ("ext2-1k", "resize_inode", "has_journal"),
        ("ext3-1k", "has_journal", "extent"),
        ("ext4-142", "uninit_bg", "64bit"),
        ("ext4-143", "64bit", "metadata_csum"),
        ("ext4-rpi", "metadata_csum", "64bit"),
        ("ext4-147", "orphan_file", "uninit_bg"),
        ("ext4-1k", "metadata_csum", "metadata_csum_seed"),
        ("ext4-nojournal", "metadata_csum", "has_journal"),
        ("ext4-i128-csum", "metadata_csum", "extra_isize"),
        ("meta-bg", "meta_bg", "resize_inode"),
        ("sparse-super2", "sparse_super2", "resize_inode"),
        ("inline-data", "inline_data", "bigalloc"),
        ("ea-inode", "ea_inode", "bigalloc"),
        ("large-dir", "large_dir", "bigalloc"),
        ("mmp", "mmp", "bigalloc"),
        ("quota", "quota", "project"),
        ("project", "project", "bigalloc"),
        ("casefold", "casefold", "bigalloc"),
        ("encrypt", "encrypt", "bigalloc"),
        ("verity", "verity", "bigalloc"),
        ("stable_inodes", "stable_inodes", "bigalloc"),
        ("fast_commit", "fast_commit", "bigalloc"),
        ("bigalloc", "bigalloc", "meta_bg"),
        ("read-only", "read-only", "bigalloc"),
        ("unknown-compat", "FEATURE_C31", "bigalloc"),
        ("unknown-ro-compat", "FEATURE_R31", "bigalloc"),
        ("unknown-incompat", "FEATURE_I31", "bigalloc"),
        ("journal-dev", "journal_dev", "extent"),
        ("dirty-ext3", "needs_recovery", "extent"),
        ("dirty-csum3", "needs_recovery", "uninit_bg"),
    ];
    for (name, has, lacks) in with {
        let said = text(&output(command("dumpe2fs").arg("-fh").arg(&*fixture::file(name))));
        let features = said.lines().find(|l| l.starts_with("Filesystem features:")).expect("dumpe2fs lists features");
        let features: Vec<&str> = features.split_whitespace().collect();
        assert!(features.contains(&has) && !features.contains(&lacks), "{name}: {features:?}");
    }
}

#[test]
fn dirty_logs_replay_to_the_state_after_the_edit_and_honour_the_revoke() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for name in ["dirty-ext3", "dirty-32bit", "dirty-csum2", "dirty-csum3"] {
        let image = fixture::file(name);
        let before = TreeDigest::of_ext(&image, 0);
        judges::e2fsck_recover(&image, 0).unwrap();
        judges::e2fsck_fn(&image, 0).unwrap();
        let after = TreeDigest::of_ext(&image, 0);
        let paths = |tree: &TreeDigest| ["/etc/added", "/etc/added-dir", "/etc/group"].map(|p| tree.get(p).is_some());
        assert_eq!((paths(&before), paths(&after)), ([false, false, true], [true, true, false]), "{name}");
        let content = |tree: &TreeDigest| tree.get("/etc/os-release").map(|entry| entry.content);
        assert_eq!(content(&before), content(&after), "{name}: a revoked block was replayed");
    }
}

#[test]
fn indexes_and_extent_trees_have_the_depth_they_are_for() {
    if !require(&["debugfs"]) {
        return;
    }
    let ask =
        |name: &str, request: &str| text(&output(command("debugfs").args(["-R", request]).arg(&*fixture::file(name))));
    for name in ["ext3-1k", "ext4-1k"] {
        assert!(ask(name, "htree_dump /var/one-level").contains("Indirect levels: 0"), "{name}");
        assert!(ask(name, "htree_dump /var/two-levels").contains("Indirect levels: 1"), "{name}");
    }
    assert!(ask("ext4-1k", "extents /var/pieces").contains(" 2/ 2 "));
    assert!(ask("ext4-1k", "stat /var/unwritten").contains("[u]"));
    for name in ["ext3-1k", "ext3-4k"] {
        assert!(ask(name, "stat /var/triple").contains("(TIND)"), "{name}");
    }
}

#[test]
fn the_guest_is_a_disk_that_every_judge_accepts() {
    if !require(&["qemu-img", "sgdisk", "sfdisk", "e2fsck", "debugfs", "fsck.fat"]) {
        return;
    }
    judges::qemu_img_check(&fixture::guest(), Leaks::Refused).unwrap();
    let disk = scratch::raw_of(&fixture::guest(), "qcow2");
    judges::sgdisk_v(&disk).unwrap();
    let table = judges::sfdisk_json(&disk).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let numbers: Vec<&str> = partitions.iter().map(|p| p["node"].as_str().unwrap()).collect();
    assert_eq!(numbers, ["1", "14", "15"]);
    let range = |i: usize| [&partitions[i]["start"], &partitions[i]["size"]].map(|v| v.as_u64().unwrap() * 512);
    let [root, _] = range(0);
    judges::e2fsck_fn(&disk, root).unwrap();
    let [esp, esp_len] = range(2);
    judges::fsck_fat_n(&disk, esp, esp_len).unwrap();
    let tree = TreeDigest::of_ext(&disk, root);
    assert_eq!(tree.get("/etc/shadow").unwrap().mode, 0o640);
    assert_eq!(tree.get("/home/debian").unwrap().uid, 1000);
    assert_eq!(tree.get("/etc/os-release").unwrap().target.as_deref(), Some(b"../usr/lib/os-release".as_slice()));
}

/// The script makes what is kept, byte for byte: with the e2fsprogs that made it.
#[test]
fn fixtures_are_reproducible() {
    if !require(&["mke2fs", "debugfs", "faketime", "sgdisk", "mcopy", "qemu-img"]) {
        return;
    }
    let version = text(&output(command("mke2fs").arg("-V")));
    if !version.contains("1.47.0") {
        eprintln!("skipped: the fixtures were made with e2fsprogs 1.47.0, here is {}", version.trim());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = fixture::folder().join("../make-fixtures.sh");
    let done = output(std::process::Command::new(script).arg(folder.path()));
    assert!(done.status.success(), "{}", text(&done));
    let count = |folder: &std::path::Path| std::fs::read_dir(folder).unwrap().count();
    assert_eq!(count(folder.path()), count(&fixture::folder()), "the script makes other files than those kept");
    for entry in std::fs::read_dir(fixture::folder()).unwrap() {
        let kept = entry.unwrap();
        // How qcow2 and gzip pack is their business and changes with their versions: compare what is inside.
        let name = kept.file_name().into_string().unwrap();
        let made = folder.path().join(&name);
        if name.ends_with(".qcow2") {
            judges::qemu_img_compare(&kept.path(), "qcow2", &made, "qcow2").unwrap();
        } else {
            let made = fixture::unpack(&made);
            assert!(made == fixture::unpack(&kept.path()), "{name} differs from what the script makes");
        }
    }
}
