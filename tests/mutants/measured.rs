//! A process and what it took.
//!
//! The system counts the memory of the process that starts another to the other's, too. So commands are started by a
//! small process of its own: this program again, as [`serve`].

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// When a process is killed that does not end.
const HANGS: i64 = 60;
/// Where it stands in the environment, a process starts commands.
const SERVES: &str = "NOMOUNT_TEST_SERVES";
/// What an answer begins with: the test runner writes to the same stream.
const ANSWER: &str = "measured ";

/// How a process ended.
#[derive(Debug)]
pub struct Measured {
    pub status: ExitStatus,
    pub time: Duration,
    /// The most memory that it had at a time, in bytes.
    pub memory: u64,
}

/// A small process that starts commands.
pub struct Measurer {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Measurer {
    pub fn new() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["measured::serve", "--exact", "--nocapture"]).env(SERVES, "1");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (requests, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, requests, answers: BufReader::new(answers) }
    }

    /// Runs the product to its end, or for a minute. What it says on standard error goes to a file.
    pub fn run(&mut self, stderr: &str, args: &[String]) -> Measured {
        let request = serde_json::to_string(&(stderr, args)).unwrap();
        writeln!(self.requests, "{request}").unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the process that starts commands has ended");
            if let Some((_, answer)) = line.split_once(ANSWER) {
                let numbers: Vec<u64> = answer.split_whitespace().map(|word| word.parse().unwrap()).collect();
                let status = ExitStatus::from_raw(numbers[0] as i32);
                return Measured { status, time: Duration::from_micros(numbers[1]), memory: numbers[2] };
            }
        }
    }
}

impl Drop for Measurer {
    fn drop(&mut self) {
        // It ends where there is nothing more to read, and has nothing to say then.
        let _ = self.requests.write_all(b"\n");
        let _ = self.process.wait();
    }
}

fn measure(command: &mut Command) -> Measured {
    let begun = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?} does not run: {e}"));
    let pid = Pid::from_child(&child);
    let handle = pidfd_open(pid, PidfdFlags::empty()).expect("a child has a handle");
    let limit = Timespec { tv_sec: HANGS, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit)).expect("a handle can be waited for");
    if ended == 0 {
        kill_process(pid, Signal::KILL).expect("a child can be killed");
    }
    let done = child.wait4().expect("a child can be waited for");
    Measured { status: done.status, time: begun.elapsed(), memory: done.rusage.maxrss }
}

/// The small process; does nothing as one of the tests.
#[test]
fn serve() {
    if std::env::var_os(SERVES).is_none() {
        return;
    }
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        if line.is_empty() {
            break;
        }
        let (stderr, args): (String, Vec<String>) = serde_json::from_str(&line).unwrap();
        let mut command = crate::common::nomount();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(stderr).unwrap());
        let done = measure(&mut command);
        println!("{ANSWER}{} {} {}", done.status.into_raw(), done.time.as_micros(), done.memory);
    }
}
