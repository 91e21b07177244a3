//! Where the blocks of a file are: extent trees and block maps behind one face.

mod extent;
mod indirect;

use crate::error::{Error, Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::{FileType, Inode, flags};
use nomount_block::{ReadAt, WriteAt};

/// The most runs of one file that are held in memory at once (24 bytes each).
const MAX_RUNS: usize = 1 << 21;

/// Blocks of a file that lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first block in the file.
    pub file_block: FileBlock,
    /// The first block in the filesystem.
    pub block: BlockNr,
    /// How many.
    pub len: u32,
    /// Allocated but never written: reads as zero.
    pub unwritten: bool,
}

/// What a stretch of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The first block in the filesystem; none for a hole.
    pub block: Option<BlockNr>,
    /// Blocks in the stretch, at least 1.
    pub len: u64,
    /// Reads as zero whatever the blocks hold.
    pub unwritten: bool,
}

/// All blocks of a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileMap {
    /// Contents, ascending, without overlap.
    pub runs: Vec<Run>,
    /// Blocks that hold the map itself, each once.
    pub nodes: Vec<BlockNr>,
}

impl FileMap {
    /// Appends a run, joined to the last one where they touch.
    pub fn push(&mut self, run: Run) -> Result<()> {
        if let Some(last) = self.runs.last_mut() {
            let touching = u64::from(last.file_block) + u64::from(last.len) == u64::from(run.file_block)
                && last.block + u64::from(last.len) == run.block
                && last.unwritten == run.unwritten
                && last.len.checked_add(run.len).is_some();
            if touching {
                last.len += run.len;
                return Ok(());
            }
        }
        if self.runs.len() >= MAX_RUNS {
            return Err(Error::Limit(format!("a file of more than {MAX_RUNS} fragments")));
        }
        self.runs.push(run);
        Ok(())
    }

    /// Cuts everything from file block `from` on and returns it.
    pub fn split_off(&mut self, from: u64) -> Vec<Run> {
        let mut cut = Vec::new();
        while let Some(last) = self.runs.last().copied() {
            let start = u64::from(last.file_block);
            if start + u64::from(last.len) <= from {
                break;
            }
            self.runs.pop();
            let keep = from.saturating_sub(start) as u32;
            if keep > 0 {
                self.runs.push(Run { len: keep, ..last });
            }
            let skip = u64::from(keep);
            cut.push(Run {
                file_block: last.file_block + keep,
                block: last.block + skip,
                len: last.len - keep,
                ..last
            });
        }
        cut.reverse();
        cut
    }
}

/// Whether an inode has blocks of contents.
fn has_map(inode: &Inode) -> bool {
    matches!(inode.file_type(), Some(FileType::Regular | FileType::Directory | FileType::Symlink))
        && !inode.has_flag(flags::INLINE_DATA)
}

impl<D: ReadAt> Filesystem<D> {
    /// Where file block `file_block` is, and how far the answer holds.
    pub(crate) fn map_block(&self, inode: &Inode, file_block: FileBlock) -> Result<Mapping> {
        if inode.has_flag(flags::EXTENTS) {
            self.map_extent(inode, file_block)
        } else {
            self.map_indirect(inode, file_block)
        }
    }

    /// Where the contents of a regular file are, ascending, without overlap; what lies between is a hole. Empty for a
    /// file that is stored in its inode.
    pub fn runs(&self, ino: u32) -> Result<Vec<Run>> {
        let inode = self.live_inode(ino)?;
        match inode.file_type() {
            Some(FileType::Regular) => Ok(self.load_map(&inode)?.runs),
            Some(FileType::Directory) => Err(Error::IsDirectory),
            _ => Err(Error::NotFile),
        }
    }

    /// The whole map of a file, verified.
    pub(crate) fn load_map(&self, inode: &Inode) -> Result<FileMap> {
        let mut map = FileMap::default();
        if !has_map(inode) || inode.is_fast_symlink(&self.geo) {
            return Ok(map);
        }
        if inode.has_flag(flags::EXTENTS) {
            self.load_extents(inode, &mut map)?;
        } else {
            self.load_indirect(inode, &mut map)?;
        }
        Ok(map)
    }

    /// The number of the block that holds block `file_block` of a directory: directories have no holes.
    pub(crate) fn dir_block_nr(&self, inode: &Inode, file_block: FileBlock) -> Result<BlockNr> {
        let mapping = self.map_block(inode, file_block)?;
        match mapping.block.filter(|_| !mapping.unwritten) {
            Some(block) => Ok(block),
            None => Err(corrupt(inode.place(), format!("directory block {file_block} is a hole"))),
        }
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Writes a file's map anew: its nodes go to new blocks, the old ones are freed, and the inode's block count
    /// follows.
    pub(crate) fn store_map(&mut self, inode: &mut Inode, map: &FileMap, goal: BlockNr) -> Result<()> {
        for &node in &map.nodes {
            self.free_blocks(node, 1)?;
            self.state.dirty.remove(&node);
        }
        let nodes = if inode.has_flag(flags::EXTENTS) {
            self.store_extents(inode, &map.runs, goal)?
        } else {
            self.store_indirect(inode, &map.runs, goal)?
        };
        let contents: u64 = map.runs.iter().map(|run| u64::from(run.len)).sum();
        let xattr = self.xattr_blocks(inode)?;
        inode.set_blocks(&self.geo, contents + nodes + xattr)
    }
}
