//! Every container, table and filesystem, from one size to another.

use crate::common::{long, run, text};
use crate::disks::{Disk, Layout, MIB};
use nomount_kit::require;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::sync::Mutex;
use std::thread;

const GIB: u64 = 1 << 30;
pub const TOOLS: &[&str] = &["e2fsck", "debugfs", "dumpe2fs", "mke2fs", "qemu-img", "sgdisk", "sfdisk"];
/// Of the matrix so many are tried, unless all are wanted.
const SAMPLE: usize = 24;

const KINDS: [&str; 3] = ["ext2", "ext3", "ext4"];
const BLOCKS: [&str; 2] = ["1024", "4096"];

#[derive(Debug, Clone, Copy)]
struct Case {
    layout: Layout,
    is_qcow2: bool,
    kind: &'static str,
    block: &'static str,
    resize_inode: bool,
    from: u64,
    to: u64,
}

impl Case {
    fn run(self) {
        let features = if self.resize_inode { "resize_inode" } else { "^resize_inode" };
        let args = ["-t", self.kind, "-b", self.block, "-O", features];
        let disk = Disk::new(self.layout, self.is_qcow2, self.from, &args);
        let before = disk.judge();
        let ran = run(["grow", &text(&disk.image), &self.to.to_string(), "--json", "--no-sync", "--grow-with=native"]);
        assert_eq!(ran.code, Some(0), "{self:?}: {ran:?}");
        let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let after = disk.judge();
        assert_eq!(after.disk, self.to, "{self:?}");
        assert!(after.tree == before.tree, "{self:?}: {:?}", before.tree.diff(&after.tree));
        assert_eq!(said["filesystem"]["to"], after.blocks * disk.block, "{self:?}");
        assert_eq!(said["filesystem"]["by"], "native", "{self:?}");
        // All of the disk but what the table needs, and a last group that would be too short.
        let end = disk.start + after.blocks * disk.block;
        assert!(end <= self.to && self.to - end < 4 * MIB, "{self:?}: ends at {end}");
        if let (Some(before), Some(after)) = (&before.table, &after.table) {
            self.compare_tables(&disk, before, after);
        }
        // A second run finds nothing to do.
        let again = run(["grow", &text(&disk.image), &self.to.to_string(), "--json", "--no-sync"]);
        let said: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
        assert_eq!(said["disk"]["resized"], false, "{self:?}: {again:?}");
        assert_eq!(said["filesystem"]["resized"], false, "{self:?}: {again:?}");
        assert!(disk.judge() == after, "{self:?}");
    }

    /// Nothing but sizes has changed, and only of the partitions that grew.
    fn compare_tables(self, disk: &Disk, before: &serde_json::Value, after: &serde_json::Value) {
        let parts = |table: &serde_json::Value| table["partitiontable"]["partitions"].as_array().unwrap().clone();
        let (before, after) = (parts(before), parts(after));
        assert_eq!(before.len(), after.len(), "{self:?}");
        let mut grown = 0;
        for (old, new) in before.iter().zip(&after) {
            let mut same = new.clone();
            same["size"] = old["size"].clone();
            assert_eq!(*old, same, "{self:?}");
            grown += usize::from(old["size"] != new["size"]);
        }
        assert_eq!(grown, if disk.layout == Layout::MbrLogical { 2 } else { 1 }, "{self:?}");
    }
}

fn all(from: u64, to: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for layout in Layout::ALL {
        for is_qcow2 in [false, true] {
            for kind in KINDS {
                for block in BLOCKS {
                    for resize_inode in [true, false] {
                        cases.push(Case { layout, is_qcow2, kind, block, resize_inode, from, to });
                    }
                }
            }
        }
    }
    cases
}

/// Runs cases on two threads; a sample of `most`, unless all are wanted. Prints the seed.
fn run_cases(mut cases: Vec<Case>, most: usize) {
    if !require(TOOLS) {
        return;
    }
    let seed = std::env::var("NOMOUNT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    if !long() {
        cases.shuffle(&mut StdRng::seed_from_u64(seed));
        cases.truncate(most);
    }
    eprintln!("{} cases, NOMOUNT_SEED={seed}", cases.len());
    let queue = Mutex::new(cases);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().pop() else { break };
                    case.run();
                }
            });
        }
    });
}

#[test]
fn from_64_to_600_mib() {
    run_cases(all(64 * MIB, 600 * MIB), SAMPLE);
}

#[test]
fn from_4_to_40_gib() {
    let cases = all(4 * GIB, 40 * GIB);
    run_cases(cases, 6);
}

#[test]
fn from_4_gib_to_16_tib() {
    // An MBR ends at 2 TiB. Blocks of 1 KiB make two million groups of it: not what anybody has.
    let sparse = |case: &Case| matches!(case.layout, Layout::None | Layout::Gpt) && case.block == "4096";
    // 32-bit block numbers end one block before 16 TiB.
    let to = (16 << 40) - 4 * MIB;
    let cases = all(4 * GIB, to).into_iter().filter(sparse);
    // e2fsck and qemu-img take minutes for the bitmaps of those without flexible groups.
    run_cases(cases.filter(|case| case.kind == "ext4" || long()).collect(), 1);
}
