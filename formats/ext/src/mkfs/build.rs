//! The whole new filesystem in memory: every number, place and special file, in the order in which mke2fs makes them.

use super::inode::{Blocks, whole_seconds};
use super::options::MkfsOptions;
use super::shape::{FIRST_INO, Shape};
use super::tables::Placement;
use super::{journal, superblock};
use crate::dir::new_leaf;
use crate::error::Result;
use crate::features::{compat, incompat, ro_compat};
use crate::geometry::{BlockNr, Geometry};
use crate::inode::{FileType, Inode, ROOT_INO};
use crate::raw::Superblock;
use crate::time::Time;
use std::collections::BTreeMap;

const BAD_INO: u32 = 1;
/// `lost+found` is made this long, but of at most twelve blocks and at least two.
const LOST_FOUND_BYTES: u64 = 16 << 10;

/// A filesystem that is being laid out.
#[derive(Debug)]
pub(super) struct Build<'a> {
    pub options: &'a MkfsOptions,
    pub shape: Shape,
    pub geo: Geometry,
    pub sb: Superblock,
    pub placement: Placement,
    /// Blocks in a cluster.
    pub ratio: u64,
    pub now: Time,
    /// Inodes with contents; the reserved ones between them are zero.
    pub inodes: BTreeMap<u32, Inode>,
    /// The highest inode in use; all below are, too.
    pub last_ino: u32,
    /// Special files' blocks that are not zero.
    pub contents: BTreeMap<BlockNr, Vec<u8>>,
    /// Stretches that must be zero: what is left of the journal.
    pub zeroes: Vec<(BlockNr, u64)>,
    /// Blocks of the journal; 0 without one.
    pub journal_blocks: u32,
    pub notes: Vec<String>,
}

impl<'a> Build<'a> {
    /// Lays a filesystem out. Nothing is written.
    pub fn new(device_len: u64, options: &'a MkfsOptions) -> Result<Self> {
        let mut shape = Shape::new(device_len, options)?;
        let mut notes = Vec::new();
        let journal = journal::size(&shape, options, &mut notes)?;
        if journal.is_none() {
            shape.features.compat &= !(compat::HAS_JOURNAL | compat::ORPHAN_FILE | compat::FAST_COMMIT);
        }
        let sb = superblock::first(&shape, options);
        let geo = Geometry::check(&superblock::sealed(&sb), u64::MAX)?;
        let mut placement = Placement::new(&shape, &geo)?;
        placement.space.cluster(shape.cluster_ratio.into());
        let overhead = placement.space.count_taken(geo.first_data_block, geo.blocks_count);
        let mut build = Self {
            options,
            ratio: shape.cluster_ratio.into(),
            shape,
            geo,
            sb,
            placement,
            now: whole_seconds(options.now),
            inodes: BTreeMap::new(),
            last_ino: FIRST_INO,
            contents: BTreeMap::new(),
            zeroes: Vec::new(),
            journal_blocks: 0,
            notes,
        };
        build.make_directories()?;
        build.make_bad_blocks_inode();
        if build.geo.features.compat(compat::RESIZE_INODE) {
            build.make_resize_inode()?;
        }
        if let Some(journal) = journal {
            build.make_journal(journal)?;
        }
        if build.geo.features.incompat(incompat::MMP) {
            build.make_mmp()?;
        }
        let clusters = overhead / build.ratio + u64::from(build.journal_blocks).div_ceil(build.ratio);
        build.sb.s_overhead_blocks.set((clusters + build.geo.first_data_block) as u32);
        if build.geo.features.ro_compat(ro_compat::QUOTA) {
            build.make_quota_files()?;
        }
        if build.geo.features.compat(compat::ORPHAN_FILE) {
            build.make_orphan_file()?;
        }
        Ok(build)
    }

    /// Where the first block of an inode's contents is looked for.
    pub fn goal_of(&self, ino: u32) -> BlockNr {
        let (group, _) = self.geo.group_of_inode(ino);
        self.geo.group_start(group >> self.shape.flex_log << self.shape.flex_log)
    }

    /// As kernels do, a group from which an inode is taken gets a block bitmap, too.
    pub fn touch_inode(&mut self, ino: u32) {
        let (group, _) = self.geo.group_of_inode(ino);
        self.placement.touched[group as usize] = true;
    }

    fn make_directories(&mut self) -> Result<()> {
        let block = u64::from(self.geo.block_size);
        let root_blocks = self.place_blocks(self.goal_of(ROOT_INO), 1)?;
        let mut root = self.new_inode(ROOT_INO, FileType::Directory.mode_bits() | self.options.root_mode, 3);
        let (uid, gid) = self.options.root_owner;
        root.set_owner(uid, gid);
        let own: [(u32, &[u8]); 3] = [(ROOT_INO, b"."), (ROOT_INO, b".."), (FIRST_INO, b"lost+found")];
        self.store_dir(root, &root_blocks, &own)?;

        // mke2fs starts from an inline directory where there may be some, and comes to one block less.
        let inline = u64::from(self.geo.features.incompat(incompat::INLINE_DATA));
        let count = LOST_FOUND_BYTES.div_ceil(block).clamp(2, 12) - inline;
        self.touch_inode(FIRST_INO);
        let lost_blocks = self.place_blocks(self.goal_of(FIRST_INO), count)?;
        let lost = self.new_inode(FIRST_INO, FileType::Directory.mode_bits() | 0o700, 2);
        self.store_dir(lost, &lost_blocks, &[(FIRST_INO, b"."), (ROOT_INO, b"..")])
    }

    /// Stores a directory whose entries are in its first block; all of them are directories.
    fn store_dir(&mut self, mut inode: Inode, blocks: &Blocks, entries: &[(u32, &[u8])]) -> Result<()> {
        self.set_times(&mut inode);
        let len = blocks.all().count() as u64 * u64::from(self.geo.block_size);
        self.map(&mut inode, blocks, len)?;
        for (index, block) in blocks.all().enumerate() {
            let here = if index == 0 { entries } else { &[] };
            let typed = self.geo.features.incompat(incompat::FILETYPE);
            let entry_type = if typed { FileType::Directory.entry_type() } else { 0 };
            self.contents.insert(block, new_leaf(&inode, &self.geo, here, entry_type));
        }
        self.inodes.insert(inode.ino(), inode);
        Ok(())
    }

    fn make_bad_blocks_inode(&mut self) {
        let mut inode = Inode::new_zeroed(BAD_INO, self.geo.inode_size);
        self.set_times(&mut inode);
        self.inodes.insert(BAD_INO, inode);
    }
}
