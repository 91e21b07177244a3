//! Random logs in every form, replayed by us and by e2fsck: both must leave the same contents.

use crate::common::log::{End, Form, Log, Sums};
use crate::common::made::mke2fs;
use crate::common::{in_parallel, long, seed};
use nomount_block::Memory;
use nomount_ext::{Attrs, Filesystem, New, Options, ROOT_INO};
use nomount_kit::{judges, require, scratch};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

const SEED: &str = "NOMOUNT_REPLAY_SEED";
/// Logs of one form.
const LOGS: u64 = 12;
const LONG_LOGS: u64 = 400;
/// Blocks of the file that the logs write to.
const BLOCKS: usize = 300;
const FEATURES: &str = "none,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file,has_journal,\
                        extent,huge_file,flex_bg,dir_nlink,extra_isize";

/// A filesystem with one file, the file's inode and its blocks.
fn image(features: &str, block_size: &str) -> (Memory, u32, Vec<u64>) {
    let size = block_size.parse::<usize>().unwrap();
    let features = format!("{FEATURES}{features}");
    let journal = format!("size={}", size / 1024);
    let image = mke2fs(&["-b", block_size, "-I", "256", "-J", &journal, "-O", &features], 12 << 20);
    let mut fs = Filesystem::open_for_write(image, Options::default()).unwrap();
    let ino = fs.create(ROOT_INO, b"logged", &New::File, Attrs::default()).unwrap();
    fs.write_contents(ino, &vec![b'o'; BLOCKS * size]).unwrap();
    fs.commit().unwrap();
    let runs = fs.runs(ino).unwrap();
    let blocks = runs.iter().flat_map(|run| run.block..run.block + u64::from(run.len)).collect();
    (fs.into_device(), ino, blocks)
}

fn contents(image: &Memory, ino: u32) -> Vec<u8> {
    let fs = Filesystem::open(image, Options::default()).unwrap();
    let mut bytes = vec![0; fs.inode(ino).unwrap().size() as usize];
    fs.read(ino, 0, &mut bytes).unwrap();
    bytes
}

fn random_contents(rng: &mut StdRng, size: usize) -> Vec<u8> {
    let mut bytes = vec![rng.random_range(1..=255); size];
    // A copy that looks like a part of the log must be escaped.
    if rng.random_range(0..4) == 0 {
        bytes[..4].copy_from_slice(&0xC03B_3998u32.to_be_bytes());
    }
    bytes
}

/// What a transaction revokes, and what it logs of which block.
type Logged = (Vec<usize>, Vec<(usize, Vec<u8>)>);

/// A log and what it leaves: for each block of the file the byte it is filled with, where it was replayed.
fn random_log(image: Memory, form: Form, blocks: &[u64], rng: &mut StdRng) -> (Memory, BTreeMap<usize, Vec<u8>>) {
    let block_size = Filesystem::open(&image, Options::default()).unwrap().geometry().block_size as usize;
    let start = if rng.random_range(0..2) == 0 { 1 } else { rng.random_range(900..1023) };
    let sequence = if rng.random_range(0..4) == 0 { u32::MAX - 2 } else { rng.random_range(1..1000) };
    let mut log = Log::new(image, form, start, sequence);
    let mut wanted: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    // What each transaction logs, and what later ones take back: a revocation covers its own transaction, too.
    let count = rng.random_range(1..6);
    let mut history: Vec<Logged> = Vec::new();
    for number in 0..count {
        let last = number + 1 == count;
        let end = match rng.random_range(0..6) {
            0 if last => End::NoCommit,
            1 if last && form.sums != Sums::None => End::BadCommit,
            _ => End::Whole,
        };
        let revoked: Vec<usize> = (0..rng.random_range(0..20)).map(|_| rng.random_range(0..blocks.len())).collect();
        let mut writes: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for _ in 0..rng.random_range(1..120) {
            let block = rng.random_range(0..blocks.len());
            if !revoked.contains(&block) {
                writes.insert(block, random_contents(rng, block_size));
            }
        }
        let numbers: Vec<u64> = revoked.iter().map(|at| blocks[*at]).collect();
        let copies: Vec<(u64, Vec<u8>)> = writes.iter().map(|(at, bytes)| (blocks[*at], bytes.clone())).collect();
        log.transaction(&numbers, &copies, rng.random_range(1..40), end);
        if end == End::Whole {
            history.push((revoked, writes.into_iter().collect()));
        }
    }
    for (at, (_, writes)) in history.iter().enumerate() {
        for (block, bytes) in writes {
            if !history[at..].iter().any(|(revoked, _)| revoked.contains(block)) {
                wanted.insert(*block, bytes.clone());
            }
        }
    }
    (log.finish(), wanted)
}

#[test]
fn every_form_of_log_is_replayed_as_e2fsck_does() {
    if !require(&["e2fsck", "mke2fs"]) {
        return;
    }
    let seed = seed(SEED);
    let mut forms = Vec::new();
    for block_size in ["1024", "4096"] {
        for bit64 in [false, true] {
            let wide = if bit64 { ",64bit" } else { "" };
            forms.push((format!("{wide},uninit_bg"), block_size, Form { sums: Sums::None, bit64 }));
            for sums in [Sums::V2, Sums::V3] {
                forms.push((format!("{wide},metadata_csum"), block_size, Form { sums, bit64 }));
            }
        }
    }
    in_parallel(forms, |(features, block_size, form)| {
        let (base, ino, blocks) = image(&features, block_size);
        let before = contents(&base, ino);
        for round in 0..if long() { LONG_LOGS } else { LOGS } {
            let what = format!("{form:?}{features}, {block_size}, round {round}");
            let mut rng = StdRng::seed_from_u64(seed ^ round);
            let (image, wanted) = random_log(base.clone(), form, &blocks, &mut rng);
            let mut after = before.clone();
            let size = after.len() / BLOCKS;
            for (block, bytes) in wanted {
                after[block * size..(block + 1) * size].copy_from_slice(&bytes);
            }
            assert!(contents(&image, ino) == after, "{what}: read through the log");
            let mut fs = Filesystem::open_for_write(image.clone(), Options::default()).unwrap();
            fs.commit().unwrap();
            let ours = fs.into_device();
            assert!(contents(&ours, ino) == after, "{what}: after our recovery");
            judges::e2fsck_fn(&scratch::device(&ours), 0).unwrap_or_else(|e| panic!("{what}: {e}"));
            let theirs = scratch::device(&image);
            judges::e2fsck_recover(&theirs, 0).unwrap_or_else(|e| panic!("{what}: {e}"));
            let theirs = Memory::new(std::fs::read(&theirs).unwrap());
            assert!(contents(&theirs, ino) == after, "{what}: after e2fsck");
        }
    });
}
