//! Images that want out of the directory, and what is kept of those that do not.

use super::*;
use crate::error::ErrorKind;
use crate::tree::{Entries, NewNode, SetAttr, Time};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

/// What a directory of the image says, when it lies.
type Lie = fn(&GuestPath, Vec<Entry>) -> Vec<Entry>;

/// A tree in memory, and lies about its directories, sizes and links.
#[derive(Debug)]
struct Hostile {
    tree: crate::tree::memtree::MemTree,
    lie: Lie,
    size: Option<u64>,
}

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

impl FileTree for Hostile {
    fn stat(&self, path: &GuestPath) -> Result<Stat> {
        let mut stat = self.tree.stat(path)?;
        if let Some(size) = self.size.filter(|_| stat.kind == FileKind::File) {
            stat.size = size;
        }
        Ok(stat)
    }
    fn read_at(&self, path: &GuestPath, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.tree.read_at(path, offset, buf)
    }
    fn data(&self, path: &GuestPath) -> Result<Vec<Range<u64>>> {
        self.tree.data(path)
    }
    fn read_link(&self, path: &GuestPath) -> Result<Vec<u8>> {
        self.tree.read_link(path)
    }
    fn entries(&self, path: &GuestPath) -> Result<Entries> {
        Ok((self.lie)(path, self.tree.entries(path)?.into_parts().0).into())
    }
    fn xattrs(&self, path: &GuestPath) -> Result<Vec<Xattr>> {
        self.tree.xattrs(path)
    }
    fn create(&mut self, path: &GuestPath, node: NewNode, attr: SetAttr) -> Result<()> {
        self.tree.create(path, node, attr)
    }
    fn write_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        self.tree.write_file(path, contents)
    }
    fn append_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        self.tree.append_file(path, contents)
    }
    fn write_at(&mut self, path: &GuestPath, offset: u64, data: &[u8]) -> Result<()> {
        self.tree.write_at(path, offset, data)
    }
    fn truncate(&mut self, path: &GuestPath, size: u64) -> Result<()> {
        self.tree.truncate(path, size)
    }
    fn link(&mut self, old: &GuestPath, new: &GuestPath) -> Result<()> {
        FileTree::link(&mut self.tree, old, new)
    }
    fn rename(&mut self, from: &GuestPath, to: &GuestPath) -> Result<()> {
        self.tree.rename(from, to)
    }
    fn unlink(&mut self, path: &GuestPath) -> Result<()> {
        self.tree.unlink(path)
    }
    fn rmdir(&mut self, path: &GuestPath) -> Result<()> {
        self.tree.rmdir(path)
    }
    fn remove_tree(&mut self, path: &GuestPath) -> Result<u64> {
        self.tree.remove_tree(path)
    }
    fn set_attr(&mut self, path: &GuestPath, attr: SetAttr) -> Result<()> {
        self.tree.set_attr(path, attr)
    }
    fn set_xattr(&mut self, path: &GuestPath, name: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.tree.set_xattr(path, name, value)
    }
    fn savepoint(&mut self) -> crate::tree::Savepoint {
        self.tree.savepoint()
    }
    fn rollback(&mut self, savepoint: crate::tree::Savepoint) {
        self.tree.rollback(savepoint);
    }
}

fn how(room: u64) -> How {
    // Everything belongs to whoever runs the test, so that it does not matter who does.
    let nobody = IdMap::default();
    How { uids: nobody.clone(), gids: nobody, set_id: false, devices: false, room }
}

/// Extracts into `FOLDER/in`; nothing else may be in FOLDER afterwards.
fn run(tree: &dyn FileTree, how: &How) -> (TempDir, Result<Extracted>, BTreeMap<String, bool>) {
    let folder = nomount_kit::scratch::folder();
    let into = folder.path().join("in");
    fs::create_dir(&into).unwrap();
    let mut told = BTreeMap::new();
    let top = HostDir::open(&into).unwrap();
    let done = extract(tree, &top, how, &mut |made| {
        assert!(told.insert(made.path.to_string(), made.host.is_some()).is_none(), "{} is told twice", made.path);
        Ok(())
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something is outside");
    (folder, done, told)
}

fn hostile(lie: Lie) -> Hostile {
    let mut tree = crate::tree::memtree::MemTree::new();
    tree.dir("/d/sub").file("/d/f", "text").link("/d/l", "..").file("/d/sub/g", "more");
    Hostile { tree, lie, size: None }
}

fn rename(entries: Vec<Entry>, to: &[u8]) -> Vec<Entry> {
    entries.into_iter().map(|entry| Entry { name: to.to_vec(), ..entry }).take(1).collect()
}

fn unchanged(_: &GuestPath, entries: Vec<Entry>) -> Vec<Entry> {
    entries
}

#[test]
fn z4_names_that_lead_elsewhere_are_refused() {
    let lies: [(&str, Lie); 7] = [
        ("../pwn", |_, all| rename(all, b"../pwn")),
        ("a/b", |_, all| rename(all, b"a/b")),
        ("", |_, all| rename(all, b"")),
        (r"a\x00b", |_, all| rename(all, b"a\0b")),
        (".", |_, all| rename(all, b".")),
        ("..", |_, all| rename(all, b"..")),
        ("/etc/passwd", |_, all| rename(all, b"/etc/passwd")),
    ];
    for (name, lie) in lies {
        let (_folder, done, told) = run(&hostile(lie), &how(1 << 20));
        let error = done.unwrap_err();
        assert_eq!((error.kind(), told.len()), (ErrorKind::Corrupt, 0), "{name}");
        assert!(error.to_string().contains(&format!("the impossible name \"{name}\"")), "{error}");
    }
}

#[test]
fn z4_a_link_and_a_directory_of_one_name_is_no_way_out() {
    let twice: Lie = |path, mut all| {
        // `x`, a link to the parent, and `x` again, with what is in `sub`.
        if path.to_string() == "/d" {
            all.iter_mut().filter(|entry| entry.name != b"f").for_each(|entry| entry.name = b"l".to_vec());
        }
        all
    };
    let (_folder, done, _) = run(&hostile(twice), &how(1 << 20));
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Corrupt);
    let same: Lie = |_, all| all.iter().chain(&all).cloned().collect();
    let (_folder, done, _) = run(&hostile(same), &how(1 << 20));
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn z4_the_host_is_not_filled_with_copies_of_the_same_blocks() {
    let mut tree = hostile(unchanged);
    tree.tree.file("/d/sub/g", [1; 100]);
    // Five names, 104 bytes of contents.
    assert_eq!(run(&tree, &how(104)).1.unwrap().bytes, 104);
    assert!(run(&tree, &how(103)).1.unwrap_err().to_string().contains("more bytes"));
    assert!(run(&tree, &how(39)).1.unwrap_err().to_string().contains("more names"));
}

#[test]
fn z4_sizes_beyond_any_host_are_an_error_and_those_within_are_holes() {
    let mut tree = hostile(unchanged);
    tree.size = Some(u64::MAX);
    let (_folder, done, _) = run(&tree, &how(1 << 20));
    assert!(done.is_err());
    tree.size = Some(1 << 42);
    let (folder, done, _) = run(&tree, &how(1 << 20));
    assert_eq!(done.unwrap().bytes, 8);
    let meta = fs::metadata(folder.path().join("in/d/f")).unwrap();
    assert_eq!(meta.len(), 1 << 42);
    assert!(meta.blocks() <= 64, "{}", meta.blocks());
}

#[test]
fn z4_deep_trees_are_extracted_beyond_the_longest_path_and_then_refused() {
    let name = "d".repeat(200);
    let deep = |levels: usize| {
        let mut tree = crate::tree::memtree::MemTree::new();
        let mut here = GuestPath::root();
        for _ in 0..levels {
            here = here.join(&name);
            tree.create(&here, NewNode::Dir, SetAttr::default()).unwrap();
        }
        tree.create(&here.join("leaf"), NewNode::File, SetAttr::default()).unwrap();
        tree
    };
    let (folder, done, _) = run(&deep(100), &how(1 << 20));
    assert_eq!(done.unwrap().names, 102);
    crate::ops::host_dir::remove(&HostDir::open(folder.path()).unwrap(), b"in").unwrap();
    let (folder, done, _) = run(&deep(MAX_DEPTH + 1), &how(1 << 20));
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Limit);
    crate::ops::host_dir::remove(&HostDir::open(folder.path()).unwrap(), b"in").unwrap();
}

#[test]
fn z4_devices_and_set_id_bits_are_written_down_unless_asked_for() {
    let mut tree = hostile(unchanged);
    tree.tree.chmod("/d/f", 0o6755).chmod("/d/sub", 0o2755);
    for (name, node) in [("/d/null", NewNode::CharDevice(1, 3)), ("/d/sda", NewNode::BlockDevice(8, 0))] {
        tree.create(&path(name), node, SetAttr::default()).unwrap();
    }
    let (folder, done, told) = run(&tree, &how(1 << 20));
    let done = done.unwrap();
    assert_eq!((done.devices_recorded, done.set_id_recorded), (2, 1));
    assert!(!told["/d/null"] && !told["/d/sda"] && told["/d/f"]);
    let mode = |name: &str| fs::symlink_metadata(folder.path().join(name)).map(|meta| meta.mode() & 0o7777).ok();
    assert_eq!((mode("in/d/null"), mode("in/d/f"), mode("in/d/sub")), (None, Some(0o755), Some(0o2755)));
    let asked = How { set_id: true, ..how(1 << 20) };
    let (folder, done, _) = run(&tree, &asked);
    assert_eq!(done.unwrap().set_id_recorded, 0);
    assert_eq!(fs::metadata(folder.path().join("in/d/f")).unwrap().mode() & 0o7777, 0o6755);
}

#[test]
fn files_keep_what_the_host_can_keep() {
    let mut tree = crate::tree::memtree::MemTree::new();
    let mut sparse = vec![0; 3 << 20];
    sparse[(1 << 20)..(1 << 20) + 5].copy_from_slice(b"hello");
    tree.file("/a/sparse", &sparse).link("/a/absolute", "/etc/passwd").raw_link("/a/raw", b"\xff/..".to_vec());
    tree.file("/a/f", "x").hard_link("/a/f", "/b/f").chmod("/a/f", 0o4640).chmod("/b", 0o500);
    tree.create(&path("/a/fifo"), NewNode::Fifo, SetAttr { mode: Some(0o666), ..SetAttr::default() }).unwrap();
    tree.create(&path("/a/socket"), NewNode::Socket, SetAttr::default()).unwrap();
    let mtime = Some(Time { sec: -5, nsec: 123_456_789 });
    for name in ["/a", "/a/f", "/a/fifo", "/a/absolute"] {
        tree.set_attr(&path(name), SetAttr { mtime, ..SetAttr::default() }).unwrap();
    }
    tree.set_xattr(&path("/a/f"), b"security.capability", Some(b"\x01")).unwrap();
    let (folder, done, told) = run(&tree, &how(16 << 20));
    let done = done.unwrap();
    assert_eq!((done.names, done.xattrs_recorded, told.len()), (10, 1, 10));
    let at = |name: &str| folder.path().join("in").join(name);
    let meta = |name: &str| fs::symlink_metadata(at(name)).unwrap();
    assert_eq!(fs::read(at("a/sparse")).unwrap(), sparse);
    assert!(meta("a/sparse").blocks() < 64);
    assert_eq!(fs::read_link(at("a/absolute")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!((meta("a/f").ino(), meta("a/f").nlink()), (meta("b/f").ino(), 2));
    assert_eq!((meta("a/f").mode() & 0o7777, meta("b").mode() & 0o7777), (0o640, 0o500));
    assert_eq!(meta("a/fifo").permissions().mode() & 0o7777, 0o666);
    assert!(meta("a/fifo").file_type().is_fifo() && meta("a/socket").file_type().is_socket());
    for name in ["a", "a/f", "a/fifo", "a/absolute"] {
        assert_eq!((meta(name).mtime(), meta(name).mtime_nsec()), (-5, 123_456_789), "{name}");
    }
    fs::set_permissions(at("b"), fs::Permissions::from_mode(0o700)).unwrap();
}
