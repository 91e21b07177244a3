//! Inodes, in the order of the tables: each by itself, and what it maps.

use super::dirs::Dir;
use super::inode_table::Note;
use super::map::Map;
use super::{Checker, le16, le32};
use crate::error::Result;
use crate::features::{compat, incompat, ro_compat};
use crate::geometry::{BlockNr, GroupNr};
use crate::inode::{FileType, Inode, ROOT_INO, flags};
use nomount_block::{ExtentKind, ReadAt};

/// Bytes of a table that are read at once.
const READ: usize = 256 << 10;
/// `i_flags` that the rest of the crate has no use for.
const IMAGIC: u32 = 0x2000;
pub(super) const EA_INODE: u32 = 0x20_0000;
/// Compatible feature: inodes may be marked by the AFS server.
const IMAGIC_INODES: u32 = 0x2;
/// The epoch of a time that has the sign bit: before 1901 as no writer means it, or beyond 2310.
const EPOCH: u32 = 3;
const NANOSECONDS: u32 = 1_000_000_000;

impl<D: ReadAt> Checker<'_, D> {
    pub(super) fn check_inodes(&mut self) -> Result<()> {
        for ino in 1..self.geo.first_ino {
            self.notes.get_mut(ino).bits |= Note::USED;
        }
        let low_dtimes = self.low_dtimes_are_told();
        for number in 0..self.geo.groups {
            let view = &self.groups[number as usize];
            if view.inode_uninit() || !view.table_ok {
                continue;
            }
            let inodes = self.geo.inodes_per_group - view.itable_unused.min(self.geo.inodes_per_group);
            self.scan_table(number, inodes, low_dtimes)?;
        }
        if self.large_files > 0 && !self.geo.features.ro_compat(ro_compat::LARGE_FILE) {
            let found = format!("{} files of 2 GiB or more without large_file", self.large_files);
            self.corrupt("PR_2_FEATURE_LARGE_FILES", "superblock", found, "");
        }
        Ok(())
    }

    /// The block and byte offset at which an inode is stored. Its group's table lies inside the filesystem.
    pub(super) fn inode_place(&self, ino: u32) -> (BlockNr, usize) {
        let (group, index) = self.geo.group_of_inode(ino);
        let per_block = self.geo.inodes_per_block();
        let offset = (index % per_block) as usize * usize::from(self.geo.inode_size);
        (self.groups[group as usize].inode_table + u64::from(index / per_block), offset)
    }

    fn scan_table(&mut self, number: GroupNr, inodes: u32, low_dtimes: bool) -> Result<()> {
        let size = usize::from(self.geo.inode_size);
        let per_block = self.geo.inodes_per_block();
        let table = self.groups[number as usize].inode_table;
        let blocks = inodes.div_ceil(per_block);
        let at_once = (READ / self.fs.block_size()).max(1) as u32;
        let mut buf = Vec::new();
        let mut done = 0;
        while done < blocks {
            let count = at_once.min(blocks - done);
            let start = table + u64::from(done);
            let first = number * self.geo.inodes_per_group + done * per_block + 1;
            if !self.reads_as_zero(start, count, first)? {
                buf.resize(count as usize * self.fs.block_size(), 0);
                self.read_run(start, &mut buf)?;
                let left = (inodes - done * per_block).min(count * per_block);
                for index in 0..left {
                    let (block, slot) = ((index / per_block) as usize, (index % per_block) as usize);
                    let at = block * self.fs.block_size() + slot * size;
                    self.look_at(first + index, &buf[at..at + size], low_dtimes)?;
                }
            }
            done += count;
            self.charge()?;
        }
        Ok(())
    }

    /// Whether a part of a table is a hole of the image: inodes that were never used. Only the first has others.
    fn reads_as_zero(&self, start: BlockNr, count: u32, first: u32) -> Result<bool> {
        if first < self.geo.first_ino || !self.fs.state.staged.is_empty() || self.fs.replayed_blocks() > 0 {
            return Ok(false);
        }
        let size = u64::from(self.geo.block_size);
        let extent = self.fs.device().extent_at(start * size)?;
        Ok(extent.kind == ExtentKind::Zero && extent.len >= u64::from(count) * size)
    }

    /// Reads blocks that lie side by side, as the filesystem is now.
    pub(super) fn read_run(&self, start: BlockNr, buf: &mut [u8]) -> Result<()> {
        self.fs.read_data(start, 0, buf)?;
        if !self.fs.state.staged.is_empty() {
            for (block, bytes) in (start..).zip(buf.chunks_mut(self.fs.block_size())) {
                if let Some(staged) = self.fs.state.staged.get(block) {
                    bytes.copy_from_slice(staged);
                }
            }
        }
        Ok(())
    }

    fn look_at(&mut self, ino: u32, bytes: &[u8], low_dtimes: bool) -> Result<()> {
        let links = le16(bytes, 0x1A);
        let known = self.notes.get(ino).bits;
        let reserved = self.is_reserved(ino);
        let in_use = links != 0 || reserved || known & Note::ORPHAN != 0;
        if !in_use && bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let inode = Inode::from_bytes(ino, bytes.to_vec());
        if let Err((found, wanted)) = inode.compare_checksum(self.geo) {
            let found = format!("checksum is {found:#010x}");
            self.corrupt("PR_1_INODE_ONLY_CSUM_INVALID", inode.place(), found, format!("{wanted:#010x}"));
        }
        let dtime = le32(bytes, 0x14);
        if known & Note::ORPHAN == 0 && dtime != 0 && dtime < self.geo.inodes_count && low_dtimes {
            let found = format!("i_dtime is {dtime}, like a link of the orphan list");
            self.corrupt("PR_1_LOW_DTIME", inode.place(), found, "");
        }
        if !in_use {
            if dtime == 0 && inode.mode() != 0 {
                self.corrupt("PR_1_ZERO_DTIME", inode.place(), "it is deleted, and i_dtime is 0", "");
            }
            return Ok(());
        }
        if reserved && ino != ROOT_INO {
            return self.check_reserved(&inode);
        }
        if dtime != 0 && links != 0 && known & Note::ORPHAN == 0 {
            let id = if ino == ROOT_INO { "PR_1_ROOT_DTIME" } else { "PR_1_SET_DTIME" };
            self.corrupt(id, inode.place(), format!("it is in use, and i_dtime is {dtime}"), "0");
        }
        self.check_inode(&inode)
    }

    /// Whether an inode is in use whatever its links.
    fn is_reserved(&self, ino: u32) -> bool {
        let sb = &self.fs.state.sb;
        let features = self.geo.features;
        ino < self.geo.first_ino
            || (features.compat(compat::ORPHAN_FILE) && ino == sb.s_orphan_file_inum.get())
            || (features.compat(compat::HAS_JOURNAL) && ino == sb.s_journal_inum.get())
            || (features.ro_compat(ro_compat::QUOTA) && ino == sb.s_prj_quota_inum.get())
    }

    /// An inode in use that is not reserved, or the root directory.
    fn check_inode(&mut self, inode: &Inode) -> Result<()> {
        let ino = inode.ino();
        let mut bits = Note::USED;
        match inode.file_type() {
            Some(kind) => bits |= kind.entry_type(),
            None => {
                bits |= Note::BROKEN;
                let found = format!("i_mode is {:#o}", inode.mode());
                self.corrupt("PR_2_BAD_MODE", inode.place(), found, "a known type");
            }
        }
        if ino == ROOT_INO && !inode.is_dir() {
            self.corrupt("PR_1_ROOT_NO_DIR", inode.place(), "the root is no directory", "");
        }
        if inode.has_flag(flags::INDEX) {
            bits |= Note::INDEXED;
        }
        if inode.has_flag(EA_INODE) {
            bits |= Note::VALUE;
        }
        let note = self.notes.get_mut(ino);
        note.bits |= bits;
        note.links = inode.links();
        self.check_flags(inode);
        self.check_fields(inode);
        self.check_times(inode);
        if !self.check_special(inode)? {
            self.notes.get_mut(ino).bits |= Note::BROKEN;
        }
        self.check_contents(inode)
    }

    pub(super) fn check_flags(&mut self, inode: &Inode) {
        let features = self.geo.features;
        let kind = inode.file_type();
        let extents = inode.has_flag(flags::EXTENTS);
        if extents && !features.incompat(incompat::EXTENTS) {
            self.corrupt("PR_1_EXTENTS_SET", inode.place(), "it has extents, and the filesystem has not", "");
        }
        let mapped = matches!(kind, Some(FileType::Regular | FileType::Directory));
        if !extents && features.incompat(incompat::EXTENTS) && mapped && !inode.has_flag(flags::INLINE_DATA) {
            let map = &inode.base().i_block;
            if le16(map, 0) == super::map::MAGIC && le16(map, 4) <= 4 && le16(map, 2) <= le16(map, 4) {
                let found = "it has an extent tree, and the flag is not set";
                self.corrupt("PR_1_UNSET_EXTENT_FL", inode.place(), found, "");
            }
        }
        if inode.has_flag(flags::INLINE_DATA) {
            if !features.incompat(incompat::INLINE_DATA) && inode.ino() >= self.geo.first_ino {
                let found = "its contents are inline, and the filesystem has no such feature";
                self.corrupt("PR_1_INLINE_DATA_SET", inode.place(), found, "");
            }
            if extents {
                let found = "its contents are inline and in extents";
                self.corrupt("PR_1_CLEAR_EXTENT_INLINE_DATA_FLAGS", inode.place(), found, "");
            }
        }
        if inode.has_flag(flags::CASEFOLD) {
            if !features.incompat(incompat::CASEFOLD) {
                let found = "it is case-folded, and the filesystem has no such feature";
                self.corrupt("PR_1_CASEFOLD_FEATURE", inode.place(), found, "");
            }
            if !inode.is_dir() {
                self.corrupt("PR_1_CASEFOLD_NONDIR", inode.place(), "it is case-folded, and no directory", "");
            }
        }
        let reserved = self.is_reserved(inode.ino()) && inode.ino() != ROOT_INO;
        if inode.has_flag(IMAGIC) && !features.compat(IMAGIC_INODES) && !reserved {
            self.corrupt("PR_1_SET_IMAGIC", inode.place(), "the flag imagic is set", "");
        }
        if inode.has_flag(EA_INODE) && kind != Some(FileType::Regular) {
            self.corrupt("PR_1_EA_INODE_NONREG", inode.place(), "it holds an attribute, and is no regular file", "");
        }
        if inode.has_flag(flags::INDEX) {
            if kind != Some(FileType::Directory) {
                if mapped || reserved {
                    self.corrupt("PR_1_HTREE_NODIR", inode.place(), "it has an index, and is no directory", "");
                }
            } else if !features.compat(compat::DIR_INDEX) {
                let found = "it has an index, and the filesystem has no such feature";
                self.corrupt("PR_1_HTREE_SET", inode.place(), found, "");
            }
        }
    }

    fn check_fields(&mut self, inode: &Inode) {
        let base = inode.base();
        let features = self.geo.features;
        let extra = inode.extra_isize();
        let room = usize::from(self.geo.inode_size) - 128;
        if extra != 0 && (extra < 4 || extra > room || !extra.is_multiple_of(4)) {
            let found = format!("i_extra_isize is {extra}");
            self.corrupt("PR_1_EXTRA_ISIZE", inode.place(), found, format!("a multiple of 4 up to {room}"));
        }
        if base.i_obso_faddr.get() != 0 {
            let found = format!("i_faddr is {:#x}", base.i_obso_faddr.get());
            self.corrupt("PR_2_FADDR_ZERO", inode.place(), found, "0");
        }
        if base.i_file_acl_high.get() != 0 && !features.incompat(incompat::BIT64) {
            let found = format!("i_file_acl_high is {}", base.i_file_acl_high.get());
            self.corrupt("PR_2_I_FILE_ACL_HI_ZERO", inode.place(), found, "0");
        }
        if base.i_blocks_high.get() != 0 && !features.ro_compat(ro_compat::HUGE_FILE) {
            let found = format!("i_blocks_high is {}", base.i_blocks_high.get());
            self.corrupt("PR_2_BLOCKS_HI_ZERO", inode.place(), found, "0");
        }
        if inode.is_dir() && base.i_size_high.get() != 0 && !features.incompat(incompat::LARGEDIR) {
            let found = format!("i_size_high of a directory is {}", base.i_size_high.get());
            self.corrupt("PR_2_DIR_SIZE_HIGH_ZERO", inode.place(), found, "0");
        }
    }

    fn check_times(&mut self, inode: &Inode) {
        let extra = inode.extra_isize();
        let bytes = inode.bytes();
        // Base field, extra field, and how many extra bytes it takes to have it.
        let times = [
            ("i_atime", 0x8, 0x8C, 16),
            ("i_ctime", 0xC, 0x84, 8),
            ("i_mtime", 0x10, 0x88, 12),
            ("i_crtime", 0x90, 0x94, 24),
        ];
        // An inode with a value of an attribute keeps a hash and a count there.
        if inode.has_flag(EA_INODE) {
            return;
        }
        for (name, base, more, end) in times {
            if extra < end || more + 4 > bytes.len() {
                continue;
            }
            let (base, more) = (le32(bytes, base), le32(bytes, more));
            if base >> 31 != 0 && more & EPOCH == EPOCH {
                let found = format!("{name} is {base:#x} in epoch 3");
                self.corrupt("PR_1_EA_TIME_OUT_OF_RANGE", inode.place(), found, "");
            }
            if more >> 2 >= NANOSECONDS {
                let found = format!("{name} has {} nanoseconds", more >> 2);
                self.warn("NM_TIME_NANOSECONDS", inode.place(), found, format!("less than {NANOSECONDS}"));
            }
        }
    }

    /// Attributes, map, size and count of blocks.
    pub(super) fn check_contents(&mut self, inode: &Inode) -> Result<()> {
        let attributes = self.check_xattrs(inode)?;
        let mut map = Map::new(inode);
        let first_run = self.dir_runs.len();
        if inode.has_flag(flags::INLINE_DATA) {
            self.check_inline_size(inode)?;
        } else if has_blocks(inode, self.geo) {
            self.check_map(inode, &mut map)?;
            self.charge()?;
        }
        // A directory without links waits for its deletion: its names count no more.
        if inode.is_dir() && inode.links() > 0 {
            self.dirs.push(Dir::new(inode, self.geo, first_run, self.dir_runs.len()));
            if map.clusters == 0 && !inode.has_flag(flags::INLINE_DATA) {
                self.corrupt("PR_1_ZERO_LENGTH_DIR", inode.place(), "the directory has no blocks", "");
            }
        }
        let ratio = self.ratio();
        let blocks = (map.clusters * ratio).saturating_add(attributes.blocks);
        if inode.ino() == ROOT_INO || !self.is_reserved(inode.ino()) {
            self.usage.count(inode, blocks * u64::from(self.geo.block_size), attributes.inodes + 1, self.geo);
        }
        if !map.broken {
            self.check_size(inode, &map);
            self.check_i_blocks(inode, blocks);
        }
        Ok(())
    }

    fn check_i_blocks(&mut self, inode: &Inode, blocks: u64) {
        let base = inode.base();
        let huge = self.geo.features.ro_compat(ro_compat::HUGE_FILE);
        let high = if huge { u64::from(base.i_blocks_high.get()) << 32 } else { 0 };
        let found = high | u64::from(base.i_blocks_lo.get());
        let in_blocks = huge && inode.has_flag(flags::HUGE_FILE);
        let wanted = if in_blocks { blocks } else { blocks * u64::from(self.geo.block_size / 512) };
        if found != wanted {
            let found = format!("i_blocks is {found}");
            self.corrupt("PR_1_BAD_I_BLOCKS", inode.place(), found, wanted.to_string());
        }
    }

    fn check_size(&mut self, inode: &Inode, map: &Map) {
        let bs = u64::from(self.geo.block_size);
        let size = inode.size();
        if inode.is_dir() {
            if inode.has_flag(flags::INLINE_DATA) {
                return;
            }
            let (blocks, mapped) = (size / bs, map.last.map_or(0, |last| last + 1));
            let spare = u64::from(self.fs.state.sb.s_prealloc_dir_blocks);
            let (found, wanted) = (format!("size of the directory is {size}"), (mapped * bs).to_string());
            if !size.is_multiple_of(bs) || blocks > mapped || mapped - blocks > spare {
                self.corrupt("PR_1_BAD_I_SIZE", inode.place(), found, wanted);
            } else if blocks != mapped {
                self.warn("NM_DIR_SIZE_BELOW_BLOCKS", inode.place(), found, wanted);
            }
            return;
        }
        if size > i32::MAX as u64 && inode.file_type() == Some(FileType::Regular) {
            self.large_files += 1;
        }
        // A symbolic link's size was held against its target.
        if inode.file_type() == Some(FileType::Symlink) {
            return;
        }
        let max = self.max_size(inode);
        let orphan = self.notes.get(inode.ino()).has(Note::ORPHAN);
        let written = map.last_written.filter(|_| !inode.has_flag(flags::VERITY) && !orphan);
        if size > max {
            self.corrupt("PR_1_BAD_I_SIZE", inode.place(), format!("size is {size}"), format!("at most {max}"));
        } else if let Some(last) = written.filter(|last| size <= last * bs) {
            let found = format!("size is {size}, and block {last} of the file is written");
            if size < last * bs {
                self.corrupt("PR_1_BAD_I_SIZE", inode.place(), found, format!("more than {}", last * bs));
            } else {
                self.warn("NM_SIZE_BELOW_BLOCKS", inode.place(), found, format!("more than {}", last * bs));
            }
        }
    }

    /// The largest size that a map expresses.
    fn max_size(&self, inode: &Inode) -> u64 {
        let bs = u64::from(self.geo.block_size);
        if inode.has_flag(flags::EXTENTS) {
            return (bs << 32) - 1;
        }
        let pointers = bs / 4;
        (12 + pointers + pointers * pointers + pointers * pointers * pointers) * bs
    }
}

/// Whether the fields of an inode's map are a map.
fn has_blocks(inode: &Inode, geo: &crate::geometry::Geometry) -> bool {
    match inode.file_type() {
        Some(FileType::Symlink) => !inode.is_fast_symlink(geo),
        Some(FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket) => false,
        // The list of bad blocks has no mode.
        _ => inode.base().i_block.iter().any(|byte| *byte != 0) || inode.has_flag(flags::EXTENTS),
    }
}
