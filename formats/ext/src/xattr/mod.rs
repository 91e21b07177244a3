//! Extended attributes: in the inode, in a block, or with an inode for the value (ext4.rst, "Extended Attributes").

pub(crate) mod acl_form;
mod block;
pub(crate) mod name;
mod read;
mod set;
mod value_inode;

pub use acl_form::{acl_to_api, acl_to_disk};

use crate::inode::Inode;
use crate::raw::XattrEntry;
use zerocopy::IntoBytes;

/// At the start of the attributes in an inode, and of a block of them.
const MAGIC: u32 = 0xEA02_0000;
const ENTRY: usize = 16;
const BLOCK_HEADER: usize = 32;
/// The list of entries ends with a zero word.
const TERMINATOR: usize = 4;
/// The longest value: Linux' own limit (XATTR_SIZE_MAX).
const MAX_VALUE: usize = 1 << 16;
/// All values of one inode that are in inodes of their own: sixteen of the largest.
const MAX_VALUES: u64 = 1 << 20;
/// Most inodes that share one attribute block (EXT4_XATTR_REFCOUNT_MAX).
const MAX_REFCOUNT: u32 = 1024;

/// An attribute as it is stored: its entry, the name without its prefix, the value.
pub(crate) type Stored = (XattrEntry, Vec<u8>, Vec<u8>);

/// An attribute to be stored.
#[derive(Debug, Clone)]
struct Attr {
    index: u8,
    name: Vec<u8>,
    value: Value,
}

/// Where a value is, or is to be.
#[derive(Debug, Clone)]
enum Value {
    /// With its entry.
    Here(Vec<u8>),
    /// In an inode of its own, still to be made.
    Own(Vec<u8>),
    /// In the inode `ino`; the entry's hash stays as it is.
    Inode { ino: u32, size: u32, e_hash: u32 },
}

impl Attr {
    fn is(&self, index: u8, name: &[u8]) -> bool {
        self.index == index && self.name == name
    }

    /// Bytes it takes where its entry is.
    fn len(&self) -> usize {
        let value = match &self.value {
            Value::Here(value) => value.len().next_multiple_of(4),
            Value::Own(_) | Value::Inode { .. } => 0,
        };
        ENTRY + self.name.len().next_multiple_of(4) + value
    }

    /// The order in a block, by which a kernel searches.
    fn sort_key(&self) -> (u8, usize, &[u8]) {
        (self.index, self.name.len(), &self.name)
    }

    /// The inode that holds its value.
    fn value_ino(&self) -> Option<u32> {
        match self.value {
            Value::Inode { ino, .. } => Some(ino),
            _ => None,
        }
    }

    /// `e_hash` where the entry is in a block.
    fn hash(&self) -> u32 {
        match &self.value {
            Value::Here(value) => entry_hash(&self.name, value),
            Value::Inode { e_hash, .. } => *e_hash,
            Value::Own(_) => unreachable!("its inode is made before the entry is written"),
        }
    }
}

/// `e_hash`: over the name's bytes and the value's padded words. Of a value in an inode of its own, the only word is
/// the value's checksum.
fn entry_hash(name: &[u8], value: &[u8]) -> u32 {
    let name = name.iter().fold(0u32, |hash, byte| hash << 5 ^ hash >> 27 ^ u32::from(*byte));
    value.chunks(4).fold(name, |hash, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        hash << 16 ^ hash >> 16 ^ u32::from_le_bytes(word)
    })
}

/// Byte offset of the first entry in an inode; none where it has no room for any.
fn inode_room(inode: &Inode) -> Option<usize> {
    let extra = inode.extra_isize();
    let start = 128 + extra + 4;
    (extra > 0 && start + 4 <= inode.bytes().len()).then_some(start)
}

/// Bytes for entries and values in an inode.
fn inode_capacity(inode: &Inode) -> usize {
    inode_room(inode).map_or(0, |start| inode.bytes().len() - start - TERMINATOR)
}

fn fits(list: &[Attr], attr: &Attr, room: usize) -> bool {
    attr.len() + list.iter().map(Attr::len).sum::<usize>() <= room
}

/// Writes entries from `start` and values from the end of `bytes`; offsets count from `values_at`.
fn write_attrs(bytes: &mut [u8], start: usize, values_at: usize, list: &[Attr], in_block: bool) {
    bytes[start..].fill(0);
    let (mut at, mut end) = (start, bytes.len());
    for attr in list {
        let (value, ino, size) = match &attr.value {
            Value::Here(value) => (&value[..], 0, value.len() as u32),
            Value::Inode { ino, size, .. } => (&[][..], *ino, *size),
            Value::Own(_) => unreachable!("its inode is made before the entry is written"),
        };
        end -= value.len().next_multiple_of(4);
        let offset = if value.is_empty() { 0 } else { end - values_at };
        let entry = XattrEntry {
            e_name_len: attr.name.len() as u8,
            e_name_index: attr.index,
            e_value_offs: (offset as u16).into(),
            e_value_inum: ino.into(),
            e_value_size: size.into(),
            e_hash: if in_block || ino != 0 { attr.hash() } else { 0 }.into(),
        };
        bytes[at..at + ENTRY].copy_from_slice(entry.as_bytes());
        bytes[at + ENTRY..at + ENTRY + attr.name.len()].copy_from_slice(&attr.name);
        bytes[end..end + value.len()].copy_from_slice(value);
        at += ENTRY + attr.name.len().next_multiple_of(4);
    }
}
