//! Taking names out of directories, and making them stand for something else.

use super::Place;
use super::block::{self, RawEntry, Role};
use super::index::{ROOT_ENTRIES, seal_index};
use super::insert::DOT;
use crate::error::{Result, corrupt};
use crate::fs::Filesystem;
use crate::inode::{FileType, Inode, flags};
use nomount_block::WriteAt;

impl<D: WriteAt> Filesystem<D> {
    /// Takes out a name that was found at `place`. Directories do not get shorter: the room is for later names. The
    /// directory's inode is changed, not stored.
    pub(crate) fn remove_entry(&mut self, dir: &mut Inode, name: &[u8], place: Place) -> Result<()> {
        let done = match place {
            Place::Block(file_block) => {
                self.dir_block(dir, file_block, Role::Leaf)?;
                self.edit_leaf(dir, file_block, |mut leaf| leaf.remove(name))?
            }
            Place::Inline => self.edit_inline(dir, |mut part| part.remove(name))?,
        };
        if done { Ok(()) } else { Err(corrupt(dir.place(), "a name is gone from where it was found")) }
    }

    /// Makes a name that was found at `place` stand for another inode.
    pub(crate) fn point_entry(
        &mut self,
        dir: &mut Inode,
        name: &[u8],
        place: Place,
        (ino, file_type): (u32, FileType),
    ) -> Result<()> {
        let file_type = self.entry_type(file_type);
        let done = match place {
            Place::Block(file_block) => {
                self.dir_block(dir, file_block, Role::Leaf)?;
                self.edit_leaf(dir, file_block, |mut leaf| leaf.point(name, ino, file_type))?
            }
            Place::Inline => self.edit_inline(dir, |mut part| part.point(name, ino, file_type))?,
        };
        if done { Ok(()) } else { Err(corrupt(dir.place(), "a name is gone from where it was found")) }
    }

    /// Makes `..` of a directory stand for another parent: in its first block, be that a leaf or the root of an index,
    /// or in its inode.
    pub(crate) fn set_parent(&mut self, dir: &mut Inode, parent: u32) -> Result<()> {
        if dir.has_flag(flags::INLINE_DATA) {
            dir.base_mut().i_block[..4].copy_from_slice(&parent.to_le_bytes());
            return Ok(());
        }
        let indexed = dir.has_flag(flags::INDEX);
        let bytes = self.dir_block(dir, 0, if indexed { Role::DxRoot } else { Role::Leaf })?;
        let second: Option<RawEntry<'_>> =
            block::entries(&bytes, bytes.len(), self.geo.inodes_count).nth(1).and_then(Result::ok);
        if !matches!(second, Some(RawEntry { at: DOT, name: b"..", .. })) {
            return Err(corrupt(dir.place(), "directory does not begin with . and .."));
        }
        drop(bytes);
        let geo = self.geo.clone();
        let block = self.dir_block_nr(dir, 0)?;
        let bytes = self.block_mut(block)?;
        bytes[DOT..DOT + 4].copy_from_slice(&parent.to_le_bytes());
        if indexed {
            seal_index(bytes, dir, &geo, ROOT_ENTRIES)
        } else {
            block::seal_leaf(bytes, dir, &geo)
        }
        Ok(())
    }
}
