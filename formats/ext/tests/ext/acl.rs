//! Default access control lists: what something new takes from its directory.

use crate::common::judged::{Staged, finish, judged, mkdir, open};
use crate::common::{WRITABLE, in_parallel};
use nomount_ext::{Attrs, Error, New, ROOT_INO};
use nomount_kit::{fixture, require};

const DEFAULT: &[u8] = b"system.posix_acl_default";
const ACCESS: &[u8] = b"system.posix_acl_access";

/// Tag, permissions, id: in the form of setxattr(2).
fn api(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let entry =
        |(tag, perm, id): &(u16, u16, u32)| [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat();
    [2u32.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
}

const NOBODY: u32 = u32::MAX;

/// The same as it is stored: version 1, an id only where somebody is named.
fn disk(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 1u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(perm.to_le_bytes());
        if matches!(tag, 2 | 8) {
            bytes.extend(id.to_le_bytes());
        }
    }
    bytes
}

/// u::rwx, u:1000:rwx, g::r-x, m::rwx, o::r--.
const NAMED: [(u16, u16, u32); 5] =
    [(1, 7, NOBODY), (2, 7, 1000), (4, 5, NOBODY), (0x10, 7, NOBODY), (0x20, 4, NOBODY)];
/// u::rwx, g::r-x, o::---.
const PLAIN: [(u16, u16, u32); 3] = [(1, 7, NOBODY), (4, 5, NOBODY), (0x20, 0, NOBODY)];

fn masked(user: u16, mask: u16, other: u16) -> Vec<(u16, u16, u32)> {
    let mut list = NAMED.to_vec();
    (list[0].1, list[3].1, list[4].1) = (user, mask, other);
    list
}

fn set_default(fs: &mut Staged, dir: u32, list: &[(u16, u16, u32)]) -> Result<(), Error> {
    fs.set_xattr(dir, DEFAULT, Some(&api(list)))
}

#[test]
fn new_things_take_the_default_list_within_the_mode_asked_for() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(WRITABLE, |name| {
        let mut fs = open(fixture::memory(name));
        let named = mkdir(&mut fs, ROOT_INO, b"named");
        let plain = mkdir(&mut fs, ROOT_INO, b"plain");
        set_default(&mut fs, named, &NAMED).unwrap();
        set_default(&mut fs, plain, &PLAIN).unwrap();
        let with = |mode| Attrs { mode, ..Attrs::default() };
        for dir in [named, plain] {
            fs.create(dir, b"file", &New::File, with(None)).unwrap();
            fs.create(dir, b"file-640", &New::File, with(Some(0o4640))).unwrap();
            fs.create(dir, b"dir", &New::Dir, with(None)).unwrap();
            fs.create(dir, b"dir-700", &New::Dir, with(Some(0o700))).unwrap();
            fs.create(dir, b"fifo", &New::Fifo, with(Some(0o666))).unwrap();
            fs.create(dir, b"link", &New::Symlink(b"x"), with(None)).unwrap();
        }
        // And on from there.
        let below = fs.resolve(b"/named/dir").unwrap();
        fs.create(below, b"deep", &New::Dir, with(None)).unwrap();
        let tree = judged(name, &finish(fs));
        let check = |path: &str, mode: u16, access: Option<&[(u16, u16, u32)]>, default: Option<&[(u16, u16, u32)]>| {
            let entry = tree.get(path).unwrap();
            assert_eq!(entry.mode, mode, "{name}: {path}: {:o}", entry.mode);
            let found = |key: &[u8]| entry.xattrs.get(std::str::from_utf8(key).unwrap()).cloned();
            assert_eq!(found(ACCESS), access.map(disk), "{name}: {path}");
            assert_eq!(found(DEFAULT), default.map(disk), "{name}: {path}");
        };
        check("/named/file", 0o664, Some(&masked(6, 6, 4)), None);
        check("/named/file-640", 0o4640, Some(&masked(6, 4, 0)), None);
        check("/named/dir", 0o774, Some(&NAMED), Some(&NAMED));
        check("/named/dir-700", 0o700, Some(&masked(7, 0, 0)), Some(&NAMED));
        check("/named/fifo", 0o664, Some(&masked(6, 6, 4)), None);
        check("/named/link", 0o777, None, None);
        check("/named/dir/deep", 0o774, Some(&NAMED), Some(&NAMED));
        check("/plain/file", 0o640, None, None);
        check("/plain/file-640", 0o4640, None, None);
        check("/plain/dir", 0o750, None, Some(&PLAIN));
        check("/plain/dir-700", 0o700, None, Some(&PLAIN));
    });
}
