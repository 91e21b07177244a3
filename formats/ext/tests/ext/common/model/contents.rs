//! The bytes of a file: only what was written takes memory, so that files may be larger than it.

use nomount_kit::digest::sparse_hash;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Bytes that are kept together.
const PAGE: u64 = 4096;

/// A file's size and its pages; what is in no page is zero.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    size: u64,
    pages: BTreeMap<u64, Arc<Vec<u8>>>,
    hash: OnceLock<u128>,
}

impl Contents {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes at byte `offset`; the file gets longer if it must.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.hash = OnceLock::new();
        self.size = self.size.max(offset + data.len() as u64);
        self.fill(offset, data.len() as u64, |page, from| {
            let len = page.len();
            page.copy_from_slice(&data[from as usize..from as usize + len]);
        });
    }

    /// Calls `fill` for the part of each page among `len` bytes from `offset`, with its distance from `offset`.
    fn fill(&mut self, offset: u64, len: u64, mut fill: impl FnMut(&mut [u8], u64)) {
        let mut done = 0;
        while done < len {
            let at = offset + done;
            let skip = at % PAGE;
            let here = (PAGE - skip).min(len - done);
            let page = self.pages.entry(at / PAGE).or_insert_with(|| Arc::new(vec![0; PAGE as usize]));
            fill(&mut Arc::make_mut(page)[skip as usize..(skip + here) as usize], done);
            done += here;
        }
    }

    /// Makes `len` bytes from `offset` zero. The size stays.
    pub fn zero(&mut self, offset: u64, len: u64) {
        self.hash = OnceLock::new();
        let end = offset.saturating_add(len);
        let touched: Vec<u64> = self.pages.range(offset / PAGE..end.div_ceil(PAGE)).map(|(page, _)| *page).collect();
        for page in touched {
            let (start, stop) = (offset.max(page * PAGE), end.min((page + 1) * PAGE));
            if stop - start == PAGE {
                self.pages.remove(&page);
            } else {
                self.fill(start, stop - start, |bytes, _| bytes.fill(0));
            }
        }
    }

    /// Cuts off what is behind `size`, or adds zeroes up to it.
    pub fn truncate(&mut self, size: u64) {
        if size < self.size {
            self.zero(size, self.size - size);
        }
        self.hash = OnceLock::new();
        self.size = size;
    }

    /// At most `len` bytes from `offset`; fewer at the end.
    pub fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let end = offset.saturating_add(len).min(self.size);
        let mut at = offset;
        while at < end {
            let skip = at % PAGE;
            let here = (PAGE - skip).min(end - at);
            match self.pages.get(&(at / PAGE)) {
                Some(page) => bytes.extend_from_slice(&page[skip as usize..(skip + here) as usize]),
                None => bytes.resize(bytes.len() + here as usize, 0),
            }
            at += here;
        }
        bytes
    }

    /// The hash that a [`nomount_kit::TreeDigest`] has of such contents.
    pub fn hash(&self) -> u128 {
        *self.hash.get_or_init(|| {
            let pieces: Vec<(u64, Vec<u8>)> =
                self.pages.keys().map(|page| (page * PAGE, self.read(page * PAGE, PAGE))).collect();
            sparse_hash(self.size, &pieces)
        })
    }
}

/// Bytes that differ wherever they are taken from; a seed that is a multiple of eight leaves stretches of zeroes.
pub fn data(len: usize, seed: u8) -> Vec<u8> {
    let word = |at: usize| {
        (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(seed).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    };
    let zero = |at: usize| seed.is_multiple_of(8) && (at / 3000) % 2 == 1;
    (0..len).map(|at| if zero(at) { 0 } else { (word(at / 8) >> (at % 8 * 8)) as u8 }).collect()
}
