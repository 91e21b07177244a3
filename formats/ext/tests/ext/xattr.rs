//! Extended attributes in all their places, as e2fsck counts them and debugfs reads them.

use crate::common::{bytes, finish, judged, open_staged};
use nomount_ext::{Attrs, Error, Filesystem, New, Options, ROOT_INO, acl_to_disk};
use nomount_kit::{fixture, require, scratch};
use std::process::Command;

const NOBODY: u32 = u32::MAX;

/// An access control list as `setxattr` takes it.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, perm, id) in entries {
        bytes.extend(tag.to_le_bytes().into_iter().chain(perm.to_le_bytes()).chain(id.to_le_bytes()));
    }
    bytes
}

/// rwx for the owner, r-- for one user, r-x for the group, the mask, --- for others.
fn named(mask: u16) -> Vec<u8> {
    acl(&[(1, 7, NOBODY), (2, 4, 1000), (4, 5, NOBODY), (0x10, mask, NOBODY), (0x20, 0, NOBODY)])
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("user.name-{at}")).collect()
}

#[test]
fn every_place_and_every_size() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for name in ["ext3-4k", "ext4-1k", "ext4-i128", "ext4-147", "ea-inode"] {
        let mut fs = open_staged(fixture::memory(name));
        let values = name == "ea-inode";
        let sizes: &[usize] = if values {
            &[0, 1, 40, 200, 600, 967, 968, 969, 1000, 5000, 65_536]
        } else {
            &[0, 1, 3, 40, 120, 300, 400]
        };
        for (at, size) in sizes.iter().enumerate() {
            let ino = fs.create(ROOT_INO, format!("x{at}").as_bytes(), &New::File, Attrs::default()).unwrap();
            fs.write_contents(ino, &bytes(5000 * at, 1)).unwrap();
            for (number, attribute) in names(if values { 3 } else { 2 }).iter().enumerate() {
                fs.set_xattr(ino, attribute.as_bytes(), Some(&bytes(*size, number as u8))).unwrap();
            }
            fs.set_xattr(ino, b"security.capability", Some(&bytes(20, 3))).unwrap();
            fs.set_xattr(ino, b"trusted.x", Some(b"y")).unwrap();
        }
        let image = finish(fs);
        judged(name, &image);

        // Grown, shrunk, replaced and removed.
        let mut fs = open_staged(image);
        for (at, size) in sizes.iter().enumerate() {
            let ino = fs.resolve(format!("/x{at}").as_bytes()).unwrap();
            let other = sizes[(at + 3) % sizes.len()];
            fs.set_xattr(ino, b"user.name-0", Some(&bytes(other, 9))).unwrap();
            fs.set_xattr(ino, b"user.name-1", None).unwrap();
            fs.append(ino, &bytes(*size + 10, 1)).unwrap();
            fs.set_xattr(ino, b"trusted.x", Some(&bytes(50, 1))).unwrap();
        }
        let digest = judged(name, &finish(fs));
        for (at, _) in sizes.iter().enumerate() {
            let found = &digest.get(format!("/x{at}")).unwrap().xattrs;
            assert_eq!(found["user.name-0"], bytes(sizes[(at + 3) % sizes.len()], 9), "{name}");
            assert!(!found.contains_key("user.name-1"));
        }
    }
}

/// Values in inodes of their own are given back with the last entry that points at them.
#[test]
fn inodes_of_values_come_and_go() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open_staged(fixture::memory("ea-inode"));
    let ino = fs.create(ROOT_INO, b"f", &New::File, Attrs::default()).unwrap();
    let before = (fs.free_inodes_count(), fs.free_blocks_count());
    for attribute in names(20) {
        fs.set_xattr(ino, attribute.as_bytes(), Some(&bytes(3000, 1))).unwrap();
    }
    assert_eq!(fs.free_inodes_count(), before.0 - 20);
    let image = finish(fs);
    judged("ea-inode", &image);
    let mut fs = open_staged(image);
    let slow = fs.create(ROOT_INO, b"link", &New::Symlink(b"target"), Attrs::default()).unwrap();
    fs.set_xattr(slow, b"trusted.long", Some(&bytes(2000, 1))).unwrap();
    assert_eq!(fs.read_link(slow).unwrap(), b"target");
    for attribute in names(20) {
        fs.set_xattr(ino, attribute.as_bytes(), None).unwrap();
    }
    fs.set_xattr(slow, b"trusted.long", None).unwrap();
    assert_eq!((fs.free_inodes_count(), fs.free_blocks_count()), (before.0 - 1, before.1));
    judged("ea-inode", &finish(fs));
}

/// What its value takes counts among the blocks of a symbolic link, whose target is no map for that.
#[test]
fn a_short_symbolic_link_has_large_values() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open_staged(fixture::memory("ea-inode"));
    let target = [b't'; 59];
    let link = fs.create(ROOT_INO, b"link", &New::Symlink(&target), Attrs::default()).unwrap();
    fs.set_xattr(link, b"trusted.long", Some(&bytes(9000, 1))).unwrap();
    let image = finish(fs);
    judged("ea-inode", &image);
    let mut fs = open_staged(image);
    assert_eq!(fs.read_link(link).unwrap(), target);
    fs.set_xattr(link, b"trusted.short", Some(b"in the inode")).unwrap();
    fs.set_xattr(link, b"trusted.long", None).unwrap();
    judged("ea-inode", &finish(fs));
}

/// With quotas, who has an attribute pays for its inode, and so does a new owner.
#[test]
fn owners_pay_for_inodes_of_values() {
    if !require(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let file = scratch::file();
    file.as_file().set_len(16 << 20).unwrap();
    let made = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-b", "1024", "-I", "256", "-O", "ea_inode,quota,project"])
        .args(["-E", "quotatype=usrquota:grpquota:prjquota"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let image = nomount_block::Memory::new(std::fs::read(file.path()).unwrap());
    let mut fs = open_staged(image);
    let ino = fs.create(ROOT_INO, b"f", &New::File, Attrs { uid: Some(10), ..Attrs::default() }).unwrap();
    for attribute in names(6) {
        fs.set_xattr(ino, attribute.as_bytes(), Some(&bytes(3000, 1))).unwrap();
    }
    fs.write_contents(ino, &bytes(9000, 2)).unwrap();
    let image = finish(fs);
    judged("first owner", &image);
    let mut fs = open_staged(image);
    fs.set_attrs(ino, Attrs { uid: Some(11), gid: Some(12), project: Some(13), ..Attrs::default() }).unwrap();
    fs.set_xattr(ino, b"user.name-2", Some(b"short")).unwrap();
    fs.set_xattr(ino, b"user.name-3", None).unwrap();
    let image = finish(fs);
    judged("second owner", &image);
    let mut fs = open_staged(image);
    let used = fs.free_inodes_count();
    fs.unlink(ROOT_INO, b"f").unwrap();
    assert_eq!(fs.free_inodes_count(), used + 1 + 4);
    judged("no owner", &finish(fs));
}

#[test]
fn a_list_sets_the_mode_and_the_mode_the_mask() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open_staged(fixture::memory("ext4-147"));
    let ino = fs.create(ROOT_INO, b"f", &New::File, Attrs { mode: Some(0o4600), ..Attrs::default() }).unwrap();
    fs.set_xattr(ino, b"system.posix_acl_access", Some(&named(6))).unwrap();
    assert_eq!(fs.inode(ino).unwrap().mode() & 0o7777, 0o4760);
    fs.set_attrs(ino, Attrs { mode: Some(0o711), ..Attrs::default() }).unwrap();
    let found = fs.xattrs(ino).unwrap();
    let wanted = acl(&[(1, 7, NOBODY), (2, 4, 1000), (4, 5, NOBODY), (0x10, 1, NOBODY), (0x20, 1, NOBODY)]);
    assert_eq!(found, [(b"system.posix_acl_access".to_vec(), wanted.clone())]);

    // A list that says no more than a mode is one.
    let plain = fs.create(ROOT_INO, b"plain", &New::File, Attrs::default()).unwrap();
    fs.set_xattr(plain, b"system.posix_acl_access", Some(&named(6))).unwrap();
    let three = acl(&[(1, 6, NOBODY), (4, 4, NOBODY), (0x20, 0, NOBODY)]);
    fs.set_xattr(plain, b"system.posix_acl_access", Some(&three)).unwrap();
    assert_eq!(fs.inode(plain).unwrap().mode() & 0o777, 0o640);
    assert!(fs.xattrs(plain).unwrap().is_empty());
    assert!(matches!(fs.set_xattr(plain, b"system.posix_acl_access", None), Err(Error::NotFound)));

    let dir = fs.create(ROOT_INO, b"d", &New::Dir, Attrs::default()).unwrap();
    fs.set_xattr(dir, b"system.posix_acl_default", Some(&three)).unwrap();
    assert_eq!(fs.inode(dir).unwrap().mode() & 0o777, 0o755);
    let link = fs.create(ROOT_INO, b"l", &New::Symlink(b"f"), Attrs::default()).unwrap();
    let refusals = [
        (ino, &b"system.posix_acl_default"[..], named(7)),
        (link, b"system.posix_acl_access", named(7)),
        (ino, b"system.posix_acl_access", acl_to_disk(&named(7)).unwrap()),
        (ino, b"system.posix_acl_access", acl(&[(1, 6, NOBODY)])),
        (ino, b"system.data", b"x".to_vec()),
        (ino, b"unknown.name", b"x".to_vec()),
    ];
    for (ino, name, value) in refusals {
        let error = fs.set_xattr(ino, name, Some(&value)).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
    let digest = judged("ext4-147", &finish(fs));
    assert_eq!(digest.get("/f").unwrap().xattrs["system.posix_acl_access"], acl_to_disk(&wanted).unwrap());
    assert_eq!(digest.get("/d").unwrap().xattrs["system.posix_acl_default"], acl_to_disk(&three).unwrap());
}

#[test]
fn what_does_not_fit_says_how_much() {
    let mut fs = open_staged(fixture::memory("ext4-1k"));
    let ino = fs.create(ROOT_INO, b"f", &New::File, Attrs::default()).unwrap();
    fs.set_xattr(ino, b"user.a", Some(&bytes(500, 1))).unwrap();
    let error = fs.set_xattr(ino, b"user.b", Some(&bytes(500, 1))).unwrap_err();
    assert!(matches!(error, Error::XattrSpace { needed: 1040, room: 988 }), "{error:?}");
    let error = fs.set_xattr(ino, b"user.b", Some(&bytes(65_537, 1))).unwrap_err();
    assert!(matches!(error, Error::Limit(_)), "{error}");
    // Nothing was changed by what was refused.
    assert_eq!(fs.xattrs(ino).unwrap().len(), 1);
    fs.set_xattr(ino, b"user.b", Some(&bytes(400, 1))).unwrap();
}

/// `i_flags` that a user may change; immutable keeps everything but itself from being changed.
#[test]
fn flags_are_given_and_taken() {
    const IMMUTABLE: u32 = 0x10;
    const NODUMP: u32 = 0x40;
    const EXTENTS: u32 = 0x8_0000;
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open_staged(fixture::memory("ext4-147"));
    let flags = |flags| Attrs { flags: Some(flags), ..Attrs::default() };
    let ino = fs.create(ROOT_INO, b"f", &New::File, flags(NODUMP)).unwrap();
    fs.write_contents(ino, b"x").unwrap();
    assert_eq!(fs.inode(ino).unwrap().flags(), EXTENTS | NODUMP);
    fs.set_attrs(ino, flags(IMMUTABLE | NODUMP | EXTENTS)).unwrap();
    assert!(matches!(fs.write_contents(ino, b"y"), Err(Error::ReadOnly(_))));
    assert!(matches!(fs.set_xattr(ino, b"user.a", Some(b"y")), Err(Error::ReadOnly(_))));
    let chmod = Attrs { mode: Some(0o600), ..Attrs::default() };
    assert!(matches!(fs.set_attrs(ino, chmod), Err(Error::ReadOnly(_))));
    assert!(matches!(fs.set_attrs(ino, Attrs { flags: Some(IMMUTABLE), ..chmod }), Err(Error::ReadOnly(_))));
    fs.set_attrs(ino, flags(IMMUTABLE)).unwrap();
    fs.set_attrs(ino, Attrs { flags: Some(0), ..chmod }).unwrap();
    assert_eq!(fs.inode(ino).unwrap().flags(), EXTENTS);
    fs.write_contents(ino, b"y").unwrap();
    let fifo = fs.create(ROOT_INO, b"p", &New::Fifo, Attrs::default()).unwrap();
    for (ino, wrong) in [(ino, 0x800), (ino, 0x2000_0000), (fifo, IMMUTABLE), (ino, 0x1000_0000)] {
        assert!(matches!(fs.set_attrs(ino, flags(wrong)), Err(Error::Invalid(_))), "{wrong:#x}");
    }
    let digest = judged("ext4-147", &finish(fs));
    assert_eq!(digest.get("/f").unwrap().mode, 0o600);
}

/// A block that inodes share is left to the others, and the values that it points at with it.
#[test]
fn a_shared_block_is_copied() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let mut fs = open_staged(fixture::memory("ea-inode"));
    let inos: Vec<u32> = (0..2)
        .map(|at| fs.create(ROOT_INO, format!("s{at}").as_bytes(), &New::File, Attrs::default()).unwrap())
        .collect();
    for at in 0..3 {
        // The third entry no longer fits the inode.
        fs.set_xattr(inos[0], format!("user.own-{at}").as_bytes(), Some(&bytes(2000, at))).unwrap();
    }
    fs.set_xattr(inos[0], b"user.plain", Some(&bytes(300, 1))).unwrap();
    let image = share(finish(fs), inos[0], inos[1]);
    judged("shared", &image);

    let mut fs = open_staged(image);
    fs.set_xattr(inos[1], b"user.plain", Some(b"else")).unwrap();
    let image = finish(fs);
    judged("copied", &image);
    let fs = Filesystem::open(&image, Options::default()).unwrap();
    let plain = |ino| fs.xattrs(ino).unwrap().into_iter().find(|(name, _)| name == b"user.plain").unwrap().1;
    assert_eq!(plain(inos[0]), bytes(300, 1));
    assert_eq!(plain(inos[1]), b"else");
}

/// Makes `to` share the attribute block of `from`, as a kernel does for equal attributes: by debugfs.
fn share(image: nomount_block::Memory, from: u32, to: u32) -> nomount_block::Memory {
    let file = scratch::device(&image);
    let block = {
        let fs = Filesystem::open(&image, Options::default()).unwrap();
        let stat = Command::new("debugfs").arg("-R").arg(format!("stat <{from}>")).arg(&file).output().unwrap();
        assert!(fs.inode(from).is_ok());
        let text = String::from_utf8(stat.stdout).unwrap();
        let word = text.split("File ACL: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        word.parse::<u64>().unwrap()
    };
    assert!(block > 0);
    let commands = format!("sif <{to}> file_acl {block}\n");
    let script = scratch::file();
    std::fs::write(script.path(), commands).unwrap();
    let done = Command::new("debugfs").args(["-w", "-f"]).arg(script.path()).arg(&file).output().unwrap();
    assert!(done.status.success());
    // Counts of references and blocks are e2fsck's to mend.
    let fixed = Command::new("e2fsck").arg("-fy").arg(&file).output().unwrap();
    assert!(fixed.status.code().unwrap() <= 1, "{fixed:?}");
    nomount_block::Memory::new(std::fs::read(&file).unwrap())
}
