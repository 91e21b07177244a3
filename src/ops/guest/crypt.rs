//! Which password hashes the libraries of a guest verify.

use super::known;
use crate::tree::{FileTree, GuestPath, find, read_all};
use std::collections::BTreeSet;

/// Where libraries are; below the last two also in directories such as `x86_64-linux-gnu`.
const LIBRARY_DIRS: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// Directories with a system's name in theirs: a guest has one for each architecture it runs.
const MAX_MULTIARCH: usize = 16;
/// Names looked at in one library directory.
const MAX_NAMES: usize = 65_536;
/// Libraries read: a guest has one or two, with several names each.
const MAX_LIBRARIES: usize = 16;
/// Bytes read of each. libcrypt has about 200 KiB.
const MAX_LIBRARY: u64 = 2 << 20;

/// What was found out about the guest's crypt(3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CryptFacts {
    /// A libcrypt was found and read.
    pub has_libcrypt: bool,
    /// It knows yescrypt hashes, `$y$`.
    pub yescrypt: bool,
    /// It knows SHA-512 hashes, `$6$`.
    pub sha512: bool,
    /// The C library is musl, whose crypt knows SHA-512 and not yescrypt.
    pub is_musl: bool,
}

impl CryptFacts {
    /// Looks at the libraries of a guest. The prefixes of the hashes that a libcrypt knows are strings in it.
    ///
    /// With several libraries only what all of them know counts, as it is not known which one logins use.
    pub fn of(tree: &dyn FileTree) -> Self {
        let mut facts = Self::default();
        let mut seen = BTreeSet::new();
        let top = LIBRARY_DIRS.iter().map(|dir| known(dir)).collect::<Vec<_>>();
        let multiarch = top.iter().flat_map(|dir| {
            let names = entries(tree, dir).into_iter().filter(|name| name.windows(7).any(|part| part == b"-linux-"));
            names.map(|name| dir.join(name)).collect::<Vec<_>>()
        });
        for dir in top.iter().cloned().chain(multiarch.take(MAX_MULTIARCH)).collect::<Vec<_>>() {
            for name in entries(tree, &dir) {
                facts.is_musl |= name.starts_with(b"ld-musl-") || name.starts_with(b"libc.musl-");
                if !name.starts_with(b"libcrypt.so") && !name.starts_with(b"libcrypt-") {
                    continue;
                }
                let Some(found) = find(tree, &dir.join(&name)).ok().flatten() else { continue };
                if seen.len() < MAX_LIBRARIES && seen.insert(found.path.clone()) {
                    facts.add(&read_all(tree, &found.path, MAX_LIBRARY).unwrap_or_default());
                }
            }
        }
        facts
    }

    fn add(&mut self, library: &[u8]) {
        if !library.starts_with(b"\x7fELF") {
            return;
        }
        let has = |prefix: &[u8; 3]| library.windows(3).any(|part| part == prefix);
        let (yescrypt, sha512) = (has(b"$y$"), has(b"$6$"));
        self.yescrypt = yescrypt && (self.yescrypt || !self.has_libcrypt);
        self.sha512 = sha512 && (self.sha512 || !self.has_libcrypt);
        self.has_libcrypt = true;
    }
}

fn entries(tree: &dyn FileTree, dir: &GuestPath) -> Vec<Vec<u8>> {
    let Some(found) = find(tree, dir).ok().flatten() else { return Vec::new() };
    let entries = tree.entries(&found.path).unwrap_or_default();
    entries.into_iter().take(MAX_NAMES).map(|entry| entry.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    const XCRYPT: &str = "\x7fELF..\0$y$\0$gy$\0$7$\0$2b$\0$6$\0$5$\0";
    const GLIBC: &str = "\x7fELF..\0$1$\0$5$\0$6$\0";

    #[test]
    fn a2_what_libcrypt_knows() {
        let mut debian = MemTree::new();
        debian.link("/lib", "usr/lib").file("/usr/lib/x86_64-linux-gnu/libcrypt.so.1.1.0", XCRYPT);
        debian.link("/usr/lib/x86_64-linux-gnu/libcrypt.so.1", "libcrypt.so.1.1.0");
        let both = CryptFacts { has_libcrypt: true, yescrypt: true, sha512: true, is_musl: false };
        assert_eq!(CryptFacts::of(&debian), both);
        let mut centos = MemTree::new();
        centos.file("/lib64/libcrypt-2.17.so", GLIBC).link("/lib64/libcrypt.so.1", "libcrypt-2.17.so");
        assert_eq!(CryptFacts::of(&centos), CryptFacts { yescrypt: false, ..both.clone() });
        // Two of which one does not know it.
        centos.file("/usr/lib64/libcrypt.so.2", XCRYPT);
        assert_eq!(CryptFacts::of(&centos), CryptFacts { yescrypt: false, ..both });
        let mut alpine = MemTree::new();
        alpine.file("/lib/ld-musl-x86_64.so.1", "").file("/lib/libcrypt.so.1", "no library").dir("/lib64/libcrypt.so");
        assert_eq!(CryptFacts::of(&alpine), CryptFacts { is_musl: true, ..CryptFacts::default() });
        assert_eq!(CryptFacts::of(&MemTree::new()), CryptFacts::default());
    }
}
