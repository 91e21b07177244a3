//! Who may have an image open beside whom: QEMU's storage daemon in every role, and a second nomount.

use crate::common::{nomount, run, text};
use crate::in_use::{Running, eventually};
use crate::{Guest, state};
use nix::fcntl::{FcntlArg, fcntl};
use nomount::image::{Backing, Image, ImageOptions};
use nomount_kit::{require, tool};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// QEMU has a qcow2 image open as a virtual machine has it, with these options of both its nodes.
fn exported(guest: &Guest, image: &Path, options: &str, writable: bool) -> Running {
    let (socket, ready) = (guest.path("socket"), guest.path("pid"));
    let mut command = tool::command("qemu-storage-daemon");
    command
        .args(["--blockdev", &format!("driver=file,node-name=file,filename={}{options}", image.display())])
        .args(["--blockdev", &format!("driver=qcow2,node-name=disk,file=file{options}")])
        .args(["--nbd-server", &format!("addr.type=unix,addr.path={}", socket.display())])
        .args(["--export", &format!("type=nbd,id=one,node-name=disk,writable={}", if writable { "on" } else { "off" })])
        .args(["--pidfile", &text(&ready)])
        .stdin(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    // Written when all that was asked for is there.
    assert!(eventually(|| running.0.try_wait().unwrap().is_some() || ready.exists()));
    assert!(running.0.try_wait().unwrap().is_none(), "qemu-storage-daemon ended");
    running
}

fn code(args: &[&str], wanted: i32) {
    let ran = run(args);
    assert_eq!(ran.code, Some(wanted), "{args:?}: {ran:?}");
    assert!(wanted != 5 || ran.stderr.contains("in use"), "{args:?}: {ran:?}");
}

#[test]
fn what_qemu_only_reads_is_read_and_not_written() {
    if !require(&["qemu-storage-daemon"]) {
        return;
    }
    // With force-share it lets everybody do anything, but what is written under its eyes it would misread.
    for options in [",read-only=on", ",read-only=on,force-share=on"] {
        let guest = Guest::new();
        let (image, new) = (guest.arg(), text(&guest.path("new")));
        let before = state(&guest.image);
        let running = exported(&guest, &guest.image, options, false);
        code(&["ls", &image], 0);
        code(&["inject", &image, "--metadata", "a=b", "-n"], 0);
        code(&["inject", &image, "--metadata", "a=b", "-o", &new], 0);
        for args in [
            &["inject", &image, "--metadata", "a=b"][..],
            &["part", "delete", &format!("{image}@1"), "--force"],
            &["grow", &image, "+1M"],
            &["mkfs", "-F", &image],
        ] {
            code(args, 5);
        }
        assert!(state(&guest.image) == before, "written");
        drop(running);
        assert!(eventually(|| run(["inject", &image, "--metadata", "a=b"]).code == Some(0)));
    }
}

#[test]
fn the_base_of_a_running_machine_is_read_and_not_written() {
    if !require(&["qemu-storage-daemon", "qemu-img"]) {
        return;
    }
    let guest = Guest::new();
    let overlay = guest.path("overlay");
    let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "guest.qcow2", "overlay"];
    let made = tool::output(tool::command("qemu-img").current_dir(guest.folder.path()).args(create));
    assert!(made.status.success(), "{}", tool::text(&made));
    let (image, above) = (guest.arg(), text(&overlay));
    let running = exported(&guest, &overlay, "", true);
    code(&["ls", &image], 0);
    code(&["inject", &image, "--metadata", "a=b"], 5);
    for args in [&["ls", &above, "--allow-backing"][..], &["inject", &above, "--allow-backing", "--metadata", "a=b"]] {
        code(args, 5);
    }
    drop(running);
    // The other way: a base that is written cannot be read through an overlay.
    let write = ImageOptions { write: true, ..ImageOptions::default() };
    let mut base = None;
    assert!(eventually(|| {
        base = Image::open(&guest.image, &write).ok();
        base.is_some()
    }));
    code(&["ls", &above, "--allow-backing"], 5);
    let io = tool::output(tool::command("qemu-io").args(["-f", "qcow2", "-c", "read 0 512"]).arg(&overlay));
    assert!(!io.status.success() && tool::text(&io).contains("lock"), "{}", tool::text(&io));
    drop(base);
    // And a base that is read through one cannot be written.
    let backing = ImageOptions { backing: Backing::Beside, ..ImageOptions::default() };
    let mut reader = None;
    assert!(eventually(|| {
        reader = Image::open(&overlay, &backing).ok();
        reader.is_some()
    }));
    code(&["inject", &image, "--metadata", "a=b"], 5);
    code(&["ls", &image], 0);
}

/// A nomount that has opened the image and waits for more of its archive.
fn waiting(image: &str) -> Running {
    let mut command = nomount();
    command.args(["tar-in", "--no-sync", image, "-", "/srv"]).stdin(Stdio::piped());
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // An archive that does not go on after its first header.
    let mut header = tar::Header::new_ustar();
    header.set_path("file").unwrap();
    header.set_size(1 << 20);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    child.stdin.as_mut().unwrap().write_all(header.as_bytes()).unwrap();
    Running(child)
}

/// Whether somebody has the lock on writing. Nobody is in the way of one who only looks.
fn is_written(image: &Path) -> bool {
    let file = std::fs::File::open(image).unwrap();
    let mut found =
        libc::flock { l_type: libc::F_WRLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: 101, l_len: 1, l_pid: 0 };
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found)).unwrap();
    i32::from(found.l_type) != libc::F_UNLCK
}

#[test]
fn a_second_nomount_is_refused() {
    let guest = Guest::new();
    let (image, new) = (guest.arg(), text(&guest.path("new")));
    let before = state(&guest.image);
    let first = waiting(&image);
    assert!(eventually(|| is_written(&guest.image)), "the first one does not come to hold it");
    for args in [
        &["ls", &image][..],
        &["info", &image],
        &["inject", &image, "--metadata", "a=b"],
        &["inject", &image, "--metadata", "a=b", "-o", &new],
        &["grow", &image, "+1M"],
        &["mkfs", "-F", &image],
        &["mkfs", "-F", "--format", "raw", &image, "1G"],
        &["part", "list", &image],
        &["check", &image],
    ] {
        code(args, 5);
    }
    assert!(state(&guest.image) == before && !guest.path("new").exists());
    // A commit that was interrupted is not completed under another's hands.
    std::fs::write(guest.path("guest.qcow2.nomount-redo"), "x").unwrap();
    code(&["recover", &image], 5);
    std::fs::remove_file(guest.path("guest.qcow2.nomount-redo")).unwrap();
    drop(first);
    assert!(eventually(|| run(["ls", &image]).code == Some(0)));
}

#[test]
fn two_that_read_go_together_and_keep_a_writer_out() {
    let guest = Guest::new();
    let image = guest.arg();
    let mut reader = None;
    assert!(eventually(|| {
        reader = Image::open(&guest.image, &ImageOptions::default()).ok();
        reader.is_some()
    }));
    let before = state(&guest.image);
    code(&["ls", &image], 0);
    code(&["inject", &image, "--metadata", "a=b"], 5);
    // Not even longer, which is the first that it would become.
    code(&["mkfs", "-F", "--format", "raw", &image, "1G"], 5);
    assert!(state(&guest.image) == before, "written");
    drop(reader);
    assert!(eventually(|| run(["inject", &image, "--metadata", "a=b"]).code == Some(0)));
}

#[test]
fn of_writers_that_begin_together_never_two_have_it() {
    let guest = Guest::new();
    let options = ImageOptions { write: true, ..ImageOptions::default() };
    let (holders, won) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..300 {
                    if let Ok(image) = Image::open(&guest.image, &options) {
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                        won.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_micros(50));
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(image);
                    }
                    std::thread::sleep(Duration::from_micros(round % 7 * 20));
                }
            });
        }
    });
    assert!(won.into_inner() > 0, "nobody ever had it");
}
