//! What kind of guest a tree holds, and whether it is the root of one. Nothing here fails: what cannot be found out is
//! absent.

mod crypt;
mod describe;
mod os_release;
mod root;

pub use crypt::password_method;
pub use describe::{FstabEntry, GuestInfo, Init, describe, fstab, init};
pub use os_release::OsRelease;
pub use root::{RootVerdict, looks_like_root};

use crate::tree::{FileKind, FileTree, GuestPath, find, read_all};

/// The longest file that is read to describe a guest, in bytes. Real ones have a few hundred.
const MAX_FACT_FILE: u64 = 1 << 20;

/// A path of this source code.
fn known(path: &str) -> GuestPath {
    GuestPath::parse(path).expect("a literal path is valid")
}

fn is_dir(tree: &dyn FileTree, path: &str) -> bool {
    is_kind(tree, path, FileKind::Dir)
}

fn is_file(tree: &dyn FileTree, path: &str) -> bool {
    is_kind(tree, path, FileKind::File)
}

fn is_kind(tree: &dyn FileTree, path: &str, kind: FileKind) -> bool {
    let found = find(tree, &known(path)).ok().flatten();
    found.and_then(|found| found.stat).is_some_and(|stat| stat.kind == kind)
}

/// The text of a small file, invalid UTF-8 replaced.
fn text(tree: &dyn FileTree, path: &str) -> Option<String> {
    let bytes = read_all(tree, &known(path), MAX_FACT_FILE).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
