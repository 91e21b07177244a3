//! How many images a second a fuzz harness gets through: the library, on one thread, on the bytes of an image in
//! memory, against `e2fsck -fn`, one process an image.
//!
//! `cargo bench --bench harness` prints runs a second of both, measured in turn; nothing is asserted.

use nomount::ops::harness::{Limits, Verdict, check_bytes};
use nomount_kit::{require, scratch, tool};
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long each side is measured at a time, and how often.
const SLICE: Duration = Duration::from_millis(300);
const TURNS: usize = 5;

/// Runs a second of something.
fn rate(mut run: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut runs = 0;
    while begun.elapsed() < SLICE {
        run();
        runs += 1;
    }
    f64::from(runs) / begun.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// An image of `len` bytes with 40 small files in 5 directories.
fn image(path: &Path, kind: &str, len: &str) {
    let tree = scratch::folder();
    for number in 0..40usize {
        let folder = tree.path().join(format!("d{}", number % 5));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("file-{number}")), vec![number as u8; number * 97]).expect("a file");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomount"));
    command.args(["mkfs", "-t", kind, "-d"]).arg(tree.path()).arg(path).arg(len);
    let done = command.output().expect("nomount runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn main() {
    // `cargo test --benches` only compiles it.
    if !std::env::args().any(|argument| argument == "--bench") || !require(&["e2fsck"]) {
        return;
    }
    let folder = scratch::folder();
    println!("{:<12} {:>14} {:>16} {:>8}", "image", "library, 1/s", "e2fsck -fn, 1/s", "ratio");
    for (kind, len) in [("ext4", "1M"), ("ext4", "16M"), ("ext2", "1M")] {
        let path = folder.path().join(format!("{kind}-{len}"));
        image(&path, kind, len);
        let bytes = std::fs::read(&path).expect("the image");
        let library = || {
            let outcome = check_bytes(black_box(&bytes), None, &Limits::default());
            assert_eq!(outcome.verdict, Verdict::Clean, "{outcome:?}");
        };
        let process = || {
            let done = tool::command("e2fsck").arg("-fn").arg(&path).output().expect("e2fsck runs");
            assert!(done.status.success());
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            ours.push(rate(library));
            theirs.push(rate(process));
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!("{:<12} {ours:>14.0} {theirs:>16.0} {:>8.1}", format!("{kind}, {len}"), ours / theirs);
    }
}
