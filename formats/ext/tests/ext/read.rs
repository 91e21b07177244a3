//! Every image is read as e2fsprogs reads it.

use crate::common::{DIRTY, NOT_WRITTEN, WRITABLE, assert_same, in_parallel, our_digest};
use nomount_ext::{Error, Filesystem, Options};
use nomount_kit::{TreeDigest, fixture, judges, require};

#[test]
fn clean_images_read_as_debugfs_reads_them() {
    if !require(&["debugfs"]) {
        return;
    }
    let readable = WRITABLE.iter().chain(NOT_WRITTEN.iter().map(|(name, _)| name));
    in_parallel(readable.filter(|name| **name != "encrypt"), |name| {
        let fs = Filesystem::open(fixture::memory(name), Options::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_same(name, &our_digest(&fs), &TreeDigest::of_ext(&fixture::file(name), 0));
    });
}

#[test]
fn a_log_is_replayed_in_memory_as_e2fsck_replays_it_on_the_disk() {
    if !require(&["debugfs", "e2fsck"]) {
        return;
    }
    in_parallel(DIRTY, |name| {
        let image = fixture::memory(name);
        let fs = Filesystem::open(&image, Options::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(name.starts_with("orphan") || fs.replayed_blocks() > 0, "{name} has nothing to replay");
        let file = fixture::file(name);
        judges::e2fsck_recover(&file, 0).unwrap();
        assert_same(name, &our_digest(&fs), &TreeDigest::of_ext(&file, 0));
    });
}

#[test]
fn what_is_not_written_is_refused_by_name() {
    for (name, word) in NOT_WRITTEN {
        match Filesystem::open_for_write(fixture::memory(name), Options::default()) {
            Err(Error::ReadOnly(text)) => assert!(text.contains(word), "{name}: {text}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    for (name, word) in [("unknown-incompat", "FEATURE_I31"), ("journal-dev", "journal_dev")] {
        match Filesystem::open(fixture::memory(name), Options::default()) {
            Err(Error::Unsupported(text)) => assert!(text.contains(word), "{name}: {text}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}
