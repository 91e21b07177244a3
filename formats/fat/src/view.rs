//! The second reader: `fatfs` reads what our own code wrote.
//!
//! It follows chains without a bound, so [`View`] looks only where ours has followed them to their end before, and
//! panics of it are not ours to have: it is given volumes that our own checks have passed.

use crate::error::{Error, Result};
use crate::find::Path;
use crate::fs::{Filesystem, OpenOptions};
use fatfs::{Dir, FileSystem, FsOptions};
use nomount_block::{ReadAt, ReadOnly};
use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};

/// Read at a time: `fatfs` asks for each entry of tables and directories by itself.
const AHEAD: u64 = 4096;

/// What `fatfs` finds at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether it is marked as not to be written.
    pub read_only: bool,
    /// Length in bytes; 0 of a directory.
    pub size: u64,
}

/// The names of one directory, as `fatfs` spells them.
struct Names<'v, 'd, D: ReadAt> {
    all: Vec<fatfs::DirEntry<'v, Stream<'d, D>>>,
    by_name: HashMap<Vec<u8>, usize>,
    by_short: HashMap<Vec<u8>, usize>,
}

impl<'v, 'd, D: ReadAt> Names<'v, 'd, D> {
    fn of(dir: &Dir<'v, Stream<'d, D>>) -> Result<Self> {
        let mut names = Self { all: Vec::new(), by_name: HashMap::new(), by_short: HashMap::new() };
        for (number, entry) in dir.iter().enumerate() {
            let entry = entry.map_err(failed)?;
            names.by_short.insert(entry.short_file_name().into_bytes(), number);
            names.by_name.insert(entry.file_name().into_bytes(), number);
            names.all.push(entry);
        }
        Ok(names)
    }

    fn get(&self, name: &[u8]) -> Option<&fatfs::DirEntry<'v, Stream<'d, D>>> {
        self.by_name.get(name).or_else(|| self.by_short.get(name)).map(|number| &self.all[*number])
    }
}

/// A filesystem as `fatfs` reads it.
pub struct View<'d, D: ReadAt> {
    theirs: FileSystem<Stream<'d, D>>,
    ours: Filesystem<ReadOnly<&'d D>>,
}

impl<D: ReadAt> fmt::Debug for View<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("ours", &self.ours).finish_non_exhaustive()
    }
}

impl<'d, D: ReadAt> View<'d, D> {
    /// Opens a filesystem.
    pub fn open(device: &'d D) -> Result<Self> {
        let ours = Filesystem::open(ReadOnly(device), OpenOptions::default())?;
        let theirs = FileSystem::new(Stream::new(device), FsOptions::new()).map_err(failed)?;
        Ok(Self { theirs, ours })
    }

    /// One directory, of which several names are looked for; none where there is no such directory.
    pub fn dir<'v>(&'v self, path: Path<'_>) -> Result<Option<ViewDir<'v, 'd, D>>> {
        match self.ours.entries(path) {
            Ok(_) => {}
            Err(Error::NotFound | Error::NotDirectory) => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut dir = self.theirs.root_dir();
        for name in path {
            let names = Names::of(&dir)?;
            match names.get(name) {
                Some(entry) if entry.is_dir() => dir = entry.to_dir(),
                _ => return Ok(None),
            }
        }
        let parents = path.iter().map(|name| name.to_vec()).collect();
        Ok(Some(ViewDir { names: Names::of(&dir)?, parents, ours: &self.ours }))
    }
}

/// A directory as `fatfs` reads it.
pub struct ViewDir<'v, 'd, D: ReadAt> {
    names: Names<'v, 'd, D>,
    parents: Vec<Vec<u8>>,
    ours: &'v Filesystem<ReadOnly<&'d D>>,
}

impl<D: ReadAt> fmt::Debug for ViewDir<'_, '_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewDir").field("parents", &self.parents).finish_non_exhaustive()
    }
}

impl<D: ReadAt> ViewDir<'_, '_, D> {
    /// The names, as they are spelt; `.` and `..` are not among them.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.by_name.keys().map(Vec::as_slice).filter(|name| !matches!(*name, b"." | b".."))
    }

    /// Whether something is called so, in this spelling.
    pub fn has(&self, name: &[u8]) -> bool {
        self.names.by_name.contains_key(name)
    }

    /// What has this name, in this spelling, or this short name.
    pub fn get(&self, name: &[u8]) -> Option<Seen> {
        let entry = self.names.get(name)?;
        let read_only = entry.attributes().contains(fatfs::FileAttributes::READ_ONLY);
        Some(Seen { is_dir: entry.is_dir(), read_only, size: if entry.is_dir() { 0 } else { entry.len() } })
    }

    /// Reads a file at byte `offset`; short only at its end.
    pub fn read_at(&self, name: &[u8], offset: u64, buf: &mut [u8]) -> Result<usize> {
        let entry = self.names.get(name).ok_or(Error::NotFound)?;
        // Their way to the offset goes through the chain, which ours follows first.
        let path: Vec<&[u8]> = self.parents.iter().map(Vec::as_slice).chain([name]).collect();
        self.ours.file_chain(&self.ours.file(&path)?)?;
        let mut file = entry.to_file();
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut done = 0;
        while done < buf.len() {
            match file.read(&mut buf[done..]).map_err(failed)? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }
}

/// A failure of the device went through `fatfs`.
fn failed(error: io::Error) -> Error {
    match error.downcast::<nomount_block::Error>() {
        Ok(device) => Error::Device(device),
        Err(error) => Error::View(error),
    }
}

/// A device as the stream that `fatfs` reads. What it would write is refused.
struct Stream<'d, D> {
    device: &'d D,
    at: u64,
    /// Offset and bytes of the last piece read.
    last: (u64, Vec<u8>),
}

impl<'d, D> Stream<'d, D> {
    fn new(device: &'d D) -> Self {
        Self { device, at: 0, last: (0, Vec::new()) }
    }
}

impl<D: ReadAt> Read for Stream<'_, D> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.device.len().saturating_sub(self.at).min(buf.len() as u64) as usize;
        if len as u64 >= AHEAD {
            self.device.read_at(self.at, &mut buf[..len]).map_err(io::Error::other)?;
            self.at += len as u64;
            return Ok(len);
        }
        let start = self.at - self.at % AHEAD;
        if self.last.0 != start || self.last.1.is_empty() {
            self.last = (start, vec![0; AHEAD.min(self.device.len().saturating_sub(start)) as usize]);
            self.device
                .read_at(start, &mut self.last.1)
                .inspect_err(|_| self.last.1.clear())
                .map_err(io::Error::other)?;
        }
        let read = self.last.1.get((self.at - start) as usize..).map_or(0, |rest| {
            let len = len.min(rest.len());
            buf[..len].copy_from_slice(&rest[..len]);
            len
        });
        self.at += read as u64;
        Ok(read)
    }
}

impl<D> Write for Stream<'_, D> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<D: ReadAt> Seek for Stream<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.device.len().checked_add_signed(by),
        };
        self.at = place.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
