//! Ctrl-C and SIGTERM: an image is the old one or the new one, sound without a replay, and nothing is left beside it.

use crate::Guest;
use crate::common::{long, nomount, run, text};
use nomount_kit::{TreeDigest, judges, require, scratch};
use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

fn send(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
}

fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// An image with a large file, and what is to be written into another.
struct Large {
    guest: Guest,
    contents: PathBuf,
}

impl Large {
    fn new() -> Self {
        // In the long form more than is staged in memory, so that blocks in use by nobody are written before the commit.
        let (disk, file) = if long() { ("256M", 80 << 20) } else { ("64M", 20 << 20) };
        let mut guest = Guest::new();
        guest.image = guest.path("disk.raw");
        let contents = guest.path("contents");
        // No zeroes, which would become holes.
        let bytes: Vec<u8> = (0..file / 4).flat_map(|at: u32| (at | 0x0101_0101).to_le_bytes()).collect();
        std::fs::write(&contents, &bytes).unwrap();
        assert_eq!(run(["mkfs", "-t", "ext4", &guest.arg(), disk]).code, Some(0));
        assert_eq!(run(["write", &guest.arg(), "/old", &text(&contents)]).code, Some(0));
        Self { guest, contents }
    }

    /// Writes the second file; a signal comes `after` so long.
    fn write(&self, output: Option<&Path>, after: Option<(Duration, Signal)>) -> ExitStatus {
        let mut command = nomount();
        // The same bytes each time.
        command.env("SOURCE_DATE_EPOCH", "1767312000");
        command.args(["write", &self.guest.arg(), "/new"]).arg(&self.contents);
        command.args(output.into_iter().flat_map(|path| ["-o".as_ref(), path.as_os_str()]));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        if let Some((time, signal)) = after {
            std::thread::sleep(time);
            send(&child, signal);
        }
        child.wait().unwrap()
    }
}

#[test]
fn a_signal_leaves_the_old_image_or_the_new_one_and_no_file_beside_it() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let large = Large::new();
    let (image, output) = (&large.guest.image, large.guest.path("new.raw"));
    let base = scratch::copy(image);
    let begun = Instant::now();
    assert!(large.write(Some(&output), None).success());
    let full = begun.elapsed();
    let (old, new) = (TreeDigest::of_ext(&base, 0), TreeDigest::of_ext(&output, 0));
    assert!(old != new);
    std::fs::remove_file(&output).unwrap();
    let names = large.guest.names();
    let seed = rand::random();
    println!("seed {seed}");
    let mut random: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
    let mut ended = 0;
    for round in 0..if long() { 200 } else { 14 } {
        let signal = if round % 2 == 0 { Signal::INT } else { Signal::TERM };
        let time = full.mul_f64(random.random_range(0.0..1.1));
        let output = Some(&output).filter(|_| round % 4 < 2);
        let status = large.write(output.map(PathBuf::as_path), Some((time, signal)));
        assert!(status.success() || status.signal() == Some(signal.as_raw()), "{status} after {time:?}");
        ended += usize::from(!status.success());
        let is = match output {
            None => {
                // Sound as it is: nobody has to replay a journal.
                judges::e2fsck_fn(image, 0).unwrap_or_else(|complaint| panic!("after {time:?}: {complaint}"));
                let is = TreeDigest::of_ext(image, 0);
                std::fs::copy(&base, image).unwrap();
                is
            }
            Some(made) if made.exists() => {
                let is = TreeDigest::of_ext(made, 0);
                assert!(is == new, "after {time:?}");
                std::fs::remove_file(made).unwrap();
                is
            }
            Some(_) => old.clone(),
        };
        assert!(is == new || (is == old && !status.success()), "after {time:?}, {status}");
        assert_eq!(large.guest.names(), names, "after {time:?}");
    }
    assert!(ended > 0, "no signal came in time");
}

/// A filesystem of a stream that has not ended.
fn waiting(guest: &Guest, shell: &str) -> (Child, PathBuf) {
    let image = guest.path("made.raw");
    // Whoever runs the tests may have signals ignored, as nohup does.
    let mut command = Command::new("env");
    let nomount = nomount().get_program().to_owned();
    command.args(["--default-signal=INT,TERM,HUP", "sh", "-c", &format!("{shell} exec \"$0\" \"$@\"")]).arg(nomount);
    command.args(["mkfs", "-t", "ext4", &text(&image), "8M", "-d", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Half of a tar stream's end: how it is compressed is asked before anything is made.
    child.stdin.as_mut().unwrap().write_all(&[0; 512]).unwrap();
    wait_for(&image);
    (child, image)
}

#[test]
fn an_image_that_is_being_made_goes_with_the_signal_that_ends_it() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let guest = Guest::new();
        let (mut child, image) = waiting(&guest, "");
        // Waiting would close it, and the stream would end.
        let stdin = child.stdin.take();
        send(&child, signal);
        assert_eq!(child.wait().unwrap().signal(), Some(signal.as_raw()));
        drop(stdin);
        assert!(!image.exists(), "{signal:?}");
    }
}

#[test]
fn a_signal_that_the_caller_had_ignored_stays_ignored() {
    let guest = Guest::new();
    let (mut child, image) = waiting(&guest, "trap '' INT HUP;");
    send(&child, Signal::INT);
    send(&child, Signal::HUP);
    // The end of a tar stream: two blocks of zeroes.
    child.stdin.take().unwrap().write_all(&[0; 1024]).unwrap();
    assert!(child.wait().unwrap().success() && image.exists());
}
