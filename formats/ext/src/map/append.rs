//! Adding to the end of a file's map in place: what it costs does not grow with the map.

use super::Run;
use super::extent::{ENTRY, MAX_WRITTEN, Node};
use crate::checksum::crc32c;
use crate::error::Result;
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::{Inode, flags};
use crate::raw::{ExtentHeader, ExtentLeaf};
use nomount_block::WriteAt;
use zerocopy::{FromBytes, IntoBytes};

impl<D: WriteAt> Filesystem<D> {
    /// Allocates one block at the end of a file, next to the last one if that is free, and maps it: for contents that
    /// are metadata, as of directories. Its number; what it holds is for the caller to write.
    pub(crate) fn append_block(&mut self, inode: &mut Inode, file_block: FileBlock) -> Result<BlockNr> {
        let goal = match file_block.checked_sub(1) {
            Some(last) => self.map_block(inode, last)?.block.map(|block| block + 1),
            None => None,
        };
        let block = self.alloc_block(goal.unwrap_or_else(|| self.goal_of(inode.ino())))?;
        self.append_run(inode, Run { file_block, block, len: 1, unwritten: false })?;
        Ok(block)
    }

    /// Adds a written run behind everything that a file maps. Changes the last leaf of the tree, or a few pointers;
    /// only where the leaf is full, the tree is written anew. The inode is changed, not stored.
    fn append_run(&mut self, inode: &mut Inode, run: Run) -> Result<()> {
        let mut more = u64::from(run.len);
        if !inode.has_flag(flags::EXTENTS) {
            more += self.append_indirect(inode, &run)?;
        } else if !self.append_extent(inode, &run)? {
            let mut map = self.load_map(inode)?;
            map.push(run)?;
            return self.store_map(inode, &map, run.block);
        }
        let blocks = inode.blocks_512(&self.geo) / u64::from(self.geo.block_size / 512);
        inode.set_blocks(&self.geo, blocks + more)
    }

    /// Enters a run into the last leaf of an extent tree. Returns whether it fitted.
    fn append_extent(&mut self, inode: &mut Inode, run: &Run) -> Result<bool> {
        let mut bytes = inode.base().i_block.to_vec();
        let (mut block, mut depth): (Option<BlockNr>, _) = (None, None);
        loop {
            let node = Node::parse(&bytes, depth, &|| inode.place())?;
            let last = if node.depth == 0 { None } else { node.indexes().next_back() };
            let Some((_, child)) = last else { break };
            (block, depth) = (Some(child), Some(node.depth - 1));
            bytes = self.extent_block(inode, child)?.to_vec();
        }
        let last = Node::parse(&bytes, depth, &|| inode.place())?.leaves().next_back();
        let (header, entries) = ExtentHeader::mut_from_prefix(&mut bytes).expect("a node is at least 60 bytes");
        let (count, max) = (header.eh_entries.get(), header.eh_max.get());
        let touching = last.filter(|last| {
            let ends = (u64::from(last.file_block) + u64::from(last.len), last.block + u64::from(last.len));
            !last.unwritten && ends == (run.file_block.into(), run.block) && last.len + run.len <= MAX_WRITTEN
        });
        let behind = last.is_none_or(|last| last.file_block < run.file_block);
        let (slot, start, len) = match touching {
            Some(last) => (count - 1, last, last.len + run.len),
            None if count < max && run.len <= MAX_WRITTEN && behind => {
                header.eh_entries.set(count + 1);
                (count, *run, run.len)
            }
            None => return Ok(false),
        };
        let leaf = ExtentLeaf {
            ee_block: start.file_block.into(),
            ee_len: (len as u16).into(),
            ee_start_hi: ((start.block >> 32) as u16).into(),
            ee_start_lo: (start.block as u32).into(),
        };
        let at = usize::from(slot) * ENTRY;
        entries[at..at + ENTRY].copy_from_slice(leaf.as_bytes());
        let Some(block) = block else {
            inode.base_mut().i_block.copy_from_slice(&bytes);
            return Ok(true);
        };
        let tail = ENTRY + ENTRY * usize::from(max);
        if self.geo.metadata_csum() && tail + 4 <= bytes.len() {
            let sum = crc32c(inode.csum_seed(&self.geo), &bytes[..tail]);
            bytes[tail..tail + 4].copy_from_slice(&sum.to_le_bytes());
        }
        *self.block_mut(block)? = bytes;
        Ok(true)
    }
}
