//! Operations as plain data. Their numbers choose among what is there when it is their turn, so that any part of a
//! sequence means something.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Create {
        dir: u16,
        name: u16,
        what: u8,
        attrs: u16,
    },
    /// Many names in one of a few directories, so that it becomes an index of several levels: of new inodes, or of one.
    Fill {
        dir: u16,
        name: u16,
        count: u8,
        linked: bool,
    },
    /// Many small writes with holes between them, so that a map becomes a tree.
    Comb {
        file: u16,
        at: u8,
        count: u8,
    },
    /// The same attributes for many inodes, so that many blocks of the inode tables change.
    Sweep {
        ino: u16,
        count: u8,
        attrs: u16,
    },
    Link {
        ino: u16,
        dir: u16,
        name: u16,
    },
    Unlink {
        name: u16,
    },
    Rmdir {
        name: u16,
    },
    RemoveTree {
        name: u16,
    },
    Rename {
        from: u16,
        dir: u16,
        name: u16,
    },
    WriteContents {
        file: u16,
        len: u8,
        seed: u8,
    },
    Append {
        file: u16,
        len: u8,
        seed: u8,
    },
    WriteAt {
        file: u16,
        at: u8,
        len: u8,
        seed: u8,
    },
    Truncate {
        file: u16,
        size: u8,
    },
    Punch {
        file: u16,
        at: u8,
        len: u8,
    },
    Allocate {
        file: u16,
        at: u8,
        len: u8,
    },
    SetAttrs {
        ino: u16,
        attrs: u16,
    },
    SetXattr {
        ino: u16,
        name: u8,
        len: u8,
        seed: u8,
    },
    RemoveXattr {
        ino: u16,
        name: u8,
    },
    SetAcl {
        ino: u16,
        default: bool,
        list: u8,
    },
    RemoveAcl {
        ino: u16,
        default: bool,
    },
    Read {
        file: u16,
        at: u8,
        len: u8,
    },
    Lookup {
        dir: u16,
        name: u16,
    },
    /// The engine's checker on what is staged.
    Check,
    /// From here on the checker after every operation.
    Watch,
    Savepoint,
    Rollback {
        to: u8,
    },
    Commit,
    /// A commit, and the disk opened again at a later time.
    Reopen,
    /// A commit, and everybody's judgement.
    Judge,
    /// In the next operation the disk fails to read.
    FailRead {
        after: u8,
    },
    /// In the next operation the disk fails to write.
    FailWrite {
        after: u8,
    },
    /// A commit in which the disk fails to write, and recovery.
    FailCommit {
        after: u8,
        by_us: bool,
    },
}

/// Makes an operation of one kind from chance.
type Make = fn(&mut StdRng) -> Op;

/// What can be asked for and how often.
const WEIGHTS: &[(u32, Make)] = &[
    (26, |r| Op::Create { dir: r.random(), name: r.random(), what: r.random(), attrs: r.random() }),
    (2, |r| {
        let linked = r.random();
        Op::Fill { dir: r.random(), name: r.random(), count: r.random_range(1..if linked { 255 } else { 60 }), linked }
    }),
    (1, |r| Op::Comb { file: r.random(), at: r.random(), count: r.random() }),
    (1, |r| Op::Sweep { ino: r.random(), count: r.random(), attrs: r.random() }),
    (8, |r| Op::Link { ino: r.random(), dir: r.random(), name: r.random() }),
    (14, |r| Op::Unlink { name: r.random() }),
    (8, |r| Op::Rmdir { name: r.random() }),
    (1, |r| Op::RemoveTree { name: r.random() }),
    (14, |r| Op::Rename { from: r.random(), dir: r.random(), name: r.random() }),
    (8, |r| Op::WriteContents { file: r.random(), len: r.random(), seed: r.random() }),
    (10, |r| Op::Append { file: r.random(), len: r.random(), seed: r.random() }),
    (14, |r| Op::WriteAt { file: r.random(), at: r.random(), len: r.random(), seed: r.random() }),
    (8, |r| Op::Truncate { file: r.random(), size: r.random() }),
    (8, |r| Op::Punch { file: r.random(), at: r.random(), len: r.random() }),
    (6, |r| Op::Allocate { file: r.random(), at: r.random(), len: r.random() }),
    (10, |r| Op::SetAttrs { ino: r.random(), attrs: r.random() }),
    (10, |r| Op::SetXattr { ino: r.random(), name: r.random(), len: r.random(), seed: r.random() }),
    (5, |r| Op::RemoveXattr { ino: r.random(), name: r.random() }),
    (5, |r| Op::SetAcl { ino: r.random(), default: r.random(), list: r.random() }),
    (2, |r| Op::RemoveAcl { ino: r.random(), default: r.random() }),
];

/// The rest: how often in a thousand operations.
const BETWEEN: &[(u32, Make)] = &[
    (30, |r| Op::Read { file: r.random(), at: r.random(), len: r.random() }),
    (10, |r| Op::Lookup { dir: r.random(), name: r.random() }),
    (20, |_| Op::Check),
    (12, |_| Op::Savepoint),
    (6, |r| Op::Rollback { to: r.random() }),
    (14, |_| Op::Commit),
    (8, |_| Op::Reopen),
    (1, |_| Op::Judge),
    (8, |r| Op::FailRead { after: r.random_range(0..4) }),
    (8, |r| Op::FailWrite { after: r.random_range(0..3) }),
    (3, |r| Op::FailCommit { after: r.random(), by_us: r.random() }),
];

fn choose(rng: &mut StdRng, list: &[(u32, Make)]) -> Make {
    let total: u32 = list.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.random_range(0..total);
    for (weight, make) in list {
        match at.checked_sub(*weight) {
            Some(rest) => at = rest,
            None => return *make,
        }
    }
    unreachable!("the number is below the sum")
}

/// Whether an operation ends a change.
fn commits(op: &Op) -> bool {
    matches!(op, Op::Commit | Op::Reopen | Op::Judge)
}

/// Of so many sequences one is watched.
const WATCHED: u32 = 16;
/// How much more often one goes over many inodes in a large change.
const LARGE: u32 = 12;

/// A sequence of `len` operations. Each sequence prefers some kinds of them and leaves others out: what only happens
/// when there is much of one thing and little of another is found sooner. Some commit
/// seldom; with `large` there is to be more in a change than its log holds.
pub fn sequence(seed: u64, len: usize, large: bool) -> Vec<Op> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut swarm: Vec<(u32, Make)> = WEIGHTS.to_vec();
    for (weight, _) in &mut swarm[1..] {
        *weight *= [0, 1, 2, 4][rng.random_range(0..4)];
    }
    if large {
        swarm.push((LARGE, |r| Op::Sweep { ino: r.random(), count: 255, attrs: r.random() }));
    }
    let seldom = large || rng.random_range(0..3) == 0;
    let between: u32 = BETWEEN.iter().map(|(weight, _)| weight).sum();
    let mut ops = if rng.random_range(0..WATCHED) == 0 { vec![Op::Watch] } else { Vec::new() };
    while ops.len() < len {
        let list = if rng.random_range(0..1000) < between { BETWEEN } else { &swarm[..] };
        let op = choose(&mut rng, list)(&mut rng);
        if !(seldom && commits(&op) && rng.random_range(0..8) != 0) {
            ops.push(op);
        }
    }
    ops
}
