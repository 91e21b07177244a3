//! Directories: listing them and finding names.

mod block;
mod hash;
mod index;
mod insert;

pub(crate) use hash::{Algorithm, Hasher};
pub(crate) use insert::check_name;

use crate::error::{Error, Result, corrupt};
use crate::features::{compat, incompat};
use crate::fs::Filesystem;
use crate::geometry::FileBlock;
use crate::inode::{FileType, Inode, flags};
use block::{RawEntry, Role};
use nomount_block::ReadAt;
use std::ops::ControlFlow;

/// The longest name.
pub const MAX_NAME: usize = 255;
/// The longest directory: 2 GiB, Linux' own limit without large_dir. One block can stand in many places of a map, so
/// the device does not bound it.
pub(crate) const MAX_DIR_SIZE: u64 = 1 << 31;
/// `.` and `..` of an inline directory are one inode number.
const INLINE_PARENT: usize = 4;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name: raw bytes of the image, which may hold anything.
    pub name: Vec<u8>,
    /// The inode it stands for.
    pub ino: u32,
    /// What it stands for, where the filesystem stores that with the name.
    pub file_type: Option<FileType>,
}

fn type_from_entry(file_type: u8) -> Option<FileType> {
    Some(match file_type {
        1 => FileType::Regular,
        2 => FileType::Directory,
        3 => FileType::CharDevice,
        4 => FileType::BlockDevice,
        5 => FileType::Fifo,
        6 => FileType::Socket,
        7 => FileType::Symlink,
        _ => return None,
    })
}

impl<D: ReadAt> Filesystem<D> {
    /// Calls `visit` for each entry of a directory, `.` and `..` among them, until it breaks.
    pub fn read_dir<B>(&self, ino: u32, mut visit: impl FnMut(DirEntry) -> ControlFlow<B>) -> Result<Option<B>> {
        let inode = self.dir_inode(ino)?;
        let with_type = self.geo.features.incompat(incompat::FILETYPE);
        let entry = |raw: RawEntry<'_>| DirEntry {
            name: raw.name.to_vec(),
            ino: raw.ino,
            file_type: if with_type { type_from_entry(raw.file_type & 7) } else { None },
        };
        if inode.has_flag(flags::INLINE_DATA) {
            return self.visit_inline(&inode, |raw| visit(entry(raw)));
        }
        for file_block in 0..self.dir_blocks(&inode)? {
            if let Some(value) = self.visit_block(&inode, file_block, |raw| visit(entry(raw)))? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Finds a name in a directory.
    pub fn lookup(&self, ino: u32, name: &[u8]) -> Result<Option<DirEntry>> {
        let inode = self.dir_inode(ino)?;
        self.lookup_in(&inode, name)
    }

    pub(crate) fn lookup_in(&self, inode: &Inode, name: &[u8]) -> Result<Option<DirEntry>> {
        let find = |raw: RawEntry<'_>| {
            if raw.name == name { ControlFlow::Break((raw.ino, raw.file_type)) } else { ControlFlow::Continue(()) }
        };
        let found = if inode.has_flag(flags::INLINE_DATA) {
            self.visit_inline(inode, find)?
        } else if self.is_indexed(inode) && name != b"." && name != b".." {
            self.lookup_indexed(inode, name, find)?
        } else {
            self.lookup_linear(inode, find)?
        };
        Ok(found.map(|(ino, file_type)| DirEntry {
            name: name.to_vec(),
            ino,
            file_type: type_from_entry(file_type & 7).filter(|_| self.geo.features.incompat(incompat::FILETYPE)),
        }))
    }

    /// Whether the index may be used: casefolded and encrypted names hash in ways that are not known here.
    pub(crate) fn is_indexed(&self, inode: &Inode) -> bool {
        inode.has_flag(flags::INDEX)
            && self.geo.features.compat(compat::DIR_INDEX)
            && !inode.has_flag(flags::CASEFOLD | flags::ENCRYPT)
    }

    fn lookup_linear<B>(
        &self,
        inode: &Inode,
        mut find: impl FnMut(RawEntry<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>> {
        for file_block in 0..self.dir_blocks(inode)? {
            if let Some(found) = self.visit_block(inode, file_block, &mut find)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn lookup_indexed<B>(
        &self,
        inode: &Inode,
        name: &[u8],
        mut find: impl FnMut(RawEntry<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>> {
        let (hash, mut frames, mut leaf) = self.dx_probe(inode, name)?;
        loop {
            if let Some(found) = self.visit_leaf(inode, leaf, &mut find)? {
                return Ok(Some(found));
            }
            match self.dx_next_leaf(inode, hash, &mut frames)? {
                Some(next) => leaf = next,
                None => return Ok(None),
            }
        }
    }

    /// Number of blocks of a directory.
    pub(crate) fn dir_blocks(&self, inode: &Inode) -> Result<FileBlock> {
        let size = u64::from(self.geo.block_size);
        let blocks = inode.size() / size;
        if !inode.size().is_multiple_of(size) || blocks == 0 || blocks > self.geo.blocks_count {
            return Err(corrupt(inode.place(), format!("directory has {} bytes", inode.size())));
        }
        if inode.size() > MAX_DIR_SIZE {
            return Err(Error::Limit(format!("{}: a directory of {} bytes", inode.place(), inode.size())));
        }
        Ok(blocks as FileBlock)
    }

    /// Visits the used entries of a block whose role is not known yet.
    fn visit_block<B>(
        &self,
        inode: &Inode,
        file_block: FileBlock,
        visit: impl FnMut(RawEntry<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>> {
        if !inode.has_flag(flags::INDEX) {
            return self.visit_leaf(inode, file_block, visit);
        }
        let role = if file_block == 0 { Role::DxRoot } else { self.role_of(inode, file_block)? };
        match role {
            Role::DxNode => self.dir_block(inode, file_block, role).map(|_| None),
            role => {
                let bytes = self.dir_block(inode, file_block, role)?;
                self.visit_entries(inode, file_block, &bytes, role, visit)
            }
        }
    }

    /// Only a node's first entry spans the whole block where leaves have a checksum; without one an empty leaf looks
    /// the same, and is as empty to a reader.
    fn role_of(&self, inode: &Inode, file_block: FileBlock) -> Result<Role> {
        let block = self.dir_block_nr(inode, file_block)?;
        self.check_block(block, 1, || inode.place())?;
        let bytes = self.read_block(block)?;
        let rec_len = block::decode_rec_len(u16::from_le_bytes([bytes[4], bytes[5]]), bytes.len());
        let node = bytes[..4] == [0; 4] && rec_len == bytes.len() && self.geo.metadata_csum();
        Ok(if node { Role::DxNode } else { Role::Leaf })
    }

    fn visit_leaf<B>(
        &self,
        inode: &Inode,
        file_block: FileBlock,
        visit: impl FnMut(RawEntry<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>> {
        let bytes = self.dir_block(inode, file_block, Role::Leaf)?;
        self.visit_entries(inode, file_block, &bytes, Role::Leaf, visit)
    }

    fn visit_entries<B>(
        &self,
        inode: &Inode,
        file_block: FileBlock,
        bytes: &[u8],
        role: Role,
        mut visit: impl FnMut(RawEntry<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>> {
        // The root's second entry spans the index and the tail, whatever bytes they are.
        let end = if role == Role::Leaf { block::usable(&self.geo) } else { bytes.len() };
        for raw in block::entries(&bytes[..end], bytes.len(), self.geo.inodes_count) {
            let raw = raw.map_err(|detail| self.bad_entry(inode, file_block, detail))?;
            if raw.ino != 0
                && let ControlFlow::Break(value) = visit(raw)
            {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Entries of a directory that is stored in its inode (ext4.rst, "Inline Directories").
    fn visit_inline<B>(
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

    /// Finds an inode by its path from the root, without following symbolic links.
    pub fn resolve(&self, path: &[u8]) -> Result<u32> {
        let mut ino = crate::inode::ROOT_INO;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            ino = self.lookup(ino, name)?.ok_or(Error::NotFound)?.ino;
        }
        Ok(ino)
    }
}
