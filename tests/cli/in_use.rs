//! Images that somebody else has open.

use crate::common::{run, text};
use crate::{Guest, state};
use nomount::image::{Image, ImageOptions};
use nomount_kit::{require, scratch, tool};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A program that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_image_that_qemu_has_open_is_busy() {
    if !require(&["qemu-nbd"]) {
        return;
    }
    let (guest, folder) = (Guest::new(), scratch::folder());
    let socket = folder.path().join("nbd");
    let mut command = tool::command("qemu-nbd");
    command.args(["-f", "qcow2", "-k"]).arg(&socket).arg(&guest.image).stdin(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    let start = Instant::now();
    while !socket.exists() {
        assert!(running.0.try_wait().unwrap().is_none(), "qemu-nbd ended");
        assert!(start.elapsed() < Duration::from_secs(60), "qemu-nbd does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    // The socket is there before the image is open. The greeting comes after; who got it and goes ends qemu-nbd.
    let mut client = UnixStream::connect(&socket).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut greeting = [0; 8];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"NBDMAGIC");
    let before = state(&guest.image);
    let new = text(&guest.path("new.qcow2"));
    let image = guest.arg();
    for args in [
        vec!["ls", &image],
        vec!["info", &image],
        vec!["inject", &image, "--metadata", "a=b"],
        vec!["inject", &image, "--metadata", "a=b", "-n"],
        vec!["inject", &image, "--metadata", "a=b", "-o", &new],
    ] {
        let ran = run(&args);
        assert_eq!(ran.code, Some(5), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains("in use by another program"), "{args:?}: {ran:?}");
    }
    assert_eq!(guest.names(), ["guest.qcow2"]);
    let ran = run(["ls", &image, "--no-lock"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(state(&guest.image) == before);
    drop(running);
    assert_eq!(run(["ls", &image]).code, Some(0));
}

/// A lock that was dropped lives on in a process that another test starts, from its fork to its exec.
pub fn eventually(mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
fn qemu_does_not_open_an_image_that_nomount_writes() {
    if !require(&["qemu-io"]) {
        return;
    }
    let guest = Guest::new();
    let read = |more: &[&str]| {
        let mut command = tool::command("qemu-io");
        tool::output(command.args(["-f", "qcow2", "-c", "read 0 512"]).args(more).arg(&guest.image))
    };
    let open = |write| {
        let options = ImageOptions { write, ..ImageOptions::default() };
        let mut image = None;
        assert!(eventually(|| {
            image = Image::open(&guest.image, &options).ok();
            image.is_some()
        }));
        image.expect("just opened")
    };
    let writing = open(true);
    let refused = read(&["-r"]);
    assert!(!refused.status.success() && tool::text(&refused).contains("lock"), "{}", tool::text(&refused));
    drop(writing);
    let reading = open(false);
    assert!(eventually(|| read(&["-r"]).status.success()), "two readers are no conflict");
    let refused = read(&[]);
    assert!(!refused.status.success() && tool::text(&refused).contains("lock"), "{}", tool::text(&refused));
    drop(reading);
    assert!(eventually(|| read(&[]).status.success()), "nobody has it open");
}
