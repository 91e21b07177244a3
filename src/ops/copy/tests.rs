//! Sources made for a test, placed in trees in memory.

use super::*;
use crate::error::{ErrorKind, Result};
use crate::ops::editor::Editor;
use crate::ops::populate::{Item, Meta, Node, Source};
use crate::ops::{Change, Silent, What};
use crate::tree::memtree::MemTree;
use crate::tree::{FatTree, FileTree, GuestPath, MountTree, Time, read_all};
use nomount_block::{Memory, Overlay, Spill};
use nomount_fat::{Filesystem, OpenOptions, Options, mkfs};

/// What an entry of a list is.
#[derive(Clone, Copy)]
enum Of {
    Dir,
    File(&'static str),
    Link(&'static str),
    Hard(&'static str),
}

/// Entries one after the other, all with the same attributes.
struct List(Vec<(&'static str, Of)>, Meta);

impl Source for List {
    fn each(&mut self, _: &mut Vec<String>, visit: &mut dyn FnMut(Item<'_>) -> Result<()>) -> Result<()> {
        for (path, of) in &self.0 {
            let (path, meta) = (path.as_bytes(), self.1.clone());
            match of {
                Of::Dir => visit(Item { path, node: Node::Dir, meta })?,
                Of::File(text) => {
                    let mut contents = Stream::new(text.as_bytes());
                    visit(Item { path, node: Node::File(text.len() as u64, &mut contents), meta })?;
                }
                Of::Link(target) => visit(Item { path, node: Node::Symlink(target.as_bytes()), meta })?,
                Of::Hard(target) => visit(Item { path, node: Node::HardLink(target.as_bytes()), meta })?,
            }
        }
        Ok(())
    }
}

fn meta() -> Meta {
    let xattrs = vec![(b"user.x".to_vec(), b"1".to_vec()), (b"security.selinux".to_vec(), b"t".to_vec())];
    Meta { mode: 0o4751, uid: 7, gid: 8, mtime: Time { sec: 1_000_000_000, nsec: 0 }, xattrs }
}

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

fn copy(
    tree: &mut dyn FileTree,
    list: &[(&'static str, Of)],
    to: &str,
    how: &CopyOptions,
) -> Result<(Copied, Vec<Change>), ErrorKind> {
    let mut editor = Editor::new(tree);
    let copied = copy_in(&mut editor, &mut List(list.to_vec(), meta()), &path(to), how, &mut Silent);
    copied.map(|copied| (copied, editor.into_changes())).map_err(|error| error.kind())
}

#[test]
fn attributes_are_those_asked_for() {
    let mut tree = MemTree::new();
    tree.dir("/d");
    let list = [("", Of::Dir), ("f", Of::File("text")), ("l", Of::Link("/f")), ("g", Of::Hard("f"))];
    let (copied, changes) = copy(&mut tree, &list, "/d/plain", &CopyOptions::default()).unwrap();
    assert_eq!((copied.entries, copied.directories, copied.hard_links, copied.bytes), (4, 1, 1, 4));
    assert_eq!(changes.len(), 4, "one for each name: {changes:?}");
    assert_eq!((tree.mode("/d/plain"), tree.mode("/d/plain/f"), tree.owner_of("/d/plain/f")), (0o755, 0o755, (0, 0)));
    assert!(tree.xattrs(&path("/d/plain/f")).unwrap().is_empty());
    let all = CopyOptions { keep: Keep::ALL, ..CopyOptions::default() };
    let (_, changes) = copy(&mut tree, &list, "/d/kept", &all).unwrap();
    let labels = changes.iter().filter(|change| matches!(change.what, What::SetXattr { .. })).count();
    assert_eq!((changes.len(), labels), (7, 3), "a label for all but the hard link: {changes:?}");
    for name in ["/d/kept", "/d/kept/f"] {
        assert_eq!((tree.mode(name), tree.owner_of(name)), (0o4751, (7, 8)), "{name}");
        assert_eq!(tree.xattrs(&path(name)).unwrap().len(), 2);
        assert_eq!(tree.stat(&path(name)).unwrap().mtime, meta().mtime);
    }
}

#[test]
fn a_directory_that_is_there_keeps_what_nobody_asked_for() {
    let mut tree = MemTree::new();
    tree.dir("/d").chmod("/d", 0o2770).owner("/d", 3, 4).link("/to_d", "d").file("/d/f", "old").chmod("/d/f", 0o600);
    tree.hard_link("/d/f", "/other");
    let list = [("d", Of::Dir), ("d/f", Of::File("new")), ("to_d", Of::Dir), ("to_d/g", Of::File("x"))];
    copy(&mut tree, &list, "/", &CopyOptions::default()).unwrap();
    assert_eq!((tree.mode("/d"), tree.owner_of("/d")), (0o2770, (3, 4)));
    assert_eq!((tree.text("/d/f").as_str(), tree.mode("/d/f"), tree.text("/other").as_str()), ("new", 0o755, "old"));
    assert!(tree.has("/d/g"));
    let keep = Keep { mode: true, ..Keep::default() };
    copy(&mut tree, &list, "/", &CopyOptions { keep, ..CopyOptions::default() }).unwrap();
    assert_eq!((tree.mode("/d"), tree.owner_of("/d")), (0o4751, (3, 4)));
    for (list, kind) in [
        (&[("d", Of::File("x"))][..], ErrorKind::IsADirectory),
        (&[("other", Of::Dir)], ErrorKind::NotADirectory),
        (&[("other/x", Of::File(""))], ErrorKind::NotADirectory),
        (&[("x", Of::Hard("no"))], ErrorKind::NotFound),
    ] {
        assert_eq!(copy(&mut tree, list, "/", &CopyOptions::default()).unwrap_err(), kind);
    }
}

#[test]
fn inside_a_tree_a_directory_does_not_go_into_itself() {
    let mut tree = MemTree::new();
    tree.file("/a/f", "text").hard_link("/a/f", "/a/g").link("/a/l", "f").dir("/b");
    let mut within = |from: &str, to: &str, keep| {
        let how = CopyOptions { keep, ..CopyOptions::default() };
        copy_within(&mut Editor::new(&mut tree), &path(from), &path(to), &how, &mut Silent)
            .map(|copied| copied.entries)
            .map_err(|error| error.kind())
    };
    assert_eq!(within("/a", "/a/b", Keep::ALL), Err(ErrorKind::Invalid));
    assert_eq!(within("/a/f", "/a/g", Keep::ALL), Err(ErrorKind::Invalid));
    assert_eq!(within("/a/f", "/a", Keep::ALL), Err(ErrorKind::IsADirectory));
    assert_eq!(within("/a", "/b/a", Keep::ALL), Ok(4));
    assert_eq!(within("/a", "/b/single", Keep::default()), Ok(4));
    let links = |name: &str| tree.stat(&path(name)).unwrap().links;
    assert_eq!((links("/b/a/f"), links("/b/single/f")), (2, 1));
    assert_eq!(tree.text("/b/single/g"), "text");
}

#[test]
fn what_fat_cannot_store_is_noted_unless_it_was_asked_for() {
    let mut volume = Memory::zeroed(8 << 20);
    mkfs(&mut volume, &Options::default()).unwrap();
    let now = OpenOptions { now: nomount_fat::Time { sec: 1_700_000_000, nsec: 0 } };
    let mut tree = FatTree::new(Filesystem::open_for_write(Overlay::new(volume, Spill::Never), now).unwrap());
    let list = [("d", Of::Dir), ("d/f", Of::File("text"))];
    let (plain, _) = copy(&mut tree, &list, "/", &CopyOptions::default()).unwrap();
    assert_eq!(plain.remarks().count(), 0, "{plain:?}");
    let all = CopyOptions { keep: Keep::ALL, ..CopyOptions::default() };
    let (kept, _) = copy(&mut tree, &list, "/", &all).unwrap();
    let remarks: Vec<String> = kept.remarks().collect();
    assert_eq!(remarks, ["/d/f: FAT has no owners: 7:8 cannot be stored: left out, here and at 1 more"]);
    assert_eq!(tree.stat(&path("/d/f")).unwrap().mtime, meta().mtime);
    let asked = CopyOptions { owner: Some(Owner::parse("7:8").unwrap()), ..CopyOptions::default() };
    assert_eq!(copy(&mut tree, &list, "/", &asked).unwrap_err(), ErrorKind::Unsupported);
    let roots = CopyOptions { owner: Some(Owner::parse("0:0").unwrap()), keep: Keep::ALL, ..CopyOptions::default() };
    assert_eq!(copy(&mut tree, &list, "/", &roots).unwrap().0.remarks().count(), 1);
    let names = [("top", Of::File("twice")), ("again", Of::Hard("top"))];
    let (links, _) = copy(&mut tree, &names, "/", &CopyOptions { keep: Keep::ALL, ..CopyOptions::default() }).unwrap();
    assert!(links.remarks().any(|text| text == "/again: FAT has no hard links: copied"), "{links:?}");
    let again = read_all(&tree, &path("/again"), 100).unwrap();
    assert_eq!((again.as_slice(), links.hard_links), (&b"twice"[..], 0));
    copy(&mut tree, &[("", Of::Dir)], "/", &all).unwrap();
    assert_eq!(copy(&mut tree, &[("l", Of::Link("f"))], "/", &all).unwrap_err(), ErrorKind::Unsupported);
}

#[test]
fn files_of_one_number_in_two_filesystems_are_two_files() {
    let (mut root, mut boot) = (MemTree::new(), MemTree::new());
    root.file("/a", "root's").hard_link("/a", "/b").dir("/boot").dir("/to");
    boot.file("/a", "boot's").hard_link("/a", "/b").file("/c", "other");
    let mut tree = MountTree::new(root);
    tree.mount(path("/boot"), boot);
    assert_eq!(tree.stat(&path("/a")).unwrap().ino, tree.stat(&path("/boot/a")).unwrap().ino);
    let mut copy = |from: &str, to: &str| {
        let how = CopyOptions { keep: Keep::ALL, ..CopyOptions::default() };
        copy_within(&mut Editor::new(&mut tree), &path(from), &path(to), &how, &mut Silent).unwrap();
    };
    copy("/boot", "/to/boot");
    copy("/a", "/boot/c");
    // Over a file that has the number of the source.
    copy("/a", "/boot/a");
    let mut walk = crate::ops::populate::GuestWalk::new(path("/"), u64::MAX, true, false);
    let mut first = std::collections::BTreeMap::new();
    while let Some(met) = walk.next(&tree).unwrap() {
        first.insert(met.place.to_string(), met.first.map(|first| String::from_utf8(first).unwrap()));
    }
    assert_eq!((first["/b"].as_deref(), first["/boot/a"].as_deref()), (Some("a"), None));
    let trees: Vec<MemTree> = tree.into_trees().collect();
    assert_eq!((trees[0].text("/to/boot/a").as_str(), trees[0].text("/b").as_str()), ("boot's", "root's"));
    assert_eq!((trees[1].text("/c").as_str(), trees[1].text("/a").as_str()), ("root's", "root's"));
    assert_eq!(trees[1].text("/b"), "boot's");
}
