//! Subordinate ids, subuid(5) and subgid(5): which a user may give to its containers.

use super::lines::{fields, lines, number, split_break};

/// Whether a range is `name`'s.
pub fn has(text: &[u8], name: &[u8]) -> bool {
    lines(text).any(|line| fields(split_break(line).0)[0] == name)
}

/// The first of `count` ids from `min` to `max`, both included, that are nobody's: the lowest such place.
pub fn free_range(text: &[u8], min: u32, max: u32, count: u32) -> Option<u32> {
    let range = |line| {
        let fields = fields(split_break(line).0);
        let [_, first, count] = fields[..] else { return None };
        let (first, count) = (u64::from(number(first)?), u64::from(number(count)?));
        (count > 0).then(|| (first, first + count))
    };
    let mut taken: Vec<(u64, u64)> = lines(text).filter_map(range).collect();
    taken.sort_unstable();
    let end = u64::from(max) + 1;
    let mut low = u64::from(min);
    for (first, after) in taken.into_iter().chain([(end, end)]) {
        if first.min(end) >= low + u64::from(count) {
            return u32::try_from(low).ok();
        }
        low = low.max(after);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_gap_that_is_wide_enough() {
        let text = b"b:300:100\na:100:50\nbroken\nc:x:5\nd:150:0\n1000:180:20\n";
        for (min, max, count, wanted) in [
            (100, 1000, 30, Some(150)),
            (100, 1000, 31, Some(200)),
            (100, 1000, 100, Some(200)),
            (100, 1000, 101, Some(400)),
            (100, 1000, 601, Some(400)),
            (100, 1000, 602, None),
            (100, 299, 101, None),
            (0, u32::MAX, 100, Some(0)),
            (5, 4, 1, None),
        ] {
            assert_eq!(free_range(text, min, max, count), wanted, "{min} {max} {count}");
        }
        assert!(has(text, b"a") && has(text, b"1000") && !has(text, b"e") && !has(b"", b"a"));
        assert_eq!(free_range(b"a:4294967290:4294967290\n", 0, u32::MAX, 9), Some(0));
    }
}
