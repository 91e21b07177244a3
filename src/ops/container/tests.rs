//! Bringing changes back, on a tree in memory.

use super::apply::{Applied, apply};
use super::manifest::{self, Header, Manifest, Writer};
use super::plan::{What, plan};
use crate::error::{ErrorKind, Result};
use crate::ops::IdMap;
use crate::ops::extract::{How, extract};
use crate::ops::host_dir::HostDir;
use crate::tree::memtree::MemTree;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Case {
    folder: TempDir,
    tree: MemTree,
    manifest: Manifest,
    top: HostDir,
}

impl Case {
    fn new(tree: MemTree) -> Self {
        let folder = nomount_kit::scratch::folder();
        let dir = folder.path().join("root");
        fs::create_dir(&dir).unwrap();
        let top = HostDir::open(&dir).unwrap();
        // Files of the tree and of the host belong to whoever runs the test.
        let nobody = IdMap::default();
        let file = folder.path().join("manifest");
        let header = Header::new(Path::new("/a/\u{e9}"), "raw", String::new(), String::new(), (nobody.clone(), nobody));
        let mut writer = Writer::create(&file, &header).unwrap();
        let how = How { uids: IdMap::default(), gids: IdMap::default(), set_id: false, devices: false, room: 1 << 20 };
        extract(&tree, &top, &how, &mut |made| writer.record(&made)).unwrap();
        writer.finish().unwrap();
        let manifest = manifest::read(&file).unwrap();
        assert_eq!(manifest.header, header);
        // The host's clock for files may move by 10 ms at a time.
        std::thread::sleep(std::time::Duration::from_millis(20));
        Self { folder, tree, manifest, top }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path)
    }

    fn apply(&mut self) -> Result<Applied> {
        let plan = plan(&self.top, &self.manifest)?;
        apply(&mut self.tree, &self.top, &self.manifest, &plan)
    }
}

fn tree() -> MemTree {
    let mut tree = MemTree::new();
    tree.file("/d/f", "text").file("/d/g", "more").hard_link("/d/g", "/d/h").link("/d/l", "f").dir("/e");
    tree.raw_link("/d/\u{1}", b"\xff".to_vec());
    tree
}

#[test]
fn an_unchanged_directory_has_no_differences() {
    let case = Case::new(tree());
    let found = plan(&case.top, &case.manifest).unwrap();
    assert_eq!((found.differences.len(), found.removed.len(), found.seen), (0, 0, 7));
}

#[test]
fn what_changes_while_it_is_read_is_an_error() {
    let mut case = Case::new(tree());
    fs::write(case.at("d/f"), "changed").unwrap();
    let found = plan(&case.top, &case.manifest).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(case.at("d/f"), "CHANGED").unwrap();
    let error = apply(&mut case.tree, &case.top, &case.manifest, &found).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    // A link to somewhere else in the place of the file.
    let found = plan(&case.top, &case.manifest).unwrap();
    fs::remove_file(case.at("d/f")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", case.at("d/f")).unwrap();
    let error = apply(&mut case.tree, &case.top, &case.manifest, &found).unwrap_err();
    assert_eq!((error.kind(), case.tree.text("/d/f").as_str()), (ErrorKind::Busy, "text"));
}

#[test]
fn renames_keep_the_file_and_links_stay_one() {
    let mut case = Case::new(tree());
    fs::rename(case.at("d"), case.at("e/d")).unwrap();
    fs::write(case.at("e/d/h"), "both").unwrap();
    let path = |text: &str| crate::tree::GuestPath::parse(text).unwrap();
    let ino = |tree: &MemTree, text: &str| crate::tree::FileTree::stat(tree, &path(text)).unwrap().ino;
    let before = (ino(&case.tree, "/d/f"), ino(&case.tree, "/d/g"));
    let found = plan(&case.top, &case.manifest).unwrap();
    let births = found.differences.iter().all(|difference| difference.facts.btime.is_some());
    let done = case.apply().unwrap();
    assert_eq!(case.tree.text("/e/d/g"), "both");
    assert_eq!(ino(&case.tree, "/e/d/g"), ino(&case.tree, "/e/d/h"));
    assert!(!case.tree.has("/d") && case.tree.has("/e/d/l"));
    if births {
        assert_eq!((ino(&case.tree, "/e/d/f"), ino(&case.tree, "/e/d/g")), before);
        assert_eq!((done.created, done.linked), (6, 5));
    }
    let names = crate::tree::FileTree::entries(&case.tree, &path("/")).unwrap();
    assert_eq!(names.len(), 1, "what was kept meanwhile is gone");
}

#[test]
fn a_file_with_a_reused_number_is_not_the_old_one() {
    let mut case = Case::new(tree());
    fs::write(case.at("new"), "new").unwrap();
    // As if the new file had got the number of one that is gone, born at another time.
    let number = case.top.facts(b"new").unwrap().ino;
    let old = crate::tree::GuestPath::parse("/d/f").unwrap();
    case.manifest.names.get_mut(&old).unwrap().host.as_mut().unwrap().ino = number;
    let found = plan(&case.top, &case.manifest).unwrap();
    let new = found.differences.iter().find(|difference| difference.path.to_string() == "/new").unwrap();
    assert_eq!(new.what, What::New(None));
}
