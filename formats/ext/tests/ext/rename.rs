//! Every kind moved over every kind, within a directory and between two: rename(2)'s rules.

use crate::common::judged::{Staged, altered, file, finish, judged, mkdir, open};
use crate::common::{NOW, WRITABLE, bytes, in_parallel};
use nomount_block::Memory;
use nomount_ext::{Attrs, Error, FileType, New, ROOT_INO};
use nomount_kit::digest::TreeDigest;
use nomount_kit::{fixture, require};

/// What can be moved, and what can be in the way.
const KINDS: [&str; 5] = ["file", "empty", "full", "symlink", "fifo"];

fn make(fs: &mut Staged, dir: u32, name: &str, kind: &str) -> u32 {
    let name = name.as_bytes();
    match kind {
        "file" => file(fs, dir, name, &bytes(5000, 2)),
        "empty" => mkdir(fs, dir, name),
        "full" => {
            let made = mkdir(fs, dir, name);
            file(fs, made, b"inside", b"x");
            mkdir(fs, made, b"sub");
            made
        }
        "symlink" => fs.create(dir, name, &New::Symlink(b"away"), Attrs::default()).unwrap(),
        "fifo" => fs.create(dir, name, &New::Fifo, Attrs::default()).unwrap(),
        other => panic!("{other}"),
    }
}

fn is_dir(kind: &str) -> bool {
    matches!(kind, "empty" | "full")
}

fn tree(name: &str, image: &Memory) -> TreeDigest {
    judged(name, image)
}

/// Times and links of directories are checked apart from the rest.
fn moved(before: &TreeDigest, from: &str, to: &str) -> TreeDigest {
    let mut wanted = before.clone();
    wanted.entries.retain(|path, _| !(path == to.as_bytes() || path.starts_with(format!("{to}/").as_bytes())));
    let below: Vec<Vec<u8>> = wanted
        .entries
        .keys()
        .filter(|path| *path == from.as_bytes() || path.starts_with(format!("{from}/").as_bytes()))
        .cloned()
        .collect();
    for path in below {
        let entry = wanted.entries.remove(&path).unwrap();
        wanted.entries.insert([to.as_bytes(), &path[from.len()..]].concat(), entry);
    }
    wanted
}

#[test]
fn every_kind_over_every_kind() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        // One image with a pair of directories for each case, so that the judges run twice.
        let mut fs = open(fixture::memory(name));
        let top = mkdir(&mut fs, ROOT_INO, b"matrix");
        let mut cases = Vec::new();
        for source in KINDS {
            for target in KINDS.iter().copied().chain(["none"]) {
                for across in [false, true] {
                    let case = format!("{source}-{target}-{}", if across { "across" } else { "within" });
                    let here = mkdir(&mut fs, top, case.as_bytes());
                    let there = if across { mkdir(&mut fs, here, b"there") } else { here };
                    make(&mut fs, here, "s", source);
                    if target != "none" {
                        make(&mut fs, there, "t", target);
                    }
                    cases.push((case, here, there, source, target));
                }
            }
        }
        let image = finish(fs);
        let before = tree(name, &image);
        let mut wanted = before.clone();
        let fine = before.get("/").unwrap().crtime.is_some();
        let now = (NOW.sec, if fine { NOW.nsec } else { 0 });
        let mut fs = open(image);
        for (case, here, there, source, target) in &cases {
            let result = fs.rename(*here, b"s", *there, b"t");
            let base = format!("/matrix/{case}");
            let to = if here == there { format!("{base}/t") } else { format!("{base}/there/t") };
            match (is_dir(source), *target) {
                (true, "file" | "symlink" | "fifo") => assert!(matches!(result, Err(Error::NotDirectory)), "{case}"),
                (false, "empty" | "full") => assert!(matches!(result, Err(Error::IsDirectory)), "{case}"),
                (true, "full") => assert!(matches!(result, Err(Error::NotEmpty)), "{case}"),
                _ => {
                    result.unwrap_or_else(|e| panic!("{name}: {case}: {e}"));
                    wanted = moved(&wanted, &format!("{base}/s"), &to);
                    wanted.entries.get_mut(to.as_bytes()).unwrap().ctime = now;
                    let across = here != there;
                    let lost = u32::from(is_dir(source) && (across || *target == "empty"));
                    wanted.entries.get_mut(base.as_bytes()).unwrap().links -= lost;
                    let gained = u32::from(is_dir(source) && across && *target != "empty");
                    let new_parent = &to[..to.len() - 2];
                    wanted.entries.get_mut(new_parent.as_bytes()).unwrap().links += gained;
                }
            }
        }
        let after = tree(name, &finish(fs));
        let plain = |mut tree: TreeDigest| {
            tree.entries.values_mut().filter(|e| e.kind == nomount_kit::digest::Kind::Dir).for_each(|e| e.size = 0);
            tree
        };
        let changes = plain(wanted).diff(&plain(after));
        assert!(changes.is_empty(), "{name}: {changes:#?}");
    });
}

#[test]
fn two_names_of_one_inode_stay_and_dots_follow_directories() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        let mut fs = open(fixture::memory(name));
        let dir = mkdir(&mut fs, ROOT_INO, b"d");
        let one = file(&mut fs, dir, b"one", b"1");
        fs.link(one, ROOT_INO, b"two").unwrap();
        fs.rename(dir, b"one", ROOT_INO, b"two").unwrap();
        fs.rename(dir, b"one", dir, b"one").unwrap();
        fs.rename(ROOT_INO, b"d", ROOT_INO, b"d").unwrap();
        assert_eq!(fs.inode(one).unwrap().links(), 2);
        assert_eq!((fs.resolve(b"/d/one").unwrap(), fs.resolve(b"/two").unwrap()), (one, one));
        // A directory with an index: its `..` is in the root of the index.
        let big = mkdir(&mut fs, dir, b"big");
        for number in 0..300 {
            let name = format!("{number:-<100}");
            fs.link(one, big, name.as_bytes()).unwrap();
        }
        let deep = mkdir(&mut fs, big, b"deep");
        fs.rename(dir, b"big", ROOT_INO, b"moved").unwrap();
        assert_eq!(fs.lookup(big, b"..").unwrap().unwrap().ino, ROOT_INO);
        for (tree, into) in [(ROOT_INO, big), (ROOT_INO, deep)] {
            let error = fs.rename(tree, b"moved", into, b"inside").unwrap_err();
            assert!(matches!(error, Error::Invalid(_)), "{name}: {error}");
        }
        // Upwards is fine; over the directory that holds it is not.
        assert!(matches!(fs.rename(big, b"deep", ROOT_INO, b"moved"), Err(Error::NotEmpty)));
        fs.rename(big, b"deep", ROOT_INO, b"deep").unwrap();
        let after = tree(name, &finish(fs));
        assert_eq!(after.get("/two").unwrap().links, 302, "{name}");
        assert_eq!(after.get("/moved").unwrap().links, 2, "{name}");
    });
}

/// The new name may split the leaf that holds the old one.
#[test]
fn renames_within_growing_directories_lose_nothing() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(["ext2-1k", "ext3-1k", "ext4-1k", "ext4-147", "large-dir", "inline-data"], |name| {
        let mut fs = open(fixture::memory(name));
        let dir = mkdir(&mut fs, ROOT_INO, b"d");
        let other = mkdir(&mut fs, ROOT_INO, b"o");
        let one = fs.create(ROOT_INO, b"one", &New::Fifo, Attrs::default()).unwrap();
        for number in 0..400u32 {
            fs.link(one, dir, number.to_string().as_bytes()).unwrap();
        }
        for number in 0..400u32 {
            let new = format!("{number:x<90}");
            let into = if number % 3 == 0 { other } else { dir };
            fs.rename(dir, number.to_string().as_bytes(), into, new.as_bytes()).unwrap();
        }
        for number in 0..400u32 {
            let into = if number % 3 == 0 { other } else { dir };
            let found = fs.lookup(into, format!("{number:x<90}").as_bytes()).unwrap().unwrap();
            assert_eq!((found.ino, found.file_type), (one, Some(FileType::Fifo)), "{name}");
            assert!(fs.lookup(dir, number.to_string().as_bytes()).unwrap().is_none());
        }
        let after = tree(name, &finish(fs));
        let count = |prefix: &[u8]| after.entries.keys().filter(|path| path.starts_with(prefix)).count();
        assert_eq!((count(b"/d/"), count(b"/o/")), (266, 134), "{name}");
    });
}

#[test]
fn projects_are_kept_apart_where_a_directory_says_so() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open(fixture::memory("ext4-147"));
    let dir = mkdir(&mut fs, ROOT_INO, b"d");
    let own = file(&mut fs, ROOT_INO, b"own", b"");
    let foreign = file(&mut fs, ROOT_INO, b"foreign", b"");
    let flags = fs.inode(dir).unwrap().flags() | 0x2000_0000;
    let image = altered(
        &finish(fs),
        &[&format!("sif /d flags {flags:#x}"), "sif /d projid 7", "sif /own projid 7", "sif /foreign projid 8"],
    );
    let mut fs = open(image);
    assert_eq!(fs.inode(dir).unwrap().project(), 7);
    assert!(matches!(fs.link(foreign, dir, b"x"), Err(Error::OtherProject(_))));
    assert!(matches!(fs.rename(ROOT_INO, b"foreign", dir, b"x"), Err(Error::OtherProject(_))));
    fs.link(own, dir, b"x").unwrap();
    fs.rename(ROOT_INO, b"own", dir, b"y").unwrap();
    fs.rename(dir, b"x", ROOT_INO, b"z").unwrap();
}
