//! The contract of [`FileTree`] as a test that every implementation passes, so that what operations are tested with
//! and what they run on behave alike.

use super::{FileKind, FileTree, GuestPath, NewNode, SetAttr};
use crate::error::ErrorKind;

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

fn attr(mode: Option<u32>, uid: Option<u32>, gid: Option<u32>) -> SetAttr {
    SetAttr { mode, uid, gid, ..SetAttr::default() }
}

const NONE: SetAttr = SetAttr { mode: None, uid: None, gid: None, atime: None, mtime: None };

/// Checks a tree that can be written and has no `/contract`. Leaves it as it was.
pub(crate) fn check(tree: &mut dyn FileTree) {
    check_all(tree, true);
}

/// Checks a tree that has files and directories only, all with one owner, one name and one mode.
pub(crate) fn check_plain(tree: &mut dyn FileTree) {
    check_all(tree, false);
}

/// `unix`: whether the tree has links, owners, modes, extended attributes and holes.
fn check_all(tree: &mut dyn FileTree, unix: bool) {
    let start = tree.savepoint();
    tree.create(&path("/contract"), NewNode::Dir, NONE).unwrap();
    if unix {
        creation(tree);
    } else {
        plain_creation(tree);
    }
    contents(tree);
    if unix {
        attributes(tree);
        xattrs(tree);
        links_are_not_followed(tree);
    }
    marks(tree);
    pieces(tree, unix);
    if unix {
        links(tree);
    }
    renames(tree, unix);
    removals(tree, unix);
    tree.rollback(start);
    assert_eq!(tree.stat(&path("/contract")).unwrap_err().kind(), ErrorKind::NotFound);
}

fn creation(tree: &mut dyn FileTree) {
    let kind_of =
        |tree: &mut dyn FileTree, text: &str, node| tree.create(&path(text), node, NONE).map_err(|e| e.kind());
    let stat = |tree: &dyn FileTree, text: &str| tree.stat(&path(text)).unwrap();

    let dir = stat(tree, "/contract");
    assert_eq!((dir.kind, dir.mode, dir.uid, dir.gid, dir.links), (FileKind::Dir, 0o755, 0, 0, 2));
    kind_of(tree, "/contract/f", NewNode::File).unwrap();
    let file = stat(tree, "/contract/f");
    assert_eq!((file.kind, file.mode, file.uid, file.gid, file.links), (FileKind::File, 0o644, 0, 0, 1));
    assert_eq!(file.size, 0);
    kind_of(tree, "/contract/l", NewNode::Symlink(b"../x\xff".to_vec())).unwrap();
    assert_eq!(tree.read_link(&path("/contract/l")).unwrap(), b"../x\xff");
    kind_of(tree, "/contract/d", NewNode::Dir).unwrap();
    assert_eq!(stat(tree, "/contract").links, 3);

    assert_eq!(kind_of(tree, "/contract/f", NewNode::File), Err(ErrorKind::Exists));
    assert_eq!(kind_of(tree, "/contract/l", NewNode::Dir), Err(ErrorKind::Exists));
    assert_eq!(kind_of(tree, "/", NewNode::Dir), Err(ErrorKind::Exists));
    assert_eq!(kind_of(tree, "/contract/no/f", NewNode::File), Err(ErrorKind::NotFound));
    assert_eq!(kind_of(tree, "/contract/f/f", NewNode::File), Err(ErrorKind::NotADirectory));

    let mut names: Vec<(Vec<u8>, FileKind)> =
        tree.entries(&path("/contract")).unwrap().into_iter().map(|entry| (entry.name, entry.kind)).collect();
    names.sort_by(|a, b| a.0.cmp(&b.0));
    let wanted = [(&b"d"[..], FileKind::Dir), (b"f", FileKind::File), (b"l", FileKind::Symlink)];
    assert_eq!(names, wanted.map(|(name, kind)| (name.to_vec(), kind)));
    assert_eq!(tree.entries(&path("/contract/f")).unwrap_err().kind(), ErrorKind::NotADirectory);

    // A set-gid directory passes its group on, and to directories the bit; what is asked for wins.
    tree.create(&path("/contract/s"), NewNode::Dir, attr(Some(0o2770), Some(5), Some(70_000))).unwrap();
    kind_of(tree, "/contract/s/f", NewNode::File).unwrap();
    kind_of(tree, "/contract/s/d", NewNode::Dir).unwrap();
    let own = attr(Some(0o4711), Some(80_000), Some(9));
    tree.create(&path("/contract/s/own"), NewNode::File, own).unwrap();
    let facts = |text: &str| {
        let stat = tree.stat(&path(text)).unwrap();
        (stat.mode, stat.uid, stat.gid)
    };
    assert_eq!(facts("/contract/s"), (0o2770, 5, 70_000));
    assert_eq!(facts("/contract/s/f"), (0o644, 0, 70_000));
    assert_eq!(facts("/contract/s/d"), (0o2755, 0, 70_000));
    assert_eq!(facts("/contract/s/own"), (0o4711, 80_000, 9));
}

fn plain_creation(tree: &mut dyn FileTree) {
    let kind_of =
        |tree: &mut dyn FileTree, text: &str, node| tree.create(&path(text), node, NONE).map_err(|e| e.kind());
    kind_of(tree, "/contract/f", NewNode::File).unwrap();
    kind_of(tree, "/contract/d", NewNode::Dir).unwrap();
    let stat = tree.stat(&path("/contract/f")).unwrap();
    assert_eq!((stat.kind, stat.size, stat.uid, stat.gid, stat.links), (FileKind::File, 0, 0, 0, 1));
    assert_eq!(kind_of(tree, "/contract/f", NewNode::File), Err(ErrorKind::Exists));
    assert_eq!(kind_of(tree, "/contract/d", NewNode::Dir), Err(ErrorKind::Exists));
    assert_eq!(kind_of(tree, "/", NewNode::Dir), Err(ErrorKind::Exists));
    assert_eq!(kind_of(tree, "/contract/no/f", NewNode::File), Err(ErrorKind::NotFound));
    assert_eq!(kind_of(tree, "/contract/f/f", NewNode::File), Err(ErrorKind::NotADirectory));
    assert_eq!(tree.entries(&path("/contract/f")).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(tree.read_link(&path("/contract/f")).unwrap_err().kind(), ErrorKind::Invalid);
    for (node, kind) in [(NewNode::Symlink(b"f".to_vec()), FileKind::Symlink), (NewNode::Fifo, FileKind::Fifo)] {
        assert_eq!(kind_of(tree, "/contract/l", node), Err(ErrorKind::Unsupported), "{kind:?}");
    }
    let mut names: Vec<(Vec<u8>, FileKind)> =
        tree.entries(&path("/contract")).unwrap().into_iter().map(|entry| (entry.name, entry.kind)).collect();
    names.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(names, [(b"d".to_vec(), FileKind::Dir), (b"f".to_vec(), FileKind::File)]);
}

fn contents(tree: &mut dyn FileTree) {
    let file = path("/contract/f");
    let before = tree.stat(&file).unwrap();
    // Longer than any block, and not a multiple of one.
    let long: Vec<u8> = (0..70_001u32).map(|number| (number % 251) as u8).collect();
    tree.write_file(&file, &long).unwrap();
    tree.append_file(&file, b"end").unwrap();
    assert_eq!(tree.stat(&file).unwrap().size, 70_004);
    let mut buf = [0; 10];
    assert_eq!(tree.read_at(&file, 69_998, &mut buf).unwrap(), 6);
    assert_eq!(buf[..6], [&long[69_998..], b"end"].concat());
    assert_eq!(tree.read_at(&file, 65_530, &mut buf).unwrap(), 10);
    assert_eq!(buf, long[65_530..65_540]);
    assert_eq!(tree.read_at(&file, 70_004, &mut buf).unwrap(), 0);
    assert_eq!(tree.read_at(&file, u64::MAX, &mut buf).unwrap(), 0);
    tree.write_file(&file, b"short").unwrap();
    assert_eq!(tree.read_at(&file, 0, &mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"short");
    let stat = tree.stat(&file).unwrap();
    assert_eq!((stat.ino, stat.size, stat.mode), (before.ino, 5, before.mode));

    let kind = |result: crate::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(tree.write_file(&path("/contract/d"), b"")), ErrorKind::IsADirectory);
    assert_eq!(kind(tree.append_file(&path("/contract/no"), b"")), ErrorKind::NotFound);
    assert_eq!(tree.read_at(&path("/contract/d"), 0, &mut buf).unwrap_err().kind(), ErrorKind::IsADirectory);
}

fn attributes(tree: &mut dyn FileTree) {
    let file = path("/contract/f");
    tree.set_attr(&file, attr(Some(0o7654), Some(u32::MAX - 1), None)).unwrap();
    tree.set_attr(&file, attr(None, None, Some(65_536))).unwrap();
    let stat = tree.stat(&file).unwrap();
    assert_eq!((stat.kind, stat.mode, stat.uid, stat.gid), (FileKind::File, 0o7654, u32::MAX - 1, 65_536));
    tree.write_file(&file, b"other").unwrap();
    assert_eq!(tree.stat(&file).unwrap().mode, 0o7654);
    assert!(tree.set_attr(&file, attr(Some(0o10000), None, None)).is_err());
}

fn xattrs(tree: &mut dyn FileTree) {
    let file = path("/contract/f");
    assert_eq!(tree.xattrs(&file).unwrap(), []);
    tree.set_xattr(&file, b"user.b", Some(b"2")).unwrap();
    tree.set_xattr(&file, b"security.selinux", Some(b"system_u:object_r:etc_t:s0\0")).unwrap();
    tree.set_xattr(&file, b"user.b", Some(b"")).unwrap();
    tree.write_file(&file, b"x").unwrap();
    let wanted =
        [(b"security.selinux".to_vec(), b"system_u:object_r:etc_t:s0\0".to_vec()), (b"user.b".to_vec(), Vec::new())];
    assert_eq!(tree.xattrs(&file).unwrap(), wanted);
    tree.set_xattr(&file, b"user.b", None).unwrap();
    assert_eq!(tree.xattrs(&file).unwrap(), wanted[..1]);
}

fn links_are_not_followed(tree: &mut dyn FileTree) {
    tree.create(&path("/contract/to_d"), NewNode::Symlink(b"d".to_vec()), NONE).unwrap();
    assert_eq!(tree.stat(&path("/contract/to_d")).unwrap().kind, FileKind::Symlink);
    assert_eq!(tree.stat(&path("/contract/to_d/f")).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(
        tree.create(&path("/contract/to_d/f"), NewNode::File, NONE).unwrap_err().kind(),
        ErrorKind::NotADirectory
    );
    assert!(tree.write_file(&path("/contract/to_d"), b"").is_err());
    assert!(tree.entries(&path("/contract/to_d")).is_err());
    assert!(tree.read_link(&path("/contract/d")).is_err());
}

fn marks(tree: &mut dyn FileTree) {
    let file = path("/contract/f");
    let text = |tree: &dyn FileTree| {
        let mut buf = [0; 8];
        let read = tree.read_at(&path("/contract/f"), 0, &mut buf).unwrap();
        buf[..read].to_vec()
    };
    tree.write_file(&file, b"0").unwrap();
    let outer = tree.savepoint();
    tree.write_file(&file, b"1").unwrap();
    let inner = tree.savepoint();
    tree.write_file(&file, b"2").unwrap();
    // A mode that every tree can store.
    tree.set_attr(&file, attr(Some(0o555), None, None)).unwrap();
    assert_eq!(tree.stat(&file).unwrap().mode, 0o555);
    tree.create(&path("/contract/d/new"), NewNode::File, NONE).unwrap();
    tree.rollback(inner);
    assert_eq!(text(tree), b"1");
    assert_ne!(tree.stat(&file).unwrap().mode, 0o555);
    assert!(tree.stat(&path("/contract/d/new")).is_err());
    // A mark that is never gone back to goes with the one outside of it.
    let _dropped = tree.savepoint();
    tree.write_file(&file, b"3").unwrap();
    tree.rollback(outer);
    assert_eq!(text(tree), b"0");
}

fn pieces(tree: &mut dyn FileTree, unix: bool) {
    let file = path("/contract/pieces");
    tree.create(&file, NewNode::File, NONE).unwrap();
    assert_eq!(tree.data(&file).unwrap(), []);
    tree.write_at(&file, 0, b"abcdef").unwrap();
    tree.write_at(&file, 2, b"XY").unwrap();
    tree.write_at(&file, 1 << 20, &[7; 5]).unwrap();
    tree.write_at(&file, 3 << 20, b"").unwrap();
    let size = |tree: &dyn FileTree| tree.stat(&file).unwrap().size;
    assert_eq!(size(tree), (1 << 20) + 5);
    let data = tree.data(&file).unwrap();
    assert_eq!((data[0].start, data.last().unwrap().end), (0, (1 << 20) + 5), "{data:?}");
    if unix {
        // How long a piece is depends on the blocks, the hole does not.
        assert!(data.len() == 2 && data[0].end <= 4096 && data[1].start == 1 << 20, "{data:?}");
    }
    let read = |tree: &dyn FileTree, at: u64| {
        let mut buf = [1; 8];
        let read = tree.read_at(&file, at, &mut buf).unwrap();
        buf[..read].to_vec()
    };
    assert_eq!(read(tree, 0), b"abXYef\0\0");
    assert_eq!(read(tree, (1 << 20) - 3), [0, 0, 0, 7, 7, 7, 7, 7]);
    tree.truncate(&file, 3).unwrap();
    assert_eq!((size(tree), read(tree, 0)), (3, b"abX".to_vec()));
    tree.truncate(&file, 9).unwrap();
    assert_eq!(read(tree, 1), b"bX\0\0\0\0\0\0");
    let kind = |result: crate::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(tree.truncate(&path("/contract/d"), 0)), ErrorKind::IsADirectory);
    assert_eq!(kind(tree.write_at(&path("/contract/no"), 0, b"x")), ErrorKind::NotFound);
    assert!(tree.data(&path("/contract/d")).is_err());
}

fn links(tree: &mut dyn FileTree) {
    let (old, new) = (path("/contract/f"), path("/contract/d/f2"));
    tree.link(&old, &new).unwrap();
    let (one, two) = (tree.stat(&old).unwrap(), tree.stat(&new).unwrap());
    assert_eq!((one.ino, one.links), (two.ino, 2));
    tree.write_file(&new, b"both").unwrap();
    assert_eq!(tree.stat(&old).unwrap().size, 4);
    let kind = |result: crate::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(tree.link(&old, &new)), ErrorKind::Exists);
    assert_eq!(kind(tree.link(&old, &path("/"))), ErrorKind::Exists);
    assert_eq!(kind(tree.link(&path("/contract/d"), &path("/contract/d2"))), ErrorKind::IsADirectory);
    assert_eq!(kind(tree.link(&path("/contract/no"), &path("/contract/no2"))), ErrorKind::NotFound);
    // A symbolic link is a file with names like any other.
    tree.link(&path("/contract/l"), &path("/contract/l2")).unwrap();
    assert_eq!(tree.read_link(&path("/contract/l2")).unwrap(), b"../x\xff");
    tree.unlink(&old).unwrap();
    assert_eq!((tree.stat(&new).unwrap().links, kind(tree.unlink(&old))), (1, ErrorKind::NotFound));
    tree.rename(&new, &old).unwrap();
}

fn renames(tree: &mut dyn FileTree, unix: bool) {
    let move_it = |tree: &mut dyn FileTree, from: &str, to: &str| {
        tree.rename(&path(from), &path(to)).map_err(|error| error.kind())
    };
    let ino = |tree: &dyn FileTree, text: &str| tree.stat(&path(text)).map(|stat| stat.ino).ok();
    for name in ["/contract/r", "/contract/r/sub", "/contract/empty"] {
        tree.create(&path(name), NewNode::Dir, NONE).unwrap();
    }
    for name in ["/contract/r/sub/f", "/contract/g"] {
        tree.create(&path(name), NewNode::File, NONE).unwrap();
    }
    let (dir, file, over) = (ino(tree, "/contract/r"), ino(tree, "/contract/r/sub/f"), ino(tree, "/contract/g"));
    let links = tree.stat(&path("/contract")).unwrap().links;
    assert_eq!(move_it(tree, "/contract/r", "/contract/r/sub/r"), Err(ErrorKind::Invalid));
    assert_eq!(move_it(tree, "/contract/r", "/contract/g"), Err(ErrorKind::NotADirectory));
    assert_eq!(move_it(tree, "/contract/g", "/contract/r"), Err(ErrorKind::IsADirectory));
    assert_eq!(move_it(tree, "/contract/empty", "/contract/r"), Err(ErrorKind::NotEmpty));
    assert_eq!(move_it(tree, "/contract/no", "/contract/n"), Err(ErrorKind::NotFound));
    assert_eq!(move_it(tree, "/", "/contract/n"), Err(ErrorKind::Invalid));
    move_it(tree, "/contract/r", "/contract/empty").unwrap();
    assert_eq!((ino(tree, "/contract/r"), ino(tree, "/contract/empty")), (None, dir));
    assert_eq!(ino(tree, "/contract/empty/sub/f"), file);
    if unix {
        assert_eq!(tree.stat(&path("/contract")).unwrap().links, links - 1);
    }
    move_it(tree, "/contract/empty/sub/f", "/contract/g").unwrap();
    assert_eq!((ino(tree, "/contract/g"), ino(tree, "/contract/empty/sub/f")), (file, None));
    assert_ne!(file, over);
    if unix {
        // Two names of one file stay as they are.
        tree.link(&path("/contract/g"), &path("/contract/h")).unwrap();
        move_it(tree, "/contract/g", "/contract/h").unwrap();
        assert_eq!((ino(tree, "/contract/g"), ino(tree, "/contract/h")), (file, file));
    }
    move_it(tree, "/contract/empty/sub", "/contract/sub").unwrap();
    if unix {
        assert_eq!(tree.stat(&path("/contract/empty")).unwrap().links, 2);
    }
}

fn removals(tree: &mut dyn FileTree, unix: bool) {
    let kind = |result: crate::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(tree.rmdir(&path("/contract"))), ErrorKind::NotEmpty);
    assert_eq!(kind(tree.rmdir(&path("/contract/g"))), ErrorKind::NotADirectory);
    assert_eq!(kind(tree.unlink(&path("/contract/sub"))), ErrorKind::IsADirectory);
    assert_eq!(kind(tree.rmdir(&path("/"))), ErrorKind::Invalid);
    assert_eq!(tree.remove_tree(&path("/")).unwrap_err().kind(), ErrorKind::Invalid);
    tree.rmdir(&path("/contract/sub")).unwrap();
    assert!(tree.stat(&path("/contract/sub")).is_err());
    for name in ["/contract/t", "/contract/t/a", "/contract/t/a/b"] {
        tree.create(&path(name), NewNode::Dir, NONE).unwrap();
    }
    for name in ["/contract/t/a/f", "/contract/t/a/b/f"] {
        tree.create(&path(name), NewNode::File, NONE).unwrap();
    }
    if unix {
        tree.link(&path("/contract/t/a/f"), &path("/contract/kept")).unwrap();
    } else {
        tree.create(&path("/contract/kept"), NewNode::File, NONE).unwrap();
    }
    assert_eq!(tree.remove_tree(&path("/contract/t")).unwrap(), 5);
    assert_eq!(tree.stat(&path("/contract/t/a/b")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(tree.stat(&path("/contract/kept")).unwrap().links, 1);
    assert_eq!(tree.remove_tree(&path("/contract/kept")).unwrap(), 1);
    assert_eq!(tree.remove_tree(&path("/contract/kept")).unwrap_err().kind(), ErrorKind::NotFound);
}
