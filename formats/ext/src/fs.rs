//! An open filesystem: its device, its shape, and the changes that are not committed yet.

use crate::error::{Error, Result, corrupt};
use crate::features::{compat, incompat};
use crate::geometry::{BlockNr, Geometry, GroupNr, SUPERBLOCK_LEN, SUPERBLOCK_OFFSET};
use crate::group::GroupState;
use crate::journal::{Journal, LogCopy};
use crate::quota::Ledger;
use crate::raw::Superblock;
use crate::scrub::Scrubbed;
use crate::staged::Staged;
use crate::time::Time;
use nomount_block::{Budget, Held, ReadAt, WriteAt};
use rpds::RedBlackTreeMapSync;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zerocopy::FromBytes;

/// Bytes of clean metadata blocks that are kept, so that memory does not grow with the image.
const CACHE_BYTES: usize = 4 << 20;

/// What the filesystem is not told by the device.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The clock, for every time that a change sets.
    pub now: Time,
    /// Where the generation numbers of new inodes start from; the same seed gives the same bytes.
    pub seed: u32,
    /// How to let time pass, for a filesystem with feature mmp that somebody seems to write to: it is then watched for
    /// two times 11 seconds or more, and refused only if somebody does. Without it, it is refused at once.
    pub mmp_wait: Option<fn(Duration)>,
}

/// Everything that a change has touched and that is not on the device yet. Cloning it is cheap: it is a savepoint.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub sb: Superblock,
    pub staged: Staged,
    pub groups: RedBlackTreeMapSync<GroupNr, GroupState>,
    pub new_inodes: u32,
    pub ledger: Ledger,
    pub scrubbed: Scrubbed,
    /// Where the filesystem ends in the state before the open transaction, which reads nothing from here on.
    pub end_before: BlockNr,
}

impl State {
    /// Nothing is touched: what a superblock leads to, of a filesystem that ends at block `end`.
    pub fn unchanged(sb: Superblock, end: BlockNr) -> Self {
        Self {
            sb,
            staged: Staged::default(),
            groups: RedBlackTreeMapSync::default(),
            new_inodes: 0,
            ledger: Ledger::default(),
            scrubbed: Scrubbed::default(),
            end_before: end,
        }
    }
}

/// An ext2, ext3 or ext4 filesystem on a device.
///
/// Reading needs [`ReadAt`] only. Changes gather in memory; contents of files go to free blocks of the device at
/// once. [`Filesystem::commit`] makes all of them visible together, dropping the filesystem none.
#[derive(Debug)]
pub struct Filesystem<D> {
    pub(crate) device: D,
    pub(crate) options: Options,
    pub(crate) budget: Budget,
    pub(crate) geo: Geometry,
    pub(crate) journal: Option<Journal>,
    /// Blocks whose newest committed contents are still in the log.
    pub(crate) replayed: BTreeMap<BlockNr, LogCopy>,
    /// The memory of these.
    replayed_held: Option<Held>,
    pub(crate) state: State,
    pub(crate) savepoints: Vec<State>,
    pub(crate) writable: bool,
    /// A change failed halfway: what is in memory must not be committed before a rollback.
    pub(crate) half_done: bool,
    /// A commit stopped between its first write and its last: the log may be live, so nothing more may be written.
    pub(crate) commit_failed: bool,
    /// Groups without a cluster that could be handed out, each with the one to look at instead.
    pub(crate) full_groups: HashMap<GroupNr, GroupNr>,
    /// First blocks of clusters that the last write to a file filled in part, since the last savepoint: what follows
    /// may be written into them.
    pub(crate) own_tails: HashSet<BlockNr>,
    /// The sequence number of the mmp block, as we last saw it.
    pub(crate) mmp_sequence: Option<u32>,
    cache: Mutex<HashMap<BlockNr, Arc<Vec<u8>>>>,
}

impl<D: ReadAt> Filesystem<D> {
    /// Opens a filesystem for reading. A journal that needs recovery is replayed in memory: what is read is what
    /// would be there after recovery, and the device is not written.
    pub fn open(device: D, options: Options) -> Result<Self> {
        Self::open_within(device, options, &Budget::default())
    }

    /// The same with memory from `budget` for what grows with the filesystem.
    pub fn open_within(device: D, options: Options, budget: &Budget) -> Result<Self> {
        let mut fs = Self::open_without_journal(device, options, budget)?;
        fs.open_journal()?;
        Ok(fs)
    }

    /// Opens a filesystem as its blocks are at home, without looking at its journal.
    pub(crate) fn open_without_journal(device: D, options: Options, budget: &Budget) -> Result<Self> {
        let mut bytes = [0; SUPERBLOCK_LEN];
        if device.len() < SUPERBLOCK_OFFSET + SUPERBLOCK_LEN as u64 {
            return Err(Error::NotExt { found: 0 });
        }
        device.read_at(SUPERBLOCK_OFFSET, &mut bytes)?;
        let sb = Superblock::read_from_bytes(&bytes).expect("the buffer has the superblock's size");
        let geo = Geometry::check(&sb, device.len())?;
        let state = State::unchanged(sb, geo.blocks_count);
        Ok(Self {
            device,
            options,
            budget: budget.clone(),
            geo,
            journal: None,
            replayed: BTreeMap::new(),
            replayed_held: None,
            state,
            savepoints: Vec::new(),
            writable: false,
            half_done: false,
            commit_failed: false,
            full_groups: HashMap::new(),
            own_tails: HashSet::new(),
            mmp_sequence: None,
            cache: Mutex::default(),
        })
    }

    /// Opens the journal, if there is one, and replays in memory what it has newer.
    pub(crate) fn open_journal(&mut self) -> Result<()> {
        if !self.geo.features.compat(compat::HAS_JOURNAL) {
            if self.geo.features.incompat(incompat::RECOVER) {
                return Err(corrupt("superblock", "needs_recovery is set, but there is no journal"));
            }
            return Ok(());
        }
        let journal = Journal::open(self)?;
        if self.geo.features.incompat(incompat::RECOVER) {
            let (replayed, held, next_sequence) = journal.recover(self)?;
            (self.replayed, self.replayed_held) = (replayed, Some(held));
            self.cache_lock().clear();
            self.reread_superblock()?;
            self.journal = Some(journal.recovered(next_sequence));
        } else {
            self.journal = Some(journal);
        }
        Ok(())
    }

    /// After a replay the superblock may be another one.
    fn reread_superblock(&mut self) -> Result<()> {
        let (block, offset) = self.superblock_place();
        let bytes = self.read_block(block)?;
        let sb = Superblock::read_from_bytes(&bytes[offset..offset + SUPERBLOCK_LEN]).expect("sizes are equal");
        let geo = Geometry::check(&sb, self.device.len())?;
        if (geo.block_size, geo.inode_size, geo.desc_size, geo.inodes_per_group, geo.blocks_per_group)
            != (
                self.geo.block_size,
                self.geo.inode_size,
                self.geo.desc_size,
                self.geo.inodes_per_group,
                self.geo.blocks_per_group,
            )
        {
            return Err(corrupt("journal", "its copy of the superblock has another shape"));
        }
        self.state.end_before = geo.blocks_count;
        self.geo = geo;
        self.state.sb = sb;
        Ok(())
    }

    /// The block that holds the primary superblock, and the byte offset in it.
    pub(crate) fn superblock_place(&self) -> (BlockNr, usize) {
        let size = u64::from(self.geo.block_size);
        (SUPERBLOCK_OFFSET / size, (SUPERBLOCK_OFFSET % size) as usize)
    }

    /// The shape of the filesystem.
    pub fn geometry(&self) -> &Geometry {
        &self.geo
    }

    /// The device below, without what is not committed.
    pub fn into_device(self) -> D {
        self.device
    }

    /// The device below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Where the memory comes from for what grows with the filesystem.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Blocks that a replay of the journal changed, and that the device does not have yet.
    pub fn replayed_blocks(&self) -> usize {
        self.replayed.len()
    }

    pub(crate) fn block_size(&self) -> usize {
        self.geo.block_size as usize
    }

    fn cache_lock(&self) -> std::sync::MutexGuard<'_, HashMap<BlockNr, Arc<Vec<u8>>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clear_cache(&self) {
        self.cache_lock().clear();
    }

    /// Fails unless `len` blocks from `block` lie inside the filesystem.
    pub(crate) fn check_block(&self, block: BlockNr, len: u64, owner: impl FnOnce() -> String) -> Result<()> {
        if self.geo.contains(block, len) {
            return Ok(());
        }
        let range = format!("{} to {}", self.geo.first_data_block + 1, self.geo.blocks_count - 1);
        Err(corrupt(owner(), format!("points at block {block} with length {len}, outside {range}")))
    }

    /// A metadata block as this change sees it.
    pub(crate) fn read_block(&self, block: BlockNr) -> Result<Arc<Vec<u8>>> {
        if let Some(bytes) = self.state.staged.get(block) {
            return Ok(Arc::clone(bytes));
        }
        if let Some(bytes) = self.cache_lock().get(&block) {
            return Ok(Arc::clone(bytes));
        }
        let mut bytes = vec![0; self.block_size()];
        self.read_committed(block, &mut bytes)?;
        let bytes = Arc::new(bytes);
        let mut cache = self.cache_lock();
        if cache.len() * self.block_size() >= CACHE_BYTES {
            cache.clear();
        }
        cache.insert(block, Arc::clone(&bytes));
        Ok(bytes)
    }

    /// One block as it would be after recovery and without this change.
    fn read_committed(&self, block: BlockNr, bytes: &mut [u8]) -> Result<()> {
        match self.replayed.get(&block) {
            None => self.device.read_at(block * u64::from(self.geo.block_size), bytes)?,
            Some(copy) => copy.read(self, bytes)?,
        }
        Ok(())
    }

    /// Reads whole blocks of file contents, past the cache: one read of the device where nothing is replayed.
    pub(crate) fn read_data(&self, block: BlockNr, offset: u64, buf: &mut [u8]) -> Result<()> {
        let size = u64::from(self.geo.block_size);
        let last = block + (offset + buf.len() as u64).div_ceil(size);
        if self.replayed.range(block..last).next().is_none() {
            self.device.read_at(block * size + offset, buf)?;
            return Ok(());
        }
        let mut done = 0;
        let mut whole = vec![0; self.block_size()];
        while done < buf.len() {
            let at = offset + done as u64;
            self.read_committed(block + at / size, &mut whole)?;
            let skip = (at % size) as usize;
            let len = (buf.len() - done).min(whole.len() - skip);
            buf[done..done + len].copy_from_slice(&whole[skip..skip + len]);
            done += len;
        }
        Ok(())
    }

    /// A block to be changed, with its present contents.
    pub(crate) fn block_mut(&mut self, block: BlockNr) -> Result<&mut Vec<u8>> {
        if !self.state.staged.is_open(block) {
            let bytes = self.read_block(block)?;
            self.state.staged.insert(block, bytes, false);
        }
        Ok(self.state.staged.open_mut(block).expect("just inserted"))
    }

    /// A block to be filled anew, all zero, that nothing committed reads.
    pub(crate) fn block_zeroed(&mut self, block: BlockNr) -> &mut Vec<u8> {
        let zeroes = Arc::new(vec![0; self.block_size()]);
        self.state.staged.insert(block, zeroes, true)
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// Marks the state now, for [`Filesystem::rollback`]. As long as there are marks, which is until the commit, blocks
    /// that the change frees are not used again.
    pub fn savepoint(&mut self) -> usize {
        self.savepoints.push(self.state.clone());
        self.own_tails.clear();
        self.savepoints.len() - 1
    }

    /// Takes everything back that changed since `savepoint`; it and later marks are gone.
    pub fn rollback(&mut self, savepoint: usize) {
        if savepoint < self.savepoints.len() {
            self.savepoints.truncate(savepoint + 1);
            let state = self.savepoints.pop().expect("just truncated to at least one");
            self.return_to(state);
            self.half_done = false;
            self.own_tails.clear();
        }
    }

    /// Goes back to an earlier state; the shape goes with it.
    pub(crate) fn return_to(&mut self, state: State) {
        self.state = state;
        let end = self.geo.blocks_count;
        self.geo.follow(&self.state.sb);
        if self.geo.blocks_count != end {
            // What was written behind the end is nobody's.
            self.clear_cache();
        }
        self.full_groups.clear();
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Runs the part of an operation that changes things. When it fails halfway, nothing can be committed any more
    /// until a rollback to a savepoint that was taken before.
    pub(crate) fn changing<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.commit_failed {
            return Err(Error::CommitFailed);
        }
        if self.half_done {
            return Err(Error::HalfDone);
        }
        self.cut_if_large()?;
        let result = change(self).and_then(|done| self.store_usage().map(|()| done));
        self.half_done = result.is_err();
        result
    }
}
