//! Handing out blocks and inodes.
//!
//! What the committed state uses is never handed out, even when the change in progress has freed it: new contents
//! may then be written at once, in any order, because the committed state cannot see them. Nor is what a savepoint
//! uses, so that a rollback finds its contents.

use crate::error::{Error, Result, corrupt};
use crate::features::{incompat, ro_compat};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, GroupNr};
use crate::group::{Bits, INODE_ZEROED, bit};
use nomount_block::{ReadAt, WriteAt};

/// Groups searched for a run of the wanted length before a shorter one is taken.
const PATIENT_GROUPS: u32 = 16;

/// Longest free run among indexes `from..to`, or the first that has `want`. Returns index and length.
fn find_run(bits: &Bits, from: u32, to: u32, want: u32) -> Option<(u32, u32)> {
    let mut best: Option<(u32, u32)> = None;
    let mut index = from;
    while index < to {
        // Whole bytes in use are skipped at once: most of a full group.
        if index.is_multiple_of(8) && index + 8 <= to && bits.held[index as usize / 8] == 0xFF {
            index += 8;
            continue;
        }
        if !bits.is_free(index) {
            index += 1;
            continue;
        }
        let start = index;
        while index < to && index - start < want && bits.is_free(index) {
            index += 1;
        }
        let len = index - start;
        if best.is_none_or(|(_, longest)| len > longest) {
            best = Some((start, len));
        }
        if len >= want {
            break;
        }
    }
    best
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
    fn count_free_blocks(&mut self, change: i64) {
        let count = self.free_blocks_count().saturating_add_signed(change);
        self.state.sb.s_free_blocks_count_lo.set(count as u32);
        if self.geo.features.incompat(incompat::BIT64) {
            self.state.sb.s_free_blocks_count_hi.set((count >> 32) as u32);
        }
    }

    /// One block near `goal`.
    pub(crate) fn alloc_block(&mut self, goal: BlockNr) -> Result<BlockNr> {
        Ok(self.alloc_run(goal, 1)?.0)
    }

    /// Up to `want` blocks side by side, near `goal`: first block and length. Shorter when no such run is near.
    pub(crate) fn alloc_run(&mut self, goal: BlockNr, want: u32) -> Result<(BlockNr, u32)> {
        debug_assert!(want > 0);
        let goal = if self.geo.contains(goal, 1) { goal } else { self.geo.first_data_block + 1 };
        let (first, goal_index) = self.geo.group_of_block(goal);
        let groups = self.geo.groups;
        let mut best: Option<(GroupNr, u32, u32)> = None;
        for step in 0..groups {
            let number = (first + step) % groups;
            if self.group(number)?.free_blocks == 0 {
                continue;
            }
            let blocks = self.geo.group_blocks(number);
            let from = if step == 0 { goal_index } else { 0 };
            let bits = self.block_bits(number)?;
            let mut found = find_run(bits, from, blocks, want);
            if from > 0 && found.is_none_or(|(_, len)| len < want) {
                let before = find_run(bits, 0, from, want);
                found = before.into_iter().chain(found).max_by_key(|(_, len)| *len);
            }
            if let Some((index, len)) = found
                && best.is_none_or(|(_, _, longest)| len > longest)
            {
                best = Some((number, index, len));
            }
            if best.is_some_and(|(_, _, len)| len >= want || step >= PATIENT_GROUPS) {
                break;
            }
        }
        let Some((number, index, len)) = best else {
            return Err(Error::NoSpace { wanted: want.into(), free: self.free_blocks_count() });
        };
        let bits = self.block_bits(number)?;
        (index..index + len).for_each(|index| bits.take(index));
        let group = &mut self.group_mut(number)?.group;
        group.free_blocks = group.free_blocks.checked_sub(len).ok_or_else(|| {
            corrupt(format!("group {number}"), "more blocks are free in the bitmap than the descriptor counts")
        })?;
        self.count_free_blocks(-i64::from(len));
        Ok((self.geo.group_start(number) + u64::from(index), len))
    }

    /// Gives blocks back. The committed state still reads them, so they are not handed out again in this change.
    pub(crate) fn free_blocks(&mut self, block: BlockNr, len: u64) -> Result<()> {
        let place = || format!("blocks {block} to {}", block + len - 1);
        self.check_block(block, len, place)?;
        let hold = !self.savepoints.is_empty();
        let mut done = 0;
        while done < len {
            let (number, index) = self.geo.group_of_block(block + done);
            let part = (len - done).min(u64::from(self.geo.blocks_per_group - index)) as u32;
            for (at, length) in self.metadata_inside(number)? {
                if at < index + part && index < at + length {
                    return Err(corrupt(place(), format!("a file claims metadata of group {number}")));
                }
            }
            let bits = self.block_bits(number)?;
            if (index..index + part).any(|index| !bit(&bits.current, index)) {
                return Err(corrupt(place(), "a file's block is marked free"));
            }
            (index..index + part).for_each(|index| bits.give(index, hold));
            self.group_mut(number)?.group.free_blocks += part;
            done += u64::from(part);
        }
        self.count_free_blocks(len as i64);
        Ok(())
    }

    /// A free inode, in the group of its directory or the next one that has any. Its table block is prepared.
    pub(crate) fn alloc_inode(&mut self, parent: u32, directory: bool) -> Result<u32> {
        let (first, _) = self.geo.group_of_inode(parent);
        let groups = self.geo.groups;
        for step in 0..groups {
            let number = (first + step) % groups;
            if self.group(number)?.free_inodes == 0 {
                continue;
            }
            let per_group = self.geo.inodes_per_group;
            let bits = self.inode_bits(number)?;
            let free = (0..per_group).find(|index| !bit(&bits.current, *index));
            let Some(index) = free else {
                return Err(corrupt(format!("group {number}"), "descriptor counts free inodes, the bitmap has none"));
            };
            bits.take(index);
            self.raise_unused_mark(number, index)?;
            let group = &mut self.group_mut(number)?.group;
            group.free_inodes -= 1;
            group.used_dirs += u32::from(directory);
            let free = self.free_inodes_count().saturating_sub(1);
            self.state.sb.s_free_inodes_count.set(free);
            let ino = number * per_group + index + 1;
            self.count_new_number(ino);
            return Ok(ino);
        }
        Err(Error::NoInodes)
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
        let group = &mut self.group_mut(number)?.group;
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
