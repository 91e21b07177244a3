//! file_contexts.subs and .subs_dist: beginnings of paths that are taken for others before the lookup.

/// Substitutions that are kept; distributions have some thirty.
const MAX_SUBS: usize = 4096;

/// The substitutions of one file, the last line first, as libselinux tries them.
#[derive(Debug, Default)]
pub(super) struct Subs(Vec<(Vec<u8>, Vec<u8>)>);

impl Subs {
    /// Reads the lines: a path and what it is taken for. Others are ignored.
    pub(super) fn parse(text: &[u8]) -> Self {
        let pair = |line: &[u8]| {
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let from = words.next().filter(|word| word[0] != b'#')?.to_vec();
            Some((from, words.next()?.to_vec()))
        };
        let mut subs: Vec<_> = text.split(|byte| *byte == b'\n').filter_map(pair).take(MAX_SUBS).collect();
        subs.reverse();
        Self(subs)
    }

    /// The path that `path` is taken for; none when no substitution is for it.
    pub(super) fn apply(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.0.iter().find_map(|(from, to)| {
            let rest = path.strip_prefix(from.as_slice())?;
            match rest.first() {
                Some(b'/') if to == b"/" => Some(rest.to_vec()),
                Some(b'/') | None => Some([to, rest].concat()),
                Some(_) => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_tried_first_and_only_whole_names_count() {
        let subs = Subs::parse(b"# a b\n/lib /usr/lib\n  /lib/systemd\t/x extra\n/sysroot /\nalone\n\n");
        let applied = |path: &str| subs.apply(path.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        for (path, wanted) in [
            ("/lib/a", Some("/usr/lib/a")),
            ("/lib", Some("/usr/lib")),
            ("/lib/systemd/a", Some("/x/a")),
            ("/libs", None),
            ("/sysroot/etc", Some("/etc")),
            ("/sysroot", Some("/")),
            ("/usr", None),
        ] {
            assert_eq!(applied(path).as_deref(), wanted, "{path}");
        }
        assert_eq!(Subs::parse(&b"/a /b\n".repeat(10_000)).0.len(), MAX_SUBS);
    }
}
