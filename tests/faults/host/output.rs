//! Standard output and error that nobody reads or that are full, and files that may not become longer.

use super::files::{Files, is_image, template};
use super::state::States;
use super::table::{CASES, Case};
use super::{End, TOOLS, Traced};
use crate::common::{nomount, ran};
use nomount_kit::{require, tool};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// The command of a case in a folder.
fn command(case: &Case, files: &Files) -> Command {
    let mut command = nomount();
    command.args(case.command.split(' ')).current_dir(files.folder()).env("TMPDIR", files.folder());
    command.env("SOURCE_DATE_EPOCH", "1767312000").env("EDITOR", "sed -i s/localhost/remotehost/");
    command.stdin(Stdio::null());
    command
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn output_that_is_full_or_unread_is_no_crash_and_no_success() {
    if !require(TOOLS) {
        return;
    }
    let template = template();
    for case in CASES {
        let sound = Files::of(template.path(), case.files);
        let prints = !ran(&mut command(case, &sound)).stdout.is_empty();
        let what = case.command;

        let files = Files::of(template.path(), case.files);
        let done =
            command(case, &files).stdout(full()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code() == Some(6) && said.contains("No space left on device"), prints, "{what}: {said}");

        // As `nomount ls | head`: whoever has read enough needs no message.
        let files = Files::of(template.path(), case.files);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done =
            command(case, &files).stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code().is_some_and(|code| code == i32::from(prints) || !prints), "{what}: {done:?}");
        assert!(!said.contains("roken pipe") && !said.contains("cannot write"), "{what}: {said}");

        // A note or an error that cannot be printed.
        let files = Files::of(template.path(), case.files);
        let sound = Traced::run(&Files::of(template.path(), case.files), case.command, None).end;
        let done = command(case, &files).stdout(Stdio::null()).stderr(full()).status().unwrap();
        assert_eq!(End::Code(done.code().unwrap()), sound, "{what}");
        let files = Files::of(template.path(), &[]);
        let done = command(case, &files).stdout(Stdio::null()).stderr(full()).status().unwrap();
        assert!(matches!(done.code(), Some(0..=7)), "{what}: {done}");
    }
}

/// Runs a command whose files may have `limit` bytes at most.
fn limited(case: &Case, template: &Path, limit: u64, states: &States) {
    let files = Files::of(template, case.files);
    let before = files.names();
    let known: Vec<_> = case.files.iter().filter(|name| is_image(name)).collect();
    let old: Vec<_> = known.iter().map(|name| states.of(&files.path(name))).collect();
    let mut command = tool::command("prlimit");
    command.arg(format!("--fsize={limit}")).arg(env!("CARGO_BIN_EXE_nomount")).args(case.command.split(' '));
    command.current_dir(files.folder()).env("TMPDIR", files.folder()).stdin(Stdio::null());
    let done = ran(&mut command);
    let what = format!("{} with {limit} bytes: {done:?}", case.command);
    assert!(done.code == Some(6) && done.stderr.contains("File too large"), "{what}");
    for (name, old) in known.iter().zip(old) {
        assert!(states.of(&files.path(name)) == old, "{what}");
    }
    let names = |names: &super::Names| names.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&files.names()), names(&before), "{what}");
}

/// `ulimit -f`: the kernel sends SIGXFSZ, which would end the process in the middle of something.
#[test]
fn a_limit_of_the_size_of_files_is_an_error_of_the_write() {
    if !require(TOOLS) || !require(&["prlimit"]) {
        return;
    }
    let (template, states) = (template(), States::default());
    let case = |command: &'static str| {
        let found = CASES.iter().find(|case| case.command.starts_with(command));
        found.unwrap_or_else(|| panic!("no line begins with {command}"))
    };
    for (command, limits) in [
        ("chmod 600 disk.qcow2", &[0, 200_000, 400_000][..]),
        ("write --seed 7 disk.qcow2", &[0, 300_000]),
        ("tar-in --seed 7 root.img", &[0, 1 << 20]),
        ("write esp.img", &[0]),
        ("download", &[0, 100]),
        ("tar-out root.img:/etc out.tar", &[0, 4096]),
        ("mkfs -t ext4", &[0, 1 << 20]),
        ("mkfs -t vfat", &[0, 1 << 20]),
        ("seed", &[0, 4096]),
        ("grow disk.img", &[64 << 20]),
        ("copy-out", &[100]),
        ("container", &[100]),
        ("shrink", &[1 << 20]),
    ] {
        limits.iter().for_each(|limit| limited(case(command), template.path(), *limit, &states));
    }
}
