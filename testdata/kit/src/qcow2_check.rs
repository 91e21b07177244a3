//! A checker of qcow2 metadata that shares no code with the product: recounts every reference. `qemu-img check` judges
//! it where both run; it is there because crash tests and fuzzing need thousands of verdicts. Any bytes can be judged.

use std::collections::HashMap;

/// Entries of tables that are looked at, of all of them together, or twice as many as the file has room for if that is
/// more: an image whose tables lead to each other again and again is wrong without looking further.
const MAX_ENTRIES: u64 = 1 << 22;

/// What is wrong with an image.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What would be data lost.
    pub errors: Vec<String>,
    /// Clusters that are counted more often than they are used.
    pub leaks: usize,
}

fn be(file: &[u8], at: u64, len: u64) -> u64 {
    let byte = |index| usize::try_from(at + index).ok().and_then(|at| file.get(at)).copied().unwrap_or(0);
    (0..len).fold(0, |value, index| value << 8 | u64::from(byte(index)))
}

fn be32(file: &[u8], at: u64) -> u64 {
    be(file, at, 4)
}

fn be64(file: &[u8], at: u64) -> u64 {
    be(file, at, 8)
}

const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

struct Checker<'a> {
    file: &'a [u8],
    bits: u32,
    extended: bool,
    counts: HashMap<u64, u64>,
    entries_left: u64,
    verdict: Verdict,
}

impl Checker<'_> {
    fn error(&mut self, what: String) {
        // A few say all there is to say.
        if self.verdict.errors.len() < 100 {
            self.verdict.errors.push(what);
        }
    }

    /// Whether so many entries more may be looked at.
    fn afford(&mut self, entries: u64) -> bool {
        let affordable = entries <= self.entries_left;
        self.entries_left = self.entries_left.saturating_sub(entries);
        if !affordable {
            self.error("the tables have too many entries".to_owned());
        }
        affordable
    }

    /// Counts a reference; false where it leads out of the file.
    fn refer(&mut self, what: &str, offset: u64, len: u64) -> bool {
        if len == 0 {
            return true;
        }
        // The last cluster of a file may be cut short.
        let end = (self.file.len() as u64).next_multiple_of(1 << self.bits);
        if offset >= self.file.len() as u64 || len > end - offset {
            self.error(format!("{what} at {offset:#x} is beyond the end"));
            return false;
        }
        for cluster in offset >> self.bits..=(offset + len - 1) >> self.bits {
            *self.counts.entry(cluster).or_default() += 1;
        }
        true
    }

    fn l1(&mut self, offset: u64, entries: u64, active: bool, copied: &mut Vec<(u64, bool)>) {
        let cluster = 1u64 << self.bits;
        if !self.refer("L1", offset, entries * 8) || !self.afford(entries) {
            return;
        }
        let step = if self.extended { 16 } else { 8 };
        for index in 0..entries {
            let entry = be64(self.file, offset + index * 8);
            let l2 = entry & OFFSET;
            if l2 == 0 {
                continue;
            }
            if !self.refer("L2", l2, cluster) || !self.afford(cluster / step) {
                continue;
            }
            if active {
                copied.push((l2 >> self.bits, entry >> 63 == 1));
            }
            for at in (l2..l2 + cluster).step_by(step as usize) {
                self.l2_entry(be64(self.file, at), active, copied);
            }
        }
    }

    fn l2_entry(&mut self, entry: u64, active: bool, copied: &mut Vec<(u64, bool)>) {
        let cluster = 1u64 << self.bits;
        if entry >> 62 & 1 == 1 {
            let shift = 62 - (self.bits - 8);
            let start = entry & ((1 << shift) - 1);
            let sectors = ((entry & ((1 << 62) - 1)) >> shift) + 1;
            self.refer("compressed", start, sectors * 512 - start % 512);
        } else if entry & OFFSET != 0 {
            self.refer("data", entry & OFFSET, cluster);
            if !(entry & OFFSET).is_multiple_of(cluster) {
                self.error(format!("data offset {entry:#x} is not aligned"));
            }
            if active {
                copied.push(((entry & OFFSET) >> self.bits, entry >> 63 == 1));
            }
        }
    }

    fn snapshots(&mut self) {
        let table = be64(self.file, 64);
        let count = be32(self.file, 60);
        if count > 0 && table >= self.file.len() as u64 {
            return self.error(format!("snapshot table at {table:#x} is beyond the end"));
        }
        let mut at = table;
        for _ in 0..count {
            if at >= self.file.len() as u64 {
                return self.error("the snapshot table is beyond the end".to_owned());
            }
            self.l1(be64(self.file, at), be32(self.file, at + 8), false, &mut Vec::new());
            let names = be(self.file, at + 12, 2) + be(self.file, at + 14, 2);
            at = (at + 40 + be32(self.file, at + 36) + names).next_multiple_of(8);
        }
        self.refer("snapshot table", table, at - table);
    }

    /// The refcounts that are stored and not 0.
    fn stored(&mut self, order: u32) -> HashMap<u64, u64> {
        let cluster = 1u64 << self.bits;
        let (table, table_len) = (be64(self.file, 48), be32(self.file, 56) * cluster);
        let mut stored = HashMap::new();
        if !self.refer("refcount table", table, table_len) || !self.afford(table_len / 8) {
            return stored;
        }
        let per_block = (cluster * 8) >> order;
        for index in 0..table_len / 8 {
            let block = be64(self.file, table + index * 8);
            if block == 0 {
                continue;
            }
            if !block.is_multiple_of(cluster) {
                self.error(format!("refcount block {block:#x} is not aligned"));
            }
            if !self.refer("refcount block", block, cluster) || !self.afford(per_block) {
                continue;
            }
            for entry in 0..per_block {
                let value = match order {
                    0..=2 => {
                        let width = 1u64 << order;
                        be(self.file, block + entry * width / 8, 1) >> (entry * width % 8) & ((1 << width) - 1)
                    }
                    _ => be(self.file, block + (entry << (order - 3)), 1 << (order - 3)),
                };
                if value > 0 {
                    stored.insert(index * per_block + entry, value);
                }
            }
        }
        stored
    }
}

/// Checks a whole image in memory.
pub fn check(file: &[u8]) -> Verdict {
    let version = be32(file, 4);
    let bits = be32(file, 20) as u32;
    let order = if version >= 3 { be32(file, 96) as u32 } else { 4 };
    let extended = version >= 3 && be64(file, 72) >> 4 & 1 == 1;
    let (counts, entries_left, verdict) = (HashMap::new(), MAX_ENTRIES.max(file.len() as u64 / 4), Verdict::default());
    let mut checker = Checker { file, bits, extended, counts, entries_left, verdict };
    if !(9..=21).contains(&bits) || order > 6 {
        checker.error(format!("clusters of 2^{bits} bytes, refcounts of 2^{order} bits"));
        return checker.verdict;
    }
    let mut copied = Vec::new();
    checker.refer("header", 0, 1 << bits);
    checker.l1(be64(file, 40), be32(file, 36), true, &mut copied);
    checker.snapshots();
    let stored = checker.stored(order);
    let Checker { counts, mut verdict, .. } = checker;
    for (&cluster, &wanted) in &counts {
        let found = stored.get(&cluster).copied().unwrap_or(0);
        if found < wanted {
            verdict.errors.push(format!("cluster {cluster:#x}: refcount {found}, references {wanted}"));
        }
    }
    for (&cluster, &found) in &stored {
        verdict.leaks += usize::from(found > counts.get(&cluster).copied().unwrap_or(0));
    }
    for (cluster, flag) in copied {
        let count = stored.get(&cluster).copied().unwrap_or(0);
        if flag != (count == 1) {
            verdict.errors.push(format!("cluster {cluster:#x}: COPIED is {flag} with refcount {count}"));
        }
    }
    verdict
}

/// No errors and no leaks.
pub fn assert_clean(file: &[u8]) {
    let verdict = check(file);
    assert!(verdict.errors.is_empty() && verdict.leaks == 0, "{verdict:?}");
}
