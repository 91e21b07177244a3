//! The inodes of a new filesystem, and the maps of their blocks.

use super::build::Build;
use super::space::Space;
use super::superblock;
use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::features::{incompat, ro_compat};
use crate::geometry::{BlockNr, Geometry};
use crate::inode::{Inode, flags};
use crate::raw::{ExtentHeader, ExtentIndex, ExtentLeaf};
use crate::time::Time;
use zerocopy::IntoBytes;

/// The longest extent of written blocks.
const MAX_EXTENT: u64 = 1 << 15;
/// Entries in an inode.
const ROOT_ENTRIES: usize = 4;
const ENTRY: usize = 12;
const MAGIC: u16 = 0xF30A;

/// The blocks of a file that was placed.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Contents: first block and length, in the order of the file.
    pub runs: Vec<(BlockNr, u64)>,
    /// Blocks of the map: indirect ones in the order in which they were taken, or leaves of extents.
    pub nodes: Vec<BlockNr>,
    /// Blocks taken for it all, with whole clusters.
    pub taken: u64,
}

impl Blocks {
    pub fn all(&self) -> impl Iterator<Item = BlockNr> + '_ {
        self.runs.iter().flat_map(|(start, len)| *start..*start + *len)
    }

    fn push(&mut self, block: BlockNr, len: u64) {
        match self.runs.last_mut() {
            Some((start, old)) if *start + *old == block => *old += len,
            _ => self.runs.push((block, len)),
        }
    }
}

impl Build<'_> {
    fn has_extents(&self) -> bool {
        self.geo.features.incompat(incompat::EXTENTS)
    }

    fn no_room(&self) -> Error {
        Error::Invalid("the device is too small for its journal and special files".into())
    }

    /// Takes one block, or the cluster it begins, and remembers which group is in use by that.
    pub fn alloc(&mut self, goal: BlockNr) -> Result<BlockNr> {
        let block = self.placement.space.alloc(goal).ok_or_else(|| self.no_room())?;
        self.placement.touch(&self.geo, block, self.ratio());
        Ok(block)
    }

    pub fn ratio(&self) -> u64 {
        self.ratio
    }

    /// Places `count` blocks one by one, each after the one before; indirect blocks come before what they map.
    pub fn place_blocks(&mut self, goal: BlockNr, count: u64) -> Result<Blocks> {
        let pointers = u64::from(self.geo.block_size / 4);
        let extents = self.has_extents();
        let mut blocks = Blocks::default();
        let mut last = goal;
        for index in 0..count {
            if !extents {
                for _ in 0..new_nodes(index, pointers) {
                    last = self.alloc(last)?;
                    blocks.nodes.push(last);
                    blocks.taken += 1;
                }
            }
            if index > 0 && last / self.ratio() == (last + 1) / self.ratio() {
                last += 1;
            } else {
                last = self.alloc(last)?;
                blocks.taken += self.ratio();
            }
            blocks.push(last, 1);
        }
        if extents {
            self.place_leaf(&mut blocks)?;
        }
        Ok(blocks)
    }

    /// Places `count` blocks in runs as long as there are, from the first free block at or after `goal`.
    pub fn place_runs(&mut self, goal: BlockNr, count: u64) -> Result<Blocks> {
        let mut blocks = Blocks::default();
        let mut goal = goal;
        let mut left = count;
        let mut extents = 0;
        while left > 0 {
            let found = self.placement.space.run(goal, left.min(MAX_EXTENT));
            let (start, len) = found.ok_or_else(|| self.no_room())?;
            self.take_run(&mut blocks, start, len);
            extents += 1;
            if extents == ROOT_ENTRIES + 1 {
                self.place_leaf(&mut blocks)?;
            }
            goal = start + len;
            left -= len;
        }
        Ok(blocks)
    }

    fn take_run(&mut self, blocks: &mut Blocks, start: BlockNr, len: u64) {
        let whole = len.next_multiple_of(self.ratio());
        self.placement.space.take(start, whole);
        self.placement.touch(&self.geo, start, whole);
        blocks.runs.push((start, len));
        blocks.taken += whole;
    }

    /// A leaf for extents that do not fit the inode, before the first of them if there is room.
    fn place_leaf(&mut self, blocks: &mut Blocks) -> Result<()> {
        if extents_of(&blocks.runs).len() > ROOT_ENTRIES && blocks.nodes.is_empty() {
            let goal = blocks.runs[0].0.saturating_sub(self.ratio());
            let leaf = self.alloc(goal)?;
            blocks.nodes.push(leaf);
            blocks.taken += self.ratio();
        }
        Ok(())
    }

    /// A new inode without blocks. Its owner is root.
    pub fn new_inode(&self, ino: u32, mode: u16, links: u16) -> Inode {
        let mut inode = Inode::new_zeroed(ino, self.geo.inode_size);
        inode.base_mut().i_mode.set(mode);
        inode.base_mut().i_links_count.set(links);
        let extra = (self.geo.inode_size - 128).min(32);
        if let Some(fields) = inode.extra_mut() {
            fields.i_extra_isize.set(extra);
        }
        inode.set_crtime(self.now);
        inode
    }

    pub fn set_times(&self, inode: &mut Inode) {
        inode.set_atime(self.now);
        inode.set_mtime(self.now);
        inode.set_ctime(self.now);
    }

    /// Sets a size in bytes. Beyond 2 GiB the filesystem must say that it has such files.
    pub fn set_size(&mut self, inode: &mut Inode, size: u64) {
        inode.set_size(size);
        if size > i32::MAX as u64 {
            self.geo.features.ro_compat |= ro_compat::LARGE_FILE;
            superblock::set_features(&mut self.sb, &self.geo.features);
        }
    }

    /// Stores the map of a file in its inode and its nodes. `size` is in bytes.
    pub fn map(&mut self, inode: &mut Inode, blocks: &Blocks, size: u64) -> Result<()> {
        self.set_size(inode, size);
        inode.set_blocks(&self.geo, blocks.taken)?;
        if self.has_extents() {
            inode.set_flag(flags::EXTENTS, true);
            self.map_extents(inode, blocks)
        } else {
            self.map_indirect(inode, blocks);
            Ok(())
        }
    }

    fn map_extents(&mut self, inode: &mut Inode, blocks: &Blocks) -> Result<()> {
        let list = extents_of(&blocks.runs);
        let room = (self.geo.block_size as usize - ENTRY) / ENTRY;
        if list.len() > room {
            return Err(Error::Limit(format!("{} extents of a special file, at most {room} are made", list.len())));
        }
        let Some(&leaf) = blocks.nodes.first() else {
            write_node(&mut inode.base_mut().i_block, ROOT_ENTRIES, 0, &list);
            return Ok(());
        };
        let mut bytes = vec![0; self.geo.block_size as usize];
        write_node(&mut bytes, room, 0, &list);
        if self.geo.metadata_csum() {
            let at = ENTRY + room * ENTRY;
            let sum = crc32c(inode.csum_seed(&self.geo), &bytes[..at]);
            bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        }
        self.contents.insert(leaf, bytes);
        let index = ExtentIndex {
            ei_block: 0.into(),
            ei_leaf_lo: (leaf as u32).into(),
            ei_leaf_hi: ((leaf >> 32) as u16).into(),
            ei_unused: 0.into(),
        };
        write_node(&mut inode.base_mut().i_block, ROOT_ENTRIES, 1, &[index.as_bytes().try_into().expect("12 bytes")]);
        Ok(())
    }

    /// Direct, indirect, doubly and triply indirect blocks, with the nodes in the order in which they were taken.
    fn map_indirect(&mut self, inode: &mut Inode, blocks: &Blocks) {
        let pointers = u64::from(self.geo.block_size / 4);
        let mut nodes = blocks.nodes.iter().copied();
        let mut next = move || nodes.next().expect("as many nodes were placed as the map needs") as u32;
        // The nodes that map the next block, from the inode down.
        let mut path: Vec<u32> = Vec::new();
        for (index, block) in blocks.all().enumerate() {
            let index = index as u64;
            if index < 12 {
                set_pointer(&mut inode.base_mut().i_block, index, block as u32);
                continue;
            }
            let fresh = new_nodes(index, pointers);
            let (level, rest) = level_of(index, pointers);
            if fresh == level {
                path = vec![next()];
                set_pointer(&mut inode.base_mut().i_block, 11 + level, path[0]);
            }
            path.truncate((level - fresh).max(1) as usize);
            while (path.len() as u64) < level {
                let above = *path.last().expect("the top of the path was just set");
                let node = next();
                let step = pointers.pow((level - path.len() as u64) as u32);
                let slot = rest / step % pointers;
                set_pointer(self.node(above), slot, node);
                path.push(node);
            }
            let leaf = *path.last().expect("a path has at least one node");
            set_pointer(self.node(leaf), rest % pointers, block as u32);
        }
    }

    fn node(&mut self, block: u32) -> &mut Vec<u8> {
        let size = self.geo.block_size as usize;
        self.contents.entry(block.into()).or_insert_with(|| vec![0; size])
    }
}

/// How many nodes are new at file block `index`: those of which it is the first block.
fn new_nodes(index: u64, pointers: u64) -> u64 {
    if index < 12 {
        return 0;
    }
    let (level, rest) = level_of(index, pointers);
    (1..=level).filter(|depth| rest.is_multiple_of(pointers.pow(*depth as u32))).count() as u64
}

/// Levels of nodes above file block `index`, and its number among the blocks with as many.
fn level_of(index: u64, pointers: u64) -> (u64, u64) {
    let mut rest = index - 12;
    for level in 1..3 {
        let room = pointers.pow(level);
        if rest < room {
            return (level.into(), rest);
        }
        rest -= room;
    }
    (3, rest)
}

fn set_pointer(bytes: &mut [u8], slot: u64, block: u32) {
    let at = slot as usize * 4;
    bytes[at..at + 4].copy_from_slice(&block.to_le_bytes());
}

fn write_node(bytes: &mut [u8], max: usize, depth: u16, list: &[[u8; ENTRY]]) {
    let header = ExtentHeader {
        eh_magic: MAGIC.into(),
        eh_entries: (list.len() as u16).into(),
        eh_max: (max as u16).into(),
        eh_depth: depth.into(),
        eh_generation: 0.into(),
    };
    bytes[..ENTRY].copy_from_slice(header.as_bytes());
    for (entry, at) in list.iter().zip((ENTRY..).step_by(ENTRY)) {
        bytes[at..at + ENTRY].copy_from_slice(entry);
    }
}

/// Runs as extents, each as long as one may be.
fn extents_of(runs: &[(BlockNr, u64)]) -> Vec<[u8; ENTRY]> {
    let mut list: Vec<(u64, BlockNr, u64)> = Vec::new();
    let mut file_block = 0;
    for &(start, len) in runs {
        let mut done = 0;
        while done < len {
            let here = (len - done).min(MAX_EXTENT);
            list.push((file_block, start + done, here));
            file_block += here;
            done += here;
        }
    }
    let raw = |(file_block, block, len): (u64, BlockNr, u64)| {
        let leaf = ExtentLeaf {
            ee_block: (file_block as u32).into(),
            ee_len: (len as u16).into(),
            ee_start_hi: ((block >> 32) as u16).into(),
            ee_start_lo: (block as u32).into(),
        };
        leaf.as_bytes().try_into().expect("12 bytes")
    };
    list.into_iter().map(raw).collect()
}

/// The whole seconds of a time: what mke2fs stores.
pub(super) fn whole_seconds(now: Time) -> Time {
    Time { sec: now.sec, nsec: 0 }
}

/// Free blocks of a group, to compare groups with.
pub(super) fn free_in(space: &Space, geo: &Geometry, group: u32) -> u64 {
    let start = geo.group_start(group);
    let len = u64::from(geo.group_blocks(group));
    len - space.count_taken(start, start + len)
}
