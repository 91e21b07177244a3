//! Compressed clusters.

use crate::error::{Error, Result, corrupt};
use crate::info::Compression;
use crate::mapping::CompressedRange;
use flate2::{Decompress, FlushDecompress, Status};
use nomount_block::ReadAt;
use ruzstd::decoding::StreamingDecoder;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

/// Frames that want a larger window are refused: the window is allocated before anything is decoded. 8 MiB is what
/// every zstd decoder must accept.
const MAX_ZSTD_WINDOW: u64 = 8 << 20;

/// Inflated clusters that are kept: so many at most,
const KEEP_CLUSTERS: usize = 64;
/// and so many bytes, but at least one cluster.
const KEEP_BYTES: usize = 4 << 20;

/// Reads and inflates one cluster of `cluster` bytes. `guest` is its guest offset, for errors.
pub(crate) fn inflate(
    device: &impl ReadAt,
    range: CompressedRange,
    kind: Compression,
    cluster: u64,
    guest: u64,
) -> Result<Arc<[u8]>> {
    // The last sector of a file may be cut short; the stream ends before that.
    let len = range.len.min(device.len().saturating_sub(range.offset));
    let mut packed = vec![0; len as usize];
    device.read_at(range.offset, &mut packed).map_err(Error::Device)?;
    let mut out = vec![0; cluster as usize];
    let whole = match kind {
        Compression::Zlib => inflate_deflate(&packed, &mut out),
        Compression::Zstd => inflate_zstd(&packed, &mut out),
    };
    if !whole {
        return Err(corrupt("compressed data of guest cluster", guest, range.offset, "a stream of one whole cluster"));
    }
    Ok(out.into())
}

fn inflate_deflate(packed: &[u8], out: &mut [u8]) -> bool {
    let mut state = Decompress::new(false);
    match state.decompress(packed, out, FlushDecompress::Finish) {
        Ok(Status::StreamEnd | Status::BufError | Status::Ok) => state.total_out() == out.len() as u64,
        Err(_) => false,
    }
}

fn inflate_zstd(packed: &[u8], out: &mut [u8]) -> bool {
    match StreamingDecoder::new_with_max_window_size(packed, MAX_ZSTD_WINDOW) {
        Ok(mut decoder) => decoder.read_exact(out).is_ok(),
        Err(_) => false,
    }
}

/// The clusters inflated last.
#[derive(Debug, Default)]
pub(crate) struct Inflated(VecDeque<(CompressedRange, Arc<[u8]>)>);

impl Inflated {
    pub fn get(&self, range: CompressedRange) -> Option<Arc<[u8]>> {
        self.0.iter().find(|(at, _)| *at == range).map(|(_, cluster)| Arc::clone(cluster))
    }

    pub fn put(&mut self, range: CompressedRange, cluster: Arc<[u8]>) {
        let keep = (KEEP_BYTES / cluster.len()).clamp(1, KEEP_CLUSTERS);
        self.0.truncate(keep - 1);
        self.0.push_front((range, cluster));
    }
}
