//! Recovery: which blocks have newer contents in the log than at home (ext4.rst, "Journal (jbd2)").
//!
//! Nothing is copied: the result says for each block where in the log its newest contents are, so that memory
//! follows the number of blocks and not their size, and reading needs no write.

use super::{
    COMMIT, DESCRIPTOR, FLAG_ESCAPED, FLAG_LAST, FLAG_SAME_UUID, HEADER, INCOMPAT_64BIT, INCOMPAT_CSUM_V2,
    INCOMPAT_CSUM_V3, INCOMPAT_FAST_COMMIT, Journal, MAGIC, REVOKE,
};
use crate::checksum::crc32c;
use crate::error::{Error, Result, bad_checksum, corrupt};
use crate::fs::Filesystem;
use crate::geometry::BlockNr;
use crate::raw::JournalHeader;
use nomount_block::{Held, ReadAt};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use zerocopy::FromBytes;

/// `r_count` of a revoke block follows its header.
const REVOKE_HEADER: usize = 16;
const COMMIT_SEC: usize = 0x30;
/// The most blocks of one journal that are read, copied or revoked, so that recovery ends in seconds: with blocks of
/// 4 KiB it is 4 GiB of log, four times what mke2fs gives the largest filesystem.
const MAX_BLOCKS: usize = 1 << 20;
/// Memory that a transaction takes while the log is read, and each copy or revocation in it.
const TRANSACTION_BYTES: usize = 128;
const NOTE_BYTES: usize = 48;
/// Memory that a block takes which is read from the log from then on.
const COPY_BYTES: u64 = 48;

/// A copy of a block in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogCopy {
    block: BlockNr,
    escaped: bool,
}

impl LogCopy {
    /// Reads the copy as the block it stands for.
    pub fn read<D: ReadAt>(&self, fs: &Filesystem<D>, bytes: &mut [u8]) -> Result<()> {
        fs.device.read_at(self.block * u64::from(fs.geo.block_size), bytes)?;
        if self.escaped {
            bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
        }
        Ok(())
    }
}

struct Tag {
    block: BlockNr,
    flags: u32,
    checksum: u32,
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn be16(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes")))
}

/// One transaction of the log: where it starts and what its blocks are.
struct Transaction {
    sequence: u32,
    copies: Vec<(Tag, u32)>,
    revoked: Vec<BlockNr>,
}

impl Journal {
    fn next(&self, index: u32) -> u32 {
        if index + 1 >= self.end { self.first } else { index + 1 }
    }

    fn log_block<D: ReadAt>(&self, fs: &Filesystem<D>, index: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; fs.block_size()];
        fs.device.read_at(self.block(index) * u64::from(fs.geo.block_size), &mut bytes)?;
        Ok(bytes)
    }

    /// Whether a descriptor or revoke block carries the checksum it should, in its last four bytes.
    fn tail_ok(&self, bytes: &[u8]) -> bool {
        let at = bytes.len() - 4;
        !self.checksums() || be32(bytes, at) == crc32c(crc32c(self.seed(), &bytes[..at]), &[0; 4])
    }

    fn commit_ok(&self, bytes: &[u8]) -> bool {
        const CHECKSUM: usize = 0x10;
        if !self.checksums() {
            return true;
        }
        let before = crc32c(crc32c(self.seed(), &bytes[..CHECKSUM]), &[0; 4]);
        be32(bytes, CHECKSUM) == crc32c(before, &bytes[CHECKSUM + 4..])
    }

    fn tags(&self, bytes: &[u8]) -> Result<Vec<Tag>> {
        let len = self.tag_len();
        let end = bytes.len() - if self.checksums() { 4 } else { 0 };
        let mut tags = Vec::new();
        let mut at = HEADER;
        while at + len <= end {
            let v3 = self.incompat(INCOMPAT_CSUM_V3);
            let (flags, checksum) = if v3 {
                (be32(bytes, at + 4), be32(bytes, at + 12))
            } else {
                (be16(bytes, at + 6), be16(bytes, at + 4))
            };
            let high = if self.incompat(INCOMPAT_64BIT) { u64::from(be32(bytes, at + 8)) << 32 } else { 0 };
            tags.push(Tag { block: high | u64::from(be32(bytes, at)), flags, checksum });
            at += len + if flags & FLAG_SAME_UUID == 0 { 16 } else { 0 };
            if flags & FLAG_LAST != 0 {
                return Ok(tags);
            }
        }
        // A full descriptor whose last tag lacks the mark is how some writers end it; the kernel accepts it.
        if tags.is_empty() { Err(corrupt("journal", "a descriptor block has no tags")) } else { Ok(tags) }
    }

    fn revoked(&self, bytes: &[u8]) -> Result<Vec<BlockNr>> {
        let len = if self.incompat(INCOMPAT_64BIT) { 8 } else { 4 };
        let used = be32(bytes, HEADER) as usize;
        let end = bytes.len() - if self.checksums() { 4 } else { 0 };
        // An empty one is never written, and could be read for ages.
        if used < REVOKE_HEADER + len || used > end {
            return Err(corrupt("journal", format!("a revoke block has {used} bytes")));
        }
        let numbers = bytes[REVOKE_HEADER..used].chunks_exact(len);
        Ok(numbers.map(|number| number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))).collect())
    }

    /// Reads the log from its start. Returns where the newest contents of each block are, the memory that this takes,
    /// and the sequence number to go on with.
    pub fn recover<D: ReadAt>(&self, fs: &Filesystem<D>) -> Result<(BTreeMap<BlockNr, LogCopy>, Held, u32)> {
        if self.sb.s_errno.get() != 0 {
            let detail = format!("records error {}; the filesystem needs a check", self.sb.s_errno.get() as i32);
            return Err(corrupt("journal", detail));
        }
        let mut copies = BTreeMap::new();
        let mut held = fs.budget.hold("blocks to be read from the journal");
        if self.sb.s_start.get() == 0 {
            return Ok((copies, held, self.sb.s_sequence.get()));
        }
        let mut notes = fs.budget.hold("transactions of the journal");
        let (transactions, next_sequence) = self.scan(fs, &mut notes)?;
        let mut revoked: HashMap<BlockNr, u32> = HashMap::new();
        for transaction in &transactions {
            for &block in &transaction.revoked {
                let newest = revoked.entry(block).or_insert(transaction.sequence);
                if transaction.sequence.wrapping_sub(*newest) as i32 > 0 {
                    *newest = transaction.sequence;
                }
            }
        }
        let own = self.own_blocks();
        for transaction in &transactions {
            for (tag, index) in &transaction.copies {
                let is_revoked = revoked
                    .get(&tag.block)
                    .is_some_and(|sequence| sequence.wrapping_sub(transaction.sequence) as i32 >= 0);
                if is_revoked {
                    continue;
                }
                let copy = self.verified_copy(fs, &own, transaction.sequence, tag, *index)?;
                if copies.insert(tag.block, copy).is_none() {
                    held.grow(COPY_BYTES)?;
                }
            }
        }
        Ok((copies, held, next_sequence))
    }

    /// Collects the complete transactions. The log ends at the first block that does not continue it.
    fn scan<D: ReadAt>(&self, fs: &Filesystem<D>, notes: &mut Held) -> Result<(Vec<Transaction>, u32)> {
        let mut transactions = Vec::new();
        let mut sequence = self.sb.s_sequence.get();
        let mut index = self.sb.s_start.get();
        if index < self.first {
            return Err(corrupt("journal", format!("starts at block {index}, before its first block {}", self.first)));
        }
        let mut open = Transaction { sequence, copies: Vec::new(), revoked: Vec::new() };
        let (mut steps, mut read, mut remembered) = (0, 0, 0);
        let mut last_commit_time = 0;
        while steps < self.end - self.first {
            let bytes = self.log_block(fs, index)?;
            let header = JournalHeader::ref_from_prefix(&bytes).expect("a block is longer than a header").0;
            if header.h_magic.get() != MAGIC || header.h_sequence.get() != sequence {
                break;
            }
            (index, steps, read) = (self.next(index), steps + 1, read + 1);
            match header.h_blocktype.get() {
                DESCRIPTOR => {
                    if !self.tail_ok(&bytes) {
                        if self.is_stale_from(fs, index, last_commit_time)? {
                            break;
                        }
                        return Err(corrupt("journal", format!("descriptor of transaction {sequence}: bad checksum")));
                    }
                    for tag in self.tags(&bytes)? {
                        open.copies.push((tag, index));
                        (index, steps) = (self.next(index), steps + 1);
                    }
                }
                REVOKE => {
                    if !self.tail_ok(&bytes) {
                        return Err(corrupt(
                            "journal",
                            format!("revoke block of transaction {sequence}: bad checksum"),
                        ));
                    }
                    open.revoked.extend(self.revoked(&bytes)?);
                }
                COMMIT => {
                    if !self.commit_ok(&bytes) {
                        // The last commit may have been torn; nothing after it can have been written.
                        break;
                    }
                    let high = u64::from(be32(&bytes, COMMIT_SEC)) << 32;
                    last_commit_time = high | u64::from(be32(&bytes, COMMIT_SEC + 4));
                    remembered += open.copies.len() + open.revoked.len();
                    transactions.push(open);
                    sequence = sequence.wrapping_add(1);
                    open = Transaction { sequence, copies: Vec::new(), revoked: Vec::new() };
                }
                _ => break,
            }
            let blocks = remembered + open.copies.len() + open.revoked.len();
            notes.set((transactions.len() * TRANSACTION_BYTES + blocks * NOTE_BYTES) as u64)?;
            if read + blocks > MAX_BLOCKS {
                return Err(Error::Limit(format!("a journal with more than {MAX_BLOCKS} blocks to replay")));
            }
        }
        self.refuse_live_fast_commits(fs, sequence)?;
        // One number is left out, so that a torn transaction can never be taken for a later one.
        Ok((transactions, sequence.wrapping_add(1)))
    }

    /// A descriptor with a bad checksum is a left-over of an older round if the commit that follows it is older than
    /// the last one seen.
    fn is_stale_from<D: ReadAt>(&self, fs: &Filesystem<D>, mut index: u32, last_commit_time: u64) -> Result<bool> {
        if last_commit_time == 0 {
            return Ok(false);
        }
        for _ in 0..self.end - self.first {
            let bytes = self.log_block(fs, index)?;
            if be32(&bytes, 0) == MAGIC && be32(&bytes, 4) == COMMIT {
                let high = u64::from(be32(&bytes, COMMIT_SEC)) << 32;
                return Ok((high | u64::from(be32(&bytes, COMMIT_SEC + 4))) < last_commit_time);
            }
            index = self.next(index);
        }
        Ok(true)
    }

    /// Fast commits after the last full one would have to be replayed too.
    fn refuse_live_fast_commits<D: ReadAt>(&self, fs: &Filesystem<D>, sequence: u32) -> Result<()> {
        const TAG_HEAD: u16 = 9;
        if !self.incompat(INCOMPAT_FAST_COMMIT) {
            return Ok(());
        }
        // struct ext4_fc_tl (tag, length), then struct ext4_fc_head (features, transaction); little-endian.
        let bytes = self.log_block(fs, self.end)?;
        let tag = u16::from_le_bytes([bytes[0], bytes[1]]);
        let tid = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
        if tag == TAG_HEAD && tid == sequence {
            return Err(Error::Unsupported("fast commits that are not replayed yet (run e2fsck -p once)".into()));
        }
        Ok(())
    }

    /// Where the journal itself is: disjoint and ascending, though a map may name a block more than once.
    fn own_blocks(&self) -> Vec<Range<BlockNr>> {
        let mut own: Vec<_> = self.runs.iter().map(|run| run.block..run.block + u64::from(run.len)).collect();
        own.sort_unstable_by_key(|blocks| blocks.start);
        own.dedup_by(|next, last| {
            let touching = next.start <= last.end;
            last.end = if touching { last.end.max(next.end) } else { last.end };
            touching
        });
        own
    }

    fn verified_copy<D: ReadAt>(
        &self,
        fs: &Filesystem<D>,
        own: &[Range<BlockNr>],
        sequence: u32,
        tag: &Tag,
        index: u32,
    ) -> Result<LogCopy> {
        let place = || format!("journal, copy of block {} in transaction {sequence}", tag.block);
        // Unlike anything else, the copy may be of the block that holds the superblock.
        if tag.block >= fs.geo.blocks_count {
            return Err(corrupt(place(), format!("the filesystem has {} blocks", fs.geo.blocks_count)));
        }
        // At home it would stand in the place of another copy that is not read yet.
        if own.get(own.partition_point(|blocks| blocks.end <= tag.block)).is_some_and(|own| own.contains(&tag.block)) {
            return Err(corrupt(place(), "the block is the journal's own"));
        }
        if self.checksums() {
            let bytes = self.log_block(fs, index)?;
            let sum = crc32c(crc32c(self.seed(), &sequence.to_be_bytes()), &bytes);
            let wanted = if self.incompat(INCOMPAT_CSUM_V2) { sum & 0xFFFF } else { sum };
            if tag.checksum != wanted {
                return Err(bad_checksum(place(), tag.checksum, wanted));
            }
        }
        Ok(LogCopy { block: self.block(index), escaped: tag.flags & FLAG_ESCAPED != 0 })
    }
}
