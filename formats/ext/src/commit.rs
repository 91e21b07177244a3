//! Opening for writing, and making a change durable: who is written when, and why any crash leaves old or new.

use crate::error::{Error, Result};
use crate::features::{compat, incompat, ro_compat};
use crate::fs::{Filesystem, Options};
use crate::geometry::{Geometry, GroupNr, STATE_ERROR, STATE_VALID, SUPERBLOCK_LEN, superblock_checksum};
use crate::journal::Journal;
use crate::raw::Superblock;
use crate::scrub::Scrubbed;
use crate::staged::{Staged, Transaction};
use nomount_block::{Budget, WriteAt};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// `s_creator_os` of the Hurd, whose inodes use some fields otherwise.
const OS_HURD: u32 = 1;

/// What a commit wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    /// Blocks that the state before did not read: written in place, ahead of everything.
    pub in_place: usize,
    /// Blocks that it read: protected by the journal, where there is one.
    pub protected: usize,
    /// Whether a journal protected them.
    pub journaled: bool,
    /// Transactions that the change was cut into, so that each fits the journal: more than one means that a crash may
    /// leave the first of them. Each leaves a consistent filesystem.
    pub transactions: usize,
}

impl Committed {
    /// Whether there was anything to write.
    pub fn is_empty(&self) -> bool {
        self.in_place + self.protected == 0
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Opens a filesystem for changes. A journal that needs recovery is replayed onto the device and its orphans are
    /// processed as part of the change; a device that stages writes shows them with the commit.
    pub fn open_for_write(device: D, options: Options) -> Result<Self> {
        Self::open_for_write_within(device, options, &Budget::default())
    }

    /// The same with memory from `budget` for what grows with the filesystem.
    pub fn open_for_write_within(device: D, options: Options, budget: &Budget) -> Result<Self> {
        let mut fs = Self::open_within(device, options, budget)?;
        fs.require_writable()?;
        fs.respect_mmp()?;
        let dirty = fs.geo.features.incompat(incompat::RECOVER);
        if dirty {
            fs.take_mmp()?;
            fs.apply_replay()?;
            fs.release_mmp()?;
        } else {
            fs.skip_stale_log()?;
        }
        let (csum, bit64) = (fs.geo.metadata_csum(), fs.geo.features.incompat(incompat::BIT64));
        fs.journal = fs.journal.map(|journal| journal.prepared(csum, bit64));
        fs.writable = true;
        fs.process_orphans()?;
        Ok(fs)
    }

    /// Fails, saying why, where this filesystem is not written.
    fn require_writable(&self) -> Result<()> {
        let sb = &self.state.sb;
        self.geo.features.require_writable()?;
        if sb.s_creator_os.get() == OS_HURD {
            return Err(Error::ReadOnly("it was made for GNU/Hurd".into()));
        }
        if sb.s_state.get() & STATE_ERROR != 0 {
            return Err(Error::ReadOnly("it records errors; run e2fsck first".into()));
        }
        if sb.s_state.get() & STATE_VALID == 0 && !self.geo.features.compat(compat::HAS_JOURNAL) {
            return Err(Error::ReadOnly("it was not cleanly unmounted and has no journal; run e2fsck first".into()));
        }
        if let Some(errno) = self.journal.as_ref().map(|journal| journal.sb.s_errno.get()).filter(|errno| *errno != 0) {
            return Err(Error::ReadOnly(format!("its journal records error {}; run e2fsck first", errno as i32)));
        }
        Ok(())
    }

    /// Writes what the log has newer home, as a kernel does when it mounts: all but the superblock, then the
    /// superblock (still saying that recovery is needed), then the empty log. Repeating it after a crash is harmless.
    fn apply_replay(&mut self) -> Result<()> {
        let size = u64::from(self.geo.block_size);
        let (sb_block, _) = self.superblock_place();
        let copies = std::mem::take(&mut self.replayed);
        let mut bytes = vec![0; self.block_size()];
        for (&block, copy) in copies.iter().filter(|(block, _)| **block != sb_block) {
            copy.read(self, &mut bytes)?;
            self.device.write_at(block * size, &bytes)?;
        }
        self.device.barrier()?;
        if let Some(copy) = copies.get(&sb_block) {
            copy.read(self, &mut bytes)?;
            self.device.write_at(sb_block * size, &bytes)?;
            self.device.barrier()?;
        }
        self.clear_cache();
        let journal = self.journal.clone().expect("a filesystem that needs recovery has a journal");
        self.write_journal_superblock(&journal, 0, journal.sb.s_sequence.get())?;
        self.device.barrier()?;
        Ok(())
    }

    /// A log that is not empty although no recovery is needed is ignored by kernels; its sequence numbers must not
    /// be used again.
    fn skip_stale_log(&mut self) -> Result<()> {
        if let Some(journal) = self.journal.clone().filter(|journal| journal.sb.s_start.get() != 0) {
            let (_, _, next_sequence) = journal.recover(self)?;
            self.journal = Some(journal.recovered(next_sequence));
        }
        Ok(())
    }

    fn write_journal_superblock(&mut self, journal: &Journal, start: u32, sequence: u32) -> Result<()> {
        let sb = journal.superblock(start, sequence);
        let at = journal.block(0) * u64::from(self.geo.block_size);
        self.device.write_at(at, sb.as_bytes())?;
        Ok(())
    }

    /// Makes everything changed since the last commit durable and visible together. Writes nothing when nothing
    /// changed.
    pub fn commit(&mut self) -> Result<Committed> {
        if !self.writable {
            return Err(Error::ReadOnly("it was opened for reading".into()));
        }
        if self.commit_failed {
            return Err(Error::CommitFailed);
        }
        if self.half_done {
            return Err(Error::HalfDone);
        }
        let recovering = self.geo.features.incompat(incompat::RECOVER);
        let old_sb = self.committed_superblock()?;
        let scrubbed = self.scrubbed_places()?;
        let mut transactions = self.transactions()?;
        if self.state.staged.is_empty() && !recovering && old_sb.as_bytes() == self.state.sb.as_bytes() {
            return Ok(Committed::default());
        }
        self.check_mmp()?;
        let now = self.options.now.sec.max(0) as u64;
        for sb in transactions.iter_mut().map(|transaction| &mut transaction.sb).chain([&mut self.state.sb]) {
            sb.s_wtime.set(now as u32);
            sb.s_wtime_hi = (now >> 32) as u8;
        }
        let blocks: usize = transactions.iter().map(|transaction| transaction.blocks.len()).sum();
        let protected: usize = transactions.iter().map(Transaction::protected).sum();
        let result = Committed {
            in_place: blocks - protected,
            protected: protected + transactions.len(),
            journaled: self.journal.is_some(),
            transactions: transactions.len(),
        };
        let before = self.shape_before(&old_sb);
        match self.journal.clone() {
            Some(journal) => self.commit_journaled(journal, &old_sb, before.as_ref(), &transactions)?,
            None => self.commit_plain(&old_sb, before.as_ref(), &transactions)?,
        }
        self.overwrite(&scrubbed)?;
        self.release_mmp()?;
        self.settle();
        Ok(result)
    }

    /// With a journal. Every crash is recovered by whoever replays the log next, after waiting where feature mmp is in
    /// use: its block is taken before step 1 and released after step 6.
    ///
    /// 1. The old superblock, saying that recovery is needed. The log is empty: a replay does nothing, state is old.
    /// 2. Blocks that the old state does not read, and the transaction in a log that is still marked empty: old.
    /// 3. The log's superblock, pointing at the transaction, which is durable since 2. One write, its meaning within
    ///    512 bytes: **the commit point**. Before it old, from here on new, because a replay writes every block that
    ///    the two states read differently.
    /// 4. The same blocks at home. A torn one is mended by the replay. The superblock goes last of them, because it
    ///    is read before the replay and must fit the descriptors; it still says that recovery is needed.
    /// 5. The log marked empty: all of it is at home.
    /// 6. The superblock without the flag.
    /// 7. Where the filesystem grew: the copies of superblock and descriptors that the old state has. Those in groups
    ///    that are new belong to 2. Nothing reads copies as long as the first ones are there, so they need no protection;
    ///    where a crash leaves old ones, `e2fsck -p` writes them again.
    ///
    /// The superblock is read before any replay, so the two writes of it alone (1 and 6) must not tear within its
    /// 1024 bytes: nothing else is pending then, and either state of the flag is right.
    ///
    /// What scrubbed files held is overwritten after all that, see [`Filesystem::scrub`].
    ///
    /// Of several transactions each takes the steps 2 to 5; its old state is the new one of the transaction before.
    fn commit_journaled(
        &mut self,
        mut journal: Journal,
        old_sb: &Superblock,
        before: Option<&Geometry>,
        transactions: &[Transaction],
    ) -> Result<()> {
        // A change that does not fit the log fails before anything is written.
        let most = journal.capacity(self.block_size());
        if let Some(needed) = transactions.iter().map(|one| one.protected() + 1).find(|needed| *needed > most) {
            return Err(Error::JournalTooSmall { needed: needed as u64, available: most as u64 });
        }
        self.commit_failed = true;
        self.take_mmp()?;

        self.write_superblock(old_sb, true)?;
        self.device.barrier()?;
        if let Some(before) = before {
            self.write_new_copies(before)?;
        }
        for transaction in transactions {
            journal = self.write_transaction(journal, transaction)?;
        }
        let new_sb = self.state.sb.clone();
        self.write_superblock(&new_sb, false)?;
        self.device.barrier()?;
        self.journal = Some(journal);
        self.finish_copies(before)
    }

    /// Steps 2 to 5 of [`Self::commit_journaled`]. Returns the journal as it is afterwards.
    fn write_transaction(&mut self, journal: Journal, transaction: &Transaction) -> Result<Journal> {
        let size = u64::from(self.geo.block_size);
        let tid = journal.sb.s_sequence.get().wrapping_add(1);
        let (sb_block, _) = self.superblock_place();
        let staged_sb = Arc::new(self.superblock_block(&transaction.sb, true)?);
        let home = transaction.blocks.iter().filter(|(_, change)| change.protected);
        let mut protected: Vec<_> = home.map(|(block, change)| (*block, Arc::clone(&change.bytes))).collect();
        protected.push((sb_block, staged_sb));
        let log = journal.transaction(tid, &protected, self.block_size(), self.options.now)?;

        for (block, change) in transaction.blocks.iter().filter(|(_, change)| !change.protected) {
            self.device.write_fresh(block * size, &change.bytes)?;
        }
        for (block, bytes) in &log {
            self.device.write_at(block * size, bytes)?;
        }
        self.device.barrier()?;

        self.write_journal_superblock(&journal, journal.first(), tid)?;
        self.device.barrier()?;

        for (block, bytes) in protected.iter().filter(|(block, _)| *block != sb_block) {
            self.device.write_at(block * size, bytes)?;
        }
        self.device.barrier()?;
        self.write_superblock(&transaction.sb, true)?;
        self.device.barrier()?;

        self.write_journal_superblock(&journal, 0, tid.wrapping_add(1))?;
        self.device.barrier()?;
        Ok(journal.recovered(tid.wrapping_add(1)))
    }

    /// Without a journal there is no commit point of the filesystem's own: what calls this must protect the writes
    /// between the first barrier and the last (a redo file, a container that switches at once). The flag that says
    /// "clean" is down meanwhile, so that software that knows nothing of that checks the filesystem first.
    fn commit_plain(
        &mut self,
        old_sb: &Superblock,
        before: Option<&Geometry>,
        transactions: &[Transaction],
    ) -> Result<()> {
        let size = u64::from(self.geo.block_size);
        self.commit_failed = true;
        self.take_mmp()?;
        if let Some(before) = before {
            self.write_new_copies(before)?;
        }
        let blocks = || transactions.iter().flat_map(|transaction| &transaction.blocks);
        for (block, change) in blocks().filter(|(_, change)| !change.protected) {
            self.device.write_fresh(block * size, &change.bytes)?;
        }
        self.device.barrier()?;
        let mut unclean = old_sb.clone();
        unclean.s_state.set(old_sb.s_state.get() & !STATE_VALID);
        self.write_superblock(&unclean, false)?;
        self.device.barrier()?;
        for (block, change) in blocks().filter(|(_, change)| change.protected) {
            self.device.write_at(block * size, &change.bytes)?;
        }
        self.device.barrier()?;
        let new_sb = self.state.sb.clone();
        self.write_superblock(&new_sb, false)?;
        self.device.barrier()?;
        self.finish_copies(before)
    }

    /// Brings the copies of superblock and descriptors up to date, where the shape changed.
    fn finish_copies(&mut self, before: Option<&Geometry>) -> Result<()> {
        if let Some(before) = before {
            self.write_old_copies(before)?;
            self.device.barrier()?;
        }
        Ok(())
    }

    /// The superblock as it is on the device, or would be after recovery.
    pub(crate) fn committed_superblock(&self) -> Result<Superblock> {
        let (block, offset) = self.superblock_place();
        let bytes = self.read_block(block)?;
        let sb = zerocopy::FromBytes::read_from_bytes(&bytes[offset..offset + SUPERBLOCK_LEN]);
        Ok(sb.expect("the slice has the superblock's size"))
    }

    /// The block that holds the primary superblock, with `sb` in it: recovery flag as asked, checksum right.
    fn superblock_block(&self, sb: &Superblock, recover: bool) -> Result<Vec<u8>> {
        let mut sb = sb.clone();
        let flags = sb.s_feature_incompat.get();
        sb.s_feature_incompat.set(if recover { flags | incompat::RECOVER } else { flags & !incompat::RECOVER });
        if self.geo.features.ro_compat(ro_compat::METADATA_CSUM) {
            let sum = superblock_checksum(&sb);
            sb.s_checksum.set(sum);
        }
        let (block, offset) = self.superblock_place();
        let mut bytes = self.read_block(block)?.to_vec();
        bytes[offset..offset + SUPERBLOCK_LEN].copy_from_slice(sb.as_bytes());
        Ok(bytes)
    }

    /// Writes it with the whole block around it: one aligned write.
    fn write_superblock(&mut self, sb: &Superblock, recover: bool) -> Result<()> {
        let bytes = self.superblock_block(sb, recover)?;
        let (block, _) = self.superblock_place();
        self.device.write_at(block * u64::from(self.geo.block_size), &bytes)?;
        Ok(())
    }

    /// What was new is the committed state now.
    fn settle(&mut self) {
        self.commit_failed = false;
        self.state.end_before = self.geo.blocks_count;
        self.state.staged = Staged::default();
        self.state.scrubbed = Scrubbed::default();
        self.savepoints.clear();
        self.full_groups.clear();
        self.own_tails.clear();
        self.clear_cache();
        let numbers: Vec<GroupNr> = self.state.groups.keys().copied().collect();
        for number in numbers {
            self.state.groups.get_mut(&number).expect("just listed").settle();
        }
        let flags = self.state.sb.s_feature_incompat.get() & !incompat::RECOVER;
        self.state.sb.s_feature_incompat.set(flags);
        self.geo.features.incompat = flags;
        if self.geo.metadata_csum() {
            let sum = superblock_checksum(&self.state.sb);
            self.state.sb.s_checksum.set(sum);
        }
    }
}
