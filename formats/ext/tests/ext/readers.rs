//! What we wrote, read by two other implementations.

use crate::common::{OPTIONS, WRITABLE, in_parallel, our_digest, typical_change};
use fs_ext4::block_io::FileDevice;
use nomount_block::Memory;
use nomount_ext::{Attrs, Filesystem, New, ROOT_INO};
use nomount_kit::digest::{Kind, content_hash};
use nomount_kit::{TreeDigest, fixture, scratch};
use std::sync::Arc;

/// Larger files are holes for the most part, and these readers return them whole.
const MAX_CONTENTS: u64 = 1 << 20;

/// What it does not know; and it wants larger inodes where there are checksums.
const NOT_BY_EXT4_VIEW: &[&str] =
    &["ext4-i128-csum", "meta-bg", "mmp", "ea-inode", "casefold", "large-dir", "inline-data"];

/// A typical change, and a directory that becomes an index.
fn changed(name: &str) -> (Memory, TreeDigest) {
    let mut fs = Filesystem::open_for_write(fixture::memory(name), OPTIONS).unwrap();
    typical_change(&mut fs).unwrap();
    let dir = fs.create(ROOT_INO, b"many", &New::Dir, Attrs::default()).unwrap();
    for number in 0..200 {
        let name = format!("a-long-name-so-that-blocks-are-full-soon-{}-{number}", "x".repeat(100));
        fs.create(dir, name.as_bytes(), &New::Fifo, Attrs::default()).unwrap();
    }
    fs.commit().unwrap();
    let tree = our_digest(&fs);
    (fs.into_device(), tree)
}

#[test]
fn ext4_view_reads_the_same() {
    let taken = WRITABLE.iter().filter(|name| !NOT_BY_EXT4_VIEW.contains(name));
    in_parallel(taken, |name| {
        let (image, tree) = changed(name);
        let other = ext4_view::Ext4::load(Box::new(image.into_bytes())).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (path, entry) in &tree.entries {
            let shown = String::from_utf8_lossy(path);
            // It takes no time outside 32 bits.
            if !(0..1 << 31).contains(&entry.mtime.0) {
                continue;
            }
            let Ok(path) = ext4_view::Path::try_from(path.as_slice()) else { panic!("{name}: {shown}") };
            let found = other.symlink_metadata(path).unwrap_or_else(|e| panic!("{name}: {shown}: {e}"));
            assert_eq!(found.mode() & 0o7777, entry.mode, "{name}: {shown}");
            assert_eq!((found.uid(), found.gid()), (entry.uid, entry.gid), "{name}: {shown}");
            match entry.kind {
                Kind::File if entry.size <= MAX_CONTENTS => {
                    let bytes = other.read(path).unwrap_or_else(|e| panic!("{name}: {shown}: {e}"));
                    assert_eq!(content_hash(&bytes), entry.content, "{name}: {shown}");
                }
                Kind::Symlink => {
                    let target = other.read_link(path).unwrap_or_else(|e| panic!("{name}: {shown}: {e}"));
                    assert_eq!(Some(target.as_ref()), entry.target.as_deref(), "{name}: {shown}");
                }
                _ => {}
            }
        }
    });
}

#[test]
fn rust_fs_ext4_finds_nothing_wrong() {
    // It does not know bigalloc.
    in_parallel(WRITABLE.iter().filter(|name| **name != "bigalloc"), |name| {
        let (image, tree) = changed(name);
        let file = scratch::device(&image);
        let device = FileDevice::open_path(&file).unwrap();
        let other = fs_ext4::Filesystem::mount(Arc::new(device)).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let report = fs_ext4::fsck::audit(&other, 10_000, 100_000).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert!(report.anomalies.is_empty(), "{name}: {:?}", report.anomalies);
        assert!(report.entries_scanned as usize >= tree.entries.len(), "{name}: {}", report.entries_scanned);
    });
}
