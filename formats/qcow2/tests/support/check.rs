//! A checker of qcow2 metadata that shares no code with the crate: recounts every reference. `qemu-img check` judges
//! it where both run; it is there because a crash test needs thousands of verdicts.

use std::collections::HashMap;

/// What is wrong with an image.
#[derive(Debug, Default)]
pub struct Verdict {
    pub errors: Vec<String>,
    pub leaks: usize,
}

fn be32(bytes: &[u8], at: usize) -> u64 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()).into()
}

fn be64(bytes: &[u8], at: u64) -> u64 {
    let mut raw = [0; 8];
    for (index, byte) in raw.iter_mut().enumerate() {
        *byte = bytes.get(at as usize + index).copied().unwrap_or(0);
    }
    u64::from_be_bytes(raw)
}

const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

struct Checker<'a> {
    file: &'a [u8],
    bits: u32,
    extended: bool,
    counts: HashMap<u64, u64>,
    verdict: Verdict,
}

impl Checker<'_> {
    fn refer(&mut self, what: &str, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        if offset >= self.file.len() as u64 {
            self.verdict.errors.push(format!("{what} at {offset:#x} is beyond the end"));
        }
        for cluster in offset >> self.bits..=(offset + len - 1) >> self.bits {
            *self.counts.entry(cluster).or_default() += 1;
        }
    }

    fn l1(&mut self, offset: u64, entries: u64, active: bool, copied: &mut Vec<(u64, bool)>) {
        let cluster = 1u64 << self.bits;
        self.refer("L1", offset, entries * 8);
        let step = if self.extended { 16 } else { 8 };
        for index in 0..entries {
            let entry = be64(self.file, offset + index * 8);
            let l2 = entry & OFFSET;
            if l2 == 0 {
                continue;
            }
            self.refer("L2", l2, cluster);
            if active {
                copied.push((l2 >> self.bits, entry >> 63 == 1));
            }
            for at in (l2..l2 + cluster).step_by(step) {
                let entry = be64(self.file, at);
                if entry >> 62 & 1 == 1 {
                    let shift = 62 - (self.bits - 8);
                    let start = entry & ((1 << shift) - 1);
                    let sectors = ((entry & ((1 << 62) - 1)) >> shift) + 1;
                    self.refer("compressed", start, sectors * 512 - start % 512);
                } else if entry & OFFSET != 0 {
                    self.refer("data", entry & OFFSET, cluster);
                    if !(entry & OFFSET).is_multiple_of(cluster) {
                        self.verdict.errors.push(format!("data offset {entry:#x} is not aligned"));
                    }
                    if active {
                        copied.push(((entry & OFFSET) >> self.bits, entry >> 63 == 1));
                    }
                }
            }
        }
    }
}

/// Checks a whole image in memory.
pub fn check(file: &[u8]) -> Verdict {
    let version = be32(file, 4);
    let bits = be32(file, 20) as u32;
    let order = if version >= 3 { be32(file, 96) as u32 } else { 4 };
    let extended = version >= 3 && be64(file, 72) >> 4 & 1 == 1;
    let mut checker = Checker { file, bits, extended, counts: HashMap::new(), verdict: Verdict::default() };
    let cluster = 1u64 << bits;
    let mut copied = Vec::new();
    checker.refer("header", 0, cluster);
    checker.l1(be64(file, 40), be32(file, 36), true, &mut copied);
    let snapshots = be64(file, 64);
    let mut at = snapshots;
    for _ in 0..be32(file, 60) {
        checker.l1(be64(file, at), be32(file, at as usize + 8), false, &mut Vec::new());
        let names = u64::from(u16::from_be_bytes(file[at as usize + 12..][..2].try_into().unwrap()))
            + u64::from(u16::from_be_bytes(file[at as usize + 14..][..2].try_into().unwrap()));
        at = (at + 40 + be32(file, at as usize + 36) + names).next_multiple_of(8);
    }
    checker.refer("snapshot table", snapshots, at - snapshots);
    let (table, table_len) = (be64(file, 48), be32(file, 56) * cluster);
    checker.refer("refcount table", table, table_len);
    let per_block = (cluster * 8) >> order;
    let mut stored = HashMap::new();
    for index in 0..table_len / 8 {
        let block = be64(file, table + index * 8);
        if block == 0 {
            continue;
        }
        if !block.is_multiple_of(cluster) {
            checker.verdict.errors.push(format!("refcount block {block:#x} is not aligned"));
        }
        checker.refer("refcount block", block, cluster);
        for entry in 0..per_block {
            let value = match order {
                0..=2 => {
                    let width = 1u64 << order;
                    let byte = file.get((block + entry * width / 8) as usize).copied().unwrap_or(0);
                    u64::from(byte) >> (entry * width % 8) & ((1 << width) - 1)
                }
                _ => {
                    let width = 1u64 << (order - 3);
                    be64(file, block + entry * width) >> (64 - width * 8)
                }
            };
            if value > 0 {
                stored.insert(index * per_block + entry, value);
            }
        }
    }
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
