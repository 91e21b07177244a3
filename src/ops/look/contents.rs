//! Reading regular files piece by piece.

use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileTree, GuestPath};
use std::ops::Range;

/// Read at a time, in bytes.
pub(super) const PIECE: usize = 1 << 20;

/// Zeroes that stand for the holes of one file and are gone through, in bytes: a minute's work. A file may claim as many
/// as 64 bits count, and nobody waits for those.
const MAX_HOLES: u64 = 64 << 30;

/// Fails for a file with more holes than are gone through.
fn check_holes(tree: &dyn FileTree, path: &GuestPath, size: u64) -> Result<()> {
    if size <= MAX_HOLES {
        return Ok(());
    }
    let stored = tree.data(path)?.iter().map(|range| range.end - range.start).fold(0, u64::saturating_add);
    let holes = size.saturating_sub(stored);
    if holes <= MAX_HOLES {
        return Ok(());
    }
    let message = format!("{holes} bytes of its {size} are holes, of which {MAX_HOLES} are read as zeroes");
    Err(Error::new(ErrorKind::Limit, message)
        .at_path(path.to_bytes())
        .hint("`nomount cat` gives all of them, `nomount tar-out` keeps them as holes"))
}

/// Gives `sink` all of the regular file at `path`, in order, in pieces of at most 1 MiB. Returns its length in bytes.
pub(super) fn pieces(tree: &dyn FileTree, path: &GuestPath, size: u64, mut sink: impl FnMut(&[u8])) -> Result<u64> {
    check_holes(tree, path, size)?;
    // One byte more than there is shows the end at once.
    let mut buffer = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE).saturating_add(1))];
    let mut offset = 0;
    loop {
        let read = tree.read_at(path, offset, &mut buffer)?;
        if read == 0 {
            return Ok(offset);
        }
        sink(&buffer[..read]);
        offset += read as u64;
        if read < buffer.len() {
            return Ok(offset);
        }
    }
}

/// A regular file of one of several trees.
#[derive(Clone, Copy)]
pub(super) struct Source<'t> {
    pub(super) tree: &'t dyn FileTree,
    /// No links in it.
    pub(super) path: &'t GuestPath,
    /// Says in an error which tree it comes from.
    pub(super) named: &'t dyn Fn(Error) -> Error,
}

impl Source<'_> {
    fn data(self) -> Result<Vec<Range<u64>>> {
        self.tree.data(self.path).map_err(self.named)
    }

    /// Reads all of `buffer`; what is behind the end of the file reads as zero.
    fn fill(self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.tree.read_at(self.path, offset + done as u64, &mut buffer[done..]).map_err(self.named)? {
                0 => {
                    buffer[done..].fill(0);
                    break;
                }
                read => done += read,
            }
        }
        Ok(())
    }
}

/// Whether two regular files of `size` bytes hold the same. What is a hole in both is not read.
pub(super) fn same(a: Source<'_>, b: Source<'_>, size: u64) -> Result<bool> {
    let mut ranges = a.data()?;
    ranges.extend(b.data()?);
    ranges.sort_by_key(|range| range.start);
    let piece = PIECE.min(usize::try_from(size).unwrap_or(PIECE));
    let (mut left, mut right) = (vec![0; piece], vec![0; piece]);
    let mut done = 0;
    for range in ranges {
        done = done.max(range.start);
        while done < range.end.min(size) {
            let len = (range.end.min(size) - done).min(piece as u64) as usize;
            a.fill(done, &mut left[..len])?;
            b.fill(done, &mut right[..len])?;
            if left[..len] != right[..len] {
                return Ok(false);
            }
            done += len as u64;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    #[test]
    fn all_of_a_file_and_nothing_else() {
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let mut tree = MemTree::new();
            tree.file("/f", &bytes);
            // Also where the size that is known is wrong.
            for size in [len as u64, 0, MAX_HOLES] {
                let mut got: Vec<u8> = Vec::new();
                assert_eq!(pieces(&tree, &path("/f"), size, |piece| got.extend(piece)).unwrap(), len as u64);
                assert!(got == bytes, "{len} {size}");
            }
        }
    }

    #[test]
    fn nobody_waits_for_holes_without_end() {
        let mut tree = MemTree::new();
        tree.file("/f", "x");
        let error = pieces(&tree, &path("/f"), 1 << 62, |_| {}).unwrap_err();
        assert_eq!((error.kind(), error.hint_text().is_some()), (ErrorKind::Limit, true));
        assert!(
            error.message().starts_with("4611686018427387903 bytes of its 4611686018427387904 are holes"),
            "{error}"
        );
    }

    #[test]
    fn holes_are_zeroes() {
        let mut tree = MemTree::new();
        let len = (2 * PIECE + 5) as u64;
        tree.file("/hole", "").file("/zeroes", vec![0; len as usize]).file("/one", "");
        tree.truncate(&path("/hole"), len).unwrap();
        tree.truncate(&path("/one"), len).unwrap();
        tree.write_at(&path("/one"), len - 1, b"x").unwrap();
        let same = |a: &str, b: &str| {
            let (a, b) = (path(a), path(b));
            let source = |path| Source { tree: &tree, path, named: &|error| error };
            same(source(&a), source(&b), len).unwrap()
        };
        assert!(same("/hole", "/zeroes") && same("/zeroes", "/hole") && same("/one", "/one"));
        assert!(!same("/hole", "/one") && !same("/one", "/zeroes"));
    }
}
