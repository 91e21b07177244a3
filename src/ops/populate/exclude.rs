//! Which names of a tree are left out.

use crate::ops::glob::Glob;

/// Patterns as `--exclude` of tar takes them: `*` stands for slashes, too, and a pattern is for a whole path or for its
/// last components. What is below an excluded directory is excluded with it.
#[derive(Debug, Clone, Default)]
pub struct Exclude(Vec<Glob>);

impl Exclude {
    /// The patterns; a slash at the beginning means the top of the tree.
    pub fn new<S: AsRef<[u8]>>(patterns: impl IntoIterator<Item = S>) -> Self {
        let without_slash = |mut pattern: &[u8]| {
            while let [rest @ .., b'/'] = pattern {
                pattern = rest;
            }
            Glob::new(pattern, false)
        };
        Self(patterns.into_iter().map(|pattern| without_slash(pattern.as_ref())).collect())
    }

    /// Whether a path from the top, without a leading slash, is one of them.
    pub fn matches(&self, path: &[u8]) -> bool {
        if self.0.is_empty() || path.is_empty() {
            return false;
        }
        let from_top = [b"/", path].concat();
        self.0.iter().any(|pattern| pattern.matches_end(&from_top))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_for_whole_paths_and_for_their_ends() {
        let exclude = Exclude::new(["*.log", "/tmp/*", "cache/", "a?b", "{x,y}"]);
        for path in ["x.log", "var/log/deep/x.log", "tmp/x", "tmp/x/y", "var/cache", "cache", "d/a/b", "axb"] {
            assert!(exclude.matches(path.as_bytes()), "{path}");
        }
        for path in ["", "tmp", "var/tmp/x", "log", "cached", "x.logs"] {
            assert!(!exclude.matches(path.as_bytes()), "{path}");
        }
        assert!(exclude.matches(b"\xff.log"));
        assert!(exclude.matches(b"d/{x,y}") && !exclude.matches(b"d/x"));
        let bytes = Exclude::new([&b"/\xff"[..], b"[a"]);
        assert!(bytes.matches(b"\xff") && bytes.matches(b"d/[a") && !bytes.matches(b"d/\xff"));
        assert!(!Exclude::default().matches(b"x"));
    }
}
