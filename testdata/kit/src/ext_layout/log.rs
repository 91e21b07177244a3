//! The journal, and the checksums of its log.

use super::{Journal, Kind, LOG_MAGIC, Layout, Place, SB, be32, crc, crc_of, le32, put};

const BIT64: u32 = 2;
const CSUM_V2: u32 = 8;
const CSUM_V3: u32 = 0x10;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;
/// Blocks of a log, at most, that are looked at.
const LONGEST: usize = 4096;

impl Layout {
    pub(super) fn find_journal(&self, image: &[u8]) -> Option<Journal> {
        let ino = le32(image, SB + 0xE0);
        let blocks = self.blocks_of(image, ino, LONGEST);
        let sb = *blocks.first()?;
        let incompat = be32(image, sb + 0x28);
        Some(Journal {
            seed: crc_of(!0, image, sb + 0x30, 16),
            incompat,
            first: be32(image, sb + 0x14) as usize,
            blocks,
        })
    }

    /// The journal's superblock and, of a log that is not empty, the first blocks that are not copies.
    pub(super) fn log_places(&self, image: &[u8], places: &mut Vec<Place>) {
        let Some(journal) = &self.journal else { return };
        let at = journal.blocks[0];
        places.push(Place { kind: Kind::JournalSuperblock, at, fields: 0..0x60 });
        let start = be32(image, at + 0x1C) as usize;
        if start == 0 {
            return;
        }
        for &at in journal.blocks.iter().skip(start).take(40) {
            if be32(image, at) == LOG_MAGIC {
                let kind = if be32(image, at + 4) == COMMIT { Kind::LogCommit } else { Kind::LogTail };
                places.push(Place { kind, at, fields: 0..64 });
            }
        }
    }

    pub(super) fn fix_journal(&self, image: &mut [u8], place: &Place) {
        let seed = self.journal.as_ref().map_or(!0, |journal| journal.seed);
        let at = place.at;
        let (len, sum_at, seed) = match place.kind {
            Kind::JournalSuperblock => (1024, at + 0xFC, !0),
            Kind::LogCommit => (self.block, at + 0x10, seed),
            _ => (self.block, at + self.block - 4, seed),
        };
        // There is none to mend.
        if be32(image, sum_at) == 0 {
            return;
        }
        put(image, sum_at, &[0; 4]);
        let sum = crc_of(seed, image, at, len);
        put(image, sum_at, &sum.to_be_bytes());
    }

    /// Makes all checksums of the journal right: its superblock, what describes and ends transactions, and copies.
    pub(super) fn fix_log(&self, image: &mut [u8]) {
        let Some(journal) = &self.journal else { return };
        let sb = journal.blocks[0];
        self.fix_journal(image, &Place { kind: Kind::JournalSuperblock, at: sb, fields: 0..0 });
        let mut index = be32(image, sb + 0x1C) as usize;
        if index == 0 || journal.incompat & (CSUM_V2 | CSUM_V3) == 0 {
            return;
        }
        let mut steps = 0;
        while steps < journal.blocks.len() {
            let Some(&at) = journal.blocks.get(index).filter(|at| be32(image, **at) == LOG_MAGIC) else { return };
            (index, steps) = (journal.next(index), steps + 1);
            let kind = match be32(image, at + 4) {
                COMMIT => Kind::LogCommit,
                DESCRIPTOR => {
                    for tag in self.tags(journal, image, at) {
                        self.fix_tag(journal, image, (at, tag), index);
                        (index, steps) = (journal.next(index), steps + 1);
                    }
                    Kind::LogTail
                }
                _ => Kind::LogTail,
            };
            self.fix_journal(image, &Place { kind, at, fields: 0..0 });
        }
    }

    /// Byte offsets of the tags in the descriptor at byte `at`.
    fn tags(&self, journal: &Journal, image: &[u8], at: usize) -> Vec<usize> {
        let end = at + self.block - 4;
        let (mut tag, mut tags) = (at + 12, Vec::new());
        while tag + journal.tag_len() <= end {
            tags.push(tag);
            let flags = if journal.v3() { be32(image, tag + 4) } else { be32(image, tag + 4) & 0xFFFF };
            tag += journal.tag_len() + if flags & SAME_UUID == 0 { 16 } else { 0 };
            if flags & LAST != 0 {
                break;
            }
        }
        tags
    }

    /// The checksum of a copy, in its tag.
    fn fix_tag(&self, journal: &Journal, image: &mut [u8], (descriptor, tag): (usize, usize), index: usize) {
        let Some(&copy) = journal.blocks.get(index) else { return };
        let sequence = be32(image, descriptor + 8);
        let sum = crc_of(crc(journal.seed, &sequence.to_be_bytes()), image, copy, self.block);
        if journal.v3() {
            put(image, tag + 12, &sum.to_be_bytes());
        } else {
            put(image, tag + 4, &(sum as u16).to_be_bytes());
        }
    }
}

impl Journal {
    fn v3(&self) -> bool {
        self.incompat & CSUM_V3 != 0
    }

    fn tag_len(&self) -> usize {
        if self.v3() {
            return 16;
        }
        let len = if self.incompat & BIT64 != 0 { 12 } else { 8 };
        if self.incompat & CSUM_V2 != 0 { len + 2 } else { len }
    }

    fn next(&self, index: usize) -> usize {
        if index + 1 >= self.blocks.len() { self.first } else { index + 1 }
    }
}
