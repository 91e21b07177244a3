//! A disk that fails once, or for good, under a session: the error says so, and the image is as it was or complete.

use crate::common;
use crate::common::session::inject_on;
use nomount::disk::Choice;
use nomount::session::Commit;
use nomount::{ErrorKind, Result};
use nomount_block::{FaultPlan, Memory, ReadAt};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{Shared, TreeDigest, fixture, require, scratch, tool};
use nomount_qcow2::Qcow2;
use std::path::Path;

const TOOLS: &[&str] = &["e2fsck", "debugfs", "qemu-img"];
/// Failures of each kind that are tried on an image, unless all are wanted.
const FAILURES: u64 = 40;

struct Image {
    name: &'static str,
    bytes: Vec<u8>,
    is_qcow2: bool,
}

/// What came of an injection, and what it left.
struct Outcome {
    result: Result<Commit>,
    bytes: Vec<u8>,
    reads: u64,
    writes: u64,
    barriers: u64,
}

impl Image {
    fn raw(name: &'static str) -> Self {
        Self { name, bytes: fixture::bytes(name), is_qcow2: false }
    }

    fn qcow2(name: &'static str) -> Self {
        let (raw, image) = (fixture::file(name), scratch::file().into_temp_path());
        let convert = ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=16k"];
        let done = tool::output(tool::command("qemu-img").args(convert).arg(&raw).arg(&image));
        assert!(done.status.success(), "{}", tool::text(&done));
        Self { name, bytes: std::fs::read(&image).unwrap(), is_qcow2: true }
    }

    fn inject(&self, plan: FaultPlan) -> Outcome {
        let device = Shared::new(Memory::new(self.bytes.clone()), plan);
        let handle = device.clone();
        let name = Path::new("disk");
        let result = if self.is_qcow2 {
            Qcow2::open(device, None, nomount_qcow2::Options::default())
                .map_err(nomount::Error::from)
                .and_then(|image| inject_on(Box::new(image), name, Choice::Whole))
        } else {
            inject_on(Box::new(device), name, Choice::Whole)
        };
        let log = handle.log();
        let barriers = log.iter().filter(|record| **record == nomount_block::Record::Barrier).count() as u64;
        let (reads, writes) = (handle.reads(), log.len() as u64 - barriers);
        Outcome { result, bytes: handle.into_inner().into_bytes(), reads, writes, barriers }
    }

    /// The tree that a boot finds.
    fn tree(&self, bytes: &[u8], what: &str) -> TreeDigest {
        let file = scratch::device(&Memory::new(bytes.to_vec()) as &dyn ReadAt);
        let disk = if self.is_qcow2 {
            judges::qemu_img_check(&file, Leaks::Allowed).unwrap_or_else(|e| panic!("{} {what}: {e}", self.name));
            scratch::raw_of(&file, "qcow2")
        } else {
            file
        };
        judges::e2fsck_recover(&disk, 0).unwrap_or_else(|e| panic!("{} {what}: {e}", self.name));
        judges::e2fsck_fn(&disk, 0).unwrap_or_else(|e| panic!("{} {what}: {e}", self.name));
        TreeDigest::of_ext(&disk, 0)
    }

    fn run(&self) {
        if !require(TOOLS) {
            return;
        }
        let whole = self.inject(FaultPlan::default());
        whole.result.unwrap();
        let (old, new) = (self.tree(&self.bytes, "before"), self.tree(&whole.bytes, "after"));
        assert!(old != new);

        for number in numbers(whole.reads) {
            let what = format!("read {number} of {}", whole.reads);
            let failed = self.inject(FaultPlan { fail_read: Some(number), ..FaultPlan::default() });
            let tree = self.tree(&failed.bytes, &what);
            match failed.result {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Io, "{} {what}: {error}", self.name);
                    assert!(explain(&error).contains("injected failure"), "{} {what}: {error}", self.name);
                    assert!(tree == old || tree == new, "{} {what}: {:?}", self.name, old.diff(&tree));
                }
                Ok(_) => assert!(tree == new, "{} {what}: {:?}", self.name, new.diff(&tree)),
            }
        }
        let mut outcomes = (0, 0);
        for number in numbers(whole.writes) {
            let what = format!("write {number} of {}", whole.writes);
            let failed = self.inject(FaultPlan { fail_write: Some(number), ..FaultPlan::default() });
            let error = failed.result.expect_err(&what);
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{} {what}: {error}", self.name);
            let tree = self.tree(&failed.bytes, &what);
            assert!(tree == old || tree == new, "{} {what}: {:?}", self.name, old.diff(&tree));
            *if tree == old { &mut outcomes.0 } else { &mut outcomes.1 } += 1;
        }
        assert!(outcomes.0 > 2 && outcomes.1 > 2, "{}: old and new {outcomes:?}", self.name);
        for number in numbers(whole.barriers) {
            let what = format!("barrier {number} of {}", whole.barriers);
            let failed = self.inject(FaultPlan { fail_barrier: Some(number), ..FaultPlan::default() });
            let error = failed.result.expect_err(&what);
            assert_eq!(error.kind(), ErrorKind::Io, "{} {what}: {error}", self.name);
            let tree = self.tree(&failed.bytes, &what);
            assert!(tree == old || tree == new, "{} {what}: {:?}", self.name, old.diff(&tree));
        }
    }
}

/// Numbers below `count`, evenly spread.
fn numbers(count: u64) -> impl Iterator<Item = u64> {
    let step = if common::long() { 1 } else { count.div_ceil(FAILURES).max(1) };
    (0..count).step_by(step as usize)
}

/// An error with its causes.
fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn raw_ext4() {
    Image::raw("ext4-147").run();
}

#[test]
fn raw_ext3() {
    Image::raw("ext3-4k").run();
}

#[test]
fn compressed_qcow2() {
    Image::qcow2("ext4-1k").run();
}
