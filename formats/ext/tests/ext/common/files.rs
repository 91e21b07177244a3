//! What the tests of file contents share: images opened above an overlay, judged when they are done.

pub use super::judged::{Staged, finish, judged, open};

use super::judged::read_alike;
use nomount_block::{Memory, ReadAt};
use nomount_ext::Filesystem;
use nomount_kit::tool::{command, output, text};
use nomount_kit::{TreeDigest, scratch};
use std::fs;

/// As [`judged`], where e2fsck may say that an extent tree could be rebuilt with fewer blocks: that is no fault, and
/// the kernel leaves such trees as well.
pub fn judged_but_wide(name: &str, image: &Memory) -> TreeDigest {
    let file = scratch::device(image);
    let done = output(command("e2fsck").args(["-fn"]).arg(&*file));
    let said = text(&done);
    assert!(done.status.success(), "{name}: {said}");
    for line in said.lines().filter(|line| line.starts_with("Inode") || line.contains('?')) {
        assert!(line.contains("could be narrower") || line.contains("Optimize? no"), "{name}: {said}");
    }
    read_alike(name, image)
}

/// A new filesystem of `kib` KiB by mke2fs with these options.
pub fn mke2fs(kib: u64, options: &[&str]) -> Memory {
    let file = scratch::file();
    file.as_file().set_len(kib * 1024).unwrap();
    let mut mke2fs = command("mke2fs");
    // No file of the host's defaults: what an image has is what the test says.
    mke2fs.env("MKE2FS_CONFIG", "/dev/null").args(["-q", "-F"]).args(options).arg(file.path());
    let done = output(&mut mke2fs);
    assert!(done.status.success(), "mke2fs {options:?}: {}", text(&done));
    Memory::new(fs::read(file.path()).unwrap())
}

/// All bytes of a file.
pub fn read_all<D: ReadAt>(fs: &Filesystem<D>, ino: u32) -> Vec<u8> {
    let mut bytes = vec![0xEE; fs.inode(ino).unwrap().size() as usize];
    assert_eq!(fs.read(ino, 0, &mut bytes).unwrap(), bytes.len());
    bytes
}

/// Blocks that a file's inode counts.
pub fn blocks<D: ReadAt>(fs: &Filesystem<D>, ino: u32) -> u64 {
    fs.inode(ino).unwrap().blocks_512(fs.geometry()) / u64::from(fs.geometry().block_size / 512)
}
