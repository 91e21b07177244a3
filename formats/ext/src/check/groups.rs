//! Group descriptors: their checksums, where they place metadata, and that no two pieces of it overlap.

use super::Checker;
use crate::error::Result;
use crate::features::{compat, incompat};
use crate::geometry::{BlockNr, GroupNr};
use crate::group::{BLOCK_UNINIT, Group, INODE_UNINIT, desc_checksum};
use nomount_block::ReadAt;

/// Copies of the descriptors that are compared with the first; more would be read for ages where every group has one.
const MAX_COPIES: u32 = 64;

/// What is kept of a descriptor.
#[derive(Debug, Clone)]
pub(super) struct GroupView {
    pub block_bitmap: BlockNr,
    pub inode_bitmap: BlockNr,
    pub inode_table: BlockNr,
    pub free_blocks: u32,
    pub free_inodes: u32,
    pub used_dirs: u32,
    pub itable_unused: u32,
    pub flags: u16,
    pub block_csum: u32,
    pub inode_csum: u32,
    /// Bitmaps and table lie where they can be read.
    pub bitmaps_ok: bool,
    pub table_ok: bool,
}

impl GroupView {
    fn of(group: &Group) -> Self {
        Self {
            block_bitmap: group.block_bitmap,
            inode_bitmap: group.inode_bitmap,
            inode_table: group.inode_table,
            free_blocks: group.free_blocks,
            free_inodes: group.free_inodes,
            used_dirs: group.used_dirs,
            itable_unused: group.itable_unused,
            flags: group.flags,
            block_csum: group.block_bitmap_csum(),
            inode_csum: group.inode_bitmap_csum(),
            bitmaps_ok: true,
            table_ok: true,
        }
    }

    pub fn block_uninit(&self) -> bool {
        self.flags & BLOCK_UNINIT != 0
    }

    pub fn inode_uninit(&self) -> bool {
        self.flags & INODE_UNINIT != 0
    }
}

impl<D: ReadAt> Checker<'_, D> {
    /// Reads all descriptors and marks the metadata of all groups as in use. Gives whether it makes sense to go on.
    pub(super) fn load_groups(&mut self) -> Result<bool> {
        let last = self.geo.desc_place(self.geo.groups - 1).0;
        if last >= self.geo.blocks_count {
            let wanted = format!("less than {}", self.geo.blocks_count);
            self.corrupt("PR_0_MISC_CORRUPT_SUPER", "superblock", format!("descriptors reach block {last}"), wanted);
            return Ok(false);
        }
        let size = usize::from(self.geo.desc_size);
        let mut held = None;
        for number in 0..self.geo.groups {
            if let Some(state) = self.fs.state.groups.get(&number) {
                // The flags of a change follow when it is stored.
                let mut view = GroupView::of(&state.group);
                if state.blocks.as_ref().is_some_and(crate::group::Bits::changed) {
                    view.flags &= !BLOCK_UNINIT;
                }
                if state.inodes.as_ref().is_some_and(crate::group::Bits::changed) {
                    view.flags &= !INODE_UNINIT;
                }
                self.groups.push(view);
                continue;
            }
            let (block, offset) = self.geo.desc_place(number);
            let bytes = match held.take() {
                Some((at, bytes)) if at == block => bytes,
                _ => self.fs.read_block(block)?,
            };
            self.check_descriptor(number, &bytes[offset..offset + size]);
            held = Some((block, bytes));
        }
        self.mark_overheads();
        for number in 0..self.geo.groups {
            self.mark_group(number);
            self.charge()?;
        }
        self.mark_mmp()?;
        Ok(true)
    }

    fn check_descriptor(&mut self, number: GroupNr, bytes: &[u8]) {
        let group = Group::parse(number, bytes);
        let mut view = GroupView::of(&group);
        let place = || format!("descriptor of group {number}");
        let flags = view.flags & (BLOCK_UNINIT | INODE_UNINIT);
        if self.geo.group_csum() {
            let (found, wanted) = (group.checksum(), desc_checksum(self.geo, number, bytes));
            if found != wanted {
                let found = format!("checksum is {found:#06x}");
                self.corrupt("PR_0_GDT_CSUM", place(), found, format!("{wanted:#06x}"));
            }
            let most = view.free_inodes.min(self.geo.inodes_per_group);
            if view.itable_unused > most {
                let found = format!("{} inodes unused", view.itable_unused);
                self.corrupt("PR_0_GDT_ITABLE_UNUSED", place(), found, format!("at most {most}, which are free"));
                view.itable_unused = 0;
            }
        } else if flags != 0 || view.itable_unused != 0 {
            let found = format!("flags are {flags:#x} and {} inodes unused", view.itable_unused);
            self.corrupt("PR_0_GDT_UNINIT", place(), found, "0 without checksums of descriptors");
            view.flags &= !(BLOCK_UNINIT | INODE_UNINIT);
            view.itable_unused = 0;
        }
        if number + 1 == self.geo.groups && view.block_uninit() {
            self.corrupt("PR_0_BB_UNINIT_LAST", place(), "the last group's blocks are uninitialised", "");
        }
        self.groups.push(view);
    }

    /// Superblocks, descriptors and their reserve at the start of groups.
    fn mark_overheads(&mut self) {
        for number in 0..self.geo.groups {
            let start = self.geo.group_start(number);
            let len = u64::from(self.geo.group_overhead(number));
            self.mark_metadata(start, len.min(self.geo.blocks_count - start));
        }
    }

    /// Marks blocks inside the filesystem; gives whether some were in use already.
    fn mark_metadata(&mut self, start: BlockNr, len: u64) -> bool {
        if len == 0 {
            return false;
        }
        let (from, to) = (self.cluster(start), self.cluster(start + len - 1));
        self.used.insert(from, to - from + 1);
        self.metadata.insert(start - self.geo.first_data_block, len).is_some()
    }

    fn mark_group(&mut self, number: GroupNr) {
        let GroupView { block_bitmap, inode_bitmap, inode_table, .. } = self.groups[number as usize];
        let itable = u64::from(self.geo.itable_blocks());
        let (first, end) = if self.geo.features.incompat(incompat::FLEX_BG) {
            (self.geo.first_data_block, self.geo.blocks_count)
        } else {
            let start = self.geo.group_start(number);
            (start, start + u64::from(self.geo.group_blocks(number)))
        };
        let pieces = [
            ("PR_0_BB_NOT_GROUP", "PR_1_BB_CONFLICT", "block bitmap", block_bitmap, 1),
            ("PR_0_IB_NOT_GROUP", "PR_1_IB_CONFLICT", "inode bitmap", inode_bitmap, 1),
            ("PR_0_ITABLE_NOT_GROUP", "PR_1_ITABLE_CONFLICT", "inode table", inode_table, itable),
        ];
        for (at, (outside, conflict, what, block, len)) in pieces.into_iter().enumerate() {
            let place = || format!("descriptor of group {number}");
            // The first block of all is inside a group, and the superblock's.
            let inside = self.geo.contains(block, len);
            if !inside || block < first || block + len > end {
                let wanted = format!("{} to {}", first.max(self.geo.first_data_block + 1), end - 1);
                self.corrupt(outside, place(), format!("{what} is at block {block}"), wanted);
            }
            if !inside {
                let view = &mut self.groups[number as usize];
                if at == 2 {
                    view.table_ok = false
                } else {
                    view.bitmaps_ok = false
                }
                continue;
            }
            if self.mark_metadata(block, len) {
                self.corrupt(conflict, place(), format!("{what} at block {block} overlaps other metadata"), "");
            }
        }
    }

    /// The copies of descriptors: where they place metadata. Their counts and flags are not kept up to date.
    pub(super) fn check_backups(&mut self) -> Result<()> {
        if self.fs.state.end_before != self.geo.blocks_count {
            // They follow with the commit.
            return Ok(());
        }
        let with_copy = (1..self.geo.groups).filter(|group| self.geo.has_super(*group));
        let some: Vec<GroupNr> = with_copy.take(MAX_COPIES as usize).collect();
        for number in some {
            self.check_superblock_copy(number)?;
            let meta_bg = self.geo.features.incompat(incompat::META_BG);
            if !meta_bg || number / self.geo.desc_per_block() < self.geo.first_meta_bg {
                let first = self.geo.group_start(number) + 1;
                for index in 0..self.geo.plain_desc_blocks() {
                    if !self.check_descriptor_copy(number, index, first + u64::from(index))? {
                        break;
                    }
                }
            }
        }
        self.check_spread_copies()
    }

    /// With meta_bg, copies in the second and the last of the groups that a block describes.
    fn check_spread_copies(&mut self) -> Result<()> {
        if !self.geo.features.incompat(incompat::META_BG) {
            return Ok(());
        }
        let per_block = self.geo.desc_per_block();
        for index in (self.geo.first_meta_bg..self.geo.desc_blocks()).take(MAX_COPIES as usize) {
            for at in [1, per_block - 1].into_iter().filter(|at| (1..per_block).contains(at)) {
                let number = index * per_block + at;
                if number < self.geo.groups {
                    let block = self.geo.group_start(number) + u64::from(self.geo.has_super(number));
                    self.check_descriptor_copy(number, index, block)?;
                }
            }
        }
        Ok(())
    }

    /// Compares the copy of one block of descriptors, in group `number`. Gives whether it is alike.
    fn check_descriptor_copy(&mut self, number: GroupNr, index: u32, block: BlockNr) -> Result<bool> {
        if !self.geo.contains(block, 1) {
            return Ok(false);
        }
        let bytes = self.fs.read_block(block)?;
        let first = index * self.geo.desc_per_block();
        for (group, bytes) in (first..self.geo.groups).zip(bytes.chunks_exact(usize::from(self.geo.desc_size))) {
            let copy = Group::parse(group, bytes);
            let view = &self.groups[group as usize];
            let (found, wanted) = (
                (copy.block_bitmap, copy.inode_bitmap, copy.inode_table),
                (view.block_bitmap, view.inode_bitmap, view.inode_table),
            );
            if found != wanted {
                let place = format!("copy of the descriptors in group {number}");
                let found = format!("bitmaps and table of group {group} are at {found:?}");
                self.warn("NM_BACKUP_DESCRIPTOR", place, found, format!("{wanted:?}"));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Blocks after the descriptors that a growing filesystem puts more of them into.
    pub(super) fn reserved_gdt(&self) -> u32 {
        if self.geo.features.compat(compat::RESIZE_INODE) { self.geo.reserved_gdt_blocks } else { 0 }
    }
}
