//! `{a,b}` in patterns, as GLOB_BRACE of glob(3): one pattern stands for several, before anything else is read in it.

/// The most patterns that one may stand for.
const MAX_PATTERNS: usize = 1024;

/// What `pattern` stands for, in order; none when that is more than 1024. Where a brace has no end, and in `{}`, it
/// stands for itself.
pub(super) fn expand(pattern: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut done = Vec::new();
    // Each pair of braces is taken out once, so this ends.
    let mut open = vec![pattern.to_vec()];
    while let Some(pattern) = open.pop() {
        let Some((start, commas, end)) = pair(&pattern) else {
            done.push(pattern);
            continue;
        };
        let ends: Vec<usize> = commas.into_iter().chain([end]).collect();
        if done.len() + open.len() + ends.len() > MAX_PATTERNS {
            return None;
        }
        // The first is to be taken next.
        for (at, to) in ends.iter().enumerate().rev() {
            let from = if at == 0 { start } else { ends[at - 1] };
            open.push([&pattern[..start], &pattern[from + 1..*to], &pattern[end + 1..]].concat());
        }
    }
    Some(done)
}

/// Where the first braces begin, have their commas, and end.
fn pair(pattern: &[u8]) -> Option<(usize, Vec<usize>, usize)> {
    let (mut at, mut start, mut depth, mut commas) = (0, 0, 0usize, Vec::new());
    while let Some(byte) = pattern.get(at) {
        match byte {
            b'\\' => at += 1,
            b'{' if depth == 0 && pattern.get(at + 1) == Some(&b'}') => at += 1,
            b'{' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            b',' if depth == 1 => commas.push(at),
            b'}' if depth == 1 => return Some((start, commas, at)),
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pattern_for_each_alternative() {
        for (pattern, wanted) in [
            ("a", &["a"][..]),
            ("", &[""]),
            ("/{var/log,tmp}/*", &["/var/log/*", "/tmp/*"]),
            ("{a,b}{1,2}", &["a1", "a2", "b1", "b2"]),
            ("x{a,{b,c}d,}y", &["xay", "xbdy", "xcdy", "xy"]),
            ("{a}", &["a"]),
            ("{}{a,b}", &["{}a", "{}b"]),
            ("\\{a,b}", &["\\{a,b}"]),
            ("{a\\,b,c}", &["a\\,b", "c"]),
            ("{a,{b,c}", &["{a,{b,c}"]),
            ("a}b,", &["a}b,"]),
        ] {
            assert_eq!(
                expand(pattern.as_bytes()).unwrap(),
                wanted.iter().map(|text| text.as_bytes()).collect::<Vec<_>>()
            );
        }
        assert_eq!(expand("{a,b}".repeat(10).as_bytes()).unwrap().len(), 1024);
        assert_eq!(expand("{a,b}".repeat(11).as_bytes()), None);
        assert_eq!(expand("{a,b}".repeat(800).as_bytes()), None);
        let deep = ["{".repeat(2000), "}".repeat(2000)].concat();
        assert_eq!(expand(deep.as_bytes()).unwrap().len(), 1);
    }
}
