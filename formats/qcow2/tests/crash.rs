//! A crash at every device write, and failures of the device: the image stays sound, and every guest block is one
//! of its states since the last barrier.

mod support;

use nomount_block::{Fault, FaultPlan, Memory, ReadAt, Record, SetLen, WriteAt};
use nomount_qcow2::{Options, Qcow2, read_info};
use std::path::Path;
use support::*;

const BLOCK: usize = 512;

#[derive(Debug, Clone, Copy)]
struct Config {
    create: &'static str,
    blocks: usize,
    compressed: bool,
    snapshot: bool,
    backing: bool,
    cache: usize,
}

#[rustfmt::skip]
fn configs() -> Vec<Config> {
    let plain = Config { create: "", blocks: 1024, compressed: false, snapshot: false, backing: false, cache: 8 << 20 };
    vec![
        Config { create: "compat=v3,cluster_size=512", ..plain },
        Config { create: "compat=0.10,cluster_size=1024", snapshot: true, ..plain },
        Config { create: "compat=v3,cluster_size=512,refcount_bits=64", ..plain },
        Config { create: "compat=v3,cluster_size=512,refcount_bits=64", snapshot: true, cache: 4096, ..plain },
        Config { create: "compat=v3,cluster_size=4096", compressed: true, ..plain },
        Config { create: "compat=v3,cluster_size=4096,compression_type=zstd", compressed: true, snapshot: true, ..plain },
        Config { create: "compat=v3,cluster_size=4096,refcount_bits=1", backing: true, ..plain },
        Config { create: "compat=0.10,cluster_size=4096", backing: true, ..plain },
        Config { create: "compat=v3,extended_l2=on,cluster_size=16K", ..plain },
        Config { create: "compat=v3,extended_l2=on,cluster_size=16K", snapshot: true, ..plain },
        Config { create: "compat=v3,extended_l2=on,cluster_size=16K", backing: true, ..plain },
        Config { create: "compat=v3", snapshot: true, ..plain },
    ]
}

/// The contents that stand for version `id` of a block; version 0 is zeroes.
fn fill(id: u32) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block.chunks_exact_mut(4).for_each(|piece| piece.copy_from_slice(&id.to_le_bytes()));
    block
}

/// The version that a block's contents stand for.
fn version(block: &[u8]) -> Option<u32> {
    let id = u32::from_le_bytes(block[..4].try_into().unwrap());
    (*block == fill(id)).then_some(id)
}

struct Start {
    image: Vec<u8>,
    backing: Option<Vec<u8>>,
    first: Vec<u32>,
}

fn make(config: &Config, dir: &Path) -> Start {
    let first: Vec<u32> = (0..config.blocks).map(|b| if b % 48 < 30 { b as u32 + 1 } else { 0 }).collect();
    let bytes: Vec<u8> = first.iter().flat_map(|id| fill(*id)).collect();
    let raw = dir.join("start.raw");
    std::fs::write(&raw, &bytes).unwrap();
    let (raw, path) = (raw.to_str().unwrap(), dir.join("image.qcow2"));
    let text = path.to_str().unwrap();
    let create = ["-f", "qcow2", "-o", config.create];
    let size = bytes.len().to_string();
    if config.backing {
        ok("qemu-img", &[&["create"], &create[..], &["-F", "raw", "-b", raw, text, &size]].concat());
    } else {
        let mut args = vec!["convert", "-O", "qcow2", "-o", config.create, "-f", "raw"];
        if config.compressed {
            args.push("-c");
        }
        ok("qemu-img", &[&args[..], &[raw, text]].concat());
    }
    if config.snapshot {
        ok("qemu-img", &["snapshot", "-c", "kept", text]);
    }
    Start { image: std::fs::read(&path).unwrap(), backing: config.backing.then_some(bytes), first }
}

impl Start {
    fn backing(&self) -> Option<Box<dyn ReadAt>> {
        self.backing.clone().map(|bytes| Box::new(Memory::new(bytes)) as Box<dyn ReadAt>)
    }
}

/// What the guest did, as far as the verdict needs it.
struct History {
    /// Of each block: number of the operation, length of the device's log when it began, and the version.
    versions: Vec<Vec<(usize, usize, u32)>>,
    /// Number of the operation, and the device's log up to and with its last barrier.
    barriers: Vec<(usize, usize)>,
    /// Number of the operation, length of the device's log when it began, and the guest's length in blocks: each
    /// once. A change of length is a barrier too.
    lengths: Vec<(usize, usize, usize)>,
}

impl History {
    fn new(config: &Config) -> Self {
        let lengths = vec![(0, 0, config.blocks)];
        Self { versions: vec![Vec::new(); 2 * config.blocks], barriers: Vec::new(), lengths }
    }

    /// Notes a version of the blocks from `start` on.
    fn note(&mut self, blocks: std::ops::Range<usize>, number: usize, log: usize, id: u32) {
        self.versions[blocks].iter_mut().for_each(|block| block.push((number, log, id)));
    }

    /// Notes that all before the operation is durable with the last barrier in the device's log.
    fn barrier(&mut self, number: usize, image: &Image) {
        let log = image.get_ref().log();
        let end = log.iter().rposition(|record| *record == Record::Barrier).map_or(0, |at| at + 1);
        self.barriers.push((number, end));
    }
}

type Image = Qcow2<Fault<Memory>>;

/// Random operations on whole blocks. Stops at the first error and answers it.
fn operate(
    image: &mut Image,
    config: &Config,
    rng: &mut Rng,
    count: usize,
    history: &mut History,
) -> Result<(), nomount_block::Error> {
    let resizable = !(config.snapshot && config.create.contains("compat=0.10"));
    for number in 1..=count {
        let log = image.get_ref().log().len();
        let blocks = image.len() / BLOCK as u64;
        let start = rng.below(blocks);
        let most = if rng.below(4) == 0 { 150 } else { 12 };
        let len = (1 + rng.below(most)).min(blocks - start);
        let id = 100_000 + number as u32;
        let (offset, bytes) = (start * BLOCK as u64, len as usize * BLOCK);
        let range = start as usize..(start + len) as usize;
        match rng.below(20) {
            0..=10 => {
                history.note(range, number, log, id);
                image.write_at(offset, &fill(id).repeat(len as usize))?;
            }
            11..=14 => {
                history.note(range, number, log, 0);
                image.discard(offset, bytes as u64)?;
            }
            15 | 16 => {
                image.barrier()?;
                history.barrier(number, image);
            }
            17 if resizable => {
                let wanted = 1 + rng.below(history.versions.len() as u64) as usize;
                if history.lengths.iter().all(|(.., blocks)| *blocks != wanted) {
                    history.note(wanted.min(blocks as usize)..history.versions.len(), number, log, 0);
                    history.lengths.push((number, log, wanted));
                    image.set_len((wanted * BLOCK) as u64)?;
                    history.barrier(number, image);
                }
            }
            _ => {
                image.read_at(offset, &mut vec![0; bytes])?;
            }
        }
    }
    image.barrier()
}

fn apply(disk: &mut Vec<u8>, record: &Record, limit: usize) {
    match record {
        Record::Write { offset, data } => {
            let data = &data[..data.len().min(limit)];
            disk[*offset as usize..][..data.len()].copy_from_slice(data);
        }
        Record::Zeroes { offset, len } | Record::Discard { offset, len } => {
            disk[*offset as usize..][..*len as usize].fill(0)
        }
        Record::SetLen(len) => disk.resize(*len as usize, 0),
        Record::Barrier => {}
    }
}

/// Judges one state after a crash: `durable` records of the log are certain, `seen` may have happened.
fn judge(disk: Vec<u8>, start: &Start, history: &History, durable: usize, seen: usize, what: &str) -> Qcow2<Memory> {
    let verdict = check::check(&disk);
    assert!(verdict.errors.is_empty(), "{what}: {verdict:?}");
    let image = Qcow2::open(Memory::new(disk), start.backing(), Options::default()).unwrap();
    let bytes = content(&image);
    let barrier = history.barriers.iter().rev().find(|(_, end)| *end <= durable).map_or(0, |(number, _)| *number);
    let length = history.lengths.iter().find(|(.., blocks)| blocks * BLOCK == bytes.len());
    let &(resized, log, _) = length.unwrap_or_else(|| panic!("{what}: a length of {} bytes", bytes.len()));
    let later = history.lengths.iter().any(|(number, ..)| *number > resized && *number <= barrier);
    assert!(log <= seen && !later, "{what}: the length of operation {resized}, durable is {barrier}");
    // With a length comes all that was written before it, and nothing of later ones.
    let barrier = barrier.max(resized);
    let next = history.lengths.iter().map(|length| length.0).find(|number| *number > resized).unwrap_or(usize::MAX);
    for (index, block) in bytes.chunks(BLOCK).enumerate() {
        let versions = &history.versions[index];
        let first = start.first.get(index).copied().unwrap_or(0);
        let base = versions.iter().rev().find(|(number, ..)| *number <= barrier).map_or(first, |v| v.2);
        let mut allowed = vec![base];
        let possible = |(number, log, _): &&(usize, usize, u32)| *number > barrier && *number < next && *log <= seen;
        allowed.extend(versions.iter().filter(possible).map(|v| v.2));
        let found = version(block);
        assert!(found.is_some_and(|id| allowed.contains(&id)), "{what}: block {index}: {found:?} not of {allowed:?}");
    }
    image
}

fn crash(config: &Config, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let start = make(config, dir.path());
    let mut rng = Rng::new(seed);
    let device = Fault::new(Memory::new(start.image.clone()), FaultPlan::default());
    let options = Options { read_only: false, cache_bytes: config.cache };
    let mut image = Qcow2::open(device, start.backing(), options).unwrap();
    let mut history = History::new(config);
    let ops = if long() { 400 } else { 90 };
    operate(&mut image, config, &mut rng, ops, &mut history).unwrap();
    let (_, log) = image.into_inner().into_parts();
    println!("{config:?}: {} records", log.len());

    let mut disk = start.image.clone();
    let mut epoch_start = (0, disk.clone());
    for at in 0..=log.len() {
        // Every prefix.
        let image = judge(disk.clone(), &start, &history, at, at, &format!("{config:?} prefix {at}"));
        if at % 97 == 0 || at == log.len() {
            let path = dir.path().join("crashed.qcow2");
            std::fs::write(&path, image.get_ref().bytes()).unwrap();
            qemu_check(&path, at < log.len());
            written_again(image, &format!("{config:?} prefix {at}"));
        }
        let Some(record) = log.get(at) else { break };
        if let Record::Write { data, .. } = record
            && data.len() > BLOCK
        {
            let mut torn = disk.clone();
            apply(&mut torn, record, BLOCK * rng.below((data.len() / BLOCK) as u64) as usize);
            judge(torn, &start, &history, at, at + 1, &format!("{config:?} torn write {at}"));
        }
        if *record == Record::Barrier {
            // Random subsets of what was between two barriers.
            let (from, base) = std::mem::replace(&mut epoch_start, (at + 1, disk.clone()));
            for _ in 0..if long() { 20 } else { 3 } {
                let mut some = base.clone();
                for record in &log[from..at] {
                    // Growth is the host filesystem's: a lost one would lose the writes behind it too.
                    let grows = matches!(record, Record::SetLen(_));
                    if grows || rng.below(2) == 0 {
                        apply(&mut some, record, usize::MAX);
                    }
                }
                judge(some, &start, &history, from, at, &format!("{config:?} subset of {from}..{at}"));
            }
        }
        apply(&mut disk, record, usize::MAX);
    }
}

/// A crashed image takes changes again, and stays sound.
fn written_again(mut image: Qcow2<Memory>, what: &str) {
    let len = image.len();
    image.write_at(len / 3, &vec![9; 5000.min(len / 3) as usize]).unwrap();
    image.discard(len / 2, len / 4).unwrap();
    image.barrier().unwrap();
    // The one configuration that has a fixed length is a version 2 with a snapshot.
    if image.info().snapshots.is_empty() || image.info().version == 3 {
        image.set_len(len * 2).unwrap();
        let mut grown = vec![1; len as usize];
        image.read_at(len, &mut grown).unwrap();
        assert!(grown.iter().all(|byte| *byte == 0), "{what}: something shows in the new area");
        image.set_len(len / 2).unwrap();
    }
    let verdict = check::check(image.get_ref().bytes());
    assert!(verdict.errors.is_empty(), "{what}, written again: {verdict:?}");
}

#[test]
fn every_crash_leaves_old_or_new_blocks_and_at_most_leaks() {
    if judges() {
        for (index, config) in configs().iter().enumerate() {
            crash(config, seed() + index as u64);
        }
    }
}

#[test]
fn every_failure_of_the_device_is_an_error_and_leaves_the_image_sound() {
    if !judges() {
        return;
    }
    for (index, config) in configs().iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let start = make(config, dir.path());
        let mut failures = 0;
        for number in (0..if long() { 2000 } else { 120 }).step_by(3) {
            let none = FaultPlan::default();
            for plan in [
                FaultPlan { fail_read: Some(number), ..none },
                FaultPlan { fail_write: Some(number), ..none },
                FaultPlan { fail_barrier: Some(number / 8), ..none },
            ] {
                let device = Fault::new(Memory::new(start.image.clone()), plan);
                let options = Options { read_only: false, cache_bytes: config.cache };
                let Ok(mut image) = Qcow2::open(device, start.backing(), options) else {
                    assert!(plan.fail_read.is_some(), "opening writes nothing");
                    failures += 1;
                    continue;
                };
                let mut history = History::new(config);
                let mut rng = Rng::new(seed() + index as u64 + number);
                let result = operate(&mut image, config, &mut rng, 40, &mut history);
                let again = operate(&mut image, config, &mut rng, 5, &mut history)
                    .and_then(|()| image.write_at(0, &fill(1)))
                    .and_then(|()| image.barrier());
                if let Err(error) = result {
                    failures += 1;
                    assert!(!error.to_string().is_empty());
                    let dead = plan.fail_write.is_some() && again.is_err();
                    assert!(dead || plan.fail_write.is_none(), "a dead disk was written");
                }
                let (disk, log) = image.into_inner().into_parts();
                let what = format!("{config:?} {plan:?}");
                let verdict = check::check(disk.bytes());
                assert!(verdict.errors.is_empty(), "{what}, {} records: {verdict:?}", log.len());
                written_again(Qcow2::open(disk, start.backing(), Options::default()).unwrap(), &what);
            }
        }
        assert!(failures > 40, "{config:?}: only {failures} failures");
    }
}

/// A read of the L1 table that failed after a shared L2 table was given up for its copy left the entry leading to a
/// table that was freed. It takes a small cache and many tables looked at since, so these are operations that did it.
#[test]
fn a_failed_read_while_a_table_is_copied_frees_nothing() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = configs()[3];
    let start = make(&config, dir.path());
    for (number, seed) in (0..120).flat_map(|number| [(number, 5 + number), (number, 6 + number)]) {
        let plan = FaultPlan { fail_read: Some(number), ..FaultPlan::default() };
        let device = Fault::new(Memory::new(start.image.clone()), plan);
        let options = Options { read_only: false, cache_bytes: config.cache };
        let Ok(mut image) = Qcow2::open(device, None, options) else { continue };
        let (mut rng, mut history) = (Rng::new(seed), History::new(&config));
        let _ = operate(&mut image, &config, &mut rng, 40, &mut history);
        let _ = operate(&mut image, &config, &mut rng, 5, &mut history);
        let verdict = check::check(image.into_inner().into_parts().0.bytes());
        assert!(verdict.errors.is_empty(), "read {number}: {verdict:?}");
    }
}

#[test]
fn a_barrier_costs_what_is_pending() {
    if !judges() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let start = make(&configs()[0], dir.path());
    let device = Fault::new(Memory::new(start.image), FaultPlan::default());
    let mut image = Qcow2::open(device, None, Options::default()).unwrap();
    let barriers = |image: &Image| image.get_ref().log().iter().filter(|r| **r == Record::Barrier).count();
    image.barrier().unwrap();
    assert_eq!(image.get_ref().log(), [], "nothing was written");
    image.write_at(0, &[1; BLOCK]).unwrap();
    image.barrier().unwrap();
    assert_eq!(barriers(&image), 1, "in place");
    image.barrier().unwrap();
    assert_eq!(barriers(&image), 1, "nothing more");
    image.write_at(40 * BLOCK as u64, &[1; BLOCK]).unwrap();
    image.barrier().unwrap();
    assert_eq!(barriers(&image), 3, "a new cluster: refcounts and data, then tables");
    image.write_at(0, &[2; BLOCK]).unwrap();
    image.write_at(41 * BLOCK as u64, &[2; BLOCK]).unwrap();
    let disk = image.into_inner().into_parts().0;
    let image = Qcow2::open(disk, None, Options::default()).unwrap();
    assert_eq!(read_info(image.get_ref()).unwrap(), *image.info());
    let bytes = content(&image);
    assert_eq!((bytes[0], bytes[41 * BLOCK]), (2, 0), "without a barrier the old mapping stays");
    check::assert_clean(image.get_ref().bytes());
}
