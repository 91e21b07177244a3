//! Which number a new account gets.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// From which side numbers are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Above the highest that is taken: people.
    Bottom,
    /// Below the lowest that is taken: the system's own accounts.
    Top,
}

/// The number that useradd(8) and groupadd(8) would choose of `range`: `preferred` if it is free there, else the one
/// beyond all that are taken, else the first free one.
pub fn choose(taken: &BTreeSet<u32>, range: RangeInclusive<u32>, side: Side, preferred: Option<u32>) -> Option<u32> {
    if range.is_empty() {
        return None;
    }
    if let Some(preferred) = preferred.filter(|id| range.contains(id) && !taken.contains(id)) {
        return Some(preferred);
    }
    let (first, last) = (*range.start(), *range.end());
    let beyond = match side {
        Side::Bottom => taken.range(range.clone()).next_back().map_or(Some(first), |id| id.checked_add(1)),
        Side::Top => taken.range(range.clone()).next().map_or(Some(last), |id| id.checked_sub(1)),
    };
    let free = |id: &u32| !taken.contains(id);
    // One of the first numbers, as many as are taken and one more, is free if any is: this ends soon.
    beyond.filter(|id| range.contains(id)).or_else(|| match side {
        Side::Bottom => range.clone().find(free),
        Side::Top => range.clone().rev().find(free),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_from_below_and_the_system_from_above() {
        let taken = BTreeSet::from([0, 100, 998, 1000, 1005, 60_001, 65_534]);
        for (range, side, preferred, wanted) in [
            (1000..=60_000, Side::Bottom, None, Some(1006)),
            (1000..=60_000, Side::Bottom, Some(1002), Some(1002)),
            (1000..=60_000, Side::Bottom, Some(1005), Some(1006)),
            (1000..=60_000, Side::Bottom, Some(5), Some(1006)),
            (1000..=1005, Side::Bottom, None, Some(1001)),
            (2000..=2000, Side::Bottom, None, Some(2000)),
            (1000..=1000, Side::Bottom, None, None),
            (101..=999, Side::Top, None, Some(997)),
            (998..=999, Side::Top, None, Some(999)),
            (998..=998, Side::Top, None, None),
            (0..=0, Side::Top, None, None),
            (5..=u32::MAX, Side::Bottom, None, Some(65_535)),
        ] {
            assert_eq!(choose(&taken, range.clone(), side, preferred), wanted, "{range:?} {side:?} {preferred:?}");
        }
        #[allow(clippy::reversed_empty_ranges, reason = "a guest may say so")]
        let empty = 9..=8;
        assert_eq!(choose(&taken, empty, Side::Bottom, None), None);
    }
}
