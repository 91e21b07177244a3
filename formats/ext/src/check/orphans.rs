//! Orphans: inodes that wait for their deletion or truncation, in the superblock's list and in the orphan file.

use super::inode_table::Note;
use super::{Checker, Severity, le32};
use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::features::{compat, ro_compat};
use crate::inode::Inode;
use nomount_block::ReadAt;
use std::collections::HashSet;

const MAGIC: u32 = 0x0B10_CA04;
/// Magic and checksum at the end of each block.
const TAIL: usize = 8;
/// Orphans that are followed: more than the largest orphan file holds (512 blocks of 4 KiB).
const MAX_ORPHANS: usize = 1 << 20;
/// Blocks of an orphan file that are looked at: mke2fs makes at most 512.
const MAX_FILE_BLOCKS: u64 = 4096;

impl<D: ReadAt> Checker<'_, D> {
    pub(super) fn check_orphans(&mut self) -> Result<()> {
        let mut orphans = self.walk_list()?;
        orphans.extend(self.walk_file()?);
        for &ino in &orphans {
            self.notes.get_mut(ino).bits |= Note::ORPHAN;
        }
        if !orphans.is_empty() {
            let found = format!("{} inodes wait for their deletion or truncation", orphans.len());
            self.add(Severity::Recovery, "NM_ORPHANS", "orphans", found, "");
        }
        Ok(())
    }

    /// An inode for what it says of itself, whatever its checksum.
    pub(super) fn peek(&self, ino: u32) -> Result<Option<Inode>> {
        if !self.groups[self.geo.group_of_inode(ino).0 as usize].table_ok {
            return Ok(None);
        }
        let (block, offset) = self.inode_place(ino);
        let bytes = self.fs.read_block(block)?;
        let size = usize::from(self.geo.inode_size);
        Ok(Some(Inode::from_bytes(ino, bytes[offset..offset + size].to_vec())))
    }

    fn in_use(&self, ino: u32) -> Result<bool> {
        let (group, index) = self.geo.group_of_inode(ino);
        let view = &self.groups[group as usize];
        if let Some(bits) = self.fs.state.groups.get(&group).and_then(|state| state.inodes.as_ref()) {
            return Ok(crate::group::bit(&bits.current, index));
        }
        if view.inode_uninit() || !view.bitmaps_ok {
            return Ok(false);
        }
        Ok(crate::group::bit(&self.fs.read_block(view.inode_bitmap)?, index))
    }

    /// The list that begins in the superblock and goes on in `i_dtime`.
    fn walk_list(&mut self) -> Result<Vec<u32>> {
        const PLACE: &str = "orphan list";
        let mut list = Vec::new();
        let mut seen = HashSet::new();
        let mut next = self.fs.state.sb.s_last_orphan.get();
        while next != 0 {
            if next < self.geo.first_ino || next > self.geo.inodes_count {
                let found = format!("it names inode {next}");
                let wanted = format!("{} to {}", self.geo.first_ino, self.geo.inodes_count);
                self.corrupt("NM_ORPHAN_ILLEGAL_INODE", PLACE, found, wanted);
                break;
            }
            if !seen.insert(next) || list.len() >= MAX_ORPHANS {
                self.corrupt("NM_ORPHAN_LOOP", PLACE, format!("it comes back to inode {next}"), "");
                break;
            }
            let Some(inode) = self.peek(next)? else { break };
            if !self.in_use(next)? {
                self.corrupt("NM_ORPHAN_DANGLING", PLACE, format!("it names inode {next}, which is free"), "");
                break;
            }
            list.push(next);
            next = inode.base().i_dtime.get();
        }
        Ok(list)
    }

    fn walk_file(&mut self) -> Result<Vec<u32>> {
        let features = self.geo.features;
        let present = features.ro_compat(ro_compat::ORPHAN_PRESENT);
        if !features.compat(compat::ORPHAN_FILE) {
            if present {
                self.corrupt("PR_6_ORPHAN_PRESENT_NO_FILE", "superblock", "orphan_present without orphan_file", "");
            }
            return Ok(Vec::new());
        }
        let ino = self.fs.state.sb.s_orphan_file_inum.get();
        if ino == 0 || ino > self.geo.inodes_count {
            let found = format!("s_orphan_file_inum is {ino}");
            self.corrupt("PR_6_ORPHAN_FILE_CORRUPTED", "superblock", found, "an inode");
            return Ok(Vec::new());
        }
        let Some(file) = self.peek(ino)? else { return Ok(Vec::new()) };
        let size = u64::from(self.geo.block_size);
        if !file.size().is_multiple_of(size) || file.size() == 0 {
            let found = format!("size is {}", file.size());
            self.corrupt("PR_0_ORPHAN_FILE_WRONG_SIZE", file.place(), found, format!("a multiple of {size}"));
            return Ok(Vec::new());
        }
        let mut list = Vec::new();
        for index in 0..(file.size() / size).min(MAX_FILE_BLOCKS) as u32 {
            // A map that cannot be followed is told with the inode's own findings.
            let block = match self.fs.dir_block_nr(&file, index) {
                Ok(block) => block,
                Err(error @ Error::Device(_)) => return Err(error),
                Err(_) => {
                    let found = format!("block {index} is a hole");
                    self.corrupt("PR_6_ORPHAN_FILE_HOLE", file.place(), found, "");
                    break;
                }
            };
            self.check_orphan_block(&file, index, block, present, &mut list)?;
        }
        if present && list.is_empty() {
            self.add(Severity::Note, "PR_6_ORPHAN_PRESENT_CLEAN_FILE", "superblock", "orphan_present, and none is", "");
        }
        Ok(list)
    }

    fn check_orphan_block(
        &mut self,
        file: &Inode,
        index: u32,
        block: u64,
        present: bool,
        list: &mut Vec<u32>,
    ) -> Result<()> {
        let bytes = self.fs.read_block(block)?;
        let end = bytes.len() - TAIL;
        let place = || format!("orphan file, block {index}");
        if le32(&bytes, end) != MAGIC {
            let found = format!("magic is {:#010x}", le32(&bytes, end));
            self.corrupt("PR_0_ORPHAN_FILE_BAD_MAGIC", place(), found, format!("{MAGIC:#010x}"));
            return Ok(());
        }
        let wanted = crc32c(crc32c(file.csum_seed(self.geo), &block.to_le_bytes()), &bytes[..end]);
        if self.geo.metadata_csum() && le32(&bytes, end + 4) != wanted {
            let found = format!("checksum is {:#010x}", le32(&bytes, end + 4));
            self.corrupt("PR_0_ORPHAN_FILE_BAD_CHECKSUM", place(), found, format!("{wanted:#010x}"));
        }
        for at in (0..end).step_by(4) {
            let ino = le32(&bytes, at);
            if ino == 0 {
                continue;
            }
            if !present {
                let found = format!("it names inode {ino}, and orphan_present is not set");
                self.corrupt("PR_6_ORPHAN_BLOCK_DIRTY", place(), found, "");
                return Ok(());
            }
            if ino < self.geo.first_ino || ino > self.geo.inodes_count || list.len() >= MAX_ORPHANS {
                let wanted = format!("{} to {}", self.geo.first_ino, self.geo.inodes_count);
                self.corrupt("PR_0_ORPHAN_ILLEGAL_INODE", place(), format!("it names inode {ino}"), wanted);
                return Ok(());
            }
            list.push(ino);
        }
        Ok(())
    }
}
