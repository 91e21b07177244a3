//! A disk that stops while it is grown: whatever had reached it, it is the old one or, after recovery, the new one.

use crate::common::{long, text};
use crate::disks::{Disk, Layout, MIB, Seen};
use crate::matrix::TOOLS;
use nomount::disk::Choice;
use nomount::image::ImageOptions;
use nomount::ops::resize::{GrowRequest, GrowWith, NewSize, grow_disk};
use nomount::session::{DiskEdit, Recovered, Verify, recover, redo_path};
use nomount::tree::Time;
use nomount::{ErrorKind, Result};
use nomount_block::{FaultPlan, HostFile, Record, SetLen};
use nomount_kit::crash::{Plan, State, each_state};
use nomount_kit::{Shared, require, scratch};
use nomount_qcow2::Qcow2;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

/// States of each disk, unless all are wanted.
const STATES: usize = 16;
/// Failures of each disk, unless all are wanted.
const FAILURES: u64 = 8;
const TO: u64 = 200 * MIB;

const CASES: &[(Layout, bool, &[&str])] = &[
    (Layout::Gpt, false, &["-t", "ext4", "-b", "4096"]),
    (Layout::Gpt, true, &["-t", "ext4", "-b", "1024"]),
    (Layout::MbrLogical, false, &["-t", "ext3", "-b", "1024"]),
    (Layout::MbrPrimary, true, &["-t", "ext2", "-b", "4096"]),
    (Layout::None, false, &["-t", "ext2", "-b", "1024"]),
    (Layout::None, true, &["-t", "ext4", "-b", "4096", "-O", "^has_journal,^resize_inode"]),
];

fn request() -> GrowRequest {
    GrowRequest {
        image: options(),
        size: NewSize::To(TO),
        expand: Choice::Auto,
        filesystem: true,
        with: GrowWith::Native,
        verify: Verify::Auto,
        now: Time { sec: 1_780_000_000, nsec: 0 },
        dry_run: false,
    }
}

/// A process that another test starts holds our files, and so their locks, until it has begun.
fn options() -> ImageOptions {
    ImageOptions { sync: false, lock: false, ..ImageOptions::default() }
}

/// Grows the disk in a file that fails as planned: how it went, and what was written to the file.
fn grow(image: &Path, is_qcow2: bool, plan: FaultPlan) -> (Result<()>, Vec<Record>) {
    let file = File::options().read(true).write(true).open(image).unwrap();
    let device = Shared::new(HostFile::new(file, false).unwrap(), plan);
    let handle = device.clone();
    let device: Box<dyn SetLen> = if is_qcow2 {
        Box::new(Qcow2::open(device, None, nomount_qcow2::Options::default()).unwrap())
    } else {
        Box::new(device)
    };
    let done = grow_disk(DiskEdit::on_device(device, image, false), &request());
    (done.map(|report| assert!(report.filesystem.unwrap().size.is_change())), handle.log())
}

/// A disk with what is known of it before and after.
struct Scene {
    disk: Disk,
    old: Seen,
    new: Seen,
    log: Vec<Record>,
    /// The redo file beside the disk when the write with that number is due.
    redo: RefCell<HashMap<u64, Option<Vec<u8>>>>,
}

impl Scene {
    fn new((layout, is_qcow2, args): &(Layout, bool, &[&str])) -> Self {
        let disk = Disk::new(*layout, *is_qcow2, 64 * MIB, args);
        let old = disk.judge();
        let folder = scratch::folder();
        let image = folder.path().join("disk");
        fs::copy(&disk.image, &image).unwrap();
        let (done, log) = grow(&image, *is_qcow2, FaultPlan::default());
        done.unwrap();
        let new = disk.judge_image(&image);
        assert!(old != new && old.tree == new.tree && new.disk == TO);
        assert!(!redo_path(&image).exists());
        Self { disk, old, new, log, redo: RefCell::default() }
    }

    fn name(&self) -> String {
        format!("{:?} in {}", self.disk.layout, self.disk.format())
    }

    /// A copy of the disk in a folder of its own.
    fn copy(&self, of: &Path) -> (tempfile::TempDir, PathBuf) {
        let folder = scratch::folder();
        let image = folder.path().join("disk");
        fs::copy(of, &image).unwrap();
        (folder, image)
    }

    /// Recovers, and says whether the disk is the new one.
    #[track_caller]
    fn settle(&self, image: &Path, what: &str) -> bool {
        let redo = redo_path(image);
        let had = redo.exists();
        let done = recover(image, &ImageOptions { write: true, ..options() });
        let done = done.unwrap_or_else(|error| panic!("{}, {what}: {}", self.name(), error.chain()));
        assert_eq!(done == Recovered::Nothing, !had, "{}, {what}", self.name());
        assert!(!redo.exists(), "{}, {what}", self.name());
        let seen = self.disk.judge_image(image);
        let is_new = seen == self.new;
        assert!(
            is_new || seen == self.old,
            "{}, {what}: {done:?} leaves {} and {}",
            self.name(),
            seen.disk,
            seen.blocks
        );
        match done {
            Recovered::Completed => assert!(is_new, "{}, {what}", self.name()),
            Recovered::TakenBack => assert!(!is_new, "{}, {what}", self.name()),
            Recovered::Nothing => {}
        }
        is_new
    }

    fn redo_at(&self, write: u64) -> Option<Vec<u8>> {
        self.redo
            .borrow_mut()
            .entry(write)
            .or_insert_with(|| {
                let (_folder, image) = self.copy(&self.disk.image);
                let _ = grow(&image, self.disk.is_qcow2, FaultPlan { fail_write: Some(write), ..FaultPlan::default() });
                fs::read(redo_path(&image)).ok()
            })
            .clone()
    }

    /// Every write failing for good: what is reported, and what is left.
    fn fail(&self) {
        let writes = self.log.iter().filter(|record| **record != Record::Barrier).count() as u64;
        let step = if long() { 1 } else { writes.div_ceil(FAILURES).max(1) };
        let (mut olds, mut news) = (0, 0);
        for number in (0..writes).step_by(step as usize) {
            let (_folder, image) = self.copy(&self.disk.image);
            let (done, _) =
                grow(&image, self.disk.is_qcow2, FaultPlan { fail_write: Some(number), ..FaultPlan::default() });
            let error = done.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{}, write {number}: {}", self.name(), error.chain());
            let is_new = self.settle(&image, &format!("write {number} of {writes}"));
            *if is_new { &mut news } else { &mut olds } += 1;
        }
        assert!(olds > 0 && news > 0, "{}: {olds} old, {news} new", self.name());
    }

    /// Power lost between any two writes.
    fn crash(&self, seed: usize) -> usize {
        let plan = Plan::bounded(STATES);
        let plan = Plan { seed: plan.seed.wrapping_add(seed as u64), ..plan };
        let base = HostFile::new(File::open(&self.disk.image).unwrap(), false).unwrap();
        let (mut olds, mut news) = (0, 0);
        let states = each_state(&base, &self.log, &plan, |state, path| {
            let (_folder, image) = self.copy(path);
            if let Some(redo) = self.redo_at(self.writes_before(state)) {
                fs::write(redo_path(&image), redo).unwrap();
            }
            let is_new = self.settle(&image, &format!("{state:?}"));
            *if is_new { &mut news } else { &mut olds } += 1;
        });
        assert!(olds > 1 && news > 1, "{}: {olds} old, {news} new", self.name());
        eprintln!("{}: {olds} old, {news} new", self.name());
        states
    }

    /// Number of the first write that the state does not have for sure.
    fn writes_before(&self, state: &State) -> u64 {
        self.log[..state.durable].iter().filter(|record| **record != Record::Barrier).count() as u64
    }
}

#[test]
fn a_crash_or_a_failure_anywhere_leaves_the_old_disk_or_the_new_one() {
    if !require(TOOLS) {
        return;
    }
    let cases: Vec<_> = CASES.iter().enumerate().collect();
    thread::scope(|scope| {
        for half in cases.chunks(cases.len().div_ceil(2)) {
            scope.spawn(move || {
                for (number, case) in half {
                    let scene = Scene::new(case);
                    scene.fail();
                    scene.crash(*number);
                }
            });
        }
    });
}

/// An image that was used after a commit was interrupted is not cut or overwritten.
#[test]
fn what_was_used_meanwhile_is_not_touched() {
    if !require(TOOLS) {
        return;
    }
    let scene = Scene::new(&CASES[0]);
    let writes = scene.log.iter().filter(|record| **record != Record::Barrier).count() as u64;
    for number in [1, writes - 1] {
        let (_folder, image) = scene.copy(&scene.disk.image);
        let plan = FaultPlan { fail_write: Some(number), ..FaultPlan::default() };
        grow(&image, false, plan).0.unwrap_err();
        assert!(redo_path(&image).exists(), "write {number}");
        // A mount changes the superblock.
        let file = File::options().read(true).write(true).open(&image).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xAB; 4], scene.disk.start + 1024 + 0x30).unwrap();
        let before = scratch::fingerprint(&image);
        let error = recover(&image, &ImageOptions { write: true, ..options() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{}", error.chain());
        assert_eq!(scratch::fingerprint(&image), before);
        assert!(text(&redo_path(&image)).ends_with("nomount-redo") && redo_path(&image).exists());
    }
}
