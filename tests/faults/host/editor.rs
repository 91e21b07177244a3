//! Signals while an editor has the terminal.

use super::files::{Files, template};
use crate::common::nomount;
use nomount_kit::require;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `nomount edit` in an editor that says when it runs, and then does `more`.
fn edit(files: &Files, more: &str) -> Child {
    let ready = files.apart("ready");
    // Whoever runs the tests may have signals ignored, as nohup does.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM,HUP".as_ref(), nomount().get_program()]);
    command.args(["edit", "root.img:/etc/hosts"]).current_dir(files.folder()).env("TMPDIR", files.folder());
    command.env("EDITOR", format!("touch '{}'; {more}", ready.display())).env_remove("VISUAL");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !ready.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the editor does not start");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn a_signal_takes_the_text_with_it_and_ctrl_c_is_the_editors() {
    if !require(super::TOOLS) {
        return;
    }
    let template = template();
    for signal in [Signal::TERM, Signal::HUP] {
        let files = Files::of(template.path(), &["root.img"]);
        let before = files.names();
        let mut child = edit(&files, "sleep 2; :");
        assert!(files.names().len() > before.len(), "there is no text: {:?}", files.names());
        send(&child, signal);
        assert_eq!(child.wait().unwrap().signal(), Some(signal.as_raw()));
        assert_eq!(files.names(), before);
    }
    let files = Files::of(template.path(), &["root.img"]);
    let before = files.names();
    let mut child = edit(&files, "sleep 0.3; sed -i s/localhost/remotehost/");
    send(&child, Signal::INT);
    assert!(child.wait().unwrap().success());
    let after = files.names();
    assert!(after.len() == before.len() && after != before, "{after:?}");
}
