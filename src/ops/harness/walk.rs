//! Reading everything in a tree, as far as it can be read.

use super::Limits;
use crate::error::{Error, Result};
use crate::tree::{FileKind, FileTree, GuestPath, Stat, Walk};

/// How much is read at a time.
const CHUNK: usize = 64 << 10;
/// What is all zero in pieces of this size is not part of a digest, so that a hole and written zeroes are alike: the
/// smallest block of any filesystem, at which chunks begin.
const PIECE: usize = 512;
/// Errors that are kept; the walk goes on behind them.
pub const MAX_ERRORS: usize = 100;

/// What was read of a tree.
#[derive(Debug, Default)]
pub struct Walked {
    /// Names of directories, the root among them.
    pub directories: u64,
    /// Names of anything else.
    pub files: u64,
    /// Bytes of contents that have a place on the disk.
    pub bytes: u64,
    /// Whether everything was read: neither a limit nor an error stopped it.
    pub complete: bool,
    /// What could not be read, at most 100.
    pub errors: Vec<Error>,
    /// A CRC-32C of every path with its kind, mode, owner, length, time of change, device, link target, attributes and
    /// contents: the same for trees that are the same, wherever their blocks are.
    pub digest: u32,
}

/// Reads everything below the root, and takes it from what is left.
pub(super) fn walk(tree: &dyn FileTree, left: &mut Limits) -> Walked {
    let mut walked = Walked { complete: true, ..Walked::default() };
    let mut steps = Walk::new(GuestPath::root());
    let mut buf = Vec::new();
    loop {
        if left.names == 0 {
            walked.complete = false;
            return walked;
        }
        left.names -= 1;
        let (path, stat) = match steps.next(tree) {
            Ok(Some(step)) => step,
            Ok(None) => return walked,
            // Each step takes a name from those that are left, also one that fails.
            Err(error) => {
                walked.failed(error);
                continue;
            }
        };
        match stat.kind {
            FileKind::Dir => walked.directories += 1,
            _ => walked.files += 1,
        }
        walked.stat(&path, &stat);
        if let Err(error) = walked.read(tree, &path, &stat, left, &mut buf) {
            walked.failed(error);
        }
    }
}

impl Walked {
    fn failed(&mut self, error: Error) {
        self.complete = false;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.digest = crc32c::crc32c_append(self.digest, bytes);
    }

    /// Lengths go before what has no end of its own.
    fn add_text(&mut self, bytes: &[u8]) {
        self.add(&(bytes.len() as u64).to_le_bytes());
        self.add(bytes);
    }

    fn stat(&mut self, path: &GuestPath, stat: &Stat) {
        self.add_text(&path.to_bytes());
        let (major, minor) = stat.device.unwrap_or_default();
        for number in [stat.kind as u32, stat.mode, stat.uid, stat.gid, stat.mtime.nsec, major, minor] {
            self.add(&number.to_le_bytes());
        }
        self.add(&stat.mtime.sec.to_le_bytes());
        // How long a directory is, the filesystem decides.
        let size = if stat.kind == FileKind::Dir { 0 } else { stat.size };
        self.add(&size.to_le_bytes());
    }

    fn read(
        &mut self,
        tree: &dyn FileTree,
        path: &GuestPath,
        stat: &Stat,
        left: &mut Limits,
        buf: &mut Vec<u8>,
    ) -> Result<()> {
        for (name, value) in tree.xattrs(path)? {
            self.add_text(&name);
            self.add_text(&value);
        }
        match stat.kind {
            FileKind::Symlink => {
                let target = tree.read_link(path)?;
                self.add_text(&target);
            }
            FileKind::File => self.contents(tree, path, left, buf)?,
            _ => {}
        }
        Ok(())
    }

    fn contents(&mut self, tree: &dyn FileTree, path: &GuestPath, left: &mut Limits, buf: &mut Vec<u8>) -> Result<()> {
        for range in tree.data(path)? {
            let mut at = range.start;
            while at < range.end {
                if left.bytes == 0 {
                    self.complete = false;
                    return Ok(());
                }
                let want = (range.end - at).min(left.bytes).min(CHUNK as u64) as usize;
                if buf.len() < want {
                    buf.resize(want, 0);
                }
                let len = tree.read_at(path, at, &mut buf[..want])?;
                if len == 0 {
                    break;
                }
                for (index, piece) in buf[..len].chunks(PIECE).enumerate() {
                    if piece.iter().any(|byte| *byte != 0) {
                        self.digest = crc32c::crc32c_append(self.digest, &(at + (index * PIECE) as u64).to_le_bytes());
                        self.digest = crc32c::crc32c_append(self.digest, piece);
                    }
                }
                at += len as u64;
                self.bytes += len as u64;
                left.bytes -= len as u64;
            }
        }
        Ok(())
    }
}
