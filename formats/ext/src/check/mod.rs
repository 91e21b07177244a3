//! The checker: everything that a filesystem says of itself, held against everything else. It only reads.
//!
//! The order is e2fsck's: superblock and descriptors, then all inodes in the order of the tables with their maps and
//! attributes, then directories, then how they hang together, then the bitmaps and counts. Between the passes it
//! remembers a bit for each block in use (runs where they are fewer), eight bytes for each inode in use, and where the
//! blocks of directories are; so memory follows what is in use and not the size of the filesystem. A block that two
//! parts of maps lead to is followed once: time follows the size of the metadata.
//!
//! Each [`Finding`] has the name that e2fsck has for the problem, where it has one.

mod bitmaps;
mod blocks;
mod dirs;
mod groups;
mod htree;
mod inline;
mod inode_table;
mod inodes;
mod journal;
mod links;
mod map;
mod orphans;
mod quota;
mod report;
mod reserved;
mod special;
mod superblock;
mod values;
mod xattrs;

pub use report::{Finding, MAX_FINDINGS, Report, Severity};

use crate::error::{Error, Result};
use crate::fs::{Filesystem, Options};
use crate::geometry::{BlockNr, Geometry};
use crate::time::Time;
use blocks::BlockSet;
use dirs::{Dir, DirRun};
use groups::GroupView;
use inode_table::Notes;
use nomount_block::{Budget, Held, ReadAt};
use quota::Usage;
use std::collections::{BTreeMap, HashMap};
use values::References;
use xattrs::Shared;

/// The most groups that are checked: 128 TiB with blocks of 4 KiB. Descriptors are kept in memory.
const MAX_GROUPS: u32 = 1 << 20;
/// Memory for each group: its descriptor, and places for its bits and notes.
const GROUP_BYTES: u64 = (size_of::<GroupView>() + 2 * BlockSet::PLACE + Notes::PLACE) as u64;
/// Memory of an attribute block or an inode with a value that is remembered.
const MAPPED_BYTES: u64 = 96;
/// How often all blocks together may be claimed before maps are not followed any more: a filesystem without fault
/// claims each at most once.
const MAX_CLAIMS: u64 = 4;
/// The same where blocks may be shared (feature shared_blocks), as one of zeroes by all that is zero.
const MAX_SHARED_CLAIMS: u64 = 256;

/// What a check is not told by the filesystem.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions {
    /// The present; without it no time is found to lie in the future.
    pub now: Option<Time>,
}

/// Checks the filesystem on a device, also where it cannot be opened: then that is what is found. A journal that needs
/// recovery is replayed in memory.
///
/// Fails where the device does, and where a feature is not supported.
pub fn check<D: ReadAt>(device: D, options: Options, how: &CheckOptions) -> Result<Report> {
    check_within(device, options, how, &Budget::default())
}

/// The same with memory from `budget`.
pub fn check_within<D: ReadAt>(device: D, options: Options, how: &CheckOptions, budget: &Budget) -> Result<Report> {
    let cannot = |id, error: Error| {
        let mut report = Report::default();
        let place = "superblock".to_owned();
        let (found, wanted) = (error.to_string(), String::new());
        report.add(Finding { id, place, found, wanted, severity: Severity::Corrupt });
        Ok(report)
    };
    let mut fs = match Filesystem::open_without_journal(device, options, budget) {
        Ok(fs) => fs,
        Err(error @ Error::NotExt { .. }) => return cannot("PR_0_SB_CORRUPT", error),
        Err(error @ Error::Corrupt(_)) => return cannot("PR_0_MISC_CORRUPT_SUPER", error),
        Err(error) => return Err(error),
    };
    let journal = fs.open_journal().err();
    if let Some(error @ (Error::Device(_) | Error::Unsupported(_) | Error::OutOfBudget(_))) = journal {
        return Err(error);
    }
    Checker::new(&fs)?.run(how, journal)
}

impl<D: ReadAt> Filesystem<D> {
    /// Checks the filesystem as it is now, changes that are not committed among it.
    ///
    /// Fails where the device does, and beyond a limit.
    pub fn check(&self, how: &CheckOptions) -> Result<Report> {
        Checker::new(self)?.run(how, None)
    }
}

/// A check in progress.
struct Checker<'a, D> {
    fs: &'a Filesystem<D>,
    geo: &'a Geometry,
    report: Report,
    groups: Vec<GroupView>,
    /// Blocks of the groups' own metadata.
    metadata: BlockSet,
    /// Clusters in use, by their number from the first.
    used: BlockSet,
    /// Blocks claimed by all maps together.
    claimed: u64,
    claims_told: bool,
    notes: Notes,
    /// Directories, by their inode number.
    dirs: Vec<Dir>,
    /// Where their blocks are, in the same order.
    dir_runs: Vec<DirRun>,
    xattr_blocks: BTreeMap<BlockNr, Shared>,
    /// Inodes with values of attributes, and the attributes that name them.
    values: HashMap<u32, References>,
    large_files: u64,
    usage: Usage,
    held: Held,
}

impl<'a, D: ReadAt> Checker<'a, D> {
    fn new(fs: &'a Filesystem<D>) -> Result<Self> {
        let geo = fs.geometry();
        if geo.groups > MAX_GROUPS {
            return Err(Error::Limit(format!("{} block groups, of which {MAX_GROUPS} can be checked", geo.groups)));
        }
        // What there is at least for each group, before any of it is made.
        let held = fs.budget.take("the check", u64::from(geo.groups) * GROUP_BYTES)?;
        Ok(Self {
            fs,
            geo,
            report: Report::default(),
            groups: Vec::new(),
            metadata: BlockSet::new(geo.groups, geo.blocks_per_group),
            used: BlockSet::new(geo.groups, geo.clusters_per_group),
            claimed: 0,
            claims_told: false,
            notes: Notes::new(geo.groups, geo.inodes_per_group),
            dirs: Vec::new(),
            dir_runs: Vec::new(),
            xattr_blocks: BTreeMap::new(),
            values: HashMap::new(),
            large_files: 0,
            usage: Usage::default(),
            held,
        })
    }

    fn run(mut self, how: &CheckOptions, journal: Option<Error>) -> Result<Report> {
        self.check_superblock(how);
        self.check_quota_inodes();
        if !self.load_groups()? {
            return Ok(self.report);
        }
        self.check_backups()?;
        self.check_journal(journal)?;
        self.check_orphans()?;
        self.check_inodes()?;
        self.check_xattr_counts();
        self.check_directories()?;
        self.check_connections();
        self.check_links();
        self.check_values()?;
        self.check_bitmaps()?;
        self.check_quota()?;
        Ok(self.report)
    }

    /// Takes the memory of what is remembered by now.
    fn charge(&mut self) -> Result<()> {
        let listed = size_of_val(&self.dirs[..]) + size_of_val(&self.dir_runs[..]);
        let mapped = (self.xattr_blocks.len() + self.values.len()) as u64 * MAPPED_BYTES;
        let bits = self.metadata.bytes() + self.used.bytes() + self.notes.bytes() + self.usage.bytes();
        let groups = u64::from(self.geo.groups) * GROUP_BYTES;
        // A list that grows may take twice its length.
        Ok(self.held.set(groups + bits + mapped + 2 * listed as u64)?)
    }

    /// Blocks in a cluster.
    fn ratio(&self) -> u64 {
        u64::from(self.geo.blocks_per_group / self.geo.clusters_per_group)
    }

    /// The number of the cluster that holds a block.
    fn cluster(&self, block: BlockNr) -> u64 {
        (block - self.geo.first_data_block) / self.ratio()
    }

    fn add(
        &mut self,
        severity: Severity,
        id: &'static str,
        place: impl Into<String>,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) {
        let (place, found, wanted) = (place.into(), found.into(), wanted.into());
        self.report.add(Finding { id, place, found, wanted, severity });
    }

    fn corrupt(
        &mut self,
        id: &'static str,
        place: impl Into<String>,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) {
        self.add(Severity::Corrupt, id, place, found, wanted);
    }

    fn warn(
        &mut self,
        id: &'static str,
        place: impl Into<String>,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) {
        self.add(Severity::Warning, id, place, found, wanted);
    }
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
