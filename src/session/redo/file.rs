//! What stands in a redo file: magic and a version, phase, lengths of the device, records, and a checksum over all of it.
//! A write has the checksums of the sectors that were there before.

use super::{Device, cannot_write};
use crate::error::{Error, ErrorKind, Result};
use byteorder::{ByteOrder, LittleEndian};
use nomount_block::{ReadAt, Record};
use std::collections::HashMap;
use std::io::Write;

const MAGIC: &[u8; 8] = b"NMREDO\0\x02";
/// Magic, phase, length of the device before and after, number of records.
const HEADER: usize = 40;
/// Kind, offset, length.
const RECORD: usize = 24;
const TRAILER: usize = 4;
/// A medium writes sectors of at least this size whole or not at all.
const SECTOR: u64 = 512;
/// The largest redo file that is read: what is protected is metadata, a few blocks for each change.
pub(super) const MAX_REDO: u64 = 1 << 30;
/// No device is longer: hosts count in signed numbers.
const MAX_LEN: u64 = i64::MAX as u64;

const KIND_WRITE: u64 = 1;
const KIND_BARRIER: u64 = 2;
const KIND_DISCARD: u64 = 3;
const KIND_SET_LEN: u64 = 4;
const KIND_ZEROES: u64 = 5;

/// What is to be done with an image that has such a file beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Phase {
    /// Its new end is to be cut off again: nothing else that was committed has changed.
    TakeBack,
    /// The records are to be applied.
    Complete,
}

/// A change that must happen whole.
#[derive(Debug)]
pub(in crate::session) struct Redo {
    pub phase: Phase,
    /// Bytes of the device before the change.
    pub before: u64,
    /// Bytes of the device after it.
    pub after: u64,
    /// The change, in order.
    pub records: Vec<Record>,
    /// What the image may hold where they go.
    pub known: Known,
}

impl Redo {
    /// Whether everything that the file asks for has happened: a device that was cut off is not written any more.
    pub fn is_done(&self, device_len: u64) -> bool {
        self.phase == Phase::Complete && self.after < self.before && device_len == self.after
    }

    /// Whether each record reaches what the device has when its turn comes, so that none fails behind one that was
    /// applied. The text says what does not.
    fn check_reach(&self) -> Result<(), String> {
        // A device that becomes longer is so before the file is written.
        let mut len = self.before.max(self.after);
        for record in &self.records {
            let (offset, count) = match record {
                Record::Write { offset, data } => (*offset, data.len() as u64),
                Record::Zeroes { offset, len } | Record::Discard { offset, len } => (*offset, *len),
                Record::SetLen(new) => {
                    len = *new;
                    continue;
                }
                Record::Barrier => continue,
            };
            if offset + count > len {
                return Err(format!("{count} bytes at {offset} are beyond a device of {len} bytes"));
            }
        }
        if len == self.after {
            return Ok(());
        }
        Err(format!("it leaves a device of {len} bytes where {} are expected", self.after))
    }
}

/// Writes the file for a change from a device of `before` bytes to one of `after`. What the records overwrite is taken
/// from `device`.
pub(in crate::session) fn encode(
    file: &mut impl Write,
    device: &Device,
    phase: Phase,
    (before, after): (u64, u64),
    records: &[Record],
) -> Result<()> {
    let mut out = Sum { file, crc: 0, len: 0 };
    let number = match phase {
        Phase::TakeBack => 0,
        Phase::Complete => 1,
    };
    out.bytes(MAGIC)?;
    out.words(&[number, before, after, records.len() as u64])?;
    let mut old = Vec::new();
    for record in records {
        match record {
            Record::Write { offset, data } => {
                out.words(&[KIND_WRITE, *offset, data.len() as u64])?;
                old.clear();
                old.resize(data.len(), 0);
                let there = device.len().saturating_sub(*offset).min(data.len() as u64) as usize;
                if there > 0 {
                    device.read_at(*offset, &mut old[..there])?;
                }
                let sums: Vec<u8> = sums(&old).flat_map(u32::to_le_bytes).collect();
                out.bytes(&sums)?;
                out.bytes(data)?;
            }
            Record::Barrier => out.words(&[KIND_BARRIER, 0, 0])?,
            Record::Zeroes { offset, len } => out.words(&[KIND_ZEROES, *offset, *len])?,
            Record::Discard { offset, len } => out.words(&[KIND_DISCARD, *offset, *len])?,
            Record::SetLen(len) => out.words(&[KIND_SET_LEN, 0, *len])?,
        }
        if out.len > MAX_REDO {
            let message = format!("the change is too large to be protected: a redo file has at most {MAX_REDO} bytes");
            return Err(Error::new(ErrorKind::Limit, message));
        }
    }
    let crc = out.crc.to_le_bytes();
    out.bytes(&crc)
}

/// Writes on, with a checksum of all so far.
struct Sum<'a, W> {
    file: &'a mut W,
    crc: u32,
    len: u64,
}

impl<W: Write> Sum<'_, W> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.len += bytes.len() as u64;
        self.file.write_all(bytes).map_err(cannot_write)
    }

    fn words(&mut self, words: &[u64]) -> Result<()> {
        words.iter().try_for_each(|word| self.bytes(&word.to_le_bytes()))
    }
}

/// The checksums of the sectors of a write.
fn sums(data: &[u8]) -> impl Iterator<Item = u32> {
    data.chunks(SECTOR as usize).map(crc32c::crc32c)
}

/// Reads a file. The error says what is wrong with it.
pub(super) fn decode(bytes: &[u8], device_len: u64) -> Result<Redo, String> {
    if bytes.len() as u64 > MAX_REDO + TRAILER as u64 {
        return Err(format!("it is longer than {MAX_REDO} bytes"));
    }
    if bytes.len() < HEADER + TRAILER || bytes[..8] != *MAGIC {
        return Err("its magic is missing".to_owned());
    }
    let (body, crc) = bytes.split_at(bytes.len() - TRAILER);
    if LittleEndian::read_u32(crc) != crc32c::crc32c(body) {
        return Err("its checksum is wrong".to_owned());
    }
    let word = |at: usize| LittleEndian::read_u64(&body[at..at + 8]);
    let [before, after, count] = [16, 24, 32].map(word);
    let phase = match word(8) {
        0 => Phase::TakeBack,
        1 => Phase::Complete,
        other => return Err(format!("phase {other} makes no sense")),
    };
    if before.max(after) > MAX_LEN || phase == Phase::TakeBack && after <= before {
        return Err(format!("lengths of {before} and {after} bytes make no sense"));
    }
    if device_len != before && device_len != after {
        return Err(format!("it is for a device of {before} bytes, this one has {device_len}"));
    }
    let limit = before.max(after);
    let mut redo = Redo { phase, before, after, records: Vec::new(), known: Known::default() };
    let mut rest = &body[HEADER..];
    for _ in 0..count {
        let short = || "it ends in a record".to_owned();
        let (head, following) = rest.split_at_checked(RECORD).ok_or_else(short)?;
        let [kind, offset, len] = [0, 8, 16].map(|at| LittleEndian::read_u64(&head[at..at + 8]));
        rest = following;
        let inside = offset.checked_add(len).is_some_and(|end| end <= limit) && offset % SECTOR == 0;
        match kind {
            KIND_BARRIER if (offset, len) == (0, 0) => redo.records.push(Record::Barrier),
            KIND_SET_LEN if (offset, len) == (0, after) => redo.records.push(Record::SetLen(len)),
            KIND_ZEROES | KIND_DISCARD if inside => {
                redo.known.any(offset, len);
                redo.records.push(match kind {
                    KIND_ZEROES => Record::Zeroes { offset, len },
                    _ => Record::Discard { offset, len },
                });
            }
            KIND_WRITE if inside => {
                let sectors = len.div_ceil(SECTOR) as usize;
                let (old, following) = rest.split_at_checked(4 * sectors).ok_or_else(short)?;
                let (data, following) = following.split_at_checked(len as usize).ok_or_else(short)?;
                redo.known.add(offset, old.chunks(4).map(LittleEndian::read_u32));
                redo.known.add(offset, sums(data));
                redo.records.push(Record::Write { offset, data: data.to_vec() });
                rest = following;
            }
            _ => return Err(format!("a record of kind {kind} at {offset} with {len} bytes makes no sense")),
        }
    }
    if !rest.is_empty() {
        return Err("bytes follow its last record".to_owned());
    }
    if phase == Phase::Complete {
        if device_len < after {
            return Err(format!("the device has {device_len} bytes and had {after} when it was written"));
        }
        redo.check_reach()?;
    }
    redo.known.free.sort_unstable();
    redo.known.free.dedup_by(|next, last| {
        let touching = next.0 <= last.1;
        if touching {
            last.1 = last.1.max(next.1);
        }
        touching
    });
    Ok(redo)
}

/// The contents that a sector may have: before, and after each record that touches it.
#[derive(Debug, Default)]
pub(in crate::session) struct Known {
    sectors: HashMap<u64, Vec<u32>>,
    /// Stretches that are discarded or made zero, whatever they hold: ascending, none touching another.
    free: Vec<(u64, u64)>,
}

impl Known {
    fn add(&mut self, offset: u64, sums: impl Iterator<Item = u32>) {
        for (at, sum) in (offset..).step_by(SECTOR as usize).zip(sums) {
            self.sectors.entry(at).or_default().push(sum);
        }
    }

    fn any(&mut self, offset: u64, len: u64) {
        self.free.push((offset, offset + len));
    }

    /// Fails when a sector of the first `len` bytes holds something else.
    pub fn check(&self, device: &Device, len: u64) -> Result<()> {
        for (&at, allowed) in self.sectors.iter().filter(|(at, _)| **at < len) {
            let mut sector = vec![0; SECTOR.min(device.len() - at) as usize];
            device.read_at(at, &mut sector)?;
            let discarded = || {
                let behind = self.free.partition_point(|(start, _)| *start <= at);
                behind > 0 && at < self.free[behind - 1].1
            };
            if !allowed.contains(&crc32c::crc32c(&sector)) && !discarded() {
                let message = format!("the image was changed since its commit was interrupted (sector at byte {at})");
                return Err(Error::new(ErrorKind::Refused, message));
            }
        }
        Ok(())
    }
}
