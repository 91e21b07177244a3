//! Index blocks of a directory: the root in its first block and the nodes below (ext4.rst, "Hash Tree Directories").

use super::block::{Role, decode_rec_len};
use super::hash::{Algorithm, Hasher};
use crate::checksum::crc32c;
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::features::incompat;
use crate::fs::Filesystem;
use crate::geometry::{FileBlock, Geometry};
use crate::inode::Inode;
use crate::raw::{DxRootInfo, DxTail};
use nomount_block::ReadAt;
use std::sync::Arc;
use zerocopy::FromBytes;

/// Byte offset of the entries in the root, after `.`, `..` and the root's own fields.
pub(super) const ROOT_ENTRIES: usize = 32;
/// Byte offset of the entries in a node, after an entry that hides it from a linear walk.
pub(super) const NODE_ENTRIES: usize = 8;
pub(super) const ROOT_INFO: usize = 24;
const ENTRY: usize = 8;
/// The upper four bits of a block number in an index are not part of it, to Linux and to e2fsck.
const BLOCK_MASK: u32 = 0x0FFF_FFFF;

/// Entries that an index block of this filesystem has room for.
pub(super) fn limit(geo: &Geometry, entries_at: usize) -> usize {
    let tail = if geo.metadata_csum() { size_of::<DxTail>() } else { 0 };
    (geo.block_size as usize - entries_at - tail) / ENTRY
}

/// The entries of an index block, over its raw bytes.
#[derive(Debug)]
pub(super) struct Index<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Index<'a> {
    pub fn new(bytes: &'a [u8], entries_at: usize) -> Self {
        Self { bytes, at: entries_at }
    }

    fn half(&self, offset: usize) -> usize {
        usize::from(u16::from_le_bytes([self.bytes[self.at + offset], self.bytes[self.at + offset + 1]]))
    }

    pub fn limit(&self) -> usize {
        self.half(0)
    }

    pub fn count(&self) -> usize {
        self.half(2)
    }

    fn word(&self, entry: usize, offset: usize) -> u32 {
        let at = self.at + entry * ENTRY + offset;
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("four bytes"))
    }

    /// The lowest hash below an entry, with the continuation bit; 0 for the first.
    pub fn hash(&self, entry: usize) -> u32 {
        if entry == 0 { 0 } else { self.word(entry, 0) }
    }

    /// The block below an entry.
    pub fn block(&self, entry: usize) -> FileBlock {
        self.word(entry, 4) & BLOCK_MASK
    }

    /// The last entry whose hash is at most `hash`.
    pub fn find(&self, hash: u32) -> usize {
        let (mut low, mut high) = (0, self.count());
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.hash(middle) <= hash { low = middle } else { high = middle }
        }
        low
    }
}

/// One step of the way from the root to a leaf.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// The index block, in the directory.
    pub file_block: FileBlock,
    pub bytes: Arc<Vec<u8>>,
    /// Byte offset of its entries.
    pub entries_at: usize,
    /// The entry taken.
    pub at: usize,
}

impl Frame {
    pub fn index(&self) -> Index<'_> {
        Index::new(&self.bytes, self.entries_at)
    }
}

/// Writes an index block's entries and count. The first entry's hash slot holds limit and count.
pub(super) fn write_entries(bytes: &mut [u8], entries_at: usize, limit: usize, entries: &[(u32, FileBlock)]) {
    for (slot, (hash, block)) in bytes[entries_at..].chunks_exact_mut(ENTRY).zip(entries) {
        slot[..4].copy_from_slice(&hash.to_le_bytes());
        slot[4..].copy_from_slice(&block.to_le_bytes());
    }
    bytes[entries_at..entries_at + 2].copy_from_slice(&(limit as u16).to_le_bytes());
    bytes[entries_at + 2..entries_at + 4].copy_from_slice(&(entries.len() as u16).to_le_bytes());
}

fn index_checksum(inode: &Inode, geo: &Geometry, bytes: &[u8], entries_at: usize) -> (usize, u32) {
    let index = Index::new(bytes, entries_at);
    let tail = entries_at + index.limit() * ENTRY;
    let sum = crc32c(inode.csum_seed(geo), &bytes[..entries_at + index.count() * ENTRY]);
    // The tail's reserved word as it stands, then a zero in place of the checksum.
    (tail, crc32c(crc32c(sum, &bytes[tail..tail + 4]), &[0; 4]))
}

/// Stores the checksum of an index block whose limit and count are right.
pub(super) fn seal_index(bytes: &mut [u8], inode: &Inode, geo: &Geometry, entries_at: usize) {
    if geo.metadata_csum() {
        let (tail, sum) = index_checksum(inode, geo, bytes, entries_at);
        bytes[tail + 4..tail + 8].copy_from_slice(&sum.to_le_bytes());
    }
}

impl<D: ReadAt> Filesystem<D> {
    pub(super) fn check_index(&self, inode: &Inode, file_block: FileBlock, bytes: &[u8], at: usize) -> Result<()> {
        self.check_index_shape(inode, file_block, bytes, at)?;
        let (tail, wanted) = index_checksum(inode, &self.geo, bytes, at);
        let found = u32::from_le_bytes(bytes[tail + 4..tail + 8].try_into().expect("four bytes"));
        if found == wanted {
            return Ok(());
        }
        Err(bad_checksum(format!("{}, directory index block {file_block}", inode.place()), found, wanted))
    }

    fn check_index_shape(&self, inode: &Inode, file_block: FileBlock, bytes: &[u8], at: usize) -> Result<()> {
        let index = Index::new(bytes, at);
        let (wanted, limit, count) = (limit(&self.geo, at), index.limit(), index.count());
        if limit != wanted || count == 0 || count > limit {
            let place = format!("{}, directory index block {file_block}", inode.place());
            return Err(corrupt(place, format!("{count} of {limit} entries, expected room for {wanted}")));
        }
        Ok(())
    }

    /// The hash function of an indexed directory and the number of levels below its root.
    pub(super) fn dx_root_info(&self, inode: &Inode, bytes: &[u8]) -> Result<(Hasher, u8)> {
        let place = || format!("{}, directory index root", inode.place());
        let info = DxRootInfo::ref_from_prefix(&bytes[ROOT_INFO..]).expect("a block is longer than that").0;
        let deepest = if self.geo.features.incompat(incompat::LARGEDIR) { 2 } else { 1 };
        if info.info_length != 8 || info.unused_flags & 1 != 0 || info.indirect_levels > deepest {
            let detail = format!(
                "info_length is {}, unused_flags {:#x}, indirect_levels {} of at most {deepest}",
                info.info_length, info.unused_flags, info.indirect_levels
            );
            return Err(corrupt(place(), detail));
        }
        let Some((algorithm, signed)) = Algorithm::from_version(info.hash_version) else {
            return Err(Error::Unsupported(format!("directory hash version {}", info.hash_version)));
        };
        Ok((self.hasher(algorithm, signed), info.indirect_levels))
    }

    /// A hash function with this filesystem's seed and signedness of characters.
    pub(crate) fn hasher(&self, algorithm: Algorithm, signed: Option<bool>) -> Hasher {
        const UNSIGNED_HASH: u32 = 2;
        let by_flags = self.state.sb.s_flags.get() & UNSIGNED_HASH == 0;
        let seed = std::array::from_fn(|at| self.state.sb.s_hash_seed[at].get());
        Hasher { algorithm, signed: signed.unwrap_or(by_flags), seed }
    }

    /// Walks from the root to the leaf where `name` belongs. Returns the name's hash, the way, and the leaf.
    pub(super) fn dx_probe(&self, inode: &Inode, name: &[u8]) -> Result<(u32, Vec<Frame>, FileBlock)> {
        let root = self.dir_block(inode, 0, Role::DxRoot)?;
        let (hasher, levels) = self.dx_root_info(inode, &root)?;
        let hash = hasher.hash(name);
        let mut frames = vec![self.frame(inode, 0, root, ROOT_ENTRIES, hash)?];
        for _ in 0..levels {
            let below = self.below(inode, &frames)?;
            let frame = self.dx_node(inode, below, hash)?;
            frames.push(frame);
        }
        let leaf = self.below(inode, &frames)?;
        Ok((hash, frames, leaf))
    }

    fn frame(&self, inode: &Inode, file_block: FileBlock, bytes: Arc<Vec<u8>>, at: usize, hash: u32) -> Result<Frame> {
        self.check_index_shape(inode, file_block, &bytes, at)?;
        let entry = Index::new(&bytes, at).find(hash);
        Ok(Frame { file_block, bytes, entries_at: at, at: entry })
    }

    fn dx_node(&self, inode: &Inode, file_block: FileBlock, hash: u32) -> Result<Frame> {
        let bytes = self.dir_block(inode, file_block, Role::DxNode)?;
        let rec_len = decode_rec_len(u16::from_le_bytes([bytes[4], bytes[5]]), bytes.len());
        if bytes[..4] != [0; 4] || rec_len != bytes.len() {
            return Err(corrupt(inode.place(), format!("directory block {file_block} is no index node")));
        }
        self.frame(inode, file_block, bytes, NODE_ENTRIES, hash)
    }

    /// The block that the last frame leads to: never the root, and inside the directory.
    fn below(&self, inode: &Inode, frames: &[Frame]) -> Result<FileBlock> {
        let frame = frames.last().expect("a way begins at the root");
        let block = frame.index().block(frame.at);
        let blocks = inode.size() / u64::from(self.geo.block_size);
        if block == 0 || u64::from(block) >= blocks {
            let place = format!("{}, directory index block {}", inode.place(), frame.file_block);
            return Err(corrupt(place, format!("points at block {block} of {blocks}")));
        }
        Ok(block)
    }

    /// The next leaf, if names with this hash go on there.
    pub(super) fn dx_next_leaf(&self, inode: &Inode, hash: u32, frames: &mut [Frame]) -> Result<Option<FileBlock>> {
        // The deepest block that has a next entry.
        let Some(level) = frames.iter().rposition(|frame| frame.at + 1 < frame.index().count()) else {
            return Ok(None);
        };
        frames[level].at += 1;
        let key = frames[level].index().hash(frames[level].at);
        if key & 1 == 0 || key & !1 != hash {
            return Ok(None);
        }
        for below in level + 1..frames.len() {
            let block = self.below(inode, &frames[..below])?;
            frames[below] = Frame { at: 0, ..self.dx_node(inode, block, hash)? };
        }
        self.below(inode, frames).map(Some)
    }
}
