//! Writes a journal's log in every form that kernels have written, by the book and not by the code under test.

use nomount_block::{Memory, ReadAt, WriteAt};
use nomount_ext::{Filesystem, Options};

const MAGIC: u32 = 0xC03B_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;
const JOURNAL_INO: u32 = 8;
/// Byte offset of the filesystem's superblock.
const SUPERBLOCK: u64 = 1024;
const RECOVER: u32 = 4;

/// Which checksums a log carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sums {
    None,
    V2,
    V3,
}

/// The form of a log.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    pub sums: Sums,
    pub bit64: bool,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Whole,
    /// The machine stopped before the commit block.
    NoCommit,
    /// Its commit block does not match; only logs with checksums can tell.
    BadCommit,
}

/// A log that is being written.
pub struct Log {
    pub image: Memory,
    form: Form,
    block_size: usize,
    /// Blocks of the journal, in order.
    blocks: Vec<u64>,
    seed: u32,
    uuid: [u8; 16],
    start: u32,
    at: u32,
    pub sequence: u32,
    first_sequence: u32,
}

fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

impl Log {
    /// A log in the journal of `image`, from its block `start` on.
    pub fn new(image: Memory, form: Form, start: u32, sequence: u32) -> Self {
        let fs = Filesystem::open(&image, Options::default()).unwrap();
        let block_size = fs.geometry().block_size as usize;
        let runs = fs.runs(JOURNAL_INO).unwrap();
        let blocks: Vec<u64> = runs.iter().flat_map(|run| run.block..run.block + u64::from(run.len)).collect();
        let mut uuid = [0; 16];
        image.read_at(blocks[0] * block_size as u64 + 0x30, &mut uuid).unwrap();
        let (seed, at) = (crc(!0, &uuid), start);
        Self { image, form, block_size, blocks, seed, uuid, start, at, sequence, first_sequence: sequence }
    }

    /// Blocks of the journal.
    pub fn len(&self) -> u32 {
        self.blocks.len() as u32
    }

    fn emit(&mut self, bytes: &[u8]) {
        let block = self.blocks[self.at as usize];
        self.image.write_at(block * self.block_size as u64, bytes).unwrap();
        self.at = if self.at + 1 == self.len() { 1 } else { self.at + 1 };
    }

    fn block(&self, kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; self.block_size];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 4, kind);
        put(&mut bytes, 8, self.sequence);
        bytes
    }

    /// The checksum at the end of descriptors and revoke blocks.
    fn seal(&self, bytes: &mut [u8]) {
        if self.form.sums != Sums::None {
            let sum = crc(self.seed, bytes);
            put(bytes, self.block_size - 4, sum);
        }
    }

    fn tag(&self, block: u64, flags: u32, copy: &[u8]) -> Vec<u8> {
        let sum = crc(crc(self.seed, &self.sequence.to_be_bytes()), copy);
        let mut tag = (block as u32).to_be_bytes().to_vec();
        let high = ((block >> 32) as u32).to_be_bytes();
        match self.form.sums {
            Sums::V3 => {
                tag.extend(flags.to_be_bytes());
                tag.extend(high);
                tag.extend(sum.to_be_bytes());
            }
            sums => {
                tag.extend(if sums == Sums::V2 { sum as u16 } else { 0 }.to_be_bytes());
                tag.extend((flags as u16).to_be_bytes());
                if self.form.bit64 {
                    tag.extend(high);
                }
                // Version 2 counts two bytes more than it uses.
                tag.extend(if sums == Sums::V2 { &[0, 0][..] } else { &[] });
            }
        }
        tag
    }

    /// One transaction: revoked blocks, and new contents of others, so many of them under one descriptor.
    pub fn transaction(&mut self, revoked: &[u64], writes: &[(u64, Vec<u8>)], per_descriptor: usize, end: End) {
        let width = if self.form.bit64 { 8 } else { 4 };
        for some in revoked.chunks((self.block_size - 20) / width) {
            let mut bytes = self.block(REVOKE);
            put(&mut bytes, 12, (16 + some.len() * width) as u32);
            for (slot, block) in bytes[16..].chunks_exact_mut(width).zip(some) {
                slot.copy_from_slice(&block.to_be_bytes()[8 - width..]);
            }
            self.seal(&mut bytes);
            self.emit(&bytes);
        }
        for some in writes.chunks(per_descriptor) {
            let (mut descriptor, mut at) = (self.block(DESCRIPTOR), 12);
            let mut copies = Vec::new();
            for (index, (block, contents)) in some.iter().enumerate() {
                let mut copy = contents.clone();
                let escaped = copy[..4] == MAGIC.to_be_bytes();
                if escaped {
                    put(&mut copy, 0, 0);
                }
                let last = if index + 1 == some.len() { 8 } else { 0 };
                let flags = u32::from(escaped) | if index > 0 { 2 } else { 0 } | last;
                let tag = self.tag(*block, flags, &copy);
                descriptor[at..at + tag.len()].copy_from_slice(&tag);
                at += tag.len();
                if index == 0 {
                    descriptor[at..at + 16].copy_from_slice(&self.uuid);
                    at += 16;
                }
                copies.push(copy);
            }
            self.seal(&mut descriptor);
            self.emit(&descriptor);
            copies.iter().for_each(|copy| self.emit(copy));
        }
        if end != End::NoCommit {
            let mut bytes = self.block(COMMIT);
            bytes[0x30..0x38].copy_from_slice(
                &(1_700_000_000 + u64::from(self.sequence.wrapping_sub(self.first_sequence))).to_be_bytes(),
            );
            if self.form.sums != Sums::None {
                let sum = crc(self.seed, &bytes);
                put(&mut bytes, 0x10, if end == End::BadCommit { !sum } else { sum });
            }
            self.emit(&bytes);
        }
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Points the journal's superblock at the log and marks the filesystem as in need of recovery.
    pub fn finish(mut self) -> Memory {
        let at = self.blocks[0] * self.block_size as u64;
        let mut sb = vec![0; 1024];
        self.image.read_at(at, &mut sb).unwrap();
        put(&mut sb, 0x18, self.first_sequence);
        put(&mut sb, 0x1C, self.start);
        let sums = match self.form.sums {
            Sums::None => 0,
            Sums::V2 => 8,
            Sums::V3 => 0x10,
        };
        put(&mut sb, 0x28, 1 | if self.form.bit64 { 2 } else { 0 } | sums);
        sb[0x50] = if sums == 0 { 0 } else { 4 };
        put(&mut sb, 0xFC, 0);
        let sum = if sums == 0 { 0 } else { crc(!0, &sb) };
        put(&mut sb, 0xFC, sum);
        self.image.write_at(at, &sb).unwrap();

        self.image.read_at(SUPERBLOCK, &mut sb).unwrap();
        let incompat = u32::from_le_bytes(sb[0x60..0x64].try_into().unwrap()) | RECOVER;
        sb[0x60..0x64].copy_from_slice(&incompat.to_le_bytes());
        if sb[0x65] & 4 != 0 {
            let sum = crc(!0, &sb[..0x3FC]);
            sb[0x3FC..].copy_from_slice(&sum.to_le_bytes());
        }
        self.image.write_at(SUPERBLOCK, &sb).unwrap();
        self.image
    }
}
