//! One block of a directory: entries that tile it, and its checksum.

use crate::checksum::crc32c;
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::fs::Filesystem;
use crate::geometry::{FileBlock, Geometry};
use crate::inode::Inode;
use crate::raw::{DirEntryHead, DirTail};
use nomount_block::ReadAt;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

pub(super) const HEAD: usize = 8;
pub(super) const TAIL: usize = 12;
const TAIL_TYPE: u8 = 0xDE;

/// An entry found in a block: where it is and what it says.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawEntry<'a> {
    /// Byte offset in the block.
    pub at: usize,
    /// Bytes it takes, with the room after its name.
    pub rec_len: usize,
    /// 0 for an unused entry.
    pub ino: u32,
    pub file_type: u8,
    pub name: &'a [u8],
}

/// Bytes that an entry with a name of `len` bytes needs.
pub(super) fn entry_len(len: usize) -> usize {
    (HEAD + len).next_multiple_of(4)
}

/// `rec_len` as stored: 64 KiB does not fit 16 bits and is written as 65535, read also from 0.
pub(super) fn decode_rec_len(stored: u16, block_size: usize) -> usize {
    match stored {
        65535 | 0 if block_size == 65536 => 65536,
        stored => usize::from(stored),
    }
}

fn encode_rec_len(len: usize) -> u16 {
    if len == 65536 { 65535 } else { len as u16 }
}

/// Bytes of a leaf that entries may fill.
pub(super) fn usable(geo: &Geometry) -> usize {
    geo.block_size as usize - if geo.metadata_csum() { TAIL } else { 0 }
}

/// The entries that tile `bytes`. An entry that does not fit ends the walk with an error.
pub(super) fn entries<'a>(
    bytes: &'a [u8],
    block_size: usize,
    inodes_count: u32,
) -> impl Iterator<Item = Result<RawEntry<'a>, String>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let entry = parse(bytes, at, block_size, inodes_count);
        at = entry.as_ref().map_or(bytes.len(), |entry| at + entry.rec_len);
        Some(entry)
    })
}

fn parse(bytes: &[u8], at: usize, block_size: usize, inodes_count: u32) -> Result<RawEntry<'_>, String> {
    let rest = &bytes[at..];
    let Ok((head, after)) = DirEntryHead::ref_from_prefix(rest) else {
        return Err(format!("an entry at byte {at} does not fit"));
    };
    let rec_len = decode_rec_len(head.rec_len.get(), block_size);
    let (name_len, ino) = (usize::from(head.name_len), head.inode.get());
    if !rec_len.is_multiple_of(4) || rec_len < entry_len(name_len) || rec_len > rest.len() {
        return Err(format!("entry at byte {at} has rec_len {rec_len} for a name of {name_len} bytes"));
    }
    if ino > inodes_count {
        return Err(format!("entry at byte {at} points at inode {ino}, of {inodes_count}"));
    }
    Ok(RawEntry { at, rec_len, ino, file_type: head.file_type, name: &after[..name_len] })
}

pub(super) fn write_head(bytes: &mut [u8], at: usize, ino: u32, rec_len: usize, name_len: usize, file_type: u8) {
    let head = DirEntryHead {
        inode: ino.into(),
        rec_len: encode_rec_len(rec_len).into(),
        name_len: name_len as u8,
        file_type,
    };
    bytes[at..at + HEAD].copy_from_slice(head.as_bytes());
}

pub(super) fn write_entry(bytes: &mut [u8], at: usize, rec_len: usize, ino: u32, file_type: u8, name: &[u8]) {
    write_head(bytes, at, ino, rec_len, name.len(), file_type);
    bytes[at + HEAD..at + HEAD + name.len()].copy_from_slice(name);
}

/// Entries that tile some bytes: of a leaf without its tail, or of an inode.
pub(super) struct Tiled<'a> {
    pub bytes: &'a mut [u8],
    pub block_size: usize,
    pub inodes_count: u32,
}

impl<'a> Tiled<'a> {
    /// The entries of a leaf.
    pub fn leaf(bytes: &'a mut [u8], geo: &Geometry) -> Self {
        let bytes = &mut bytes[..usable(geo)];
        Self { bytes, block_size: geo.block_size as usize, inodes_count: geo.inodes_count }
    }

    /// Puts an entry where one is unused or has room after its name. Returns whether there was such a place.
    pub fn insert(&mut self, ino: u32, file_type: u8, name: &[u8]) -> Result<bool, String> {
        let place = room_for(self.bytes, self.block_size, self.inodes_count, name.len())?;
        let Some((at, used, rec_len)) = place else { return Ok(false) };
        if used > 0 {
            self.set_rec_len(at, used);
        }
        write_entry(self.bytes, at + used, rec_len - used, ino, file_type, name);
        Ok(true)
    }

    /// Takes an entry out: its bytes go to the one before it. Returns whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> Result<bool, String> {
        let mut before: Option<(usize, usize)> = None;
        let mut found = None;
        for entry in entries(self.bytes, self.block_size, self.inodes_count) {
            let entry = entry?;
            if entry.ino != 0 && entry.name == name {
                found = Some((entry.at, entry.rec_len));
                break;
            }
            before = Some((entry.at, entry.rec_len));
        }
        let Some((at, rec_len)) = found else { return Ok(false) };
        self.bytes[at..at + rec_len].fill(0);
        match before {
            Some((before, len)) => self.set_rec_len(before, len + rec_len),
            None => write_head(self.bytes, at, 0, rec_len, 0, 0),
        }
        Ok(true)
    }

    /// Makes a name stand for another inode. Returns whether it was there.
    pub fn point(&mut self, name: &[u8], ino: u32, file_type: u8) -> Result<bool, String> {
        let mut found = None;
        for entry in entries(self.bytes, self.block_size, self.inodes_count) {
            let entry = entry?;
            if entry.ino != 0 && entry.name == name {
                found = Some((entry.at, entry.rec_len));
                break;
            }
        }
        let Some((at, rec_len)) = found else { return Ok(false) };
        write_head(self.bytes, at, ino, rec_len, name.len(), file_type);
        Ok(true)
    }

    fn set_rec_len(&mut self, at: usize, rec_len: usize) {
        self.bytes[at + 4..at + 6].copy_from_slice(&encode_rec_len(rec_len).to_le_bytes());
    }
}

/// Where `bytes` have room for a name of `len` bytes: offset of an entry, bytes it needs itself, and bytes it takes.
pub(super) fn room_for(
    bytes: &[u8],
    block_size: usize,
    inodes_count: u32,
    len: usize,
) -> Result<Option<(usize, usize, usize)>, String> {
    let need = entry_len(len);
    for entry in entries(bytes, block_size, inodes_count) {
        let entry = entry?;
        let used = if entry.ino == 0 { 0 } else { entry_len(entry.name.len()) };
        if entry.rec_len - used >= need {
            return Ok(Some((entry.at, used, entry.rec_len)));
        }
    }
    Ok(None)
}

/// Makes a leaf of entries in the order given, packed from the start; the last one takes what is left.
pub(super) fn fill_leaf(bytes: &mut [u8], geo: &Geometry, list: &[(u32, u8, &[u8])]) {
    let end = usable(geo);
    bytes.fill(0);
    let mut at = 0;
    for (index, (ino, file_type, name)) in list.iter().enumerate() {
        let rec_len = if index + 1 == list.len() { end - at } else { entry_len(name.len()) };
        write_entry(bytes, at, rec_len, *ino, *file_type, name);
        at += rec_len;
    }
    if list.is_empty() {
        write_head(bytes, 0, 0, end, 0, 0);
    }
    if geo.metadata_csum() {
        write_head(bytes, end, 0, TAIL, 0, TAIL_TYPE);
    }
}

/// Stores the checksum of a leaf.
pub(super) fn seal_leaf(bytes: &mut [u8], inode: &Inode, geo: &Geometry) {
    if geo.metadata_csum() {
        let at = bytes.len() - TAIL;
        let sum = crc32c(inode.csum_seed(geo), &bytes[..at]);
        bytes[at + 8..].copy_from_slice(&sum.to_le_bytes());
    }
}

/// What a block of a directory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Leaf,
    DxRoot,
    DxNode,
}

impl<D: ReadAt> Filesystem<D> {
    /// Reads a directory's block and verifies its checksum.
    pub(super) fn dir_block(&self, inode: &Inode, file_block: FileBlock, role: Role) -> Result<Arc<Vec<u8>>> {
        let block = self.dir_block_nr(inode, file_block)?;
        self.check_block(block, 1, || inode.place())?;
        let bytes = self.read_block(block)?;
        if self.geo.metadata_csum() {
            match role {
                Role::Leaf => self.check_leaf(inode, file_block, &bytes)?,
                Role::DxRoot => self.check_index(inode, file_block, &bytes, super::index::ROOT_ENTRIES)?,
                Role::DxNode => self.check_index(inode, file_block, &bytes, super::index::NODE_ENTRIES)?,
            }
        }
        Ok(bytes)
    }

    fn check_leaf(&self, inode: &Inode, file_block: FileBlock, bytes: &[u8]) -> Result<()> {
        let at = bytes.len() - TAIL;
        let tail = DirTail::ref_from_bytes(&bytes[at..]).expect("the slice has the tail's size");
        let place = || format!("{}, directory block {file_block}", inode.place());
        let shape = (tail.det_reserved_zero1.get(), tail.det_rec_len.get(), tail.det_reserved_zero2);
        if shape != (0, TAIL as u16, 0) || tail.det_reserved_ft != TAIL_TYPE {
            return Err(corrupt(place(), "checksum is missing"));
        }
        let (found, wanted) = (tail.det_checksum.get(), crc32c(inode.csum_seed(&self.geo), &bytes[..at]));
        if found == wanted { Ok(()) } else { Err(bad_checksum(place(), found, wanted)) }
    }

    /// The error for an entry that does not fit its block.
    pub(super) fn bad_entry(&self, inode: &Inode, file_block: FileBlock, detail: String) -> Error {
        corrupt(format!("{}, directory block {file_block}", inode.place()), detail)
    }
}
