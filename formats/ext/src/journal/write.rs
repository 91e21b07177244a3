//! One transaction, as blocks of the log.

use super::{
    CHECKSUM_CRC32C, COMMIT, DESCRIPTOR, FLAG_ESCAPED, FLAG_LAST, FLAG_SAME_UUID, HEADER, INCOMPAT_64BIT,
    INCOMPAT_ASYNC_COMMIT, INCOMPAT_CSUM_V2, INCOMPAT_CSUM_V3, Journal, MAGIC, superblock_checksum,
};
use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::geometry::BlockNr;
use crate::raw::{CommitBlock, JournalHeader, JournalSuperblock, JournalTag3};
use crate::time::Time;
use std::sync::Arc;
use zerocopy::{FromZeros, IntoBytes};

const UUID: usize = 16;
/// `s_feature_compat`: a checksum of the whole transaction in its commit block, which we do not write.
const COMPAT_CHECKSUM: u32 = 1;

fn header(kind: u32, sequence: u32) -> JournalHeader {
    JournalHeader { h_magic: MAGIC.into(), h_blocktype: kind.into(), h_sequence: sequence.into() }
}

impl Journal {
    /// The journal with the features that this filesystem's transactions are written with, as a kernel would set them
    /// when it mounts: checksums of version 3 and 64-bit numbers where the filesystem has them. The log is empty, so
    /// nothing in it has to be read with the old ones.
    pub fn prepared(mut self, metadata_csum: bool, bit64: bool) -> Self {
        let mut incompat = self.sb.s_feature_incompat.get() & !INCOMPAT_ASYNC_COMMIT;
        if metadata_csum {
            incompat = incompat & !INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;
            self.sb.s_checksum_type = CHECKSUM_CRC32C;
        }
        if bit64 {
            incompat |= INCOMPAT_64BIT;
        }
        self.sb.s_feature_incompat.set(incompat);
        let compat = self.sb.s_feature_compat.get() & !COMPAT_CHECKSUM;
        self.sb.s_feature_compat.set(compat);
        // 0 in a log that was never used.
        let sequence = self.sb.s_sequence.get().max(1);
        self.sb.s_sequence.set(sequence);
        self
    }

    /// The journal's superblock with a log that starts at `start` (0: empty) with transaction `sequence`.
    pub fn superblock(&self, start: u32, sequence: u32) -> JournalSuperblock {
        let mut sb = self.sb.clone();
        sb.s_start.set(start);
        sb.s_sequence.set(sequence);
        if self.checksums() {
            let sum = superblock_checksum(&sb);
            sb.s_checksum.set(sum);
        }
        sb
    }

    /// The first block of the log.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// Tags of one descriptor block.
    fn tags_per_descriptor(&self, block_size: usize) -> usize {
        let tail = if self.checksums() { 4 } else { 0 };
        (block_size - HEADER - UUID - tail) / self.tag_len()
    }

    /// The most blocks of one transaction: the log without its descriptors and commit block.
    pub fn capacity(&self, block_size: usize) -> usize {
        let per_descriptor = self.tags_per_descriptor(block_size);
        let log = (self.end - self.first) as usize - 1;
        let (whole, rest) = (log / (per_descriptor + 1), log % (per_descriptor + 1));
        whole * per_descriptor + rest.saturating_sub(1)
    }

    /// Writes blocks as one transaction from the start of the log: block of the filesystem, and what to put there.
    pub fn transaction(
        &self,
        sequence: u32,
        blocks: &[(BlockNr, Arc<Vec<u8>>)],
        block_size: usize,
        time: Time,
    ) -> Result<Vec<(BlockNr, Vec<u8>)>> {
        let per_descriptor = self.tags_per_descriptor(block_size);
        let needed = blocks.len() as u64 + blocks.len().div_ceil(per_descriptor) as u64 + 1;
        let available = u64::from(self.end - self.first);
        if needed > available {
            return Err(Error::JournalTooSmall { needed, available });
        }
        let mut log = Vec::with_capacity(needed as usize);
        let mut index = self.first;
        let mut emit = |bytes: Vec<u8>| {
            log.push((self.block(index), bytes));
            index += 1;
        };
        for group in blocks.chunks(per_descriptor) {
            let mut copies = Vec::with_capacity(group.len());
            let mut descriptor = vec![0; block_size];
            descriptor[..HEADER].copy_from_slice(header(DESCRIPTOR, sequence).as_bytes());
            let mut at = HEADER;
            for (position, (block, contents)) in group.iter().enumerate() {
                let mut copy = contents.to_vec();
                let mut flags = if position == 0 { 0 } else { FLAG_SAME_UUID };
                if copy[..4] == MAGIC.to_be_bytes() {
                    copy[..4].fill(0);
                    flags |= FLAG_ESCAPED;
                }
                if position + 1 == group.len() {
                    flags |= FLAG_LAST;
                }
                self.write_tag(&mut descriptor[at..], *block, flags, self.data_checksum(sequence, &copy));
                at += self.tag_len();
                if position == 0 {
                    descriptor[at..at + UUID].copy_from_slice(&self.sb.s_uuid);
                    at += UUID;
                }
                copies.push(copy);
            }
            if self.checksums() {
                let end = block_size - 4;
                let sum = crc32c(self.seed(), &descriptor);
                descriptor[end..].copy_from_slice(&sum.to_be_bytes());
            }
            emit(descriptor);
            copies.into_iter().for_each(&mut emit);
        }
        emit(self.commit_block(sequence, block_size, time));
        Ok(log)
    }

    fn data_checksum(&self, sequence: u32, copy: &[u8]) -> u32 {
        if self.checksums() { crc32c(crc32c(self.seed(), &sequence.to_be_bytes()), copy) } else { 0 }
    }

    fn write_tag(&self, out: &mut [u8], block: BlockNr, flags: u32, checksum: u32) {
        if self.incompat(INCOMPAT_CSUM_V3) {
            let tag = JournalTag3 {
                t_blocknr: (block as u32).into(),
                t_flags: flags.into(),
                t_blocknr_high: ((block >> 32) as u32).into(),
                t_checksum: checksum.into(),
            };
            out[..16].copy_from_slice(tag.as_bytes());
            return;
        }
        out[..4].copy_from_slice(&(block as u32).to_be_bytes());
        out[4..6].copy_from_slice(&(checksum as u16).to_be_bytes());
        out[6..8].copy_from_slice(&(flags as u16).to_be_bytes());
        if self.incompat(INCOMPAT_64BIT) {
            out[8..12].copy_from_slice(&((block >> 32) as u32).to_be_bytes());
        }
    }

    fn commit_block(&self, sequence: u32, block_size: usize, time: Time) -> Vec<u8> {
        let mut commit = CommitBlock::new_zeroed();
        commit.h_header = header(COMMIT, sequence);
        commit.h_commit_sec.set(time.sec.max(0) as u64);
        commit.h_commit_nsec.set(time.nsec);
        let mut bytes = vec![0; block_size];
        bytes[..size_of::<CommitBlock>()].copy_from_slice(commit.as_bytes());
        if self.checksums() {
            let sum = crc32c(self.seed(), &bytes);
            bytes[0x10..0x14].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }
}
