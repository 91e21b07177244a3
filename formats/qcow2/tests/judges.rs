//! What was written here is read back by two implementations of others, imago and qcow2-rs.

mod support;

use imago::file::File;
use imago::qcow2::Qcow2 as Imago;
use imago::{FormatAccess, FormatDriverBuilder, PermissiveImplicitOpenGate};
use nomount_block::WriteAt;
use qcow2_rs::dev::Qcow2DevParams;
use qcow2_rs::helpers::Qcow2IoBuf;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use support::*;

const MIB: u64 = 1 << 20;

#[derive(Debug, Clone, Copy)]
struct Config {
    /// Options for qemu-img create, without the backing file.
    create: &'static str,
    size: u64,
    /// Begins full of compressed clusters.
    compressed: bool,
    snapshot: bool,
    backing: bool,
}

const fn config(create: &'static str, size: u64) -> Config {
    Config { create, size, compressed: false, snapshot: false, backing: false }
}

/// Without what imago refuses (zstd, extended L2 entries). It reads version 2 without header extensions, so it would
/// guess a backing file's format there.
#[rustfmt::skip]
fn configs() -> Vec<Config> {
    vec![
        config("compat=v3", 8 * MIB + 512),
        config("compat=0.10", 8 * MIB),
        config("compat=v3,cluster_size=512", MIB),
        config("compat=0.10,cluster_size=1024", 2 * MIB),
        config("compat=v3,cluster_size=2M", 12 * MIB),
        config("compat=v3,cluster_size=4096,refcount_bits=1", 4 * MIB),
        config("compat=v3,cluster_size=512,refcount_bits=64", MIB),
        Config { snapshot: true, ..config("compat=v3", 8 * MIB) },
        Config { snapshot: true, ..config("compat=0.10,cluster_size=4096", 4 * MIB) },
        Config { compressed: true, ..config("compat=v3", 8 * MIB) },
        Config { compressed: true, snapshot: true, ..config("compat=v3,cluster_size=4096", 4 * MIB) },
        Config { backing: true, ..config("compat=v3", 8 * MIB) },
        Config { backing: true, ..config("compat=v3,cluster_size=4096,refcount_bits=8", 4 * MIB) },
    ]
}

/// Makes an image of this kind and changes it at random. Answers it and what a guest must find in it.
fn written(dir: &Path, config: &Config, rng: &mut Rng) -> (PathBuf, Vec<u8>) {
    let (raw, path) = (dir.join("start.raw"), dir.join("image.qcow2"));
    let (from, text) = (raw.to_str().unwrap(), path.to_str().unwrap());
    let mut model: Vec<u8> =
        (0..config.size).map(|at| if at % 200_000 < 90_000 { (at / 700) as u8 } else { 0 }).collect();
    std::fs::write(&raw, &model).unwrap();
    if config.backing {
        let size = config.size.to_string();
        ok("qemu-img", &["create", "-f", "qcow2", "-o", config.create, "-F", "raw", "-b", from, text, &size]);
    } else {
        let mut args = vec!["convert", "-f", "raw", "-O", "qcow2", "-o", config.create];
        args.extend(config.compressed.then_some("-c"));
        ok("qemu-img", &[&args[..], &[from, text]].concat());
    }
    if config.snapshot {
        ok("qemu-img", &["snapshot", "-c", "kept", text]);
    }
    let mut image = open(&path, config.backing.then_some((&raw, "raw")), 1 << 20);
    for _ in 0..if long() { 4000 } else { 600 } {
        let start = rng.below(config.size);
        let most = [700, 9000, 150_000][rng.below(3) as usize];
        let len = (1 + rng.below(most)).min(config.size - start);
        let part = &mut model[start as usize..(start + len) as usize];
        match rng.below(8) {
            0..=4 => {
                part.fill(rng.next() as u8);
                image.write_at(start, part).unwrap();
            }
            5..=6 => {
                part.fill(0);
                image.discard(start, len).unwrap();
            }
            _ => image.barrier().unwrap(),
        }
    }
    image.barrier().unwrap();
    drop(image);
    qemu_check(&path, false);
    (path, model)
}

#[test]
fn imago_reads_what_was_written() {
    if !judges() {
        return;
    }
    for (index, config) in configs().iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (path, model) = written(dir.path(), config, &mut Rng::new(seed() + index as u64));
        let image = Imago::<File>::builder_path(&path).open(PermissiveImplicitOpenGate::default()).unwrap();
        let image = FormatAccess::new(image);
        assert_eq!(image.size(), config.size, "{config:?}");
        let mut found = vec![1; model.len()];
        // In pieces that are aligned to nothing.
        for (number, piece) in found.chunks_mut(100_003).enumerate() {
            image.read(piece, number as u64 * 100_003).unwrap();
        }
        same(&format!("imago, {config:?}"), &found, &model);
    }
}

/// Version 3, 64 KiB clusters, nothing else: what qcow2-rs reads right by itself.
#[test]
fn qcow2_rs_reads_what_was_written() {
    if !judges() {
        return;
    }
    for round in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let config = config("compat=v3", 8 * MIB);
        let (path, model) = written(dir.path(), &config, &mut Rng::new(seed() + 100 + round));
        let params = Qcow2DevParams::new(9, None, None, true, false);
        let device = qcow2_rs::utils::qcow2_setup_dev_sync(&path, &params).unwrap();
        assert_eq!(device.info.virtual_size(), config.size);
        finish(device.qcow2_prep_io()).unwrap();
        let mut found = Qcow2IoBuf::<u8>::new(config.size as usize);
        let read = finish(device.read_at(&mut found, 0)).unwrap();
        assert_eq!(read, model.len());
        same(&format!("qcow2-rs, round {round}"), &found, &model);
        finish(device.check()).unwrap();
    }
}

/// Runs a future to its end. Those of qcow2-rs over its synchronous files wait for nothing.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
    panic!("the future waits for something");
}
