//! One quota file: a tree of 1 KiB blocks, whatever the filesystem's, with a level for each byte of the id.

use super::{Kind, Usage};
use crate::error::{Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::{FileType, Inode};
use crate::raw::{QuotaBlockHeader, QuotaEntry, QuotaHeader};
use nomount_block::{ReadAt, WriteAt};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const BLOCK: usize = 1024;
/// The root of the tree; block 0 is the header's.
const ROOT: u32 = 1;
const LEVELS: u32 = 4;
const HEADER: usize = size_of::<QuotaBlockHeader>();
const ENTRY: usize = size_of::<QuotaEntry>();
/// Entries of a block.
const SLOTS: usize = (BLOCK - HEADER) / ENTRY;
const VERSION: u32 = 1;

impl Kind {
    fn magic(self) -> u32 {
        match self {
            Self::User => 0xD9C0_1F11,
            Self::Group => 0xD9C0_1927,
            Self::Project => 0xD9C0_3F14,
        }
    }
}

/// An open quota file.
struct QuotaFile {
    kind: Kind,
    inode: Inode,
    header: QuotaHeader,
}

impl QuotaFile {
    fn place(&self) -> String {
        format!("{} quota file", self.kind.name())
    }

    /// Fails unless `block` is one of the tree's: neither header nor root, which nothing points at.
    fn check(&self, block: u32) -> Result<()> {
        let end = self.header.dqi_blocks.get();
        if block <= ROOT || block >= end {
            return Err(corrupt(self.place(), format!("points at block {block}, outside 2 to {end}")));
        }
        Ok(())
    }
}

/// Where an id's reference is in the block of a level, as a byte offset.
fn reference(id: u32, level: u32) -> usize {
    (id >> (8 * (LEVELS - 1 - level)) & 0xFF) as usize * 4
}

fn slot(index: usize) -> std::ops::Range<usize> {
    HEADER + index * ENTRY..HEADER + (index + 1) * ENTRY
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// What an entry says after a change. What would fall below nothing, because the file was wrong before, is nothing.
fn changed(mut entry: QuotaEntry, usage: Usage) -> QuotaEntry {
    entry.dqb_curspace.set(entry.dqb_curspace.get().saturating_add_signed(usage.space));
    entry.dqb_curinodes.set(entry.dqb_curinodes.get().saturating_add_signed(usage.inodes));
    // A slot of zeroes is free: the entry of id 0 with nothing at all is told apart by a time that means none.
    if entry.as_bytes().iter().all(|byte| *byte == 0) {
        entry.dqb_itime.set(1);
    }
    entry
}

impl<D: ReadAt> Filesystem<D> {
    fn open_quota(&self, kind: Kind, inum: u32) -> Result<QuotaFile> {
        let inode = self.live_inode(inum)?;
        let header = QuotaHeader::new_zeroed();
        let mut file = QuotaFile { kind, inode, header };
        if file.inode.file_type() != Some(FileType::Regular) {
            return Err(corrupt(file.place(), format!("inode {inum} is no regular file")));
        }
        let (block, at) = self.quota_place(&file, 0)?;
        let bytes = self.read_block(block)?;
        file.header = QuotaHeader::read_from_prefix(&bytes[at..]).expect("1 KiB holds a header").0;
        let (magic, version) = (file.header.dqh_magic.get(), file.header.dqh_version.get());
        if (magic, version) != (kind.magic(), VERSION) {
            let wanted = format!("expected {:#x} and {VERSION}", kind.magic());
            return Err(corrupt(file.place(), format!("magic is {magic:#x}, version {version}, {wanted}")));
        }
        let blocks = file.header.dqi_blocks.get();
        if u64::from(blocks).saturating_mul(BLOCK as u64) > file.inode.size() || blocks <= ROOT {
            return Err(corrupt(file.place(), format!("{blocks} blocks in {} bytes", file.inode.size())));
        }
        Ok(file)
    }

    /// The block of the filesystem that holds a block of a quota file, and the byte offset in it.
    fn quota_place(&self, file: &QuotaFile, block: u32) -> Result<(BlockNr, usize)> {
        let per_block = self.geo.block_size / BLOCK as u32;
        let mapping = self.map_block(&file.inode, block / per_block)?;
        match mapping.block.filter(|_| !mapping.unwritten) {
            Some(found) => Ok((found, (block % per_block) as usize * BLOCK)),
            None => Err(corrupt(file.place(), format!("block {block} is a hole"))),
        }
    }

    fn quota_bytes(&self, file: &QuotaFile, block: u32) -> Result<Vec<u8>> {
        let (block, at) = self.quota_place(file, block)?;
        Ok(self.read_block(block)?[at..at + BLOCK].to_vec())
    }

    /// The block that holds the entry of `id`, and its slot there.
    fn find_entry(&self, file: &QuotaFile, id: u32) -> Result<Option<(u32, usize)>> {
        let mut block = ROOT;
        for level in 0..LEVELS {
            block = word(&self.quota_bytes(file, block)?, reference(id, level));
            if block == 0 {
                return Ok(None);
            }
            file.check(block)?;
        }
        let bytes = self.quota_bytes(file, block)?;
        let is_it = |at: &usize| word(&bytes, slot(*at).start) == id && bytes[slot(*at)].iter().any(|byte| *byte != 0);
        match (0..SLOTS).find(is_it) {
            Some(at) => Ok(Some((block, at))),
            None => Err(corrupt(file.place(), format!("block {block} should have id {id}, and has not"))),
        }
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Adds to what a quota file counts for an id.
    pub(super) fn add_usage(&mut self, kind: Kind, inum: u32, id: u32, usage: Usage) -> Result<()> {
        let mut file = self.open_quota(kind, inum)?;
        let (block, at) = match self.find_entry(&file, id)? {
            Some(found) => found,
            None => self.insert_entry(&mut file, id)?,
        };
        let bytes = self.quota_mut(&file, block)?;
        let entry = QuotaEntry::read_from_bytes(&bytes[slot(at)]).expect("a slot has the entry's size");
        bytes[slot(at)].copy_from_slice(changed(entry, usage).as_bytes());
        Ok(())
    }

    fn quota_mut(&mut self, file: &QuotaFile, block: u32) -> Result<&mut [u8]> {
        let (block, at) = self.quota_place(file, block)?;
        Ok(&mut self.block_mut(block)?[at..at + BLOCK])
    }

    /// A new entry for `id`, without usage, in the tree: its block and slot.
    fn insert_entry(&mut self, file: &mut QuotaFile, id: u32) -> Result<(u32, usize)> {
        let (block, at) = self.take_slot(file)?;
        let mut entry = QuotaEntry::new_zeroed();
        entry.dqb_id.set(id);
        self.quota_mut(file, block)?[slot(at)].copy_from_slice(entry.as_bytes());
        let mut above = ROOT;
        for level in 0..LEVELS {
            let from = reference(id, level);
            let next = word(&self.quota_bytes(file, above)?, from);
            let next = match next {
                0 => {
                    let next = if level + 1 == LEVELS { block } else { self.take_block(file)? };
                    self.quota_mut(file, above)?[from..from + 4].copy_from_slice(&next.to_le_bytes());
                    next
                }
                next => next,
            };
            file.check(next)?;
            above = next;
        }
        let (header, at_header) = self.quota_place(file, 0)?;
        self.block_mut(header)?[at_header..at_header + size_of::<QuotaHeader>()]
            .copy_from_slice(file.header.as_bytes());
        Ok((block, at))
    }

    /// A free slot, in the first block of the list of those that have any, or in a new one.
    fn take_slot(&mut self, file: &mut QuotaFile) -> Result<(u32, usize)> {
        let block = match file.header.dqi_free_entry.get() {
            0 => {
                let block = self.take_block(file)?;
                file.header.dqi_free_entry.set(block);
                block
            }
            block => {
                file.check(block)?;
                block
            }
        };
        let bytes = self.quota_mut(file, block)?;
        let free = (0..SLOTS).find(|at| bytes[slot(*at)].iter().all(|byte| *byte == 0));
        let header = QuotaBlockHeader::mut_from_bytes(&mut bytes[..HEADER]).expect("sizes are equal");
        let used = usize::from(header.dqdh_entries.get()) + 1;
        let Some(at) = free.filter(|_| used <= SLOTS) else {
            return Err(corrupt(file.place(), format!("block {block} should have a free entry, and has none")));
        };
        header.dqdh_entries.set(used as u16);
        if used == SLOTS {
            let next = header.dqdh_next_free.get();
            header.dqdh_next_free.set(0);
            header.dqdh_prev_free.set(0);
            file.header.dqi_free_entry.set(next);
            if next != 0 {
                file.check(next)?;
                self.quota_mut(file, next)?[4..8].fill(0);
            }
        }
        Ok((block, at))
    }

    /// A block of zeroes: a free one, or one more at the end.
    fn take_block(&mut self, file: &mut QuotaFile) -> Result<u32> {
        let block = match file.header.dqi_free_blk.get() {
            0 => {
                let block = file.header.dqi_blocks.get();
                self.grow_quota(file, block)?;
                file.header.dqi_blocks.set(block + 1);
                block
            }
            block => {
                file.check(block)?;
                let next = word(&self.quota_bytes(file, block)?, 0);
                file.header.dqi_free_blk.set(next);
                block
            }
        };
        self.quota_mut(file, block)?.fill(0);
        Ok(block)
    }

    /// Makes a quota file long enough for a block after its last. A size that reaches further has no blocks for it yet.
    fn grow_quota(&mut self, file: &mut QuotaFile, block: u32) -> Result<()> {
        let end = (u64::from(block) + 1) * BLOCK as u64;
        let file_block: FileBlock = block / (self.geo.block_size / BLOCK as u32);
        let mapped = self.map_block(&file.inode, file_block)?.block.is_some();
        if mapped && end <= file.inode.size() {
            return Ok(());
        }
        if !mapped {
            let new = self.append_block(&mut file.inode, file_block)?;
            self.block_zeroed(new);
        }
        if end > file.inode.size() {
            file.inode.set_size(end);
        }
        self.put_inode(file.inode.clone())
    }
}
