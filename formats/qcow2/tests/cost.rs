//! Cost follows what is touched: a small edit reads and writes about the same on images of every length.

mod support;

use nomount_block::{Extent, HostFile, ReadAt, Result, SetLen, WriteAt};
use nomount_qcow2::{Options, Qcow2};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use support::*;

/// Counts what passes through, in calls and bytes.
#[derive(Debug)]
struct Counting {
    inner: HostFile,
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: u64,
    written_bytes: u64,
}

impl ReadAt for Counting {
    fn len(&self) -> u64 {
        self.inner.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.inner.read_at(offset, buf)
    }
    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.inner.extent_at(offset)
    }
}

impl WriteAt for Counting {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.writes += 1;
        self.written_bytes += data.len() as u64;
        self.inner.write_at(offset, data)
    }
    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.write_at(offset, data)
    }
    fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
        self.writes += 1;
        self.inner.discard(offset, len)
    }
    fn barrier(&mut self) -> Result<()> {
        self.inner.barrier()
    }
}

impl SetLen for Counting {
    fn set_len(&mut self, len: u64) -> Result<()> {
        self.writes += 1;
        self.inner.set_len(len)
    }
}

/// Calls and bytes that a small edit costs; the result is judged.
fn cost(dir: &Path, name: &str, size: u64) -> [(&'static str, u64); 4] {
    let (path, places) = ext::image(dir, name, size);
    let device = Counting {
        inner: host(&path),
        reads: AtomicU64::new(0),
        read_bytes: AtomicU64::new(0),
        writes: 0,
        written_bytes: 0,
    };
    let mut image = Qcow2::open(device, None, Options::default()).unwrap();
    for (at, barrier) in ext::edit(&places) {
        image.write_at(at, &[7; 4096]).unwrap();
        if barrier {
            image.barrier().unwrap();
        }
    }
    image.barrier().unwrap();
    let device = image.into_inner();
    qemu_check(&path, false);
    let image = open(&path, None, 0);
    for (at, _) in ext::edit(&places) {
        let mut block = [0; 4096];
        image.read_at(at, &mut block).unwrap();
        assert_eq!(block, [7; 4096], "{name} at {at:#x}");
    }
    let counts = [
        ("reads", device.reads.into_inner()),
        ("bytes read", device.read_bytes.into_inner()),
        ("writes and changes of length", device.writes),
        ("bytes written", device.written_bytes),
    ];
    println!("{name}: {counts:?}");
    counts
}

#[test]
fn a_small_edit_costs_the_same_on_a_large_image() {
    if !judges() || !ext::e2fsprogs() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let small = cost(dir.path(), "small", 4 << 30);
    let large = cost(dir.path(), "large", 2 << 40);
    for ((what, small), (_, large)) in small.into_iter().zip(large) {
        assert!(large * 2 <= small * 3, "{what}: {small} on 4 GiB, {large} on 2 TiB");
    }
}
