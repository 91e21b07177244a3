//! Directories that are stored in their inode (ext4.rst, "Inline Directories"): the parent's number and entries in
//! the bytes of the block map, then entries in the value of `system.data`.

use super::DirEntry;
use super::block::{self, RawEntry, Tiled};
use crate::error::{Result, corrupt};
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::inode::{FileType, Inode, flags};
use nomount_block::{ReadAt, WriteAt};
use std::ops::ControlFlow;

/// `.` and `..` of an inline directory are one inode number.
const INLINE_PARENT: usize = 4;

impl<D: ReadAt> Filesystem<D> {
    /// Visits the used entries, `.` and `..` first.
    pub(super) fn visit_inline<B>(
        &self,
        inode: &Inode,
        mut visit: impl FnMut(RawEntry<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>> {
        let (start, more) = self.inline_parts(inode)?;
        let parent = u32::from_le_bytes(start[..INLINE_PARENT].try_into().expect("four bytes"));
        if parent == 0 || parent > self.geo.inodes_count {
            return Err(corrupt(inode.place(), format!("inline directory's parent is inode {parent}")));
        }
        for (name, ino) in [(&b"."[..], inode.ino()), (b"..", parent)] {
            let file_type = FileType::Directory.entry_type();
            if let ControlFlow::Break(value) = visit(RawEntry { at: 0, rec_len: 0, ino, file_type, name }) {
                return Ok(Some(value));
            }
        }
        for part in [&start[INLINE_PARENT..], &more[..]] {
            for raw in block::entries(part, self.block_size(), self.geo.inodes_count) {
                let raw = raw.map_err(|detail| corrupt(inode.place(), format!("inline directory: {detail}")))?;
                if raw.ino != 0
                    && let ControlFlow::Break(value) = visit(raw)
                {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }
}

/// Bytes of an inline directory in the block map's place.
const START: usize = 60;
/// What `system.data` is to the name-space table: index 7, without its prefix.
const SYSTEM_DATA: (u8, &[u8]) = (7, b"data");

impl<D: WriteAt> Filesystem<D> {
    /// Changes the entries of an inline directory: the first part for which `edit` says that it was done.
    pub(super) fn edit_inline(
        &mut self,
        dir: &mut Inode,
        mut edit: impl FnMut(Tiled<'_>) -> Result<bool, String>,
    ) -> Result<bool> {
        let (mut start, mut more) = self.inline_parts(dir)?;
        let (block_size, inodes_count) = (self.block_size(), self.geo.inodes_count);
        let place = dir.place();
        let mut try_part = |bytes: &mut [u8]| {
            edit(Tiled { bytes, block_size, inodes_count })
                .map_err(|detail| corrupt(&*place, format!("inline directory: {detail}")))
        };
        if try_part(&mut start[INLINE_PARENT..])? {
            dir.base_mut().i_block = start;
            return Ok(true);
        }
        Ok(try_part(&mut more)? && self.store_inline_value(dir, &more)?)
    }

    /// Puts an entry into an inline directory, which may take more of its inode for that. Returns whether it fitted.
    pub(super) fn insert_inline(&mut self, dir: &mut Inode, entry: &DirEntry, file_type: u8) -> Result<bool> {
        if self.edit_inline(dir, |mut part| part.insert(entry.ino, file_type, &entry.name))? {
            return Ok(true);
        }
        let (_, mut more) = self.inline_parts(dir)?;
        let (at, len) = (more.len(), block::entry_len(entry.name.len()));
        more.resize(at + len, 0);
        block::write_entry(&mut more, at, len, entry.ino, file_type, &entry.name);
        if !self.store_inline_value(dir, &more)? {
            return Ok(false);
        }
        dir.set_size((START + more.len()) as u64);
        Ok(true)
    }

    /// Moves an inline directory out into a block.
    pub(super) fn leave_inline_dir(&mut self, dir: &mut Inode) -> Result<()> {
        let mut all = Vec::new();
        self.visit_inline::<()>(dir, |raw| {
            all.push((raw.ino, self.stored_type(raw.file_type), raw.name.to_vec()));
            ControlFlow::Continue(())
        })?;
        self.leave_inline(dir)?;
        dir.set_size(0);
        let list: Vec<(u32, u8, &[u8])> = all.iter().map(|(ino, kind, name)| (*ino, *kind, &name[..])).collect();
        self.new_leaf(dir, &list)?;
        Ok(())
    }

    /// The type of an entry as blocks store it: 0 where the filesystem does not.
    fn stored_type(&self, file_type: u8) -> u8 {
        if self.geo.features.incompat(incompat::FILETYPE) { file_type } else { 0 }
    }

    /// Makes a new directory an inline one, where the filesystem and the inode can hold it. Returns whether they can.
    pub(crate) fn init_inline_dir(&mut self, inode: &mut Inode, parent: u32) -> Result<bool> {
        if !self.geo.features.incompat(incompat::INLINE_DATA) || !self.store_inline_value(inode, &[])? {
            return Ok(false);
        }
        inode.set_flag(flags::EXTENTS, false);
        inode.set_flag(flags::INLINE_DATA, true);
        let start = &mut inode.base_mut().i_block;
        start.fill(0);
        start[..INLINE_PARENT].copy_from_slice(&parent.to_le_bytes());
        block::write_head(&mut start[INLINE_PARENT..], 0, 0, START - INLINE_PARENT, 0, 0);
        inode.set_size(START as u64);
        Ok(true)
    }

    fn store_inline_value(&self, inode: &mut Inode, value: &[u8]) -> Result<bool> {
        self.set_inode_attr(inode, SYSTEM_DATA, Some(value))
    }
}
