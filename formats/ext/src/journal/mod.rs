//! The journal inside the filesystem: what its superblock says, and where its blocks are.

mod recover;
mod write;

pub(crate) use recover::LogCopy;

use crate::checksum::{SEED, crc32c};
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::inode::FileType;
use crate::map::{Run, cut};
use crate::raw::JournalSuperblock;
use nomount_block::ReadAt;
use zerocopy::{FromBytes, IntoBytes};

pub(crate) const MAGIC: u32 = 0xC03B_3998;
/// `h_blocktype`.
pub(crate) const DESCRIPTOR: u32 = 1;
pub(crate) const COMMIT: u32 = 2;
const SUPERBLOCK_V2: u32 = 4;
pub(crate) const REVOKE: u32 = 5;
/// Bytes of the header that every block of the log but copies of data begins with.
const HEADER: usize = 12;
/// Flags of a descriptor's tag.
const FLAG_ESCAPED: u32 = 1;
const FLAG_SAME_UUID: u32 = 2;
const FLAG_LAST: u32 = 8;
/// `s_feature_incompat` of the journal.
pub(crate) const INCOMPAT_REVOKE: u32 = 0x1;
pub(crate) const INCOMPAT_64BIT: u32 = 0x2;
pub(crate) const INCOMPAT_ASYNC_COMMIT: u32 = 0x4;
pub(crate) const INCOMPAT_CSUM_V2: u32 = 0x8;
pub(crate) const INCOMPAT_CSUM_V3: u32 = 0x10;
pub(crate) const INCOMPAT_FAST_COMMIT: u32 = 0x20;
const KNOWN_INCOMPAT: u32 = INCOMPAT_REVOKE
    | INCOMPAT_64BIT
    | INCOMPAT_ASYNC_COMMIT
    | INCOMPAT_CSUM_V2
    | INCOMPAT_CSUM_V3
    | INCOMPAT_FAST_COMMIT;
/// CRC-32C, the only type that csum_v2 and csum_v3 know.
const CHECKSUM_CRC32C: u8 = 4;
/// The smallest journal (JBD2_MIN_JOURNAL_BLOCKS).
const MIN_BLOCKS: u32 = 1024;
/// The largest journal that mke2fs makes. A map can name one block many times, so the device does not bound it.
const MAX_LENGTH: u32 = 10_240_000;
/// `s_num_fc_blks` when it is 0 (JBD2_DEFAULT_FAST_COMMIT_BLOCKS).
const DEFAULT_FC_BLOCKS: u32 = 256;

/// An internal journal.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    pub sb: JournalSuperblock,
    /// Where its blocks are, in order, without holes.
    runs: Vec<Run>,
    /// Blocks of the log, the first `s_maxlen` of the file: after `s_first` and before the fast-commit area.
    first: u32,
    end: u32,
}

/// The checksum that a journal superblock should carry.
fn superblock_checksum(sb: &JournalSuperblock) -> u32 {
    let mut plain = sb.clone();
    plain.s_checksum.set(0);
    crc32c(SEED, plain.as_bytes())
}

impl Journal {
    pub fn open<D: ReadAt>(fs: &Filesystem<D>) -> Result<Self> {
        let ino = fs.state.sb.s_journal_inum.get();
        if ino == 0 {
            return Err(Error::Unsupported("external journal".into()));
        }
        let place = || "journal".to_string();
        let inode = fs.live_inode(ino)?;
        if inode.file_type() != Some(FileType::Regular) {
            return Err(corrupt(place(), format!("inode {ino} is no regular file")));
        }
        let map = fs.load_map(&inode)?;
        let sb_block = map.runs.first().filter(|run| run.file_block == 0);
        let sb_block = sb_block.ok_or_else(|| corrupt(place(), "has no first block"))?.block;
        let bytes = fs.read_block(sb_block)?;
        let sb = JournalSuperblock::read_from_prefix(&bytes).expect("a block holds a superblock").0;
        let found = (sb.s_header.h_magic.get(), sb.s_header.h_blocktype.get());
        if found != (MAGIC, SUPERBLOCK_V2) {
            if found == (MAGIC, 3) {
                return Err(Error::Unsupported("journal of version 1".into()));
            }
            return Err(corrupt(place(), format!("superblock's magic is {:#x}, type {}", found.0, found.1)));
        }
        let incompat = sb.s_feature_incompat.get();
        if incompat & !KNOWN_INCOMPAT != 0 || sb.s_feature_ro_compat.get() != 0 {
            let (unknown, ro) = (incompat & !KNOWN_INCOMPAT, sb.s_feature_ro_compat.get());
            return Err(Error::Unsupported(format!("journal features {unknown:#x}, read-only {ro:#x}")));
        }
        if incompat & INCOMPAT_CSUM_V2 != 0 && incompat & INCOMPAT_CSUM_V3 != 0 {
            return Err(corrupt(place(), "has checksums of version 2 and 3 at once"));
        }
        if incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0 {
            if sb.s_checksum_type != CHECKSUM_CRC32C {
                return Err(Error::Unsupported(format!("journal checksum type {}", sb.s_checksum_type)));
            }
            let wanted = superblock_checksum(&sb);
            if sb.s_checksum.get() != wanted {
                return Err(bad_checksum("journal superblock", sb.s_checksum.get(), wanted));
            }
        }
        if sb.s_blocksize.get() != fs.geo.block_size {
            return Err(corrupt(place(), format!("block size is {}", sb.s_blocksize)));
        }
        let length = sb.s_maxlen.get();
        let fast = match (incompat & INCOMPAT_FAST_COMMIT, sb.s_num_fc_blks.get()) {
            (0, _) => 0,
            (_, 0) => DEFAULT_FC_BLOCKS,
            (_, blocks) => blocks,
        };
        let first = sb.s_first.get();
        let end = length.saturating_sub(fast);
        if length < MIN_BLOCKS || first == 0 || first >= end || sb.s_start.get() >= end {
            let detail = format!("{length} blocks, first {first}, start {}, {fast} for fast commits", sb.s_start);
            return Err(corrupt(place(), detail));
        }
        if length > MAX_LENGTH {
            return Err(Error::Limit(format!("a journal of {length} blocks, more than {MAX_LENGTH}")));
        }
        let mut next = 0;
        for run in &map.runs {
            if u64::from(run.file_block) != next || run.unwritten {
                break;
            }
            next += u64::from(run.len);
        }
        if next < length.into() {
            return Err(corrupt(place(), format!("{length} blocks long, but only {next} are mapped")));
        }
        Ok(Self { sb, runs: map.runs, first, end })
    }

    /// Where block `index` of the log is. `index` is below `s_maxlen`, all of which is mapped.
    pub fn block(&self, index: u32) -> BlockNr {
        let at = self.runs.partition_point(|run| run.file_block <= index) - 1;
        let run = &self.runs[at];
        run.block + u64::from(index - run.file_block)
    }

    /// Where its log is, with the part for fast commits: blocks side by side, and how many.
    pub fn log(&self) -> impl Iterator<Item = (BlockNr, u64)> {
        let (first, end) = (self.sb.s_first.get().into(), self.sb.s_maxlen.get().into());
        self.runs.iter().filter_map(move |run| cut(run, first, end)).map(|run| (run.block, run.len.into()))
    }

    /// Blocks of its file that are mapped, counted from the first.
    pub fn mapped(&self) -> u64 {
        let end = self.runs.last().map_or(0, |run| u64::from(run.file_block) + u64::from(run.len));
        end.max(u64::from(self.end))
    }

    /// The same journal after a recovery: empty, and with a sequence number that the log does not contain.
    pub fn recovered(mut self, next_sequence: u32) -> Self {
        self.sb.s_start.set(0);
        self.sb.s_sequence.set(next_sequence);
        self
    }

    fn incompat(&self, bit: u32) -> bool {
        self.sb.s_feature_incompat.get() & bit != 0
    }

    /// The seed of checksums in the log: the journal's own identity, not the filesystem's.
    fn seed(&self) -> u32 {
        crc32c(SEED, &self.sb.s_uuid)
    }

    fn checksums(&self) -> bool {
        self.incompat(INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3)
    }

    /// Bytes of a descriptor's tag, without the identity that may follow it.
    fn tag_len(&self) -> usize {
        if self.incompat(INCOMPAT_CSUM_V3) {
            return 16;
        }
        let len = if self.incompat(INCOMPAT_64BIT) { 12 } else { 8 };
        if self.incompat(INCOMPAT_CSUM_V2) { len + 2 } else { len }
    }
}
