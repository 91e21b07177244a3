//! What a crash can leave of a list of writes: every prefix, subsets of what stood between two barriers, torn writes.
//!
//! The medium assumed is that of [`nomount_block::WriteAt`]: what precedes a barrier is durable before what follows;
//! between two barriers any writes may be missing; a write may stop after any 512-byte sector. Writes that overlap are
//! kept in order, as every page cache keeps them.

use crate::scratch;
use nomount_block::{HostFile, ReadAt, Record, SetLen, WriteAt};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::Path;

/// A write is whole or absent at this size, in bytes.
const SECTOR: usize = 512;
/// Takes the seed of the random states; `NOMOUNT_LONG=1` lifts the bound on their number.
const SEED_VARIABLE: &str = "NOMOUNT_CRASH_SEED";

/// Which states to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Seed of everything random. [`Plan::bounded`] takes it from `NOMOUNT_CRASH_SEED`.
    pub seed: u64,
    /// Random subsets of each epoch that has more than one write.
    pub subsets_per_epoch: usize,
    /// Most states to try: beyond it a random choice, in which nothing, everything and the state at each barrier stay.
    pub limit: usize,
}

impl Plan {
    /// At most `limit` states, 8 subsets an epoch; with `NOMOUNT_LONG=1` all prefixes and 64 subsets an epoch.
    pub fn bounded(limit: usize) -> Self {
        let seed = match std::env::var(SEED_VARIABLE) {
            Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE}={seed} is not a number")),
            Err(_) => rand::random(),
        };
        match std::env::var("NOMOUNT_LONG").as_deref() {
            Ok("1") => Self { seed, subsets_per_epoch: 64, limit: usize::MAX },
            _ => Self { seed, subsets_per_epoch: 8, limit },
        }
    }
}

/// One way to be interrupted: the records before `durable` are all there, then the `chosen` ones.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    /// Number of leading records that are on the medium.
    pub durable: usize,
    /// Indexes of further records, ascending.
    pub chosen: Vec<usize>,
    /// Of the last chosen record only so many bytes arrived.
    pub torn: Option<usize>,
}

impl State {
    /// Whether every record is on the medium.
    pub fn is_complete(&self, log: &[Record]) -> bool {
        self.torn.is_none() && self.durable + self.chosen.len() == log.len()
    }
}

/// `first 12 records, then [13, 15], the last torn at 512 bytes`.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "first {} records", self.durable)?;
        if !self.chosen.is_empty() {
            write!(f, ", then {:?}", self.chosen)?;
        }
        if let Some(bytes) = self.torn {
            write!(f, ", the last torn at {bytes} bytes")?;
        }
        Ok(())
    }
}

/// The states of a log, in order of [`State::durable`].
pub fn states(log: &[Record], plan: &Plan) -> Vec<State> {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let mut must = vec![State { durable: 0, chosen: Vec::new(), torn: None }];
    let mut may = Vec::new();
    let mut start = 0;
    for epoch in log.split_inclusive(|record| *record == Record::Barrier) {
        let end = start + epoch.len();
        let writes: Vec<usize> = (start..end).filter(|i| log[*i] != Record::Barrier).collect();
        for (done, &index) in writes.iter().enumerate() {
            if done > 0 {
                may.push(State { durable: index, chosen: Vec::new(), torn: None });
            }
            may.extend(tear(log, &mut rng, start, writes[..=done].to_vec()));
        }
        for _ in 0..if writes.len() > 1 { plan.subsets_per_epoch } else { 0 } {
            let chosen: Vec<usize> = writes.iter().copied().filter(|_| rng.random_range(0..2) == 1).collect();
            may.extend(tear(log, &mut rng, start, chosen.clone()));
            may.push(State { durable: start, chosen, torn: None });
        }
        must.push(State { durable: end, chosen: Vec::new(), torn: None });
        start = end;
    }
    // The same writes may have come up twice: as a prefix and as a subset.
    let mut seen: BTreeSet<_> = must.iter().map(|state| (effective(log, state), state.torn)).collect();
    may.retain(|state: &State| seen.insert((effective(log, state), state.torn)));
    may.shuffle(&mut rng);
    may.truncate(plan.limit.saturating_sub(must.len()));
    must.append(&mut may);
    must.sort_by(|a, b| (a.durable, &a.chosen, a.torn).cmp(&(b.durable, &b.chosen, b.torn)));
    must
}

/// The writes a state holds: states that hold the same are one.
fn effective(log: &[Record], state: &State) -> Vec<usize> {
    let chosen = state.chosen.iter().copied();
    (0..state.durable).chain(chosen).filter(|i| log[*i] != Record::Barrier).collect()
}

/// The same with the last write cut at a random sector, if it is longer than one.
fn tear(log: &[Record], rng: &mut StdRng, durable: usize, chosen: Vec<usize>) -> Option<State> {
    let Record::Write { offset, data } = &log[*chosen.last()?] else { return None };
    // Sectors are those of the medium, not of the write.
    let head = (SECTOR - (*offset % SECTOR as u64) as usize) % SECTOR;
    let cuts: Vec<usize> = (0..data.len().div_ceil(SECTOR))
        .map(|i| head + i * SECTOR)
        .filter(|cut| *cut > 0 && *cut < data.len())
        .collect();
    if cuts.is_empty() {
        return None;
    }
    Some(State { durable, chosen, torn: Some(cuts[rng.random_range(0..cuts.len())]) })
}

/// Materialises each state of `log` over `base` as a file of its own and calls `check` with it; the file may be
/// written (a judge repairs it) and is gone afterwards. Prints the seed. Gives the number of states.
pub fn each_state(base: &dyn ReadAt, log: &[Record], plan: &Plan, mut check: impl FnMut(&State, &Path)) -> usize {
    let states = states(log, plan);
    eprintln!("crash: {} states of {} records, {SEED_VARIABLE}={}", states.len(), log.len(), plan.seed);
    let durable = scratch::device(base);
    let mut done = 0;
    for state in &states {
        let mut file = open(&durable);
        for record in &log[done..state.durable] {
            apply(&mut file, record, None);
        }
        done = state.durable;
        let crashed = scratch::copy(&durable);
        let mut file = open(&crashed);
        for (i, &index) in state.chosen.iter().enumerate() {
            let last = i + 1 == state.chosen.len();
            apply(&mut file, &log[index], state.torn.filter(|_| last));
        }
        check(state, &crashed);
    }
    states.len()
}

fn open(path: &Path) -> HostFile {
    let file = File::options().read(true).write(true).open(path).expect("a file that was just made");
    HostFile::new(file, false).expect("an open file has a length")
}

fn apply(file: &mut HostFile, record: &Record, torn: Option<usize>) {
    // A subset may lack the change of length that made room.
    let grow = |file: &mut HostFile, end: u64| {
        if end > file.len() {
            file.set_len(end).expect("the file grows");
        }
    };
    match record {
        Record::Write { offset, data } => {
            let data = &data[..torn.unwrap_or(data.len())];
            grow(file, offset + data.len() as u64);
            file.write_at(*offset, data).expect("the file is written");
        }
        Record::Discard { offset, len } => {
            grow(file, offset + len);
            file.discard(*offset, *len).expect("the file is written");
        }
        Record::Zeroes { offset, len } => {
            grow(file, offset + len);
            file.write_zeroes(*offset, *len).expect("the file is written");
        }
        Record::SetLen(len) => file.set_len(*len).expect("the file changes its length"),
        Record::Barrier => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomount_block::Memory;

    fn write(offset: u64, byte: u8, len: usize) -> Record {
        Record::Write { offset, data: vec![byte; len] }
    }

    fn log() -> Vec<Record> {
        vec![
            write(0, 1, 2048),
            write(4096, 2, 512),
            Record::Barrier,
            write(8192, 3, 1024),
            Record::Discard { offset: 0, len: 512 },
            write(10_240, 4, 100),
            Record::Barrier,
            write(512, 5, 512),
        ]
    }

    #[test]
    fn no_state_breaks_a_barrier_and_every_prefix_is_there() {
        let log = log();
        let plan = Plan { seed: 7, subsets_per_epoch: 50, limit: usize::MAX };
        let states = states(&log, &plan);
        let prefixes: BTreeSet<usize> =
            states.iter().filter(|s| s.torn.is_none()).map(|s| effective(&log, s)).filter_map(as_prefix).collect();
        assert_eq!(prefixes, (0..=6).collect());
        let mut subsets = 0;
        for state in &states {
            let present: BTreeSet<usize> = (0..state.durable).chain(state.chosen.iter().copied()).collect();
            let last = present.iter().copied().filter(|i| log[*i] != Record::Barrier).max().unwrap_or(0);
            let barrier = log[..last].iter().rposition(|r| *r == Record::Barrier).unwrap_or(0);
            assert!((0..barrier).all(|i| present.contains(&i)), "{state:?}");
            subsets += usize::from(!state.chosen.is_empty() && state.torn.is_none());
        }
        assert!(subsets >= 4, "only {subsets} subsets that are not prefixes");
        assert!(states.iter().any(|s| s.torn.is_some()));
        assert!(states.last().unwrap().is_complete(&log));
    }

    /// Numbers the writes without the barriers: a prefix is 0, 1, 2, ...
    fn as_prefix(effective: Vec<usize>) -> Option<usize> {
        let writes = [0, 1, 3, 4, 5, 7];
        writes.starts_with(&effective).then_some(effective.len())
    }

    #[test]
    fn files_hold_what_the_states_say() {
        let log = log();
        let base = Memory::new(vec![9; 16_384]);
        let plan = Plan { seed: 7, subsets_per_epoch: 20, limit: usize::MAX };
        let mut torn = 0;
        let count = each_state(&base, &log, &plan, |state, path| {
            let mut wanted = base.clone();
            for i in (0..state.durable).chain(state.chosen.iter().copied()) {
                let cut = state.torn.filter(|_| state.chosen.last() == Some(&i));
                match &log[i] {
                    Record::Write { offset, data } => {
                        wanted.write_at(*offset, &data[..cut.unwrap_or(data.len())]).unwrap();
                    }
                    Record::Discard { offset, len } => wanted.discard(*offset, *len).unwrap(),
                    _ => {}
                }
                torn += usize::from(cut.is_some());
            }
            assert_eq!(std::fs::read(path).unwrap(), wanted.bytes(), "{state:?}");
            std::fs::write(path, b"what a judge does must not reach the next state").unwrap();
        });
        assert!(count > 10 && torn > 2, "{count} states, {torn} torn");
    }

    #[test]
    fn a_limit_keeps_the_ends_and_the_barriers() {
        let log = log();
        let states = states(&log, &Plan { seed: 1, subsets_per_epoch: 20, limit: 5 });
        let held: Vec<usize> = states.iter().filter(|s| s.chosen.is_empty()).map(|s| s.durable).collect();
        assert!(states.len() <= 5 && [0, 3, 7, 8].iter().all(|end| held.contains(end)), "{states:?}");
        let all = super::states(&log, &Plan { seed: 1, subsets_per_epoch: 20, limit: usize::MAX });
        assert_eq!(all, super::states(&log, &Plan { seed: 1, subsets_per_epoch: 20, limit: usize::MAX }));
    }
}
