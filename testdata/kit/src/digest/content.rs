//! The bytes of a file, by the block map that debugfs printed.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::Hasher;
use std::os::unix::fs::FileExt;

/// Blocks read at a time.
const BATCH: u64 = 256;
/// What is hashed at a time: the smallest block size, so that the block size does not show in the hash.
const GRAIN: usize = 1024;

/// `len` blocks of a file, from file block `logical`, stored from `physical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub logical: u64,
    pub physical: u64,
    pub len: u64,
}

/// Where a file's bytes are.
pub(super) enum Source<'a> {
    Inline(&'a [u8]),
    Pieces(&'a [(u64, Vec<u8>)]),
    Blocks { file: &'a File, offset: u64, block_size: u64, runs: &'a [Run] },
}

impl Source<'_> {
    /// Calls `f` with the position and bytes of every stored piece below `size`, one block each.
    fn each(&self, size: u64, mut f: impl FnMut(u64, &[u8])) {
        match *self {
            Source::Inline(bytes) => f(0, bytes),
            Source::Pieces(pieces) => pieces.iter().for_each(|(at, bytes)| f(*at, bytes)),
            Source::Blocks { file, offset, block_size, runs } => {
                let mut buf = Vec::new();
                for run in runs {
                    for first in (0..run.len).step_by(BATCH as usize) {
                        let blocks = BATCH.min(run.len - first);
                        buf.resize((blocks * block_size) as usize, 0);
                        file.read_exact_at(&mut buf, offset + (run.physical + first) * block_size)
                            .unwrap_or_else(|e| panic!("block {}: {e}", run.physical + first));
                        for (i, block) in buf.chunks(block_size as usize).enumerate() {
                            let at = (run.logical + first + i as u64) * block_size;
                            let inside = size.saturating_sub(at).min(block_size) as usize;
                            f(at, &block[..inside]);
                        }
                    }
                }
            }
        }
    }
}

/// A hash of `size` bytes in which zeroes and holes are alike.
pub(super) fn hash(source: &Source<'_>, size: u64) -> u128 {
    let mut halves = [DefaultHasher::new(), DefaultHasher::new()];
    halves[1].write_u8(1);
    source.each(size, |at, bytes| {
        for (i, grain) in bytes.chunks(GRAIN).enumerate() {
            let used = grain.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if used > 0 {
                for half in &mut halves {
                    half.write_u64(at + (i * GRAIN) as u64);
                    half.write(&grain[..used]);
                }
            }
        }
    });
    let [low, high] = halves.map(|mut half| {
        half.write_u64(size);
        half.finish()
    });
    u128::from(high) << 64 | u128::from(low)
}

/// The bytes themselves, for the target of a symbolic link.
pub(super) fn bytes(source: &Source<'_>, size: u64) -> Vec<u8> {
    assert!(size <= 65536, "a symbolic link of {size} bytes");
    let mut bytes = vec![0; size as usize];
    source.each(size, |at, piece| {
        let at = at as usize;
        let len = piece.len().min(bytes.len().saturating_sub(at));
        bytes[at..at + len].copy_from_slice(&piece[..len]);
    });
    bytes
}

/// The hash that [`super::Entry::content`] holds, of contents that somebody else read.
pub fn content_hash(bytes: &[u8]) -> u128 {
    hash(&Source::Inline(bytes), bytes.len() as u64)
}

/// The same of a file of `size` bytes that is zero but for these pieces: offset, a multiple of 1024, and bytes.
pub fn sparse_hash(size: u64, pieces: &[(u64, Vec<u8>)]) -> u128 {
    hash(&Source::Pieces(pieces), size)
}
