//! Reading a guest's files, with what cannot be read noted.

use crate::error::ErrorKind;
use crate::tree::{FileKind, FileTree, GuestPath, Stat, find, read_all};

/// The longest file that is read, in bytes. Real ones have a few thousand.
const MAX_FILE: u64 = 1 << 20;
/// Names looked at in one directory.
const MAX_NAMES: usize = 4096;
/// Notes that are kept: a guest in which nothing can be read needs no more.
const MAX_NOTES: usize = 64;

/// A tree that is read for facts.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    tree: &'a dyn FileTree,
    notes: Vec<String>,
}

/// A path of this source code.
pub(super) fn known(path: &str) -> GuestPath {
    GuestPath::parse(path).expect("a literal path is valid")
}

impl<'a> Reader<'a> {
    pub fn new(tree: &'a dyn FileTree) -> Self {
        Self { tree, notes: Vec::new() }
    }

    pub fn tree(&self) -> &'a dyn FileTree {
        self.tree
    }

    pub fn into_notes(self) -> Vec<String> {
        self.notes
    }

    pub fn note(&mut self, path: &GuestPath, why: &str) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(format!("{path}: {why}"));
        }
    }

    /// What is at `path`, links followed; none when nothing can be reached there.
    pub fn stat(&self, path: &GuestPath) -> Option<Stat> {
        find(self.tree, path).ok().flatten()?.stat
    }

    /// Whether a regular file is there.
    pub fn is_file(&self, path: &str) -> bool {
        self.stat(&known(path)).is_some_and(|stat| stat.kind == FileKind::File)
    }

    /// Whether a directory is there.
    pub fn is_dir(&self, path: &str) -> bool {
        self.stat(&known(path)).is_some_and(|stat| stat.kind == FileKind::Dir)
    }

    /// The contents of a small file; none when there is no such file.
    pub fn bytes(&mut self, path: &GuestPath) -> Option<Vec<u8>> {
        match read_all(self.tree, path, MAX_FILE) {
            Ok(bytes) => Some(bytes),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(error) => {
                self.note(path, error.message());
                None
            }
        }
    }

    /// The same as text, invalid UTF-8 replaced.
    pub fn text(&mut self, path: &str) -> Option<String> {
        Some(String::from_utf8_lossy(&self.bytes(&known(path))?).into_owned())
    }

    /// The names in a directory, sorted; nothing when there is none.
    pub fn names(&mut self, path: &str) -> Vec<Vec<u8>> {
        let path = known(path);
        let found = match find(self.tree, &path) {
            Ok(Some(found)) => found,
            Ok(None) => return Vec::new(),
            Err(error) => {
                self.note(&path, error.message());
                return Vec::new();
            }
        };
        match self.tree.entries(&found.path) {
            Ok(entries) => {
                if entries.len() > MAX_NAMES {
                    self.note(&path, &format!("{} names, of which {MAX_NAMES} are looked at", entries.len()));
                }
                let mut names: Vec<Vec<u8>> = entries.into_iter().take(MAX_NAMES).map(|entry| entry.name).collect();
                names.sort();
                names
            }
            Err(error) => {
                self.note(&path, error.message());
                Vec::new()
            }
        }
    }
}

/// The value of the last `KEY=value` line, quotes removed, as shells and systemd read them.
pub(super) fn assigned(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let value = lines.filter_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('=')).next_back()?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}
