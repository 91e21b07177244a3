//! Which of the changed blocks need protection, and where a change that exceeds the log is cut into transactions.
//!
//! Between two operations the staged state is a consistent filesystem, so that a transaction may end there. Whether it
//! must is known at the commit: what was cut is put together again as far as it fits the log.

use crate::error::Result;
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::group::{BLOCK_UNINIT, GroupState, INODE_UNINIT, bit};
use crate::staged::{Change, Transaction};
use nomount_block::WriteAt;
use std::sync::Arc;

/// A transaction is cut when it has filled one part in so many of the log: what the next operation and the bitmaps
/// add must fit, too.
const CUT_PART: usize = 2;

/// What a metadata block of a group is, for telling whether the state before reads it.
#[derive(Debug, Clone, Copy)]
enum Part {
    BlockBitmap,
    InodeBitmap,
    InodeTable,
}

/// Where the metadata of the touched groups is, in ascending order of blocks.
struct Metadata<'a> {
    ranges: Vec<(BlockNr, BlockNr, Part, &'a GroupState)>,
}

impl<'a> Metadata<'a> {
    fn of(groups: impl Iterator<Item = &'a GroupState>, itable_blocks: u32) -> Self {
        let mut ranges = Vec::new();
        for state in groups {
            let group = &state.group;
            ranges.push((group.block_bitmap, group.block_bitmap + 1, Part::BlockBitmap, state));
            ranges.push((group.inode_bitmap, group.inode_bitmap + 1, Part::InodeBitmap, state));
            let end = group.inode_table + u64::from(itable_blocks);
            ranges.push((group.inode_table, end, Part::InodeTable, state));
        }
        ranges.sort_by_key(|(start, ..)| *start);
        Self { ranges }
    }

    fn find(&self, block: BlockNr) -> Option<(BlockNr, Part, &'a GroupState)> {
        let after = self.ranges.partition_point(|(start, ..)| *start <= block);
        let (start, end, part, state) = *self.ranges.get(after.checked_sub(1)?)?;
        (block < end).then_some((block - start, part, state))
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Whether the state before the open transaction reads a block. What it does not read may be written at any time.
    fn is_read_before(&self, block: BlockNr, metadata: &Metadata<'_>) -> bool {
        if block >= self.state.end_before {
            return false;
        }
        match metadata.find(block) {
            Some((_, Part::BlockBitmap, state)) => return state.committed_flags & BLOCK_UNINIT == 0,
            Some((_, Part::InodeBitmap, state)) => return state.committed_flags & INODE_UNINIT == 0,
            Some((index, Part::InodeTable, state)) if self.geo.group_csum() => {
                let uninit = state.committed_flags & INODE_UNINIT != 0;
                let unused = if uninit { self.geo.inodes_per_group } else { state.committed_unused };
                let used = self.geo.inodes_per_group - unused;
                return index * u64::from(self.geo.inodes_per_block()) < u64::from(used);
            }
            _ => {}
        }
        let (number, index) = self.geo.bit_of_block(block);
        let bits = self.state.groups.get(&number).and_then(|state| state.blocks.as_ref());
        bits.is_none_or(|bits| bit(&bits.committed, index))
    }

    /// What was touched since the last cut, as a transaction.
    fn open_transaction(&self) -> Transaction {
        let (sb_block, _) = self.superblock_place();
        let metadata = Metadata::of(self.state.groups.values(), self.geo.itable_blocks());
        let open = self.state.staged.open().filter(|(block, _)| *block != sb_block);
        let blocks = open.map(|(block, bytes)| {
            let protected = self.is_read_before(block, &metadata);
            (block, Change { bytes: Arc::clone(bytes), protected })
        });
        let (sb, end_before) = (self.state.sb.clone(), self.state.end_before);
        Transaction { sb, end_before, blocks: blocks.collect() }
    }

    /// Blocks of one transaction besides the superblock; everything, where no log bounds it.
    pub(crate) fn most_protected(&self) -> usize {
        let capacity = self.journal.as_ref().map(|journal| journal.capacity(self.block_size()));
        capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(1))
    }

    /// Ends the open transaction where it has filled its part of the log. Called between operations only.
    pub(crate) fn cut_if_large(&mut self) -> Result<()> {
        self.cut_beyond(self.most_protected() / CUT_PART)
    }

    /// Ends the open transaction where it has so many blocks that need protection. Called between operations only.
    pub(crate) fn cut_beyond(&mut self, limit: usize) -> Result<()> {
        if self.journal.is_none() {
            return Ok(());
        }
        if self.state.staged.protected_at_most() < limit {
            return Ok(());
        }
        // The bound counts blocks that turn out to need no protection: count them.
        self.store_pending()?;
        let transaction = self.open_transaction();
        let protected = transaction.protected();
        self.state.staged.set_protected(protected);
        if protected < limit {
            return Ok(());
        }
        self.state.staged.cut(transaction);
        self.state.end_before = self.geo.blocks_count;
        let numbers: Vec<_> = self.state.groups.keys().copied().collect();
        for number in numbers {
            let state = self.state.groups.get_mut(&number).expect("just listed");
            state.cut();
        }
        Ok(())
    }

    /// Everything staged, as the transactions of a commit.
    pub(crate) fn transactions(&mut self) -> Result<Vec<Transaction>> {
        self.store_pending()?;
        let last = self.open_transaction();
        let list = self.state.staged.cuts().cloned().chain([last]);
        Ok(Transaction::merged(list, self.most_protected()))
    }

    /// Brings what is kept apart while a change goes on into the blocks that hold it.
    fn store_pending(&mut self) -> Result<()> {
        self.store_usage()?;
        self.store_groups()
    }
}
