//! A short list from a long one that still does what the long one does.

/// Leaves out as many items as it can while `fails` holds, which it does for `list` itself: halves first, then ever
/// smaller parts, down to single items. Asks at most `most` times.
pub fn shrink<T: Clone>(list: &[T], most: usize, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut list = list.to_vec();
    let mut part = list.len().div_ceil(2);
    let mut asked = 0;
    while part > 0 {
        let before = list.len();
        // From the end: what comes late depends on what came early.
        let mut end = list.len();
        while end > 0 && asked < most {
            let start = end.saturating_sub(part);
            let without = [&list[..start], &list[end..]].concat();
            asked += 1;
            if fails(&without) {
                list = without;
            }
            end = start;
        }
        if asked >= most || (part == 1 && list.len() == before) {
            break;
        }
        // Single items are tried again as long as one of them goes.
        part = if part == 1 { 1 } else { part.div_ceil(2).min(part - 1) };
    }
    list
}
