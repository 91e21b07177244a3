//! A sequence done on a filesystem and on the model, side by side.

use super::calls::{Call, Done};
use super::device::{Device, Faults};
use super::judge;
use super::ops::Op;
use super::tree::{Ino, Tree};
use nomount_block::Memory;
use nomount_ext::{CheckOptions, Error, Filesystem, Options, Time, check, compat, incompat};
use nomount_kit::digest::Kind;
use nomount_kit::{judges, scratch};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

/// When it begins, and how much later it is after each time that the disk is opened.
const BEGIN: i64 = 1_780_000_000;
const STEP: i64 = 1000;
/// Of so many unexpected ends of operations one is followed by a comparison of everything.
const SAMPLE: usize = 8;
/// Read at once.
const MAX_READ: u64 = 20_000;

/// An image to work on, and who can judge it.
#[derive(Debug, Clone)]
pub struct Subject {
    pub name: String,
    pub image: Memory,
    /// Whether ext4-view reads it.
    pub viewed: bool,
}

/// What was done how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Per kind of call: done, refused as it must be, without room, stopped by the disk.
    pub calls: BTreeMap<&'static str, [usize; 4]>,
    pub operations: usize,
    pub checks: usize,
    pub commits: usize,
    /// Transactions beyond the first of a commit.
    pub cuts: usize,
    pub rollbacks: usize,
    pub opened: usize,
    pub judged: usize,
    pub failed_commits: usize,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        for (kind, counts) in &other.calls {
            let sums = self.calls.entry(kind).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        self.operations += other.operations;
        self.checks += other.checks;
        self.commits += other.commits;
        self.cuts += other.cuts;
        self.rollbacks += other.rollbacks;
        self.opened += other.opened;
        self.judged += other.judged;
        self.failed_commits += other.failed_commits;
    }

    /// Calls of the engine that are to change something.
    pub fn total(&self) -> usize {
        self.calls.values().flatten().sum()
    }
}

/// Why a sequence fails, and at which operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub at: usize,
    pub what: String,
}

impl Failure {
    /// What two failures have in common that are likely to have one cause: a wrong tree, a call, a judge.
    pub fn kind(&self) -> &str {
        if self.what.contains(judge::DIFFERENT) {
            return judge::DIFFERENT;
        }
        self.what.split([':', ',', '{', '/']).next().unwrap_or_default()
    }
}

/// A hand in the model: called after each call that was done. For showing that a wrong model is noticed.
pub type Tamper = fn(&Call, &mut Tree);

thread_local! {
    /// What a panic said while a sequence was done by this thread; none while none is.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics in a sequence are kept for its failure and not printed: shrinking repeats them many times.
pub fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = PANIC.with_borrow_mut(|kept| kept.as_mut().map(|kept| *kept = info.to_string()));
            if kept.is_none() {
                print(info);
            }
        }));
    });
}

/// Does a sequence. A panic of the engine is a failure like others.
pub fn run(subject: &Subject, ops: &[Op], tamper: Tamper) -> Result<Counts, Failure> {
    let mut at = 0;
    PANIC.set(Some(String::new()));
    let done = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(subject, tamper)?;
        for op in ops {
            world.step(op)?;
            at += 1;
        }
        world.judge()?;
        Ok(world.counts)
    }));
    let said = PANIC.take().unwrap_or_default();
    done.unwrap_or(Err(said)).map_err(|what| Failure { at, what })
}

struct World<'a> {
    subject: &'a Subject,
    tamper: Tamper,
    /// Absent only while the disk is opened again.
    fs: Option<Filesystem<Device>>,
    faults: Arc<Faults>,
    tree: Tree,
    /// The tree after each call since the last commit, and before the first; only where there is a journal, which cuts
    /// a commit between calls.
    since: Vec<Tree>,
    /// Whether one of them was several changes in one.
    several: bool,
    /// Savepoints: their number, the tree then, and how long `since` was.
    marks: Vec<(usize, Tree, usize)>,
    /// Whether each call has a savepoint of its own to go back to. Without one a failure costs all since the commit.
    guarded: bool,
    fault: Option<Op>,
    /// Whether the checker looks after every operation.
    watched: bool,
    unexpected: usize,
    counts: Counts,
}

/// The name of an error's variant.
fn class(error: &Error) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn open(memory: Memory, faults: &Arc<Faults>, opened: usize) -> Result<Filesystem<Device>, String> {
    let now = Time { sec: BEGIN + STEP * opened as i64, nsec: 1_000_003 * (opened as u32 % 900) };
    // What a failed commit has left held is free at once: nobody else writes here.
    let options = Options { now, seed: opened as u32, mmp_wait: Some(|_| {}) };
    let device = Device { memory, faults: Arc::clone(faults) };
    Filesystem::open_for_write(device, options).map_err(|error| format!("open: {error}"))
}

impl<'a> World<'a> {
    fn new(subject: &'a Subject, tamper: Tamper) -> Result<Self, String> {
        let faults = Arc::new(Faults::default());
        let fs = open(subject.image.clone(), &faults, 0)?;
        let tree = Tree::of(&fs, (BEGIN, 0));
        Ok(Self {
            subject,
            tamper,
            fs: Some(fs),
            faults,
            since: vec![tree.clone()],
            several: false,
            tree,
            marks: Vec::new(),
            guarded: true,
            fault: None,
            watched: false,
            unexpected: 0,
            counts: Counts::default(),
        })
    }

    fn fs(&mut self) -> &mut Filesystem<Device> {
        self.fs.as_mut().expect("it is open between operations")
    }

    fn staged(&self) -> &Filesystem<Device> {
        self.fs.as_ref().expect("it is open between operations")
    }

    fn journaled(&self) -> bool {
        self.staged().geometry().features.compat(compat::HAS_JOURNAL)
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        match *op {
            Op::Savepoint => {
                let mark = self.fs().savepoint();
                self.marks.push((mark, self.tree.clone(), self.since.len()));
            }
            Op::Rollback { to } if !self.marks.is_empty() => {
                let to = usize::from(to) % self.marks.len();
                let (mark, tree, since) = self.marks.swap_remove(to);
                self.marks.truncate(to);
                self.fs().rollback(mark);
                self.counts.rollbacks += 1;
                self.tree = tree;
                self.since.truncate(since);
                judge::by_us(self.staged(), &self.tree).map_err(|e| format!("after a rollback: {e}"))?;
            }
            Op::Rollback { .. } => {}
            Op::Commit => self.commit()?,
            Op::Reopen => {
                self.commit()?;
                self.reopen()?;
            }
            Op::Judge => self.judge()?,
            Op::Check => self.check()?,
            Op::Watch => self.watched = true,
            Op::FailRead { .. } | Op::FailWrite { .. } => self.fault = Some(*op),
            Op::FailCommit { after, by_us } => self.fail_commit(u32::from(after) * u32::from(after) / 64, by_us)?,
            Op::Read { file, at, len } => self.read(file, at, len)?,
            Op::Lookup { dir, name } => self.look_up(dir, name)?,
            _ => {
                for call in self.tree.calls(op) {
                    // Where everything since the commit had to be given up, what is left of the operation may be about
                    // what is not there any more.
                    if !self.call(&call)? {
                        break;
                    }
                }
            }
        }
        self.counts.operations += 1;
        if self.watched { self.check() } else { Ok(()) }
    }

    /// The engine's own checker, on what is staged.
    fn check(&mut self) -> Result<(), String> {
        self.counts.checks += 1;
        let report = self.staged().check(&CheckOptions::default());
        judge::by_checker(report).map_err(|e| format!("{e}, of what is staged"))
    }

    /// Makes a call. Whether the tree is as before or as it is after the call.
    fn call(&mut self, call: &Call) -> Result<bool, String> {
        let reasons = self.tree.reasons(call);
        let mark = self.guarded.then(|| self.fs().savepoint());
        match self.fault.take() {
            Some(Op::FailRead { after }) => self.faults.fail_read(after.into()),
            Some(Op::FailWrite { after }) => self.faults.fail_write(after.into()),
            _ => {}
        }
        let told = call.on(self.fs());
        let fired = self.faults.calm();
        let counts = self.counts.calls.entry(call.kind()).or_default();
        match told {
            Ok(_) if fired => Err(format!("{call:?}: a failure of the disk was not told")),
            Ok(_) if !reasons.is_empty() => Err(format!("{call:?} was done, expected one of {reasons:?}")),
            Ok(done) => {
                counts[0] += 1;
                self.done(call, &done).map(|()| true)
            }
            Err(error) => {
                let class = class(&error);
                if reasons.contains(&&class[..]) {
                    counts[1] += 1;
                    // What went before the refusal stands; nothing is to stand here.
                    return if matches!(call, Call::RemoveTree { .. }) { self.take_back(mark) } else { Ok(true) };
                }
                match &class[..] {
                    "NoSpace" | "NoInodes" | "XattrSpace" => counts[2] += 1,
                    "Device" if fired => counts[3] += 1,
                    _ => return Err(format!("{call:?}: {error} ({class}), expected one of {reasons:?}")),
                }
                self.take_back(mark)
            }
        }
    }

    fn done(&mut self, call: &Call, done: &Done) -> Result<(), String> {
        match call {
            Call::Create { .. } if self.tree.get(done.ino).is_some() => {
                return Err(format!("{call:?}: made inode {}, which is in use", done.ino));
            }
            Call::RemoveTree { dir, name } => {
                let top = self.tree.lookup(*dir, name).expect("it was there");
                let names: usize = self.tree.below(top).iter().map(|ino| self.tree.node(*ino).names.size()).sum();
                if done.removed != names as u64 + 1 {
                    return Err(format!("{call:?}: {} names were removed, {} were there", done.removed, names + 1));
                }
                self.several = true;
            }
            _ => {}
        }
        self.tree.apply(call, done);
        (self.tamper)(call, &mut self.tree);
        if self.journaled() {
            self.since.push(self.tree.clone());
        }
        Ok(())
    }

    /// After an operation that failed halfway: back to the savepoint before it, or to the last commit. Whether it was
    /// the savepoint.
    fn take_back(&mut self, mark: Option<usize>) -> Result<bool, String> {
        match mark {
            Some(mark) => self.fs().rollback(mark),
            None => {
                self.tree = self.since[0].clone();
                self.reopen()?;
            }
        }
        self.unexpected += 1;
        if self.unexpected.is_multiple_of(SAMPLE) {
            judge::by_us(self.staged(), &self.tree).map_err(|e| format!("after a failed operation: {e}"))?;
        }
        Ok(mark.is_some())
    }

    fn commit(&mut self) -> Result<(), String> {
        let staged = self.counts.commits.is_multiple_of(2);
        if staged {
            judge::by_us(self.staged(), &self.tree).map_err(|e| format!("before a commit: {e}"))?;
        }
        let done = self.fs().commit().map_err(|error| format!("commit: {error}"))?;
        self.counts.cuts += done.transactions.saturating_sub(1);
        self.committed();
        if !staged {
            let memory = &self.staged().device().memory;
            let fs = Filesystem::open(memory, Options::default()).map_err(|error| error.to_string())?;
            judge::by_us(&fs, &self.tree).map_err(|e| format!("after a commit: {e}"))?;
        }
        Ok(())
    }

    fn committed(&mut self) {
        self.counts.commits += 1;
        self.guarded = self.counts.commits % 4 != 3;
        self.marks.clear();
        self.since = vec![self.tree.clone()];
        self.several = false;
    }

    fn reopen(&mut self) -> Result<(), String> {
        let device = self.fs.take().expect("it is open between operations").into_device();
        self.open(device.memory)
    }

    fn open(&mut self, memory: Memory) -> Result<(), String> {
        self.counts.opened += 1;
        let fs = open(memory, &self.faults, self.counts.opened)?;
        let sec = BEGIN + STEP * self.counts.opened as i64;
        self.tree.now = self.tree.traits.stored((sec, 1_000_003 * (self.counts.opened as u32 % 900)));
        self.fs = Some(fs);
        self.marks.clear();
        self.since = vec![self.tree.clone()];
        self.several = false;
        Ok(())
    }

    fn judge(&mut self) -> Result<(), String> {
        self.commit()?;
        self.counts.judged += 1;
        let image = &self.staged().device().memory;
        judge::by_checker(check(image, Options::default(), &CheckOptions::default()))?;
        judge::by_e2fsprogs(image, &self.tree)?;
        if self.subject.viewed { judge::by_ext4_view(image, self.staged(), &self.tree) } else { Ok(()) }
    }

    /// A commit in which the disk fails after some writes. What was there before a call since the last commit, or after
    /// it, must be there once the journal is replayed, by us or by e2fsck. Without a journal there is no such promise.
    fn fail_commit(&mut self, after: u32, by_us: bool) -> Result<(), String> {
        if !self.journaled() {
            return self.commit();
        }
        self.faults.fail_write(after);
        let done = self.fs().commit();
        if !self.faults.calm() {
            done.map_err(|error| format!("commit: {error}"))?;
            self.committed();
            return Ok(());
        }
        if !matches!(done, Err(Error::Device(_))) {
            return Err(format!("a failure of the disk during a commit was told as {done:?}"));
        }
        self.counts.failed_commits += 1;
        // e2fsck would wait to see that nobody else writes, longer than a test should take.
        let by_us = by_us || self.staged().geometry().features.incompat(incompat::MMP);
        let mut memory = self.fs.take().expect("it is open between operations").into_device().memory;
        if !by_us {
            let file = scratch::device(&memory);
            judges::e2fsck_recover(&file, 0).map_err(|error| error.to_string())?;
            memory = Memory::new(fs::read(&file).map_err(|error| error.to_string())?);
        }
        let (since, several) = (std::mem::take(&mut self.since), self.several);
        self.open(memory)?;
        let fs = self.fs.as_ref().expect("just opened");
        let same = |tree: &&Tree| judge::by_us(fs, tree).is_ok();
        let found = since.iter().rev().find(same).cloned();
        let found = match found {
            Some(tree) => tree,
            None if several => Tree::of(fs, self.tree.now),
            None => return Err("after a failed commit neither the old state nor a new one is there".into()),
        };
        let now = self.tree.now;
        self.tree = Tree { now, ..found };
        self.since = vec![self.tree.clone()];
        self.judge()
    }

    fn read(&mut self, file: u16, at: u8, len: u8) -> Result<(), String> {
        let Some(ino) = self.tree.pick(file, |node| node.kind == Kind::File) else { return Ok(()) };
        let contents = &self.tree.node(ino).contents;
        // Anywhere in the file, and a little behind it.
        let at = (contents.size() + 1) * u64::from(at) / 250;
        let wanted = contents.read(at, MAX_READ * u64::from(len) / 256);
        let mut found = vec![0xAA; (MAX_READ * u64::from(len) / 256) as usize];
        let told = self.fs().read(ino, at, &mut found).map_err(|error| format!("read of inode {ino}: {error}"))?;
        found.truncate(told);
        if found == wanted { Ok(()) } else { Err(format!("read of inode {ino} at {at}: other bytes, {told} of them")) }
    }

    fn look_up(&mut self, dir: u16, name: u16) -> Result<(), String> {
        let there = self.tree.pick_name(name);
        let dir: Option<Ino> = self.tree.pick(dir, |node| node.kind == Kind::Dir);
        let absent = dir.map(|dir| (dir, b"no such name".to_vec()));
        for (dir, name) in there.into_iter().chain(absent) {
            let found = self.fs().lookup(dir, &name).map_err(|error| format!("lookup in inode {dir}: {error}"))?;
            let (found, wanted) = (found.map(|entry| entry.ino), self.tree.lookup(dir, &name));
            if found != wanted {
                return Err(format!("{} in inode {dir} is {found:?}, expected {wanted:?}", name.escape_ascii()));
            }
        }
        Ok(())
    }
}
