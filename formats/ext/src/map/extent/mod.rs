//! Extent trees (ext4.rst, "Extent Tree").

mod edit;
mod node;
mod store;

use super::{FileMap, Mapping, Run};
use crate::checksum::crc32c;
use crate::error::{Result, bad_checksum, corrupt};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::Inode;
use crate::raw::ExtentHeader;
use node::Node;
use nomount_block::ReadAt;
use zerocopy::FromBytes;

const MAGIC: u16 = 0xF30A;
const ENTRY: usize = 12;
/// The deepest tree that the kernel accepts (EXT4_MAX_EXTENT_DEPTH).
const MAX_DEPTH: u16 = 5;
/// A written extent is at most this long; longer lengths mean an unwritten one of `len - 32768`.
const MAX_WRITTEN: u32 = 32768;
const MAX_UNWRITTEN: u32 = 32767;
/// Entries of the root, which is in the inode.
const ROOT_ENTRIES: usize = 4;

impl<D: ReadAt> Filesystem<D> {
    /// Reads a node below the root and verifies its checksum.
    fn extent_block(&self, inode: &Inode, block: BlockNr) -> Result<std::sync::Arc<Vec<u8>>> {
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
            map.push_node(block)?;
            self.load_extent_node(inode, &bytes, Some(node.depth - 1), (key, end), map)?;
        }
        Ok(())
    }
}
