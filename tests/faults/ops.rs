//! A disk that fails at any one read, write or barrier under each operation on files: the tree is the old one or the
//! new one, and the error is the disk's.

use crate::common::long;
use crate::common::session::{Seen, options, tree};
use nomount::disk::Choice;
use nomount::ops::edit::edit;
use nomount::ops::script::Script;
use nomount::session::Commit;
use nomount::tree::Time;
use nomount::{ErrorKind, Result, Session};
use nomount_block::{FaultPlan, Memory, Record, SetLen};
use nomount_kit::{Shared, fixture};
use std::collections::BTreeMap;

/// What the operations find.
const BEFORE: &str = "mkdir-p /d/e
write /d/file hello
write /d/other more
ln-s file /d/link
mkdir /d/empty
setxattr user.old yes 3 /d/other
";

/// A script for each operation.
const OPERATIONS: &[&str] = &[
    "write /d/new text",
    "write /d/file another",
    "write-append /d/file more",
    "upload large /d/large",
    "upload large /d/file",
    "mkdir-p /d/a/b/c",
    "touch /d/stamp",
    "truncate /d/file",
    "truncate-size /d/file 100000",
    "rm /d/file",
    "rm-rf /d",
    "rmdir /d/empty",
    "mv /d/file /d/e/moved",
    "rename /d/file /d/other",
    "cp /d/file /d/copy",
    "cp-a /d /copies",
    "ln /d/file /d/hard",
    "ln-sf other /d/link",
    "chmod 0600 /d/file",
    "chown 7 8 /d/file",
    "mkfifo 0644 /d/fifo",
    "mknod-c 0600 1 3 /d/null",
    "setxattr user.new yes 3 /d/file",
    "removexattr user.old /d/other",
    "mkdir /srv2\nwrite /srv2/a text\nrm /d/other\nchmod 0700 /d",
];

/// Failures of each kind that are tried of an operation, unless all are wanted.
const FAILURES: u64 = 8;

type Tree = BTreeMap<Vec<u8>, Seen>;

fn run(device: Box<dyn SetLen>, script: &str) -> Result<Commit> {
    let mut session = Session::open_device(device, "disk", options(Choice::Whole, true))?;
    let script = Script::parse(script.as_bytes())?;
    let large = (0..30_000_u32).flat_map(u32::to_le_bytes).collect();
    let files = BTreeMap::from([("large".to_owned(), large)]);
    edit(session.tree(), |editor| script.run(editor, &files, Time { sec: 1_767_229_200, nsec: 0 }).map(drop))?;
    session.commit()
}

/// The tree that whoever opens the image next finds, with the journal replayed.
fn seen(bytes: &[u8]) -> Tree {
    let device = Box::new(Memory::new(bytes.to_vec()));
    let mut session = Session::open_device(device, "disk", options(Choice::Whole, false)).unwrap();
    tree(session.tree()).unwrap()
}

struct Ran {
    result: Result<Commit>,
    bytes: Vec<u8>,
    reads: u64,
    writes: u64,
    barriers: u64,
}

fn with(bytes: &[u8], script: &str, plan: FaultPlan) -> Ran {
    let device = Shared::new(Memory::new(bytes.to_vec()), plan);
    let handle = device.clone();
    let result = run(Box::new(device), script);
    let log = handle.log();
    let barriers = log.iter().filter(|record| **record == Record::Barrier).count() as u64;
    let (reads, writes) = (handle.reads(), log.len() as u64 - barriers);
    Ran { result, bytes: handle.into_inner().into_bytes(), reads, writes, barriers }
}

/// Numbers below `count`: all of them, or some that are evenly spread.
fn numbers(count: u64) -> impl Iterator<Item = u64> {
    let step = if long() { 1 } else { count.div_ceil(FAILURES).max(1) };
    (0..count).step_by(step as usize)
}

#[test]
fn every_operation_on_files_survives_a_disk_that_fails() {
    let base = with(&fixture::bytes("ext4-1k"), BEFORE, FaultPlan::default());
    base.result.unwrap();
    let old = seen(&base.bytes);
    let mut count = 0;
    for script in OPERATIONS {
        let whole = with(&base.bytes, script, FaultPlan::default());
        whole.result.unwrap_or_else(|error| panic!("{script}: {}", error.chain()));
        let new = seen(&whole.bytes);
        assert!(old != new, "{script}");
        let reads = numbers(whole.reads).map(|at| FaultPlan { fail_read: Some(at), ..FaultPlan::default() });
        let writes = numbers(whole.writes).map(|at| FaultPlan { fail_write: Some(at), ..FaultPlan::default() });
        let barriers = numbers(whole.barriers).map(|at| FaultPlan { fail_barrier: Some(at), ..FaultPlan::default() });
        let mut outcomes = [0; 2];
        for plan in reads.chain(writes).chain(barriers) {
            let what = format!("{script}: {plan:?}");
            let is_read = plan.fail_read.is_some();
            let kind = if plan.fail_write.is_some() { ErrorKind::NoSpace } else { ErrorKind::Io };
            let failed = with(&base.bytes, script, plan);
            let is = seen(&failed.bytes);
            match &failed.result {
                Err(error) => assert_eq!(error.kind(), kind, "{what}: {}", error.chain()),
                // What the second reader cannot read, our own one has read.
                Ok(_) => assert!(is_read && is == new, "{what}"),
            }
            assert!(is == old || is == new, "{what}");
            outcomes[usize::from(is == new)] += 1;
            count += 1;
        }
        assert!(outcomes.iter().all(|count| *count > 0), "{script}: old and new {outcomes:?}");
    }
    println!("{count} failures under {} operations", OPERATIONS.len());
}
