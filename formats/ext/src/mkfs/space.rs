//! Which blocks are taken while a filesystem is laid out: ranges, so that the cost follows the number of groups and
//! not of blocks.

use crate::geometry::BlockNr;
use std::collections::BTreeMap;

/// Taken blocks among `first..end`.
#[derive(Debug)]
pub(super) struct Space {
    first: BlockNr,
    end: BlockNr,
    /// Start to end of each range, neither touching nor overlapping.
    taken: BTreeMap<BlockNr, BlockNr>,
    /// Blocks that are given out together: 1, or with clusters their number of blocks.
    unit: u64,
}

impl Space {
    pub fn new(first: BlockNr, end: BlockNr) -> Self {
        Self { first, end, taken: BTreeMap::new(), unit: 1 }
    }

    /// Marks a range as taken; parts of it may be already.
    pub fn take(&mut self, start: BlockNr, len: u64) {
        let (mut start, mut end) = (start, start + len);
        if let Some((&before, &before_end)) = self.taken.range(..=start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&next, &next_end)) = self.taken.range(start..=end).next() {
            end = end.max(next_end);
            self.taken.remove(&next);
        }
        self.taken.insert(start, end);
    }

    /// The end of the taken range that holds `block`, if one does.
    fn end_of_taken(&self, block: BlockNr) -> Option<BlockNr> {
        self.taken.range(..=block).next_back().map(|(_, end)| *end).filter(|end| *end > block)
    }

    /// The first block of `from..to` that begins `len` free ones.
    fn search(&self, from: BlockNr, to: BlockNr, len: u64) -> Option<BlockNr> {
        let mut at = from;
        while at < to && at + len <= self.end {
            if let Some(end) = self.end_of_taken(at) {
                at = end;
                continue;
            }
            match self.taken.range(at..at + len).next() {
                Some((_, end)) => at = *end,
                None => return Some(at),
            }
        }
        None
    }

    /// `len` free blocks that begin in `start..finish`; where `finish` is not after `start`, the search goes on from
    /// the first block. 0 is the first block.
    pub fn find(&self, start: BlockNr, finish: BlockNr, len: u64) -> Option<BlockNr> {
        let from = if start == 0 { self.first } else { start };
        if finish > start {
            return self.search(from, finish, len);
        }
        self.search(from, self.end, len).or_else(|| self.search(self.first, finish, len))
    }

    /// From now on blocks are given out in clusters of `unit`: one that is taken in part is taken.
    pub fn cluster(&mut self, unit: u64) {
        if unit == 1 {
            return;
        }
        self.unit = unit;
        for (start, end) in std::mem::take(&mut self.taken) {
            let start = start / unit * unit;
            self.take(start, end.next_multiple_of(unit) - start);
        }
    }

    /// Free blocks from the first free one at or after `goal`, else from the first of all: start and length, at most
    /// `want`.
    pub fn run(&self, goal: BlockNr, want: u64) -> Option<(BlockNr, u64)> {
        let goal = if (self.first..self.end).contains(&goal) { goal / self.unit * self.unit } else { self.first };
        let start = self.search(goal, self.end, 1).or_else(|| self.search(self.first, goal, 1))?;
        let next = self.taken.range(start..).next().map_or(self.end, |(next, _)| *next);
        Some((start, want.min(next - start)))
    }

    /// Takes one block, with its cluster, at or after `goal`.
    pub fn alloc(&mut self, goal: BlockNr) -> Option<BlockNr> {
        let (block, _) = self.run(goal, 1)?;
        self.take(block, self.unit);
        Some(block)
    }

    /// Taken blocks in `from..to`.
    pub fn count_taken(&self, from: BlockNr, to: BlockNr) -> u64 {
        self.taken_in(from, to).map(|(start, end)| end - start).sum()
    }

    /// Taken ranges inside `from..to`, cut to it.
    pub fn taken_in(&self, from: BlockNr, to: BlockNr) -> impl Iterator<Item = (BlockNr, BlockNr)> + '_ {
        let before = self.taken.range(..from).next_back().filter(move |(_, end)| **end > from);
        let inside = self.taken.range(from..to);
        before.into_iter().chain(inside).map(move |(start, end)| ((*start).max(from), (*end).min(to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_runs_go_round() {
        let mut space = Space::new(1, 100);
        space.take(1, 4);
        space.take(10, 5);
        space.take(5, 5);
        assert_eq!(space.taken_in(0, 100).collect::<Vec<_>>(), [(1, 15)]);
        assert_eq!(space.find(0, 20, 3), Some(15));
        assert_eq!(space.run(3, 10), Some((15, 10)));
        space.take(90, 10);
        assert_eq!(space.run(95, 5), Some((15, 5)));
        assert_eq!(space.find(95, 20, 3), Some(15));
        assert_eq!(space.find(95, 99, 3), None);
        assert_eq!(space.count_taken(10, 95), 10);
    }

    #[test]
    fn a_cluster_taken_in_part_is_taken() {
        let mut space = Space::new(0, 64);
        space.take(3, 2);
        space.cluster(16);
        assert_eq!(space.alloc(5), Some(16));
        assert_eq!(space.count_taken(0, 64), 32);
    }
}
