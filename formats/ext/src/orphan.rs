//! Orphans: files that were deleted or cut while open when the machine stopped (ext4.rst, "Orphan file").

use crate::checksum::crc32c;
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::features::{compat, ro_compat};
use crate::fs::Filesystem;
use crate::inode::{FileType, Inode};
use crate::map::MAP_END;
use nomount_block::{ReadAt, WriteAt};
use std::collections::HashSet;

const MAGIC: u32 = 0x0B10_CA04;
/// Magic and checksum at the end of each block.
const TAIL: usize = 8;
/// The most orphans that are processed: more than the largest orphan file holds (512 blocks of 4 KiB).
const MAX_ORPHANS: usize = 1 << 20;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

impl<D: ReadAt> Filesystem<D> {
    /// Inodes on the orphan list, linked through their `i_dtime`.
    fn orphan_list(&self) -> Result<Vec<u32>> {
        let mut list = Vec::new();
        let mut seen = HashSet::new();
        let mut next = self.state.sb.s_last_orphan.get();
        while next != 0 {
            if !seen.insert(next) {
                return Err(corrupt("orphan list", format!("comes back to inode {next}")));
            }
            if list.len() >= MAX_ORPHANS {
                return Err(Error::Limit(format!("more than {MAX_ORPHANS} orphans")));
            }
            if next < self.geo.first_ino {
                return Err(corrupt("orphan list", format!("names the reserved inode {next}")));
            }
            list.push(next);
            next = self.inode(next)?.base().i_dtime.get();
        }
        Ok(list)
    }

    fn orphan_file(&self) -> Result<Option<Inode>> {
        if !self.geo.features.compat(compat::ORPHAN_FILE) {
            return Ok(None);
        }
        self.inode(self.state.sb.s_orphan_file_inum.get()).map(Some)
    }

    /// Entries of the orphan file that are in use: block of the file and inode.
    fn orphan_entries(&self, file: &Inode) -> Result<Vec<(u32, u32)>> {
        let blocks = file.size() / u64::from(self.geo.block_size);
        let mut found = Vec::new();
        for file_block in 0..blocks.min(1 << 16) as u32 {
            let block = self.dir_block_nr(file, file_block)?;
            let bytes = self.read_block(block)?;
            let end = bytes.len() - TAIL;
            let place = || format!("orphan file, block {file_block}");
            if word(&bytes, end) != MAGIC {
                return Err(corrupt(place(), format!("magic is {:#x}, expected {MAGIC:#x}", word(&bytes, end))));
            }
            let wanted = self.orphan_checksum(file, block, &bytes[..end]);
            if self.geo.metadata_csum() && word(&bytes, end + 4) != wanted {
                return Err(bad_checksum(place(), word(&bytes, end + 4), wanted));
            }
            found.extend((0..end).step_by(4).map(|at| (file_block, word(&bytes, at))).filter(|(_, ino)| *ino != 0));
            if found.len() > MAX_ORPHANS {
                return Err(Error::Limit(format!("more than {MAX_ORPHANS} orphans")));
            }
        }
        Ok(found)
    }

    fn orphan_checksum(&self, file: &Inode, block: u64, entries: &[u8]) -> u32 {
        crc32c(crc32c(file.csum_seed(&self.geo), &block.to_le_bytes()), entries)
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Frees orphans without names and cuts those with names to their size. Returns how many there were.
    pub(crate) fn process_orphans(&mut self) -> Result<usize> {
        let mut orphans = self.orphan_list()?;
        for &ino in &orphans {
            self.process_orphan(ino)?;
        }
        self.state.sb.s_last_orphan.set(0);
        if !self.geo.features.ro_compat(ro_compat::ORPHAN_PRESENT) {
            return Ok(orphans.len());
        }
        if let Some(file) = self.orphan_file()? {
            let entries = self.orphan_entries(&file)?;
            for &(_, ino) in &entries {
                self.process_orphan(ino)?;
                orphans.push(ino);
            }
            let mut blocks: Vec<u32> = entries.iter().map(|(block, _)| *block).collect();
            blocks.dedup();
            for file_block in blocks {
                let block = self.dir_block_nr(&file, file_block)?;
                let end = self.block_size() - TAIL;
                let sum = self.orphan_checksum(&file, block, &vec![0; end]);
                let with_csum = self.geo.metadata_csum();
                let bytes = self.block_mut(block)?;
                bytes[..end].fill(0);
                if with_csum {
                    bytes[end + 4..].copy_from_slice(&sum.to_le_bytes());
                }
            }
        }
        self.geo.features.ro_compat &= !ro_compat::ORPHAN_PRESENT;
        self.state.sb.s_feature_ro_compat.set(self.geo.features.ro_compat);
        Ok(orphans.len())
    }

    fn process_orphan(&mut self, ino: u32) -> Result<()> {
        if ino < self.geo.first_ino || ino > self.geo.inodes_count {
            return Err(corrupt("orphan file", format!("names inode {ino}")));
        }
        let mut inode = self.inode(ino)?;
        inode.base_mut().i_dtime.set(0);
        if inode.links() == 0 {
            return self.release_inode(inode);
        }
        let kept = inode.size().div_ceil(u64::from(self.geo.block_size));
        if self.has_map(&inode) {
            self.unmap(&mut inode, kept, MAP_END)?;
            if inode.file_type() == Some(FileType::Regular) {
                self.clean_tail(&mut inode)?;
            }
        }
        self.put_inode(inode)
    }
}
