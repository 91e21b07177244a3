//! Random operations on images of every kind, against a model and against qemu-img and qemu-io.

mod support;

use nomount_block::{ExtentKind, HostFile, ReadAt, SetLen, WriteAt};
use nomount_qcow2::Qcow2;
use std::path::{Path, PathBuf};
use support::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    Empty,
    Plain,
    Compressed,
}

#[derive(Debug, Clone, Copy)]
struct Config {
    /// Options for qemu-img create, without the backing file.
    create: &'static str,
    /// Guest bytes.
    size: u64,
    start: Start,
    snapshots: u32,
    /// Format and length of the backing file.
    backing: Option<(&'static str, u64)>,
    cache: usize,
}

const M: u64 = 1 << 20;

const fn config(create: &'static str, size: u64) -> Config {
    Config { create, size, start: Start::Empty, snapshots: 0, backing: None, cache: 8 << 20 }
}

#[rustfmt::skip]
fn configs() -> Vec<Config> {
    use Start::*;
    vec![
        config("compat=v3", 4 * M),
        config("compat=0.10", 4 * M),
        config("compat=v3,cluster_size=512", M + 512 * 3),
        config("compat=0.10,cluster_size=512", M),
        config("compat=v3,cluster_size=1024", 2 * M),
        config("compat=0.10,cluster_size=1024", M + 512),
        config("compat=v3,cluster_size=4096", 4 * M),
        config("compat=0.10,cluster_size=4096", 4 * M),
        config("compat=v3,cluster_size=2M", 12 * M + 512),
        config("compat=0.10,cluster_size=2M", 8 * M),
        config("compat=v3,cluster_size=4096,refcount_bits=1", 2 * M),
        Config { start: Plain, ..config("compat=v3,cluster_size=512,refcount_bits=1", M) },
        Config { snapshots: 2, start: Plain, ..config("compat=v3,cluster_size=4096,refcount_bits=2", 2 * M) },
        Config { snapshots: 2, start: Plain, ..config("compat=v3,cluster_size=512,refcount_bits=4", M) },
        Config { snapshots: 2, start: Compressed, ..config("compat=v3,cluster_size=4096,refcount_bits=8", 2 * M) },
        Config { start: Compressed, ..config("compat=v3,cluster_size=1024,refcount_bits=32", M) },
        Config { snapshots: 1, start: Plain, ..config("compat=v3,cluster_size=512,refcount_bits=64", 2 * M) },
        config("compat=v3,refcount_bits=64", 4 * M),
        config("compat=v3,extended_l2=on,cluster_size=16K", 2 * M + 512),
        config("compat=v3,extended_l2=on", 6 * M),
        Config { start: Plain, snapshots: 2, ..config("compat=v3,extended_l2=on,cluster_size=32K", 3 * M) },
        Config { start: Compressed, ..config("compat=v3,extended_l2=on,cluster_size=64K,compression_type=zstd", 3 * M) },
        Config { backing: Some(("raw", 2 * M + 700)), ..config("compat=v3,extended_l2=on,cluster_size=16K", 3 * M) },
        config("compat=v3,extended_l2=on,cluster_size=2M", 8 * M),
        Config { start: Compressed, ..config("compat=v3", 4 * M + 512) },
        Config { start: Compressed, ..config("compat=0.10", 4 * M) },
        Config { start: Compressed, ..config("compat=v3,compression_type=zstd", 4 * M) },
        Config { start: Compressed, snapshots: 2, ..config("compat=v3,cluster_size=4096,compression_type=zstd", 2 * M) },
        Config { start: Compressed, ..config("compat=0.10,cluster_size=512", M) },
        Config { start: Compressed, ..config("compat=v3,cluster_size=2M", 8 * M) },
        Config { snapshots: 3, start: Plain, ..config("compat=v3", 4 * M) },
        Config { snapshots: 3, start: Plain, ..config("compat=0.10", 4 * M) },
        Config { backing: Some(("raw", 3 * M + 100)), ..config("compat=v3", 4 * M) },
        Config { backing: Some(("raw", 3 * M + 512)), ..config("compat=0.10,cluster_size=4096", 4 * M) },
        Config { backing: Some(("qcow2", 4 * M)), snapshots: 1, ..config("compat=v3,cluster_size=4096", 4 * M) },
        Config { backing: Some(("qcow2", M)), ..config("compat=0.10", 4 * M) },
        Config { backing: Some(("qcow2", 2 * M)), ..config("compat=v3,cluster_size=512,refcount_bits=8", M) },
        config("compat=v3,lazy_refcounts=on", 4 * M),
        config("compat=v3,lazy_refcounts=on,cluster_size=1024", M),
        config("compat=v3,preallocation=metadata", 4 * M),
        Config { cache: 4096, ..config("compat=v3,cluster_size=512,refcount_bits=64", 2 * M) },
        Config { cache: 65536, snapshots: 1, start: Plain, ..config("compat=v3,cluster_size=4096", 4 * M) },
    ]
}

/// Bytes that compress a little, with stretches of zero.
fn pattern(rng: &mut Rng, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    for piece in bytes.chunks_mut(3000) {
        match rng.below(4) {
            0 => {}
            1 => piece.fill(rng.next() as u8),
            _ => piece.iter_mut().for_each(|byte| *byte = rng.below(16) as u8),
        }
    }
    bytes
}

struct Image {
    path: PathBuf,
    backing: Option<(PathBuf, &'static str)>,
    model: Vec<u8>,
    snapshots: Vec<(String, Vec<u8>)>,
    cache: usize,
    /// Without snapshots, or of a version whose snapshots record their length.
    resizable: bool,
}

impl Image {
    fn make(dir: &Path, config: &Config, rng: &mut Rng) -> Self {
        let path = dir.join("image.qcow2");
        let text = path.to_str().unwrap().to_owned();
        let size = config.size.to_string();
        let mut model = vec![0; config.size as usize];
        let mut backing = None;
        if let Some((format, len)) = config.backing {
            let raw = dir.join("base.raw");
            let bytes = pattern(rng, len);
            std::fs::write(&raw, &bytes).unwrap();
            let shared = bytes.len().min(model.len());
            model[..shared].copy_from_slice(&bytes[..shared]);
            let base = if format == "raw" {
                raw
            } else {
                let base = dir.join("base.qcow2");
                ok("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", raw.to_str().unwrap(), base.to_str().unwrap()]);
                base
            };
            let args = ["create", "-f", "qcow2", "-o", config.create, "-F", format, "-b"];
            ok("qemu-img", &[&args[..], &[base.to_str().unwrap(), &text, &size]].concat());
            backing = Some((base, format));
        } else if config.start == Start::Empty {
            ok("qemu-img", &["create", "-f", "qcow2", "-o", config.create, &text, &size]);
        } else {
            model = pattern(rng, config.size);
            let raw = dir.join("start.raw");
            std::fs::write(&raw, &model).unwrap();
            let mut args = vec!["convert", "-f", "raw", "-O", "qcow2", "-o", config.create];
            if config.start == Start::Compressed {
                args.push("-c");
            }
            ok("qemu-img", &[&args[..], &[raw.to_str().unwrap(), &text]].concat());
        }
        let mut image = Self { path, backing, model, snapshots: Vec::new(), cache: config.cache, resizable: true };
        image.resizable = config.snapshots == 0 || !config.create.contains("compat=0.10");
        for number in 0..config.snapshots {
            let name = format!("s{number}");
            ok("qemu-img", &["snapshot", "-c", &name, &text]);
            image.snapshots.push((name, image.model.clone()));
            for _ in 0..8 {
                image.qemu_write(rng);
            }
        }
        image
    }

    fn open(&self) -> Qcow2<HostFile> {
        let backing = self.backing.as_ref().map(|(path, format)| (path.as_path(), *format));
        open(&self.path, backing, self.cache)
    }

    /// A write, or zeroes, by qemu-io.
    fn qemu_write(&mut self, rng: &mut Rng) {
        let sectors = self.model.len() as u64 / 512;
        let start = rng.below(sectors);
        let count = (1 + rng.below(200)).min(sectors - start);
        let range = start as usize * 512..(start + count) as usize * 512;
        let byte = if rng.below(3) == 0 { 0 } else { rng.next() as u8 };
        let kind = if byte == 0 { "write -z -u".to_owned() } else { format!("write -P {byte}") };
        let command = format!("{kind} {} {}", start * 512, count * 512);
        ok("qemu-io", &["-f", "qcow2", "-c", &command, self.path.to_str().unwrap()]);
        self.model[range].fill(byte);
    }

    fn judge(&self) {
        qemu_check(&self.path, false);
        check::assert_clean(&std::fs::read(&self.path).unwrap());
        let wanted = &self.model;
        same("qemu-img convert", &qemu_content(&self.path, None)[..wanted.len()], wanted);
        for (name, wanted) in &self.snapshots {
            // Of a snapshot that is longer than the image only so much is converted.
            let len = wanted.len().min(self.model.len());
            same(name, &qemu_content(&self.path, Some(name))[..len], &wanted[..len]);
        }
    }
}

fn operate(image: &mut Qcow2<HostFile>, model: &mut [u8], rng: &mut Rng, cluster: u64) {
    let size = model.len() as u64;
    let start = rng.below(size);
    let (start, most) = match rng.below(4) {
        0 => (start - start % cluster, 3 * cluster),
        1 => (start - start % 512, 4096),
        2 => (start, 700),
        _ => (start, cluster * 2),
    };
    let len = (1 + rng.below(most.min(256 << 10))).min(size - start);
    let len = if rng.below(3) == 0 { most.min(size - start) } else { len };
    let range = start as usize..(start + len) as usize;
    match rng.below(16) {
        0..=8 => {
            let mut data = vec![rng.next() as u8; len as usize];
            data[0] = rng.next() as u8;
            if rng.below(4) == 0 {
                image.write_fresh(start, &data).unwrap();
            } else {
                image.write_at(start, &data).unwrap();
            }
            model[range].copy_from_slice(&data);
        }
        9..=11 => {
            image.discard(start, len).unwrap();
            model[range].fill(0);
        }
        12..=14 => {
            let mut back = vec![1; len as usize];
            image.read_at(start, &mut back).unwrap();
            same("read", &back, &model[range]);
        }
        _ => image.barrier().unwrap(),
    }
}

/// Another length, most of the time near `size`.
fn resize(image: &mut Qcow2<HostFile>, model: &mut Vec<u8>, rng: &mut Rng, size: u64) {
    let cluster = image.info().cluster_size();
    let len = match rng.below(4) {
        0 => model.len() as u64 + rng.below(2 * cluster),
        1 => (model.len() as u64).saturating_sub(rng.below(2 * cluster)),
        _ => rng.below(size + size / 4),
    };
    match rng.below(8) {
        0 => {
            image.set_len(0).unwrap();
            assert_eq!(image.len(), 0);
            model.clear();
        }
        // So long that the L1 table does not fit its cluster, and written at its end.
        1 => {
            let far = cluster / 8 * (cluster / if image.info().extended_l2 { 16 } else { 8 }) * cluster * 2;
            image.set_len(far).unwrap();
            let mut last = vec![1; 3000];
            image.read_at(far - 3000, &mut last).unwrap();
            assert_eq!(last, [0; 3000]);
            image.write_at(far - 3000, &[9; 3000]).unwrap();
            image.read_at(far - 3000, &mut last).unwrap();
            assert_eq!(last, [9; 3000]);
        }
        _ => {}
    }
    // qemu-io needs a sector, and qemu-img shows whole ones.
    let len = if rng.below(3) == 0 { len } else { len.next_multiple_of(512) };
    image.set_len(len.max(512)).unwrap();
    model.resize(len.max(512) as usize, 0);
    assert_eq!(image.len(), model.len() as u64);
}

fn check_extents(image: &Qcow2<HostFile>, model: &[u8]) {
    let mut at = 0;
    while at < model.len() {
        let extent = image.extent_at(at as u64).unwrap();
        let end = at + extent.len as usize;
        assert!(extent.len > 0 && end <= model.len());
        if extent.kind == ExtentKind::Zero {
            assert!(model[at..end].iter().all(|b| *b == 0), "extent at {at:#x} is not zero");
        }
        at = end;
    }
}

fn exercise(config: &Config, rng: &mut Rng) {
    let dir = tempfile::tempdir().unwrap();
    let mut image = Image::make(dir.path(), config, rng);
    image.judge();
    let (batches, ops) = if long() { (40, 1000) } else { (5, 800) };
    for _ in 0..batches {
        let mut open = image.open();
        same("first read", &content(&open), &image.model);
        let cluster = open.info().cluster_size();
        for _ in 0..ops {
            operate(&mut open, &mut image.model, rng, cluster);
            if rng.below(100) == 0 && image.resizable {
                resize(&mut open, &mut image.model, rng, config.size);
            }
        }
        open.barrier().unwrap();
        let len = image.model.len().next_multiple_of(512);
        if image.resizable {
            open.set_len(len as u64).unwrap();
            image.model.resize(len, 0);
        }
        check_extents(&open, &image.model);
        same("last read", &content(&open), &image.model);
        drop(open);
        image.judge();
        for _ in 0..3 {
            image.qemu_write(rng);
        }
    }
    image.judge();
    for (name, wanted) in &image.snapshots {
        if image.resizable {
            // Narrow refcounts have room for one more reference only without the active one.
            image.open().set_len(0).unwrap();
            qemu_check(&image.path, false);
        }
        ok("qemu-img", &["snapshot", "-a", name, image.path.to_str().unwrap()]);
        same(name, &content(&image.open()), wanted);
        qemu_check(&image.path, false);
    }
}

/// Every `part`-th of four configurations, so that the test runner's threads share them.
fn part(part: usize) {
    if !judges() {
        return;
    }
    for (index, config) in configs().iter().enumerate().filter(|(index, _)| index % 4 == part) {
        println!("configuration {index}: {config:?}");
        exercise(config, &mut Rng::new(seed() + index as u64));
    }
}

#[test]
fn first_quarter() {
    part(0);
}

#[test]
fn second_quarter() {
    part(1);
}

#[test]
fn third_quarter() {
    part(2);
}

#[test]
fn last_quarter() {
    part(3);
}
