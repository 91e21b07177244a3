//! A device that fails: every failure is told, and what is on the device then recovers to the old state or the new.

use crate::common::{OPTIONS, in_parallel, long, our_digest, typical_change};
use nomount_block::{Fault, FaultPlan, Memory, ReadAt};
use nomount_ext::{Committed, Error, Filesystem, Options};
use nomount_kit::{TreeDigest, fixture, judges, require, scratch};
use std::sync::atomic::{AtomicUsize, Ordering};

const IMAGES: &[&str] = &["ext3-1k", "ext4-1k", "ext4-147", "ext4-i128", "dirty-ext3", "dirty-csum3", "orphan-list"];
/// Failures of each kind that are tried on an image: evenly spread, all of them with `NOMOUNT_LONG=1`.
const TRIED: u64 = 40;

fn read(image: &dyn ReadAt) -> TreeDigest {
    our_digest(&Filesystem::open(image, Options::default()).unwrap())
}

fn change(device: &mut Fault<Memory>) -> Result<Committed, Error> {
    let mut fs = Filesystem::open_for_write(device, OPTIONS)?;
    typical_change(&mut fs)?;
    let error = match fs.commit() {
        Ok(done) => return Ok(done),
        Err(error) => error,
    };
    // A failure before the first write leaves everything as it was; after it nothing more may be written.
    let writes = fs.device().log().len();
    match fs.commit() {
        Ok(_) => assert!(fs.commit().unwrap().is_empty()),
        Err(Error::CommitFailed) => assert_eq!(fs.device().log().len(), writes),
        Err(other) => panic!("{other}"),
    }
    Err(error)
}

fn spread(count: u64) -> impl Iterator<Item = u64> {
    let step = if long() { 1 } else { count.div_ceil(TRIED).max(1) };
    (0..count).step_by(step as usize)
}

#[test]
fn every_failure_is_told_and_leaves_old_or_new() {
    if !require(&["e2fsck"]) {
        return;
    }
    let tried = AtomicUsize::new(0);
    in_parallel(IMAGES, |name| {
        let base = fixture::memory(name);
        let before = read(&base);
        let mut whole = Fault::new(base.clone(), FaultPlan::default());
        change(&mut whole).unwrap();
        let reads = whole.reads();
        let (changed, log) = whole.into_parts();
        let after = read(&changed);
        let barriers = log.iter().filter(|record| matches!(record, nomount_block::Record::Barrier)).count() as u64;
        let writes = log.len() as u64 - barriers;
        let plans = spread(reads)
            .map(|n| FaultPlan { fail_read: Some(n), ..FaultPlan::default() })
            .chain(spread(writes).map(|n| FaultPlan { fail_write: Some(n), ..FaultPlan::default() }))
            .chain((0..barriers).map(|n| FaultPlan { fail_barrier: Some(n), ..FaultPlan::default() }));
        for plan in plans {
            tried.fetch_add(1, Ordering::Relaxed);
            let mut device = Fault::new(base.clone(), plan);
            match change(&mut device) {
                Err(Error::Device(_)) => {}
                other => panic!("{name}, {plan:?}: {other:?}"),
            }
            let (image, log) = device.into_parts();
            let found = read(&image);
            assert!(found == before || found == after, "{name}, {plan:?}: {:#?}", before.diff(&found));
            if log.is_empty() {
                assert!(image == base, "{name}, {plan:?}: the device changed");
                continue;
            }
            let mut fs = Filesystem::open_for_write(image, OPTIONS).unwrap();
            fs.commit().unwrap();
            assert!(read(fs.device()) == found, "{name}, {plan:?}: recovery changed the tree");
            let file = scratch::device(fs.device());
            judges::e2fsck_fn(&file, 0).unwrap_or_else(|e| panic!("{name}, {plan:?}: {e}"));
        }
    });
    eprintln!("{tried:?} failures");
}

#[test]
fn reading_needs_no_write_and_cannot_be_committed() {
    for name in ["ext4-147", "dirty-csum3"] {
        let mut device = Fault::new(fixture::memory(name), FaultPlan { fail_write: Some(0), ..FaultPlan::default() });
        let mut fs = Filesystem::open(&mut device, Options::default()).unwrap();
        assert!(!our_digest(&fs).entries.is_empty());
        assert!(matches!(fs.commit(), Err(Error::ReadOnly(_))), "{name}");
        assert!(matches!(typical_change(&mut fs), Err(Error::ReadOnly(_))), "{name}");
        assert!(device.log().is_empty(), "{name}");
    }
}

/// `s_blocks_count` of a device that was cut short, at each kind of place.
#[test]
fn a_short_device_is_told_by_name() {
    let bytes = fixture::bytes("ext4-147");
    for len in [0, 1, 1023, 1024, 1500, 2047] {
        let error = Filesystem::open(Memory::new(bytes[..len].to_vec()), Options::default()).unwrap_err();
        assert!(matches!(error, Error::NotExt { .. }), "{len}: {error}");
    }
    for len in [2048, 4096, 1 << 20, bytes.len() - 4096, bytes.len() - 1] {
        let error = Filesystem::open(Memory::new(bytes[..len].to_vec()), Options::default()).unwrap_err();
        assert!(error.to_string().contains("s_blocks_count"), "{len}: {error}");
    }
}
