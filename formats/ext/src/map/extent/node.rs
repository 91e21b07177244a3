//! The nodes of an extent tree, as bytes.

use super::{ENTRY, MAGIC, MAX_DEPTH, MAX_UNWRITTEN, MAX_WRITTEN};
use crate::error::{Result, corrupt};
use crate::geometry::{BlockNr, FileBlock};
use crate::map::Run;
use crate::raw::{ExtentHeader, ExtentIndex, ExtentLeaf};
use zerocopy::{FromBytes, IntoBytes};

/// An entry of a leaf or an inner node: the first file block it is for, and its twelve bytes. Both kinds are of one
/// size and begin with that number: one code moves them.
pub(super) type Entry = (FileBlock, [u8; ENTRY]);

/// A node's entries, checked for shape.
pub(super) struct Node<'a> {
    pub depth: u16,
    /// Room, in entries.
    pub max: usize,
    entries: &'a [u8],
}

impl<'a> Node<'a> {
    pub fn parse(bytes: &'a [u8], depth: Option<u16>, place: &dyn Fn() -> String) -> Result<Self> {
        let (header, rest) = ExtentHeader::ref_from_prefix(bytes).expect("a node is at least 60 bytes");
        let (entries, max) = (usize::from(header.eh_entries.get()), usize::from(header.eh_max.get()));
        let found = header.eh_depth.get();
        if header.eh_magic.get() != MAGIC {
            return Err(corrupt(place(), format!("extent node's magic is {:#06x}, expected 0xf30a", header.eh_magic)));
        }
        if entries > max || max > rest.len() / ENTRY {
            let room = rest.len() / ENTRY;
            return Err(corrupt(place(), format!("extent node has {entries} of {max} entries, with room for {room}")));
        }
        if found > MAX_DEPTH || depth.is_some_and(|depth| depth != found) {
            let wanted = depth.map_or_else(|| "at most 5".into(), |depth| depth.to_string());
            return Err(corrupt(place(), format!("extent node's depth is {found}, expected {wanted}")));
        }
        if entries == 0 && (found > 0 || depth.is_some()) {
            return Err(corrupt(place(), "extent node below the root, or above leaves, is empty"));
        }
        Ok(Self { depth: found, max, entries: &rest[..entries * ENTRY] })
    }

    pub fn leaves(&self) -> impl DoubleEndedIterator<Item = Run> + ExactSizeIterator + '_ {
        self.entries.chunks_exact(ENTRY).map(|bytes| {
            let leaf = ExtentLeaf::ref_from_bytes(bytes).expect("chunks have the entry's size");
            let len = u32::from(leaf.ee_len.get());
            let unwritten = len > MAX_WRITTEN;
            Run {
                file_block: leaf.ee_block.get(),
                block: u64::from(leaf.ee_start_hi.get()) << 32 | u64::from(leaf.ee_start_lo.get()),
                len: if unwritten { len - MAX_WRITTEN } else { len },
                unwritten,
            }
        })
    }

    pub fn indexes(&self) -> impl DoubleEndedIterator<Item = (FileBlock, BlockNr)> + ExactSizeIterator + '_ {
        self.entries.chunks_exact(ENTRY).map(|bytes| {
            let index = ExtentIndex::ref_from_bytes(bytes).expect("chunks have the entry's size");
            let child = u64::from(index.ei_leaf_hi.get()) << 32 | u64::from(index.ei_leaf_lo.get());
            (index.ei_block.get(), child)
        })
    }

    /// All entries, of whichever kind.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |bytes: &[u8]| {
            let bytes: [u8; ENTRY] = bytes.try_into().expect("chunks have the entry's size");
            (FileBlock::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]), bytes)
        };
        self.entries.chunks_exact(ENTRY).map(entry).collect()
    }
}

/// Cuts runs into pieces that an extent's length can express.
pub(super) fn leaves_of(runs: &[Run]) -> Vec<Entry> {
    let mut leaves = Vec::with_capacity(runs.len());
    for run in runs {
        let limit = if run.unwritten { MAX_UNWRITTEN } else { MAX_WRITTEN };
        let mut done = 0;
        while done < run.len {
            let len = limit.min(run.len - done);
            let block = run.block + u64::from(done);
            let leaf = ExtentLeaf {
                ee_block: (run.file_block + done).into(),
                ee_len: ((if run.unwritten { len + MAX_WRITTEN } else { len }) as u16).into(),
                ee_start_hi: ((block >> 32) as u16).into(),
                ee_start_lo: (block as u32).into(),
            };
            leaves.push((run.file_block + done, leaf.as_bytes().try_into().expect("twelve bytes")));
            done += len;
        }
    }
    leaves
}

/// The entry of an inner node that leads to `block`, whose first file block is `key`.
pub(super) fn index_of(key: FileBlock, block: BlockNr) -> Entry {
    let index = ExtentIndex {
        ei_block: key.into(),
        ei_leaf_lo: (block as u32).into(),
        ei_leaf_hi: ((block >> 32) as u16).into(),
        ei_unused: 0.into(),
    };
    (key, index.as_bytes().try_into().expect("twelve bytes"))
}

/// Fills a node, leaving what follows its entries as it is.
pub(super) fn fill_node(bytes: &mut [u8], entries: &[Entry], max: usize, depth: u16) {
    let header = ExtentHeader {
        eh_magic: MAGIC.into(),
        eh_entries: (entries.len() as u16).into(),
        eh_max: (max as u16).into(),
        eh_depth: depth.into(),
        eh_generation: 0.into(),
    };
    bytes[..ENTRY].copy_from_slice(header.as_bytes());
    for (slot, (_, entry)) in bytes[ENTRY..].chunks_exact_mut(ENTRY).zip(entries) {
        slot.copy_from_slice(entry);
    }
}
