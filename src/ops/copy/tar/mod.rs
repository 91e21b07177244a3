//! Writing what a source tells as a tar stream.
//!
//! The stream is POSIX.1-2001 (PAX): a ustar header for each entry, and before it records for what does not fit: long
//! names, large ids and sizes, fractions of seconds, extended attributes as `SCHILY.xattr.NAME`, and the holes of sparse
//! files in GNU's version 1.0. GNU tar, libarchive and Python read all of it. The same tree gives the same bytes.

mod header;

use super::Copied;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Progress;
use crate::ops::look::Names;
use crate::ops::populate::{Contents, Item, Node, Source};
use header::{BLOCK, Head};
use std::io::Write;
use std::ops::Range;

/// Bytes of a file that are held at once.
const BUFFER: usize = 1 << 20;
/// The stream ends with a whole record, as GNU tar has it.
const RECORD: u64 = 20 * BLOCK as u64;
/// Bytes of holes from which on a file is written as sparse: its map takes 1.5 KiB at least.
const MIN_HOLES: u64 = 4096;

/// Writes a tar stream.
#[derive(Debug)]
pub struct TarWriter<W> {
    out: W,
    names: Names,
    at: u64,
    buffer: Vec<u8>,
    done: Copied,
}

fn failed(error: std::io::Error) -> Error {
    Error::of_host("cannot write the tar stream", error)
}

impl<W: Write> TarWriter<W> {
    /// A stream to `out` in which owners have these names besides their numbers.
    pub fn new(out: W, names: Names) -> Self {
        Self { out, names, at: 0, buffer: vec![0; BUFFER], done: Copied::default() }
    }

    /// Writes everything that `source` tells, under `name`: the entry with an empty path has that name.
    pub fn add(&mut self, source: &mut dyn Source, name: &[u8], progress: &mut dyn Progress) -> Result<()> {
        let mut notes = Vec::new();
        let named = |path: &[u8]| if path.is_empty() { name.to_vec() } else { [name, b"/", path].concat() };
        source.each(&mut notes, &mut |item| {
            let path = named(item.path);
            progress.at(&path);
            let target = match &item.node {
                Node::HardLink(target) => Some(named(target)),
                _ => None,
            };
            self.entry(&path, target.as_deref(), item, progress)
        })?;
        self.done.notes.append(&mut notes);
        Ok(())
    }

    /// Ends the stream. Gives back where it went, and what is in it.
    pub fn finish(mut self) -> Result<(W, Copied)> {
        let end = (self.at + 2 * BLOCK as u64).next_multiple_of(RECORD);
        self.zeroes(end - self.at)?;
        self.out.flush().map_err(failed)?;
        Ok((self.out, self.done))
    }

    fn entry(&mut self, path: &[u8], first: Option<&[u8]>, item: Item<'_>, progress: &mut dyn Progress) -> Result<()> {
        let mut head = Head::new(path, item.meta);
        let known =
            |name: Option<&[u8]>| name.filter(|name| !name.contains(&0)).map(<[u8]>::to_vec).unwrap_or_default();
        head.user = known(self.names.user(head.meta.uid));
        head.group = known(self.names.group(head.meta.gid));
        match item.node {
            Node::File(size, contents) => {
                self.file(head, size, contents, progress)?;
                self.done.entries += 1;
                return Ok(());
            }
            Node::HardLink(_) => {
                (head.kind, head.link) = (b'1', first.unwrap_or_default());
                // The first name has them.
                head.meta.xattrs.clear();
                self.done.hard_links += 1;
            }
            Node::Symlink(target) => (head.kind, head.link) = (b'2', target),
            Node::CharDevice(major, minor) => (head.kind, head.device) = (b'3', (major, minor)),
            Node::BlockDevice(major, minor) => (head.kind, head.device) = (b'4', (major, minor)),
            Node::Dir => {
                head.kind = b'5';
                head.name.push(b'/');
                self.done.directories += 1;
            }
            Node::Fifo => head.kind = b'6',
            Node::Socket => {
                self.done.notes.push(format!("{}: a socket, which a tar stream cannot hold", path.escape_ascii()));
                return Ok(());
            }
        }
        self.done.entries += 1;
        self.write(&head.encode()?)
    }

    fn file(
        &mut self,
        mut head: Head<'_>,
        size: u64,
        contents: &mut dyn Contents,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let stretches = contents.stretches().unwrap_or(&[Range { start: 0, end: size }][..]).to_vec();
        let data: u64 = stretches.iter().map(|part| part.end - part.start).sum();
        if size.saturating_sub(data) < MIN_HOLES {
            head.size = size;
            self.write(&head.encode()?)?;
            let mut at = 0;
            while let Some((offset, len)) = contents.next_data(&mut self.buffer)? {
                self.zeroes(offset.saturating_sub(at))?;
                self.write_buffer(len)?;
                progress.add(len as u64);
                at = offset + len as u64;
            }
            self.zeroes(size.saturating_sub(at))?;
            self.done.bytes += data;
            return self.pad(at.max(size), size, &head.name);
        }
        let map = sparse_map(&stretches, size);
        head.sparse = Some(size);
        head.size = map.len() as u64 + data;
        self.write(&head.encode()?)?;
        self.write(&map)?;
        let mut written = 0;
        while let Some((_, len)) = contents.next_data(&mut self.buffer)? {
            self.write_buffer(len)?;
            progress.add(len as u64);
            written += len as u64;
        }
        self.done.bytes += data;
        self.pad(written, data, &head.name)
    }

    /// Fills the last block of a file's data, which must be as long as its header says.
    fn pad(&mut self, written: u64, size: u64, name: &[u8]) -> Result<()> {
        if written != size {
            let message = format!("{} has {written} bytes of data, not {size}", name.escape_ascii());
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        self.zeroes(size.next_multiple_of(BLOCK as u64) - size)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes).map_err(failed)
    }

    fn write_buffer(&mut self, len: usize) -> Result<()> {
        self.at += len as u64;
        self.out.write_all(&self.buffer[..len]).map_err(failed)
    }

    fn zeroes(&mut self, mut len: u64) -> Result<()> {
        const ZEROES: [u8; 4096] = [0; 4096];
        while len > 0 {
            let part = len.min(ZEROES.len() as u64);
            self.write(&ZEROES[..part as usize])?;
            len -= part;
        }
        Ok(())
    }
}

/// The map of a sparse file: how many stretches, then where each begins and how long it is, as lines that fill blocks.
/// A hole at the end is a stretch of nothing there.
fn sparse_map(stretches: &[Range<u64>], size: u64) -> Vec<u8> {
    let mut parts: Vec<(u64, u64)> = stretches.iter().map(|part| (part.start, part.end - part.start)).collect();
    if parts.last().is_none_or(|(start, len)| start + len < size) {
        parts.push((size, 0));
    }
    let mut map = format!("{}\n", parts.len());
    parts.iter().for_each(|(start, len)| map.push_str(&format!("{start}\n{len}\n")));
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}
