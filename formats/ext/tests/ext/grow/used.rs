//! What has grown is used: at once, before it is committed, and until it is full; and it is given up again.

use super::{EXT2, EXT3, EXT4, OnFile, finish, judged, make, open, populate};
use crate::common::{OPTIONS, bytes, in_parallel, our_digest};
use nomount_block::{Fault, FaultPlan, Memory, SetLen, WriteAt};
use nomount_ext::{Attrs, Error, Filesystem, New, ROOT_INO};
use nomount_kit::require;

/// Files of up to 1 MiB, of `total` bytes together or until no more fits. Gives how many there are.
pub fn fill<D: WriteAt>(fs: &mut Filesystem<D>, total: u64) -> usize {
    let dir = fs.create(ROOT_INO, b"full", &New::Dir, Attrs::default()).unwrap();
    let piece = bytes(1 << 20, 3);
    let (mut done, mut files) = (0, 0);
    while done < total {
        let ino = fs.create(dir, format!("{files}").as_bytes(), &New::File, Attrs::default()).unwrap();
        files += 1;
        match fs.write_contents(ino, &piece[..piece.len() - files % 5000]) {
            Ok(()) => done += piece.len() as u64,
            Err(Error::NoSpace { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    files
}

const KINDS: &[(&str, &str)] = &[
    (EXT4, "-b 1024 -I 256"),
    (EXT4, "-b 4096 -I 256"),
    (EXT3, "-b 1024"),
    (EXT2, "-b 1024"),
    ("extent,filetype,sparse_super,uninit_bg,resize_inode", "-b 1024"),
    ("extent,filetype,sparse_super,metadata_csum,flex_bg,bigalloc", "-b 1024 -C 8192"),
];

/// The last file does not fit, and is undone; all before it are there.
fn fill_to_the_end(fs: &mut OnFile) -> usize {
    let dir = fs.create(ROOT_INO, b"full", &New::Dir, Attrs::default()).unwrap();
    let piece = bytes(1 << 20, 3);
    for number in 0.. {
        let mark = fs.savepoint();
        let made = fs
            .create(dir, format!("{number}").as_bytes(), &New::File, Attrs::default())
            .and_then(|ino| fs.write_contents(ino, &piece));
        match made {
            Ok(()) => {}
            Err(Error::NoSpace { .. }) => {
                fs.rollback(mark);
                return number;
            }
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the filesystem has an end")
}

#[test]
fn new_space_is_filled_in_the_same_commit_and_in_the_next() {
    if !require(&["mke2fs", "e2fsck", "debugfs", "dumpe2fs", "resize2fs"]) {
        return;
    }
    let cases = KINDS.iter().flat_map(|kind| [(*kind, true), (*kind, false)]);
    in_parallel(cases, |((features, options), at_once)| {
        let name = &format!("{features} {options}, at once: {at_once}");
        let file = make(17_000, features, options);
        file.as_file().set_len(60_000 << 10).unwrap();
        let mut fs = open(file.path());
        populate(&mut fs);
        let blocks = (60_000 << 10) / u64::from(fs.geometry().block_size);
        fs.grow(blocks).unwrap();
        if !at_once {
            fs.commit().unwrap();
        }
        let files = fill_to_the_end(&mut fs);
        assert!(files > 35, "{name}: {files} MiB");
        super::assert_sound(name, "before the commit", &fs);
        finish(fs);
        judged(name, file.path());
        // It knows neither filesystems without file types nor bigalloc.
        if features.contains("dir_index") {
            let other = ext4_view::Ext4::load(Box::new(std::fs::read(file.path()).unwrap())).unwrap();
            let last = format!("/full/{}", files - 1);
            assert!(other.read(last.as_str()).unwrap() == bytes(1 << 20, 3), "{name}: {last}");
        }
    });
}

/// Nothing of the old part changes before the commit, and a rollback leaves nothing to commit.
#[test]
fn a_rollback_takes_it_back() {
    for (features, options) in KINDS {
        let file = make(17_000, features, options);
        let mut base = Memory::new(std::fs::read(file.path()).unwrap());
        base.set_len(200 << 20).unwrap();
        let mut fs = Filesystem::open_for_write(base.clone(), OPTIONS).unwrap();
        let (tree, old) = (our_digest(&fs), fs.info());
        let size = u64::from(fs.geometry().block_size);
        let mark = fs.savepoint();
        fs.grow((100 << 20) / size).unwrap();
        let inner = fs.savepoint();
        let grown = fs.info();
        fs.grow((200 << 20) / size).unwrap();
        let end = (old.blocks * size) as usize;
        assert!(fs.device().bytes()[..end] == base.bytes()[..end], "{features}: the old part was written");
        populate(&mut fs);
        fs.rollback(inner);
        assert_eq!((fs.info().blocks, fs.info().free_blocks), (grown.blocks, grown.free_blocks), "{features}");
        super::assert_sound(features, "back to the first growth", &fs);
        fs.rollback(mark);
        assert_eq!(fs.geometry().blocks_count, old.blocks, "{features}");
        assert_eq!(fs.info().free_inodes, old.free_inodes, "{features}");
        assert!(our_digest(&fs) == tree, "{features}");
        assert!(fs.commit().unwrap().is_empty(), "{features}");

        // And again, as if nothing had been.
        fs.grow((150 << 20) / size).unwrap();
        populate(&mut fs);
        super::assert_sound(features, "grown after all", &fs);
        fs.commit().unwrap();
        super::assert_sound(features, "committed", &fs);
    }
}

/// What is as long as wanted writes nothing; a change of other things leaves copies alone.
#[test]
fn what_does_not_grow_writes_no_copies() {
    let file = make(40_000, EXT4, "-b 1024");
    let image = Memory::new(std::fs::read(file.path()).unwrap());
    let mut device = Fault::new(image, FaultPlan::default());
    let mut fs = Filesystem::open_for_write(&mut device, OPTIONS).unwrap();
    let grown = fs.grow(40_000).unwrap();
    assert!(grown.is_empty() && fs.commit().unwrap().is_empty(), "{grown:?}");
    populate(&mut fs);
    fs.commit().unwrap();
    let start = fs.geometry().group_start(1) * 1024;
    drop(fs);
    let touches_copy = |record: &nomount_block::Record| match record {
        nomount_block::Record::Write { offset, .. } => (start..start + 2048).contains(offset),
        _ => false,
    };
    assert!(!device.log().iter().any(touches_copy));
}

/// The checker knows where meta_bg has its copies of descriptors.
#[test]
fn a_spoiled_copy_of_spread_descriptors_is_told() {
    let file = make(20_000, &format!("{EXT4},meta_bg"), "-b 1024 -g 1024 -N 1000 -J size=1");
    file.as_file().set_len(60_000 << 10).unwrap();
    let mut fs = open(file.path());
    fs.grow(60_000).unwrap();
    finish(fs);
    let image = Memory::new(std::fs::read(file.path()).unwrap());
    let geo = Filesystem::open(&image, OPTIONS).unwrap().geometry().clone();
    // 16 groups to a block; copies of the second block in groups 17 and 31, of the last in its second group.
    for group in [17, 31, 49] {
        let mut spoiled = image.clone();
        let has_super = u64::from(group == 49);
        spoiled.write_at((geo.group_start(group) + has_super) * 1024 + 3, &[0x77]).unwrap();
        let report = nomount_ext::check(&spoiled, OPTIONS, &nomount_ext::CheckOptions::default()).unwrap();
        let ids: Vec<_> = report.findings().iter().map(|finding| finding.id).collect();
        assert_eq!(ids, ["NM_BACKUP_DESCRIPTOR"], "{group}: {report}");
    }
}
