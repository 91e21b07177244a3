//! A crash after every write of an injection, on raw and on qcow2: whoever opens the image next, e2fsck or nomount,
//! finds the old tree or the new one, and both find the same.

mod common;

use common::session::{Seen, inject_on, options, tree};
use nomount::disk::Choice;
use nomount::{ErrorKind, Session};
use nomount_block::{FaultPlan, Memory, Record};
use nomount_kit::crash::{Plan, State, each_state};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{Shared, TreeDigest, fixture, require, scratch, tool};
use nomount_qcow2::Qcow2;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tempfile::TempPath;

const TOOLS: &[&str] = &["e2fsck", "debugfs", "qemu-img"];
/// States of each image, unless all are wanted.
const STATES: usize = 100;

/// An image to be interrupted.
struct Scene {
    name: &'static str,
    /// The file, as it is on the host.
    bytes: Vec<u8>,
    is_qcow2: bool,
    partition: Choice,
    /// Of the root filesystem in the guest's disk.
    offset: u64,
}

impl Scene {
    fn raw(name: &'static str) -> Self {
        Self { name, bytes: fixture::bytes(name), is_qcow2: false, partition: Choice::Whole, offset: 0 }
    }

    /// The small guest with its partition table, raw or as it is: compressed qcow2.
    fn guest(is_qcow2: bool) -> Self {
        let path = fixture::guest();
        let bytes = if is_qcow2 { std::fs::read(&path) } else { std::fs::read(scratch::raw_of(&path, "qcow2")) };
        Self { name: "guest", bytes: bytes.unwrap(), is_qcow2, partition: Choice::Number(1), offset: 13 << 20 }
    }

    /// A fixture as qcow2, with a snapshot, so that every cluster is shared.
    fn qcow2(name: &'static str, create: &str) -> Self {
        let (raw, image) = (fixture::file(name), scratch::file().into_temp_path());
        let convert = ["convert", "-f", "raw", "-O", "qcow2", "-o", create];
        let done = tool::output(tool::command("qemu-img").args(convert).arg(&raw).arg(&image));
        assert!(done.status.success(), "{}", tool::text(&done));
        let done = tool::output(tool::command("qemu-img").args(["snapshot", "-c", "kept"]).arg(&image));
        assert!(done.status.success(), "{}", tool::text(&done));
        let bytes = std::fs::read(&image).unwrap();
        Self { name, bytes, is_qcow2: true, partition: Choice::Whole, offset: 0 }
    }

    /// The guest's disk of an image file, as a copy.
    fn disk(&self, image: &Path) -> TempPath {
        if self.is_qcow2 { scratch::raw_of(image, "qcow2") } else { scratch::copy(image) }
    }

    /// Every write of the injection.
    fn record(&self) -> Vec<Record> {
        let device = Shared::new(Memory::new(self.bytes.clone()), FaultPlan::default());
        let handle = device.clone();
        let commit = if self.is_qcow2 {
            let image = Qcow2::open(device, None, nomount_qcow2::Options::default()).unwrap();
            inject_on(Box::new(image), Path::new("crash"), self.partition)
        } else {
            inject_on(Box::new(device), Path::new("crash"), self.partition)
        };
        assert!(commit.unwrap().blocks.journaled, "{}", self.name);
        handle.log()
    }

    /// The tree after e2fsck did what a boot does.
    fn by_e2fsck(&self, image: &Path) -> Result<TreeDigest, judges::Complaint> {
        let disk = self.disk(image);
        judges::e2fsck_recover(&disk, self.offset)?;
        judges::e2fsck_fn(&disk, self.offset)?;
        Ok(TreeDigest::of_ext(&disk, self.offset))
    }

    /// The tree as nomount reads it, nothing written.
    fn by_reading(&self, image: &Path) -> nomount::Result<BTreeMap<Vec<u8>, Seen>> {
        tree(Session::open(image, options(self.partition, false))?.tree())
    }

    /// The tree after nomount opened the image for writing and committed no change, read by debugfs.
    fn by_recovery(&self, image: &Path) -> nomount::Result<TreeDigest> {
        let copy = scratch::copy(image);
        Session::open(&copy, options(self.partition, true))?.commit()?;
        if self.is_qcow2 {
            judges::qemu_img_check(&copy, Leaks::Allowed).unwrap();
        }
        let disk = self.disk(&copy);
        judges::e2fsck_fn(&disk, self.offset).unwrap();
        Ok(TreeDigest::of_ext(&disk, self.offset))
    }

    fn run(&self) {
        if !require(TOOLS) {
            return;
        }
        let log = self.record();
        let base = scratch::device(&Memory::new(self.bytes.clone()));
        let (old, old_seen) = (self.by_e2fsck(&base).unwrap(), self.by_reading(&base).unwrap());
        let mut new = None;
        let end = Plan { seed: 0, subsets_per_epoch: 0, limit: 1 };
        each_state(&Memory::new(self.bytes.clone()), &log, &end, |state, image| {
            if state.is_complete(&log) {
                new = Some((self.by_e2fsck(image).unwrap(), self.by_reading(image).unwrap()));
            }
        });
        let (new, new_seen) = new.expect("a log ends with everything written");
        assert!(new.get("/etc/app/app.conf").is_some() && old.get("/etc/app/app.conf").is_none(), "{}", self.name);

        let (mut olds, mut news, mut torn_superblocks) = (0, 0, 0);
        each_state(&Memory::new(self.bytes.clone()), &log, &Plan::bounded(STATES), |state, image| {
            let place = format!("{}, {state:?}", self.name);
            if self.is_qcow2 {
                judges::qemu_img_check(image, Leaks::Allowed).unwrap_or_else(|e| panic!("{place}: {e}"));
            }
            if state.torn.is_some() && superblock_is_torn(&self.disk(image), self.offset) {
                self.refuses_torn_superblock(state, image);
                torn_superblocks += 1;
                return;
            }
            let judged = self.by_e2fsck(image).unwrap_or_else(|e| panic!("{place}: {e}"));
            let is_new = judged == new;
            assert!(is_new || judged == old, "{place}: {:?} from the old tree", old.diff(&judged));
            let seen = self.by_reading(image).unwrap_or_else(|e| panic!("{place}: {e}"));
            assert!(seen == *if is_new { &new_seen } else { &old_seen }, "{place}: nomount reads another tree");
            let recovered = self.by_recovery(image).unwrap_or_else(|e| panic!("{place}: {e}"));
            assert!(recovered == judged, "{place}: nomount recovers {:?}", judged.diff(&recovered));
            *if is_new { &mut news } else { &mut olds } += 1;
        });
        eprintln!("{}: {olds} old, {news} new, {torn_superblocks} torn superblocks", self.name);
        assert!(olds > 2 && news > 2, "{}: {olds} old, {news} new", self.name);
    }

    /// The one case that no order of writes can help: the superblock is written alone and tears within its 1024 bytes.
    /// What is left of it does not pass for a whole one: nothing is read, and nothing written.
    fn refuses_torn_superblock(&self, state: &State, image: &Path) {
        let before = scratch::fingerprint(image);
        for write in [false, true] {
            let error = Session::open(image, options(self.partition, write)).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{}, {state:?}: {error}", self.name);
            assert!(error.message().contains("checksum"), "{}, {state:?}: {error}", self.name);
        }
        assert_eq!(scratch::fingerprint(image), before, "{}, {state:?}", self.name);
    }
}

/// Whether the superblock of a filesystem with checksums does not fit its own.
fn superblock_is_torn(disk: &Path, offset: u64) -> bool {
    const METADATA_CSUM: u32 = 0x400;
    let mut sb = [0; 1024];
    std::fs::File::open(disk).unwrap().read_exact_at(&mut sb, offset + 1024).unwrap();
    let word = |at: usize| u32::from_le_bytes(sb[at..at + 4].try_into().unwrap());
    // The field is the plain register: no final inversion.
    word(0x64) & METADATA_CSUM != 0 && !crc32c::crc32c(&sb[..0x3fc]) != word(0x3fc)
}

#[test]
fn a_guest_on_gpt() {
    Scene::guest(false).run();
}

#[test]
fn ext4_of_debian_13() {
    Scene::raw("ext4-147").run();
}

#[test]
fn ext4_with_blocks_of_1_kib() {
    Scene::raw("ext4-1k").run();
}

#[test]
fn ext3() {
    Scene::raw("ext3-1k").run();
}

#[test]
fn a_journal_that_has_something_to_replay() {
    Scene::raw("dirty-csum3").run();
}

#[test]
fn a_guest_in_compressed_qcow2() {
    Scene::guest(true).run();
}

#[test]
fn qcow2_with_a_snapshot_and_small_clusters() {
    Scene::qcow2("ext4-1k", "cluster_size=4096,refcount_bits=8").run();
}

#[test]
fn qcow2_version_2() {
    Scene::qcow2("ext4-147", "compat=0.10").run();
}
