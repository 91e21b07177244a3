//! What the judges say of the images in a folder.

use nomount_kit::judges::{Leaks, e2fsck_fn, fsck_fat_n, qemu_img_check, sfdisk_json, sgdisk_v};
use nomount_kit::scratch;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes in a sector: what sfdisk assumes of a file.
const SECTOR: u64 = 512;

/// Looks at every *.raw, *.img and *.qcow2 in the folder and below: container, partition table, ext and FAT.
pub fn complaints(folder: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for image in images(folder) {
        if image.extension().is_some_and(|extension| extension == "qcow2") {
            let verdict = qemu_img_check(&image, Leaks::Refused);
            complaints.extend(verdict.err().map(|complaint| complaint.to_string()));
            disk(&scratch::raw_of(&image, "qcow2"), &mut complaints);
        } else {
            disk(&image, &mut complaints);
        }
    }
    complaints
}

fn images(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let is_image = || path.extension().is_some_and(|end| ["raw", "img", "qcow2"].iter().any(|name| end == *name));
        if kind.is_dir() {
            found.extend(images(&path));
        } else if kind.is_file() && is_image() {
            found.push(path);
        }
    }
    found
}

fn disk(raw: &Path, complaints: &mut Vec<String>) {
    let len = std::fs::metadata(raw).unwrap().len();
    let table = sfdisk_json(raw).ok().filter(|_| content(raw, 0).is_none());
    let Some(table) = table else {
        return volume(raw, 0, len, complaints);
    };
    if table["label"] == "gpt" {
        complaints.extend(sgdisk_v(raw).err().map(|complaint| complaint.to_string()));
    }
    for partition in table["partitions"].as_array().into_iter().flatten() {
        let number = |name: &str| partition[name].as_u64().expect("sfdisk tells numbers") * SECTOR;
        volume(raw, number("start"), number("size"), complaints);
    }
}

fn volume(raw: &Path, start: u64, len: u64, complaints: &mut Vec<String>) {
    let verdict = match content(raw, start) {
        Some(Content::Ext) => e2fsck_fn(raw, start),
        Some(Content::Fat) => fsck_fat_n(raw, start, len),
        None => Ok(()),
    };
    complaints.extend(verdict.err().map(|complaint| complaint.to_string()));
}

enum Content {
    Ext,
    Fat,
}

/// What lies there, by its magic number.
fn content(raw: &Path, start: u64) -> Option<Content> {
    let file = File::open(raw).unwrap();
    let at = |offset: u64, len: usize| {
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, start + offset).map(|()| bytes).unwrap_or_default()
    };
    if at(1080, 2) == [0x53, 0xef] {
        return Some(Content::Ext);
    }
    let fat = at(54, 3) == b"FAT" || at(82, 5) == b"FAT32";
    (fat && at(510, 2) == [0x55, 0xaa]).then_some(Content::Fat)
}
