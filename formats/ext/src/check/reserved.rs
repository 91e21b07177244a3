//! Inodes with a role: the list of bad blocks, quota files, the journal, the orphan file, the blocks that are reserved
//! for growing.

use super::inode_table::Note;
use super::{Checker, le32, quota};
use crate::error::Result;
use crate::features::{compat, incompat, ro_compat};
use crate::inode::{FileType, Inode, flags};
use nomount_block::ReadAt;

const BAD_INO: u32 = 1;
const BOOT_INO: u32 = 5;
const RESIZE_INO: u32 = 7;
const JOURNAL_INO: u32 = 8;
/// Which pointer of a map leads to two levels of pointers.
const DOUBLE_INDIRECT: usize = 13;
/// Bytes of a map in the inode.
const MAP: usize = 60;

impl<D: ReadAt> Checker<'_, D> {
    pub(super) fn check_reserved(&mut self, inode: &Inode) -> Result<()> {
        let ino = inode.ino();
        let note = self.notes.get_mut(ino);
        note.bits |= Note::USED | inode.file_type().map_or(0, FileType::entry_type);
        note.links = inode.links();
        self.check_flags(inode);
        let sb = &self.fs.state.sb;
        let features = self.geo.features;
        let role = if features.compat(compat::HAS_JOURNAL) && ino == sb.s_journal_inum.get() {
            Some("PR_1_JOURNAL_BAD_MODE")
        } else if features.compat(compat::ORPHAN_FILE) && ino == sb.s_orphan_file_inum.get() {
            Some("PR_1_ORPHAN_FILE_BAD_MODE")
        } else if features.ro_compat(ro_compat::QUOTA) && self.quota_inodes().contains(&ino) {
            Some("PR_1_QUOTA_BAD_MODE")
        } else {
            None
        };
        if let Some(id) = role {
            if inode.file_type() != Some(FileType::Regular) {
                let found = format!("i_mode is {:#o}", inode.mode());
                self.corrupt(id, inode.place(), found, "a regular file");
            }
            return self.check_contents(inode);
        }
        match ino {
            RESIZE_INO => return self.check_resize(inode),
            JOURNAL_INO => self.must_be_clear(inode, "PR_1_JOURNAL_INODE_NOT_CLEAR"),
            quota::USER_INO | quota::GROUP_INO => self.must_be_clear(inode, "PR_1_QUOTA_INODE_NOT_CLEAR"),
            BAD_INO => {
                let base = inode.base();
                let owner = base.i_uid.get() | base.i_gid.get() | base.i_mode.get() | base.i_links_count.get();
                if owner != 0 || inode.has_flag(flags::INLINE_DATA) || inode.file_acl() != 0 {
                    let found = "the list of bad blocks has attributes of a file";
                    self.corrupt("PR_1_INVALID_BAD_INODE", inode.place(), found, "none");
                }
                self.check_contents(inode)?;
            }
            BOOT_INO if !inode.is_dir() => self.check_contents(inode)?,
            _ if inode.mode() == 0 => self.check_contents(inode)?,
            _ => {
                let found = format!("i_mode is {:#o}", inode.mode());
                self.corrupt("PR_1_RESERVED_BAD_MODE", inode.place(), found, "0");
            }
        }
        Ok(())
    }

    /// The inodes of quota files; 0 for none.
    pub(super) fn quota_inodes(&self) -> [u32; 3] {
        let sb = &self.fs.state.sb;
        [sb.s_usr_quota_inum.get(), sb.s_grp_quota_inum.get(), sb.s_prj_quota_inum.get()]
    }

    fn must_be_clear(&mut self, inode: &Inode, id: &'static str) {
        let base = inode.base();
        if inode.links() != 0 || base.i_blocks_lo.get() != 0 || le32(&base.i_block, 0) != 0 {
            self.corrupt(id, inode.place(), "it is in use, and its feature is not set", "");
        }
    }

    /// The inode that lists, for each block reserved for descriptors, its copies in the groups that have any.
    fn check_resize(&mut self, inode: &Inode) -> Result<()> {
        let map = &inode.base().i_block;
        if inode.mode() != 0 && inode.file_type() != Some(FileType::Regular) {
            let found = format!("i_mode is {:#o}", inode.mode());
            self.corrupt("PR_1_RESERVED_BAD_MODE", inode.place(), found, "a regular file");
        }
        if !self.geo.features.compat(compat::RESIZE_INODE) {
            if map.iter().any(|byte| *byte != 0) {
                self.corrupt("PR_0_CLEAR_RESIZE_INODE", inode.place(), "it has blocks without resize_inode", "");
            }
            return Ok(());
        }
        if self.geo.features.incompat(incompat::META_BG) {
            return Ok(());
        }
        if inode.has_flag(flags::EXTENTS) {
            self.corrupt("PR_1_MISSING_EXTENT_HEADER", inode.place(), "its lists are said to be an extent tree", "");
            return Ok(());
        }
        let list = u64::from(le32(map, DOUBLE_INDIRECT * 4));
        let others = (0..MAP / 4).filter(|word| *word != DOUBLE_INDIRECT).any(|word| le32(map, word * 4) != 0);
        let regular = inode.file_type() == Some(FileType::Regular);
        if others || !regular || inode.links() == 0 || !self.geo.contains(list, 1) {
            let found = format!("its list is in block {list}");
            self.corrupt("PR_0_RESIZE_INODE_INVALID", inode.place(), found, "one list and nothing else");
            return Ok(());
        }
        let cluster = self.cluster(list);
        if self.used.insert(cluster, 1).is_some() {
            let found = format!("its list, block {list}, is used by something else");
            self.corrupt("PR_1B_DUP_BLOCK", inode.place(), found, "");
        }
        self.check_resize_size(inode);
        let attributes = self.check_xattrs(inode)?.blocks;
        let Some(blocks) = self.check_resize_lists(inode, list)? else { return Ok(()) };
        let blocks = blocks * self.ratio() + attributes;
        let (found, wanted) = (inode.blocks_512(self.geo), blocks * u64::from(self.geo.block_size / 512));
        if found != wanted {
            let found = format!("i_blocks is {found}");
            self.corrupt("PR_1_BAD_I_BLOCKS", inode.place(), found, wanted.to_string());
        }
        Ok(())
    }

    /// The size is that of a file that ends with its two levels of pointers.
    fn check_resize_size(&mut self, inode: &Inode) {
        let bs = u64::from(self.geo.block_size);
        let pointers = bs / 4;
        let (size, wanted) = (inode.size(), (12 + pointers + pointers * pointers) * bs);
        if size > wanted + pointers.pow(3) * bs {
            let found = format!("size is {size}");
            self.corrupt("PR_1_BAD_I_SIZE", inode.place(), found, wanted.to_string());
        } else if size != wanted {
            let found = format!("size is {size}");
            self.warn("NM_RESIZE_INODE_SIZE", inode.place(), found, wanted.to_string());
        }
    }

    /// Gives how many blocks the inode has; none where its lists are wrong.
    fn check_resize_lists(&mut self, inode: &Inode, list: u64) -> Result<Option<u64>> {
        let slots = self.geo.block_size / 4;
        let top = self.fs.read_block(list)?;
        let first = 1024 / u64::from(self.geo.block_size) + 1 + u64::from(self.geo.desc_blocks());
        let backups: Vec<u64> = (1..self.geo.groups)
            .filter(|group| self.geo.has_super(*group))
            .take(slots as usize)
            .map(|group| u64::from(group) * u64::from(self.geo.blocks_per_group))
            .collect();
        // e2fsck looks at a quarter of the lists, and not at what follows in them.
        let quarter = self.reserved_gdt() / 4;
        let told = |reserved| if reserved < quarter { "PR_0_RESIZE_INODE_INVALID" } else { "NM_RESIZE_INODE_INVALID" };
        let mut blocks = 1;
        let mut listed = vec![false; slots as usize];
        for reserved in 0..self.reserved_gdt() {
            let slot = (self.geo.desc_blocks() + reserved) % slots;
            listed[slot as usize] = true;
            let (found, wanted) = (u64::from(le32(&top, slot as usize * 4)), first + u64::from(reserved));
            if found != wanted {
                let found = format!("slot {slot} of its list leads to block {found}");
                self.corrupt(told(reserved), inode.place(), found, wanted.to_string());
                return Ok(None);
            }
            let copies = self.fs.read_block(wanted)?;
            for slot in 0..slots as usize {
                let found = u64::from(le32(&copies, slot * 4));
                let copy = backups.get(slot).map_or(0, |start| wanted + start);
                if found != copy {
                    let found = format!("copy {slot} of block {wanted} is said to be block {found}");
                    let id = if slot < backups.len() { told(reserved) } else { "NM_RESIZE_INODE_INVALID" };
                    self.corrupt(id, inode.place(), found, copy.to_string());
                    return Ok(None);
                }
            }
            blocks += 1 + backups.len() as u64;
        }
        let stray = listed.iter().enumerate().find(|(slot, used)| !**used && le32(&top, slot * 4) != 0);
        if let Some((slot, _)) = stray {
            let found = format!("slot {slot} of its list leads to block {}", le32(&top, slot * 4));
            self.corrupt("NM_RESIZE_INODE_INVALID", inode.place(), found, "0");
            return Ok(None);
        }
        Ok(Some(blocks))
    }
}
