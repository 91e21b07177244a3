//! Blocks that a change has touched and that are not on the device yet, as one transaction or several.
//!
//! Maps are persistent: a savepoint is a clone, and costs the same however much is staged.

use crate::geometry::BlockNr;
use crate::raw::Superblock;
use rpds::{HashTrieMapSync, VectorSync};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A block's new contents.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub bytes: Arc<Vec<u8>>,
    /// Whether the state before reads the block.
    pub protected: bool,
}

/// The way from one consistent state to the next.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    /// The superblock after it.
    pub sb: Superblock,
    /// Where the filesystem ends before it.
    pub end_before: BlockNr,
    pub blocks: BTreeMap<BlockNr, Change>,
}

impl Transaction {
    /// Blocks that need protection.
    pub fn protected(&self) -> usize {
        self.blocks.values().filter(|change| change.protected).count()
    }

    /// Both as one, for the state before this one.
    fn followed_by(&self, next: &Self) -> Self {
        let mut blocks = self.blocks.clone();
        for (block, change) in &next.blocks {
            // What this one writes in place, or adds to the end, the state before does not read, whatever the state
            // between does.
            let protected = match blocks.get(block) {
                Some(change) => change.protected,
                None => change.protected && *block < self.end_before,
            };
            blocks.insert(*block, Change { bytes: Arc::clone(&change.bytes), protected });
        }
        Self { sb: next.sb.clone(), end_before: self.end_before, blocks }
    }

    /// As few transactions as have at most `most` protected blocks each, where the given ones have.
    pub fn merged(list: impl IntoIterator<Item = Self>, most: usize) -> Vec<Self> {
        let mut merged: Vec<Self> = Vec::new();
        for next in list {
            let together = merged.last().map(|last| last.followed_by(&next));
            match together.filter(|both| both.protected() <= most) {
                Some(both) => *merged.last_mut().expect("there is a last one") = both,
                None => merged.push(next),
            }
        }
        merged
    }
}

/// What is staged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Staged {
    /// Since the last cut.
    now: HashTrieMapSync<BlockNr, Arc<Vec<u8>>>,
    /// The newest contents of what was touched before it.
    earlier: HashTrieMapSync<BlockNr, Arc<Vec<u8>>>,
    cuts: VectorSync<Arc<Transaction>>,
    /// No more than so many blocks since the last cut need protection.
    protected_at_most: usize,
}

impl Staged {
    pub fn get(&self, block: BlockNr) -> Option<&Arc<Vec<u8>>> {
        self.now.get(&block).or_else(|| self.earlier.get(&block))
    }

    /// Whether the block was touched since the last cut.
    pub fn is_open(&self, block: BlockNr) -> bool {
        self.now.contains_key(&block)
    }

    /// Replaces what a block holds; `fresh` where nothing committed can be there.
    pub fn insert(&mut self, block: BlockNr, bytes: Arc<Vec<u8>>, fresh: bool) -> &mut Vec<u8> {
        if !fresh && !self.is_open(block) {
            self.protected_at_most += 1;
        }
        self.now.insert_mut(block, bytes);
        self.open_mut(block).expect("just inserted")
    }

    /// A block touched since the last cut.
    pub fn open_mut(&mut self, block: BlockNr) -> Option<&mut Vec<u8>> {
        self.now.get_mut(&block).map(Arc::make_mut)
    }

    /// Forgets a block that was freed.
    pub fn remove(&mut self, block: BlockNr) {
        self.now.remove_mut(&block);
    }

    /// What was touched since the last cut.
    pub fn open(&self) -> impl Iterator<Item = (BlockNr, &Arc<Vec<u8>>)> {
        self.now.iter().map(|(block, bytes)| (*block, bytes))
    }

    /// Whether nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty() && self.cuts.is_empty()
    }

    /// An upper bound of the blocks since the last cut that need protection.
    pub fn protected_at_most(&self) -> usize {
        self.protected_at_most
    }

    /// The exact number, once somebody counted.
    pub fn set_protected(&mut self, protected: usize) {
        self.protected_at_most = protected;
    }

    /// Ends a transaction, which is everything touched since the last cut.
    pub fn cut(&mut self, transaction: Transaction) {
        for (block, bytes) in &self.now {
            self.earlier.insert_mut(*block, Arc::clone(bytes));
        }
        self.now = HashTrieMapSync::default();
        self.protected_at_most = 0;
        self.cuts.push_back_mut(Arc::new(transaction));
    }

    /// The transactions that were cut, in order.
    pub fn cuts(&self) -> impl Iterator<Item = &Transaction> {
        self.cuts.iter().map(|cut| &**cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn transaction(blocks: &[(BlockNr, u8, bool)]) -> Transaction {
        let change = |byte, protected| Change { bytes: Arc::new(vec![byte]), protected };
        let blocks = blocks.iter().map(|(block, byte, protected)| (*block, change(*byte, *protected))).collect();
        Transaction { sb: Superblock::new_zeroed(), end_before: 5, blocks }
    }

    #[test]
    fn what_a_filesystem_grew_by_needs_no_protection_from_the_state_before() {
        let grown = Transaction { end_before: 100, ..transaction(&[(9, 2, true), (4, 2, true)]) };
        let merged = Transaction::merged([transaction(&[(1, 1, true)]), grown], 2);
        assert_eq!((merged.len(), merged[0].end_before), (1, 5));
        assert!(merged[0].blocks[&4].protected && !merged[0].blocks[&9].protected);
    }

    #[test]
    fn transactions_merge_while_they_fit_and_keep_the_newest_bytes() {
        let list = [
            transaction(&[(1, 1, true), (2, 1, false)]),
            transaction(&[(1, 2, true), (2, 2, true), (3, 2, true)]),
            transaction(&[(4, 3, true)]),
        ];
        let merged = Transaction::merged(list, 2);
        assert_eq!(merged.iter().map(Transaction::protected).collect::<Vec<_>>(), [2, 1]);
        assert!(!merged[0].blocks[&2].protected, "the first state does not read it");
        assert_eq!(*merged[0].blocks[&1].bytes, [2]);
    }

    #[test]
    fn what_was_cut_is_still_read_and_a_clone_is_a_savepoint() {
        let mut staged = Staged::default();
        staged.insert(7, Arc::new(vec![1]), false);
        staged.cut(transaction(&[(7, 1, true)]));
        assert!(!staged.is_open(7));
        let mark = staged.clone();
        staged.insert(7, Arc::new(vec![2]), false);
        assert_eq!(**staged.get(7).unwrap(), [2]);
        assert_eq!((staged.protected_at_most(), mark.protected_at_most()), (1, 0));
        assert_eq!(**mark.get(7).unwrap(), [1]);
    }
}
