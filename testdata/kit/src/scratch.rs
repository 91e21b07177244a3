//! Temporary files: sparse copies, windows of disks, raw copies of containers. Each goes away when dropped.

use crate::tool::{command, output, text};
use nomount_block::{ExtentKind, HostFile, ReadAt, Window, WriteAt};
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempDir, TempPath};

/// How much is copied at a time; holes smaller than [`HOLE`] inside data are found too.
const PIECE: u64 = 1 << 20;
/// Zeroes of this size, aligned, are not written.
const HOLE: usize = 4096;

/// An empty temporary file, beside the test images where `NOMOUNT_TEST_TMP` says so, else in the system's folder.
pub fn file() -> NamedTempFile {
    let made = match std::env::var_os("NOMOUNT_TEST_TMP") {
        Some(folder) => NamedTempFile::new_in(folder),
        None => NamedTempFile::new(),
    };
    made.expect("the folder for temporary files can be written")
}

/// An empty temporary folder, in the same place.
pub fn folder() -> TempDir {
    let made = match std::env::var_os("NOMOUNT_TEST_TMP") {
        Some(folder) => TempDir::new_in(folder),
        None => TempDir::new(),
    };
    made.expect("the folder for temporary files can be written")
}

/// A sparse copy of a whole file under a name of its own: where the name matters, as a backing file's does.
pub fn copy_as(image: &Path, name: impl Into<PathBuf>) -> PathBuf {
    let name = name.into();
    copy(image).persist(&name).unwrap_or_else(|e| panic!("{}: {e}", name.display()));
    name
}

/// A checksum of a file's bytes and length in which zeroes and holes are alike.
pub fn fingerprint(path: &Path) -> u64 {
    let open = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = HostFile::new(open, false).expect("an open file has a length");
    let mut hash = DefaultHasher::new();
    hash.write_u64(file.len());
    let (mut at, mut buf) = (0, Vec::new());
    while at < file.len() {
        let extent = file.extent_at(at).expect("inside the file");
        let len = if extent.kind == ExtentKind::Zero { extent.len } else { extent.len.min(PIECE - at % PIECE) };
        if extent.kind != ExtentKind::Zero {
            buf.resize(len as usize, 0);
            file.read_at(at, &mut buf).expect("inside the file");
            // Pieces begin at multiples of the grain, so that an extent more or less in the host makes no difference.
            let mut position = at;
            for piece in buf.chunks(HOLE) {
                if piece.iter().any(|byte| *byte != 0) {
                    hash.write_u64(position);
                    hash.write(piece);
                }
                position += piece.len() as u64;
            }
        }
        at += len;
    }
    hash.finish()
}

/// A sparse copy of a whole file: a writable image to work on.
pub fn copy(image: &Path) -> TempPath {
    let source = HostFile::new(File::open(image).unwrap_or_else(|e| panic!("{}: {e}", image.display())), false)
        .expect("an open file has a length");
    device(&source)
}

/// A sparse copy of `len` bytes at `offset` of a raw disk: one partition.
pub fn window(disk: &Path, offset: u64, len: u64) -> TempPath {
    let source = HostFile::new(File::open(disk).unwrap_or_else(|e| panic!("{}: {e}", disk.display())), false)
        .expect("an open file has a length");
    device(&Window::new(source, offset, len).expect("the window lies inside the disk"))
}

/// A sparse copy of any device.
pub fn device(source: &dyn ReadAt) -> TempPath {
    let target = file();
    write_sparse(source, target.as_file()).unwrap_or_else(|e| panic!("copy to {}: {e}", target.path().display()));
    target.into_temp_path()
}

/// A raw copy of a container, backing files included, by `qemu-img convert`.
pub fn raw_of(image: &Path, format: &str) -> TempPath {
    let target = file().into_temp_path();
    let done = output(command("qemu-img").args(["convert", "-f", format, "-O", "raw"]).arg(image).arg(&target));
    assert!(done.status.success(), "qemu-img convert {}: {}", image.display(), text(&done));
    target
}

/// Makes `target` equal to `source`, with holes where it reads zero.
pub(crate) fn write_sparse(source: &dyn ReadAt, target: &File) -> io::Result<()> {
    target.set_len(0)?;
    target.set_len(source.len())?;
    let mut at = 0;
    let mut buf = Vec::new();
    while at < source.len() {
        let extent = source.extent_at(at).map_err(io::Error::other)?;
        if extent.kind == ExtentKind::Zero {
            at += extent.len;
            continue;
        }
        let len = extent.len.min(PIECE);
        buf.resize(len as usize, 0);
        source.read_at(at, &mut buf).map_err(io::Error::other)?;
        for (i, piece) in buf.chunks(HOLE).enumerate() {
            if piece.iter().any(|byte| *byte != 0) {
                target.write_all_at(piece, at + (i * HOLE) as u64)?;
            }
        }
        at += len;
    }
    Ok(())
}

/// Makes the bytes of `disk` at `offset` equal to the whole of `part`.
pub(crate) fn write_back(part: &Path, disk: &Path, offset: u64) {
    let open = |path: &Path| -> HostFile {
        let file = File::options().read(true).write(true).open(path);
        let file = file.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        HostFile::new(file, false).expect("an open file has a length")
    };
    let (part, mut disk) = (open(part), open(disk));
    let mut at = 0;
    let mut buf = Vec::new();
    while at < part.len() {
        let extent = part.extent_at(at).expect("inside the file");
        if extent.kind == ExtentKind::Zero {
            disk.discard(offset + at, extent.len).expect("the disk is written");
            at += extent.len;
            continue;
        }
        buf.resize(extent.len.min(PIECE) as usize, 0);
        part.read_at(at, &mut buf).expect("inside the file");
        disk.write_at(offset + at, &buf).expect("the disk is written");
        at += buf.len() as u64;
    }
}
