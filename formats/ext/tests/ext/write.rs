//! Every image of the "must" row is changed, and e2fsck and debugfs say what it is afterwards.

use crate::common::{
    DIRTY, WRITABLE, bytes, finish, in_parallel, judged, open_staged as open, slow_target, typical_change,
};
use nomount_ext::{Attrs, Error, New, ROOT_INO};
use nomount_kit::digest::{Change, Field};
use nomount_kit::{TreeDigest, fixture, judges, require};

#[test]
fn a_typical_change_leaves_a_clean_filesystem_and_everything_else_alone() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        let image = fixture::memory(name);
        let before = judged(name, &image);
        let mut fs = open(image.clone());
        typical_change(&mut fs).unwrap();
        let after = judged(name, &finish(fs));
        for change in before.diff(&after) {
            let path = String::from_utf8_lossy(change.path()).into_owned();
            let expected = match &change {
                Change::Added(path, _) => path.starts_with(b"/etc/app"),
                Change::Removed(..) => false,
                Change::Changed { fields, .. } => match path.as_str() {
                    "/etc" => *fields == [Field::Links, Field::Mtime, Field::Ctime],
                    "/etc/shadow" => {
                        fields.iter().all(|f| [Field::Size, Field::Mtime, Field::Ctime, Field::Content].contains(f))
                    }
                    "/root/.ssh/authorized_keys" => !fields.contains(&Field::Uid) && fields.contains(&Field::Xattrs),
                    _ => false,
                },
            };
            assert!(expected, "{name}: {change:?}");
        }
        let file = after.get("/etc/app/file-7").unwrap();
        assert_eq!((file.mode, file.uid, file.gid, file.size), (0o640, 70_000, 5, 300_701), "{name}");
        assert_eq!(after.get("/etc/app/slow").unwrap().target.as_deref(), Some(&slow_target()[..]));
        assert_eq!(after.get("/etc/app/big").unwrap().device, Some((300, 70_000)));
        let key = after.get("/root/.ssh/authorized_keys").unwrap();
        assert_eq!(key.mtime.0, 1);
        assert_eq!(key.xattrs["user.long"], bytes(400, 3));
    });
}

#[test]
fn the_same_change_gives_the_same_bytes() {
    for name in ["ext4-147", "ext3-1k"] {
        let run = || {
            let mut fs = open(fixture::memory(name));
            typical_change(&mut fs).unwrap();
            finish(fs)
        };
        assert!(run() == run(), "{name}");
    }
}

#[test]
fn a_directory_grows_from_one_block_to_an_index_of_two_levels() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        let mut fs = open(fixture::memory(name));
        let dir = fs.create(ROOT_INO, b"many", &New::Dir, Attrs::default()).unwrap();
        let free = fs.free_inodes_count();
        let mut made = 0;
        // Long names fill leaves soon; devices need no blocks.
        let long = "a-name-that-is-long-enough-to-leave-few-entries-in-a-block-".repeat(3);
        for index in 0..free.min(400) {
            let entry = format!("{long}{index:05}");
            match fs.create(dir, entry.as_bytes(), &New::CharDevice(1, index), Attrs::default()) {
                Ok(_) => made += 1,
                Err(Error::NoSpace { .. } | Error::NoInodes) => break,
                Err(e) => panic!("{name}: {e}"),
            }
            assert!(fs.lookup(dir, entry.as_bytes()).unwrap().is_some());
        }
        assert!(made > 100, "{name}: only {made}");
        let after = judged(name, &finish(fs));
        let listed = after.entries.keys().filter(|path| path.starts_with(b"/many/")).count();
        assert_eq!(listed, made as usize, "{name}");
    });
}

#[test]
fn a_rollback_takes_everything_back() {
    in_parallel(WRITABLE, |name| {
        let image = fixture::memory(name);
        let mut fs = open(image.clone());
        let mark = fs.savepoint();
        typical_change(&mut fs).unwrap();
        fs.rollback(mark);
        assert!(fs.commit().unwrap().is_empty(), "{name}");
        let log = fs.into_device();
        assert!(log.commit().unwrap().bytes().len() == image.bytes().len());
    });
}

/// Contents are on the device before the commit: blocks that a savepoint still uses must not be given to others.
#[test]
fn a_rollback_finds_contents_that_were_replaced_meanwhile() {
    for name in WRITABLE {
        let mut fs = open(fixture::memory(name));
        let ino = fs.create(ROOT_INO, b"f", &New::File, Attrs::default()).unwrap();
        fs.write_contents(ino, &[1; 9000]).unwrap();
        let mark = fs.savepoint();
        fs.write_contents(ino, b"").unwrap();
        let other = fs.create(ROOT_INO, b"g", &New::File, Attrs::default()).unwrap();
        fs.write_contents(other, &[2; 9000]).unwrap();
        fs.rollback(mark);
        let mut found = [0; 9000];
        assert_eq!(fs.read(ino, 0, &mut found).unwrap(), 9000);
        assert!(found == [1; 9000], "{name}");
    }
}

#[test]
fn a_full_filesystem_says_so_and_a_rollback_leaves_it_whole() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        let mut fs = open(fixture::memory(name));
        typical_change(&mut fs).unwrap();
        let mark = fs.savepoint();
        let ino = fs.create(ROOT_INO, b"fill", &New::File, Attrs::default()).unwrap();
        let all = fs.free_blocks_count() * u64::from(fs.geometry().block_size);
        let error = fs.write_contents(ino, &vec![1; all as usize + 1]).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{name}: {error}");
        assert!(matches!(fs.commit(), Err(Error::HalfDone)), "{name}");
        fs.rollback(mark);
        let after = judged(name, &finish(fs));
        assert!(after.get("/fill").is_none());
    });
}

#[test]
fn a_dirty_image_is_recovered_and_changed_in_one() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(DIRTY, |name| {
        let recovered = fixture::file(name);
        judges::e2fsck_recover(&recovered, 0).unwrap();
        let before = TreeDigest::of_ext(&recovered, 0);
        let mut fs = open(fixture::memory(name));
        fs.create(ROOT_INO, b"new", &New::Dir, Attrs::default()).unwrap();
        let after = judged(name, &finish(fs));
        let changed: Vec<_> = before.diff(&after).iter().map(|change| change.path().to_vec()).collect();
        assert_eq!(changed, [b"/".to_vec(), b"/new".to_vec()], "{name}");
    });
}

#[test]
fn a_second_commit_goes_on_where_the_first_ended() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        let mut fs = open(fixture::memory(name));
        for round in 0..5u8 {
            let dir = fs.create(ROOT_INO, &[b'a' + round], &New::Dir, Attrs::default()).unwrap();
            let ino = fs.create(dir, b"f", &New::File, Attrs::default()).unwrap();
            fs.write_contents(ino, &bytes(9000, round)).unwrap();
            let shadow = fs.resolve(b"/etc/shadow").unwrap();
            fs.write_contents(shadow, &bytes(3000, round)).unwrap();
            fs.commit().unwrap();
        }
        let image = fs.into_device().commit().unwrap();
        let after = judged(name, &image);
        assert!(after.get("/e/f").is_some(), "{name}");
    });
}
