//! Where the blocks of a file are: extent trees and block maps behind one face.

mod edit;
mod extent;
mod indirect;

pub(crate) use edit::MAP_END;

use crate::error::{Error, Result, corrupt};
use crate::fs::Filesystem;
use crate::geometry::{BlockNr, FileBlock};
use crate::inode::{FileType, Inode, flags};
use nomount_block::{Budget, Held, ReadAt};

/// The most runs of one file that are held in memory at once (24 bytes each).
const MAX_RUNS: usize = 1 << 21;
/// Runs and nodes whose memory is taken at once.
const AT_ONCE: usize = 1 << 12;
/// Memory of a run or node, and as much again for who makes something else of the list.
const RUN_BYTES: u64 = 48;

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
#[derive(Debug)]
pub(crate) struct FileMap {
    /// Contents, ascending, without overlap.
    pub runs: Vec<Run>,
    /// Blocks that hold the map itself, each once.
    pub nodes: Vec<BlockNr>,
    held: Held,
}

impl FileMap {
    fn new(budget: &Budget) -> Self {
        Self { runs: Vec::new(), nodes: Vec::new(), held: budget.hold("the map of a file") }
    }

    /// Takes the memory for one more, now and then for many.
    fn charge(&mut self) -> Result<()> {
        if (self.runs.len() + self.nodes.len()).is_multiple_of(AT_ONCE) {
            self.held.grow(AT_ONCE as u64 * RUN_BYTES)?;
        }
        Ok(())
    }

    /// Adds a block that holds part of the map.
    fn push_node(&mut self, node: BlockNr) -> Result<()> {
        self.charge()?;
        self.nodes.push(node);
        Ok(())
    }

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
        self.charge()?;
        self.runs.push(run);
        Ok(())
    }
}

/// The part of a run that is in file blocks `from..to`.
pub(crate) fn cut(run: &Run, from: u64, to: u64) -> Option<Run> {
    let first = u64::from(run.file_block);
    let (start, end) = (from.max(first), to.min(first + u64::from(run.len)));
    let skip = start.saturating_sub(first);
    // Both fit: they are inside the run.
    let part = |skip: u64| Run {
        file_block: run.file_block + skip as u32,
        block: run.block + skip,
        len: (end - start) as u32,
        unwritten: run.unwritten,
    };
    (start < end).then(|| part(skip))
}

/// Joins ascending runs where they touch.
fn join(runs: &mut Vec<Run>) {
    runs.dedup_by(|run, last| {
        let touching = u64::from(last.file_block) + u64::from(last.len) == u64::from(run.file_block)
            && last.block + u64::from(last.len) == run.block
            && last.unwritten == run.unwritten;
        match last.len.checked_add(run.len).filter(|_| touching) {
            Some(len) => {
                last.len = len;
                true
            }
            None => false,
        }
    });
}

impl<D: ReadAt> Filesystem<D> {
    /// Whether an inode's contents are in blocks.
    pub(crate) fn has_map(&self, inode: &Inode) -> bool {
        matches!(inode.file_type(), Some(FileType::Regular | FileType::Directory | FileType::Symlink))
            && !inode.has_flag(flags::INLINE_DATA)
            && !inode.is_fast_symlink(&self.geo)
    }

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
        let mut map = FileMap::new(&self.budget);
        if !self.has_map(inode) {
            return Ok(map);
        }
        if inode.has_flag(flags::EXTENTS) {
            self.load_extents(inode, &mut map)?;
        } else {
            self.load_indirect(inode, &mut map)?;
        }
        Ok(map)
    }

    /// Where the cluster of `file_block` begins in the filesystem, when any of its blocks is mapped: the others have
    /// their places in it. Without bigalloc, that is the block itself.
    pub(crate) fn cluster_of(&self, inode: &Inode, file_block: u64) -> Result<Option<BlockNr>> {
        let ratio = u64::from(self.geo.cluster_ratio());
        let end = (file_block / ratio + 1) * ratio;
        let mut at = end - ratio;
        while at < end {
            let Ok(number) = FileBlock::try_from(at) else { break };
            let mapping = self.map_block(inode, number)?;
            if let Some(block) = mapping.block {
                if block % ratio != at % ratio {
                    let detail = format!("file block {at} is at another place of its cluster than block {block}");
                    return Err(corrupt(inode.place(), detail));
                }
                return Ok(Some(self.geo.cluster_start(block)));
            }
            at += mapping.len;
        }
        Ok(None)
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
