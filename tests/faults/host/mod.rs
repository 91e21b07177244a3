//! Every verb through the program itself, on a host whose calls fail one at a time and that sends signals at any time:
//! strace(1) makes them fail without a privilege.

mod editor;
mod files;
mod output;
mod refused;
mod short;
mod state;
mod strace;
mod table;

use crate::common::{long, run};
use files::{Files, Names};
use nomount_kit::{require, tool};
use state::{State, States};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use strace::{Call, End, Fault, Traced};
use table::Case;

const TOOLS: &[&str] =
    &["strace", "e2fsck", "debugfs", "qemu-img", "sfdisk", "sgdisk", "fsck.fat", "mcopy", "resize2fs"];
/// Threads that try commands at once.
const THREADS: usize = 2;
/// Calls of one kind that are tried of a command, unless all are wanted.
const CALLS: usize = 2;
/// The codes that `--help` tells of, but for those of a wrong command line and of a bug.
const CODES: [i32; 6] = [1, 3, 4, 5, 6, 7];

/// What a command does where nothing fails.
struct Sound {
    end: End,
    stdout: Vec<u8>,
    before: Names,
    after: Names,
    /// Of each image, as it was and as it becomes.
    images: BTreeMap<String, (State, State)>,
    calls: Vec<Call>,
}

/// A command that is tried again and again.
struct Trial<'a> {
    case: &'a Case,
    template: &'a Path,
    states: States,
    sound: Sound,
}

impl<'a> Trial<'a> {
    fn new(case: &'a Case, template: &'a Path) -> Self {
        let states = States::default();
        let files = Files::of(template, case.files);
        let before = files.names();
        let traced = Traced::run(&files, case.command, None);
        let after = files.names();
        let code = match traced.end {
            End::Code(code @ (0 | 1)) => code,
            end => panic!("{}: {end:?} {}", case.command, traced.stderr),
        };
        assert!(code == 0 || case.verb == "diff", "{}: {code} {}", case.command, traced.stderr);
        let fresh = Files::of(template, case.files);
        let image = |name: &&str| {
            let states = (states.of(&fresh.path(name)), states.of(&files.path(name)));
            (files::is_image(name) && after.contains_key(*name)).then(|| ((*name).to_owned(), states))
        };
        let images = case.files.iter().filter(|name| files::is_image(name)).filter_map(image).collect();
        let (end, stdout, calls) = (traced.end, traced.stdout.clone(), traced.calls());
        Self { case, template, states, sound: Sound { end, stdout, before, after, images, calls } }
    }

    /// Runs the command with a fault and judges what is left. Answers whether the fault was met.
    fn judge(&self, fault: &Fault) -> bool {
        let files = Files::of(self.template, self.case.files);
        let traced = Traced::run(&files, self.case.command, Some(fault));
        let Some(call) = traced.injected() else { return false };
        let what = format!("{} with {fault} ({call})\n{:?}\n{}", self.case.command, traced.end, traced.stderr);
        // By an error or a warning, or where the answer is the reason.
        let answer = String::from_utf8_lossy(&traced.stdout);
        let said = answer.lines().any(|line| line.contains("no: ") || line.contains("by our own reader because"));
        let told = said || traced.stderr.lines().any(|line| line.starts_with("nomount: ") && line.len() > 20);
        match (&traced.end, fault) {
            (End::Signal(signal), Fault::Signal { name, .. }) => assert_eq!(signal, name, "{what}"),
            // Programs that are run on a scratch file do as they like.
            (End::Code(code), Fault::Error { errno: "EINTR", .. }) if !self.case.programs => {
                assert_eq!(&traced.end, &self.sound.end, "a call that was interrupted is repeated: {code}, {what}");
            }
            (End::Code(0), _) if traced.end == self.sound.end => {}
            (End::Code(code), Fault::Error { .. }) => {
                assert!(CODES.contains(code), "{what}");
                // Where the message itself is what cannot be written, there is none.
                let answered = traced.end == self.sound.end && traced.stdout == self.sound.stdout;
                assert!(told || answered || traced.silenced(), "nothing is said: {what}");
            }
            // The editor or the program that was run got it.
            (End::Code(code), _) if self.case.programs => assert!(CODES.contains(code) && told, "{what}"),
            _ => panic!("{what}"),
        }
        let done = traced.end == self.sound.end && (traced.end == End::Code(0) || !told);
        if done {
            assert!(traced.stdout == self.sound.stdout || told, "another answer, and no error: {what}");
        }
        let killed = traced.end == End::Signal("SIGKILL");
        // What cannot be removed is named.
        let stays = traced.stderr.contains("removed by hand");
        self.left(&files, done, killed, stays, &what);
        if killed {
            self.again(&files, &what);
        }
        true
    }

    /// What lies in the folder afterwards.
    fn left(&self, files: &Files, done: bool, killed: bool, stays: bool, what: &str) {
        let mut now = files.names();
        for (name, (old, new)) in &self.sound.images {
            // The redo file of an interrupted commit, which the next run removes.
            let redo = format!("{name}.nomount-redo");
            if now.remove(&redo).is_some() && !self.sound.before.contains_key(&redo) {
                assert!(!done, "{what}");
                let recovered = run([std::ffi::OsStr::new("recover"), files.path(name).as_os_str()]);
                assert_eq!(recovered.code, Some(0), "{recovered:?} after {what}");
                assert!(!files.path(&redo).exists(), "{what}");
            }
            let is = self.states.of(&files.path(name));
            let old_or_new = is == *new || (is == *old && !done);
            assert!(old_or_new, "{name} is neither old nor new, or not what was said: {}\n{what}", is.unlike(old, new));
        }
        now.retain(|name, print| {
            let image = self.sound.images.contains_key(name) || name.ends_with(".nomount-redo");
            let as_before = self.sound.before.get(name) == Some(print);
            let as_after = self.sound.after.get(name) == Some(print);
            !(image || as_before || as_after || self.same_image(files, name))
        });
        if killed || stays {
            // What nobody could remove: files with names of their own, and directories that have only a part.
            now.retain(|name, _| !files::is_temporary(name) && !self.is_partial_dir(name));
        }
        assert!(now.is_empty(), "left behind: {now:?}\n{what}");
        if done && !stays {
            let names: Vec<&String> = self.sound.after.keys().collect();
            assert_eq!(files.names().keys().collect::<Vec<_>>(), names, "{what}");
        }
    }

    /// Whether a new image is the complete one, with other random numbers in it.
    fn same_image(&self, files: &Files, name: &str) -> bool {
        if !self.sound.after.contains_key(name) || !files::is_image(name) {
            return false;
        }
        let other = Files::of(self.template, self.case.files);
        let traced = Traced::run(&other, self.case.command, None);
        traced.end == self.sound.end && self.states.of(&files.path(name)) == self.states.of(&other.path(name))
    }

    fn is_partial_dir(&self, name: &str) -> bool {
        let top = name.split('/').next().unwrap_or_default();
        self.case.partial.contains(&top)
    }

    /// After a kill the same command works as if nothing had been.
    fn again(&self, files: &Files, what: &str) {
        if files.names() == self.sound.after || !self.case.repeats {
            return;
        }
        for name in self.case.partial {
            // What the user removes: a part of a copy, by `nomount container clean` or rm.
            let _ = std::fs::remove_dir_all(files.path(name));
            let _ = std::fs::remove_file(files.path(name));
        }
        let traced = Traced::run(files, self.case.command, None);
        assert_eq!(traced.end, self.sound.end, "again, after {what}\n{}", traced.stderr);
        for (name, (_, new)) in &self.sound.images {
            let is = self.states.of(&files.path(name));
            assert!(is == *new, "{name} is another one: {}, again, after {what}", is.unlike(new, new));
        }
    }

    /// Everything that can go wrong; how many faults were met.
    fn run(&self) -> usize {
        strace::faults(&self.sound.calls, if long() { usize::MAX } else { CALLS })
            .iter()
            .filter(|fault| self.judge(fault))
            .count()
    }
}

#[test]
fn every_verb_has_a_line() {
    let verbs = crate::common::verbs();
    assert!(verbs.len() > 50, "{verbs:?}");
    for verb in &verbs {
        let known = table::CASES.iter().any(|case| case.verb == verb) || table::NO_IMAGE.contains(&verb.as_str());
        assert!(known, "{verb} has no line in the table of tests/faults/host/table.rs");
    }
    for case in table::CASES {
        assert!(verbs.iter().any(|verb| verb == case.verb), "{}", case.verb);
        assert_eq!(case.command.split(' ').next(), Some(case.verb));
    }
}

#[test]
fn every_verb_survives_calls_that_fail_and_signals() {
    if !require(TOOLS) {
        return;
    }
    let only = std::env::var("NOMOUNT_CASE").ok();
    let template = files::template();
    let cases: Vec<&Case> =
        table::CASES.iter().filter(|case| only.as_ref().is_none_or(|only| case.verb == only)).collect();
    let (next, met) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let work = || {
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let count = Trial::new(case, template.path()).run();
                assert!(count > 0, "{}: nothing went wrong", case.command);
                met.fetch_add(count, Ordering::Relaxed);
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    });
    println!("{} faults in {} commands", met.into_inner(), cases.len());
}
