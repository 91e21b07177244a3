//! Usage of users, groups and projects stays right: e2fsck's pass 6 counts everything anew and compares.

use crate::common::{OPTIONS, bytes, finish, judged, open_staged, typical_change};
use nomount_block::{Memory, WriteAt};
use nomount_ext::{Attrs, Error, FileType, Filesystem, New, ROOT_INO};
use nomount_kit::{fixture, require, scratch};
use std::process::Command;

const PROJINHERIT: u32 = 0x2000_0000;

/// `repquota`, by e2fsprogs: usage as the quota file of `kind` says it, by id.
fn listed(image: &Memory, kind: &str) -> Vec<(u32, u64, u64)> {
    let file = scratch::device(image);
    let done = Command::new("debugfs").arg("-R").arg(format!("list_quota {kind}")).arg(&file).output().unwrap();
    let numbers = |line: &str| -> Option<Vec<u64>> { line.split_whitespace().map(|word| word.parse().ok()).collect() };
    let text = String::from_utf8(done.stdout).unwrap();
    let rows: Vec<Vec<u64>> = text.lines().filter_map(numbers).filter(|row| row.len() > 5).collect();
    assert!(!rows.is_empty(), "{text}");
    // id, blocks, quota, limit, inodes, quota, limit
    rows.into_iter().map(|row| (row[0] as u32, row[1], row[4])).collect()
}

fn usage(image: &Memory, kind: &str, id: u32) -> Option<(u64, u64)> {
    listed(image, kind).into_iter().find(|row| row.0 == id).map(|(_, space, inodes)| (space, inodes))
}

/// The bytes that files of `owner` use, by our own walk.
fn counted<D: WriteAt>(fs: &Filesystem<D>, owner: u32) -> (u64, u64) {
    let inodes = (1..=fs.geometry().inodes_count).filter_map(|ino| fs.inode(ino).ok());
    let theirs = inodes.filter(|inode| inode.links() > 0 && inode.uid() == owner && inode.ino() >= 11);
    theirs.fold((0, 0), |(space, count), inode| (space + inode.blocks_512(fs.geometry()) * 512, count + 1))
}

#[test]
fn usage_follows_every_change() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for name in ["quota", "project"] {
        let mut fs = open_staged(fixture::memory(name));
        typical_change(&mut fs).unwrap();
        let etc = fs.resolve(b"/etc").unwrap();
        let file = fs.create(etc, b"owned", &New::File, Attrs { uid: Some(1234), ..Attrs::default() }).unwrap();
        fs.write_contents(file, &bytes(50_000, 1)).unwrap();
        fs.set_xattr(file, b"user.long", Some(&bytes(700, 2))).unwrap();
        let (space, inodes) = counted(&fs, 1234);
        assert_eq!(inodes, 1);
        let image = finish(fs);
        judged(name, &image);
        assert_eq!(usage(&image, "user", 1234), Some((space, inodes)), "{name}");

        let mut fs = open_staged(image);
        fs.set_attrs(file, Attrs { uid: Some(u32::MAX - 1), gid: Some(77), ..Attrs::default() }).unwrap();
        fs.write_contents(file, b"short").unwrap();
        fs.set_xattr(file, b"user.long", None).unwrap();
        let image = finish(fs);
        judged(name, &image);
        assert_eq!(usage(&image, "user", 1234), Some((0, 0)), "{name}");
        assert_eq!(usage(&image, "user", u32::MAX - 1), Some((1024, 1)), "{name}");
        assert_eq!(usage(&image, "group", 77), Some((1024, 1)), "{name}");
    }
}

/// Names, contents of all kinds, removal: nobody is left with more or less than what is there.
#[test]
fn usage_follows_names_and_contents() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open_staged(fixture::memory("project"));
    let owner = |uid| Attrs { uid: Some(uid), gid: Some(uid + 1), project: Some(uid + 2), ..Attrs::default() };
    let dir = fs.create(ROOT_INO, b"dir", &New::Dir, owner(100)).unwrap();
    let make = |fs: &mut crate::common::Staged, name: &str, uid, len| {
        let ino = fs.create(dir, name.as_bytes(), &New::File, owner(uid)).unwrap();
        fs.write_contents(ino, &bytes(len, 1)).unwrap();
        ino
    };
    let holes = make(&mut fs, "holes", 200, 30_000);
    fs.punch(holes, 5000, 15_000).unwrap();
    fs.write_at(holes, 1 << 20, &bytes(3000, 2)).unwrap();
    let ahead = make(&mut fs, "ahead", 200, 10);
    fs.allocate(ahead, 0, 50_000).unwrap();
    let cut = make(&mut fs, "cut", 300, 60_000);
    fs.truncate(cut, 1000).unwrap();
    let linked = make(&mut fs, "linked", 300, 5000);
    fs.link(linked, ROOT_INO, b"second").unwrap();
    fs.unlink(dir, b"linked").unwrap();
    make(&mut fs, "gone", 400, 9000);
    let image = finish(fs);
    judged("made", &image);
    assert_eq!(usage(&image, "user", 400).unwrap().1, 1);

    let mut fs = open_staged(image);
    fs.unlink(dir, b"gone").unwrap();
    fs.create(dir, b"over", &New::File, owner(500)).unwrap();
    fs.rename(dir, b"over", dir, b"cut").unwrap();
    let image = finish(fs);
    judged("replaced", &image);
    assert_eq!(usage(&image, "user", 400), Some((0, 0)));
    assert_eq!(usage(&image, "project", 502), Some((0, 1)));

    let mut fs = open_staged(image);
    fs.remove_tree(ROOT_INO, b"dir").unwrap();
    let image = finish(fs);
    judged("removed", &image);
    assert_eq!(usage(&image, "user", 100), Some((0, 0)));
    assert_eq!(usage(&image, "group", 201), Some((0, 0)));
    assert_eq!(usage(&image, "user", 300).unwrap().1, 1);
}

/// Enough ids for entries to fill blocks, and for every level of the tree to get new ones; the file must grow.
#[test]
fn new_owners_make_the_tree_grow() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open_staged(fixture::memory("project"));
    let before = fs.free_blocks_count();
    for index in 0..120u32 {
        let id = index.wrapping_mul(0x0123_4567) ^ index;
        let attrs = Attrs { uid: Some(id), gid: Some(index), project: Some(!id), ..Attrs::default() };
        let ino = fs.create(ROOT_INO, format!("f{index}").as_bytes(), &New::File, attrs).unwrap();
        fs.write_contents(ino, &bytes(index as usize * 100, 1)).unwrap();
        if index == 60 {
            fs.commit().unwrap();
        }
    }
    assert!(before - fs.free_blocks_count() > 300);
    let image = finish(fs);
    judged("project", &image);
    assert!(listed(&image, "user").len() >= 120);
    assert!(listed(&image, "project").len() >= 120);
}

#[test]
fn a_rollback_takes_usage_back() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open_staged(fixture::memory("quota"));
    let mark = fs.savepoint();
    for id in 100..130 {
        let attrs = Attrs { uid: Some(id), ..Attrs::default() };
        fs.create(ROOT_INO, format!("f{id}").as_bytes(), &New::File, attrs).unwrap();
    }
    fs.rollback(mark);
    fs.create(ROOT_INO, b"one", &New::File, Attrs { uid: Some(5), ..Attrs::default() }).unwrap();
    let image = finish(fs);
    judged("quota", &image);
    assert_eq!(usage(&image, "user", 100), None);
    assert_eq!(usage(&image, "user", 5), Some((0, 1)));
}

#[test]
fn projects_are_given_and_inherited() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open_staged(fixture::memory("project"));
    let attrs = Attrs { project: Some(9), flags: Some(PROJINHERIT), ..Attrs::default() };
    let dir = fs.create(ROOT_INO, b"nine", &New::Dir, attrs).unwrap();
    let sub = fs.create(dir, b"sub", &New::Dir, Attrs::default()).unwrap();
    let file = fs.create(sub, b"file", &New::File, Attrs::default()).unwrap();
    let other = fs.create(sub, b"other", &New::File, Attrs { project: Some(10), ..Attrs::default() }).unwrap();
    let moved = fs.create(sub, b"moved", &New::File, Attrs::default()).unwrap();
    fs.write_contents(moved, &bytes(3000, 1)).unwrap();
    fs.set_attrs(moved, Attrs { project: Some(11), ..Attrs::default() }).unwrap();
    let projects = [dir, sub, file, other, moved].map(|ino| fs.inode(ino).unwrap().project());
    assert_eq!(projects, [9, 9, 9, 10, 11]);
    assert_eq!(fs.inode(sub).unwrap().flags() & PROJINHERIT, PROJINHERIT);
    assert_eq!(fs.inode(file).unwrap().flags() & PROJINHERIT, 0);
    let image = finish(fs);
    judged("project", &image);
    assert_eq!(usage(&image, "project", 9).unwrap().1, 3);
    assert_eq!(usage(&image, "project", 11), Some((3072, 1)));

    let mut fs = open_staged(fixture::memory("quota"));
    let root = fs.inode(ROOT_INO).unwrap();
    assert_eq!(root.file_type(), Some(FileType::Directory));
    for refused in [
        fs.set_attrs(ROOT_INO, Attrs { project: Some(1), ..Attrs::default() }).unwrap_err(),
        fs.create(ROOT_INO, b"p", &New::File, Attrs { project: Some(1), ..Attrs::default() }).unwrap_err(),
    ] {
        assert!(matches!(&refused, Error::Unsupported(text) if text.contains("project")), "{refused}");
    }
    assert!(fs.commit().unwrap().is_empty());
}

/// Spoiled quota files end in an error, not in a loop or a panic.
#[test]
fn hostile_quota_files() {
    let plain = fixture::bytes("quota");
    let header = 0xD9C0_1F11u32.to_le_bytes();
    let starts = plain.chunks(1024).position(|block| block[..4] == header).unwrap() * 1024;
    for at in (0..32).chain((1024..1024 + 64).step_by(4)).chain((2048..2200).step_by(4)) {
        for value in [0u32, 1, 2, 0x7FFF_FFFF, u32::MAX] {
            let mut image = plain.clone();
            if starts + at + 4 > image.len() {
                continue;
            }
            image[starts + at..starts + at + 4].copy_from_slice(&value.to_le_bytes());
            let mut fs = Filesystem::open_for_write(Memory::new(image), OPTIONS).unwrap();
            for uid in [0, 7, 0x0100_0000] {
                let attrs = Attrs { uid: Some(uid), ..Attrs::default() };
                let name = format!("f{uid}");
                match fs.create(ROOT_INO, name.as_bytes(), &New::File, attrs) {
                    Ok(_) | Err(Error::Corrupt(_) | Error::HalfDone) => {}
                    Err(error) => panic!("byte {at}, {value:#x}: {error}"),
                }
            }
        }
    }
}
