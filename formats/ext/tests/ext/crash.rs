//! A commit interrupted anywhere leaves the old state or the new one, whoever recovers it: e2fsck or we.

use crate::common::crash_case::{Case, host_file, read};
use crate::common::{DIRTY, WRITABLE, in_parallel, typical_change};
use nomount_block::Record;
use nomount_kit::crash::{Plan, each_state};
use nomount_kit::{fixture, judges, require};
use std::sync::atomic::{AtomicUsize, Ordering};

const NO_JOURNAL: &[&str] = &["ext2-1k", "ext4-nojournal"];
/// States of one image; all of them with `NOMOUNT_LONG=1`. Nothing, everything and each barrier are always among them.
const STATES: usize = 30;

fn case(name: &str) -> Case {
    Case::of(name, fixture::memory(name), |fs| typical_change(fs).unwrap())
}

#[test]
fn with_a_journal_every_crash_is_old_or_new() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let (states, excluded) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let journaled = WRITABLE.iter().filter(|name| !NO_JOURNAL.contains(name)).chain(DIRTY);
    in_parallel(journaled, |name| {
        let case = case(name);
        assert_eq!(case.committed.transactions, 1, "{name}");
        let (all, torn) = case.assert_recovers(&Plan::bounded(STATES));
        states.fetch_add(all, Ordering::Relaxed);
        excluded.fetch_add(torn, Ordering::Relaxed);
    });
    eprintln!("{states:?} states, of which {excluded:?} tear a lone superblock");
}

/// What follows the first superblock write has no protection of the filesystem's own: see `commit_plain`.
#[test]
fn without_a_journal_nothing_shows_before_the_first_superblock_write() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    in_parallel(NO_JOURNAL, |name| {
        let mut case = case(name);
        let first_barrier = case.log.iter().position(|record| *record == Record::Barrier).unwrap();
        assert!(first_barrier > 5, "{name}: only {first_barrier} writes in place");
        case.log.truncate(first_barrier + 1);
        each_state(&case.base, &case.log, &Plan::bounded(STATES), |state, path| {
            judges::e2fsck_fn(path, 0).unwrap_or_else(|e| panic!("{name}, {state:?}: {e}"));
            case.assert_is("us", state, &read(&host_file(path)).unwrap(), &case.trees[0]);
        });
    });
}
