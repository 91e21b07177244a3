//! Filesystems without a journal: the redo file makes their commit whole, whatever happens when.

mod common;

use common::session::{inject_on, options};
use common::{nomount, ran, text};
use nomount::disk::Choice;
use nomount::session::{Recovered, recover, redo_path};
use nomount::{ErrorKind, Session};
use nomount_block::{FaultPlan, HostFile, Memory, ReadAt, Record, SetLen};
use nomount_kit::crash::{Plan, each_state};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{Shared, TreeDigest, fixture, require, scratch, tool};
use nomount_qcow2::Qcow2;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const TOOLS: &[&str] = &["e2fsck", "debugfs"];
const IMAGES: [&str; 2] = ["ext2-1k", "ext4-nojournal"];
/// States of each image, unless all are wanted.
const STATES: usize = 100;

/// An image in a folder of its own, with room for its redo file.
struct Place {
    folder: TempDir,
    image: PathBuf,
    is_qcow2: bool,
}

impl Place {
    fn new(contents: &dyn ReadAt) -> Self {
        let folder = scratch::folder();
        let image = folder.path().join("disk.img");
        scratch::device(contents).persist(&image).unwrap();
        Self { folder, image, is_qcow2: false }
    }

    /// A fixture as a compressed qcow2 image.
    fn qcow2(name: &str) -> Self {
        let (raw, image) = (fixture::file(name), scratch::file().into_temp_path());
        let convert = ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k"];
        let done = tool::output(tool::command("qemu-img").args(convert).arg(&raw).arg(&image));
        assert!(done.status.success(), "{}", tool::text(&done));
        Self { is_qcow2: true, ..Self::new(&HostFile::new(File::open(&image).unwrap(), false).unwrap()) }
    }

    fn redo(&self) -> PathBuf {
        redo_path(&self.image)
    }

    /// Injects on a disk that fails as planned: whether it came through, and what was written.
    fn inject(&self, plan: FaultPlan) -> (nomount::Result<()>, Vec<Record>) {
        let file = File::options().read(true).write(true).open(&self.image).unwrap();
        let device = Shared::new(HostFile::new(file, false).unwrap(), plan);
        let handle = device.clone();
        let device: Box<dyn SetLen> = if self.is_qcow2 {
            Box::new(Qcow2::open(device, None, nomount_qcow2::Options::default()).unwrap())
        } else {
            Box::new(device)
        };
        let done = inject_on(device, &self.image, Choice::Whole);
        (done.map(|commit| assert!(!commit.blocks.journaled)), handle.log())
    }

    fn tree(&self) -> TreeDigest {
        let disk = if self.is_qcow2 {
            judges::qemu_img_check(&self.image, Leaks::Allowed).unwrap();
            scratch::raw_of(&self.image, "qcow2")
        } else {
            scratch::copy(&self.image)
        };
        judges::e2fsck_fn(&disk, 0).unwrap();
        TreeDigest::of_ext(&disk, 0)
    }

    /// The files beside the image: none may be left behind.
    fn others(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter_map(|name| name.into_string().ok()).filter(|name| name != "disk.img").collect()
    }
}

/// An image whose commit stopped right after the redo file got its name.
fn interrupted(name: &str) -> (Place, Vec<Record>) {
    let whole = Place::new(&fixture::memory(name));
    let log = whole.inject(FaultPlan::default()).1;
    let first = log.iter().position(|record| *record == Record::Barrier).unwrap() as u64;
    let place = Place::new(&fixture::memory(name));
    let (done, _) = place.inject(FaultPlan { fail_write: Some(first), ..FaultPlan::default() });
    assert_eq!(done.unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(place.redo().exists(), "{name}");
    (place, log)
}

#[test]
fn a_disk_that_fails_at_any_write_leaves_the_old_tree_or_a_redo_file_to_the_new_one() {
    if !require(TOOLS) {
        return;
    }
    for name in IMAGES {
        fail_at_every_write(name, || Place::new(&fixture::memory(name)));
    }
}

#[test]
fn so_it_is_in_qcow2() {
    if !require(TOOLS) || !require(&["qemu-img"]) {
        return;
    }
    fail_at_every_write("ext4-nojournal", || Place::qcow2("ext4-nojournal"));
}

fn fail_at_every_write(name: &str, make: impl Fn() -> Place) {
    let place = make();
    let old = place.tree();
    let (done, log) = place.inject(FaultPlan::default());
    done.unwrap();
    let (new, others) = (place.tree(), place.others());
    assert!(new != old && others.is_empty(), "{name}: {others:?}");
    let writes = log.iter().filter(|record| **record != Record::Barrier).count() as u64;
    let (mut olds, mut news) = (0, 0);
    for number in 0..writes {
        let place = make();
        let (done, _) = place.inject(FaultPlan { fail_write: Some(number), ..FaultPlan::default() });
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{name}: {error}");
        if !place.redo().exists() {
            assert!(place.tree() == old && place.others().is_empty(), "{name}, write {number}");
            olds += 1;
            continue;
        }
        let refused = Session::open(&place.image, options(Choice::Whole, false)).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused, "{name}, write {number}: {refused}");
        if number % 2 == 0 {
            assert_eq!(recover(&place.image, &options(Choice::Whole, true).image).unwrap(), Recovered::Completed);
        } else {
            let session = Session::open(&place.image, options(Choice::Whole, true)).unwrap();
            assert_eq!(session.notes(), ["an unfinished commit was completed first"]);
        }
        assert!(place.tree() == new && place.others().is_empty(), "{name}, write {number}");
        news += 1;
    }
    assert!(olds > 0 && news > 2, "{name}: {olds} old, {news} new");
}

#[test]
fn a_crash_at_any_point_is_completed_from_the_redo_file() {
    if !require(TOOLS) {
        return;
    }
    for name in IMAGES {
        let base = fixture::memory(name);
        let (place, log) = interrupted(name);
        let redo = fs::read(place.redo()).unwrap();
        let old = Place::new(&base).tree();
        assert_eq!(recover(&place.image, &options(Choice::Whole, true).image).unwrap(), Recovered::Completed);
        let new = place.tree();
        let first = log.iter().position(|record| *record == Record::Barrier).unwrap() + 1;

        // Before the redo file has its name the committed state reads none of what was written.
        each_state(&base, &log[..first], &Plan::bounded(STATES / 4), |state, image| {
            judges::e2fsck_fn(image, 0).unwrap_or_else(|e| panic!("{name}, {state:?}: {e}"));
            assert!(TreeDigest::of_ext(image, 0) == old, "{name}, {state:?}");
        });
        let mut then = Memory::new(base.bytes().to_vec());
        nomount_block::replay(&mut then, &log[..first]).unwrap();
        each_state(&then, &log[first..], &Plan::bounded(STATES), |state, image| {
            let place = Place::new(&HostFile::new(File::open(image).unwrap(), false).unwrap());
            fs::write(place.redo(), &redo).unwrap();
            let done = recover(&place.image, &options(Choice::Whole, true).image);
            assert_eq!(done.unwrap_or_else(|e| panic!("{name}, {state:?}: {e}")), Recovered::Completed);
            assert!(place.tree() == new && place.others().is_empty(), "{name}, {state:?}");
        });
    }
}

/// Runs the program on an image that it must leave alone.
fn refused(place: &Place, args: &[&str], code: i32, words: &str) {
    let before = scratch::fingerprint(&place.image);
    let ran = ran(nomount().args(args).arg(&place.image));
    assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
    assert!(ran.stderr.contains(words), "{args:?}: {ran:?}");
    assert_eq!(scratch::fingerprint(&place.image), before, "{args:?}");
    assert!(place.redo().exists(), "{args:?}: the redo file is gone");
}

#[test]
fn an_unfinished_commit_is_completed_by_the_program_and_not_by_looking() {
    if !require(TOOLS) {
        return;
    }
    let (place, _) = interrupted("ext2-1k");
    let image = text(&place.image);
    refused(&place, &["ls"], 3, "nomount recover");
    refused(&place, &["cat", &format!("{image}:/etc/hostname")], 3, "interrupted");
    refused(&place, &["inject", "--net", "/dev/null", "--metadata", "a=b", "--dry-run"], 3, "interrupted");
    let copy = text(&place.folder.path().join("copy.img"));
    refused(&place, &["inject", "--metadata", "a=b", "-o", &copy], 3, "interrupted");
    assert!(!Path::new(&copy).exists());
    for recovered in [true, false] {
        let info = ran(nomount().args(["info", &image]));
        assert!(info.code == Some(0) && info.stderr.contains("interrupted") == recovered, "{info:?}");
        let ran = ran(nomount().args(["recover", &image, "--json"]));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&said["schema"], &said["recovered"]), (&1.into(), &recovered.into()));
    }
    assert!(place.tree().get("/etc/app/app.conf").is_some() && place.others().is_empty());
}

#[test]
fn an_image_that_was_changed_meanwhile_is_not_touched() {
    let (place, log) = interrupted("ext4-nojournal");
    // The last byte of the last write: a superblock's, or whatever it may be by then.
    let Some(Record::Write { offset, data }) = log.iter().rev().find(|r| matches!(r, Record::Write { .. })) else {
        panic!("no write in {log:?}");
    };
    let mut bytes = fs::read(&place.image).unwrap();
    bytes[*offset as usize + data.len() - 1] ^= 1;
    fs::write(&place.image, &bytes).unwrap();
    refused(&place, &["recover"], 3, "the image was changed since");
    refused(&place, &["inject", "--metadata", "a=b"], 3, "the image was changed since");
}

#[test]
fn a_redo_file_that_is_not_whole_is_corrupt() {
    let (place, _) = interrupted("ext2-1k");
    let good = fs::read(place.redo()).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let mut magic = good.clone();
    magic[0] = b'X';
    let sealed = |mut bytes: Vec<u8>| {
        let crc = crc32c::crc32c(&bytes).to_le_bytes();
        bytes.extend(crc);
        bytes
    };
    let body = &good[..good.len() - 4];
    let mut long = body.to_vec();
    for at in [16, 24] {
        long[at..at + 8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    }
    let mut phase = body.to_vec();
    phase[8] = 7;
    let mut many = body.to_vec();
    many[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut outside = body.to_vec();
    outside[40..48].copy_from_slice(&1u64.to_le_bytes());
    outside[48..56].copy_from_slice(&(u64::MAX - 511).to_le_bytes());
    let cases = [
        (Vec::new(), "magic"),
        (good[..10].to_vec(), "magic"),
        (magic, "magic"),
        (good[..good.len() - 1].to_vec(), "checksum"),
        (good[..good.len() / 2].to_vec(), "checksum"),
        (flipped, "checksum"),
        (sealed(long), "for a device of 1099511627776 bytes"),
        (sealed(phase), "phase 7"),
        (sealed(many), "ends in a record"),
        (sealed(outside), "makes no sense"),
        (sealed([body, b"more"].concat()), "bytes follow"),
    ];
    for (bytes, words) in cases {
        fs::write(place.redo(), bytes).unwrap();
        refused(&place, &["recover"], 7, words);
        refused(&place, &["inject", "--metadata", "a=b"], 7, words);
    }
    fs::write(place.redo(), good).unwrap();
    assert_eq!(recover(&place.image, &options(Choice::Whole, true).image).unwrap(), Recovered::Completed);
}
