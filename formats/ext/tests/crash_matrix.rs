//! Workloads times feature sets, each commit interrupted in many places: whoever recovers it finds the tree before, the
//! tree after, or, where the change exceeded the log, the tree after one of its transactions.

mod common;

use common::crash_case::{Case, Staged};
use common::made::mke2fs;
use common::{OPTIONS, bytes, in_parallel, long, typical_change};
use nomount_block::{Memory, Overlay, Spill};
use nomount_ext::{Attrs, Error, Filesystem, New, ROOT_INO};
use nomount_kit::crash::Plan;
use nomount_kit::require;
use std::sync::atomic::{AtomicUsize, Ordering};

/// States of one workload on one feature set. Nothing, everything and each barrier are always among them.
const STATES: usize = 11;
const LONG_STATES: usize = 220;
/// Files of the tree that is there, and of the one that is brought in. Their inodes exceed the log.
const TREE: usize = 5600;
/// Names in one directory of it.
const PER_DIR: usize = 250;

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
];

impl Set {
    fn empty(&self) -> Memory {
        let features = format!("none,{}{}", self.base, self.features);
        let journal = if self.features.contains("fast_commit") { "size=1,fast_commit_size=0" } else { "size=1" };
        let size = self.block_size.parse::<u64>().unwrap();
        let journal = if size == 1024 { journal.to_string() } else { format!("size={}", size / 1024) };
        let args =
            ["-b", self.block_size, "-I", self.inode_size, "-N", "12288", "-J", &journal, "-O", &features, "-m", "0"];
        mke2fs(&args, self.mib << 20)
    }

    /// With the few files that changes meet, and a tree of many.
    fn filled(&self) -> Memory {
        let mut fs = open(self.empty());
        furnish(&mut fs).unwrap();
        plant(&mut fs, b"tree", TREE).unwrap();
        fs.commit().unwrap();
        fs.into_device().commit().unwrap()
    }
}

fn open(image: Memory) -> Staged {
    Filesystem::open_for_write(Overlay::new(image, Spill::Never), OPTIONS).unwrap()
}

fn furnish(fs: &mut Staged) -> Result<(), Error> {
    let etc = fs.create(ROOT_INO, b"etc", &New::Dir, Attrs::default())?;
    let shadow = fs.create(etc, b"shadow", &New::File, Attrs::default())?;
    fs.write_contents(shadow, b"root:*:1:::::\n")?;
    let root = fs.create(ROOT_INO, b"root", &New::Dir, Attrs::default())?;
    let ssh = fs.create(root, b".ssh", &New::Dir, Attrs::default())?;
    let keys = fs.create(ssh, b"authorized_keys", &New::File, Attrs::default())?;
    fs.append(keys, b"ssh-ed25519 AAAA zero\n")?;
    let big = fs.create(ROOT_INO, b"big", &New::File, Attrs::default())?;
    fs.write_contents(big, &bytes(600_000, 5))
}

/// Directories of [`PER_DIR`] files each, every third of them with contents.
fn plant(fs: &mut Staged, name: &[u8], files: usize) -> Result<(), Error> {
    let top = fs.create(ROOT_INO, name, &New::Dir, Attrs::default())?;
    for dir in 0..files.div_ceil(PER_DIR) {
        let parent = fs.create(top, format!("dir-{dir}").as_bytes(), &New::Dir, Attrs::default())?;
        for number in dir * PER_DIR..files.min((dir + 1) * PER_DIR) {
            let name = format!("a file of this tree, number {number}");
            let ino = fs.create(parent, name.as_bytes(), &New::File, Attrs::default())?;
            if number % 3 == 0 {
                fs.write_contents(ino, &bytes(1 + number % 900, number as u8))?;
            }
        }
    }
    Ok(())
}

/// Every file of the tree, in a fixed order.
fn files(fs: &Staged) -> Result<Vec<u32>, Error> {
    let mut all = Vec::new();
    for number in 0..TREE {
        let path = format!("/tree/dir-{}/a file of this tree, number {number}", number / PER_DIR);
        all.push(fs.resolve(path.as_bytes())?);
    }
    Ok(all)
}

type Workload = (&'static str, fn(&mut Staged) -> Result<(), Error>);

const WORKLOADS: &[Workload] = &[
    ("inject", |fs| typical_change(fs)),
    ("a tree in", |fs| plant(fs, b"new", TREE)),
    ("replace", |fs| {
        for (number, ino) in files(fs)?.into_iter().take(300).enumerate() {
            fs.write_contents(ino, &bytes(2000, number as u8))?;
        }
        Ok(())
    }),
    ("append", |fs| {
        let big = fs.resolve(b"/big")?;
        (0..40).try_for_each(|round| fs.append(big, &bytes(3000, round)))
    }),
    ("a directory grows and its index splits", |fs| {
        let dir = fs.create(ROOT_INO, b"wide", &New::Dir, Attrs::default())?;
        for number in 0..1500 {
            let name = format!("{number:0>60}");
            fs.create(dir, name.as_bytes(), &New::Symlink(b"target"), Attrs::default())?;
        }
        Ok(())
    }),
    ("attributes spill", |fs| {
        for (number, ino) in files(fs)?.into_iter().take(200).enumerate() {
            fs.set_xattr(ino, b"user.short", Some(b"value"))?;
            fs.set_xattr(ino, b"user.long", Some(&bytes(300, number as u8)))?;
        }
        Ok(())
    }),
    ("mass chmod", |fs| {
        for ino in files(fs)? {
            fs.set_attrs(ino, Attrs { mode: Some(0o600), uid: Some(70_000), ..Attrs::default() })?;
        }
        Ok(())
    }),
];

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
        for (index, (what, change)) in WORKLOADS.iter().enumerate() {
            let name = format!("{what} on {}", set.name);
            let case = Case::of(&name, base.clone(), |fs| change(fs).unwrap_or_else(|e| panic!("{name}: {e}")));
            let (all, torn) = case.assert_recovers(&plan(STATES, number * WORKLOADS.len() + index));
            states.fetch_add(all, Ordering::Relaxed);
            excluded.fetch_add(torn, Ordering::Relaxed);
            cut.fetch_add(usize::from(case.committed.transactions > 1), Ordering::Relaxed);
        }
    });
    eprintln!("{states:?} states, of which {excluded:?} tear a lone superblock; {cut:?} changes exceeded the log");
    assert!(cut.into_inner() > 0, "no change exceeded the log");
}
