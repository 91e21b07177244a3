//! Workloads times feature sets, each commit interrupted in many places: whoever recovers it finds the tree before, the
//! tree after, or, where the change exceeded the log, the tree after one of its transactions.

use crate::common::crash_case::Case;
use crate::common::made::mke2fs;
use crate::common::workloads::{furnish, workloads};
use crate::common::{finish, in_parallel, long, open_staged};
use nomount_block::Memory;
use nomount_kit::crash::Plan;
use nomount_kit::require;
use std::sync::atomic::{AtomicUsize, Ordering};

/// States of one workload on one feature set. Nothing, everything and each barrier are always among them.
const STATES: usize = 9;
const LONG_STATES: usize = 160;
/// Files of the tree that is there, and of the one that is brought in. Where four inodes share a block, they exceed the
/// log.
const TREE: usize = 5600;

const EXT3: &str = "ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file,has_journal";
const EXT4: &str = "ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file,has_journal,\
                    extent,huge_file,flex_bg,dir_nlink,extra_isize";

/// A set of features: its name, what the features are added to, what mke2fs is told besides, and the image's MiB.
struct Set {
    name: &'static str,
    base: &'static str,
    features: &'static str,
    block_size: &'static str,
    inode_size: &'static str,
    mib: u64,
}

/// All have a log of 1024 blocks, the smallest there is, so that large changes exceed it.
const SETS: &[Set] = &[
    Set { name: "ext3", base: EXT3, features: "", block_size: "1024", inode_size: "256", mib: 24 },
    Set { name: "crc16, 32-bit", base: EXT4, features: ",uninit_bg", block_size: "1024", inode_size: "256", mib: 24 },
    Set {
        name: "1.47",
        base: EXT4,
        features: ",metadata_csum,64bit,metadata_csum_seed,orphan_file",
        block_size: "4096",
        inode_size: "1024",
        mib: 64,
    },
    Set { name: "1 KiB", base: EXT4, features: ",metadata_csum,64bit", block_size: "1024", inode_size: "256", mib: 24 },
    Set {
        name: "csum, 32-bit",
        base: EXT4,
        features: ",metadata_csum",
        block_size: "2048",
        inode_size: "256",
        mib: 24,
    },
    Set {
        name: "fast_commit",
        base: EXT4,
        features: ",metadata_csum,64bit,fast_commit",
        block_size: "1024",
        inode_size: "128",
        mib: 24,
    },
    Set {
        name: "inline_data, ea_inode, large_dir",
        base: EXT4,
        features: ",metadata_csum,64bit,inline_data,ea_inode,large_dir",
        block_size: "1024",
        inode_size: "256",
        mib: 24,
    },
    Set {
        name: "quota, project",
        base: EXT4,
        features: ",metadata_csum,64bit,quota,project",
        block_size: "1024",
        inode_size: "256",
        mib: 24,
    },
    Set {
        name: "bigalloc, sparse_super2",
        base: EXT4,
        features: ",metadata_csum,64bit,bigalloc,sparse_super2,^resize_inode",
        block_size: "1024",
        inode_size: "256",
        mib: 64,
    },
    Set {
        name: "meta_bg",
        base: EXT4,
        features: ",metadata_csum,64bit,meta_bg,^resize_inode",
        block_size: "1024",
        inode_size: "256",
        mib: 24,
    },
];

impl Set {
    fn empty(&self) -> Memory {
        let features = format!("none,{}{}", self.base, self.features);
        let journal = if self.features.contains("fast_commit") { "size=1,fast_commit_size=0" } else { "size=1" };
        let size = self.block_size.parse::<u64>().unwrap();
        let journal = if size == 1024 { journal.to_string() } else { format!("size={}", size / 1024) };
        let args =
            ["-b", self.block_size, "-I", self.inode_size, "-N", "12288", "-J", &journal, "-O", &features, "-m", "0"];
        let clusters: &[&str] = if self.features.contains("bigalloc") { &["-C", "2048"] } else { &[] };
        mke2fs(&[&args, clusters].concat(), self.mib << 20)
    }

    /// With the few files that changes meet, and a tree of many.
    fn filled(&self) -> Memory {
        let mut fs = open_staged(self.empty());
        furnish(&mut fs, TREE).unwrap();
        finish(fs)
    }
}

fn plan(states: usize, number: usize) -> Plan {
    let plan = Plan::bounded(states);
    let limit = if long() { LONG_STATES } else { states };
    Plan { seed: plan.seed.wrapping_add(number as u64), limit, ..plan }
}

#[test]
fn every_workload_survives_every_crash() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    let (states, excluded, cut) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    in_parallel(SETS.iter().enumerate(), |(number, set)| {
        let base = set.filled();
        for (index, workload) in workloads().iter().enumerate() {
            let name = format!("{} on {}", workload.name, set.name);
            let case = Case::of(&name, base.clone(), |fs| {
                (workload.change)(fs, TREE).unwrap_or_else(|e| panic!("{name}: {e}"));
            });
            let (all, torn) = case.assert_recovers(&plan(STATES, number * 100 + index));
            states.fetch_add(all, Ordering::Relaxed);
            excluded.fetch_add(torn, Ordering::Relaxed);
            cut.fetch_add(usize::from(case.committed.transactions > 1), Ordering::Relaxed);
        }
    });
    eprintln!("{states:?} states, of which {excluded:?} tear a lone superblock; {cut:?} changes exceeded the log");
    assert!(cut.into_inner() > 0, "no change exceeded the log");
}
