//! What to make: every choice, with the defaults of mke2fs.

use super::features::Profile;
use crate::features::Kind;
use crate::time::Time;

/// How many inodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InodeCount {
    /// By the size of the filesystem, as mke2fs.conf says.
    #[default]
    Default,
    /// One for so many bytes.
    Ratio(u32),
    /// So many, or a few more to fill blocks.
    Exactly(u32),
}

/// What [`crate::mkfs`] makes. [`MkfsOptions::default`] is `mke2fs -t ext4` of e2fsprogs 1.47; `None` is mke2fs's
/// default for the size.
#[derive(Debug, Clone)]
pub struct MkfsOptions {
    /// Which of the family.
    pub kind: Kind,
    /// Whose default features.
    pub profile: Profile,
    /// Features to add, or with `^` before the name to remove, as with `mke2fs -O`. `none` alone removes all defaults.
    pub features: Vec<String>,
    /// Bytes of the filesystem; the whole device by default.
    pub size: Option<u64>,
    /// Bytes of a block: a power of two from 1024 to 65536.
    pub block_size: Option<u32>,
    /// Bytes of a cluster, with `bigalloc`; 16 blocks by default.
    pub cluster_size: Option<u32>,
    /// Blocks of a group (clusters with `bigalloc`); as many as a bitmap counts by default.
    pub blocks_per_group: Option<u32>,
    /// Groups whose tables lie together, with `flex_bg`: a power of two, 16 by default.
    pub groups_per_flex: Option<u32>,
    /// Bytes of an inode: a power of two from 128 to 4096, 256 by default.
    pub inode_size: Option<u16>,
    /// How many inodes.
    pub inodes: InodeCount,
    /// Share of the blocks that is kept for root, in percent, at most 50.
    pub reserved_percent: f64,
    /// Bytes of the journal.
    pub journal_size: Option<u64>,
    /// Bytes to which the filesystem can grow while mounted: sizes the reserve of descriptors.
    pub resize_limit: Option<u64>,
    /// Copies of the superblock with `sparse_super2`: 0, 1 or 2.
    pub backups: u8,
    /// Seconds between two updates of the MMP block, 5 by default.
    pub mmp_interval: u16,
    /// Volume name, at most 16 bytes.
    pub label: Vec<u8>,
    /// Identity of the filesystem.
    pub uuid: [u8; 16],
    /// Secret of the directory hash.
    pub hash_seed: [u8; 16],
    /// Owner and group of the root directory.
    pub root_owner: (u32, u32),
    /// Permission bits of the root directory.
    pub root_mode: u16,
    /// Leave unused parts of inode tables as the device has them, where group descriptors can say so: the kernel
    /// zeroes them after the first mount. By default they are zero.
    pub lazy_tables: bool,
    /// Discard all blocks of the device first. Without, only what must be zero is.
    pub discard: bool,
    /// The clock, for every time that is stored. mke2fs stores whole seconds, and so is done here.
    pub now: Time,
}

impl Default for MkfsOptions {
    fn default() -> Self {
        Self {
            kind: Kind::Ext4,
            profile: Profile::default(),
            features: Vec::new(),
            size: None,
            block_size: None,
            cluster_size: None,
            blocks_per_group: None,
            groups_per_flex: None,
            inode_size: None,
            inodes: InodeCount::default(),
            reserved_percent: 5.0,
            journal_size: None,
            resize_limit: None,
            backups: 2,
            mmp_interval: 5,
            label: Vec::new(),
            uuid: [0; 16],
            hash_seed: [0; 16],
            root_owner: (0, 0),
            root_mode: 0o755,
            lazy_tables: false,
            discard: false,
            now: Time::default(),
        }
    }
}
