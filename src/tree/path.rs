//! Paths inside a guest: bytes, absolute, never leaving the guest's root.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;

/// The longest path accepted, as PATH_MAX of Linux.
pub const MAX_PATH: usize = 4096;
/// The longest name of one component, as NAME_MAX of Linux.
pub const MAX_NAME: usize = 255;

/// An absolute path inside the guest: normal components only, no `.`, `..` or empty ones. Bytes, as Linux has them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GuestPath {
    components: Vec<Vec<u8>>,
}

impl GuestPath {
    /// The root directory.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path as a user gives it: relative means from the root (V1). `..` is taken textually and may not climb
    /// above the root (Z1).
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        let invalid = |why: &str| Err(Error::new(ErrorKind::Invalid, format!("invalid path: {why}")).at_path(text));
        if text.is_empty() {
            return invalid("it is empty");
        }
        if text.len() > MAX_PATH {
            return invalid("it is longer than 4096 bytes");
        }
        if text.contains(&0) {
            return invalid("it contains a NUL byte");
        }
        let mut path = Self::root();
        for component in text.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    if path.components.pop().is_none() {
                        return invalid("it climbs above the guest's root");
                    }
                }
                name if name.len() > MAX_NAME => return invalid("a name is longer than 255 bytes"),
                name => path.components.push(name.to_vec()),
            }
        }
        Ok(path)
    }

    /// The components, from the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.components.iter().map(Vec::as_slice)
    }

    /// Whether this is the root directory.
    pub fn is_root(&self) -> bool {
        self.components.is_empty()
    }

    /// The last component; none for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.components.last().map(Vec::as_slice)
    }

    /// The directory that holds it; none for the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, parents) = self.components.split_last()?;
        Some(Self { components: parents.to_vec() })
    }

    /// The path of the first `components` components.
    pub(crate) fn prefix(&self, components: usize) -> Self {
        Self { components: self.components[..components].to_vec() }
    }

    /// Whether this is the directory that `path` is directly in.
    pub(crate) fn is_parent_of(&self, path: &Self) -> bool {
        path.components.split_last().is_some_and(|(_, parents)| parents == self.components)
    }

    /// Whether this is inside directory `dir`, at any depth, and not `dir` itself.
    pub fn is_below(&self, dir: &Self) -> bool {
        self.components.len() > dir.components.len() && self.components.starts_with(&dir.components)
    }

    /// This path, which is below `from`, as it is when `from` has become `to`.
    pub(crate) fn moved(&self, from: &Self, to: &Self) -> Self {
        debug_assert!(self.is_below(from));
        let mut components = to.components.clone();
        components.extend_from_slice(&self.components[from.components.len()..]);
        Self { components }
    }

    /// This path and one more component, which must be a plain name.
    pub fn join(&self, name: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        debug_assert!(!name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..");
        let mut components = self.components.clone();
        components.push(name.to_vec());
        Self { components }
    }

    /// As bytes, beginning with a slash.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.is_root() {
            return b"/".to_vec();
        }
        self.components.iter().flat_map(|name| std::iter::once(b'/').chain(name.iter().copied())).collect()
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_bytes().escape_ascii())
    }
}

impl fmt::Debug for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_relative_means_from_the_root() {
        assert_eq!(GuestPath::parse("etc//./hosts").unwrap().to_string(), "/etc/hosts");
        assert_eq!(GuestPath::parse("/").unwrap(), GuestPath::root());
        assert!(GuestPath::parse("").is_err());
        assert!(GuestPath::parse("a\0b").is_err());
    }

    #[test]
    fn z1_climbing_above_the_root_is_invalid() {
        for bad in ["etc/../../../something.conf", "/etc/../../../../etc/passwd", ".."] {
            assert_eq!(GuestPath::parse(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
        assert_eq!(GuestPath::parse("etc/something.conf").unwrap().to_string(), "/etc/something.conf");
        assert_eq!(GuestPath::parse("etc/x/../y").unwrap().to_string(), "/etc/y");
    }
}
