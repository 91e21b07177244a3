//! Adding names to directories: inline, linear, indexed.

use super::block::{self, Role, Tiled};
use super::hash::Algorithm;
use super::index::{self, ROOT_ENTRIES, ROOT_INFO};
use super::{DirEntry, MAX_NAME};
use crate::error::{Error, Result, corrupt};
use crate::features::{compat, incompat};
use crate::fs::Filesystem;
use crate::geometry::FileBlock;
use crate::inode::{FileType, Inode, flags};
use crate::raw::DxRootInfo;
use nomount_block::WriteAt;
use zerocopy::IntoBytes;

/// `.` takes the first 12 bytes of a directory.
pub(super) const DOT: usize = 12;

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
    pub(super) fn entry_type(&self, file_type: FileType) -> u8 {
        if self.geo.features.incompat(incompat::FILETYPE) { file_type.entry_type() } else { 0 }
    }

    /// Writes the first block of a new directory. The inode must be mapped already.
    pub(crate) fn init_dir(&mut self, inode: &mut Inode, parent: u32) -> Result<()> {
        let file_type = self.entry_type(FileType::Directory);
        let list = [(inode.ino(), file_type, &b"."[..]), (parent, file_type, &b".."[..])];
        self.new_leaf(inode, &list)?;
        Ok(())
    }

    /// Adds a leaf with these entries at the end of a directory. Returns its number in the directory.
    pub(super) fn new_leaf(&mut self, dir: &mut Inode, list: &[(u32, u8, &[u8])]) -> Result<FileBlock> {
        let (file_block, block) = self.grow_dir(dir)?;
        let geo = self.geo.clone();
        let bytes = self.block_zeroed(block);
        block::fill_leaf(bytes, &geo, list);
        block::seal_leaf(bytes, dir, &geo);
        Ok(file_block)
    }

    /// Adds a name that is not there yet. The directory's inode is changed, not stored.
    pub(crate) fn add_entry(&mut self, dir: &mut Inode, name: &[u8], ino: u32, file_type: FileType) -> Result<()> {
        check_name(name)?;
        let entry = DirEntry { name: name.to_vec(), ino, file_type: Some(file_type) };
        let file_type = self.entry_type(file_type);
        if dir.has_flag(flags::INLINE_DATA) {
            if self.insert_inline(dir, &entry, file_type)? {
                return Ok(());
            }
            self.leave_inline_dir(dir)?;
        }
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
        self.new_leaf(dir, &[(ino, file_type, name)])?;
        Ok(())
    }

    /// Puts an entry into a leaf if it has room.
    pub(super) fn insert_into(
        &mut self,
        dir: &Inode,
        file_block: FileBlock,
        entry: &DirEntry,
        file_type: u8,
    ) -> Result<bool> {
        // Looked at before it is touched: a leaf without room stays out of the change.
        let bytes = self.dir_block(dir, file_block, Role::Leaf)?;
        let (geo, len) = (self.geo.clone(), entry.name.len());
        let room = block::room_for(&bytes[..block::usable(&geo)], bytes.len(), geo.inodes_count, len);
        if room.map_err(|detail| self.bad_entry(dir, file_block, detail))?.is_none() {
            return Ok(false);
        }
        drop(bytes);
        self.edit_leaf(dir, file_block, |mut leaf| leaf.insert(entry.ino, file_type, &entry.name))
    }

    /// Changes the entries of a leaf that was read before, and stores its checksum.
    pub(super) fn edit_leaf(
        &mut self,
        dir: &Inode,
        file_block: FileBlock,
        edit: impl FnOnce(Tiled<'_>) -> Result<bool, String>,
    ) -> Result<bool> {
        let block = self.dir_block_nr(dir, file_block)?;
        let geo = self.geo.clone();
        let bytes = self.block_mut(block)?;
        let done = edit(Tiled::leaf(bytes, &geo));
        block::seal_leaf(bytes, dir, &geo);
        done.map_err(|detail| self.bad_entry(dir, file_block, detail))
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
        let leaf = self.new_leaf(dir, &list)?;
        let hash_version = self.state.sb.s_def_hash_version;
        dir.set_flag(flags::INDEX, true);
        let bytes = self.block_mut(root_block)?;
        bytes.fill(0);
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
}
