//! A small guest that operations work on, and what must hold of it afterwards.

use nomount::ops::edit::edit;
use nomount::tree::{ExtTree, FileKind, FileTree, GuestPath, NewNode, SetAttr, Stat, Walk, Xattr, make_dirs, replace};
use nomount_block::Memory;
use nomount_ext::{CheckOptions, Filesystem, MkfsOptions, Options, Severity, Time, check, mkfs};
use std::sync::LazyLock;

pub type Tree = ExtTree<Memory>;

/// Room for a few files and for the metadata; small, since each run copies it.
const DEVICE: usize = 512 << 10;
const OPTIONS: Options = Options { now: Time { sec: 1_800_000_000, nsec: 0 }, seed: 7, mmp_wait: None };

/// What is in the guest: a directory without contents, a link where they begin with `->`.
const FILES: &[(&str, Option<&str>)] = &[
    ("/etc/passwd", Some("root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/sh\n")),
    ("/etc/shadow", Some("root:*:1::::::\nada:!:1::::::\n")),
    ("/etc/group", Some("root:x:0:\nsudo:x:27:\nada:x:1000:\nusers:x:100:\n")),
    ("/etc/hosts", Some("127.0.0.1 localhost\n")),
    ("/etc/hostname", Some("host\n")),
    ("/etc/os-release", Some("ID=debian\nVERSION_ID=\"12\"\n")),
    ("/etc/sshd.conf", Some("Port 22\n")),
    ("/usr/lib/systemd/systemd", Some("")),
    ("/usr/lib/systemd/system/ssh.service", Some("[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n")),
    ("/usr/lib/systemd/system/apt.timer", Some("[Install]\nWantedBy=timers.target\n")),
    ("/usr/share/zoneinfo/Europe/Berlin", Some("TZif")),
    ("/a directory/sub/größe", Some("data")),
    ("/home/ada", None),
    ("/root", None),
    ("/link", Some("->a directory")),
    ("/up", Some("->../../..//etc")),
    ("/loop", Some("->/loop/x")),
];

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).expect("a path that is valid")
}

fn fill(tree: &mut Tree) -> nomount::Result<()> {
    for (name, contents) in FILES {
        let place = path(name);
        let parent = place.parent().expect("it is not the root");
        make_dirs(tree, &parent, SetAttr::default())?;
        match contents.map(|contents| (contents, contents.strip_prefix("->"))) {
            None => drop(make_dirs(tree, &place, SetAttr::default())?),
            Some((_, Some(target))) => {
                tree.create(&place, NewNode::Symlink(target.as_bytes().to_vec()), SetAttr::default())?;
            }
            Some((contents, None)) => drop(replace(tree, &place, contents.as_bytes(), SetAttr::default())?),
        }
    }
    Ok(())
}

static EMPTY: LazyLock<Memory> = LazyLock::new(|| {
    let mut device = Memory::zeroed(DEVICE);
    let options = MkfsOptions { now: OPTIONS.now, block_size: Some(1024), ..MkfsOptions::default() };
    mkfs(&mut device, &options).expect("room for a filesystem");
    device
});

static FILLED: LazyLock<Memory> = LazyLock::new(|| {
    let mut tree = Tree::new(empty_filesystem());
    fill(&mut tree).expect("room for a few files");
    tree.commit().expect("memory takes it");
    tree.into_device()
});

/// With nothing in it.
pub fn empty_filesystem() -> Filesystem<Memory> {
    Filesystem::open_for_write(EMPTY.clone(), OPTIONS).expect("it was just made")
}

/// The guest.
pub fn small_tree() -> Tree {
    Tree::new(Filesystem::open_for_write(FILLED.clone(), OPTIONS).expect("it was just made"))
}

/// What can be seen of one file.
type Seen = (GuestPath, Stat, Vec<u8>, Vec<Xattr>);

/// All that is there. Files are small, or have holes.
pub fn all(tree: &dyn FileTree) -> Vec<Seen> {
    let mut walk = Walk::new(GuestPath::root());
    let mut seen = Vec::new();
    while let Some((path, stat)) = walk.next(tree).expect("what we wrote can be walked") {
        let mut bytes = Vec::new();
        if stat.kind == FileKind::File {
            bytes = vec![0; stat.size.min(DEVICE as u64) as usize];
            tree.read_at(&path, 0, &mut bytes).expect("what we wrote can be read");
        } else if stat.kind == FileKind::Symlink {
            bytes = tree.read_link(&path).expect("what we wrote can be read");
        }
        let xattrs = tree.xattrs(&path).expect("what we wrote can be read");
        seen.push((path, stat, bytes, xattrs));
    }
    seen
}

/// Nothing is wrong with what is on the device.
pub fn sound(device: &Memory) {
    let report = check(device, OPTIONS, &CheckOptions::default()).expect("a filesystem is there");
    assert!(report.worst().is_none_or(|worst| worst == Severity::Note), "{:?}", report.findings());
}

/// Does `work` on the guest: all of it or nothing. What is committed then is sound, and reads as it did before.
pub fn worked_on(work: impl FnOnce(&mut nomount::ops::Editor<'_>) -> nomount::Result<()>) -> Option<Tree> {
    let mut tree = small_tree();
    let done = edit(&mut tree, work);
    if done.is_err() {
        assert_eq!(all(&tree), all(&small_tree()), "a failed edit left something");
        return None;
    }
    let staged = all(&tree);
    tree.commit().expect("memory takes it");
    let device = tree.into_device();
    sound(&device);
    let tree = Tree::new(Filesystem::open_for_write(device, OPTIONS).expect("it was just written"));
    assert_eq!(all(&tree), staged, "what is committed is not what was staged");
    Some(tree)
}
