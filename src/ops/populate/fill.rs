//! Making the entries of a source.

use super::{Contents, Item, Meta, Node, Source, clean, split};
use crate::error::{Error, ErrorKind, Result};
use crate::tree::Time;
use nomount_block::WriteAt;
use nomount_ext::{Attrs, Filesystem, New, ROOT_INO};
use std::collections::HashMap;

/// Bytes of a file that are held at once.
const BUFFER: usize = 1 << 20;
/// Entries after which what was made is committed, so that memory does not grow with the tree.
const COMMIT_EVERY: u64 = 1 << 17;

/// How to fill.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fill {
    /// Owner and group of everything, whatever the source says.
    pub owner: Option<(u32, u32)>,
    /// Times after this one become this one.
    pub latest: Option<Time>,
}

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filled {
    /// Entries of any kind.
    pub entries: u64,
    /// Of these, directories.
    pub dirs: u64,
    /// Of these, further names of files.
    pub links: u64,
    /// Bytes of contents, without holes.
    pub bytes: u64,
    /// What was left out, and what was added.
    pub notes: Vec<String>,
}

struct Filler<'a, D> {
    fs: &'a mut Filesystem<D>,
    how: Fill,
    /// Directories by path.
    dirs: HashMap<Vec<u8>, u32>,
    /// Attributes that directories get when everything is in them: a default ACL would be inherited, and new names
    /// change the time.
    later: Vec<(u32, Vec<u8>, Meta)>,
    buffer: Vec<u8>,
    done: Filled,
    since_commit: u64,
}

/// Makes everything that `source` tells, and commits. A path that is there already is replaced, unless both are
/// directories. The root directory keeps the attributes it has.
pub fn populate<D: WriteAt>(fs: &mut Filesystem<D>, source: &mut dyn Source, how: Fill) -> Result<Filled> {
    let dirs = HashMap::from([(Vec::new(), ROOT_INO)]);
    let buffer = vec![0; BUFFER];
    let mut filler = Filler { fs, how, dirs, later: Vec::new(), buffer, done: Filled::default(), since_commit: 0 };
    let mut notes = Vec::new();
    source.each(&mut notes, &mut |item| {
        let path = clean(item.path)?;
        filler.make(&path, item).map_err(|error| error.at_path([b"/", &path[..]].concat()))
    })?;
    filler.finish_dirs()?;
    filler.fs.commit()?;
    filler.done.notes.extend(notes);
    Ok(filler.done)
}

impl<D: WriteAt> Filler<'_, D> {
    fn make(&mut self, path: &[u8], item: Item<'_>) -> Result<()> {
        if path.is_empty() {
            return match item.node {
                Node::Dir => Ok(()),
                _ => Err(Error::new(ErrorKind::Invalid, "the root is not a directory")),
            };
        }
        let (parent, name) = split(path);
        let parent = self.dir(parent)?;
        let meta = self.adjusted(item.meta);
        match item.node {
            Node::Dir => self.make_dir(parent, name, path, meta)?,
            Node::HardLink(target) => self.make_link(parent, name, &clean(target)?)?,
            Node::File(size, contents) => {
                let ino = self.create(parent, name, &New::File, &meta)?;
                self.write(ino, size, contents)?;
                self.finish(ino, &meta, true)?;
            }
            Node::Symlink(target) => self.make_other(parent, name, &New::Symlink(target), &meta)?,
            Node::CharDevice(major, minor) => self.make_other(parent, name, &New::CharDevice(major, minor), &meta)?,
            Node::BlockDevice(major, minor) => self.make_other(parent, name, &New::BlockDevice(major, minor), &meta)?,
            Node::Fifo => self.make_other(parent, name, &New::Fifo, &meta)?,
            Node::Socket => self.make_other(parent, name, &New::Socket, &meta)?,
        }
        self.done.entries += 1;
        self.since_commit += 1;
        if self.since_commit >= COMMIT_EVERY {
            self.fs.commit()?;
            self.since_commit = 0;
        }
        Ok(())
    }

    fn adjusted(&self, mut meta: Meta) -> Meta {
        if let Some((uid, gid)) = self.how.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
        if let Some(latest) = self.how.latest {
            meta.mtime = meta.mtime.min(latest);
        }
        meta
    }

    /// The directory at a path. One that the source did not tell of is made, as tar does.
    fn dir(&mut self, path: &[u8]) -> Result<u32> {
        if let Some(ino) = self.dirs.get(path) {
            return Ok(*ino);
        }
        let (parent, name) = split(path);
        let parent = self.dir(parent)?;
        let ino = match self.fs.lookup(parent, name)? {
            Some(found) if self.fs.inode(found.ino)?.is_dir() => found.ino,
            Some(_) => {
                let message = format!("{} is not a directory", path.escape_ascii());
                return Err(Error::new(ErrorKind::NotADirectory, message));
            }
            None => {
                self.done.notes.push(format!("/{}: made, because there is no entry for it", path.escape_ascii()));
                self.done.dirs += 1;
                let (uid, gid) = self.how.owner.unwrap_or_default();
                let attrs = Attrs { mode: Some(0o755), uid: Some(uid), gid: Some(gid), ..Attrs::default() };
                self.fs.create(parent, name, &New::Dir, attrs)?
            }
        };
        self.dirs.insert(path.to_vec(), ino);
        Ok(ino)
    }

    fn make_dir(&mut self, parent: u32, name: &[u8], path: &[u8], meta: Meta) -> Result<()> {
        let there = match self.dirs.get(path) {
            Some(ino) => Some(*ino),
            None => self.fs.lookup(parent, name)?.map(|found| found.ino),
        };
        let there = match there {
            Some(ino) if self.fs.inode(ino)?.is_dir() => Some(ino),
            Some(_) => {
                self.fs.unlink(parent, name)?;
                None
            }
            None => None,
        };
        let ino = match there {
            Some(ino) => ino,
            None => {
                self.done.dirs += 1;
                let attrs = Attrs { mode: Some(0o700), ..Attrs::default() };
                self.fs.create(parent, name, &New::Dir, attrs)?
            }
        };
        self.dirs.insert(path.to_vec(), ino);
        self.later.push((ino, path.to_vec(), meta));
        Ok(())
    }

    fn make_link(&mut self, parent: u32, name: &[u8], target: &[u8]) -> Result<()> {
        let missing = || {
            let message = format!("hard link to {}, which was not told before", target.escape_ascii());
            Error::new(ErrorKind::NotFound, message)
        };
        let (dir, last) = split(target);
        let dir = *self.dirs.get(dir).ok_or_else(missing)?;
        let found = self.fs.lookup(dir, last)?.ok_or_else(missing)?;
        if (dir, last) == (parent, name) {
            return Ok(());
        }
        self.done.links += 1;
        match self.fs.link(found.ino, parent, name) {
            Err(nomount_ext::Error::Exists) => {
                self.fs.unlink(parent, name)?;
                Ok(self.fs.link(found.ino, parent, name)?)
            }
            result => Ok(result?),
        }
    }

    fn make_other(&mut self, parent: u32, name: &[u8], new: &New<'_>, meta: &Meta) -> Result<()> {
        let ino = self.create(parent, name, new, meta)?;
        self.finish(ino, meta, false)
    }

    fn create(&mut self, parent: u32, name: &[u8], new: &New<'_>, meta: &Meta) -> Result<u32> {
        let attrs = attrs(meta);
        match self.fs.create(parent, name, new, attrs) {
            Err(nomount_ext::Error::Exists) => {
                self.fs.unlink(parent, name)?;
                Ok(self.fs.create(parent, name, new, attrs)?)
            }
            result => Ok(result?),
        }
    }

    fn write(&mut self, ino: u32, size: u64, contents: &mut dyn Contents) -> Result<()> {
        let mut end = 0;
        while let Some((offset, len)) = contents.next_data(&mut self.buffer)? {
            self.fs.write_at(ino, offset, &self.buffer[..len])?;
            self.done.bytes += len as u64;
            end = offset + len as u64;
        }
        if end < size {
            self.fs.truncate(ino, size)?;
        }
        Ok(())
    }

    /// Extended attributes, and what writing has changed.
    fn finish(&mut self, ino: u32, meta: &Meta, written: bool) -> Result<()> {
        for (name, value) in &meta.xattrs {
            self.fs.set_xattr(ino, name, Some(value))?;
        }
        if written || !meta.xattrs.is_empty() {
            self.fs.set_attrs(ino, attrs(meta))?;
        }
        Ok(())
    }

    fn finish_dirs(&mut self) -> Result<()> {
        for (ino, path, meta) in std::mem::take(&mut self.later) {
            let named = |error: Error| error.at_path([b"/", &path[..]].concat());
            self.finish(ino, &meta, true).map_err(named)?;
        }
        Ok(())
    }
}

fn attrs(meta: &Meta) -> Attrs {
    let mtime = nomount_ext::Time { sec: meta.mtime.sec, nsec: meta.mtime.nsec };
    Attrs {
        mode: Some(meta.mode),
        uid: Some(meta.uid),
        gid: Some(meta.gid),
        atime: Some(mtime),
        mtime: Some(mtime),
        ..Attrs::default()
    }
}
