//! Growing a full Debian system from 4 to 40 GiB, whole processes, paired: a qcow2 with a GPT in one command, against
//! `qemu-img resize` and `resize2fs` on a raw disk without a partition table, which is all that those can do alone; and
//! the same raw disk with both.
//!
//! `cargo bench --bench grow` prints medians; nothing is asserted. The images are made on first use, which takes
//! minutes (see testdata/README.md).

use nomount_kit::debian::{self, Container, Layout, Release};
use nomount_kit::{require, scratch, tool};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs of each; the first is not counted.
const RUNS: usize = 11;

fn timed(commands: Vec<Command>) -> Duration {
    let start = Instant::now();
    for mut command in commands {
        let done = command.output().expect("the command starts");
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    start.elapsed()
}

fn nomount(image: &Path, more: &[&str]) -> Vec<Command> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomount"));
    command.arg("grow").arg(image).args(["40G", "--no-sync", "--grow-with=native"]).args(more);
    vec![command]
}

/// What the manual of resize2fs asks for: a check first, or `-f` to do without.
fn theirs(image: &Path, check: bool) -> Vec<Command> {
    let mut resize = tool::command("qemu-img");
    resize.args(["resize", "-q", "-f", "raw"]).arg(image).arg("40G");
    let mut fsck = tool::command("e2fsck");
    fsck.args(["-f", "-p"]).arg(image);
    let mut grow = tool::command("resize2fs");
    grow.arg("-f").arg(image);
    if check { vec![resize, fsck, grow] } else { vec![resize, grow] }
}

/// The commands that grow the image at a path.
type Way<'a> = &'a dyn Fn(&Path) -> Vec<Command>;

fn pair(names: [&str; 2], images: [&PathBuf; 2], commands: [Way<'_>; 2]) {
    let mut times: [Vec<Duration>; 2] = Default::default();
    for run in 0..RUNS {
        for ((image, command), times) in images.into_iter().zip(commands).zip(&mut times) {
            let copy = scratch::copy(image);
            let time = timed(command(&copy));
            if run > 0 {
                times.push(time);
            }
        }
    }
    let mut ratios: Vec<f64> = times[0].iter().zip(&times[1]).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    for (name, times) in names.into_iter().zip(&mut times) {
        times.sort();
        println!("{name:<44} {:>8.1} ms", times[times.len() / 2].as_secs_f64() * 1000.0);
    }
    println!("{:<44} {:>8.2}", "  ratio, run by run", ratios[ratios.len() / 2]);
}

fn main() {
    // `cargo test --benches` only compiles it.
    if !std::env::args().any(|argument| argument == "--bench") || !require(&["qemu-img", "resize2fs", "e2fsck"]) {
        return;
    }
    let image = |layout, container| debian::image(Release::Trixie, layout, container).expect("the Debian image");
    let qcow2 = image(Layout::Gpt, Container::Qcow2);
    let raw = image(Layout::None, Container::Raw);
    let ours = |image: &Path| nomount(image, &[]);
    let unchecked = |image: &Path| nomount(image, &["--verify=never"]);
    pair(["qcow2, GPT", "qemu-img resize + resize2fs -f, raw"], [&qcow2, &raw], [&ours, &|image| theirs(image, false)]);
    pair(["qcow2, GPT", "the same with e2fsck -fp, raw"], [&qcow2, &raw], [&ours, &|image| theirs(image, true)]);
    pair(["raw", "qemu-img resize + resize2fs -f, raw"], [&raw, &raw], [&ours, &|image| theirs(image, false)]);
    pair(["raw, --verify=never", "the same"], [&raw, &raw], [&unchecked, &|image| theirs(image, false)]);
}
