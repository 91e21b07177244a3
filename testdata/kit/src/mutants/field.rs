//! A number in an image.

use super::ptable;
use crate::ext_layout::{Layout, Place};
use rand::RngExt;
use rand::rngs::StdRng;

/// What has a checksum over a field.
#[derive(Debug, Clone)]
pub enum Cover {
    /// Nothing.
    None,
    /// A structure of the victim's n-th ext filesystem.
    Ext(usize, Place),
    /// The GPT header at this byte offset, by either of its checksums.
    Gpt(usize),
}

/// A number in an image, and what covers it.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its first byte.
    pub at: usize,
    /// Its length, at most 8 bytes.
    pub len: usize,
    /// The byte order.
    pub big_endian: bool,
    /// What has a checksum over it.
    pub cover: Cover,
}

impl Field {
    /// A little-endian number without a checksum.
    pub fn plain(at: usize, len: usize) -> Self {
        Self { at, len, big_endian: false, cover: Cover::None }
    }

    /// Its value now; what lies behind the end of the image counts as zero.
    fn get(&self, bytes: &[u8]) -> u64 {
        let byte = |at: usize| u64::from(bytes.get(self.at + at).copied().unwrap_or(0));
        let place = |at: usize| if self.big_endian { at } else { self.len - 1 - at };
        (0..self.len).fold(0, |value, at| value << 8 | byte(place(at)))
    }

    /// A value that tells more than others: an end, one off, a power of two, a block or two away, or any.
    pub fn value(&self, bytes: &[u8], rng: &mut StdRng) -> u64 {
        let old = self.get(bytes);
        let bits = 8 * self.len as u32;
        let value = match rng.random_range(0..12) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => old.wrapping_add(1),
            4 => old.wrapping_sub(1),
            5 => old ^ 1 << (bits - 1),
            6 => 1 << rng.random_range(0..bits),
            7 => old.wrapping_mul(2),
            8 => old / 2,
            9 => old ^ 1 << rng.random_range(0..bits),
            10 => u64::MAX << rng.random_range(0..bits),
            _ => rng.random(),
        };
        value & u64::MAX >> (64 - bits)
    }

    /// Gives it a value.
    pub fn set(&self, bytes: &mut [u8], value: u64) {
        let value = if self.big_endian { value << (64 - 8 * self.len) } else { value };
        let new = if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        if let Some(place) = bytes.get_mut(self.at..self.at + self.len) {
            place.copy_from_slice(&new[..self.len]);
        }
    }

    /// Makes the checksum right that covers it.
    pub(super) fn seal(&self, bytes: &mut [u8], filesystems: &[(usize, Layout)]) {
        match &self.cover {
            Cover::None => {}
            Cover::Ext(number, place) => {
                let (start, layout) = &filesystems[*number];
                layout.fix(&mut bytes[*start..], place);
            }
            Cover::Gpt(header) => ptable::seal(bytes, *header),
        }
    }
}
