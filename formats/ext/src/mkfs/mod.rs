//! Making a filesystem.
//!
//! The layout is that of mke2fs 1.47 to the block: where the bitmaps and tables of each group lie, the journal, the
//! reserve of descriptors, `lost+found`, the orphan file, the counts of everything. What differs is listed, with the
//! reasons, in `tests/mkfs.rs`. Same options give the same bytes.
//!
//! Costs follow the number of groups, not of bytes: tables and journal are not written where the device says that it
//! reads as zero there, so a sparse file of 100 GiB takes milliseconds.

mod build;
mod features;
mod groups;
mod inode;
mod journal;
mod options;
mod quota;
mod shape;
mod space;
mod special;
mod superblock;
mod tables;
mod write;

pub use features::Profile;
pub use options::{InodeCount, MkfsOptions};

use crate::error::Result;
use build::Build;
use nomount_block::WriteAt;

/// What was made, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks in the filesystem.
    pub blocks: u64,
    /// Of these, free.
    pub free_blocks: u64,
    /// Of these, kept for root.
    pub reserved_blocks: u64,
    /// Inodes in the filesystem.
    pub inodes: u32,
    /// Bytes of an inode.
    pub inode_size: u16,
    /// Block groups.
    pub groups: u32,
    /// Blocks of the journal; 0 without one.
    pub journal_blocks: u32,
    /// Names of the features, as dumpe2fs spells them.
    pub features: Vec<String>,
    /// What was not as asked for: a filesystem too small for a journal.
    pub notes: Vec<String>,
}

impl Made {
    fn of(build: &Build<'_>) -> Self {
        let geo = &build.geo;
        let end = geo.blocks_count;
        Self {
            block_size: geo.block_size,
            blocks: end,
            free_blocks: end - geo.first_data_block - build.placement.space.count_taken(geo.first_data_block, end),
            reserved_blocks: build.shape.reserved_blocks,
            inodes: geo.inodes_count,
            inode_size: geo.inode_size,
            groups: geo.groups,
            journal_blocks: build.journal_blocks,
            features: geo.features.names(),
            notes: build.notes.clone(),
        }
    }
}

/// What [`mkfs`] would make on a device of `device_len` bytes. Fails as it would.
pub fn plan(device_len: u64, options: &MkfsOptions) -> Result<Made> {
    Ok(Made::of(&Build::new(device_len, options)?))
}

/// Makes an ext2, ext3 or ext4 filesystem on a device. What was there is lost; nothing is written when the options
/// are refused.
///
/// Written in this order: zeroes over old signatures (68 KiB at the start, where the superblocks of all known
/// filesystems and partition tables are, and 64 KiB at the end, where backups of GPT and MD RAID are), all else, and
/// last the superblock. An interrupted run leaves no filesystem.
pub fn mkfs<D: WriteAt>(device: &mut D, options: &MkfsOptions) -> Result<Made> {
    let mut build = Build::new(device.len(), options)?;
    let made = Made::of(&build);
    build.write(device)?;
    Ok(made)
}
