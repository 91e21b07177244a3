//! Changing an extent tree where it is touched: one leaf, and of the nodes above it those whose entries change.

use super::node::{Entry, Node, leaves_of};
use super::{ENTRY, ROOT_ENTRIES};
use crate::error::{Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::inode::Inode;
use crate::map::{Run, cut, join};
use nomount_block::{ReadAt, WriteAt};
use std::ops::Range;

/// A node on the way from the root to a leaf.
struct Step {
    /// None for the root, which is in the inode.
    block: Option<BlockNr>,
    max: usize,
    depth: u16,
    entries: Vec<Entry>,
    /// The entry that the way follows.
    at: usize,
}

/// A leaf, with the way to it.
struct Way {
    /// From the root to the leaf.
    steps: Vec<Step>,
    /// The runs of the leaf.
    runs: Vec<Run>,
    /// Where the next leaf's part of the file begins.
    high: u64,
}

impl<D: ReadAt> Filesystem<D> {
    /// The way to the leaf in which file block `wanted` is mapped, or would be.
    fn extent_way(&self, inode: &Inode, wanted: u64) -> Result<Way> {
        let (mut low, mut high) = (0, 1 << 32);
        let mut steps: Vec<Step> = Vec::new();
        let mut block = None;
        loop {
            let bytes = match block {
                None => inode.base().i_block.to_vec(),
                Some(block) => self.extent_block(inode, block)?.to_vec(),
            };
            let depth = steps.last().map(|above| above.depth - 1);
            let node = Node::parse(&bytes, depth, &|| inode.place())?;
            let mut step = Step { block, max: node.max, depth: node.depth, entries: node.entries(), at: 0 };
            if node.depth == 0 {
                let runs: Vec<Run> = node.leaves().collect();
                let mut before = low;
                for run in &runs {
                    self.check_run(inode, run, before, high)?;
                    before = u64::from(run.file_block) + u64::from(run.len);
                }
                steps.push(step);
                return Ok(Way { steps, runs, high });
            }
            let keys: Vec<u64> = step.entries.iter().map(|(key, _)| u64::from(*key)).collect();
            if keys[0] < low || keys[keys.len() - 1] >= high || !keys.is_sorted_by(|a, b| a < b) {
                let detail = format!("extent indexes do not ascend between {low} and {high}");
                return Err(corrupt(inode.place(), detail));
            }
            // What lies before the first key belongs to the first child as well: it would be inserted there.
            step.at = keys.partition_point(|key| *key <= wanted).saturating_sub(1);
            if step.at > 0 {
                low = keys[step.at];
            }
            high = keys.get(step.at + 1).copied().unwrap_or(high);
            block = node.indexes().nth(step.at).map(|(_, child)| child);
            steps.push(step);
        }
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Maps a hole. Returns how many blocks the tree gained.
    pub(in crate::map) fn insert_extent(&mut self, inode: &mut Inode, run: Run) -> Result<i64> {
        let mut rest = run;
        let mut nodes = 0;
        loop {
            let start = u64::from(rest.file_block);
            let mut way = self.extent_way(inode, start)?;
            let part = Run { len: (way.high - start).min(rest.len.into()) as u32, ..rest };
            let at = way.runs.partition_point(|run| u64::from(run.file_block) < start);
            let clash = |other: &Run| cut(other, start, start + u64::from(part.len)).is_some();
            if way.runs[..at].last().is_some_and(clash) || way.runs.get(at).is_some_and(clash) {
                return Err(corrupt(inode.place(), format!("file block {start} is mapped, and was a hole before")));
            }
            way.runs.insert(at, part);
            nodes += self.store_way(inode, way)?;
            if part.len == rest.len {
                return Ok(nodes);
            }
            rest.file_block += part.len;
            rest.block += u64::from(part.len);
            rest.len -= part.len;
        }
    }

    /// Unmaps file blocks `from..to`, as far as they are in the leaf of the first. Returns what was there, where the
    /// next leaf begins, and how many blocks the tree gained: a cut in the middle of an extent needs one more entry.
    pub(in crate::map) fn remove_extents(
        &mut self,
        inode: &mut Inode,
        from: u64,
        to: u64,
    ) -> Result<(Vec<Run>, u64, i64)> {
        let mut way = self.extent_way(inode, from)?;
        let (mut kept, mut removed) = (Vec::with_capacity(way.runs.len() + 1), Vec::new());
        for run in &way.runs {
            kept.extend(cut(run, 0, from));
            removed.extend(cut(run, from, to));
            kept.extend(cut(run, to, u64::MAX));
        }
        let next = way.high;
        if removed.is_empty() {
            return Ok((removed, next, 0));
        }
        way.runs = kept;
        Ok((removed, next, self.store_way(inode, way)?))
    }

    /// Writes a leaf with other runs, and what follows from that. Returns how many blocks the tree gained.
    fn store_way(&mut self, inode: &mut Inode, way: Way) -> Result<i64> {
        let Way { mut steps, mut runs, .. } = way;
        join(&mut runs);
        let goal = self.goal_of(inode.ino());
        let mut nodes = 0;
        let mut entries = leaves_of(&runs);
        while let Some(step) = steps.pop() {
            let Some(parent) = steps.last() else {
                nodes += self.store_extent_root(inode, entries, step.depth, goal)? as i64;
                break;
            };
            let (range, found) = self.store_step(inode, &step, parent, &entries, &mut nodes)?;
            if parent.entries[range.clone()] == found {
                break;
            }
            entries = parent.entries.clone();
            entries.splice(range, found);
        }
        self.shorten_extents(inode, &mut nodes)?;
        Ok(nodes)
    }

    /// Writes a node below the root with other entries: into its block, into one with a neighbour's, or into several.
    /// Returns which entries of the parent are replaced by what.
    fn store_step(
        &mut self,
        inode: &Inode,
        step: &Step,
        parent: &Step,
        entries: &[Entry],
        nodes: &mut i64,
    ) -> Result<(Range<usize>, Vec<Entry>)> {
        let block = step.block.expect("the root has no parent");
        let shape = (step.max, step.depth);
        let own = parent.at..parent.at + 1;
        if entries.is_empty() {
            self.free_node(block)?;
            *nodes -= 1;
            return Ok((own, Vec::new()));
        }
        let shrunk = entries.len() < step.entries.len() && entries.len() <= step.max / 2;
        let grew_at_end = entries.starts_with(&step.entries);
        let overflows = entries.len() > step.max;
        if entries.len() <= step.max && !shrunk {
            return Ok((own, vec![self.store_extent_node(inode, block, entries, shape)?]));
        }
        // A neighbour takes part: it is joined, or takes over some of what is too much here.
        if !(overflows && grew_at_end) {
            for other in [parent.at + 1, parent.at.wrapping_sub(1)] {
                let Some((other_block, theirs, other_max)) = self.extent_neighbour(inode, parent, other)? else {
                    continue;
                };
                let all = if other > parent.at { [entries, &theirs].concat() } else { [&theirs, entries].concat() };
                let range = other.min(parent.at)..other.max(parent.at) + 1;
                if shrunk && all.len() <= step.max {
                    self.free_node(other_block)?;
                    *nodes -= 1;
                    return Ok((range, vec![self.store_extent_node(inode, block, &all, shape)?]));
                }
                let half = all.len() / 2;
                if overflows && all.len() - half <= step.max.min(other_max) {
                    let (mut left, mut right) = ((block, step.max), (other_block, other_max));
                    if other < parent.at {
                        (left, right) = (right, left);
                    }
                    let lower = self.store_extent_node(inode, left.0, &all[..half], (left.1, step.depth))?;
                    let upper = self.store_extent_node(inode, right.0, &all[half..], (right.1, step.depth))?;
                    return Ok((range, vec![lower, upper]));
                }
            }
        }
        if !overflows {
            return Ok((own, vec![self.store_extent_node(inode, block, entries, shape)?]));
        }
        // What is appended leaves full nodes behind; elsewhere there will be more insertions.
        let pieces = entries.len().div_ceil(step.max);
        let size = if grew_at_end { step.max } else { entries.len().div_ceil(pieces) };
        let goal = self.goal_of(inode.ino());
        let (first, others) = entries.split_at(size);
        let mut found = vec![self.store_extent_node(inode, block, first, shape)?];
        for piece in others.chunks(size.min(self.extents_per_node())) {
            found.push(self.new_extent_node(inode, piece, step.depth, goal)?);
            *nodes += 1;
        }
        Ok((own, found))
    }

    /// The child of `parent` at `at`, if there is one: its block, its entries and its room.
    fn extent_neighbour(
        &self,
        inode: &Inode,
        parent: &Step,
        at: usize,
    ) -> Result<Option<(BlockNr, Vec<Entry>, usize)>> {
        let Some((_, bytes)) = parent.entries.get(at) else {
            return Ok(None);
        };
        let block = child_of(bytes);
        let bytes = self.extent_block(inode, block)?;
        let node = Node::parse(&bytes, Some(parent.depth - 1), &|| inode.place())?;
        Ok(Some((block, node.entries(), node.max)))
    }

    /// Takes a node that fits the inode into it, and closes up the leaves of a small tree: e2fsck finds fault with
    /// one that could be shorter, or narrower by a node.
    fn shorten_extents(&mut self, inode: &mut Inode, nodes: &mut i64) -> Result<()> {
        loop {
            let root = inode.base().i_block;
            let node = Node::parse(&root, None, &|| inode.place())?;
            let (depth, children) = (node.depth, node.entries());
            if depth == 0 || (depth > 1 && children.len() > 1) {
                return Ok(());
            }
            let mut entries = Vec::new();
            let mut room = 0;
            for (_, child) in &children {
                let bytes = self.extent_block(inode, child_of(child))?;
                let node = Node::parse(&bytes, Some(depth - 1), &|| inode.place())?;
                entries.extend(node.entries());
                room += node.max;
            }
            let per_node = self.extents_per_node();
            if entries.len() > ROOT_ENTRIES && room - entries.len() <= per_node {
                return Ok(());
            }
            let keep = if entries.len() <= ROOT_ENTRIES { 0 } else { entries.len().div_ceil(per_node) };
            for (_, child) in &children[keep..] {
                self.free_node(child_of(child))?;
            }
            *nodes -= (children.len() - keep) as i64;
            let mut level = Vec::new();
            for (piece, (_, child)) in entries.chunks(per_node).zip(&children[..keep]) {
                level.push(self.store_extent_node(inode, child_of(child), piece, (per_node, depth - 1))?);
            }
            if keep == 0 {
                self.store_extent_root(inode, entries, depth - 1, 0)?;
            } else {
                self.store_extent_root(inode, level, depth, 0)?;
                return Ok(());
            }
        }
    }
}

/// Where an entry of an inner node leads.
fn child_of(entry: &[u8; ENTRY]) -> BlockNr {
    let lo = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
    u64::from(u16::from_le_bytes([entry[8], entry[9]])) << 32 | u64::from(lo)
}
