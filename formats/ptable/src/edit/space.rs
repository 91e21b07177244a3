//! Free space between partitions, in sectors.

use super::EditError;

/// New partitions begin at multiples of this, in bytes; where nothing else stops them, they end there too.
pub const ALIGNMENT: u64 = 1 << 20;

/// A stretch in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// First sector.
    pub start: u64,
    /// First sector behind it.
    pub end: u64,
    /// The partition; none for a part of the table.
    pub number: Option<u32>,
}

/// The area for partitions and what is in use there.
#[derive(Debug)]
pub(super) struct Space {
    /// Bytes of a sector.
    pub sector: u64,
    /// First sector of the area.
    pub first: u64,
    /// First sector behind it.
    pub end: u64,
    /// In any order; overlaps are harmless.
    pub taken: Vec<Taken>,
    /// Sectors that must be free in front of a new partition, for a record of its own.
    pub lead: u64,
}

/// A place for a new partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// First sector of the free stretch around it.
    pub free: u64,
    /// First sector.
    pub start: u64,
    /// Sectors.
    pub len: u64,
}

impl Space {
    fn alignment(&self) -> u64 {
        (ALIGNMENT / self.sector).max(1)
    }

    /// Free stretches, ascending: first sector, and first sector behind.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let mut taken = self.taken.clone();
        taken.sort_by_key(|taken| taken.start);
        let mut gaps = Vec::new();
        let mut at = self.first;
        for taken in taken {
            if taken.start > at {
                gaps.push((at, taken.start.min(self.end)));
            }
            at = at.max(taken.end);
        }
        gaps.push((at, self.end));
        gaps.retain(|(start, end)| start < end);
        gaps
    }

    /// Finds a place. A start that is given is kept, else it is aligned. Without a length the partition takes what is
    /// free from its start on, or the largest free stretch; with one, the first stretch that is long enough.
    pub fn place(&self, start: Option<u64>, len: Option<u64>) -> Result<Place, EditError> {
        if len == Some(0) {
            return Err(EditError::Empty);
        }
        let gaps = self.gaps();
        if let Some(start) = start {
            let end = start.saturating_add(len.unwrap_or(1));
            let gap = gaps.iter().find(|(first, last)| first.saturating_add(self.lead) <= start && end <= *last);
            let Some(&(free, last)) = gap else { return Err(self.conflict(start, end)) };
            let len = len.unwrap_or_else(|| self.round_down(last, start + 1) - start);
            return Ok(Place { free, start, len });
        }
        let alignment = self.alignment();
        let places = gaps.iter().filter_map(|&(free, last)| {
            let start = free.checked_add(self.lead)?.checked_next_multiple_of(alignment)?;
            (start < last).then(|| (Place { free, start, len: last - start }, last))
        });
        let largest = places.clone().map(|(place, _)| place.len).max().unwrap_or(0);
        let found = match len {
            Some(len) => places.clone().find(|(place, _)| place.len >= len),
            None => places.clone().find(|(place, _)| place.len == largest),
        };
        let Some((place, last)) = found else {
            let wanted = len.unwrap_or(1).saturating_mul(self.sector);
            return Err(EditError::NoSpace { wanted, largest: largest * self.sector });
        };
        let len = len.unwrap_or_else(|| self.round_down(last, place.start + 1) - place.start);
        Ok(Place { len, ..place })
    }

    /// How far a partition that ends before `end` may reach. What begins further in front and reaches beyond counts
    /// too: then it may not grow.
    pub fn limit(&self, end: u64) -> u64 {
        let next = self.taken.iter().filter(|taken| taken.end > end).map(|taken| taken.start.max(end)).min();
        next.unwrap_or(self.end).min(self.end).max(end)
    }

    /// The last multiple of the alignment up to `limit`, or `limit` where that would be before `least`.
    pub fn round_down(&self, limit: u64, least: u64) -> u64 {
        let aligned = limit - limit % self.alignment();
        if aligned < least { limit } else { aligned }
    }

    /// Why `start..end` is not free.
    pub fn conflict(&self, start: u64, end: u64) -> EditError {
        let bytes = |sector: u64| sector.saturating_mul(self.sector);
        let lead = start.saturating_sub(self.lead);
        match self.taken.iter().find(|taken| taken.start < end && lead < taken.end) {
            Some(taken) if lead >= self.first => {
                EditError::Overlap { start: bytes(start), end: bytes(end), other: taken.number }
            }
            _ => EditError::Outside {
                start: bytes(start),
                end: bytes(end),
                first: bytes(self.first),
                last: bytes(self.end),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 2048;

    fn space(taken: &[(u64, u64)]) -> Space {
        let taken = taken.iter().map(|&(start, end)| Taken { start, end, number: Some(1) }).collect();
        Space { sector: 512, first: 34, end: 10 * MIB - 33, taken, lead: 0 }
    }

    #[test]
    fn the_first_that_fits_or_the_largest() {
        let space = space(&[(MIB, 2 * MIB), (4 * MIB, 5 * MIB + 1)]);
        let place = |free, start, len| Place { free, start, len };
        assert_eq!(space.place(None, Some(1)).unwrap(), place(2 * MIB, 2 * MIB, 1));
        assert_eq!(space.place(None, Some(3 * MIB)).unwrap(), place(5 * MIB + 1, 6 * MIB, 3 * MIB));
        assert_eq!(space.place(None, None).unwrap(), place(5 * MIB + 1, 6 * MIB, 3 * MIB));
        assert_eq!(space.place(Some(34), None).unwrap(), place(34, 34, MIB - 34));
        assert_eq!(space.place(Some(9 * MIB + 5), None).unwrap(), place(5 * MIB + 1, 9 * MIB + 5, MIB - 38));
        let error = space.place(None, Some(4 * MIB)).unwrap_err().to_string();
        assert!(error.contains("of 4194304 bytes") && error.contains("largest has 4177408"), "{error}");
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let space = space(&[(MIB, 2 * MIB)]);
        let error = |start, len| space.place(Some(start), Some(len)).unwrap_err();
        assert!(matches!(error(MIB - 1, 2), EditError::Overlap { other: Some(1), .. }));
        assert!(matches!(error(33, 2), EditError::Outside { .. }));
        assert!(matches!(error(9 * MIB, MIB), EditError::Outside { .. }));
        assert!(matches!(error(u64::MAX, u64::MAX), EditError::Outside { .. }));
        assert_eq!((space.limit(40), space.limit(3 * MIB), space.limit(MIB)), (MIB, 10 * MIB - 33, MIB));
    }
}
