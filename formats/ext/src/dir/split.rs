//! Keeping an index: leaves and nodes that are full are split, and the tree grows a level at its root.

use super::DirEntry;
use super::block::{self, Role, entry_len};
use super::index::{self, Frame, NODE_ENTRIES, ROOT_ENTRIES, ROOT_INFO};
use crate::error::{Error, Result, corrupt};
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::Inode;
use nomount_block::WriteAt;

/// An entry taken out of a leaf, with its hash.
struct Moved {
    hash: u32,
    ino: u32,
    file_type: u8,
    name: Vec<u8>,
}

fn as_list(moved: &[Moved]) -> Vec<(u32, u8, &[u8])> {
    moved.iter().map(|entry| (entry.ino, entry.file_type, &entry.name[..])).collect()
}

impl<D: WriteAt> Filesystem<D> {
    /// Adds a name to an indexed directory.
    pub(super) fn add_indexed(&mut self, dir: &mut Inode, entry: &DirEntry, file_type: u8) -> Result<()> {
        loop {
            let (_, frames, leaf) = self.dx_probe(dir, &entry.name)?;
            if self.insert_into(dir, leaf, entry, file_type)? {
                return Ok(());
            }
            // A split needs room for one more entry in the block above; making it may move things, so look again.
            let lowest = frames.last().expect("a way begins at the root");
            if lowest.index().count() == lowest.index().limit() {
                self.make_index_room(dir, &frames)?;
            } else {
                self.split_leaf(dir, &frames, leaf)?;
            }
        }
    }

    /// Moves the upper half of a full leaf to a new one.
    fn split_leaf(&mut self, dir: &mut Inode, frames: &[Frame], leaf: FileBlock) -> Result<()> {
        let root = self.dir_block(dir, 0, Role::DxRoot)?;
        let (hasher, _) = self.dx_root_info(dir, &root)?;
        let bytes = self.dir_block(dir, leaf, Role::Leaf)?;
        let mut all = Vec::new();
        for raw in block::entries(&bytes[..block::usable(&self.geo)], bytes.len(), self.geo.inodes_count) {
            let raw = raw.map_err(|detail| self.bad_entry(dir, leaf, detail))?;
            if raw.ino != 0 {
                let hash = hasher.hash(raw.name);
                all.push(Moved { hash, ino: raw.ino, file_type: raw.file_type, name: raw.name.to_vec() });
            }
        }
        // Stable: entries of one hash keep their order.
        all.sort_by_key(|entry| entry.hash);
        let total: usize = all.iter().map(|entry| entry_len(entry.name.len())).sum();
        let mut below = 0;
        let middle = all.iter().position(|entry| {
            below += entry_len(entry.name.len());
            below > total / 2
        });
        let split = middle.unwrap_or(0).clamp(1, all.len().saturating_sub(1).max(1));
        if all.len() < 2 {
            return Err(corrupt(dir.place(), format!("directory block {leaf} is full with {} entries", all.len())));
        }
        let upper = all.split_off(split);
        let continued = u32::from(all[split - 1].hash == upper[0].hash);
        let key = upper[0].hash | continued;

        let geo = self.geo.clone();
        let leaf_block = self.dir_block_nr(dir, leaf)?;
        let (new_leaf, new_block) = self.grow_dir(dir)?;
        for (block, list) in [(leaf_block, &all), (new_block, &upper)] {
            let bytes = self.block_mut_or_new(block, new_block)?;
            block::fill_leaf(bytes, &geo, &as_list(list));
            block::seal_leaf(bytes, dir, &geo);
        }
        let frame = frames.last().expect("a way begins at the root");
        let mut entries = entries_of(frame);
        entries.insert(frame.at + 1, (key, new_leaf));
        self.store_index(dir, frame.file_block, frame.entries_at, &entries)
    }

    fn block_mut_or_new(&mut self, block: BlockNr, new: BlockNr) -> Result<&mut Vec<u8>> {
        if block == new { Ok(self.block_zeroed(block)) } else { self.block_mut(block) }
    }

    /// Writes the entries of an existing index block.
    fn store_index(
        &mut self,
        dir: &Inode,
        file_block: FileBlock,
        entries_at: usize,
        entries: &[(u32, FileBlock)],
    ) -> Result<()> {
        let block = self.dir_block_nr(dir, file_block)?;
        let geo = self.geo.clone();
        let bytes = self.block_mut(block)?;
        index::write_entries(bytes, entries_at, index::limit(&geo, entries_at), entries);
        index::seal_index(bytes, dir, &geo, entries_at);
        Ok(())
    }

    /// Writes a new node below the root at the end of the directory. Returns its number in the directory.
    fn new_node(&mut self, dir: &mut Inode, entries: &[(u32, FileBlock)]) -> Result<FileBlock> {
        let (file_block, block) = self.grow_dir(dir)?;
        let geo = self.geo.clone();
        let bytes = self.block_zeroed(block);
        block::write_head(bytes, 0, 0, geo.block_size as usize, 0, 0);
        index::write_entries(bytes, NODE_ENTRIES, index::limit(&geo, NODE_ENTRIES), entries);
        index::seal_index(bytes, dir, &geo, NODE_ENTRIES);
        Ok(file_block)
    }

    /// Splits the topmost full node below one with room, or gives the tree another level.
    fn make_index_room(&mut self, dir: &mut Inode, frames: &[Frame]) -> Result<()> {
        let full = |frame: &Frame| frame.index().count() == frame.index().limit();
        match frames.iter().rposition(|frame| !full(frame)) {
            Some(parent) => {
                let child = &frames[parent + 1];
                let mut lower = entries_of(child);
                let upper = lower.split_off(lower.len() / 2);
                let key = upper[0].0;
                let node = self.new_node(dir, &upper)?;
                self.store_index(dir, child.file_block, child.entries_at, &lower)?;
                let mut above = entries_of(&frames[parent]);
                above.insert(frames[parent].at + 1, (key, node));
                self.store_index(dir, frames[parent].file_block, frames[parent].entries_at, &above)
            }
            None => {
                let deepest = if self.geo.features.incompat(incompat::LARGEDIR) { 3 } else { 2 };
                if frames.len() >= deepest {
                    return Err(Error::Limit(format!("{}: the directory's index is full", dir.place())));
                }
                let node = self.new_node(dir, &entries_of(&frames[0]))?;
                let block = self.dir_block_nr(dir, 0)?;
                self.block_mut(block)?[ROOT_INFO + 6] = frames.len() as u8;
                self.store_index(dir, 0, ROOT_ENTRIES, &[(0, node)])
            }
        }
    }
}

fn entries_of(frame: &Frame) -> Vec<(u32, FileBlock)> {
    let index = frame.index();
    (0..index.count()).map(|entry| (index.hash(entry), index.block(entry))).collect()
}
