//! Block maps of ext2 and ext3: twelve direct pointers, then trees of one, two and three levels
//! (ext4.rst, "Direct/Indirect Block Addressing").

use super::{FileMap, Mapping, Run};
use crate::error::{Error, Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::Inode;
use byteorder::{ByteOrder, LittleEndian};
use nomount_block::{ReadAt, WriteAt};
use std::collections::HashSet;

const DIRECT: u64 = 12;
const LEVELS: usize = 3;
/// The most pointer blocks of one file that are followed: with 4 KiB blocks they map 4 TiB, all that a map can.
const MAX_NODES: usize = 1 << 20;

/// How many file blocks one pointer of each level covers: 1, a, a², a³ for a pointers in a block.
fn coverage(pointers: u64) -> [u64; LEVELS + 1] {
    [1, pointers, pointers * pointers, pointers * pointers * pointers]
}

/// Which of the inode's 15 pointers leads to a file block: slot, levels below it, and the first block it covers.
fn root_of(file_block: u64, covers: &[u64; LEVELS + 1]) -> Option<(usize, usize, u64)> {
    if file_block < DIRECT {
        return Some((file_block as usize, 0, file_block));
    }
    let mut start = DIRECT;
    for (level, cover) in covers.iter().enumerate().skip(1) {
        if file_block < start + cover {
            return Some((DIRECT as usize + level - 1, level, start));
        }
        start += cover;
    }
    None
}

fn inode_pointers(inode: &Inode) -> [u32; 15] {
    let mut pointers = [0; 15];
    LittleEndian::read_u32_into(&inode.base().i_block, &mut pointers);
    pointers
}

impl<D: ReadAt> Filesystem<D> {
    fn pointers_per_block(&self) -> u64 {
        u64::from(self.geo.block_size / 4)
    }

    fn pointer_block(&self, inode: &Inode, block: BlockNr) -> Result<Vec<u32>> {
        self.check_block(block, 1, || inode.place())?;
        let bytes = self.read_block(block)?;
        let mut pointers = vec![0; bytes.len() / 4];
        LittleEndian::read_u32_into(&bytes, &mut pointers);
        Ok(pointers)
    }

    pub(super) fn map_indirect(&self, inode: &Inode, file_block: FileBlock) -> Result<Mapping> {
        let covers = coverage(self.pointers_per_block());
        let wanted = u64::from(file_block);
        let Some((slot, mut level, mut start)) = root_of(wanted, &covers) else {
            return Ok(Mapping { block: None, len: u64::MAX - wanted, unwritten: false });
        };
        let roots = inode_pointers(inode);
        let mut table = roots.to_vec();
        let mut index = slot;
        let mut end_of_table = DIRECT as usize;
        loop {
            let pointer = table[index];
            if pointer == 0 {
                return Ok(Mapping { block: None, len: start + covers[level] - wanted, unwritten: false });
            }
            if level == 0 {
                let follow = &table[index..end_of_table];
                let len = (1..).zip(&follow[1..]).take_while(|(step, next)| pointer.checked_add(*step) == Some(**next));
                let len = 1 + len.count() as u64;
                self.check_block(pointer.into(), len, || inode.place())?;
                return Ok(Mapping { block: Some(pointer.into()), len, unwritten: false });
            }
            table = self.pointer_block(inode, pointer.into())?;
            end_of_table = table.len();
            level -= 1;
            index = ((wanted - start) / covers[level]) as usize;
            start += index as u64 * covers[level];
        }
    }

    pub(super) fn load_indirect(&self, inode: &Inode, map: &mut FileMap) -> Result<()> {
        let covers = coverage(self.pointers_per_block());
        let mut seen = HashSet::new();
        let mut start = 0;
        for (slot, &pointer) in inode_pointers(inode).iter().enumerate() {
            let level = slot.saturating_sub(DIRECT as usize - 1);
            self.load_pointer(inode, pointer, level, start, (&covers, &mut seen), map)?;
            start += covers[level];
        }
        map.nodes.extend(seen);
        map.nodes.sort_unstable();
        Ok(())
    }

    fn load_pointer(
        &self,
        inode: &Inode,
        pointer: u32,
        level: usize,
        start: u64,
        (covers, nodes): (&[u64; LEVELS + 1], &mut HashSet<BlockNr>),
        map: &mut FileMap,
    ) -> Result<()> {
        if pointer == 0 {
            return Ok(());
        }
        if level == 0 {
            self.check_block(pointer.into(), 1, || inode.place())?;
            let file_block = FileBlock::try_from(start)
                .map_err(|_| corrupt(inode.place(), format!("maps file block {start}, beyond 32 bits")))?;
            return map.push(Run { file_block, block: pointer.into(), len: 1, unwritten: false });
        }
        // Pointers that all lead to the same blocks would be walked for ages.
        if !nodes.insert(pointer.into()) {
            return Err(corrupt(inode.place(), format!("block {pointer} holds two parts of its block map")));
        }
        if nodes.len() > MAX_NODES {
            return Err(Error::Limit(format!("a block map of more than {MAX_NODES} blocks")));
        }
        let pointers = self.pointer_block(inode, pointer.into())?;
        for (index, &child) in pointers.iter().enumerate() {
            let at = start + index as u64 * covers[level - 1];
            self.load_pointer(inode, child, level - 1, at, (covers, &mut *nodes), map)?;
        }
        Ok(())
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Enters a run into a block map in place, making the pointer blocks that are missing. Returns how many it made.
    pub(super) fn append_indirect(&mut self, inode: &mut Inode, run: &Run) -> Result<u64> {
        let covers = coverage(self.pointers_per_block());
        let mut made = 0;
        for step in 0..run.len {
            let (file_block, block) = (u64::from(run.file_block + step), run.block + u64::from(step));
            let Some((slot, level, start)) = root_of(file_block, &covers) else {
                let size = u64::from(self.geo.block_size);
                let max = DIRECT + covers[1] + covers[2] + covers[3];
                return Err(Error::FileTooLarge {
                    size: (file_block + 1).saturating_mul(size),
                    max: max.saturating_mul(size),
                });
            };
            let block = pointer_to(block)?;
            let mut pointers = inode_pointers(inode);
            if level == 0 {
                pointers[slot] = block;
                LittleEndian::write_u32_into(&pointers, &mut inode.base_mut().i_block);
                continue;
            }
            if pointers[slot] == 0 {
                pointers[slot] = self.new_pointer_block(run.block)?;
                made += 1;
                LittleEndian::write_u32_into(&pointers, &mut inode.base_mut().i_block);
            }
            let (mut table, mut offset) = (pointers[slot], file_block - start);
            for below in (1..level).rev() {
                let index = (offset / covers[below]) as usize;
                offset %= covers[below];
                let mut child = self.pointer_block(inode, table.into())?[index];
                if child == 0 {
                    child = self.new_pointer_block(run.block)?;
                    made += 1;
                    LittleEndian::write_u32(&mut self.block_mut(table.into())?[index * 4..], child);
                }
                table = child;
            }
            self.check_block(table.into(), 1, || inode.place())?;
            LittleEndian::write_u32(&mut self.block_mut(table.into())?[offset as usize * 4..], block);
        }
        Ok(made)
    }

    fn new_pointer_block(&mut self, goal: BlockNr) -> Result<u32> {
        let block = self.alloc_block(goal)?;
        self.block_zeroed(block);
        pointer_to(block)
    }
}

/// A block's number as a pointer.
fn pointer_to(block: BlockNr) -> Result<u32> {
    let too_far = |_| Error::Limit(format!("block {block} in a block map, which has 32-bit numbers"));
    u32::try_from(block).map_err(too_far)
}

/// Hands out the physical block of each file block, in ascending order.
struct Cursor<'a> {
    runs: &'a [Run],
    at: usize,
}

impl Cursor<'_> {
    /// The first mapped file block at or after `from`.
    fn next_mapped(&mut self, from: u64) -> Option<u64> {
        while let Some(run) = self.runs.get(self.at) {
            let start = u64::from(run.file_block);
            if from < start + u64::from(run.len) {
                return Some(from.max(start));
            }
            self.at += 1;
        }
        None
    }

    fn block(&mut self, file_block: u64) -> Option<BlockNr> {
        if self.next_mapped(file_block)? != file_block {
            return None;
        }
        let run = &self.runs[self.at];
        Some(run.block + (file_block - u64::from(run.file_block)))
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Builds a block map in new blocks and puts its roots into the inode. Returns how many blocks.
    pub(super) fn store_indirect(&mut self, inode: &mut Inode, runs: &[Run], goal: BlockNr) -> Result<u64> {
        let covers = coverage(self.pointers_per_block());
        let max = DIRECT + covers[1] + covers[2] + covers[3];
        if let Some(last) = runs.last() {
            let end = u64::from(last.file_block) + u64::from(last.len);
            if end > max {
                let size = u64::from(self.geo.block_size);
                return Err(Error::FileTooLarge { size: end.saturating_mul(size), max: max.saturating_mul(size) });
            }
        }
        if runs.iter().any(|run| run.unwritten) {
            return Err(Error::Invalid("a block map cannot hold unwritten blocks".into()));
        }
        let mut cursor = Cursor { runs, at: 0 };
        let mut roots = [0u32; 15];
        let mut nodes = 0;
        let mut start = 0;
        for (slot, root) in roots.iter_mut().enumerate() {
            let level = slot.saturating_sub(DIRECT as usize - 1);
            *root = self.store_pointer(&mut cursor, level, start, &covers, goal, &mut nodes)?;
            start += covers[level];
        }
        LittleEndian::write_u32_into(&roots, &mut inode.base_mut().i_block);
        Ok(nodes)
    }

    fn store_pointer(
        &mut self,
        cursor: &mut Cursor<'_>,
        level: usize,
        start: u64,
        covers: &[u64; LEVELS + 1],
        goal: BlockNr,
        nodes: &mut u64,
    ) -> Result<u32> {
        if level == 0 {
            return pointer_to(cursor.block(start).unwrap_or(0));
        }
        if cursor.next_mapped(start).is_none_or(|next| next >= start + covers[level]) {
            return Ok(0);
        }
        let block = self.alloc_block(goal)?;
        let number = pointer_to(block)?;
        *nodes += 1;
        let mut pointers = vec![0; self.pointers_per_block() as usize];
        for (index, pointer) in pointers.iter_mut().enumerate() {
            let at = start + index as u64 * covers[level - 1];
            *pointer = self.store_pointer(cursor, level - 1, at, covers, goal, nodes)?;
        }
        LittleEndian::write_u32_into(&pointers, self.block_zeroed(block));
        Ok(number)
    }
}
