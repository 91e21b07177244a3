//! What the judged tests share: the judges, a generator of random operations, and a model to compare with.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

use nomount_block::{HostFile, ReadAt};
use nomount_qcow2::{Options, Qcow2};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Command, Output};

pub use nomount_kit::qcow2_check as check;
pub mod ext;

/// xorshift64*: the tests need no better numbers, and the same ones everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit.max(1)
    }
}

/// The seed of this run: fixed, or from `NOMOUNT_SEED`.
pub fn seed() -> u64 {
    let seed = std::env::var("NOMOUNT_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_123);
    println!("seed {seed}, set NOMOUNT_SEED for another");
    seed
}

pub fn long() -> bool {
    std::env::var_os("NOMOUNT_LONG").is_some()
}

/// Whether the judges are installed; with `CI` set they must be.
pub fn judges() -> bool {
    let there = ["qemu-img", "qemu-io"].iter().all(|tool| Command::new(tool).arg("--version").output().is_ok());
    assert!(there || std::env::var_os("CI").is_none(), "qemu-img and qemu-io are needed");
    if !there {
        println!("qemu-img or qemu-io is missing: nothing tested");
    }
    there
}

pub fn run(tool: &str, args: &[&str]) -> Output {
    Command::new(tool).args(args).output().unwrap()
}

/// Runs a tool that must succeed.
pub fn ok(tool: &str, args: &[&str]) -> String {
    let output = run(tool, args);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {args:?}: {text}");
    text
}

/// `qemu-img check`: must find nothing at all, or at most leaks.
pub fn qemu_check(path: &Path, leaks_allowed: bool) {
    let output = run("qemu-img", &["check", "-f", "qcow2", path.to_str().unwrap()]);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let code = output.status.code();
    assert!(code == Some(0) || leaks_allowed && code == Some(3), "qemu-img check says {code:?}: {text}");
}

/// The guest's bytes as qemu-img sees them.
pub fn qemu_content(path: &Path, snapshot: Option<&str>) -> Vec<u8> {
    let raw = path.with_extension("judged.raw");
    let mut args = vec!["convert", "-f", "qcow2", "-O", "raw"];
    if let Some(name) = snapshot {
        args.extend(["-l", name]);
    }
    args.extend([path.to_str().unwrap(), raw.to_str().unwrap()]);
    ok("qemu-img", &args);
    let bytes = std::fs::read(&raw).unwrap();
    std::fs::remove_file(raw).unwrap();
    bytes
}

pub fn host(path: &Path) -> HostFile {
    HostFile::new(open_rw(path), false).unwrap()
}

fn open_rw(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// The backing device of a test image.
pub fn backing_device(backing: Option<(&Path, &str)>) -> Option<Box<dyn ReadAt>> {
    backing.map(|(path, format)| match format {
        "raw" => Box::new(host(path)) as Box<dyn ReadAt>,
        _ => Box::new(Qcow2::open(host(path), None, Options { read_only: true, ..Options::default() }).unwrap()),
    })
}

pub fn open(path: &Path, backing: Option<(&Path, &str)>, cache_bytes: usize) -> Qcow2<HostFile> {
    Qcow2::open(host(path), backing_device(backing), Options { read_only: false, cache_bytes }).unwrap()
}

pub fn content(device: &impl ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; device.len() as usize];
    device.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Fails at the first difference, without printing megabytes.
pub fn same(what: &str, found: &[u8], wanted: &[u8]) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    if let Some(at) = found.iter().zip(wanted).position(|(a, b)| a != b) {
        panic!("{what}: byte {at:#x} is {:#x}, wanted {:#x}", found[at], wanted[at]);
    }
}
