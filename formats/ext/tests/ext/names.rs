//! Names given and taken away: what stays, what is freed, what is refused.

use crate::common::judged::{Staged, altered, clean, file, finish, judged, mkdir, open};
use crate::common::made::mke2fs;
use crate::common::{NOW, WRITABLE, bytes, in_parallel, slow_target};
use nomount_block::Memory;
use nomount_ext::{Attrs, Error, New, ROOT_INO};
use nomount_kit::digest::{Entry, Kind, TreeDigest};
use nomount_kit::{fixture, require};

/// What is tried, what came of it, and whether that is the right error.
type Case = (&'static str, Result<(), Error>, fn(&Error) -> bool);
type Operation = fn(&mut Staged) -> Result<(), Error>;

/// Free blocks and inodes.
fn room(fs: &Staged) -> (u64, u32) {
    (fs.free_blocks_count(), fs.free_inodes_count())
}

/// Whether inodes keep more than whole seconds.
fn now(fs: &TreeDigest) -> (i64, u32) {
    let fine = fs.get("/").unwrap().crtime.is_some();
    (NOW.sec, if fine { NOW.nsec } else { 0 })
}

fn touch(tree: &mut TreeDigest, path: &str, links: i64) {
    let now = now(tree);
    let entry = tree.entries.get_mut(path.as_bytes()).unwrap();
    (entry.mtime, entry.ctime) = (now, now);
    entry.links = (i64::from(entry.links) + links) as u32;
}

fn of_inode(tree: &mut TreeDigest, inode: u32, change: impl Fn(&mut Entry)) {
    tree.entries.values_mut().filter(|entry| entry.inode == inode).for_each(change);
}

#[test]
fn links_count_names_and_the_last_one_frees_the_rest() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        let image = fixture::memory(name);
        let before = judged(name, &image);
        let mut fs = open(image);
        let dir = mkdir(&mut fs, ROOT_INO, b"d");
        let start = room(&fs);
        let made = file(&mut fs, dir, b"a", &bytes(30_000, 1));
        fs.set_xattr(made, b"user.long", Some(&bytes(600, 3))).unwrap();
        fs.link(made, dir, b"b").unwrap();
        fs.link(made, ROOT_INO, b"c").unwrap();
        assert_eq!(fs.inode(made).unwrap().links(), 3);
        assert!(matches!(fs.link(made, dir, b"a"), Err(Error::Exists)));
        fs.unlink(dir, b"a").unwrap();
        fs.unlink(dir, b"b").unwrap();
        assert!(fs.lookup(dir, b"b").unwrap().is_none());
        let mut read = vec![0; 30_000];
        assert_eq!(fs.read(made, 0, &mut read).unwrap(), 30_000);
        assert!(read == bytes(30_000, 1));
        fs.unlink(ROOT_INO, b"c").unwrap();
        let slow = fs.create(dir, b"s", &New::Symlink(&slow_target()), Attrs::default()).unwrap();
        fs.link(slow, dir, b"s2").unwrap();
        for name in [&b"s"[..], b"s2"] {
            fs.unlink(dir, name).unwrap();
        }
        assert_eq!(room(&fs), start, "{name}");
        // One of the fixture's own files, with two names.
        let passwd = fs.resolve(b"/etc/passwd").unwrap();
        fs.link(passwd, dir, b"passwd").unwrap();
        let after = judged(name, &finish(fs));

        let mut wanted = before.clone();
        touch(&mut wanted, "/", 1);
        let now = now(&before);
        of_inode(&mut wanted, passwd, |entry| (entry.links, entry.ctime) = (entry.links + 1, now));
        let entry = wanted.get("/etc/passwd").unwrap().clone();
        wanted.entries.insert(b"/d/passwd".to_vec(), entry);
        let mut found = after.clone();
        found.entries.remove(&b"/d"[..]);
        assert!(wanted.diff(&found).is_empty(), "{name}: {:#?}", wanted.diff(&found));
    });
}

#[test]
fn everything_in_every_image_can_go() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        let image = fixture::memory(name);
        let before = judged(name, &image);
        let mut fs = open(image);
        let mut names = Vec::new();
        fs.read_dir::<()>(ROOT_INO, |entry| {
            if ![&b"."[..], b"..", b"lost+found"].contains(&&entry.name[..]) {
                names.push(entry.name);
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        let mut removed = 0;
        for name in &names {
            removed += fs.remove_tree(ROOT_INO, name).unwrap();
        }
        let kept = |path: &[u8]| path == b"/" || path.starts_with(b"/lost+found");
        let gone = before.entries.keys().filter(|path| !kept(path)).count();
        assert_eq!(removed as usize, gone, "{name}");
        let image = finish(fs);
        let after = judged(name, &image);
        assert!(after.entries.keys().all(|path| kept(path)), "{name}");
        assert_eq!(after.get("/").unwrap().links, 3);
        // And the room that was freed takes new contents.
        let mut fs = open(image);
        let ino = fs.create(ROOT_INO, b"f", &New::Fifo, Attrs::default()).unwrap();
        fs.unlink(ROOT_INO, b"f").unwrap();
        let again = fs.create(ROOT_INO, b"g", &New::Fifo, Attrs::default()).unwrap();
        assert_eq!(ino, again, "{name}");
        judged(name, &finish(fs));
    });
}

#[test]
fn what_a_name_is_not_for_is_refused_and_changes_nothing() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        let image = fixture::memory(name);
        let mut fs = open(image.clone());
        let etc = fs.resolve(b"/etc").unwrap();
        let passwd = fs.resolve(b"/etc/passwd").unwrap();
        let long = [b'n'; 256];
        let cases: Vec<Case> = vec![
            ("link a directory", fs.link(etc, ROOT_INO, b"x"), |e| matches!(e, Error::IsDirectory)),
            ("link over", fs.link(passwd, etc, b"shadow"), |e| matches!(e, Error::Exists)),
            ("link in a file", fs.link(passwd, passwd, b"x"), |e| matches!(e, Error::NotDirectory)),
            ("link long", fs.link(passwd, etc, &long), |e| matches!(e, Error::InvalidName(_))),
            ("link slash", fs.link(passwd, etc, b"a/b"), |e| matches!(e, Error::InvalidName(_))),
            ("link the journal", fs.link(8, etc, b"x"), |_| true),
            ("unlink a directory", fs.unlink(ROOT_INO, b"etc"), |e| matches!(e, Error::IsDirectory)),
            ("unlink nothing", fs.unlink(etc, b"nothing"), |e| matches!(e, Error::NotFound)),
            ("unlink dot", fs.unlink(etc, b"."), |e| matches!(e, Error::InvalidName(_))),
            ("unlink in a file", fs.unlink(passwd, b"x"), |e| matches!(e, Error::NotDirectory)),
            ("rmdir a file", fs.rmdir(etc, b"passwd"), |e| matches!(e, Error::NotDirectory)),
            ("rmdir with names", fs.rmdir(ROOT_INO, b"etc"), |e| matches!(e, Error::NotEmpty)),
            ("rmdir dots", fs.rmdir(etc, b".."), |e| matches!(e, Error::InvalidName(_))),
            ("remove nothing", fs.remove_tree(etc, b"nothing").map(drop), |e| matches!(e, Error::NotFound)),
            ("remove dots", fs.remove_tree(etc, b"..").map(drop), |e| matches!(e, Error::InvalidName(_))),
            ("move nothing", fs.rename(etc, b"nothing", etc, b"x"), |e| matches!(e, Error::NotFound)),
            ("move long", fs.rename(etc, b"passwd", etc, &long), |e| matches!(e, Error::InvalidName(_))),
            ("move the dot", fs.rename(etc, b".", ROOT_INO, b"x"), |e| matches!(e, Error::InvalidName(_))),
        ];
        for (case, result, wanted) in cases {
            let error = result.expect_err(case);
            assert!(wanted(&error), "{name}: {case}: {error:?}");
        }
        assert!(fs.commit().unwrap().is_empty(), "{name}");
        assert!(fs.into_device().commit().unwrap().bytes() == image.bytes(), "{name}");
    });
}

/// As chattr sets them, and as an encrypted, a case-folded and a verity inode would have them.
#[test]
fn protected_inodes_keep_their_names_and_name_the_reason() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let base = {
        let mut fs = open(fixture::memory("ext4-147"));
        let dir = mkdir(&mut fs, ROOT_INO, b"d");
        file(&mut fs, dir, b"f", b"contents");
        mkdir(&mut fs, dir, b"sub");
        mkdir(&mut fs, ROOT_INO, b"other");
        file(&mut fs, ROOT_INO, b"plain", b"contents");
        finish(fs)
    };
    let word = |path: &str| -> u32 {
        let fs = open(base.clone());
        fs.inode(fs.resolve(path.as_bytes()).unwrap()).unwrap().flags()
    };
    let with = |path: &str, flag: u32| {
        open(altered(&base, &[&format!("set_inode_field {path} flags {:#x}", word(path) | flag)]))
    };
    const IMMUTABLE: u32 = 0x10;
    const APPEND: u32 = 0x20;
    const ENCRYPT: u32 = 0x800;
    const VERITY: u32 = 0x10_0000;
    const CASEFOLD: u32 = 0x4000_0000;
    // For a directory: may it take a new name, give one up?
    let dirs = [
        (IMMUTABLE, "immutable", false, false),
        (APPEND, "append-only", true, false),
        (ENCRYPT, "encrypted", false, true),
        (CASEFOLD, "case-folded", false, false),
    ];
    for (flag, word, takes, gives) in dirs {
        let check = |what: &str, result: Result<(), Error>, allowed: bool| match result {
            Ok(()) => assert!(allowed, "{word}: {what}"),
            Err(error) => assert!(!allowed && error.to_string().contains(word), "{word}: {what}: {error}"),
        };
        let fs = || with("/d", flag);
        let ino = |fs: &Staged, path: &str| fs.resolve(path.as_bytes()).unwrap();
        let mut at = fs();
        let d = ino(&at, "/d");
        check("create", at.create(d, b"new", &New::File, Attrs::default()).map(drop), takes);
        let plain = ino(&at, "/plain");
        check("link", at.link(plain, d, b"linked"), takes);
        let mut at = fs();
        check("unlink", at.unlink(d, b"f"), gives);
        check("rmdir", at.rmdir(d, b"sub"), gives);
        let mut at = fs();
        check("rename in", at.rename(ROOT_INO, b"plain", d, b"x"), takes);
        let mut at = fs();
        check("rename out", at.rename(d, b"f", ROOT_INO, b"x"), gives);
        let mut at = fs();
        check("rename within", at.rename(d, b"f", d, b"x"), takes && gives);
        let mut at = fs();
        check("remove_tree", at.remove_tree(ROOT_INO, b"d").map(drop), gives);
    }
    // For a file.
    for (flag, word, free) in [(IMMUTABLE, "immutable", false), (APPEND, "append-only", false), (VERITY, "", true)] {
        let operations: [Operation; 4] = [
            |fs| fs.unlink(ROOT_INO, b"plain"),
            |fs| fs.rename(ROOT_INO, b"plain", ROOT_INO, b"x"),
            |fs| fs.link(fs.resolve(b"/plain").unwrap(), ROOT_INO, b"x"),
            |fs| fs.rename(fs.resolve(b"/d").unwrap(), b"f", ROOT_INO, b"plain"),
        ];
        for (number, operation) in operations.iter().enumerate() {
            match operation(&mut with("/plain", flag)) {
                Ok(()) => assert!(free, "{word}: {number}"),
                Err(error) => assert!(!free && error.to_string().contains(word), "{word}: {number}: {error}"),
            }
        }
    }
    // A refusal in the middle leaves what was removed before it removed, and the rest whole.
    let mut fs = with("/d/sub", IMMUTABLE);
    assert!(fs.remove_tree(ROOT_INO, b"d").is_err());
    assert!(fs.resolve(b"/d/sub").is_ok());
    clean("half a tree", &finish(fs));
}

/// Names that lead back to a directory above them.
#[test]
fn a_tree_with_a_loop_is_an_error_and_no_endless_walk() {
    if !require(&["debugfs"]) {
        return;
    }
    for name in ["ext2-1k", "ext4-147"] {
        let mut fs = open(fixture::memory(name));
        let a = mkdir(&mut fs, ROOT_INO, b"a");
        let b = mkdir(&mut fs, a, b"b");
        mkdir(&mut fs, b, b"c");
        let image = finish(fs);
        for (target, place) in
            [("/a", "/a/b/c/loop"), ("/a/b/c", "/a/b/c/loop"), ("/", "/a/b/c/loop"), ("/a/b", "/a/z")]
        {
            let looped = altered(&image, &[&format!("link {target} {place}")]);
            let mut fs = open(looped);
            let error = fs.remove_tree(ROOT_INO, b"a").unwrap_err();
            assert!(matches!(error, Error::Corrupt(_)), "{name}: {place} is {target}: {error}");
        }
        // `..` that leads nowhere must not hang a rename either.
        let c = open(image.clone()).resolve(b"/a/b/c").unwrap();
        let circular = altered(&image, &["unlink /a/..", &format!("link <{c}> /a/..")]);
        let mut fs = open(circular);
        mkdir(&mut fs, ROOT_INO, b"x");
        let (a, x) = (fs.resolve(b"/a").unwrap(), ROOT_INO);
        assert!(fs.rename(x, b"x", a, b"y").is_err(), "{name}");
    }
}

#[test]
fn a_file_has_at_most_65000_names() {
    if !require(&["e2fsck"]) {
        return;
    }
    let image = mke2fs(&["-t", "ext4", "-b", "1024", "-O", "^has_journal,dir_index", "-N", "64"], 16 << 20);
    let mut fs = open(image);
    let dir = mkdir(&mut fs, ROOT_INO, b"d");
    let ino = fs.create(dir, b"0", &New::File, Attrs::default()).unwrap();
    for number in 1..65_000 {
        fs.link(ino, dir, number.to_string().as_bytes()).unwrap();
    }
    assert!(matches!(fs.link(ino, dir, b"one more"), Err(Error::TooManyLinks(65_000))));
    fs.unlink(dir, b"77").unwrap();
    fs.link(ino, dir, b"one more").unwrap();
    clean("65,000 names", &finish(fs));
}

fn subdirs(features: &str, count: u32) -> (Memory, Result<u32, Error>) {
    let image = mke2fs(&["-t", "ext4", "-b", "1024", "-I", "128", "-O", features, "-N", "70000"], 96 << 20);
    let mut fs = open(image);
    let dir = mkdir(&mut fs, ROOT_INO, b"d");
    for number in 0..count {
        fs.create(dir, number.to_string().as_bytes(), &New::Dir, Attrs::default()).unwrap();
    }
    let more = fs.create(dir, b"one more", &New::Dir, Attrs::default());
    (finish(fs), more)
}

#[test]
fn sixty_five_thousand_subdirectories_and_what_comes_after() {
    if !require(&["e2fsck"]) {
        return;
    }
    in_parallel(["^has_journal,dir_index,^dir_nlink", "^has_journal,dir_index,dir_nlink"], |features| {
        let (image, more) = subdirs(features, 64_998);
        clean(features, &image);
        let mut fs = open(image);
        let dir = fs.resolve(b"/d").unwrap();
        if features.contains("^dir_nlink") {
            assert!(matches!(more, Err(Error::TooManyLinks(65_000))));
            assert_eq!(fs.inode(dir).unwrap().links(), 65_000);
            mkdir(&mut fs, ROOT_INO, b"x");
            assert!(matches!(fs.rename(ROOT_INO, b"x", dir, b"x"), Err(Error::TooManyLinks(65_000))));
            fs.rmdir(dir, b"5").unwrap();
            fs.rename(ROOT_INO, b"x", dir, b"x").unwrap();
        } else {
            more.unwrap();
            assert_eq!(fs.inode(dir).unwrap().links(), 1, "many");
            fs.rmdir(dir, b"5").unwrap();
            fs.rmdir(dir, b"6").unwrap();
            assert_eq!(fs.inode(dir).unwrap().links(), 1, "many stays");
            mkdir(&mut fs, dir, b"x");
        }
        clean(features, &finish(fs));
    });
}

#[test]
fn names_of_every_kind_come_and_go() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        let mut fs = open(fixture::memory(name));
        let dir = mkdir(&mut fs, ROOT_INO, b"kinds");
        // Without the directory's own blocks: an inline one gets some, and keeps them.
        let of_dir = |fs: &Staged| {
            let sectors = fs.inode(dir).unwrap().blocks_512(fs.geometry());
            sectors / u64::from(fs.geometry().block_size / 512)
        };
        let others = |fs: &Staged| (fs.free_blocks_count() + of_dir(fs), fs.free_inodes_count());
        let start = others(&fs);
        let slow = slow_target();
        let all = [
            New::File,
            New::Symlink(b"t"),
            New::Symlink(&slow),
            New::Fifo,
            New::Socket,
            New::CharDevice(1, 3),
            New::BlockDevice(300, 70_000),
        ];
        for (number, new) in all.iter().enumerate() {
            let ino = fs.create(dir, number.to_string().as_bytes(), new, Attrs::default()).unwrap();
            fs.link(ino, dir, format!("{number}-too").as_bytes()).unwrap();
        }
        let mut fs = open(finish(fs));
        for number in 0..all.len() {
            fs.unlink(dir, number.to_string().as_bytes()).unwrap();
        }
        let image = finish(fs);
        let after = judged(name, &image);
        let kinds: Vec<Kind> = (0..all.len()).map(|n| after.get(format!("/kinds/{n}-too")).unwrap().kind).collect();
        assert_eq!(
            kinds,
            [Kind::File, Kind::Symlink, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::Char, Kind::Block],
            "{name}"
        );
        let mut fs = open(image);
        assert_eq!(fs.remove_tree(dir, b"0-too").unwrap(), 1);
        for number in 1..all.len() {
            fs.unlink(dir, format!("{number}-too").as_bytes()).unwrap();
        }
        assert_eq!(others(&fs), start, "{name}");
        judged(name, &finish(fs));
    });
}

/// fs-verity is about contents: everything else of such a file can change, and of an encrypted one, too.
#[test]
fn attributes_of_verity_and_encrypted_files_can_change() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open(fixture::memory("ext4-147"));
    let ino = file(&mut fs, ROOT_INO, b"f", b"contents");
    let flags = fs.inode(ino).unwrap().flags();
    let image = finish(fs);
    for (flag, word) in [(0x10_0000, "fs-verity"), (0x800, "encrypted")] {
        let mut fs = open(altered(&image, &[&format!("sif /f flags {:#x}", flags | flag)]));
        fs.set_attrs(ino, Attrs { mode: Some(0o600), ..Attrs::default() }).unwrap();
        fs.set_xattr(ino, b"user.x", Some(b"y")).unwrap();
        let error = fs.write_contents(ino, b"other").unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        fs.rename(ROOT_INO, b"f", ROOT_INO, b"g").unwrap();
        fs.unlink(ROOT_INO, b"g").unwrap();
        clean(word, &finish(fs));
    }
}
