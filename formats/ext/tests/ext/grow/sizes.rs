//! Sizes at their edges: one block more, a last group as short as it may be, twice, and far beyond.

use super::{EXT3, EXT4, grow_file, judged, make, open, read};
use crate::common::{in_parallel, long};
use nomount_kit::tool::{command, output, text};
use nomount_kit::{fixture, judges, require, scratch};
use std::os::unix::fs::MetadataExt;

/// Grows to each size, each time from the same filesystem of `from` blocks, and asks resize2fs what it makes of it.
fn compared(features: &str, options: &str, from: u64, sizes: impl IntoIterator<Item = u64>) {
    let file = make(from, features, options);
    for wanted in sizes {
        let name = &format!("{features} {options}: {from} to {wanted}");
        let (ours, theirs) = (scratch::copy(file.path()), scratch::copy(file.path()));
        let grown = grow_file(name, &ours, wanted);
        let done = output(command("resize2fs").arg(&*theirs).arg(wanted.to_string()));
        assert!(done.status.success(), "{name}: {}", text(&done));
        assert_eq!(grown.to_blocks, read(&theirs).geometry().blocks_count, "{name}");
        assert_eq!(grown.notes.is_empty(), grown.to_blocks == wanted, "{name}: {grown:?}");
        judged(name, &ours);
    }
}

#[test]
fn a_last_group_is_as_short_as_with_resize2fs() {
    if !require(&["mke2fs", "e2fsck", "debugfs", "dumpe2fs", "resize2fs"]) {
        return;
    }
    let reserve = format!("{EXT4},resize_inode");
    let alone = EXT3.replace("has_journal,", "");
    in_parallel(
        [(reserve.as_str(), "-b 1024 -I 256 -N 4096"), (alone.as_str(), "-b 1024 -I 128 -N 8192")],
        |(features, options)| {
            let file = make(20_000, features, options);
            let geo = read(file.path()).geometry().clone();
            let table = u64::from(geo.inodes_per_group) * u64::from(geo.inode_size) / 1024;
            // Group 3 has a copy of the superblock, group 4 has none.
            let head = 1 + 1 + if features.contains("resize_inode") { reserved(file.path()) } else { 0 };
            let mut sizes: Vec<u64> = vec![20_001, 24_576, 24_577, 24_578];
            for (group, own) in [(3, 2 + table + head), (4, 2 + table)] {
                let start = 1 + group * 8192;
                sizes.extend([0, 1, own, own + 49, own + 50, own + 51].map(|rest| start + rest));
            }
            compared(features, options, 20_000, sizes);
        },
    );
}

/// Blocks reserved for descriptors, as dumpe2fs counts them.
fn reserved(path: &std::path::Path) -> u64 {
    let shown = super::dumped(path);
    let line = shown.lines().find_map(|line| line.strip_prefix("Reserved GDT blocks:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn again_and_again() {
    if !require(&["mke2fs", "e2fsck", "debugfs", "dumpe2fs", "resize2fs"]) {
        return;
    }
    let conversion = format!("{EXT4},resize_inode");
    let super2 = EXT4.replace("sparse_super", "sparse_super2");
    let cases = [(EXT4, ""), (conversion.as_str(), "-E resize=300000"), (EXT3, ""), (super2.as_str(), "")];
    in_parallel(cases, |(features, options)| {
        let file = make(9000, features, &format!("-b 1024 -J size=1 {options}"));
        let mut blocks = 9000;
        for step in [1, 5000, 9, 100_000, 8192, 31, 250_000, 131_072 * 3, 1] {
            let name = &format!("{features} {options}: by {step} from {blocks}");
            let grown = grow_file(name, file.path(), blocks + step);
            assert_eq!(grown.from_blocks.max(blocks), blocks, "{name}");
            judges::e2fsck_fn(file.path(), 0).unwrap_or_else(|e| panic!("{name}: {e}"));
            blocks += step;
        }
        judged(features, file.path());
    });
}

/// Descriptors only: what is there is not read, and of what is new a block or two of each flexible group is written, and
/// the copies.
#[test]
fn from_4_gib_to_16_tib() {
    if !require(&["mke2fs", "e2fsck"]) {
        return;
    }
    let old = "has_journal,extent,flex_bg,sparse_super,uninit_bg,resize_inode";
    let reserve = &format!("{EXT4},resize_inode");
    let cases = [("-b 4096", EXT4), ("-b 4096 -E lazy_itable_init=1", old), ("-b 4096", reserve)];
    let sizes = [1u64 << 28, 1 << 32];
    in_parallel(cases.into_iter().flat_map(|case| sizes.map(|size| (case, size))), |((options, features), size)| {
        let file = make(4 << 20, features, options);
        // The last number that is counted without 64bit; and a file of 16 TiB is more than ext4 has below us.
        let blocks = size.min((1 << 32) - 4096);
        file.as_file().set_len(blocks * 4096).unwrap();
        let mut fs = open(file.path());
        let start = std::time::Instant::now();
        assert_eq!(fs.grow(blocks).unwrap().to_blocks, blocks);
        fs.commit().unwrap();
        fs.into_device().commit().unwrap();
        let stored = file.as_file().metadata().unwrap().blocks() * 512;
        eprintln!("{features} to {blocks} blocks: {:?}, {} MiB on the host", start.elapsed(), stored >> 20);
        assert!(stored < 400 << 20, "{features}: {stored}");
        // e2fsck takes half a minute for 16 TiB.
        if blocks <= 1 << 28 || long() {
            judges::e2fsck_fn(file.path(), 0).unwrap();
        }
        let ino = {
            let mut fs = open(file.path());
            let ino = fs.create(nomount_ext::ROOT_INO, b"new", &nomount_ext::New::File, Default::default()).unwrap();
            fs.write_contents(ino, &crate::common::bytes(100_000, 1)).unwrap();
            super::finish(fs);
            ino
        };
        assert_eq!(read(file.path()).inode(ino).unwrap().size(), 100_000);
    });
}

#[test]
fn a_minimum_that_resize2fs_reaches() {
    if !require(&["mke2fs", "e2fsck", "resize2fs"]) {
        return;
    }
    let mut images: Vec<(String, tempfile::TempPath)> = crate::common::WRITABLE
        .iter()
        .map(|name| ((*name).to_owned(), scratch::device(&fixture::memory(name))))
        .collect();
    for (features, options) in [(EXT4, "-b 4096"), (EXT4, "-b 1024"), (EXT3, "-b 1024"), (EXT4, "-b 4096 -i 4096")] {
        let file = make(600 << 10, &format!("{features},resize_inode"), options);
        let mut fs = open(file.path());
        super::used::fill(&mut fs, 100 << 20);
        super::finish(fs);
        images.push((format!("{features} {options}"), file.into_temp_path()));
    }
    let smaller = std::sync::atomic::AtomicUsize::new(0);
    in_parallel(images, |(name, path)| {
        let fs = read(&path);
        let (blocks, wanted) = (fs.geometry().blocks_count, fs.minimum_blocks().unwrap());
        assert!(wanted <= blocks, "{name}");
        smaller.fetch_add(usize::from(wanted < blocks), std::sync::atomic::Ordering::Relaxed);
        let before = crate::common::our_digest(&fs);
        let done = output(command("resize2fs").arg(&*path).arg(wanted.to_string()));
        assert!(done.status.success(), "{name}, {blocks} to {wanted}: {}", text(&done));
        judges::e2fsck_fn(&path, 0).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(crate::common::our_digest(&read(&path)) == before, "{name}");
    });
    assert!(smaller.into_inner() >= 4);
}
