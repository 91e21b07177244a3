//! The redo file under the workloads of the ext engine: interrupted anywhere, a filesystem without a journal is the old
//! one or, after recovery, the new one.

#[path = "../../formats/ext/tests/ext/common/made.rs"]
mod made;
#[path = "../../formats/ext/tests/ext/common/workloads.rs"]
mod workloads;

use super::Device;
use super::redo::{Phase, Recovered, apply, encode, redo_path};
use made::mke2fs;
use nomount_block::{HostFile, Memory, Overlay, ReadAt, Record, Spill, replay};
use nomount_ext::{Filesystem, Options, Time};
use nomount_kit::crash::{Plan, each_state};
use nomount_kit::{TreeDigest, judges, require, scratch};
use std::fs::{self, File};
use std::thread;
use workloads::{furnish, workloads};

const OPTIONS: Options = Options { now: Time { sec: 1_780_000_000, nsec: 0 }, seed: 7, mmp_wait: None };
/// States of one workload on one filesystem, before the redo file has its name and after.
const STATES: usize = 4;
const LONG_STATES: usize = 60;
/// Files of the tree that is there.
const TREE: usize = 600;

const SETS: &[(&str, &[&str])] = &[
    ("ext2", &["-b", "1024", "-I", "128", "-O", "none,ext_attr,resize_inode,dir_index,filetype,sparse_super"]),
    (
        "ext4 without a journal",
        &[
            "-b",
            "4096",
            "-I",
            "256",
            "-O",
            "none,ext_attr,dir_index,filetype,sparse_super,extent,flex_bg,64bit,metadata_csum",
        ],
    ),
    (
        "ext4 without a journal or groups of flexible place, with quota",
        &["-b", "1024", "-I", "256", "-O", "none,ext_attr,dir_index,filetype,extent,uninit_bg,large_file,quota"],
    ),
];

fn plan(states: usize, number: usize) -> Plan {
    let plan = Plan::bounded(states);
    let limit = if plan.limit > states { LONG_STATES } else { states };
    Plan { seed: plan.seed.wrapping_add(number as u64), limit, ..plan }
}

fn staged(image: Memory) -> Filesystem<Overlay<Device>> {
    let device: Device = Box::new(image);
    Filesystem::open_for_write(Overlay::new(device, Spill::Never), OPTIONS).unwrap()
}

#[test]
fn every_workload_is_old_or_completed() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    thread::scope(|scope| {
        for set in 0..SETS.len() {
            scope.spawn(move || run(set));
        }
    });
}

fn run(set: usize) {
    let (what, args) = SETS[set];
    let mut fs = Filesystem::open_for_write(mke2fs(&[&["-N", "4096"], args].concat(), 16 << 20), OPTIONS).unwrap();
    furnish(&mut fs, TREE).unwrap();
    fs.commit().unwrap();
    let base = fs.into_device();
    let mut states = 0;
    for (index, workload) in workloads().iter().enumerate() {
        let name = format!("{} on {what}", workload.name);
        let mut fs = staged(base.clone());
        (workload.change)(&mut fs, TREE).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(!fs.commit().unwrap().journaled, "{name}");
        let (_, mut first, rest) = fs.into_device().split_fresh(|_, _| true);
        first.push(Record::Barrier);
        let mut then = base.clone();
        replay(&mut then, &first).unwrap();
        let len = then.len();
        let (device, mut redo): (Device, _) = (Box::new(then.clone()), Vec::new());
        encode(&mut redo, &device, Phase::Complete, (len, len), &rest).unwrap();
        let mut done = then.clone();
        replay(&mut done, &rest).unwrap();
        let [before, after] = [&base, &done].map(|image| TreeDigest::of_ext(&scratch::device(image), 0));
        assert_ne!(before, after, "{name}");

        let seed = set * 100 + index;
        states += each_state(&base, &first, &plan(STATES, seed), |state, path| {
            judges::e2fsck_fn(path, 0).unwrap_or_else(|e| panic!("{name}, {state:?}: {e}"));
            assert!(TreeDigest::of_ext(path, 0) == before, "{name}, {state:?}");
        });
        states += each_state(&then, &rest, &plan(STATES, seed), |state, path| {
            let folder = scratch::folder();
            let image = folder.path().join("disk.img");
            fs::copy(path, &image).unwrap();
            fs::write(redo_path(&image), &redo).unwrap();
            let file = File::options().read(true).write(true).open(&image).unwrap();
            let mut device: Device = Box::new(HostFile::new(file, false).unwrap());
            let done = apply(&image, &mut device).unwrap_or_else(|e| panic!("{name}, {state:?}: {e}"));
            assert_eq!(done, Recovered::Completed, "{name}, {state:?}");
            judges::e2fsck_fn(&image, 0).unwrap_or_else(|e| panic!("{name}, {state:?}: {e}"));
            assert!(TreeDigest::of_ext(&image, 0) == after, "{name}, {state:?}");
            assert!(!redo_path(&image).exists(), "{name}, {state:?}");
        });
    }
    eprintln!("{what}: {states} states");
}
