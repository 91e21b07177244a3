//! The process is locked in: what a verb did not say it would use is refused by the kernel, and what users rightly do
//! still works.

use crate::Guest;
use crate::common::{self, KEY, nomount, ran, run, text};
use nomount::sandbox::{Access, enter};
use nomount_kit::{require, scratch, tool};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Names the folder that a process started by these tests works in, and what it tries there.
const PROBE: &str = "NOMOUNT_SANDBOX_PROBE";
/// SIGSYS.
const BAD_CALL: i32 = 31;

/// Whether the kernel has both Landlock and seccomp for us: in CI it must.
fn can_lock() -> bool {
    let can = run(["--require-sandbox", "json"]).code == Some(0);
    assert!(can || std::env::var_os("CI").is_none(), "this host has no Landlock or no seccomp");
    can
}

/// Runs [`probe`] in a process of its own, which is locked in for good.
fn try_out(folder: &Path, what: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "sandbox::probe", "--nocapture"]).env(PROBE, format!("{what}:{}", folder.display()));
    tool::output(&mut command)
}

/// Not a test but what the tests above run: it locks itself in as a verb does, and tries things.
#[test]
fn probe() {
    let Some(wanted) = std::env::var(PROBE).ok() else { return };
    let (what, folder) = wanted.split_once(':').unwrap();
    let folder = Path::new(folder);
    let access = Access::none().read(folder.join("read")).write(folder.join("image")).folder(folder.join("out"));
    let access = access.tree(folder.join("tree"));
    let access = if what == "program" { access.programs(["/usr/bin"]) } else { access };
    let open = File::open(folder.join("open")).unwrap();
    assert!(enter(&access).unwrap().fully());
    match what {
        "files" => files(folder, &open),
        "program" => program(folder),
        "exec" => panic!("{}", Command::new("/bin/true").exec()),
        "socket" => panic!("{:?}", std::os::unix::net::UnixDatagram::unbound()),
        "network" => panic!("{:?}", std::net::TcpStream::connect("127.0.0.1:9")),
        "chroot" => panic!("{:?}", rustix::process::chroot("/")),
        other => panic!("no probe {other}"),
    }
    println!("done: {what}");
}

/// The error is that of a call that is not allowed.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: std::io::Result<T>) {
    let error = result.expect_err("the kernel refuses it");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

fn files(folder: &Path, open: &File) {
    // What was not named.
    refused(File::open("/etc/passwd"));
    refused(fs::read_dir("/"));
    refused(fs::read_dir(std::env::var_os("HOME").unwrap_or("/root".into())));
    refused(File::open(folder.join("open")));
    refused(fs::write(std::env::temp_dir().join("nomount-probe"), "x"));
    refused(fs::write(folder.join("new"), "x"));
    refused(fs::remove_file(folder.join("open")));
    refused(fs::create_dir(folder.join("out/dir")));
    refused(symlink("/etc", folder.join("out/link")));
    // Links lead nowhere else.
    refused(File::open(folder.join("tree/link")));
    // What was, but not for this.
    refused(fs::write(folder.join("read"), "x"));
    refused(fs::remove_file(folder.join("image")));
    refused(fs::rename(folder.join("out/old"), folder.join("read")));
    // Also in other threads.
    std::thread::spawn(|| refused(File::open("/etc/passwd"))).join().unwrap();
    // A program is not even tried.
    let started = Command::new("/bin/true").stdin(Stdio::null()).spawn();
    assert!(started.is_err(), "{started:?}");
    let started = Command::new("/bin/true").spawn().unwrap_err();
    assert_eq!(started.raw_os_error(), Some(rustix::io::Errno::NOSYS.raw_os_error()), "{started}");

    // What was named.
    assert_eq!(fs::read(folder.join("read")).unwrap(), b"read");
    let image = File::options().read(true).write(true).open(folder.join("image")).unwrap();
    image.set_len(10).unwrap();
    fs::write(folder.join("out/new"), "new").unwrap();
    fs::rename(folder.join("out/new"), folder.join("out/old")).unwrap();
    fs::remove_file(folder.join("out/old")).unwrap();
    fs::create_dir_all(folder.join("tree/a/b")).unwrap();
    fs::write(folder.join("tree/a/file"), "x").unwrap();
    fs::rename(folder.join("tree/a/file"), folder.join("tree/a/b/file")).unwrap();
    fs::hard_link(folder.join("tree/a/b/file"), folder.join("tree/other")).unwrap();
    symlink("x", folder.join("tree/a/link")).unwrap();
    fs::remove_dir_all(folder.join("tree/a")).unwrap();
    // What was open before.
    assert_eq!(std::io::read_to_string(open).unwrap(), "open");
}

fn program(folder: &Path) {
    let shell = |line: &str| tool::output(Command::new("/bin/sh").args(["-c", line]).current_dir(folder));
    assert!(shell("echo x > out/by-program && cat /etc/passwd > /dev/null && cat read").status.success());
    for line in ["echo x > new", "echo x > read", "cat open", "ls .", "rm open"] {
        let Output { status, stderr, .. } = shell(line);
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert!(!status.success() && said.contains("denied"), "{line}: {said}");
    }
    refused(std::os::unix::net::UnixDatagram::unbound());
}

fn probe_folder() -> tempfile::TempDir {
    let folder = scratch::folder();
    for name in ["read", "image", "open"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    for name in ["out", "tree"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("out/old"), "old").unwrap();
    symlink("/etc/passwd", folder.path().join("tree/link")).unwrap();
    folder
}

#[test]
fn what_was_not_named_is_refused() {
    if !can_lock() {
        return;
    }
    for what in ["files", "program"] {
        let output = try_out(probe_folder().path(), what);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(&format!("done: {what}")), "{what}: {output:?}");
    }
}

#[test]
fn calls_that_only_an_attacker_makes_end_the_process() {
    if !can_lock() {
        return;
    }
    for what in ["exec", "socket", "network", "chroot"] {
        let output = try_out(probe_folder().path(), what);
        assert_eq!(output.status.signal(), Some(BAD_CALL), "{what}: {output:?}");
    }
}

/// A folder with a program that is told to make a filesystem and does something else.
fn evil_mkfs(line: &str) -> tempfile::TempDir {
    let folder = scratch::folder();
    let program = folder.path().join("mkfs.xfs");
    fs::write(&program, format!("#!/bin/sh\n{line}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn programs_that_are_run_are_locked_in_unless_told_otherwise() {
    if !can_lock() {
        return;
    }
    let (guest, elsewhere) = (Guest::new(), scratch::folder());
    let stolen = elsewhere.path().join("stolen");
    let tools = evil_mkfs(&format!("echo x > {}", stolen.display()));
    let path = [tools.path().as_os_str().to_owned(), "/usr/bin:/bin".into()].join(&OsString::from(":"));
    let mut command = nomount();
    command.args(["mkfs", "-t", "xfs"]).arg(guest.path("new.img")).arg("16M").env("PATH", &path);
    command.env("TMPDIR", guest.folder.path());
    let locked = ran(&mut command);
    assert_eq!(locked.code, Some(1), "{locked:?}");
    assert!(locked.stderr.contains("denied") && !stolen.exists(), "{locked:?}");
    let free = ran(command.arg("--no-sandbox"));
    assert!(free.code == Some(0) && stolen.exists(), "{free:?}");
}

#[test]
fn the_editor_is_not_locked_in() {
    let (guest, elsewhere) = (Guest::new(), scratch::folder());
    let note = elsewhere.path().join("note");
    let editor = format!("f() {{ echo edited >> \"$2\" && cat /etc/passwd > {}; }}; f x", note.display());
    let edited =
        ran(nomount().args(["edit", &guest.arg(), "/etc/hostname"]).env("EDITOR", editor).env_remove("VISUAL"));
    assert_eq!(edited.code, Some(0), "{edited:?}");
    assert!(note.exists() && run(["cat", &guest.arg(), "/etc/hostname"]).stdout.ends_with("edited\n"));
}

#[test]
fn an_editor_that_is_not_needed_goes_and_leaves_nothing() {
    let (guest, temporary) = (Guest::new(), scratch::folder());
    let mut command = nomount();
    command.env("EDITOR", "touch started; false").env("TMPDIR", temporary.path());
    let failed = ran(command.args(["edit", &guest.arg(), "/no/such/file"]).current_dir(temporary.path()));
    assert_ne!(failed.code, Some(0), "{failed:?}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

/// The image behind a link in another folder, and a folder for outputs.
struct Linked {
    guest: Guest,
    links: tempfile::TempDir,
}

impl Linked {
    fn new() -> Self {
        let (guest, links) = (Guest::new(), scratch::folder());
        symlink(&guest.image, links.path().join("link.qcow2")).unwrap();
        Self { guest, links }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.links.path().join(name)
    }

    fn image(&self) -> String {
        text(&self.path("link.qcow2"))
    }
}

#[track_caller]
fn works<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> common::Ran {
    let done = run(args);
    assert_eq!(done.code, Some(0), "{done:?}");
    done
}

#[test]
fn images_and_outputs_may_be_links() {
    let linked = Linked::new();
    works(["write", &linked.image(), "/etc/motd", "--text", "hello"]);
    assert_eq!(works(["cat", &linked.guest.arg(), "/etc/motd"]).stdout, "hello");
    // A file that a link leads to, elsewhere.
    let (target, link) = (linked.guest.path("target"), linked.path("out"));
    fs::write(&target, "old").unwrap();
    symlink(&target, &link).unwrap();
    works(["download", &linked.image(), "/etc/motd", &text(&link)]);
    assert_eq!(fs::read(&target).unwrap(), b"hello");
    works(["cp", &format!("{}:/etc/motd", linked.image()), &text(&link)]);
    // A folder that a link leads to, and one to be made.
    fs::create_dir(linked.guest.path("folder")).unwrap();
    symlink(linked.guest.path("folder"), linked.path("folder")).unwrap();
    works(["copy-out", &linked.image(), "/etc", &text(&linked.path("folder"))]);
    assert!(linked.guest.path("folder/etc/motd").exists());
    works(["cp", &format!("{}:/etc", linked.image()), &text(&linked.path("new"))]);
    assert!(linked.path("new/motd").exists());
    // Relative names, from another folder.
    let relative = ["write", "link.qcow2", "/etc/motd", "--text", "there", "-o", "copy.qcow2"];
    let done = ran(nomount().args(relative).current_dir(linked.links.path()));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(works(["cat", &text(&linked.path("copy.qcow2")), "/etc/motd"]).stdout, "there");
}

#[test]
fn files_without_a_name_may_be_named() {
    let guest = Guest::new();
    let with_input = |args: &[&str], input: &[u8]| {
        let mut child = nomount().args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        output.stdout
    };
    // As a shell's <(...) names a pipe.
    with_input(&["inject", &guest.arg(), "--key", "/dev/fd/0"], KEY.as_bytes());
    with_input(&["write", &guest.arg(), "/etc/motd", "/dev/stdin"], b"piped");
    with_input(&["upload", &guest.arg(), "/proc/self/fd/0", "/etc/issue"], b"piped");
    assert_eq!(with_input(&["download", &guest.arg(), "/etc/motd", "/dev/stdout"], b""), b"piped");
    works(["download", &guest.arg(), "/etc/motd", "/dev/null"]);
    // A file as standard input, by that name.
    let file = guest.path("file");
    fs::write(&file, "from a file").unwrap();
    let input = File::open(&file).unwrap();
    let done = ran(nomount().args(["write", &guest.arg(), "/etc/motd", "/dev/stdin"]).stdin(input));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(works(["cat", &guest.arg(), "/etc/motd"]).stdout, "from a file");
}

#[test]
fn each_side_is_told_apart() {
    let no = run(["--no-sandbox", "--require-sandbox", "json"]);
    assert_eq!(no.code, Some(2), "{no:?}");
    let version = works(["--version"]).stdout;
    assert!(version.lines().nth(1).is_some_and(|line| line.starts_with("sandbox: Landlock ")), "{version}");
    if can_lock() {
        assert!(version.ends_with("\nsandbox: Landlock yes, seccomp yes\n"), "{version}");
    }
    assert_eq!(works(["-V"]).stdout.lines().count(), 1);
}

#[test]
fn fakeroot_says_who_owns_what_goes_in() {
    if !require(&["fakeroot"]) {
        return;
    }
    let folder = scratch::folder();
    fs::create_dir(folder.path().join("files")).unwrap();
    // What fakeroot brings in asks its server at every look at a file.
    let line = "cd files && touch own && chown 5:6 own && mknod null c 1 3 && cd .. && \
                \"$0\" mkfs -t ext4 made.img 8M -d files && \"$0\" --require-sandbox ls -ln made.img /";
    let program = nomount().get_program().to_owned();
    let mut command = tool::command("fakeroot");
    let done = ran(command.args(["sh", "-ec", line]).arg(program).current_dir(folder.path()));
    assert_eq!(done.code, Some(0), "{done:?}");
    let find = |name: &str| done.stdout.lines().find(|line| line.ends_with(name)).unwrap_or_default().to_owned();
    assert!(find(" own").starts_with("-rw-r--r-- 1 5 6 "), "{done:?}");
    assert!(find(" null").starts_with("crw-r--r-- 1 0 0 "), "{done:?}");
}
