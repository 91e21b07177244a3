//! A filesystem of a disk, opened as part of a session's tree.

use super::{Part, SessionOptions, not_supported};
use crate::disk::Volume;
use crate::error::{Error, Result};
use crate::tree::{Entry, Expectations, ExtTree, FileTree, GuestPath, NewNode, Savepoint, SetAttr, Stat, Xattr};
use nomount_ext::{Committed, Filesystem, Options};
use std::ops::Range;

/// A filesystem. One that is only looked at is never written, not even its journal replayed: it is opened for changes
/// with the first of them.
#[derive(Debug)]
pub(super) struct Mounted {
    tree: ExtTree<Part>,
    volume: Volume,
    options: Options,
    /// Savepoints that were taken while nothing was changed yet; none once it is open for changes, or never will be.
    waiting: Option<u64>,
}

impl Mounted {
    /// Opens the filesystem in a volume for reading; with `lazily` it can be changed, too.
    pub(super) fn for_reading(part: Part, volume: &Volume, options: &SessionOptions, lazily: bool) -> Result<Self> {
        let ext = ext_options(volume, options)?;
        let tree = ExtTree::new(named(Filesystem::open(part, ext), volume)?);
        Ok(Self { tree, volume: volume.clone(), options: ext, waiting: lazily.then_some(0) })
    }

    /// Opens the filesystem in a volume for changes.
    pub(super) fn for_changes(part: Part, volume: &Volume, options: &SessionOptions) -> Result<Self> {
        let ext = ext_options(volume, options)?;
        let tree = ExtTree::new(named(Filesystem::open_for_write(part, ext), volume)?);
        Ok(Self { tree, volume: volume.clone(), options: ext, waiting: None })
    }

    /// The filesystem.
    pub(super) fn filesystem(&self) -> &Filesystem<Part> {
        self.tree.filesystem()
    }

    /// The volume that it is in.
    pub(super) fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Stages what makes the changes durable, and says what a reader must find then.
    pub(super) fn commit(&mut self) -> Result<(Committed, Expectations)> {
        if self.waiting.is_some() {
            return Ok((Committed::default(), Expectations::default()));
        }
        self.tree.commit().map_err(|error| error.in_volume(self.volume.to_string()))
    }

    /// The tree, to be changed.
    fn writer(&mut self) -> Result<&mut ExtTree<Part>> {
        if let Some(marks) = self.waiting {
            let part = self.tree.filesystem().device().clone();
            let mut tree = ExtTree::new(named(Filesystem::open_for_write(part, self.options), &self.volume)?);
            // Nothing was changed since any of them.
            for _ in 0..marks {
                tree.savepoint();
            }
            (self.tree, self.waiting) = (tree, None);
        }
        Ok(&mut self.tree)
    }
}

fn ext_options(volume: &Volume, options: &SessionOptions) -> Result<Options> {
    if !volume.content.is_ext() {
        return Err(not_supported(volume.content).in_volume(volume.to_string()));
    }
    let now = nomount_ext::Time { sec: options.now.sec, nsec: options.now.nsec };
    Ok(Options { now, seed: options.seed, mmp_wait: options.mmp_wait })
}

fn named<T>(result: nomount_ext::Result<T>, volume: &Volume) -> Result<T> {
    result.map_err(|error| Error::from(error).in_volume(volume.to_string()))
}

impl FileTree for Mounted {
    fn stat(&self, path: &GuestPath) -> Result<Stat> {
        self.tree.stat(path)
    }

    fn read_at(&self, path: &GuestPath, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.tree.read_at(path, offset, buf)
    }

    fn data(&self, path: &GuestPath) -> Result<Vec<Range<u64>>> {
        self.tree.data(path)
    }

    fn read_link(&self, path: &GuestPath) -> Result<Vec<u8>> {
        self.tree.read_link(path)
    }

    fn entries(&self, path: &GuestPath) -> Result<Vec<Entry>> {
        self.tree.entries(path)
    }

    fn xattrs(&self, path: &GuestPath) -> Result<Vec<Xattr>> {
        self.tree.xattrs(path)
    }

    fn create(&mut self, path: &GuestPath, node: NewNode, attr: SetAttr) -> Result<()> {
        self.writer()?.create(path, node, attr)
    }

    fn write_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        self.writer()?.write_file(path, contents)
    }

    fn append_file(&mut self, path: &GuestPath, contents: &[u8]) -> Result<()> {
        self.writer()?.append_file(path, contents)
    }

    fn write_at(&mut self, path: &GuestPath, offset: u64, data: &[u8]) -> Result<()> {
        self.writer()?.write_at(path, offset, data)
    }

    fn truncate(&mut self, path: &GuestPath, size: u64) -> Result<()> {
        self.writer()?.truncate(path, size)
    }

    fn link(&mut self, old: &GuestPath, new: &GuestPath) -> Result<()> {
        self.writer()?.link(old, new)
    }

    fn rename(&mut self, from: &GuestPath, to: &GuestPath) -> Result<()> {
        self.writer()?.rename(from, to)
    }

    fn unlink(&mut self, path: &GuestPath) -> Result<()> {
        self.writer()?.unlink(path)
    }

    fn rmdir(&mut self, path: &GuestPath) -> Result<()> {
        self.writer()?.rmdir(path)
    }

    fn remove_tree(&mut self, path: &GuestPath) -> Result<u64> {
        self.writer()?.remove_tree(path)
    }

    fn set_attr(&mut self, path: &GuestPath, attr: SetAttr) -> Result<()> {
        self.writer()?.set_attr(path, attr)
    }

    fn set_xattr(&mut self, path: &GuestPath, name: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.writer()?.set_xattr(path, name, value)
    }

    fn savepoint(&mut self) -> Savepoint {
        match &mut self.waiting {
            Some(marks) => {
                *marks += 1;
                Savepoint(*marks - 1)
            }
            None => self.tree.savepoint(),
        }
    }

    fn rollback(&mut self, savepoint: Savepoint) {
        match &mut self.waiting {
            Some(marks) => *marks = savepoint.0,
            None => self.tree.rollback(savepoint),
        }
    }
}
