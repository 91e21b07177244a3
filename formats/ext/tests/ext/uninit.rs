//! Groups that were never used: bitmaps that are not on the disk, inode tables full of whatever was there before.

use crate::common::{OPTIONS, in_parallel, our_digest};
use nomount_block::Memory;
use nomount_ext::{Attrs, Error, Filesystem, New, ROOT_INO};
use nomount_kit::tool::{command, output, text};
use nomount_kit::{TreeDigest, judges, require, scratch};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const INODE_ZEROED: u16 = 4;

/// Name, features beyond the common ones, block size, blocks in a group, inodes, size in bytes. The sizes leave a last
/// group that is short.
type Shape = (&'static str, &'static str, u32, u32, u32, u64);

const SHAPES: &[Shape] = &[
    ("crc16, 1 KiB, flex_bg", "uninit_bg,^metadata_csum,^64bit,flex_bg", 1024, 1024, 2048, 21 << 20),
    ("crc16, 1 KiB, no flex_bg", "uninit_bg,^metadata_csum,^64bit,^flex_bg", 1024, 1024, 2048, 21 << 20),
    ("crc16, 64bit, 4 KiB", "uninit_bg,^metadata_csum,64bit,flex_bg", 4096, 1024, 2048, 62 << 20),
    ("crc32c, 1 KiB, 32-byte descriptors", "metadata_csum,^64bit,flex_bg", 1024, 1024, 2048, 21 << 20),
    ("crc32c, 1 KiB, 64bit, no flex_bg", "metadata_csum,64bit,^flex_bg", 1024, 1024, 2048, 21 << 20),
    ("crc32c, 4 KiB, 64bit", "metadata_csum,64bit,flex_bg", 4096, 1024, 2048, 62 << 20),
    ("crc32c, 4 KiB, inodes that share blocks badly", "metadata_csum,64bit,flex_bg", 4096, 1024, 24 * 16, 62 << 20),
];

/// An empty filesystem whose unused tables and bitmaps are full of ones.
fn made(shape: &Shape) -> Vec<u8> {
    let (name, features, block, group, inodes, size) = *shape;
    let file = scratch::file();
    file.as_file().set_len(size).unwrap();
    let noise = vec![0xFF; 1 << 20];
    (0..size).step_by(1 << 20).for_each(|at| file.as_file().write_all_at(&noise, at).unwrap());
    let common = "none,has_journal,ext_attr,dir_index,filetype,sparse_super,large_file,huge_file,extent,extra_isize";
    let features = format!("{common},dir_nlink,resize_inode,{features}");
    let mut mke2fs = command("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-O", &features, "-b", &block.to_string(), "-g", &group.to_string()]);
    mke2fs.args(["-N", &inodes.to_string(), "-J", if block == 1024 { "size=1" } else { "size=4" }, "-m", "0"]);
    mke2fs.args(["-E", "lazy_itable_init=1,nodiscard"]).arg(file.path());
    let done = output(&mut mke2fs);
    assert!(done.status.success(), "{name}: {}", text(&done));
    judges::e2fsck_fn(file.path(), 0).unwrap_or_else(|e| panic!("{name}, as made: {e}"));
    fs::read(file.path()).unwrap()
}

fn judged(name: &str, image: &Memory) -> TreeDigest {
    let file = scratch::device(image);
    judges::e2fsck_fn(&file, 0).unwrap_or_else(|e| panic!("{name}: {e}"));
    zeroed_slots(name, &file);
    let ours = our_digest(&Filesystem::open(image, OPTIONS).unwrap());
    crate::common::assert_same(name, &ours, &TreeDigest::of_ext(&file, 0));
    ours
}

/// In table blocks that hold an inode there is nothing but inodes and zeroes. Linux, when it clears the rest of a table
/// later, begins with the next block, and a slot that held old noise would then be taken for a lost file.
fn zeroed_slots(name: &str, file: &Path) {
    let image = fs::read(file).unwrap();
    let fs = Filesystem::open(Memory::new(image.clone()), OPTIONS).unwrap();
    let geo = fs.geometry().clone();
    for number in 0..geo.groups {
        let group = fs.group(number).unwrap();
        if group.flags & INODE_UNINIT != 0 {
            continue;
        }
        let table = (group.inode_table * u64::from(geo.block_size)) as usize;
        let per_block = geo.block_size / u32::from(geo.inode_size);
        let in_use = (geo.inodes_per_group - group.itable_unused).next_multiple_of(per_block);
        for slot in 0..in_use.min(geo.inodes_per_group) as usize {
            let inode = &image[table + slot * usize::from(geo.inode_size)..][..usize::from(geo.inode_size)];
            assert!(inode[0x1A..0x1C] != [0xFF; 2], "{name}: slot {slot} of group {number} is noise");
        }
    }
}

fn flags(fs: &Filesystem<Memory>, flag: u16) -> usize {
    (0..fs.geometry().groups).filter(|number| fs.group(*number).unwrap().flags & flag != 0).count()
}

#[test]
fn every_group_is_taken_into_use() {
    if !require(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(SHAPES, |shape| {
        let name = shape.0;
        let mut fs = Filesystem::open_for_write(Memory::new(made(shape)), OPTIONS).unwrap();
        let geo = fs.geometry().clone();
        assert!(geo.groups >= 10, "{name}: {} groups", geo.groups);
        assert!(geo.group_blocks(geo.groups - 1) < geo.blocks_per_group, "{name}: the last group is not short");
        assert!(flags(&fs, INODE_UNINIT) >= geo.groups as usize - 2, "{name}");
        assert!(flags(&fs, BLOCK_UNINIT) > 0 && flags(&fs, INODE_ZEROED) < geo.groups as usize, "{name}");
        // First a few, so that groups are half used at a commit; then all there are.
        for (round, most) in [(0, 40), (1, 300), (2, u32::MAX)] {
            let dir = fs.create(ROOT_INO, format!("d{round}").as_bytes(), &New::Dir, Attrs::default()).unwrap();
            let mut made = 0;
            while made < most && fs.free_inodes_count() > 0 {
                fs.create(dir, format!("n{made}").as_bytes(), &New::CharDevice(1, made), Attrs::default()).unwrap();
                made += 1;
            }
            fs.commit().unwrap();
            let image = fs.into_device();
            let tree = judged(name, &image);
            let prefix = format!("/d{round}/");
            assert_eq!(tree.entries.keys().filter(|path| path.starts_with(prefix.as_bytes())).count(), made as usize);
            fs = Filesystem::open_for_write(image, OPTIONS).unwrap();
        }
        assert_eq!((fs.free_inodes_count(), flags(&fs, INODE_UNINIT)), (0, 0), "{name}");
        let error = fs.create(ROOT_INO, b"one more", &New::Fifo, Attrs::default()).unwrap_err();
        assert!(matches!(error, Error::NoInodes), "{name}: {error}");
    });
}

#[test]
fn every_block_is_taken_into_use() {
    if !require(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(SHAPES, |shape| {
        let name = shape.0;
        let mut fs = Filesystem::open_for_write(Memory::new(made(shape)), OPTIONS).unwrap();
        let block = fs.geometry().block_size as usize;
        for (number, part) in [10, 3, 1].into_iter().enumerate() {
            let ino = fs.create(ROOT_INO, format!("f{number}").as_bytes(), &New::File, Attrs::default()).unwrap();
            // What is left over is for the nodes of the map.
            let blocks = (fs.free_blocks_count() as usize / part).saturating_sub(8);
            fs.write_contents(ino, &crate::common::bytes(blocks * block, number as u8)).unwrap();
            fs.commit().unwrap();
            let image = fs.into_device();
            let tree = judged(name, &image);
            assert_eq!(tree.get(format!("/f{number}")).unwrap().size, (blocks * block) as u64, "{name}");
            fs = Filesystem::open_for_write(image, OPTIONS).unwrap();
        }
        assert!(fs.free_blocks_count() < 16, "{name}: {} free", fs.free_blocks_count());
        assert_eq!(flags(&fs, BLOCK_UNINIT), 0, "{name}");
    });
}

/// What is made and removed again in one change leaves the bitmap as it was, in a group that counts as used since.
#[test]
fn a_group_that_was_used_for_a_moment_has_its_bitmap() {
    if !require(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(SHAPES, |shape| {
        let (name, .., inodes, _) = *shape;
        let mut fs = Filesystem::open_for_write(Memory::new(made(shape)), OPTIONS).unwrap();
        let unused = |fs: &Filesystem<Memory>| {
            let groups =
                (0..fs.geometry().groups).filter(|number| fs.group(*number).unwrap().flags & INODE_UNINIT != 0);
            groups.count()
        };
        let before = unused(&fs);
        let many = inodes - fs.geometry().inodes_per_group;
        for number in 0..many {
            fs.create(ROOT_INO, format!("{number}").as_bytes(), &New::Fifo, Attrs::default()).unwrap();
        }
        for number in 0..many {
            fs.unlink(ROOT_INO, format!("{number}").as_bytes()).unwrap();
        }
        fs.commit().unwrap();
        assert!(unused(&fs) < before, "{name}: no group was used for the first time");
        let image = fs.into_device();
        judged(name, &image);
        let mut fs = Filesystem::open_for_write(image, OPTIONS).unwrap();
        for number in 0..fs.info().free_inodes {
            fs.create(ROOT_INO, format!("{number}").as_bytes(), &New::Fifo, Attrs::default()).unwrap();
        }
    });
}
