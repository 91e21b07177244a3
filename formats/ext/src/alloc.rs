//! Handing out blocks and inodes.
//!
//! What the committed state uses is never handed out, even when the change in progress has freed it: new contents
//! may then be written at once, in any order, because the committed state cannot see them. Nor is what a savepoint
//! uses, so that a rollback finds its contents.

use crate::error::{Error, Result, corrupt};
use crate::features::{incompat, ro_compat};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, GroupNr};
use crate::group::{INODE_ZEROED, bit};
use nomount_block::{ReadAt, WriteAt};

/// Groups searched for a run of the wanted length before a shorter one is taken.
const PATIENT_GROUPS: u32 = 16;

/// The first index from `from` on, below `to`, whose bit is as asked; `to` if there is none.
fn next(bits: &[u8], from: u32, to: u32, used: bool) -> u32 {
    let mut index = from;
    while index < to {
        let at = index as usize / 64 * 8;
        let word = u64::from_le_bytes(bits[at..at + 8].try_into().expect("eight bytes"));
        let wanted = if used { word } else { !word } >> (index % 64);
        if wanted != 0 {
            return (index + wanted.trailing_zeros()).min(to);
        }
        index = (index / 64 + 1) * 64;
    }
    to
}

/// Longest free run among indexes `from..to`, or the first that has `want`. Returns index and length.
fn find_run(held: &[u8], from: u32, to: u32, want: u32) -> Option<(u32, u32)> {
    let mut best: Option<(u32, u32)> = None;
    let mut index = next(held, from, to, false);
    while index < to {
        let end = next(held, index, to.min(index.saturating_add(want)), true);
        if best.is_none_or(|(_, longest)| end - index > longest) {
            best = Some((index, end - index));
        }
        if end - index >= want {
            break;
        }
        index = next(held, end, to, false);
    }
    best
}

/// The first clear bit among indexes `from..to`.
fn first_clear(bits: &[u8], from: u32, to: u32) -> Option<u32> {
    let mut index = from;
    while index < to {
        if index.is_multiple_of(8) && bits[index as usize / 8] == 0xFF {
            index += 8;
        } else if bit(bits, index) {
            index += 1;
        } else {
            return Some(index);
        }
    }
    None
}

impl<D: ReadAt> Filesystem<D> {
    /// Free blocks, as the superblock counts them.
    pub fn free_blocks_count(&self) -> u64 {
        let sb = &self.state.sb;
        let hi =
            if self.geo.features.incompat(incompat::BIT64) { u64::from(sb.s_free_blocks_count_hi.get()) } else { 0 };
        hi << 32 | u64::from(sb.s_free_blocks_count_lo.get())
    }

    /// Free inodes, as the superblock counts them.
    pub fn free_inodes_count(&self) -> u32 {
        self.state.sb.s_free_inodes_count.get()
    }
}

impl<D: WriteAt> Filesystem<D> {
    pub(crate) fn count_free_blocks(&mut self, change: i64) {
        let count = self.free_blocks_count().saturating_add_signed(change);
        self.state.sb.s_free_blocks_count_lo.set(count as u32);
        if self.geo.features.incompat(incompat::BIT64) {
            self.state.sb.s_free_blocks_count_hi.set((count >> 32) as u32);
        }
    }

    /// One block near `goal`, for metadata: with bigalloc a whole cluster goes with it.
    pub(crate) fn alloc_block(&mut self, goal: BlockNr) -> Result<BlockNr> {
        Ok(self.alloc_run(goal, 1)?.0)
    }

    /// Up to `want` blocks side by side, near `goal`: first block and length. Shorter when no such run is near.
    /// With bigalloc they are whole clusters, `want` rounded up.
    pub(crate) fn alloc_run(&mut self, goal: BlockNr, want: u32) -> Result<(BlockNr, u32)> {
        self.alloc_run_below(goal, want, self.geo.blocks_count)
    }

    /// As [`Filesystem::alloc_run`], from the groups that end at block `end` or begin before it.
    pub(crate) fn alloc_run_below(&mut self, goal: BlockNr, want: u32, end: BlockNr) -> Result<(BlockNr, u32)> {
        debug_assert!(want > 0 && end > self.geo.first_data_block);
        let end = end.min(self.geo.blocks_count);
        let ratio = self.geo.cluster_ratio();
        let clusters = want.div_ceil(ratio);
        let goal = if self.geo.contains(goal, 1) && goal < end { goal } else { self.geo.first_data_block + 1 };
        let (first, goal_index) = self.geo.bit_of_block(goal);
        let groups = self.geo.group_of_block(end - 1).0 + 1;
        let found = match self.find_in_group(first, goal_index, end, clusters)? {
            Some(run) if run.1 == clusters => Some((first, run)),
            _ => self.find_near(first, groups, end, clusters)?,
        };
        let Some((number, (index, len))) = found else {
            let blocks = u64::from(clusters) * u64::from(ratio);
            return Err(Error::NoSpace { wanted: blocks, free: self.free_blocks_count() });
        };
        self.block_bits(number)?.take_run(index, len);
        let group = &mut self.group_mut(number)?.group;
        group.free_blocks = group.free_blocks.checked_sub(len).ok_or_else(|| {
            corrupt(format!("group {number}"), "more blocks are free in the bitmap than the descriptor counts")
        })?;
        let blocks = len * ratio;
        self.count_free_blocks(-i64::from(blocks));
        Ok((self.geo.group_start(number) + u64::from(index) * u64::from(ratio), blocks))
    }

    /// The longest run in the first groups from `first` on that have any, or the first of `want` clusters.
    fn find_near(
        &mut self,
        first: GroupNr,
        groups: u32,
        end: BlockNr,
        want: u32,
    ) -> Result<Option<(GroupNr, (u32, u32))>> {
        let mut best: Option<(GroupNr, (u32, u32))> = None;
        let (mut number, mut wrapped, mut patience) = (first, false, PATIENT_GROUPS);
        loop {
            number = self.not_full(number);
            if number >= groups && !wrapped {
                (number, wrapped) = (0, true);
                continue;
            }
            if number >= groups || (wrapped && number >= first) {
                return Ok(best);
            }
            let longest = best.map_or(0, |(_, (_, len))| len);
            let hopeless = self.state.groups.get(&number).is_some_and(|state| (1..=longest).contains(&state.longest));
            if hopeless {
                patience = patience.saturating_sub(1);
            } else if let Some(run) = self.find_in_group(number, 0, end, want)? {
                if run.1 > longest {
                    best = Some((number, run));
                }
                patience = patience.saturating_sub(1);
                if run.1 >= want {
                    return Ok(best);
                }
            }
            // Groups may have free clusters that are all held: then it is looked on until there is one.
            if patience == 0 && best.is_some() {
                return Ok(best);
            }
            number += 1;
        }
    }

    /// The group itself, or the next one that may have a free cluster; all groups before it have none.
    fn not_full(&mut self, number: GroupNr) -> GroupNr {
        let mut found = number;
        while let Some(next) = self.full_groups.get(&found) {
            found = *next;
        }
        if found != number {
            self.full_groups.insert(number, found);
        }
        found
    }

    /// The longest run of free clusters in a group, or the first of `want`, from bit `from` on.
    fn find_in_group(&mut self, number: GroupNr, from: u32, end: BlockNr, want: u32) -> Result<Option<(u32, u32)>> {
        let full = match self.state.groups.get(&number) {
            Some(state) => state.group.free_blocks == 0 || state.longest == 0,
            None => self.group(number)?.free_blocks == 0,
        };
        if full {
            self.full_groups.insert(number, number + 1);
            return Ok(None);
        }
        let ratio = self.geo.cluster_ratio();
        let below = (end - self.geo.group_start(number)) / u64::from(ratio);
        // A cluster that is cut off by the end of the filesystem is left alone.
        let clusters = self.geo.group_blocks(number) / ratio;
        let to = below.min(clusters.into()) as u32;
        let bits = self.block_bits(number)?;
        let found = find_run(&bits.held, from.min(to), to, want);
        if from == 0 && to == clusters && found.is_none_or(|(_, len)| len < want) {
            self.group_mut(number)?.longest = found.map_or(0, |(_, len)| len);
        }
        Ok(found)
    }

    /// Gives blocks back: all clusters that hold any of them. The committed state still reads them, so they are not
    /// handed out again in this change.
    pub(crate) fn free_blocks(&mut self, block: BlockNr, len: u64) -> Result<()> {
        let place = || format!("blocks {block} to {}", block + len - 1);
        self.check_block(block, len, place)?;
        let ratio = self.geo.cluster_ratio();
        // What a scrubbed file held is overwritten whole, and never becomes part of another one before.
        let hold = !self.savepoints.is_empty() || !self.state.scrubbed.is_empty();
        let mut done = 0;
        let mut freed = 0;
        while done < len {
            let (number, first) = self.geo.group_of_block(block + done);
            let part = (len - done).min(u64::from(self.geo.blocks_per_group - first)) as u32;
            let (index, end) = (first / ratio, (first + part).div_ceil(ratio));
            self.block_bits(number)?;
            let state = self.group_mut(number)?;
            if state.metadata.iter().any(|(at, length)| *at < end && index < at + length) {
                return Err(corrupt(place(), format!("a file claims metadata of group {number}")));
            }
            let bits = state.blocks.as_mut().expect("loaded above");
            if next(&bits.current, index, end, false) < end {
                return Err(corrupt(place(), "a file's block is marked free"));
            }
            bits.give_run(index, end - index, hold);
            state.group.free_blocks += end - index;
            if !hold {
                state.longest = u32::MAX;
            }
            freed += u64::from(end - index) * u64::from(ratio);
            done += u64::from(part);
        }
        if !hold {
            self.full_groups.clear();
        }
        self.count_free_blocks(freed as i64);
        Ok(())
    }

    /// Whether contents of a block in use may be overwritten: neither the committed state nor a savepoint has its
    /// cluster.
    pub(crate) fn is_own(&self, block: BlockNr) -> bool {
        let (number, index) = self.geo.bit_of_block(block);
        let bits = self.state.groups.get(&number).and_then(|state| state.blocks.as_ref());
        bits.is_some_and(|bits| !bit(&bits.committed, index))
            && (self.savepoints.is_empty() || self.own_tails.contains(&self.geo.cluster_start(block)))
    }

    /// A free inode: for a file near its directory, for a directory where there is room for what it will hold. Its
    /// table block is prepared.
    pub(crate) fn alloc_inode(&mut self, parent: u32, directory: bool) -> Result<u32> {
        let groups = self.geo.groups;
        let (near, _) = self.geo.group_of_inode(parent);
        let first = if directory { self.group_for_dir(parent)? } else { near };
        if let Some(ino) = self.take_inode(first, directory)? {
            return Ok(ino);
        }
        // Files of one directory go on in the same other group, those of another directory in another one: steps of
        // 1, 2, 4 and so on from a place that the directory tells. Then any.
        let scatter = u64::from(first) + u64::from(parent);
        let steps =
            std::iter::successors(Some(1u64), |step| step.checked_mul(2)).take_while(|step| *step < groups.into());
        let quick: Vec<GroupNr> = steps.map(|step| ((scatter + step) % u64::from(groups)) as GroupNr).collect();
        for number in quick.into_iter().chain((first..groups).chain(0..first)) {
            if let Some(ino) = self.take_inode(number, directory)? {
                return Ok(ino);
            }
        }
        Err(Error::NoInodes)
    }

    /// Takes the first free inode of a group, if it has any.
    fn take_inode(&mut self, number: GroupNr, directory: bool) -> Result<Option<u32>> {
        if self.group_use(number)?.free_inodes == 0 {
            return Ok(None);
        }
        let per_group = self.geo.inodes_per_group;
        self.inode_bits(number)?;
        let state = self.group_mut(number)?;
        let bits = state.inodes.as_mut().expect("just loaded");
        let Some(index) = first_clear(&bits.current, state.first_free_inode, per_group) else {
            return Err(corrupt(format!("group {number}"), "descriptor counts free inodes, the bitmap has none"));
        };
        bits.take(index);
        state.first_free_inode = index + 1;
        state.group.free_inodes -= 1;
        state.group.used_dirs += u32::from(directory);
        self.raise_unused_mark(number, index)?;
        let free = self.free_inodes_count().saturating_sub(1);
        self.state.sb.s_free_inodes_count.set(free);
        let ino = number * per_group + index + 1;
        self.count_new_number(ino);
        Ok(Some(ino))
    }

    /// Moves a group's mark of never used inodes past `index`, clearing the slots it uncovers: the table above the
    /// mark may hold anything.
    fn raise_unused_mark(&mut self, number: GroupNr, index: u32) -> Result<()> {
        if !self.geo.group_csum() {
            return Ok(());
        }
        let per_group = self.geo.inodes_per_group;
        let per_block = self.geo.inodes_per_block();
        let size = usize::from(self.geo.inode_size);
        let state = self.group_mut(number)?;
        let in_use = if state.group.inode_uninit() { 0 } else { per_group - state.group.itable_unused };
        if index < in_use {
            return Ok(());
        }
        let zeroed = state.group.flags & INODE_ZEROED != 0;
        let table = state.group.inode_table;
        state.group.itable_unused = per_group - (index + 1);
        state.group.flags &= !crate::group::INODE_UNINIT;
        for slot in in_use..=index {
            let block = table + u64::from(slot / per_block);
            let whole_block_unused = slot % per_block == 0;
            if whole_block_unused && !zeroed {
                self.block_zeroed(block);
            } else if !zeroed {
                let offset = (slot % per_block) as usize * size;
                self.block_mut(block)?[offset..offset + size].fill(0);
            }
        }
        Ok(())
    }

    /// Gives an inode number back.
    pub(crate) fn free_inode_number(&mut self, ino: u32, directory: bool) -> Result<()> {
        self.count_freed_number(ino)?;
        let (number, index) = self.geo.group_of_inode(ino);
        let bits = self.inode_bits(number)?;
        if !bit(&bits.current, index) {
            return Err(corrupt(format!("inode {ino}"), "it is in use, and marked free"));
        }
        bits.give(index, false);
        let state = self.group_mut(number)?;
        state.first_free_inode = state.first_free_inode.min(index);
        let group = &mut state.group;
        group.free_inodes += 1;
        group.used_dirs = group.used_dirs.saturating_sub(u32::from(directory));
        let free = self.free_inodes_count().saturating_add(1);
        self.state.sb.s_free_inodes_count.set(free);
        Ok(())
    }

    /// Turns on `large_file` before the first file beyond 2 GiB.
    pub(crate) fn need_large_file(&mut self, size: u64) -> Result<()> {
        if size <= i32::MAX as u64 || self.geo.features.ro_compat(ro_compat::LARGE_FILE) {
            return Ok(());
        }
        if self.state.sb.s_rev_level.get() == 0 {
            return Err(Error::FileTooLarge { size, max: i32::MAX as u64 });
        }
        self.geo.features.ro_compat |= ro_compat::LARGE_FILE;
        self.state.sb.s_feature_ro_compat.set(self.geo.features.ro_compat);
        Ok(())
    }
}
