//! Runs of the program under strace(1): which calls it makes, and making one of them fail.

use super::files::Files;
use super::tool;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

/// Calls that are traced, each with the error numbers that a host has for it.
const CALLS: &[(&str, &[&str])] = &[
    ("pread64", &["EIO", "EINTR"]),
    ("read", &["EIO", "EINTR"]),
    ("pwrite64", &["ENOSPC", "EIO", "EINTR"]),
    ("write", &["ENOSPC", "EIO", "EINTR"]),
    ("fsync", &["EIO"]),
    ("fdatasync", &["EIO"]),
    ("ftruncate", &["ENOSPC"]),
    ("fallocate", &["ENOSPC", "EOPNOTSUPP"]),
    ("copy_file_range", &["ENOSPC"]),
    ("openat", &["EACCES", "EMFILE"]),
    ("openat2", &["EACCES"]),
    ("mkdirat", &["ENOSPC"]),
    ("mkdir", &["ENOSPC"]),
    ("symlinkat", &["ENOSPC"]),
    ("rename", &["EIO"]),
    ("renameat", &["EIO"]),
    ("renameat2", &["EACCES"]),
    ("linkat", &["EACCES"]),
    ("unlink", &["EROFS"]),
    ("unlinkat", &["EIO"]),
    ("fchmod", &["EPERM"]),
    ("lseek", &["EIO"]),
    ("statx", &["EIO"]),
    ("getdents64", &["EIO"]),
];
/// Signals, and the calls at which they come.
const SIGNALS: &[&str] = &["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"];
const SIGNALLED: &[&str] =
    &["pread64", "pwrite64", "write", "fdatasync", "openat", "rename", "renameat", "linkat", "unlink"];

/// A call that the program makes on a file of the test or on its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    /// Which one of this name in its thread, from 1.
    pub number: usize,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Error { call: Call, errno: &'static str },
    Signal { call: Call, name: &'static str },
}

impl Fault {
    fn call(&self) -> &Call {
        match self {
            Self::Error { call, .. } | Self::Signal { call, .. } => call,
        }
    }

    /// As strace reads it.
    fn expression(&self) -> String {
        let (Call { name, number }, how) = (self.call(), self.to_string());
        let how = how.split(' ').next().expect("it is a word");
        format!("inject={name}:{how}:when={number}")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error { call, errno } => write!(f, "error={errno} at {} {}", call.name, call.number),
            Self::Signal { call, name } => write!(f, "signal={name} at {} {}", call.name, call.number),
        }
    }
}

/// So many of them, evenly spread, with the first and the last.
fn spread<T: Clone>(all: &[T], count: usize, shift: usize) -> Vec<T> {
    if all.len() <= count {
        return all.to_vec();
    }
    // Others for each command and kind.
    (0..count).map(|at| all[(at * all.len() / count + shift) % all.len()].clone()).collect()
}

/// The faults to try on a command that makes these calls: `count` of each kind.
pub fn faults(calls: &[Call], count: usize) -> Vec<Fault> {
    let mut by_name: BTreeMap<&str, Vec<Call>> = BTreeMap::new();
    for call in calls {
        by_name.entry(&call.name).or_default().push(call.clone());
    }
    let mut faults = Vec::new();
    for (at, (name, errnos)) in CALLS.iter().enumerate() {
        let calls = by_name.get(name).map_or(&[][..], Vec::as_slice);
        for (shift, errno) in errnos.iter().copied().enumerate() {
            let count = if errno == "EINTR" { count.div_ceil(2) } else { count };
            faults.extend(spread(calls, count, shift * 3 + at).into_iter().map(|call| Fault::Error { call, errno }));
        }
    }
    for (shift, name) in SIGNALS.iter().copied().enumerate() {
        let calls: Vec<Call> = calls.iter().filter(|call| SIGNALLED.contains(&&*call.name)).cloned().collect();
        faults.extend(spread(&calls, count, shift * 5).into_iter().map(|call| Fault::Signal { call, name }));
    }
    faults
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(&'static str),
}

/// A run that was traced.
pub struct Traced {
    pub end: End,
    pub stdout: Vec<u8>,
    pub stderr: String,
    log: String,
    folder: String,
}

impl Traced {
    /// Runs the words of a command in the folder of `files`.
    pub fn run(files: &Files, words: &str, fault: Option<&Fault>) -> Self {
        let log = files.apart("log");
        let names: Vec<&str> = CALLS.iter().map(|(name, _)| *name).collect();
        let mut command = tool::command("strace");
        command.args(["-f", "--seccomp-bpf", "-y", "-s", "16", "-o"]).arg(&log);
        command.arg("-e").arg(format!("trace={}", names.join(",")));
        if let Some(fault) = fault {
            command.arg("-e").arg(fault.expression());
        }
        command.arg("--").arg(env!("CARGO_BIN_EXE_nomount")).args(words.split(' '));
        command.current_dir(files.folder()).env("TMPDIR", files.folder()).stdin(Stdio::null());
        command.env("SOURCE_DATE_EPOCH", "1767312000").env("EDITOR", "sed -i s/localhost/remotehost/");
        let done = tool::output(&mut command);
        let log = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
        let end = match (done.status.code(), done.status.signal()) {
            (Some(code), _) => End::Code(code),
            (_, Some(signal)) => End::Signal(name(signal)),
            _ => unreachable!("a process ends by one of them"),
        };
        let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
        Self { end, stdout: done.stdout, stderr, log, folder: files.folder().to_str().expect("UTF-8").to_owned() }
    }

    /// The calls on files of the folder and on standard output and error, each once.
    pub fn calls(&self) -> Vec<Call> {
        let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
        let mut calls: Vec<Call> = Vec::new();
        for line in self.log.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((name, arguments)) = rest.trim_start().split_once('(') else { continue };
            if !CALLS.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let count = counts.entry((thread, name)).or_default();
            *count += 1;
            let call = Call { name: name.to_owned(), number: *count };
            if self.is_ours(name, arguments) && !calls.contains(&call) {
                calls.push(call);
            }
        }
        calls
    }

    fn is_ours(&self, name: &str, arguments: &str) -> bool {
        if name == "write" && (arguments.starts_with("1<") || arguments.starts_with("2<")) {
            return true;
        }
        let arguments = arguments.replace(&format!("AT_FDCWD<{}>", self.folder), "AT_FDCWD");
        // A name that counts from the folder, or a file that is in it.
        arguments.contains(&self.folder) || arguments.contains("AT_FDCWD, \"") && !arguments.contains(", \"/")
    }

    /// Whether a message could not be written: where several processes run, each has a call of a number.
    pub fn silenced(&self) -> bool {
        self.log.lines().any(|line| line.contains("INJECTED") && line.contains("write(2<"))
    }

    /// The call that was made to fail, or at which the signal came, if it is one of those.
    pub fn injected(&self) -> Option<String> {
        let line = self.log.lines().find(|line| line.contains("INJECTED"));
        if let Some(line) = line {
            let call = line.split_once(' ').map_or(line, |(_, call)| call).trim_start();
            let ours = match call.split_once('(') {
                Some((name, arguments)) => call.starts_with("<...") || self.is_ours(name, arguments),
                None => true,
            };
            return ours.then(|| call.to_owned());
        }
        // A signal stands behind its call.
        let lines: Vec<&str> = self.log.lines().collect();
        let at = lines.iter().position(|line| line.contains("--- SIG") || line.contains("+++ killed by SIG"))?;
        let last = lines[..at].iter().rev().find_map(|line| line.split_once(' '));
        Some(last.map_or("", |(_, call)| call.trim_start()).to_owned())
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        9 => "SIGKILL",
        15 => "SIGTERM",
        _ => "another signal",
    }
}
