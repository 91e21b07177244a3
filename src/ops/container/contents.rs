//! Bringing the contents of a file of the host into the image, only where they differ.

use crate::error::Result;
use crate::ops::host_dir::host_error;
use crate::tree::{FileTree, GuestPath};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Compared, and written where it differs, at a time; a multiple of every block size.
const PIECE: u64 = 256 << 10;

/// Makes the file at `path` equal to the first `size` bytes of `file`. Returns how many bytes were written. What is a
/// hole in both is not looked at, so that a large file with nothing in it takes no time.
pub(super) fn copy_differences(tree: &mut dyn FileTree, path: &GuestPath, file: &File, size: u64) -> Result<u64> {
    let before = tree.stat(path)?.size;
    if before > size {
        tree.truncate(path, size)?;
    }
    let ours = tree.data(path)?;
    let (mut theirs, mut image) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    let (mut at, mut written) = (0, 0);
    while let Some(start) = next_data(file, &ours, at, size).map_err(|e| host_error("read the file", path, e))? {
        // Pieces begin at multiples of their length: a block is not written twice.
        let start = start - start % PIECE;
        let len = PIECE.min(size - start) as usize;
        let (theirs, image) = (&mut theirs[..len], &mut image[..len]);
        file.read_exact_at(theirs, start)
            .map_err(|e| host_error("read the file", path, Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        let read = tree.read_at(path, start, image)?;
        image[read..].fill(0);
        if theirs != image {
            tree.write_at(path, start, theirs)?;
            written += len as u64;
        }
        at = start + len as u64;
    }
    if tree.stat(path)?.size != size {
        tree.truncate(path, size)?;
    }
    Ok(written)
}

/// Where the next byte from `at` on is that is not in a hole of both; none before `size`.
fn next_data(file: &File, ours: &[Range<u64>], at: u64, size: u64) -> rustix::io::Result<Option<u64>> {
    if at >= size {
        return Ok(None);
    }
    let theirs = match seek(file, SeekFrom::Data(at)) {
        Ok(data) => Some(data),
        Err(Errno::NXIO) => None,
        // A filesystem that does not know its holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Some(at),
        Err(e) => return Err(e),
    };
    let next = ours.get(ours.partition_point(|range| range.end <= at)).map(|range| range.start.max(at));
    Ok([theirs, next].into_iter().flatten().min().filter(|next| *next < size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn only_what_differs_is_written() {
        let path = GuestPath::parse("/f").unwrap();
        let file = nomount_kit::scratch::file();
        let file = file.as_file();
        let copy = |tree: &mut MemTree, size: u64| copy_differences(tree, &path, file, size).unwrap();
        let mut tree = MemTree::new();
        let mut bytes = vec![1; 3 * PIECE as usize];
        tree.file("/f", &bytes);
        file.write_all_at(&bytes, 0).unwrap();
        assert_eq!(copy(&mut tree, 3 * PIECE), 0);
        file.write_all_at(b"x", PIECE + 5).unwrap();
        assert_eq!(copy(&mut tree, 3 * PIECE), PIECE);
        bytes[PIECE as usize + 5] = b'x';
        assert_eq!(tree.bytes("/f"), bytes);
        // Longer by a hole, then shorter.
        file.set_len(1 << 40).unwrap();
        assert_eq!(next_data(file, &[], 3 * PIECE, 1 << 40).unwrap(), None);
        file.set_len(PIECE + 6).unwrap();
        assert_eq!(copy(&mut tree, PIECE + 6), 0);
        assert_eq!(tree.bytes("/f"), bytes[..PIECE as usize + 6]);
        // A hole where the image has data.
        file.set_len(0).unwrap();
        file.set_len(10).unwrap();
        assert_eq!(copy(&mut tree, 10), 10);
        assert_eq!(tree.bytes("/f"), [0; 10]);
    }
}
