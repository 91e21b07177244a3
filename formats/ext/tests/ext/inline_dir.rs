//! Directories in their inodes: made, filled until they leave, emptied, moved.

use crate::common::judged::{Staged, ask, clean, finish, judged, mkdir, open};
use crate::common::made::mke2fs;
use nomount_block::Memory;
use nomount_ext::{Attrs, New, ROOT_INO};
use nomount_kit::require;

const INLINE_DATA: u32 = 0x1000_0000;

fn empty(features: &str) -> Memory {
    mke2fs(&["-t", "ext4", "-b", "1024", "-I", "256", "-O", features, "-N", "256"], 8 << 20)
}

const FEATURES: [&str; 2] = [
    "inline_data,ext_attr,extent,filetype,dir_index,metadata_csum,64bit,has_journal",
    "inline_data,ext_attr,filetype,^metadata_csum,^has_journal",
];

fn is_inline(fs: &Staged, ino: u32) -> bool {
    fs.inode(ino).unwrap().flags() & INLINE_DATA != 0
}

#[test]
fn a_new_directory_is_inline_until_it_is_full_and_stays_in_a_block() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for features in FEATURES {
        let mut fs = open(empty(features));
        let dir = mkdir(&mut fs, ROOT_INO, b"d");
        assert!(is_inline(&fs, dir));
        let free = fs.free_blocks_count();
        let mut names = Vec::new();
        // Each state is judged: in the inode's map, in system.data, in a block, in an index.
        for number in 0..120 {
            let name = format!("name-{number:03}");
            fs.create(dir, name.as_bytes(), &New::Fifo, Attrs::default()).unwrap();
            names.push(name);
            for name in &names {
                assert!(fs.lookup(dir, name.as_bytes()).unwrap().is_some(), "{name}");
            }
            if number < 12 {
                let image = finish(fs);
                judged(&format!("{features} {number}"), &image);
                fs = open(image);
            }
            let inline = is_inline(&fs, dir);
            assert_eq!(inline, fs.free_blocks_count() == free, "{number}");
            assert!(inline || number >= 4, "{number}");
        }
        assert!(!is_inline(&fs, dir));
        assert_eq!(fs.lookup(dir, b"..").unwrap().unwrap().ino, ROOT_INO);
        let image = finish(fs);
        let tree = judged(features, &image);
        assert_eq!(tree.entries.keys().filter(|path| path.starts_with(b"/d/")).count(), 120);
        let mut fs = open(image);
        assert_eq!(fs.remove_tree(ROOT_INO, b"d").unwrap(), 121);
        judged(features, &finish(fs));
    }
}

#[test]
fn names_go_from_both_parts_and_their_room_is_used_again() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for features in FEATURES {
        let mut fs = open(empty(features));
        let dir = mkdir(&mut fs, ROOT_INO, b"d");
        let name = |number: u32| format!("name-{number:03}").into_bytes();
        // Three fill the map's place, the fourth is in system.data.
        for number in 0..4 {
            fs.create(dir, &name(number), &New::Fifo, Attrs::default()).unwrap();
        }
        let size = fs.inode(dir).unwrap().size();
        assert!(size > 60, "{size}");
        for first in [0, 1, 2, 3] {
            fs.unlink(dir, &name(first)).unwrap();
            let image = finish(fs);
            clean(&format!("{features} without {first}"), &image);
            fs = open(image);
            fs.create(dir, &name(first), &New::Socket, Attrs::default()).unwrap();
        }
        assert!(is_inline(&fs, dir));
        assert_eq!(fs.inode(dir).unwrap().size(), size);
        for number in 0..4 {
            fs.rename(dir, &name(number), dir, &name(number + 100)).unwrap();
        }
        let image = finish(fs);
        let tree = judged(features, &image);
        assert!(tree.get("/d/name-103").is_some());
        let mut fs = open(image);
        for number in 0..4 {
            fs.unlink(dir, &name(number + 100)).unwrap();
        }
        fs.rmdir(ROOT_INO, b"d").unwrap();
        judged(features, &finish(fs));
    }
}

#[test]
fn inline_directories_move_and_their_parent_follows() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for features in FEATURES {
        let mut fs = open(empty(features));
        let a = mkdir(&mut fs, ROOT_INO, b"a");
        let b = mkdir(&mut fs, a, b"b");
        let c = mkdir(&mut fs, b, b"c");
        assert!(fs.rename(ROOT_INO, b"a", c, b"x").is_err());
        fs.rename(b, b"c", ROOT_INO, b"c").unwrap();
        fs.rename(a, b"b", c, b"b").unwrap();
        assert_eq!(fs.lookup(b, b"..").unwrap().unwrap().ino, c);
        // Attributes take the room that names would have had, and the other way round.
        fs.set_xattr(c, b"user.much", Some(&[7; 60])).unwrap();
        for number in 0..8 {
            mkdir(&mut fs, c, format!("sub-{number}").as_bytes());
        }
        let image = finish(fs);
        let tree = judged(features, &image);
        assert_eq!(tree.get("/c").unwrap().links, 11);
        assert_eq!(tree.get("/c").unwrap().xattrs["user.much"], [7; 60]);
        assert!(ask(&image, "ls -l /c/b").contains(".."));
    }
}
