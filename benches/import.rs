//! A tree made into a filesystem, as a whole process, paired: `nomount mkfs -d` against `mke2fs -d` of the same folder.
//!
//! `cargo bench --bench import` prints medians; nothing is asserted. The tree has 20,000 files of 17 KB on average and
//! one of 700 MiB; it and the images lie in `$NOMOUNT_TEST_TMP` (a tmpfs, so that the disk hides nothing) or the
//! temporary folder. Both trees are in the page cache from the second run on, and the first is not counted.

use nomount_kit::{require, scratch, tool};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs of each command; the first is not counted.
const RUNS: usize = 6;
const FILES: u64 = 20_000;
const PER_DIR: u64 = 100;
const LONGEST: u64 = 34_000;
const LARGE: usize = 700 << 20;

/// A folder of so many files; of a quarter of them, the small one, to see how the cost grows.
fn tree(folder: &Path, files: u64, large: usize) {
    let contents: Vec<u8> = (0..LONGEST).map(|at| (at % 251) as u8).collect();
    let mut random = 1u64;
    for number in 0..files {
        let dir = folder.join(format!("dir-{}", number / PER_DIR));
        if number % PER_DIR == 0 {
            fs::create_dir(&dir).expect("a folder");
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let len = ((random >> 40) % LONGEST) as usize;
        fs::write(dir.join(format!("file-{number}")), &contents[..len]).expect("a file");
    }
    fs::write(folder.join("large"), vec![7; large]).expect("a file");
}

fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    let done = command.output().expect("the command starts");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    start.elapsed()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn pair(what: &str, folder: &Path) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let images = scratch::folder();
        let image = images.path().join("ours.img");
        let mut nomount = Command::new(env!("CARGO_BIN_EXE_nomount"));
        nomount.args(["mkfs", "-d"]).arg(folder).arg(&image).arg("3G");
        let a = timed(&mut nomount);
        fs::remove_file(&image).expect("the image that was made");
        let mut mke2fs = tool::command("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4", "-d"]).arg(folder).arg(images.path().join("theirs.img")).arg("3G");
        let b = timed(&mut mke2fs);
        if run > 0 {
            ours.push(a.as_secs_f64());
            theirs.push(b.as_secs_f64());
        }
    }
    let ratio = median(ours.iter().zip(&theirs).map(|(a, b)| a / b).collect());
    println!("{what:<28} nomount {:>6.2} s   mke2fs {:>6.2} s   ratio {ratio:.2}", median(ours), median(theirs));
}

fn main() {
    // `cargo test --benches` only compiles it.
    if !std::env::args().any(|argument| argument == "--bench") || !require(&["mke2fs"]) {
        return;
    }
    for (what, files, large) in [("5,000 files, 256 MiB", FILES / 4, LARGE / 4), ("20,000 files, 1 GiB", FILES, LARGE)]
    {
        let folder = scratch::folder();
        tree(folder.path(), files, large);
        pair(what, folder.path());
    }
}
