//! Changing an image in memory, and having it judged.

use super::{OPTIONS, assert_same, our_digest};
use nomount_block::{Memory, Overlay, Spill};
use nomount_ext::{Attrs, Filesystem, New, Options};
use nomount_kit::{TreeDigest, judges, scratch, tool};
use std::fs;
use std::path::Path;

/// A filesystem whose change is staged.
pub type Staged = Filesystem<Overlay<Memory>>;

/// Opens an image for changes.
pub fn open(image: Memory) -> Staged {
    Filesystem::open_for_write(Overlay::new(image, Spill::Never), OPTIONS).unwrap()
}

/// Commits, and gives the image.
pub fn finish(mut fs: Staged) -> Memory {
    fs.commit().unwrap();
    fs.into_device().commit().unwrap()
}

/// Judged clean, read alike by debugfs and by us; returns the tree.
pub fn judged(name: &str, image: &Memory) -> TreeDigest {
    clean(name, image);
    read_alike(name, image)
}

/// Read alike by debugfs and by us; returns the tree.
pub fn read_alike(name: &str, image: &Memory) -> TreeDigest {
    let digest = TreeDigest::of_ext(&scratch::device(image), 0);
    let fs = Filesystem::open(image, Options::default()).unwrap();
    assert_same(name, &our_digest(&fs), &digest);
    digest
}

/// Judged clean by e2fsck alone.
pub fn clean(name: &str, image: &Memory) {
    judges::e2fsck_fn(&scratch::device(image), 0).unwrap_or_else(|e| panic!("{name}: {e:?}"));
}

/// What debugfs says to a request about an image.
pub fn ask(image: &Memory, request: &str) -> String {
    let file = scratch::device(image);
    let done = tool::output(tool::command("debugfs").args(["-R", request]).arg(&*file));
    tool::text(&done)
}

/// An image after requests to debugfs.
pub fn altered(image: &Memory, requests: &[&str]) -> Memory {
    let file = scratch::device(image);
    for request in requests {
        let done = tool::output(tool::command("debugfs").args(["-w", "-R", request]).arg::<&Path>(&file));
        assert!(done.status.success(), "{request}: {}", tool::text(&done));
    }
    Memory::new(fs::read(&file).unwrap())
}

/// A new directory.
pub fn mkdir(fs: &mut Staged, dir: u32, name: &[u8]) -> u32 {
    fs.create(dir, name, &New::Dir, Attrs::default()).unwrap()
}

/// A new file with contents.
pub fn file(fs: &mut Staged, dir: u32, name: &[u8], contents: &[u8]) -> u32 {
    let ino = fs.create(dir, name, &New::File, Attrs::default()).unwrap();
    fs.write_contents(ino, contents).unwrap();
    ino
}
