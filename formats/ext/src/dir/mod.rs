//! Directories: listing them and finding names.

mod block;
mod grow;
mod hash;
mod index;
mod inline;
mod insert;
mod remove;
mod split;

pub(crate) use hash::{Algorithm, Hasher};
pub(crate) use insert::check_name;

use crate::error::{Error, Result, corrupt};
use crate::features::{compat, incompat};
use crate::fs::Filesystem;
use crate::geometry::{FileBlock, Geometry};
use crate::inode::{FileType, Inode, flags};
use block::{RawEntry, Role};
use nomount_block::ReadAt;
use std::ops::ControlFlow;

/// The longest name.
pub const MAX_NAME: usize = 255;
/// The longest directory without large_dir: 2 GiB, Linux' own limit. One block can stand in many places of a map, so
/// the device does not bound it.
const MAX_DIR_SIZE: u64 = 1 << 31;
/// The longest directory with large_dir: some 200 million names. Linux' own limit is 2^28 blocks, which a walk over a
/// hostile image should not take.
const MAX_LARGE_DIR_SIZE: u64 = 1 << 34;

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

/// Where an entry is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this block of the directory.
    Block(FileBlock),
    /// In the inode.
    Inline,
}

/// What a search for a name found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub ino: u32,
    /// As stored.
    pub file_type: u8,
    pub place: Place,
}

/// A new leaf of a directory with these names, all of one type, and its checksum.
pub(crate) fn new_leaf(inode: &Inode, geo: &Geometry, names: &[(u32, &[u8])], file_type: u8) -> Vec<u8> {
    let list: Vec<_> = names.iter().map(|(ino, name)| (*ino, file_type, *name)).collect();
    let mut bytes = vec![0; geo.block_size as usize];
    block::fill_leaf(&mut bytes, geo, &list);
    block::seal_leaf(&mut bytes, inode, geo);
    bytes
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
        Ok(self.find_in(inode, name)?.map(|found| DirEntry {
            name: name.to_vec(),
            ino: found.ino,
            file_type: type_from_entry(found.file_type & 7).filter(|_| self.geo.features.incompat(incompat::FILETYPE)),
        }))
    }

    /// Finds a name in a directory, and where it is.
    pub(crate) fn find_in(&self, inode: &Inode, name: &[u8]) -> Result<Option<Found>> {
        let find = |raw: RawEntry<'_>| {
            if raw.name == name { ControlFlow::Break((raw.ino, raw.file_type)) } else { ControlFlow::Continue(()) }
        };
        let found = if inode.has_flag(flags::INLINE_DATA) {
            self.visit_inline(inode, find)?.map(|found| (found, Place::Inline))
        } else if self.is_indexed(inode) && name != b"." && name != b".." {
            self.lookup_indexed(inode, name, find)?
        } else {
            self.lookup_linear(inode, name, find)?
        };
        Ok(found.map(|((ino, file_type), place)| Found { ino, file_type, place }))
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
        name: &[u8],
        mut find: impl FnMut(RawEntry<'_>) -> ControlFlow<B>,
    ) -> Result<Option<(B, Place)>> {
        // The dots are in the first block or nowhere.
        let blocks = if name == b"." || name == b".." { 1 } else { self.dir_blocks(inode)? };
        for file_block in 0..blocks {
            if let Some(found) = self.visit_block(inode, file_block, &mut find)? {
                return Ok(Some((found, Place::Block(file_block))));
            }
        }
        Ok(None)
    }

    fn lookup_indexed<B>(
        &self,
        inode: &Inode,
        name: &[u8],
        mut find: impl FnMut(RawEntry<'_>) -> ControlFlow<B>,
    ) -> Result<Option<(B, Place)>> {
        let (hash, mut frames, mut leaf) = self.dx_probe(inode, name)?;
        loop {
            if let Some(found) = self.visit_leaf(inode, leaf, &mut find)? {
                return Ok(Some((found, Place::Block(leaf))));
            }
            match self.dx_next_leaf(inode, hash, &mut frames)? {
                Some(next) => leaf = next,
                None => return Ok(None),
            }
        }
    }

    /// The directory that a directory's `..` names.
    pub(crate) fn parent_of(&self, inode: &Inode) -> Result<u32> {
        match self.find_in(inode, b"..")? {
            Some(found) => Ok(found.ino),
            None => Err(corrupt(inode.place(), "directory without ..")),
        }
    }

    /// Whether a directory has no names but `.` and `..`.
    pub(crate) fn is_empty_dir(&self, inode: &Inode) -> Result<bool> {
        let blocks = if inode.has_flag(flags::INLINE_DATA) { 1 } else { self.dir_blocks(inode)? };
        for file_block in 0..blocks {
            if self.first_name(inode, file_block)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first name but `.` and `..` in a block of a directory, with its inode. An inline directory is one block.
    pub(crate) fn first_name(&self, inode: &Inode, file_block: FileBlock) -> Result<Option<(Vec<u8>, Found)>> {
        let inline = inode.has_flag(flags::INLINE_DATA);
        let place = if inline { Place::Inline } else { Place::Block(file_block) };
        let find = |raw: RawEntry<'_>| match raw.name {
            b"." | b".." => ControlFlow::Continue(()),
            name => ControlFlow::Break((name.to_vec(), Found { ino: raw.ino, file_type: raw.file_type, place })),
        };
        if inline { self.visit_inline(inode, find) } else { self.visit_block(inode, file_block, find) }
    }

    /// The most bytes that a directory of this filesystem may have.
    pub(crate) fn max_dir_size(&self) -> u64 {
        if self.geo.features.incompat(incompat::LARGEDIR) { MAX_LARGE_DIR_SIZE } else { MAX_DIR_SIZE }
    }

    /// Number of blocks of a directory.
    pub(crate) fn dir_blocks(&self, inode: &Inode) -> Result<FileBlock> {
        let size = u64::from(self.geo.block_size);
        let blocks = inode.size() / size;
        if !inode.size().is_multiple_of(size) || blocks == 0 || blocks > self.geo.blocks_count {
            return Err(corrupt(inode.place(), format!("directory has {} bytes", inode.size())));
        }
        if inode.size() > self.max_dir_size() {
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

    /// Finds an inode by its path from the root, without following symbolic links.
    pub fn resolve(&self, path: &[u8]) -> Result<u32> {
        let mut ino = crate::inode::ROOT_INO;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            ino = self.lookup(ino, name)?.ok_or(Error::NotFound)?.ino;
        }
        Ok(ino)
    }
}
