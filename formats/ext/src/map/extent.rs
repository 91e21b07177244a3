//! Extent trees (ext4.rst, "Extent Tree").

use super::{FileMap, Mapping, Run};
use crate::checksum::crc32c;
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::Inode;
use crate::raw::{ExtentHeader, ExtentIndex, ExtentLeaf};
use nomount_block::{ReadAt, WriteAt};
use zerocopy::{FromBytes, IntoBytes};

const MAGIC: u16 = 0xF30A;
pub(super) const ENTRY: usize = 12;
/// The deepest tree that the kernel accepts (EXT4_MAX_EXTENT_DEPTH).
const MAX_DEPTH: u16 = 5;
/// A written extent is at most this long; longer lengths mean an unwritten one of `len - 32768`.
pub(super) const MAX_WRITTEN: u32 = 32768;
const MAX_UNWRITTEN: u32 = 32767;
/// Entries of the root, which is in the inode.
const ROOT_ENTRIES: usize = 4;

/// A node's entries, checked for shape.
pub(super) struct Node<'a> {
    pub depth: u16,
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
        Ok(Self { depth: found, entries: &rest[..entries * ENTRY] })
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
}

impl<D: ReadAt> Filesystem<D> {
    /// Reads a node below the root and verifies its checksum.
    pub(super) fn extent_block(&self, inode: &Inode, block: BlockNr) -> Result<std::sync::Arc<Vec<u8>>> {
        self.check_block(block, 1, || inode.place())?;
        let bytes = self.read_block(block)?;
        if self.geo.metadata_csum() {
            let max = ExtentHeader::ref_from_prefix(&bytes).expect("a block is longer than a header").0.eh_max.get();
            let tail = ENTRY + ENTRY * usize::from(max);
            if let Some(stored) = bytes.get(tail..tail + 4) {
                let found = u32::from_le_bytes(stored.try_into().expect("four bytes"));
                let wanted = crc32c(inode.csum_seed(&self.geo), &bytes[..tail]);
                if found != wanted {
                    return Err(bad_checksum(format!("{}, extent block {block}", inode.place()), found, wanted));
                }
            }
        }
        Ok(bytes)
    }

    fn check_run(&self, inode: &Inode, run: &Run, from: u64, end: u64) -> Result<()> {
        let start = u64::from(run.file_block);
        if run.len == 0 || start < from || start + u64::from(run.len) > end {
            let detail = format!("extent of {} blocks at file block {start} is outside {from} to {end}", run.len);
            return Err(corrupt(inode.place(), detail));
        }
        self.check_block(run.block, run.len.into(), || inode.place())
    }

    pub(super) fn map_extent(&self, inode: &Inode, file_block: FileBlock) -> Result<Mapping> {
        let wanted = u64::from(file_block);
        // The stretch of the file that the present node answers for.
        let (mut low, mut high) = (0, 1 << 32);
        let mut bytes = inode.base().i_block.to_vec();
        let mut depth = None;
        loop {
            let node = Node::parse(&bytes, depth, &|| inode.place())?;
            if node.depth == 0 {
                let mut before = low;
                for run in node.leaves() {
                    self.check_run(inode, &run, before, high)?;
                    let start = u64::from(run.file_block);
                    if start > wanted {
                        return Ok(Mapping { block: None, len: start - wanted, unwritten: false });
                    }
                    before = start + u64::from(run.len);
                    if wanted < before {
                        let skip = wanted - start;
                        let (block, len) = (Some(run.block + skip), u64::from(run.len) - skip);
                        return Ok(Mapping { block, len, unwritten: run.unwritten });
                    }
                }
                return Ok(Mapping { block: None, len: high - wanted, unwritten: false });
            }
            let mut child = None;
            for (key, block) in node.indexes() {
                let key = u64::from(key);
                if key > wanted {
                    if child.is_none() {
                        return Ok(Mapping { block: None, len: key - wanted, unwritten: false });
                    }
                    high = high.min(key);
                    break;
                }
                (low, child) = (key, Some(block));
            }
            let block = child.ok_or_else(|| corrupt(inode.place(), "extent index is empty"))?;
            depth = Some(node.depth - 1);
            bytes = self.extent_block(inode, block)?.to_vec();
        }
    }

    pub(super) fn load_extents(&self, inode: &Inode, map: &mut FileMap) -> Result<()> {
        self.load_extent_node(inode, &inode.base().i_block, None, (0, 1 << 32), map)
    }

    fn load_extent_node(
        &self,
        inode: &Inode,
        bytes: &[u8],
        depth: Option<u16>,
        (low, high): (u64, u64),
        map: &mut FileMap,
    ) -> Result<()> {
        let node = Node::parse(bytes, depth, &|| inode.place())?;
        if node.depth == 0 {
            let mut before = low;
            for run in node.leaves() {
                self.check_run(inode, &run, before, high)?;
                before = u64::from(run.file_block) + u64::from(run.len);
                map.push(run)?;
            }
            return Ok(());
        }
        let children: Vec<(FileBlock, BlockNr)> = node.indexes().collect();
        for (at, &(key, block)) in children.iter().enumerate() {
            let key = u64::from(key);
            let end = children.get(at + 1).map_or(high, |(next, _)| u64::from(*next));
            if key < low || key >= end || end > high {
                return Err(corrupt(inode.place(), format!("extent index {key} to {end} is outside {low} to {high}")));
            }
            let bytes = self.extent_block(inode, block)?;
            map.nodes.push(block);
            self.load_extent_node(inode, &bytes, Some(node.depth - 1), (key, end), map)?;
        }
        Ok(())
    }
}

/// Cuts runs into pieces that an extent's length can express.
fn leaves_of(runs: &[Run]) -> Vec<ExtentLeaf> {
    let mut leaves = Vec::with_capacity(runs.len());
    for run in runs {
        let limit = if run.unwritten { MAX_UNWRITTEN } else { MAX_WRITTEN };
        let mut done = 0;
        while done < run.len {
            let len = limit.min(run.len - done);
            let block = run.block + u64::from(done);
            leaves.push(ExtentLeaf {
                ee_block: (run.file_block + done).into(),
                ee_len: ((if run.unwritten { len + MAX_WRITTEN } else { len }) as u16).into(),
                ee_start_hi: ((block >> 32) as u16).into(),
                ee_start_lo: (block as u32).into(),
            });
            done += len;
        }
    }
    leaves
}

fn header(entries: usize, max: usize, depth: u16) -> ExtentHeader {
    ExtentHeader {
        eh_magic: MAGIC.into(),
        eh_entries: (entries as u16).into(),
        eh_max: (max as u16).into(),
        eh_depth: depth.into(),
        eh_generation: 0.into(),
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Builds a tree from its leaves up, in new blocks, and puts the root into the inode. Returns how many blocks.
    pub(super) fn store_extents(&mut self, inode: &mut Inode, runs: &[Run], goal: BlockNr) -> Result<u64> {
        let per_node = (self.block_size() - ENTRY) / ENTRY;
        // An extent's header, key and entry are 12 bytes in leaves and indexes alike: one code for all levels.
        let mut level: Vec<(FileBlock, [u8; ENTRY])> = leaves_of(runs)
            .into_iter()
            .map(|leaf| (leaf.ee_block.get(), leaf.as_bytes().try_into().expect("twelve bytes")))
            .collect();
        let mut depth = 0;
        let mut nodes = 0;
        while level.len() > ROOT_ENTRIES {
            if depth == MAX_DEPTH {
                return Err(Error::Limit("a file too fragmented for an extent tree of depth 5".into()));
            }
            let mut above = Vec::with_capacity(level.len().div_ceil(per_node));
            for entries in level.chunks(per_node) {
                let block = self.alloc_block(goal)?;
                let seed = inode.csum_seed(&self.geo);
                let with_csum = self.geo.metadata_csum();
                let bytes = self.block_zeroed(block);
                fill_node(bytes, entries, per_node, depth);
                if with_csum {
                    let tail = ENTRY + ENTRY * per_node;
                    let sum = crc32c(seed, &bytes[..tail]);
                    bytes[tail..tail + 4].copy_from_slice(&sum.to_le_bytes());
                }
                let key = entries[0].0;
                let index = ExtentIndex {
                    ei_block: key.into(),
                    ei_leaf_lo: (block as u32).into(),
                    ei_leaf_hi: ((block >> 32) as u16).into(),
                    ei_unused: 0.into(),
                };
                above.push((key, index.as_bytes().try_into().expect("twelve bytes")));
                nodes += 1;
            }
            level = above;
            depth += 1;
        }
        let root = &mut inode.base_mut().i_block;
        root.fill(0);
        fill_node(root, &level, ROOT_ENTRIES, depth);
        Ok(nodes)
    }
}

fn fill_node(bytes: &mut [u8], entries: &[(FileBlock, [u8; ENTRY])], max: usize, depth: u16) {
    bytes[..ENTRY].copy_from_slice(header(entries.len(), max, depth).as_bytes());
    for (slot, (_, entry)) in bytes[ENTRY..].chunks_exact_mut(ENTRY).zip(entries) {
        slot.copy_from_slice(entry);
    }
}
