//! Writing nodes of an extent tree, and trees as a whole.

use super::node::{Entry, fill_node, index_of, leaves_of};
use super::{ENTRY, MAX_DEPTH, ROOT_ENTRIES};
use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::inode::Inode;
use crate::map::Run;
use nomount_block::WriteAt;

impl<D: WriteAt> Filesystem<D> {
    /// Entries that a new node has room for.
    pub(super) fn extents_per_node(&self) -> usize {
        (self.block_size() - ENTRY) / ENTRY
    }

    /// Builds a tree from its leaves up, in new blocks, and puts the root into the inode. Returns how many blocks.
    pub(in crate::map) fn store_extents(&mut self, inode: &mut Inode, runs: &[Run], goal: BlockNr) -> Result<u64> {
        self.store_extent_root(inode, leaves_of(runs), 0, goal)
    }

    /// Puts the entries of the topmost level into the inode, below new levels where they are too many for it.
    /// Returns how many blocks those took.
    pub(super) fn store_extent_root(
        &mut self,
        inode: &mut Inode,
        mut level: Vec<Entry>,
        mut depth: u16,
        goal: BlockNr,
    ) -> Result<u64> {
        let per_node = self.extents_per_node();
        let mut nodes = 0;
        while level.len() > ROOT_ENTRIES {
            if depth == MAX_DEPTH {
                return Err(Error::Limit("a file too fragmented for an extent tree of depth 5".into()));
            }
            let mut above = Vec::with_capacity(level.len().div_ceil(per_node));
            for entries in level.chunks(per_node) {
                above.push(self.new_extent_node(inode, entries, depth, goal)?);
                nodes += 1;
            }
            level = above;
            depth += 1;
        }
        let root = &mut inode.base_mut().i_block;
        root.fill(0);
        fill_node(root, &level, ROOT_ENTRIES, if level.is_empty() { 0 } else { depth });
        Ok(nodes)
    }

    /// A node in a new block; returns the entry that leads to it.
    pub(super) fn new_extent_node(
        &mut self,
        inode: &Inode,
        entries: &[Entry],
        depth: u16,
        goal: BlockNr,
    ) -> Result<Entry> {
        let block = self.alloc_block(goal)?;
        self.block_zeroed(block);
        self.store_extent_node(inode, block, entries, (self.extents_per_node(), depth))
    }

    /// Writes a node's entries, of which there is at least one, and its checksum; the old ones must have been
    /// verified. Returns the entry that leads to it.
    pub(super) fn store_extent_node(
        &mut self,
        inode: &Inode,
        block: BlockNr,
        entries: &[Entry],
        (max, depth): (usize, u16),
    ) -> Result<Entry> {
        let seed = self.geo.metadata_csum().then(|| inode.csum_seed(&self.geo));
        let bytes = self.block_mut(block)?;
        fill_node(bytes, entries, max, depth);
        let tail = ENTRY + ENTRY * max;
        bytes[ENTRY + ENTRY * entries.len()..tail].fill(0);
        if let Some(seed) = seed
            && tail + 4 <= bytes.len()
        {
            let sum = crc32c(seed, &bytes[..tail]);
            bytes[tail..tail + 4].copy_from_slice(&sum.to_le_bytes());
        }
        Ok(index_of(entries[0].0, block))
    }
}
