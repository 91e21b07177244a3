//! Which names of a tree are left out.

use crate::error::{Error, ErrorKind, Result};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Patterns as `--exclude` of tar takes them: `*` stands for slashes, too, and a pattern is for a whole path or for its
/// last components. What is below an excluded directory is excluded with it.
#[derive(Debug, Clone, Default)]
pub struct Exclude(GlobSet);

impl Exclude {
    /// The patterns; a slash at the beginning means the top of the tree.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self> {
        let invalid = |error: globset::Error| {
            Error::new(ErrorKind::Usage, format!("the pattern {:?} is not valid: {}", error.glob(), error.kind()))
        };
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref().trim_end_matches('/');
            let glob = GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build();
            set.add(glob.map_err(invalid)?);
        }
        set.build().map(Self).map_err(invalid)
    }

    /// Whether a path from the top, without a leading slash, is one of them.
    pub fn matches(&self, path: &[u8]) -> bool {
        if self.0.is_empty() || path.is_empty() {
            return false;
        }
        let is = |text: &[u8]| self.0.is_match(OsStr::from_bytes(text));
        let from_top = [b"/", path].concat();
        let starts = std::iter::once(0).chain((0..path.len()).filter(|at| path[*at] == b'/').map(|at| at + 1));
        is(&from_top) || starts.into_iter().any(|at| is(&path[at..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_for_whole_paths_and_for_their_ends() {
        let exclude = Exclude::new(["*.log", "/tmp/*", "cache/", "a?b"]).unwrap();
        for path in ["x.log", "var/log/deep/x.log", "tmp/x", "tmp/x/y", "var/cache", "cache", "d/a/b", "axb"] {
            assert!(exclude.matches(path.as_bytes()), "{path}");
        }
        for path in ["", "tmp", "var/tmp/x", "log", "cached", "x.logs"] {
            assert!(!exclude.matches(path.as_bytes()), "{path}");
        }
        assert!(exclude.matches(b"\xff.log"));
        assert!(Exclude::new(["[a"]).is_err());
        assert!(!Exclude::default().matches(b"x"));
    }
}
