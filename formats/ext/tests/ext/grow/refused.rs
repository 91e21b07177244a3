//! What is not grown, and says so before anything is staged.

use super::{EXT2, EXT4, make};
use crate::common::OPTIONS;
use nomount_block::{HostFile, Memory, Overlay, SetLen, Spill, WriteAt};
use nomount_ext::{Error, Filesystem};
use nomount_kit::fixture;
use tempfile::NamedTempFile;

/// An image in memory, longer than its filesystem.
fn longer(features: &str, options: &str, kib: u64, to: u64) -> Memory {
    let file = make(kib, features, options);
    let mut image = Memory::new(std::fs::read(file.path()).unwrap());
    image.set_len(to * 1024).unwrap();
    image
}

/// The error of growing an image, of which nothing is staged.
fn refused(image: Memory, blocks: u64) -> Error {
    let mut fs = Filesystem::open_for_write(image.clone(), OPTIONS).unwrap();
    let error = fs.grow(blocks).unwrap_err();
    assert!(fs.commit().unwrap().is_empty(), "{error}");
    let end = (fs.geometry().blocks_count * u64::from(fs.geometry().block_size)) as usize;
    assert!(fs.into_device().bytes()[..end] == image.bytes()[..end], "{error}");
    error
}

/// The filesystem in a file on a device that is as long as no file of the host can be.
fn open_on(file: &NamedTempFile, len: u64) -> Filesystem<Overlay<HostFile>> {
    let mut device = Overlay::new(HostFile::new(file.reopen().unwrap(), false).unwrap(), Spill::Never);
    device.set_len(len).unwrap();
    Filesystem::open_for_write(device, OPTIONS).unwrap()
}

#[test]
fn what_cannot_be() {
    let image = longer(EXT4, "-b 1024", 20_000, 40_000);
    assert!(matches!(refused(image.clone(), 19_999), Error::CannotShrink { blocks: 20_000, wanted: 19_999 }));
    assert!(matches!(refused(image, 40_001), Error::Invalid(what) if what.contains("40000")));
    let mut fs = Filesystem::open(fixture::memory("ext4-147"), OPTIONS).unwrap();
    let blocks = fs.geometry().blocks_count;
    assert!(fs.plan_grow(blocks).unwrap().is_empty());
    assert!(matches!(fs.grow(blocks), Err(Error::ReadOnly(_))));

    let file = make(4 << 20, EXT2, "-b 4096 -N 100000");
    let error = open_on(&file, 17 << 40).grow((17 << 40) / 4096).unwrap_err();
    assert!(matches!(&error, Error::Limit(what) if what.contains("64bit")), "{error}");
    let file = make(4 << 20, EXT4, "-b 4096 -i 4096");
    let error = open_on(&file, 20 << 40).grow((20 << 40) / 4096).unwrap_err();
    assert!(matches!(&error, Error::Limit(what) if what.contains("groups: at most 131071")), "{error}");
}

#[test]
fn what_is_done_otherwise_is_told_by_name() {
    let file = make(4 << 20, &format!("{EXT4},resize_inode"), "-b 8192 -g 65000 -N 20000 -E resize=4294967295");
    let mut fs = open_on(&file, 40 << 40);
    let error = fs.grow((1 << 32) + 1_000_000).unwrap_err();
    assert!(matches!(&error, Error::CannotGrow(what) if what.contains("2^32")), "{error}");
    assert!(fs.commit().unwrap().is_empty());

    // All lists of 1024 reserved blocks change with the first copy, and the log has no room for them.
    let options = "-b 4096 -J size=4 -E resize=4294967295";
    let image = longer(&format!("{EXT4},resize_inode"), options, 60_000, 300_000);
    let error = refused(image.clone(), 75_000);
    assert!(matches!(&error, Error::CannotGrow(what) if what.contains("journal")), "{error}");
    // Without another copy they stay as they are.
    let mut fs = Filesystem::open_for_write(image, OPTIONS).unwrap();
    fs.grow(32_768).unwrap();
    assert_eq!(fs.commit().unwrap().transactions, 1);
}

/// Each part of the reserve spoiled: refused, and nothing written.
#[test]
fn a_spoiled_reserve_or_descriptor_is_corrupt() {
    let image = longer("ext_attr,filetype,sparse_super,resize_inode", "-b 1024", 20_000, 400_000);
    let fs = Filesystem::open(&image, OPTIONS).unwrap();
    let inode = fs.inode(7).unwrap();
    let table = fs.group(0).unwrap().inode_table * 1024 + 6 * u64::from(fs.geometry().inode_size);
    assert_eq!(inode.links(), 1);
    drop(fs);
    let at = (table + 40 + 13 * 4) as usize;
    let list = u64::from(u32::from_le_bytes(image.bytes()[at..at + 4].try_into().unwrap()));
    // Block 3 is the first that is reserved: behind superblock and descriptors.
    let first_list = 3 * 1024;
    let spoiled: [(&str, u64, u32); 8] = [
        ("link count", table + 26, 0),
        ("no list", at as u64, 0),
        ("list outside", at as u64, 0x00FF_FFFF),
        ("entry of the list", list * 1024 + 3 * 4, 77),
        ("copy of a block", first_list, 9),
        ("a copy more", first_list + 4 * 200, 9),
        ("blocks counted", table + 28, 2),
        ("last group's bitmap", 1024 * 2 + 2 * 32, 0x00FF_FFFF),
    ];
    for (what, offset, value) in spoiled {
        let mut bad = image.clone();
        bad.write_at(offset, &value.to_le_bytes()).unwrap();
        let error = refused(bad, 400_000);
        assert!(matches!(error, Error::Corrupt(_)), "{what}: {error}");
    }
    refused_by_features(image);
}

/// The reserve and its feature contradict each other.
fn refused_by_features(image: Memory) {
    const COMPAT: u64 = 1024 + 0x5C;
    const INCOMPAT: u64 = 1024 + 0x60;
    for (what, offset, clear, set) in [("no resize_inode", COMPAT, 0x10, 0), ("meta_bg too", INCOMPAT, 0, 0x10)] {
        let mut bad = image.clone();
        let at = offset as usize;
        let word = u32::from_le_bytes(bad.bytes()[at..at + 4].try_into().unwrap());
        bad.write_at(offset, &(word & !clear | set).to_le_bytes()).unwrap();
        let error = refused(bad, 400_000);
        assert!(matches!(error, Error::Corrupt(_)), "{what}: {error}");
    }
}
