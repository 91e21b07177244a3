//! Staging: writes are kept as an ordered log and reach the device only when they are committed.

use crate::{Budget, Error, ErrorKind, Extent, ExtentKind, Held, ReadAt, Result, SetLen, WriteAt, check_range};
use std::collections::BTreeMap;

/// One entry of a log of writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// `data` at byte `offset`.
    Write {
        /// Byte offset.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// `len` zero bytes at byte `offset`, written over what is stored there.
    Zeroes {
        /// Byte offset.
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
    /// `len` bytes at byte `offset` become zero.
    Discard {
        /// Byte offset.
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
    /// Everything before is durable before anything after.
    Barrier,
    /// The device's length becomes so many bytes.
    SetLen(u64),
}

/// What to do with fresh data that does not fit the memory budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spill {
    /// Once so many bytes are staged, [`WriteAt::write_fresh`] goes straight to the device below: nothing committed
    /// points there, so its contents are still the old ones.
    Through {
        /// Bytes.
        budget: u64,
    },
    /// The device below is never written before the commit: for a dry run.
    Never,
}

/// Memory that a record takes besides its data: its place in the log and in the index.
const RECORD_BYTES: u64 = 160;

/// A stretch of the device whose newest contents are in the log.
#[derive(Debug, Clone, Copy)]
struct Piece {
    len: u64,
    /// Index of the record and offset in its data; `None` for a stretch of zeroes, written or discarded.
    from: Option<(usize, usize)>,
}

/// A device with a log of staged writes above it. Dropping it drops the log.
#[derive(Debug)]
pub struct Overlay<D> {
    below: D,
    len: u64,
    /// So many bytes of the device below are seen: what was cut off once does not come back.
    seen: u64,
    log: Vec<Record>,
    /// Indexes of fresh writes that lie over no earlier record.
    fresh: Vec<usize>,
    pieces: BTreeMap<u64, Piece>,
    staged: u64,
    /// No more bytes than these are staged.
    limit: u64,
    /// The memory that the log takes.
    held: Option<Held>,
    spill: Spill,
}

impl<D: ReadAt> Overlay<D> {
    /// An empty log above `below`.
    pub fn new(below: D, spill: Spill) -> Self {
        let len = below.len();
        let (log, fresh, pieces) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { below, len, seen: len, log, fresh, pieces, staged: 0, limit: u64::MAX, held: None, spill }
    }

    /// Says anew what becomes of fresh data.
    pub fn set_spill(&mut self, spill: Spill) {
        self.spill = spill;
    }

    /// Lets a write fail with [`ErrorKind::Limit`] that would bring what is staged over so many bytes.
    pub fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    /// Lets what is staged take its memory from `budget` from now on.
    pub fn set_budget(&mut self, budget: &Budget) {
        self.held = Some(budget.hold("staged changes"));
    }

    /// Takes the memory for a record with `bytes` of data.
    fn charge(&mut self, offset: u64, bytes: usize) -> Result<()> {
        let Some(held) = &mut self.held else { return Ok(()) };
        let grown = held.grow(bytes as u64 + RECORD_BYTES);
        grown.map_err(|error| Error::with_source(ErrorKind::OutOfBudget, offset, error))
    }

    /// The staged writes, in order.
    pub fn log(&self) -> &[Record] {
        &self.log
    }

    /// Bytes staged in memory.
    pub fn staged(&self) -> u64 {
        self.staged
    }

    /// The device below, without what is staged.
    pub fn below(&self) -> &D {
        &self.below
    }

    /// Drops what is staged and gives the device below back.
    pub fn discard_all(self) -> D {
        self.below
    }

    /// Forgets the index entries inside `start..end`, cutting those that reach out of it.
    fn cut(&mut self, start: u64, end: u64) {
        if let Some((&at, &piece)) = self.pieces.range(..start).next_back()
            && at + piece.len > start
        {
            self.pieces.insert(at, Piece { len: start - at, ..piece });
            if at + piece.len > end {
                self.pieces.insert(end, tail(piece, end - at));
            }
        }
        let inside: Vec<u64> = self.pieces.range(start..end).map(|(&at, _)| at).collect();
        for at in inside {
            let piece = self.pieces.remove(&at).expect("the key was just listed");
            if at + piece.len > end {
                self.pieces.insert(end, tail(piece, end - at));
            }
        }
    }

    /// The first piece that ends after `offset`.
    fn piece_at(&self, offset: u64) -> Option<(u64, Piece)> {
        let before = self.pieces.range(..=offset).next_back().filter(|(at, piece)| **at + piece.len > offset);
        before.or_else(|| self.pieces.range(offset..).next()).map(|(&at, &piece)| (at, piece))
    }

    fn overlaps(&self, offset: u64, len: u64) -> bool {
        self.piece_at(offset).is_some_and(|(at, _)| at < offset + len)
    }

    fn stage(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        if self.staged.saturating_add(data.len() as u64) > self.limit {
            let message = format!("the change takes more than {} bytes of memory", self.limit);
            return Err(Error::with_source(ErrorKind::Limit, offset, message));
        }
        self.charge(offset, data.len())?;
        self.cut(offset, offset + data.len() as u64);
        self.pieces.insert(offset, Piece { len: data.len() as u64, from: Some((self.log.len(), 0)) });
        self.log.push(Record::Write { offset, data: data.to_vec() });
        self.staged += data.len() as u64;
        Ok(())
    }

    fn stage_zeroes(&mut self, offset: u64, len: u64, record: Record) -> Result<()> {
        check_range(offset, len, self.len())?;
        if len > 0 {
            self.charge(offset, 0)?;
            self.cut(offset, offset + len);
            self.pieces.insert(offset, Piece { len, from: None });
            self.log.push(record);
        }
        Ok(())
    }
}

fn tail(piece: Piece, skip: u64) -> Piece {
    Piece { len: piece.len - skip, from: piece.from.map(|(record, at)| (record, at + skip as usize)) }
}

impl<D: SetLen> Overlay<D> {
    /// Replays the log onto the device below, barrier by barrier, and gives it back. On an error the device holds a
    /// prefix of the log: which state that is depends on who ordered the writes.
    pub fn commit(mut self) -> Result<D> {
        let log = std::mem::take(&mut self.log);
        replay(&mut self.below, &log)?;
        self.below.barrier()?;
        Ok(self.below)
    }

    /// Gives back the device below, the fresh writes for which `is_free` (offset, length) holds, and everything else in
    /// order. Nothing committed lives where the former go, and nothing was staged there before: they may reach the
    /// device ahead of the rest, once it is long enough.
    pub fn split_fresh(self, is_free: impl Fn(u64, u64) -> bool) -> (D, Vec<Record>, Vec<Record>) {
        let (mut ahead, mut rest) = (Vec::new(), Vec::new());
        let mut fresh = self.fresh.into_iter().peekable();
        for (index, record) in self.log.into_iter().enumerate() {
            let is_fresh = fresh.next_if_eq(&index).is_some();
            match &record {
                Record::Write { offset, data } if is_fresh && is_free(*offset, data.len() as u64) => ahead.push(record),
                _ => rest.push(record),
            }
        }
        (self.below, ahead, rest)
    }
}

/// Applies records to a device, in order.
pub fn replay(device: &mut impl SetLen, log: &[Record]) -> Result<()> {
    for record in log {
        match record {
            Record::Write { offset, data } => device.write_at(*offset, data)?,
            Record::Zeroes { offset, len } => device.write_zeroes(*offset, *len)?,
            Record::Discard { offset, len } => device.discard(*offset, *len)?,
            Record::Barrier => device.barrier()?,
            Record::SetLen(len) => device.set_len(*len)?,
        }
    }
    Ok(())
}

impl<D: ReadAt> ReadAt for Overlay<D> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len() as u64, self.len())?;
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let rest = buf.len() - done;
            let (len, source) = match self.piece_at(at) {
                Some((start, piece)) if start <= at => {
                    let skip = at - start;
                    (rest.min((piece.len - skip) as usize), Some(tail(piece, skip)))
                }
                Some((start, _)) => (rest.min((start - at) as usize), None),
                None => (rest, None),
            };
            let out = &mut buf[done..done + len];
            match source {
                None => {
                    let seen = self.seen.saturating_sub(at).min(len as u64) as usize;
                    let (seen, beyond) = out.split_at_mut(seen);
                    beyond.fill(0);
                    if !seen.is_empty() {
                        self.below.read_at(at, seen)?;
                    }
                }
                Some(Piece { from: None, .. }) => out.fill(0),
                Some(Piece { from: Some((record, skip)), .. }) => match &self.log[record] {
                    Record::Write { data, .. } => out.copy_from_slice(&data[skip..skip + len]),
                    _ => unreachable!("pieces with a source point at write records"),
                },
            }
            done += len;
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        check_range(offset, 1, self.len())?;
        match self.piece_at(offset) {
            Some((start, piece)) if start <= offset => {
                let kind = if piece.from.is_some() { ExtentKind::Data } else { ExtentKind::Zero };
                Ok(Extent { kind, len: piece.len - (offset - start) })
            }
            next => {
                let limit = next.map_or(self.len, |(start, _)| start) - offset;
                if offset >= self.seen {
                    return Ok(Extent { kind: ExtentKind::Zero, len: limit });
                }
                let below = self.below.extent_at(offset)?;
                Ok(Extent { kind: below.kind, len: below.len.min(limit).min(self.seen - offset) })
            }
        }
    }
}

impl<D: WriteAt> WriteAt for Overlay<D> {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        check_range(offset, data.len() as u64, self.len())?;
        self.stage(offset, data)
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let len = data.len() as u64;
        check_range(offset, len, self.len())?;
        match self.spill {
            // A range that the log touches must keep its place in the log's order.
            Spill::Through { budget }
                if self.staged + len > budget && offset + len <= self.seen && !self.overlaps(offset, len) =>
            {
                self.below.write_fresh(offset, data)
            }
            _ => {
                // What was cut off and is there again has its place in the order, too.
                let alone = len > 0 && !self.overlaps(offset, len) && self.seen == self.below.len();
                let number = self.log.len();
                self.stage(offset, data)?;
                if alone {
                    self.fresh.push(number);
                }
                Ok(())
            }
        }
    }

    fn write_zeroes(&mut self, offset: u64, len: u64) -> Result<()> {
        self.stage_zeroes(offset, len, Record::Zeroes { offset, len })
    }

    fn discard(&mut self, offset: u64, len: u64) -> Result<()> {
        self.stage_zeroes(offset, len, Record::Discard { offset, len })
    }

    fn barrier(&mut self) -> Result<()> {
        if !matches!(self.log.last(), Some(Record::Barrier)) {
            self.log.push(Record::Barrier);
        }
        Ok(())
    }
}

impl<D: WriteAt> SetLen for Overlay<D> {
    fn set_len(&mut self, len: u64) -> Result<()> {
        if len != self.len {
            self.cut(len, self.len.max(len));
            self.seen = self.seen.min(len);
            self.len = len;
            self.log.push(Record::SetLen(len));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;
    use proptest::prelude::*;

    const SIZE: usize = 300;

    proptest! {
        #[test]
        fn staged_view_and_committed_device_equal_plain_writes(
            ops in prop::collection::vec((0..SIZE, 0..80usize, any::<u8>(), 0..6u8), 1..40),
            budget in 0..400u64,
        ) {
            let start: Vec<u8> = (0..SIZE).map(|i| i as u8).collect();
            let mut plain = Memory::new(start.clone());
            let mut staged = Overlay::new(Memory::new(start.clone()), Spill::Never);
            let mut through = Overlay::new(Memory::new(start), Spill::Through { budget });
            for (offset, len, byte, kind) in ops {
                let offset = if kind == 4 { offset } else { offset.min(plain.len() as usize) };
                let len = len.min(plain.len() as usize - offset.min(plain.len() as usize));
                let data = vec![byte; len];
                let at = offset as u64;
                for device in [&mut plain as &mut dyn SetLen, &mut staged, &mut through] {
                    match kind {
                        4 => device.set_len(at).unwrap(),
                        0 => device.discard(at, len as u64).unwrap(),
                        1 => device.barrier().unwrap(),
                        5 => device.write_zeroes(at, len as u64).unwrap(),
                        2 => device.write_fresh(at, &data).unwrap(),
                        _ => device.write_at(at, &data).unwrap(),
                    }
                }
            }
            for view in [&staged, &through] {
                let mut seen = vec![0; plain.len() as usize];
                prop_assert_eq!(view.len(), plain.len());
                view.read_at(0, &mut seen).unwrap();
                prop_assert_eq!(&seen, plain.bytes());
                let mut at = 0;
                while at < plain.len() {
                    let extent = view.extent_at(at).unwrap();
                    prop_assert!(extent.len > 0 && at + extent.len <= plain.len());
                    if extent.kind == ExtentKind::Zero {
                        prop_assert!(seen[at as usize..(at + extent.len) as usize].iter().all(|b| *b == 0));
                    }
                    at += extent.len;
                }
            }
            prop_assert_eq!(staged.commit().unwrap(), plain.clone());
            prop_assert_eq!(through.commit().unwrap(), plain);
        }
    }

    #[test]
    fn fresh_writes_go_ahead_unless_something_was_staged_there_before() {
        let mut overlay = Overlay::new(Memory::zeroed(16), Spill::Never);
        overlay.write_at(0, &[1]).unwrap();
        overlay.write_fresh(0, &[2; 2]).unwrap();
        overlay.write_fresh(4, &[3; 2]).unwrap();
        overlay.write_at(5, &[4]).unwrap();
        overlay.write_fresh(8, &[5]).unwrap();
        let write = |offset, data: &[u8]| Record::Write { offset, data: data.to_vec() };
        let (_, ahead, rest) = overlay.split_fresh(|offset, _| offset < 8);
        assert_eq!(ahead, [write(4, &[3, 3])]);
        assert_eq!(rest, [write(0, &[1]), write(0, &[2, 2]), write(5, &[4]), write(8, &[5])]);
    }

    #[test]
    fn zeroes_over_fresh_data_stay_behind_it_and_take_no_memory() {
        let mut overlay = Overlay::new(Memory::new(vec![9; 16]), Spill::Never);
        overlay.write_fresh(0, &[1; 8]).unwrap();
        overlay.barrier().unwrap();
        overlay.write_zeroes(4, 8).unwrap();
        assert_eq!(overlay.staged(), 8);
        let (mut below, ahead, rest) = overlay.split_fresh(|_, _| true);
        assert_eq!(ahead.len(), 1);
        assert_eq!(rest, [Record::Barrier, Record::Zeroes { offset: 4, len: 8 }]);
        replay(&mut below, &ahead).unwrap();
        replay(&mut below, &rest).unwrap();
        assert_eq!(below.bytes(), [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9]);
    }

    #[test]
    fn what_would_take_too_much_memory_fails_and_changes_nothing() {
        let mut overlay = Overlay::new(Memory::zeroed(16), Spill::Never);
        overlay.set_limit(10);
        overlay.write_at(0, &[1; 6]).unwrap();
        overlay.write_fresh(6, &[2; 4]).unwrap();
        for error in [overlay.write_at(2, &[3]), overlay.write_fresh(12, &[3])] {
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Limit);
        }
        let (_, ahead, rest) = overlay.split_fresh(|_, _| true);
        assert_eq!((ahead.len(), rest.len()), (1, 1));
    }

    #[test]
    fn nothing_reaches_the_device_before_commit() {
        let mut overlay = Overlay::new(Memory::zeroed(16), Spill::Never);
        overlay.write_fresh(0, &[1; 16]).unwrap();
        overlay.discard(4, 4).unwrap();
        assert_eq!(overlay.discard_all(), Memory::zeroed(16));
    }
}
