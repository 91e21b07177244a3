//! What a scrubbed file held is nowhere on the device after the commit, and all of it or nothing is gone after a crash.

use crate::common::crash_case::Case;
use crate::common::{Staged, in_parallel, judged, open_staged};
use nomount_block::{Memory, Record};
use nomount_ext::{Attrs, Error, New, ROOT_INO};
use nomount_kit::crash::Plan;
use nomount_kit::{fixture, require};

const JOURNALED: &[&str] = &["ext3-1k", "ext4-142", "ext4-147", "ext4-rpi", "fast_commit", "bigalloc", "inline-data"];
const NO_JOURNAL: &[&str] = &["ext2-1k", "ext4-nojournal"];
/// States of one image. Nothing, everything and each barrier are always among them.
const STATES: usize = 14;
/// Parts of a file are so far apart: at whole clusters, so that none is moved when the next is written.
const STRIDE: u64 = 65_536;
/// Repeated, what a scrubbed file holds: each block has it whole.
const SECRET: &[u8; 16] = b"<scrubbed bytes>";
/// The same for a file that stays.
const OTHER: &[u8; 16] = b"{ others' bytes}";

fn repeated(pattern: &[u8; 16], len: usize) -> Vec<u8> {
    pattern.iter().copied().cycle().take(len).collect()
}

fn count(bytes: &[u8], pattern: &[u8; 16]) -> usize {
    // Patterns stand where they were written: at multiples of their length, or inside an inode anywhere.
    bytes.windows(16).filter(|window| *window == pattern).count()
}

/// An image with two files that grew by turns, so that their blocks alternate, and one of 32 bytes.
fn furnished(name: &str) -> Memory {
    let mut fs = open_staged(fixture::memory(name));
    let mut inos = [0; 2];
    for (ino, name) in inos.iter_mut().zip([b"secret", b"stayed"]) {
        *ino = fs.create(ROOT_INO, name, &New::File, Attrs::default()).unwrap();
    }
    for part in 0..40 {
        for (ino, pattern) in inos.into_iter().zip([SECRET, OTHER]) {
            fs.write_at(ino, part * STRIDE, &repeated(pattern, 4096 + 7)).unwrap();
        }
        fs.commit().unwrap();
    }
    let small = fs.create(ROOT_INO, b"small", &New::File, Attrs::default()).unwrap();
    fs.write_contents(small, &repeated(SECRET, 32)).unwrap();
    fs.commit().unwrap();
    fs.into_device().commit().unwrap()
}

fn ino(fs: &Staged, name: &[u8]) -> u32 {
    fs.lookup(ROOT_INO, name).unwrap().unwrap().ino
}

/// Removes both files with the pattern, the larger one after part of it was changed and cut off, and puts another in
/// its place.
fn scrub_both(fs: &mut Staged) {
    let secret = ino(fs, b"secret");
    fs.write_at(secret, 5000, &repeated(SECRET, 9000)).unwrap();
    fs.truncate(secret, 1_000_000).unwrap();
    for name in [&b"secret"[..], b"small"] {
        fs.scrub(ino(fs, name)).unwrap();
        fs.unlink(ROOT_INO, name).unwrap();
    }
    let new = fs.create(ROOT_INO, b"secret", &New::File, Attrs::default()).unwrap();
    fs.write_contents(new, &repeated(OTHER, 50_000)).unwrap();
}

fn assert_scrubbed(name: &str, base: &Memory, after: &Memory) {
    assert!(count(base.bytes(), SECRET) > 10_000, "{name}");
    assert_eq!(count(after.bytes(), SECRET), 0, "{name}");
    assert!(count(after.bytes(), OTHER) >= count(base.bytes(), OTHER) + 3000, "{name}");
}

#[test]
fn no_byte_is_left_and_every_crash_is_old_or_new() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(JOURNALED, |name| {
        let case = Case::of(name, furnished(name), scrub_both);
        let mut after = case.base.clone();
        nomount_block::replay(&mut after, &case.log).unwrap();
        assert_scrubbed(name, &case.base, &after);
        let zeroes = case.log.iter().position(|record| matches!(record, Record::Zeroes { .. })).unwrap();
        let rest = &case.log[zeroes..];
        assert_eq!(rest.iter().filter(|record| !matches!(record, Record::Zeroes { .. })).count(), 1, "{name}");
        judged(name, &after);
        case.assert_recovers(&Plan::bounded(STATES));
    });
}

#[test]
fn without_a_journal_the_zeroes_are_no_fresh_data_and_come_last() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for name in NO_JOURNAL {
        let base = furnished(name);
        let mut fs = open_staged(base.clone());
        scrub_both(&mut fs);
        fs.commit().unwrap();
        let (mut image, ahead, rest) = fs.into_device().split_fresh(|_, _| true);
        assert!(!ahead.iter().any(|record| matches!(record, Record::Zeroes { .. })), "{name}");
        nomount_block::replay(&mut image, &ahead).unwrap();
        let old = count(base.bytes(), SECRET);
        assert!(count(image.bytes(), SECRET) >= old, "{name}");
        assert!(matches!(rest[..], [.., Record::Zeroes { .. }, Record::Barrier]), "{name}");
        nomount_block::replay(&mut image, &rest).unwrap();
        assert_scrubbed(name, &base, &image);
        judged(name, &image);
    }
}

#[test]
fn what_is_taken_back_is_not_scrubbed() {
    for name in ["ext4-147", "ext2-1k"] {
        let base = furnished(name);
        let mut fs = open_staged(base.clone());
        let mark = fs.savepoint();
        scrub_both(&mut fs);
        fs.rollback(mark);
        // Without being scrubbed, what is removed stays where it was.
        fs.unlink(ROOT_INO, b"secret").unwrap();
        fs.commit().unwrap();
        let after = fs.into_device().commit().unwrap();
        assert!(count(after.bytes(), SECRET) >= count(base.bytes(), SECRET), "{name}");
    }
}

#[test]
fn what_stays_in_use_is_not_touched() {
    let base = furnished("ext4-147");
    let mut fs = open_staged(base.clone());
    let secret = ino(&fs, b"secret");
    // Scrubbed and then not removed.
    fs.scrub(secret).unwrap();
    fs.create(ROOT_INO, b"new", &New::File, Attrs::default()).unwrap();
    fs.commit().unwrap();
    assert!(!fs.device().log().iter().any(|record| matches!(record, Record::Zeroes { .. })));
    fs.link(secret, ROOT_INO, b"again").unwrap();
    assert!(matches!(fs.scrub(secret), Err(Error::Invalid(text)) if text.contains("2 names")));
    assert!(matches!(fs.scrub(ROOT_INO), Err(Error::IsDirectory)));
    fs.unlink(ROOT_INO, b"secret").unwrap();
    fs.scrub(secret).unwrap();
    fs.unlink(ROOT_INO, b"again").unwrap();
    fs.commit().unwrap();
    let after = fs.into_device().commit().unwrap();
    assert_eq!(count(after.bytes(), SECRET), 2, "those of the small file");
}

#[test]
fn a_change_of_several_transactions_scrubs_after_the_last() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    let features = "none,ext_attr,dir_index,filetype,sparse_super,has_journal,extent,metadata_csum,64bit";
    let args = ["-b", "1024", "-I", "256", "-N", "8192", "-J", "size=1", "-O", features, "-m", "0"];
    let mut fs = open_staged(crate::common::made::mke2fs(&args, 24 << 20));
    let secret = fs.create(ROOT_INO, b"secret", &New::File, Attrs::default()).unwrap();
    fs.write_contents(secret, &repeated(SECRET, 300_000)).unwrap();
    for number in 0..6000 {
        fs.create(ROOT_INO, format!("f{number}").as_bytes(), &New::Fifo, Attrs::default()).unwrap();
    }
    fs.commit().unwrap();
    let base = fs.into_device().commit().unwrap();
    let case = Case::of("several transactions", base, |fs| {
        fs.scrub(ino(fs, b"secret")).unwrap();
        fs.unlink(ROOT_INO, b"secret").unwrap();
        for number in 0..6000 {
            fs.unlink(ROOT_INO, format!("f{number}").as_bytes()).unwrap();
        }
        let new = fs.create(ROOT_INO, b"new", &New::File, Attrs::default()).unwrap();
        fs.write_contents(new, &repeated(OTHER, 300_000)).unwrap();
    });
    assert!(case.committed.transactions > 1);
    let first = case.log.iter().position(|record| matches!(record, Record::Zeroes { .. })).unwrap();
    assert!(case.log[first..].iter().all(|record| matches!(record, Record::Zeroes { .. } | Record::Barrier)));
    let mut after = case.base.clone();
    nomount_block::replay(&mut after, &case.log).unwrap();
    assert!(count(case.base.bytes(), SECRET) > 10_000);
    assert_eq!((count(after.bytes(), SECRET), count(after.bytes(), OTHER)), (0, 300_000 / 16));
    judged("several transactions", &after);
    case.assert_recovers(&Plan::bounded(4));
}
