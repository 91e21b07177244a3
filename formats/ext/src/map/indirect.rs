//! Block maps of ext2 and ext3: twelve direct pointers, then trees of one, two and three levels
//! (ext4.rst, "Direct/Indirect Block Addressing").

use super::{FileMap, Mapping, Run, join};
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
/// Blocks unmapped at once, so that the list of them stays small.
const MAX_REMOVED: u64 = 1 << 18;
/// The first block that a pointer cannot name.
pub(crate) const BLOCK_MAP_END: BlockNr = 1 << 32;

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
        seen.into_iter().try_for_each(|node| map.push_node(node))?;
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

/// What is done to a stretch of a block map.
struct Edit {
    covers: [u64; LEVELS + 1],
    from: u64,
    to: u64,
    /// The block that file block `from` is mapped to, and those after it; none to unmap.
    block: Option<BlockNr>,
    removed: Vec<Run>,
    /// How many blocks the map gained.
    nodes: i64,
}

impl<D: WriteAt> Filesystem<D> {
    /// Maps a hole. Returns how many blocks the map gained.
    pub(super) fn insert_pointers(&mut self, inode: &mut Inode, run: Run) -> Result<i64> {
        if run.unwritten {
            return Err(Error::Invalid("a block map cannot hold unwritten blocks".into()));
        }
        let from = u64::from(run.file_block);
        let edit = self.edit_pointers(inode, from, from + u64::from(run.len), Some(run.block))?;
        match edit.removed.first() {
            None => Ok(edit.nodes),
            Some(run) => Err(corrupt(inode.place(), format!("file block {} was a hole before", run.file_block))),
        }
    }

    /// Unmaps file blocks from `from` to `to`, or to where the returned number says. Returns what was there, that
    /// number, and how many blocks the map gained.
    pub(super) fn remove_pointers(&mut self, inode: &mut Inode, from: u64, to: u64) -> Result<(Vec<Run>, u64, i64)> {
        let next = to.min(from + MAX_REMOVED);
        let edit = self.edit_pointers(inode, from, next, None)?;
        Ok((edit.removed, next, edit.nodes))
    }

    fn edit_pointers(&mut self, inode: &mut Inode, from: u64, to: u64, block: Option<BlockNr>) -> Result<Edit> {
        let covers = coverage(self.pointers_per_block());
        let mut edit = Edit { covers, from, to, block, removed: Vec::new(), nodes: 0 };
        let mut roots = inode_pointers(inode);
        let mut start = 0;
        for (slot, root) in roots.iter_mut().enumerate() {
            let level = slot.saturating_sub(DIRECT as usize - 1);
            *root = self.edit_pointer(inode, *root, level, start, &mut edit)?;
            start += covers[level];
        }
        if block.is_some() && to > start {
            let size = u64::from(self.geo.block_size);
            return Err(Error::FileTooLarge { size: to.saturating_mul(size), max: start * size });
        }
        LittleEndian::write_u32_into(&roots, &mut inode.base_mut().i_block);
        join(&mut edit.removed);
        Ok(edit)
    }

    /// Changes what one pointer, which covers the file from block `start` on, leads to. Returns its new value.
    fn edit_pointer(&mut self, inode: &Inode, pointer: u32, level: usize, start: u64, edit: &mut Edit) -> Result<u32> {
        let (from, to) = (edit.from.max(start), edit.to.min(start + edit.covers[level]));
        if from >= to || (pointer == 0 && edit.block.is_none()) {
            return Ok(pointer);
        }
        let too_far = |block| Error::Limit(format!("block {block} in a block map, which has 32-bit numbers"));
        if level == 0 {
            if pointer != 0 {
                let file_block = FileBlock::try_from(start)
                    .map_err(|_| corrupt(inode.place(), format!("maps file block {start}, beyond 32 bits")))?;
                edit.removed.push(Run { file_block, block: pointer.into(), len: 1, unwritten: false });
            }
            let block = edit.block.map_or(0, |block| block + (start - edit.from));
            return u32::try_from(block).map_err(|_| too_far(block));
        }
        let (block, mut pointers) = if pointer == 0 {
            let (block, _) = self.alloc_run_below(self.goal_of(inode.ino()), 1, BLOCK_MAP_END)?;
            self.block_zeroed(block);
            edit.nodes += 1;
            (block, vec![0; self.pointers_per_block() as usize])
        } else {
            (pointer.into(), self.pointer_block(inode, pointer.into())?)
        };
        let below = edit.covers[level - 1];
        let touched = ((from - start) / below) as usize..=((to - 1 - start) / below) as usize;
        let mut changed = false;
        for index in touched {
            let child = self.edit_pointer(inode, pointers[index], level - 1, start + index as u64 * below, edit)?;
            changed |= child != pointers[index];
            pointers[index] = child;
        }
        if pointers.iter().all(|pointer| *pointer == 0) {
            self.free_node(block)?;
            edit.nodes -= 1;
            return Ok(0);
        }
        if changed {
            LittleEndian::write_u32_into(&pointers, self.block_mut(block)?);
        }
        u32::try_from(block).map_err(|_| too_far(block))
    }
}
