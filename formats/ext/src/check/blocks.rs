//! A set of blocks or clusters that stays small: runs for a group with little in it, bits for the others.

/// Runs of one group that are kept as such; more become bits.
const MAX_RUNS: usize = 32;

#[derive(Debug, Clone)]
enum Chunk {
    /// First and end, ascending, neither touching nor overlapping.
    Runs(Vec<(u32, u32)>),
    Bits(Box<[u64]>),
}

/// Numbers from 0 to a limit, in chunks of one size: the groups.
#[derive(Debug)]
pub(super) struct BlockSet {
    chunks: Vec<Chunk>,
    per_chunk: u32,
    /// Memory of runs and bits.
    bytes: u64,
}

/// Memory of a chunk's first run.
const FIRST_RUN: u64 = 48;

impl BlockSet {
    /// Memory of an empty chunk.
    pub const PLACE: usize = size_of::<Chunk>();

    pub fn new(chunks: u32, per_chunk: u32) -> Self {
        Self { chunks: vec![Chunk::Runs(Vec::new()); chunks as usize], per_chunk, bytes: 0 }
    }

    /// Adds `len` numbers from `start`; returns the first that was in already. What lies past the limit is left out.
    pub fn insert(&mut self, start: u64, len: u64) -> Option<u64> {
        let mut first = None;
        self.pieces(start, len, |set, chunk, from, to| {
            let size = set.per_chunk;
            let before = set.chunks[chunk].bytes();
            let found = set.chunks[chunk].insert(from, to, size);
            set.bytes = set.bytes - before + set.chunks[chunk].bytes();
            first = first.or(found.map(|at| chunk as u64 * u64::from(size) + u64::from(at)));
        });
        first
    }

    /// Memory that it takes besides the places of chunks.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn pieces(&mut self, start: u64, len: u64, mut visit: impl FnMut(&mut Self, usize, u32, u32)) {
        let size = u64::from(self.per_chunk);
        let end = (start.saturating_add(len)).min(self.chunks.len() as u64 * size);
        let mut at = start;
        while at < end {
            let (chunk, from) = (at / size, at % size);
            let to = (from + (end - at)).min(size);
            visit(self, chunk as usize, from as u32, to as u32);
            at += to - from;
        }
    }

    pub fn contains(&self, at: u64) -> bool {
        let size = u64::from(self.per_chunk);
        let index = (at % size) as u32;
        match self.chunks.get((at / size) as usize) {
            None => false,
            Some(Chunk::Bits(bits)) => bits[index as usize / 64] & 1 << (index % 64) != 0,
            Some(Chunk::Runs(runs)) => {
                let after = runs.partition_point(|(from, _)| *from <= index);
                after > 0 && index < runs[after - 1].1
            }
        }
    }

    /// Sets the bits of one chunk's numbers in `bytes`, which is all zero.
    pub fn to_bytes(&self, chunk: u32, bytes: &mut [u8]) {
        match &self.chunks[chunk as usize] {
            Chunk::Bits(bits) => {
                for (out, word) in bytes.chunks_mut(8).zip(bits) {
                    let word = word.to_le_bytes();
                    out.copy_from_slice(&word[..out.len()]);
                }
            }
            Chunk::Runs(runs) => runs.iter().for_each(|(from, to)| set_bits(bytes, *from, *to)),
        }
    }
}

/// Sets the bits `from..to`, whole bytes at once.
pub(super) fn set_bits(bytes: &mut [u8], from: u32, to: u32) {
    let mut at = from;
    while at < to {
        if at.is_multiple_of(8) && to - at >= 8 {
            let whole = (to - at) / 8;
            bytes[at as usize / 8..(at / 8 + whole) as usize].fill(0xFF);
            at += whole * 8;
        } else {
            bytes[at as usize / 8] |= 1 << (at % 8);
            at += 1;
        }
    }
}

impl Chunk {
    fn bytes(&self) -> u64 {
        match self {
            Self::Runs(runs) if runs.is_empty() => 0,
            // Room for runs is doubled.
            Self::Runs(runs) => FIRST_RUN.max(runs.len() as u64 * 16),
            Self::Bits(bits) => size_of_val(&bits[..]) as u64,
        }
    }

    fn insert(&mut self, from: u32, to: u32, size: u32) -> Option<u32> {
        if let Self::Runs(runs) = self {
            // Runs that touch or overlap the new one become part of it.
            let first = runs.partition_point(|(_, end)| *end < from);
            let last = first + runs[first..].partition_point(|(start, _)| *start <= to);
            let found = runs[first..last].iter().find(|(start, end)| *start < to && from < *end);
            let found = found.map(|(start, _)| (*start).max(from));
            if last > first {
                let merged = (runs[first].0.min(from), runs[last - 1].1.max(to));
                runs[first] = merged;
                runs.drain(first + 1..last);
            } else {
                runs.insert(first, (from, to));
            }
            if runs.len() > MAX_RUNS {
                let mut bits = vec![0u64; size.div_ceil(64) as usize].into_boxed_slice();
                for (from, to) in runs.iter() {
                    or_bits(&mut bits, *from, *to);
                }
                *self = Self::Bits(bits);
            }
            return found;
        }
        let Self::Bits(bits) = self else { return None };
        or_bits(bits, from, to)
    }
}

/// Sets bits and returns the first that was set.
fn or_bits(bits: &mut [u64], from: u32, to: u32) -> Option<u32> {
    let mut first = None;
    let mut at = from;
    while at < to {
        let (word, low) = ((at / 64) as usize, at % 64);
        let len = (64 - low).min(to - at);
        let mask = (u64::MAX >> (64 - len)) << low;
        let both = bits[word] & mask;
        if both != 0 && first.is_none() {
            first = Some(at - low + both.trailing_zeros());
        }
        bits[word] |= mask;
        at += len;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn it_is_a_set_whatever_its_form() {
        let seed: u64 = rand::random();
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for longest in [2, 40, 300] {
            let mut set = BlockSet::new(5, 200);
            let mut plain = [false; 1000];
            for _ in 0..400 {
                let start = rng.random_range(0..1000);
                let len = rng.random_range(1..longest).min(1000 - start);
                let before = (start..start + len).find(|at| plain[*at]).map(|at| at as u64);
                plain[start..start + len].fill(true);
                assert_eq!(set.insert(start as u64, len as u64), before, "seed {seed}");
            }
            for (at, wanted) in plain.iter().enumerate() {
                assert_eq!(set.contains(at as u64), *wanted, "seed {seed}");
            }
            for chunk in 0..5 {
                let mut bytes = [0; 25];
                set.to_bytes(chunk, &mut bytes);
                for at in 0..200 {
                    assert_eq!(bytes[at / 8] & 1 << (at % 8) != 0, plain[chunk as usize * 200 + at], "seed {seed}");
                }
            }
        }
    }
}
