//! What a large import costs: almost all of it goes to blocks that the old state does not read.

use crate::common::made::mke2fs;
use crate::common::{OPTIONS, bytes};
use nomount_block::{HostFile, Overlay, Spill};
use nomount_ext::{Attrs, CheckOptions, Filesystem, New, ROOT_INO};
use nomount_kit::{judges, require, scratch};
use std::fs::File;

const FILES: usize = 20_000;
const PER_DIR: usize = 100;
/// Longest file of the tree.
const LONGEST: usize = 12_000;
/// One large file besides, in pieces of a MiB.
const LARGE_MIB: usize = 64;

#[test]
fn a_tree_of_20_000_files_journals_fewer_than_100_blocks() {
    if !require(&["e2fsck", "mke2fs"]) {
        return;
    }
    let features = "none,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file,has_journal,extent,huge_file,\
                    flex_bg,dir_nlink,extra_isize,metadata_csum,64bit,metadata_csum_seed,orphan_file";
    let image = mke2fs(&["-b", "4096", "-I", "256", "-i", "16384", "-O", features], 512 << 20);
    let path = scratch::device(&image);
    drop(image);
    let open = || HostFile::new(File::options().read(true).write(true).open(&path).unwrap(), false).unwrap();
    // Contents go to the device at once, as in a session.
    let staged = Overlay::new(open(), Spill::Through { budget: 1 << 20 });
    let mut fs = Filesystem::open_for_write(staged, OPTIONS).unwrap();
    let contents = bytes(1 << 20, 7);
    let (mut dir, mut random) = (ROOT_INO, 1u64);
    for number in 0..FILES {
        if number % PER_DIR == 0 {
            dir = fs.create(ROOT_INO, format!("dir-{number}").as_bytes(), &New::Dir, Attrs::default()).unwrap();
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let name = format!("file-{number}");
        let ino = fs.create(dir, name.as_bytes(), &New::File, Attrs::default()).unwrap();
        fs.write_contents(ino, &contents[..(random >> 40) as usize % LONGEST]).unwrap();
    }
    let large = fs.create(ROOT_INO, b"large", &New::File, Attrs::default()).unwrap();
    (0..LARGE_MIB).for_each(|_| fs.append(large, &contents).unwrap());
    assert_eq!(fs.check(&CheckOptions::default()).unwrap().total(), 0);
    let committed = fs.commit().unwrap();
    assert!(committed.journaled && committed.transactions == 1, "{committed:?}");
    assert!(committed.protected < 100, "{committed:?}");
    eprintln!("{committed:?}");
    fs.into_device().commit().unwrap();
    judges::e2fsck_fn(&path, 0).unwrap();
}
