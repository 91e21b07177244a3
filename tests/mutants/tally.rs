//! What came of many runs.

use crate::measured::Measured;
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// The longest that a command may take.
const TIME: Duration = Duration::from_secs(10);
/// The most memory that a command may have, in bytes.
const MEMORY: u64 = 512 << 20;
/// The exit codes that `--help` names, but for a bug.
const CODES: std::ops::RangeInclusive<i32> = 0..=7;

/// The runs of one command.
#[derive(Debug, Default)]
struct Row {
    /// How many ended with each exit code.
    codes: BTreeMap<i32, u64>,
    slowest: Duration,
    largest: u64,
}

/// The runs of all commands, and what went wrong.
#[derive(Debug, Default)]
pub struct Tally {
    mutants: u64,
    rows: BTreeMap<&'static str, Row>,
    /// New images, and those of them that say nothing, since the judges had something against the old one.
    pub judged: u64,
    pub doubtful: u64,
    pub faults: Vec<String>,
}

impl Tally {
    /// One more image.
    pub fn begin(&mut self) {
        self.mutants += 1;
    }

    /// Counts a run; gives its exit code, and what is wrong with how it ended.
    pub fn count(&mut self, command: &'static str, run: &Measured) -> (i32, Option<String>) {
        let row = self.rows.entry(command).or_default();
        let code = run.status.code().unwrap_or_else(|| -run.status.signal().expect("it ended"));
        *row.codes.entry(code).or_default() += 1;
        row.slowest = row.slowest.max(run.time);
        row.largest = row.largest.max(run.memory);
        let fault = match run {
            _ if !CODES.contains(&code) => Some(format!("ended with {}", run.status)),
            Measured { time, .. } if *time > TIME => Some(format!("took {time:?}")),
            Measured { memory, .. } if *memory > MEMORY => Some(format!("took {} MiB", memory >> 20)),
            _ => None,
        };
        (code, fault)
    }

    /// Adds the runs of another.
    pub fn add(&mut self, other: Self) {
        self.mutants += other.mutants;
        self.judged += other.judged;
        self.doubtful += other.doubtful;
        self.faults.extend(other.faults);
        for (command, new) in other.rows {
            let row = self.rows.entry(command).or_default();
            row.slowest = row.slowest.max(new.slowest);
            row.largest = row.largest.max(new.largest);
            new.codes.into_iter().for_each(|(code, count)| *row.codes.entry(code).or_default() += count);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mutants, judged, doubtful, faults, .. } = self;
        writeln!(f, "  {mutants} mutants, {judged} results judged, {doubtful} doubtful, {} faults", faults.len())?;
        for (command, row) in &self.rows {
            let done = row.codes.get(&0).unwrap_or(&0);
            let refused: Vec<String> = row
                .codes
                .iter()
                .filter(|(code, _)| **code != 0)
                .map(|(code, count)| format!("{code}: {count}"))
                .collect();
            let (time, memory) = (row.slowest.as_millis(), row.largest as f64 / f64::from(1 << 20));
            writeln!(f, "  {command:<8} ok {done:>5}   {:<40} {time:>6} ms {memory:>7.1} MiB", refused.join(", "))?;
        }
        Ok(())
    }
}
