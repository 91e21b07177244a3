//! Sparse files in tar streams: where their data is, as GNU tar writes it into PAX headers, and the holes that a
//! stream of zeroes may become again.

use super::Contents;
use crate::error::{Error, ErrorKind, Result};
use std::io::Read;
use std::ops::Range;

/// The most stretches of data that one file may have.
const MAX_PIECES: usize = 1 << 20;
/// Records of a tar stream.
const RECORD: usize = 512;
/// Zeroes of this length and place become a hole.
const HOLE: usize = 4096;

fn bad(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the map of a sparse file {what}"))
}

/// Stretches of data: offset and length, ascending.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SparseMap(Vec<(u64, u64)>);

impl SparseMap {
    fn push(&mut self, offset: u64, len: u64, size: u64) -> Result<()> {
        let last = self.0.last().map_or(0, |(offset, len)| offset + len);
        let end = offset.checked_add(len).ok_or_else(|| bad("goes beyond 2^64 bytes"))?;
        if offset < last || end > size {
            return Err(bad(format!("names {len} bytes at {offset} after {last}, in a file of {size}")));
        }
        if self.0.len() >= MAX_PIECES {
            return Err(Error::new(ErrorKind::Limit, format!("a sparse file of more than {MAX_PIECES} pieces")));
        }
        if len > 0 {
            self.0.push((offset, len));
        }
        Ok(())
    }

    /// Versions 0.0 and 0.1: the numbers are in the header.
    pub fn from_numbers(numbers: &[u64], size: u64) -> Result<Self> {
        let mut map = Self::default();
        for pair in numbers.chunks(2) {
            let [offset, len] = pair else { return Err(bad("has an odd number of numbers")) };
            map.push(*offset, *len, size)?;
        }
        Ok(map)
    }

    /// Version 1.0: the numbers stand as lines before the data, filled up to a record.
    pub fn from_stream(stream: &mut dyn Read, size: u64) -> Result<Self> {
        let mut lines = Lines { stream, record: [0; RECORD], at: RECORD };
        let count = lines.number()?;
        let mut map = Self::default();
        for _ in 0..count {
            let (offset, len) = (lines.number()?, lines.number()?);
            map.push(offset, len, size)?;
        }
        Ok(map)
    }
}

struct Lines<'a> {
    stream: &'a mut dyn Read,
    record: [u8; RECORD],
    at: usize,
}

impl Lines<'_> {
    fn number(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for _ in 0..21 {
            if self.at == RECORD {
                self.stream.read_exact(&mut self.record).map_err(|_| bad("is cut off"))?;
                self.at = 0;
            }
            let byte = self.record[self.at];
            self.at += 1;
            match byte {
                b'\n' => return Ok(value),
                b'0'..=b'9' => {
                    let next = value.checked_mul(10).and_then(|value| value.checked_add(u64::from(byte - b'0')));
                    value = next.ok_or_else(|| bad("has too large a number"))?;
                }
                _ => return Err(bad(format!("has byte {byte:#04x} where a digit should be"))),
            }
        }
        Err(bad("has too long a number"))
    }
}

/// The data of a sparse file, stretch after stretch.
pub(super) struct Mapped<'a> {
    stream: &'a mut dyn Read,
    map: std::vec::IntoIter<(u64, u64)>,
    now: (u64, u64),
}

impl<'a> Mapped<'a> {
    pub fn new(stream: &'a mut dyn Read, map: SparseMap) -> Self {
        Self { stream, map: map.0.into_iter(), now: (0, 0) }
    }
}

impl std::fmt::Debug for Mapped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapped").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Contents for Mapped<'_> {
    fn next_data(&mut self, buf: &mut [u8]) -> Result<Option<(u64, usize)>> {
        if self.now.1 == 0 {
            match self.map.next() {
                Some(next) => self.now = next,
                None => return Ok(None),
            }
        }
        let (offset, left) = self.now;
        let len = left.min(buf.len() as u64) as usize;
        self.stream.read_exact(&mut buf[..len]).map_err(super::stream::broken)?;
        self.now = (offset + len as u64, left - len as u64);
        Ok(Some((offset, len)))
    }

    fn stretches(&self) -> Option<&[Range<u64>]> {
        None
    }
}

/// The bytes of a file in order. With `holes`, long zeroes are left out: the reader below has filled holes with them.
pub(super) struct Plain<'a> {
    stream: &'a mut dyn Read,
    at: u64,
    left: u64,
    holes: bool,
}

impl<'a> Plain<'a> {
    pub fn new(stream: &'a mut dyn Read, len: u64, holes: bool) -> Self {
        Self { stream, at: 0, left: len, holes }
    }
}

impl std::fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plain").field("at", &self.at).field("left", &self.left).finish_non_exhaustive()
    }
}

impl Contents for Plain<'_> {
    fn next_data(&mut self, buf: &mut [u8]) -> Result<Option<(u64, usize)>> {
        while self.left > 0 {
            let most = if self.holes { HOLE.min(buf.len()) } else { buf.len() };
            let len = self.left.min(most as u64) as usize;
            self.stream.read_exact(&mut buf[..len]).map_err(super::stream::broken)?;
            let start = self.at;
            self.at += len as u64;
            self.left -= len as u64;
            if !self.holes || buf[..len].iter().any(|byte| *byte != 0) {
                return Ok(Some((start, len)));
            }
        }
        Ok(None)
    }

    fn stretches(&self) -> Option<&[Range<u64>]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_and_hostile_ones_refused() {
        let mut text = b"2\n0\n512\n4096\n100\n".to_vec();
        text.resize(RECORD, 0);
        let map = SparseMap::from_stream(&mut &text[..], 5000).unwrap();
        assert_eq!(map, SparseMap(vec![(0, 512), (4096, 100)]));
        assert_eq!(SparseMap::from_numbers(&[0, 512, 4096, 100], 5000).unwrap(), map);
        for text in ["9999999999999\n", "1\n18446744073709551615\n5\n", "2\n10\n5\n3\n1\n", "x\n", "1\n0\n6000\n"] {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(RECORD, 0);
            assert!(SparseMap::from_stream(&mut &bytes[..], 5000).is_err(), "{text}");
        }
        assert!(SparseMap::from_numbers(&[1], 5).is_err());
    }
}
