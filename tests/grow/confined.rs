//! Tests in a process of their own, whose memory ends where what follows a number in an image would go beyond.

use nix::sys::resource::{Resource, setrlimit};
use nomount_kit::tool;
use std::process::Command;

const INSIDE: &str = "NOMOUNT_TEST_CONFINED";

/// Runs the body of the test `name` in another process with so many bytes of address space.
#[track_caller]
pub fn confined(name: &str, bytes: u64, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        setrlimit(Resource::RLIMIT_AS, bytes, bytes).unwrap();
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let done = tool::output(command.args([name, "--exact", "--nocapture"]).env(INSIDE, "1"));
    eprint!("{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{name} ended with {}", done.status);
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"), "no test is called {name}");
}
