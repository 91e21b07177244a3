//! The full Debian images are what the benchmarks and end-to-end tests take them for.

use nomount_kit::debian::{self, Container, Layout, Release};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{TreeDigest, require, scratch};

const TOOLS: &[&str] = &["qemu-img", "sgdisk", "sfdisk", "e2fsck", "debugfs", "fsck.fat"];

#[test]
fn disks_are_right_and_hold_the_same_whole_system() {
    if !require(TOOLS) {
        return;
    }
    for release in Release::ALL {
        let mut trees = Vec::new();
        for layout in Layout::ALL {
            let Some(disk) = debian::image(release, layout, Container::Raw) else { return };
            let offset = layout.root_offset();
            judges::e2fsck_fn(&disk, offset).unwrap();
            match layout {
                Layout::Gpt => {
                    judges::sgdisk_v(&disk).unwrap();
                    judges::fsck_fat_n(&disk, 4 << 20, 124 << 20).unwrap();
                }
                Layout::Mbr => {
                    let table = judges::sfdisk_json(&disk).unwrap();
                    let root = &table["partitiontable"]["partitions"][2];
                    assert_eq!((&root["node"], root["start"].as_u64().unwrap() * 512), (&"5".into(), offset));
                    judges::e2fsck_fn(&disk, 1 << 20).unwrap();
                }
                _ => {}
            }
            trees.push(TreeDigest::of_ext(&disk, offset));
        }
        assert!(trees[0].entries.len() > 10_000, "{release:?}: {} files", trees[0].entries.len());
        for path in ["/usr/sbin/sshd", "/usr/lib/systemd/systemd", "/etc/network/interfaces", "/etc/shadow"] {
            assert!(trees[0].get(path).is_some(), "{release:?}: no {path}");
        }
        assert!(trees[0].entries.values().any(|entry| !entry.xattrs.is_empty()), "{release:?}: no attribute");
        assert!(trees[0].entries.values().any(|entry| entry.gid == 42), "{release:?}: owners are lost");
        let contents = |tree: &TreeDigest| -> Vec<_> {
            tree.entries.iter().map(|(path, e)| (path.clone(), e.mode, e.uid, e.gid, e.mtime.0, e.content)).collect()
        };
        assert!(contents(&trees[0])[1..] == contents(&trees[1])[1..], "{release:?}: gpt and mbr differ");
    }
}

#[test]
fn containers_hold_the_raw_disk() {
    if !require(TOOLS) {
        return;
    }
    let Some(raw) = debian::image(Release::Trixie, Layout::Gpt, Container::Raw) else { return };
    for container in Container::ALL.into_iter().filter(|container| *container != Container::Raw) {
        let Some(image) = debian::image(Release::Trixie, Layout::Gpt, container) else { return };
        judges::qemu_img_check(&image, Leaks::Refused).unwrap();
        judges::qemu_img_compare(&raw, "raw", &image, "qcow2").unwrap();
    }
}

#[test]
fn the_huge_disk_costs_little_and_a_window_of_it_is_the_esp() {
    if !require(TOOLS) {
        return;
    }
    let Some(huge) = debian::image(Release::Bookworm, Layout::Huge, Container::Raw) else { return };
    let meta = std::fs::metadata(&huge).unwrap();
    assert_eq!(meta.len(), 2 << 40);
    let used = std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
    assert!(used < 2 << 30, "{used} bytes on the host");
    judges::sgdisk_v(&huge).unwrap();
    let esp = scratch::window(&huge, 4 << 20, 124 << 20);
    judges::fsck_fat_n(&esp, 0, 124 << 20).unwrap();
}
