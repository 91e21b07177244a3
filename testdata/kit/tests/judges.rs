//! Each judge complains about what it is there for: one that is always content judges nothing.

use nomount_kit::judges::{self, Leaks};
use nomount_kit::tool::{command, output};
use nomount_kit::{fixture, require, scratch};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

fn flip(path: &Path, offset: u64) {
    let file: File = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn e2fsck_sees_a_wrong_bit_at_any_offset_and_an_unreplayed_log() {
    if !require(&["e2fsck", "dumpe2fs"]) {
        return;
    }
    let image = fixture::file("ext4-147");
    judges::e2fsck_fn(&image, 0).unwrap();
    // Free blocks of the superblock, low byte; the checksum then differs too.
    flip(&image, 1024 + 0x0c);
    let complaint = judges::e2fsck_fn(&image, 0).unwrap_err().to_string();
    assert!(complaint.contains("e2fsck -fn"), "{complaint}");
    // The same inside a disk.
    let disk = scratch::file();
    let offset = 3 << 20;
    for (name, right) in [("ext4-2k", true), ("dirty-csum3", false)] {
        disk.as_file().write_all_at(&fixture::bytes(name), offset).unwrap();
        assert_eq!(judges::e2fsck_fn(disk.path(), offset).is_ok(), right, "{name}");
    }
    disk.as_file().write_all_at(b"the bytes before it", 0).unwrap();
    judges::e2fsck_recover(disk.path(), offset).unwrap();
    judges::e2fsck_fn(disk.path(), offset).unwrap();
    let mut before = [0; 19];
    disk.as_file().read_exact_at(&mut before, 0).unwrap();
    assert_eq!(&before, b"the bytes before it");
}

#[test]
fn qemu_img_tells_leaks_from_corruption() {
    if !require(&["qemu-img"]) {
        return;
    }
    let image = scratch::file().into_temp_path();
    let made = output(command("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("1M"));
    assert!(made.status.success());
    judges::qemu_img_check(&image, Leaks::Refused).unwrap();
    let file = OpenOptions::new().write(true).open(&image).unwrap();
    // Cluster 5 is in use by the refcount block (at cluster 2), and nothing points at it.
    file.set_len(6 << 16).unwrap();
    file.write_all_at(&[0, 1], (2 << 16) + 5 * 2).unwrap();
    judges::qemu_img_check(&image, Leaks::Allowed).unwrap();
    judges::qemu_img_check(&image, Leaks::Refused).unwrap_err();
    // The first L1 entry (table at cluster 3) points beyond the file.
    file.write_all_at(&(1u64 << 63 | 1 << 40).to_be_bytes(), 3 << 16).unwrap();
    judges::qemu_img_check(&image, Leaks::Allowed).unwrap_err();
}

#[test]
fn table_and_fat_judges_see_damage_and_sfdisk_forgets_the_path() {
    if !require(&["qemu-img", "sgdisk", "sfdisk", "fsck.fat"]) {
        return;
    }
    let disk = scratch::raw_of(&fixture::guest(), "qcow2");
    let copy = scratch::copy(&disk);
    assert_eq!(judges::sfdisk_json(&disk).unwrap(), judges::sfdisk_json(&copy).unwrap());
    let (esp, len) = (2 << 20, 10 << 20);
    judges::fsck_fat_n(&copy, esp, len).unwrap();
    // The end of a chain in the first FAT, which begins after the reserved sectors, becomes a cluster beyond the end.
    let mut reserved = [0; 2];
    File::open(&copy).unwrap().read_exact_at(&mut reserved, esp + 14).unwrap();
    flip(&copy, esp + u64::from(u16::from_le_bytes(reserved)) * 512 + 7);
    judges::fsck_fat_n(&copy, esp, len).unwrap_err();
    judges::sgdisk_v(&copy).unwrap();
    flip(&copy, 512 + 40);
    judges::sgdisk_v(&copy).unwrap_err();
    judges::qemu_img_compare(&disk, "raw", &copy, "raw").unwrap_err();
}
