//! Adding names to directories, and growing directories: linear, then indexed.

use super::block::{self, Role, entry_len};
use super::hash::Algorithm;
use super::index::{self, Frame, NODE_ENTRIES, ROOT_ENTRIES, ROOT_INFO};
use super::{DirEntry, MAX_DIR_SIZE, MAX_NAME};
use crate::error::{Error, Result, corrupt};
use crate::features::{compat, incompat};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::{FileType, Inode, flags};
use crate::raw::DxRootInfo;
use nomount_block::WriteAt;
use zerocopy::IntoBytes;

/// `.` takes the first 12 bytes of a directory.
const DOT: usize = 12;

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

/// Fails unless a directory could hold `name`.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    match name {
        b"" => Err(Error::InvalidName("it is empty")),
        b"." | b".." => Err(Error::InvalidName("it is reserved")),
        name if name.len() > MAX_NAME => Err(Error::InvalidName("it is longer than 255 bytes")),
        name if name.contains(&b'/') || name.contains(&0) => {
            Err(Error::InvalidName("it contains a slash or a NUL byte"))
        }
        _ => Ok(()),
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// The type that entries store: 0 where the filesystem does not.
    fn entry_type(&self, file_type: FileType) -> u8 {
        if self.geo.features.incompat(incompat::FILETYPE) { file_type.entry_type() } else { 0 }
    }

    /// Writes the first block of a new directory. The inode must be mapped already.
    pub(crate) fn init_dir(&mut self, inode: &mut Inode, parent: u32) -> Result<()> {
        let file_type = self.entry_type(FileType::Directory);
        let list = [(inode.ino(), file_type, &b"."[..]), (parent, file_type, &b".."[..])];
        let (_, block) = self.grow_dir(inode)?;
        let geo = self.geo.clone();
        let bytes = self.block_zeroed(block);
        block::fill_leaf(bytes, &geo, &list);
        block::seal_leaf(bytes, inode, &geo);
        Ok(())
    }

    /// Adds a name that is not there yet. The directory's inode is changed, not stored.
    pub(crate) fn add_entry(&mut self, dir: &mut Inode, name: &[u8], ino: u32, file_type: FileType) -> Result<()> {
        check_name(name)?;
        let entry = DirEntry { name: name.to_vec(), ino, file_type: Some(file_type) };
        let file_type = self.entry_type(file_type);
        if dir.has_flag(flags::INDEX) {
            if !self.is_indexed(dir) {
                return Err(Error::ReadOnly(format!("{} has an index that is not known here", dir.place())));
            }
            return self.add_indexed(dir, &entry, file_type);
        }
        let blocks = self.dir_blocks(dir)?;
        for file_block in 0..blocks {
            if self.insert_into(dir, file_block, &entry, file_type)? {
                return Ok(());
            }
        }
        if blocks == 1 && self.geo.features.compat(compat::DIR_INDEX) && self.can_index() {
            self.make_indexed(dir)?;
            return self.add_indexed(dir, &entry, file_type);
        }
        let (_, block) = self.grow_dir(dir)?;
        let geo = self.geo.clone();
        let bytes = self.block_zeroed(block);
        block::fill_leaf(bytes, &geo, &[(ino, file_type, name)]);
        block::seal_leaf(bytes, dir, &geo);
        Ok(())
    }

    /// Puts an entry into a leaf if it has room.
    fn insert_into(&mut self, dir: &Inode, file_block: FileBlock, entry: &DirEntry, file_type: u8) -> Result<bool> {
        // Reading it verifies it before it is changed.
        self.dir_block(dir, file_block, Role::Leaf)?;
        let block = self.dir_block_nr(dir, file_block)?;
        let geo = self.geo.clone();
        let bytes = self.block_mut(block)?;
        let done = block::insert(bytes, &geo, entry.ino, file_type, &entry.name);
        if matches!(done, Ok(true)) {
            block::seal_leaf(bytes, dir, &geo);
        }
        done.map_err(|detail| self.bad_entry(dir, file_block, detail))
    }

    /// Adds a block at the end of a directory: its number in the directory and in the filesystem.
    fn grow_dir(&mut self, dir: &mut Inode) -> Result<(FileBlock, BlockNr)> {
        let size = u64::from(self.geo.block_size);
        let file_block = dir.size() / size;
        let new_size = (file_block + 1) * size;
        if new_size >= MAX_DIR_SIZE {
            return Err(Error::Limit("a directory of more than 2 GiB".into()));
        }
        let file_block = file_block as FileBlock;
        let block = self.append_block(dir, file_block)?;
        dir.set_size(new_size);
        Ok((file_block, block))
    }

    /// Whether the hash that the superblock names for new indexes is known.
    fn can_index(&self) -> bool {
        Algorithm::from_version(self.state.sb.s_def_hash_version).is_some()
    }

    /// Turns a directory of one full block into an index root and one leaf.
    fn make_indexed(&mut self, dir: &mut Inode) -> Result<()> {
        let root_block = self.dir_block_nr(dir, 0)?;
        let old = self.dir_block(dir, 0, Role::Leaf)?;
        let geo = self.geo.clone();
        let mut list = Vec::new();
        let mut dots = [None, None];
        for (position, raw) in block::entries(&old[..block::usable(&geo)], old.len(), geo.inodes_count).enumerate() {
            let raw = raw.map_err(|detail| self.bad_entry(dir, 0, detail))?;
            match position {
                0 | 1 => dots[position] = Some((raw.ino, raw.file_type, raw.name)),
                _ if raw.ino != 0 => list.push((raw.ino, raw.file_type, raw.name)),
                _ => {}
            }
        }
        let [Some((dot, dot_type, b".")), Some((parent, parent_type, b".."))] = dots else {
            return Err(corrupt(dir.place(), "directory does not begin with . and .."));
        };
        let (leaf, leaf_block) = self.grow_dir(dir)?;
        let bytes = self.block_zeroed(leaf_block);
        block::fill_leaf(bytes, &geo, &list);
        block::seal_leaf(bytes, dir, &geo);

        let hash_version = self.state.sb.s_def_hash_version;
        dir.set_flag(flags::INDEX, true);
        let bytes = self.block_zeroed(root_block);
        block::write_entry(bytes, 0, DOT, dot, dot_type, b".");
        block::write_entry(bytes, DOT, geo.block_size as usize - DOT, parent, parent_type, b"..");
        let info = DxRootInfo {
            reserved_zero: 0.into(),
            // The unsigned variants are told by the superblock's flags.
            hash_version: if hash_version > 2 { hash_version - 3 } else { hash_version },
            info_length: 8,
            indirect_levels: 0,
            unused_flags: 0,
        };
        bytes[ROOT_INFO..ROOT_ENTRIES].copy_from_slice(info.as_bytes());
        index::write_entries(bytes, ROOT_ENTRIES, index::limit(&geo, ROOT_ENTRIES), &[(0, leaf)]);
        index::seal_index(bytes, dir, &geo, ROOT_ENTRIES);
        Ok(())
    }

    fn add_indexed(&mut self, dir: &mut Inode, entry: &DirEntry, file_type: u8) -> Result<()> {
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
