//! The paths of a guest that a pattern of glob(7) stands for.

use super::Glob;
use super::braces;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileKind, FileTree, Follow, GuestPath, find, resolve};
use std::collections::BTreeSet;

/// The most paths that one pattern may match: beyond that, removing the directory is what was meant.
const MAX_MATCHES: usize = 1 << 20;

/// The longest pattern, in bytes, as long as a path.
const MAX_PATTERN: usize = 4096;

/// A path with `*`, `?`, `[...]`, `{a,b}` and `\` in its components, as glob(3) with GLOB_BRACE reads them: no wildcard
/// stands for a slash, nor for a dot at the beginning of a name.
#[derive(Debug, Clone)]
pub struct PathGlob {
    /// The components of each alternative.
    alternatives: Vec<Vec<Part>>,
}

#[derive(Debug, Clone)]
enum Part {
    Name(Vec<u8>),
    Wild(Glob),
}

impl PathGlob {
    /// Reads a pattern; relative means from the root of the guest.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        let invalid =
            |why: &str| Error::new(ErrorKind::Usage, format!("invalid pattern \"{}\": {why}", text.escape_ascii()));
        if text.len() > MAX_PATTERN {
            return Err(invalid("it is longer than 4096 bytes"));
        }
        let alternatives = braces::expand(text).ok_or_else(|| invalid("it has more than 1024 alternatives"))?;
        let alternatives = alternatives.iter().map(|text| parts(text).map_err(invalid)).collect::<Result<_>>()?;
        Ok(Self { alternatives })
    }

    /// What it matches, sorted. Links are followed where the pattern names them before its last component, always inside
    /// the guest; what a wildcard stands for is gone into only if it is a directory itself.
    pub fn matches(&self, tree: &dyn FileTree) -> Result<Vec<GuestPath>> {
        let mut all = BTreeSet::new();
        for parts in &self.alternatives {
            let mut found = vec![GuestPath::root()];
            for (at, part) in parts.iter().enumerate() {
                let is_last = at + 1 == parts.len();
                let mut next = Vec::new();
                for dir in found {
                    match part {
                        Part::Name(name) => next.extend(named(tree, &dir, name, is_last)?),
                        Part::Wild(glob) => {
                            let names = entries(tree, &dir)?.into_iter().filter(|(name, kind)| {
                                (is_last || *kind == FileKind::Dir)
                                    && (glob.begins_with_dot() || !name.starts_with(b"."))
                                    && glob.matches(name)
                            });
                            next.extend(names.map(|(name, _)| dir.join(name)));
                        }
                    }
                    if all.len() + next.len() > MAX_MATCHES {
                        let message = format!("a pattern matches more than {MAX_MATCHES} names");
                        return Err(Error::new(ErrorKind::Limit, message));
                    }
                }
                found = next;
            }
            all.extend(found);
        }
        Ok(all.into_iter().collect())
    }
}

/// The components of a pattern without alternatives, or why it is none.
fn parts(text: &[u8]) -> Result<Vec<Part>, &'static str> {
    if text.is_empty() {
        return Err("it is empty, or one of its alternatives");
    }
    let components = text.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let part = |component: &[u8]| match component {
        b".." => Err("it has .. in it"),
        name if !name.iter().any(|byte| b"*?[\\".contains(byte)) => Ok(Part::Name(name.to_vec())),
        wild => Ok(Part::Wild(Glob::new(wild, false))),
    };
    components.map(part).collect()
}

/// The entry `name` of a directory, followed unless it is the last.
fn named(tree: &dyn FileTree, dir: &GuestPath, name: &[u8], is_last: bool) -> Result<Option<GuestPath>> {
    let path = dir.join(name);
    if !is_last {
        let found = find(tree, &path)?;
        return Ok(found
            .filter(|found| found.stat.as_ref().is_some_and(|stat| stat.kind == FileKind::Dir))
            .map(|found| found.path));
    }
    match resolve(tree, &path, Follow::NotLast) {
        Ok(found) => Ok(found.stat.map(|_| found.path)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a directory that a path could have.
fn entries(tree: &dyn FileTree, dir: &GuestPath) -> Result<Vec<(Vec<u8>, FileKind)>> {
    let entries = tree.entries(dir)?.into_iter().map(|entry| (entry.name, entry.kind));
    Ok(entries.filter(|(name, _)| !name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..").collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn found(tree: &MemTree, pattern: &str) -> Vec<String> {
        let found = PathGlob::parse(pattern).unwrap().matches(tree).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_and_wildcards() {
        let mut tree = MemTree::new();
        tree.file("/var/log/a.log", "").file("/var/log/b.log.1", "").file("/var/log/.hidden", "");
        tree.file("/var/log/apt/a.log", "").link("/log", "var/log").link("/var/l.log", "/var/log/a.log");
        tree.file("/var/[x]", "").link("/var/loop", "/var");
        for (pattern, wanted) in [
            ("/var/log/*.log", &["/var/log/a.log"][..]),
            ("var/log/?.log*", &["/var/log/a.log", "/var/log/b.log.1"]),
            ("/log/[!a]*", &["/var/log/b.log.1"]),
            ("/var/*/a.log", &["/var/log/a.log"]),
            ("/var/log/{a.log,.hid*}", &["/var/log/.hidden", "/var/log/a.log"]),
            ("/var/log/.*", &["/var/log/.hidden"]),
            ("/var/\\[x\\]", &["/var/[x]"]),
            ("/var/**", &["/var/[x]", "/var/l.log", "/var/log", "/var/loop"]),
            ("/{var/log,no,var}/[al]*", &["/var/l.log", "/var/log", "/var/log/a.log", "/var/log/apt", "/var/loop"]),
            ("/var/log/{a,*}.log", &["/var/log/a.log"]),
            ("/var/log/[.]*", &[]),
            ("/var/[x]", &[]),
            ("/var/[[]x]", &["/var/[x]"]),
            ("/var/[x", &[]),
            ("/{a", &[]),
            ("/log", &["/log"]),
            ("/no/*", &[]),
            ("/var/log/a.log/*", &[]),
            ("/var/log/a.log/x", &[]),
            ("/", &["/"]),
        ] {
            assert_eq!(found(&tree, pattern), wanted, "{pattern}");
        }
        for bad in ["", "/a/../*", "{,x}", "/a/{b,..}", &"{a,b}".repeat(11)] {
            assert_eq!(PathGlob::parse(bad).unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_matched() {
        let mut tree = MemTree::new();
        tree.dir("/d");
        let odd = GuestPath::parse(b"/d/\xff.log").unwrap();
        tree.create(&odd, crate::tree::NewNode::File, crate::tree::SetAttr::default()).unwrap();
        assert_eq!(PathGlob::parse("/d/*.log").unwrap().matches(&tree).unwrap(), std::slice::from_ref(&odd));
        assert_eq!(PathGlob::parse(b"/d/\xff.log").unwrap().matches(&tree).unwrap(), [odd]);
    }
}
