//! The journal of a new filesystem: inode 8, empty.

use super::build::Build;
use super::inode::{Blocks, free_in};
use super::options::MkfsOptions;
use super::shape::Shape;
use crate::error::{Error, Result};
use crate::features::{compat, incompat};
use crate::geometry::BlockNr;
use crate::inode::FileType;
use crate::raw::JournalSuperblock;
use zerocopy::{FromZeros, IntoBytes};

const JOURNAL_INO: u32 = 8;
const MAGIC: u32 = 0xC03B_3998;
const SUPERBLOCK_V2: u32 = 4;
/// The fewest blocks that jbd2 works with, and the most that mke2fs makes.
const MIN_BLOCKS: u64 = 1024;
const MAX_BLOCKS: u64 = 10_240_000;
/// Blocks of the log for one of the fast-commit area.
const FAST_COMMIT_SHARE: u32 = 64;
/// `s_jnl_backup_type`: `s_jnl_blocks` is a copy of the inode's map and size.
const BACKUP_BLOCKS: u8 = 1;

/// Blocks of a journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    log: u32,
    fast_commit: u32,
}

/// The size for a filesystem of so many blocks (ext4.rst names none; these are mke2fs's steps). None where it would
/// take up too much.
fn default_size(blocks: u64) -> Option<u32> {
    const STEPS: [(u64, u32); 8] = [
        (32 << 10, 1 << 10),
        (256 << 10, 4 << 10),
        (512 << 10, 8 << 10),
        (4 << 20, 16 << 10),
        (8 << 20, 32 << 10),
        (16 << 20, 64 << 10),
        (32 << 20, 128 << 10),
        (u64::MAX, 256 << 10),
    ];
    if blocks < 2048 {
        return None;
    }
    STEPS.iter().find(|(below, _)| blocks < *below).map(|(_, size)| *size)
}

/// How large the journal is; none without one, or with a note where there is no room for it.
pub(super) fn size(shape: &Shape, options: &MkfsOptions, notes: &mut Vec<String>) -> Result<Option<Size>> {
    if !shape.features.compat(compat::HAS_JOURNAL) {
        return match options.journal_size {
            Some(_) => Err(Error::Invalid("a journal size needs feature has_journal".into())),
            None => Ok(None),
        };
    }
    let fast = |log: u32| if shape.features.compat(compat::FAST_COMMIT) { log / FAST_COMMIT_SHARE } else { 0 };
    let Some(asked) = options.journal_size else {
        let size = default_size(shape.blocks_count);
        if size.is_none() {
            notes.push(format!("no journal: {} blocks are too few for one", shape.blocks_count));
        }
        return Ok(size.map(|log| Size { log, fast_commit: fast(log) }));
    };
    let blocks = asked / u64::from(shape.block_size);
    let most = MAX_BLOCKS.min(shape.blocks_count / 2);
    if !(MIN_BLOCKS..=most).contains(&blocks) {
        let text = format!("a journal of {blocks} blocks, expected {MIN_BLOCKS} to {most}");
        return Err(Error::Invalid(text));
    }
    let fast_commit = default_size(shape.blocks_count).map_or(0, fast);
    Ok(Some(Size { log: blocks as u32, fast_commit }))
}

impl Build<'_> {
    pub fn make_journal(&mut self, size: Size) -> Result<()> {
        let block = u64::from(self.geo.block_size);
        let count = size.log + size.fast_commit;
        let extents = self.geo.features.incompat(incompat::EXTENTS);
        let blocks = if extents {
            self.place_runs(self.midpoint(), count.into())?
        } else {
            self.place_blocks(self.goal_of(JOURNAL_INO), count.into())?
        };
        let mut inode = self.new_inode(JOURNAL_INO, FileType::Regular.mode_bits() | 0o600, 1);
        self.set_times(&mut inode);
        self.map(&mut inode, &blocks, u64::from(count) * block)?;
        let words = inode.base().i_block.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four")));
        let all = words.chain([inode.base().i_size_high.get(), inode.base().i_size_lo.get()]);
        for (copy, word) in self.sb.s_jnl_blocks.iter_mut().zip(all) {
            copy.set(word);
        }
        self.sb.s_jnl_backup_type = BACKUP_BLOCKS;
        self.sb.s_journal_inum.set(JOURNAL_INO);
        self.inodes.insert(JOURNAL_INO, inode);
        self.journal_blocks = count;
        self.store_log(&blocks, size);
        Ok(())
    }

    /// The log's superblock; the rest is zero.
    fn store_log(&mut self, blocks: &Blocks, size: Size) {
        let mut log = JournalSuperblock::new_zeroed();
        log.s_header.h_magic.set(MAGIC);
        log.s_header.h_blocktype.set(SUPERBLOCK_V2);
        log.s_blocksize.set(self.geo.block_size);
        log.s_maxlen.set(self.journal_blocks);
        log.s_first.set(1);
        log.s_sequence.set(1);
        log.s_uuid = self.options.uuid;
        log.s_nr_users.set(1);
        log.s_num_fc_blks.set(size.fast_commit);
        let mut bytes = vec![0; self.geo.block_size as usize];
        bytes[..size_of::<JournalSuperblock>()].copy_from_slice(log.as_bytes());
        let first = blocks.runs[0].0;
        self.contents.insert(first, bytes);
        self.zeroes.push((first + 1, blocks.runs[0].1 - 1));
        self.zeroes.extend(&blocks.runs[1..]);
    }

    /// The middle of the filesystem, in the one of the groups around with most free blocks.
    fn midpoint(&self) -> BlockNr {
        let geo = &self.geo;
        let free = |group| free_in(&self.placement.space, geo, group);
        let (middle, _) = geo.group_of_block((geo.blocks_count - geo.first_data_block) / 2);
        let flex = 1 << self.shape.flex_log;
        let (start, middle) = if flex > 1 && middle > flex {
            let from = middle / flex * flex;
            let some = (from..geo.groups).find(|group| free(*group) > 0).unwrap_or(0);
            (some, some)
        } else {
            (middle.saturating_sub(1), middle)
        };
        let end = (middle + 1).min(geo.groups - 1);
        // The first of those with as many.
        let best = (start..=end).rev().max_by_key(|group| free(*group)).unwrap_or(start);
        geo.group_start(best)
    }
}
