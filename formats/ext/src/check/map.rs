//! Maps of files: extent trees and block maps, and that no block belongs to two of them.

use super::dirs::DirRun;
use super::{Checker, MAX_CLAIMS, MAX_SHARED_CLAIMS, Severity, le16, le32};
use crate::checksum::crc32c;
use crate::error::Result;
use crate::features::{incompat, ro_compat};
use crate::geometry::BlockNr;
use crate::inode::{FileType, Inode, flags};
use nomount_block::ReadAt;

pub(super) const MAGIC: u16 = 0xF30A;
const HEADER: usize = 12;
const ENTRY: usize = 12;
/// The deepest tree that the kernel accepts (EXT4_MAX_EXTENT_DEPTH).
const MAX_DEPTH: u16 = 5;
/// Longer lengths mean an extent that was never written.
const MAX_WRITTEN: u32 = 32768;
/// Room that a node may leave for its checksum, in entries.
const TAIL_ENTRIES: usize = 2;
const DIRECT: usize = 12;
/// Blocks of a directory without large_dir: 2 GiB.
const MAX_DIR_BYTES: u64 = 1 << 31;
/// Runs of all directories that are remembered (16 bytes each); more are told and not looked into.
const MAX_DIR_RUNS: usize = 1 << 23;

/// What a map was found to be.
#[derive(Debug)]
pub(super) struct Map {
    ino: u32,
    seed: u32,
    is_dir: bool,
    /// Blocks beyond the end may be allocated ahead: they must not be written.
    size: u64,
    verity: bool,
    /// Clusters of contents and of the map itself.
    pub clusters: u64,
    /// The last block of the file that is mapped.
    pub last: Option<u64>,
    /// The last that is written.
    pub last_written: Option<u64>,
    /// The cluster of the block before, in the file and in the filesystem.
    before: Option<(u64, u64)>,
    /// Where the next block of the file may be at the earliest.
    next: u64,
    /// Runs that were remembered of a directory.
    runs: usize,
    /// Something was wrong: counts and size cannot be told.
    pub broken: bool,
}

impl Map {
    pub fn new(inode: &Inode) -> Self {
        Self {
            ino: inode.ino(),
            seed: 0,
            is_dir: inode.is_dir(),
            size: inode.size(),
            verity: inode.has_flag(flags::VERITY),
            clusters: 0,
            last: None,
            last_written: None,
            before: None,
            next: 0,
            runs: 0,
            broken: false,
        }
    }

    fn place(&self) -> String {
        format!("inode {}", self.ino)
    }
}

/// A stretch of a file, as its map has it.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    file_block: u64,
    block: BlockNr,
    len: u64,
    unwritten: bool,
}

impl<D: ReadAt> Checker<'_, D> {
    pub(super) fn check_map(&mut self, inode: &Inode, map: &mut Map) -> Result<()> {
        map.seed = inode.csum_seed(self.geo);
        if inode.has_flag(flags::EXTENTS) && self.geo.features.incompat(incompat::EXTENTS) {
            let root = inode.base().i_block;
            return self.check_node(map, &root, None, None, (0, 1 << 32));
        }
        let bigalloc = self.ratio() > 1;
        if bigalloc && matches!(inode.file_type(), Some(FileType::Regular | FileType::Directory)) {
            self.corrupt("PR_1_NO_BIGALLOC_BLOCKMAP_FILES", map.place(), "a block map in a filesystem of clusters", "");
        }
        self.check_pointers(inode, map)
    }

    fn bad(&mut self, map: &mut Map, id: &'static str, node: Option<BlockNr>, found: String, wanted: String) {
        map.broken = true;
        let place = match node {
            Some(block) => format!("{}, extent block {block}", map.place()),
            None => map.place(),
        };
        self.corrupt(id, place, found, wanted);
    }

    /// A node of an extent tree, and what is below it. `depth` is what the parent demands, `keys` the blocks of the file
    /// that the node answers for.
    fn check_node(
        &mut self,
        map: &mut Map,
        bytes: &[u8],
        node: Option<BlockNr>,
        depth: Option<u16>,
        keys: (u64, u64),
    ) -> Result<()> {
        self.charge()?;
        let (magic, entries, max, found) = (le16(bytes, 0), le16(bytes, 2), le16(bytes, 4), le16(bytes, 6));
        let room = (bytes.len() - HEADER) / ENTRY;
        let (entries, max) = (usize::from(entries), usize::from(max));
        let id = if node.is_none() { "PR_1_MISSING_EXTENT_HEADER" } else { "PR_1_EXTENT_HEADER_INVALID" };
        if magic != MAGIC || entries > max || max > room || max + TAIL_ENTRIES < room {
            let found = format!("magic is {magic:#06x}, with {entries} of {max} entries");
            self.bad(map, id, node, found, format!("{MAGIC:#06x} and room for {room}"));
            return Ok(());
        }
        if depth.is_none() && found > MAX_DEPTH {
            let wanted = format!("at most {MAX_DEPTH}");
            self.bad(map, "PR_1_EXTENT_BAD_MAX_DEPTH", node, format!("depth of the tree is {found}"), wanted);
            return Ok(());
        }
        if let Some(depth) = depth.filter(|depth| *depth != found) {
            // e2fsck counts the levels itself; the kernel refuses the node.
            self.bad(map, "NM_EXTENT_DEPTH", node, format!("depth of the node is {found}"), depth.to_string());
        }
        let found = depth.unwrap_or(found);
        if let Some(block) = node.filter(|_| self.geo.metadata_csum()) {
            let tail = HEADER + max * ENTRY;
            if let Some(found) = bytes.get(tail..tail + 4).map(|bytes| le32(bytes, 0)) {
                let wanted = crc32c(map.seed, &bytes[..tail]);
                if found != wanted {
                    let place = format!("{}, extent block {block}", map.place());
                    let found = format!("checksum is {found:#010x}");
                    self.corrupt("PR_1_EXTENT_ONLY_CSUM_INVALID", place, found, format!("{wanted:#010x}"));
                }
            }
        }
        if entries == 0 && (found > 0 || depth.is_some()) {
            self.bad(map, id, node, "the node is empty".to_owned(), "one entry at least".to_owned());
            return Ok(());
        }
        let list = &bytes[HEADER..HEADER + entries * ENTRY];
        if depth.is_some() {
            let first = u64::from(le32(list, 0));
            if first != keys.0 {
                let found = format!("it begins with block {first} of the file");
                self.bad(map, "PR_1_EXTENT_INDEX_START_INVALID", node, found, keys.0.to_string());
            }
        }
        if found == 0 {
            self.check_leaves(map, node, list, keys)
        } else {
            self.check_indexes(map, node, list, found, keys)
        }
    }

    fn check_indexes(
        &mut self,
        map: &mut Map,
        node: Option<BlockNr>,
        list: &[u8],
        depth: u16,
        (low, high): (u64, u64),
    ) -> Result<()> {
        let mut low = low;
        let keys: Vec<u64> = list.chunks_exact(ENTRY).map(|entry| u64::from(le32(entry, 0))).collect();
        for (at, entry) in list.chunks_exact(ENTRY).enumerate() {
            let block = u64::from(le16(entry, 8)) << 32 | u64::from(le32(entry, 4));
            let (key, end) = (keys[at], keys.get(at + 1).copied().unwrap_or(high));
            if key < low || end > high || end <= key {
                let found = format!("the index has block {key} of the file, up to {end}");
                self.bad(map, "PR_1_OUT_OF_ORDER_EXTENTS", node, found, format!("{low} to {high}"));
                continue;
            }
            low = end;
            if !self.geo.contains(block, 1) {
                let found = format!("the index leads to block {block}");
                let wanted = format!("less than {}", self.geo.blocks_count);
                self.bad(map, "PR_1_EXTENT_BAD_START_BLK", node, found, wanted);
                continue;
            }
            if self.claim_node(map, block) {
                let bytes = self.fs.read_block(block)?;
                self.check_node(map, &bytes, Some(block), Some(depth - 1), (key, end))?;
            }
        }
        Ok(())
    }

    fn check_leaves(&mut self, map: &mut Map, node: Option<BlockNr>, list: &[u8], keys: (u64, u64)) -> Result<()> {
        let size = u64::from(self.geo.block_size);
        let mut low = keys.0;
        for entry in list.chunks_exact(ENTRY) {
            let stored = u32::from(le16(entry, 4));
            let unwritten = stored > MAX_WRITTEN;
            let len = u64::from(if unwritten { stored - MAX_WRITTEN } else { stored });
            let stretch = Stretch {
                file_block: le32(entry, 0).into(),
                block: u64::from(le16(entry, 6)) << 32 | u64::from(le32(entry, 8)),
                len,
                unwritten,
            };
            let Stretch { file_block, block, .. } = stretch;
            let end = file_block + len;
            let ahead = end > map.size.div_ceil(size) && (unwritten || map.verity) && end <= 1 << 32;
            let (id, wanted) = if block <= self.geo.first_data_block || block >= self.geo.blocks_count {
                ("PR_1_EXTENT_BAD_START_BLK", format!("less than {}", self.geo.blocks_count))
            } else if file_block < low {
                ("PR_1_OUT_OF_ORDER_EXTENTS", format!("at least {low} of the file"))
            } else if len == 0 {
                ("PR_1_EXTENT_LENGTH_ZERO", "1 block at least".to_owned())
            } else if end > keys.1 && !ahead {
                ("PR_1_EXTENT_END_OUT_OF_BOUNDS", format!("less than {} of the file", keys.1))
            } else if !self.geo.contains(block, len) {
                ("PR_1_EXTENT_ENDS_BEYOND", format!("at most {}", self.geo.blocks_count))
            } else if file_block < map.next {
                ("PR_1_EXTENT_COLLISION", format!("at least {} of the file", map.next))
            } else if map.is_dir && self.too_long(end, map) {
                ("PR_1_TOOBIG_DIR", format!("less than {MAX_DIR_BYTES} bytes"))
            } else {
                low = end;
                self.take(map, stretch);
                continue;
            };
            let found = format!("extent of {len} blocks, {file_block} of the file at {block}");
            self.bad(map, id, node, found, wanted);
        }
        Ok(())
    }

    /// Whether a directory may not have so many blocks.
    fn too_long(&self, blocks: u64, map: &Map) -> bool {
        !self.geo.features.incompat(incompat::LARGEDIR)
            && map.size >> 32 == 0
            && blocks > MAX_DIR_BYTES / u64::from(self.geo.block_size)
    }

    /// A stretch that is right by itself.
    fn take(&mut self, map: &mut Map, stretch: Stretch) {
        let Stretch { file_block, block, len, unwritten } = stretch;
        map.next = file_block + len;
        if map.is_dir && unwritten {
            let found = format!("block {file_block} of the directory was never written");
            self.bad(map, "PR_1_UNINIT_DBLOCK", None, found, String::new());
        }
        let expected = map.last.map_or(0, |last| last + 1);
        if map.is_dir && file_block > expected {
            let (place, found) = (map.place(), format!("a hole at block {expected} of the directory"));
            let id = if self.geo.features.incompat(incompat::EXTENTS) {
                "PR_1_COLLAPSE_DBLOCK"
            } else {
                "PR_2_DIRECTORY_HOLE"
            };
            // Only large_dir knows how to leave holes behind.
            if self.geo.features.incompat(incompat::LARGEDIR) && id == "PR_2_DIRECTORY_HOLE" {
                self.warn("NM_DIRECTORY_HOLE", place, found, "");
            } else {
                self.corrupt(id, place, found, "");
            }
        }
        map.last = Some(map.next - 1);
        if !unwritten {
            map.last_written = map.last;
        }
        let fresh = self.claim(map, Some(file_block), block, len);
        if map.is_dir && fresh {
            self.remember(map, stretch);
        }
    }

    fn remember(&mut self, map: &mut Map, stretch: Stretch) {
        let run = DirRun { file_block: stretch.file_block as u32, len: stretch.len as u32, block: stretch.block };
        if let Some(last) = self.dir_runs.last_mut()
            && map.runs > 0
            && last.file_block.checked_add(last.len) == Some(run.file_block)
            && last.block + u64::from(last.len) == run.block
        {
            last.len += run.len;
            return;
        }
        if self.dir_runs.len() >= MAX_DIR_RUNS {
            let found = format!("directories have more than {MAX_DIR_RUNS} fragments; this one is not looked into");
            self.warn("NM_LIMIT", map.place(), found, "");
            return;
        }
        map.runs += 1;
        self.dir_runs.push(run);
    }

    /// Takes blocks for a file. Gives whether nothing else has them.
    fn claim(&mut self, map: &mut Map, file_block: Option<u64>, block: BlockNr, len: u64) -> bool {
        let shared = self.geo.features.ro_compat(ro_compat::SHARED_BLOCKS);
        let most = if shared { MAX_SHARED_CLAIMS } else { MAX_CLAIMS } * self.geo.blocks_count;
        self.claimed = self.claimed.saturating_add(len);
        if self.claimed > most {
            map.broken = true;
            if !self.claims_told {
                self.claims_told = true;
                let found = format!("more than {most} blocks are claimed; maps are not followed further");
                self.add(Severity::Corrupt, "NM_CLAIMS", map.place(), found, format!("{}", self.geo.blocks_count));
            }
            return false;
        }
        let ratio = self.ratio();
        let (mut first, last) = (self.cluster(block), self.cluster(block + len - 1));
        if ratio > 1
            && let Some(at) = file_block
        {
            let offset = block - self.geo.first_data_block;
            if offset % ratio != at % ratio {
                let found = format!("block {at} of the file is at {block}, at another place in its cluster");
                self.bad(map, "PR_1_MISALIGNED_CLUSTER", None, found, String::new());
            }
            // Several stretches of a file may lie in one of its clusters.
            if map.before == Some((at / ratio, first)) {
                first += 1;
            }
            map.before = Some(((at + len - 1) / ratio, last));
        }
        if first > last {
            return true;
        }
        map.clusters += last - first + 1;
        let Some(taken) = self.used.insert(first, last - first + 1) else { return true };
        let taken = (taken * ratio + self.geo.first_data_block).max(block);
        let metadata = self.metadata.contains(taken - self.geo.first_data_block);
        if shared && !metadata {
            return true;
        }
        let whose = if metadata { "metadata of its group" } else { "something else" };
        let id = match file_block {
            None if metadata => "PR_1_CRITICAL_METADATA_COLLISION",
            _ => "PR_1B_DUP_BLOCK",
        };
        self.corrupt(id, map.place(), format!("block {taken} is used by {whose}, too"), "");
        false
    }

    /// Takes a block of the map itself. Gives whether it may be followed.
    fn claim_node(&mut self, map: &mut Map, block: BlockNr) -> bool {
        let fresh = self.claim(map, None, block, 1);
        // What is below is not known.
        map.broken |= !fresh;
        fresh
    }

    fn check_pointers(&mut self, inode: &Inode, map: &mut Map) -> Result<()> {
        let roots = inode.base().i_block;
        let slots = u64::from(self.geo.block_size / 4);
        let mut pending = None;
        let mut start = 0;
        for slot in 0..DIRECT + 3 {
            let level = slot.saturating_sub(DIRECT - 1) as u32;
            self.check_pointer(map, le32(&roots, slot * 4), level, start, &mut pending)?;
            start += slots.pow(level);
        }
        if let Some(stretch) = pending {
            self.take(map, stretch);
        }
        Ok(())
    }

    /// A pointer of a block map, and what is below it. Neighbours are gathered in `pending`.
    fn check_pointer(
        &mut self,
        map: &mut Map,
        pointer: u32,
        level: u32,
        start: u64,
        pending: &mut Option<Stretch>,
    ) -> Result<()> {
        if pointer == 0 {
            return Ok(());
        }
        let block = u64::from(pointer);
        if !self.geo.contains(block, 1) {
            let what = if level == 0 { "" } else { "the pointers of " };
            let found = format!("{what}block {start} of the file are in block {block}");
            let wanted = format!("less than {}", self.geo.blocks_count);
            self.bad(map, "PR_1_ILLEGAL_BLOCK_NUM", None, found, wanted);
            return Ok(());
        }
        if level > 0 {
            if !self.claim_node(map, block) {
                return Ok(());
            }
            let bytes = self.fs.read_block(block)?;
            let below = u64::from(self.geo.block_size / 4).pow(level - 1);
            for (slot, pointer) in bytes.chunks_exact(4).enumerate() {
                self.check_pointer(map, le32(pointer, 0), level - 1, start + slot as u64 * below, pending)?;
            }
            return Ok(());
        }
        if start >= 1 << 32 || (map.is_dir && self.too_long(start, map)) {
            let id = if map.is_dir { "PR_1_TOOBIG_DIR" } else { "PR_1_TOOBIG_REG" };
            self.bad(map, id, None, format!("it maps block {start} of the file"), String::new());
            return Ok(());
        }
        match pending {
            Some(last) if last.file_block + last.len == start && last.block + last.len == block => last.len += 1,
            _ => {
                if let Some(stretch) = pending.take() {
                    self.take(map, stretch);
                }
                *pending = Some(Stretch { file_block: start, block, len: 1, unwritten: false });
            }
        }
        Ok(())
    }
}
