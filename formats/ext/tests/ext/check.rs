//! The checker on images without fault, on images that wait for recovery, on changes that are not committed yet, and on
//! images made to take its time.

use crate::common::{DIRTY, NOW, OPTIONS, WRITABLE, bytes, typical_change};
use nomount_block::{Error as DeviceError, Extent, HostFile, Memory, ReadAt};
use nomount_ext::{Attrs, CheckOptions, Error, Filesystem, MkfsOptions, New, ROOT_INO, Report, Severity, check, mkfs};
use nomount_kit::ext_layout::{Kind, Layout, Place, le16, le32};
use nomount_kit::{fixture, scratch};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Fixtures that are not opened, with a word of why.
const REFUSED: &[(&str, &str)] = &[("journal-dev", "journal_dev"), ("unknown-incompat", "FEATURE_I31")];
const HOW: CheckOptions = CheckOptions { now: Some(NOW) };

fn ids(report: &Report) -> Vec<&'static str> {
    report.findings().iter().map(|finding| finding.id).collect()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for name in fixture::names() {
        let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
        let report = check(fixture::memory(&name), OPTIONS, &HOW);
        if let Some((_, word)) = refused {
            let Err(Error::Unsupported(text)) = report else { panic!("{name}: {report:?}") };
            assert!(text.contains(word), "{name}: {text}");
            continue;
        }
        let report = report.unwrap_or_else(|e| panic!("{name}: {e}"));
        if name.starts_with("unknown-") {
            assert_eq!((ids(&report), report.total()), (vec!["NM_UNKNOWN_FEATURE"], 1), "{name}:\n{report}");
        } else if DIRTY.contains(&&name[..]) {
            assert_eq!(report.worst(), Some(Severity::Recovery), "{name}:\n{report}");
        } else {
            assert_eq!(report.total(), 0, "{name}:\n{report}");
        }
    }
}

/// Steps of a change, each leaving a consistent filesystem.
fn change(fs: &mut Filesystem<Memory>, mut after: impl FnMut(&Filesystem<Memory>, &str)) -> Result<(), Error> {
    typical_change(fs)?;
    after(fs, "a typical change");
    let etc = fs.resolve(b"/etc")?;
    let app = fs.resolve(b"/etc/app")?;
    let file = fs.resolve(b"/etc/app/file-7")?;
    fs.link(file, etc, b"second-name")?;
    after(fs, "link");
    fs.truncate(file, 5000)?;
    after(fs, "truncate");
    fs.write_at(file, 40_000, &bytes(9000, 3))?;
    after(fs, "write beyond the end");
    fs.rename(etc, b"app", ROOT_INO, b"app")?;
    after(fs, "rename of a directory");
    for index in 0..200 {
        let name = format!("a-name-long-enough-to-need-another-block-{index}");
        fs.create(app, name.as_bytes(), &New::File, Attrs::default())?;
    }
    after(fs, "many names");
    fs.unlink(etc, b"second-name")?;
    after(fs, "unlink");
    fs.remove_tree(ROOT_INO, b"app")?;
    after(fs, "a tree removed");
    Ok(())
}

#[test]
fn every_step_of_a_change_is_sound_before_and_after_its_commit() {
    crate::common::in_parallel(WRITABLE, |name| {
        let silent = |report: Report, when: &str| {
            // An image that is open for changes says so, where it has a place for that.
            let said: Vec<_> = report.findings().iter().filter(|finding| finding.id != "NM_MMP_IN_USE").collect();
            assert!(said.is_empty(), "{name}, {when}: {said:#?}");
        };
        let mut fs = Filesystem::open_for_write(fixture::memory(name), OPTIONS).unwrap();
        silent(fs.check(&HOW).unwrap(), "opened");
        let done = change(&mut fs, |fs, when| silent(fs.check(&HOW).unwrap(), when));
        done.unwrap_or_else(|e| panic!("{name}: {e}"));
        fs.commit().unwrap();
        silent(fs.check(&HOW).unwrap(), "committed");
        silent(check(fs.into_device(), OPTIONS, &HOW).unwrap(), "opened again");
    });
}

/// An index whose entries all lead to the same node, in a tree of two levels: it is followed once.
#[test]
fn a_node_with_many_names_is_followed_once() {
    const DEPTH: usize = 6;
    let mut image = fixture::bytes("ext4-1k");
    let layout = Layout::of(&image).expect("an ext image");
    let places = layout.places(&image);
    let is_index = |place: &&Place| matches!(place.kind, Kind::ExtentNode(_)) && le16(&image, place.at + DEPTH) == 1;
    let node = places.iter().find(is_index).expect("a tree of depth 2").clone();
    let entries = le16(&image, node.at + 4) as usize;
    let child = image[node.at + 16..node.at + 24].to_vec();
    let first = le32(&image, node.at + 12);
    image[node.at + 2..node.at + 4].copy_from_slice(&(entries as u16).to_le_bytes());
    for entry in 0..entries {
        let at = node.at + 12 + entry * 12;
        image[at..at + 4].copy_from_slice(&(first + entry as u32).to_le_bytes());
        image[at + 4..at + 12].copy_from_slice(&child);
    }
    layout.fix(&mut image, &node);
    let report = check(Memory::new(image), OPTIONS, &HOW).unwrap();
    let duplicates = report.findings().iter().filter(|finding| finding.id == "PR_1B_DUP_BLOCK").count();
    assert_eq!(duplicates, entries - 1, "{report}");
}

/// A device that counts what is read.
#[derive(Debug)]
struct Counted<D> {
    device: D,
    read: AtomicU64,
}

impl<D: ReadAt> ReadAt for Counted<D> {
    fn len(&self) -> u64 {
        self.device.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.device.read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DeviceError> {
        self.device.extent_at(offset)
    }
}

#[test]
fn a_large_and_empty_filesystem_takes_neither_time_nor_reads() {
    const SIZE: u64 = 4 << 40;
    /// Descriptors and their copies are 2 MiB each; copies are in 18 groups.
    const READS: u64 = 128 << 20;
    let file = scratch::file();
    file.as_file().set_len(SIZE).unwrap();
    let open = || HostFile::new(file.reopen().unwrap(), false).unwrap();
    mkfs(&mut open(), &MkfsOptions { now: NOW, ..MkfsOptions::default() }).unwrap();
    let device = Counted { device: open(), read: AtomicU64::new(0) };
    let start = Instant::now();
    let report = check(&device, OPTIONS, &HOW).unwrap();
    assert_eq!(report.total(), 0, "{report}");
    let read = device.read.load(Ordering::Relaxed);
    assert!(read < READS, "{read} bytes read");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// A structure of an image: what it is, where it is, the byte to spoil in it, and what to put there.
type Spot = (Kind, usize, usize, Vec<u8>);

/// Each kind of thing that e2fsck says nothing of, made by hand.
#[test]
fn what_e2fsck_is_silent_about_is_found_and_marked() {
    let spoiled = |name: &str, find: &dyn Fn(&Layout, &[u8]) -> Spot| {
        let mut image = fixture::bytes(name);
        let layout = Layout::of(&image).expect("an ext image");
        let (kind, structure, at, value) = find(&layout, &image);
        image[at..at + value.len()].copy_from_slice(&value);
        layout.fix(&mut image, &Place { kind, at: structure, fields: 0..0 });
        check(Memory::new(image), OPTIONS, &HOW).unwrap()
    };
    const SB: usize = 1024;
    let found = [
        // The list of orphans begins with an inode that is free.
        (
            "NM_ORPHAN_DANGLING",
            spoiled("ext4-147", &|_, _| (Kind::Superblock, SB, SB + 0xE8, 200u32.to_le_bytes().to_vec())),
        ),
        ("NM_STATE_NOT_CLEAN", spoiled("ext4-147", &|_, _| (Kind::Superblock, SB, SB + 0x3A, vec![0]))),
        (
            "NM_JOURNAL_BACKUP",
            spoiled("ext4-147", &|_, _| (Kind::Superblock, SB, SB + 0x10C + 20, 7u32.to_le_bytes().to_vec())),
        ),
        (
            "NM_BACKUP_SUPERBLOCK",
            spoiled("ext3-1k", &|_, _| (Kind::Plain, 8193 * 1024, 8193 * 1024 + 4, vec![1, 2, 3])),
        ),
    ];
    for (id, report) in found {
        assert_eq!(ids(&report), [id], "{report}");
        assert!(report.findings()[0].e2fsck_is_silent());
    }
}

/// The target of a symbolic link is written like contents: a block may have another one after a rollback or a commit.
#[test]
fn a_target_is_read_as_it_is_now() {
    let link = |fs: &mut Filesystem<Memory>, len: usize| {
        fs.create(ROOT_INO, b"link", &New::Symlink(&vec![b't'; len]), Attrs::default()).unwrap();
        let report = fs.check(&HOW).unwrap();
        assert_eq!(report.total(), 0, "{len} bytes: {report}");
    };
    let mut fs = Filesystem::open_for_write(fixture::memory("ext4-147"), OPTIONS).unwrap();
    let mark = fs.savepoint();
    link(&mut fs, 200);
    fs.rollback(mark);
    link(&mut fs, 60);
    fs.commit().unwrap();
    for len in [300, 70] {
        fs.unlink(ROOT_INO, b"link").unwrap();
        fs.commit().unwrap();
        link(&mut fs, len);
    }
}
