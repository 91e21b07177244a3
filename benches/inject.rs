//! The main job as a whole process, paired: a full Debian tree in a 4 GiB qcow2 against the same tree in a 2 TiB one,
//! and against `debugfs -w` on a raw disk, which is what does the closest without root (no qcow2, no partitions, no
//! journal, no password hash).
//!
//! `cargo bench --bench inject` prints medians; nothing is asserted. The images are made on first use, which takes
//! minutes (see testdata/README.md).

use nix::sys::resource::{UsageWho, getrusage};
use nomount_kit::debian::{self, Container, Layout, Release};
use nomount_kit::{require, scratch, tool};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs of each command; the first is not counted.
const RUNS: usize = 11;
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr0cFQFZ0SgXxkPwEmHnK5hhl4nsWzJvZ7p7dU2m3qT me\n";

struct Inputs {
    folder: tempfile::TempDir,
}

impl Inputs {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in [("key.pub", KEY), ("pw", "secret\n"), ("interfaces", "auto lo\n"), ("app.conf", "a=b\n")] {
            std::fs::write(folder.path().join(name), text).expect("an input file");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The command of the README on a whole image, without waiting for the disk.
    fn whole(&self, image: &Path) -> Command {
        let mut command = self.files(image);
        command.args(["--admin-password", &format!("file:{}", self.path("pw"))]);
        command
    }

    /// The same without the password, whose hash takes most of the time on purpose.
    fn files(&self, image: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nomount"));
        command.arg("inject").arg(image).args(["--key", &self.path("key.pub"), "--net", &self.path("interfaces")]);
        command.args(["--metadata", "role=web"]);
        command.args(["--file", &format!("{}:/etc/app/app.conf", self.path("app.conf")), "--no-sync"]);
        command
    }

    fn debugfs(&self, image: &Path, offset: u64) -> Command {
        let script = self.folder.path().join("script");
        let lines = [
            "mkdir /root/.ssh".to_owned(),
            format!("write {} /root/.ssh/authorized_keys", self.path("key.pub")),
            "rm /etc/network/interfaces".to_owned(),
            format!("write {} /etc/network/interfaces", self.path("interfaces")),
            "mkdir /etc/app".to_owned(),
            format!("write {} /etc/app/app.conf", self.path("app.conf")),
        ];
        std::fs::write(&script, lines.join("\n")).expect("a script");
        let mut command = tool::command("debugfs");
        command.args(["-w", "-f"]).arg(script).arg(format!("{}?offset={offset}", image.display()));
        command
    }
}

fn timed(mut command: Command) -> Duration {
    let start = Instant::now();
    let done = command.output().expect("the command starts");
    let time = start.elapsed();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    time
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Runs two commands in turn, each on a fresh copy of its image, and prints both medians and the median of the ratios.
fn pair(names: [&str; 2], images: [&PathBuf; 2], commands: [&dyn Fn(&Path) -> Command; 2]) {
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
    let ratio = ratios[ratios.len() / 2];
    for (name, times) in names.into_iter().zip(times) {
        println!("{name:<32} {:>8.1} ms", median(times).as_secs_f64() * 1000.0);
    }
    println!("{:<32} {ratio:>8.2}", "  ratio, run by run");
}

fn main() {
    // `cargo test --benches` only compiles it.
    if !std::env::args().any(|argument| argument == "--bench") || !require(&["qemu-img", "debugfs"]) {
        return;
    }
    let inputs = Inputs::new();
    let image = |layout, container| debian::image(Release::Trixie, layout, container).expect("the Debian image");
    let small = image(Layout::Gpt, Container::Qcow2);
    timed(inputs.whole(&scratch::copy(&small)));
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the usage of the command");
    println!("peak memory, 4 GiB qcow2: {} KiB", usage.max_rss());

    let huge = image(Layout::Huge, Container::Qcow2);
    let whole = |image: &Path| inputs.whole(image);
    let files = |image: &Path| inputs.files(image);
    pair(["2 TiB qcow2", "4 GiB qcow2"], [&huge, &small], [&whole, &whole]);
    pair(["2 TiB qcow2, no password", "4 GiB qcow2, no password"], [&huge, &small], [&files, &files]);

    let raw = image(Layout::Gpt, Container::Raw);
    let offset = Layout::Gpt.root_offset();
    let debugfs = |image: &Path| inputs.debugfs(image, offset);
    pair(["4 GiB raw, no password", "4 GiB raw, debugfs -w"], [&raw, &raw], [&files, &debugfs]);
}
