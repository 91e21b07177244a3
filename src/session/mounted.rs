//! A filesystem of a disk, opened as part of a session's tree.

use super::{Part, SessionOptions, not_supported};
use crate::disk::{Content, Volume};
use crate::error::{Error, Result};
use crate::tree::{
    Entries, Expectations, ExtTree, FatTree, FileTree, GuestPath, NewNode, Savepoint, SetAttr, Stat, Xattr,
};
use nomount_block::Budget;
use nomount_ext::{Committed, Filesystem, Options};
use std::ops::Range;

/// A filesystem of one of the kinds that are read and changed.
#[derive(Debug)]
enum Tree {
    Ext(Box<ExtTree<Part>>),
    Fat(Box<FatTree<Part>>),
}

impl Tree {
    fn open(part: Part, volume: &Volume, options: Options, memory: &Budget, write: bool) -> Result<Self> {
        let opened = match volume.content {
            Content::Vfat => {
                let now = nomount_fat::Time { sec: options.now.sec, nsec: options.now.nsec };
                let options = nomount_fat::OpenOptions { now };
                let open = match write {
                    true => nomount_fat::Filesystem::open_for_write_within,
                    false => nomount_fat::Filesystem::open_within,
                };
                open(part, options, memory).map(|fs| Self::Fat(Box::new(FatTree::new(fs)))).map_err(Error::from)
            }
            content if content.is_ext() => {
                let open = if write { Filesystem::open_for_write_within } else { Filesystem::open_within };
                open(part, options, memory).map(|fs| Self::Ext(Box::new(ExtTree::new(fs)))).map_err(Error::from)
            }
            content => Err(not_supported(content)),
        };
        opened.map_err(|error| error.in_volume(volume.to_string()))
    }

    fn part(&self) -> &Part {
        match self {
            Self::Ext(tree) => tree.filesystem().device(),
            Self::Fat(tree) => tree.filesystem().device(),
        }
    }

    fn reader(&self) -> &dyn FileTree {
        match self {
            Self::Ext(tree) => &**tree,
            Self::Fat(tree) => &**tree,
        }
    }

    fn writer(&mut self) -> &mut dyn FileTree {
        match self {
            Self::Ext(tree) => &mut **tree,
            Self::Fat(tree) => &mut **tree,
        }
    }
}

/// A filesystem. One that is only looked at is never written, not even its journal replayed: it is opened for changes
/// with the first of them.
#[derive(Debug)]
pub(super) struct Mounted {
    tree: Tree,
    volume: Volume,
    options: Options,
    memory: Budget,
    /// Savepoints that were taken while nothing was changed yet; none once it is open for changes, or never will be.
    waiting: Option<u64>,
}

impl Mounted {
    /// Opens the filesystem in a volume for reading; with `lazily` it can be changed, too.
    pub(super) fn for_reading(part: Part, volume: &Volume, options: &SessionOptions, lazily: bool) -> Result<Self> {
        let (options, memory) = (ext_options(options), options.image.memory.clone());
        let tree = Tree::open(part, volume, options, &memory, false)?;
        Ok(Self { tree, volume: volume.clone(), options, memory, waiting: lazily.then_some(0) })
    }

    /// Opens the filesystem in a volume for changes.
    pub(super) fn for_changes(part: Part, volume: &Volume, options: &SessionOptions) -> Result<Self> {
        let (options, memory) = (ext_options(options), options.image.memory.clone());
        let tree = Tree::open(part, volume, options, &memory, true)?;
        Ok(Self { tree, volume: volume.clone(), options, memory, waiting: None })
    }

    /// The ext filesystem, if it is one.
    pub(super) fn ext(&self) -> Option<&Filesystem<Part>> {
        match &self.tree {
            Tree::Ext(tree) => Some(tree.filesystem()),
            Tree::Fat(_) => None,
        }
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
        let done = match &mut self.tree {
            Tree::Ext(tree) => tree.commit(),
            // FAT has no journal: the redo file protects all of it.
            Tree::Fat(tree) => tree.commit().map(|(done, expected)| {
                let transactions = usize::from(!done.is_empty());
                (Committed { protected: done.blocks, transactions, ..Committed::default() }, expected)
            }),
        };
        done.map_err(|error| error.in_volume(self.volume.to_string()))
    }

    /// The tree, to be changed.
    fn writer(&mut self) -> Result<&mut dyn FileTree> {
        if let Some(marks) = self.waiting {
            let mut tree = Tree::open(self.tree.part().clone(), &self.volume, self.options, &self.memory, true)?;
            // Nothing was changed since any of them.
            for _ in 0..marks {
                tree.writer().savepoint();
            }
            (self.tree, self.waiting) = (tree, None);
        }
        Ok(self.tree.writer())
    }
}

fn ext_options(options: &SessionOptions) -> Options {
    let now = nomount_ext::Time { sec: options.now.sec, nsec: options.now.nsec };
    Options { now, seed: options.seed, mmp_wait: options.mmp_wait }
}

impl FileTree for Mounted {
    fn stat(&self, path: &GuestPath) -> Result<Stat> {
        self.tree.reader().stat(path)
    }

    fn read_at(&self, path: &GuestPath, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.tree.reader().read_at(path, offset, buf)
    }

    fn data(&self, path: &GuestPath) -> Result<Vec<Range<u64>>> {
        self.tree.reader().data(path)
    }

    fn read_link(&self, path: &GuestPath) -> Result<Vec<u8>> {
        self.tree.reader().read_link(path)
    }

    fn entries(&self, path: &GuestPath) -> Result<Entries> {
        self.tree.reader().entries(path)
    }

    fn xattrs(&self, path: &GuestPath) -> Result<Vec<Xattr>> {
        self.tree.reader().xattrs(path)
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

    fn scrub(&mut self, path: &GuestPath) -> Result<()> {
        self.writer()?.scrub(path)
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
            None => self.tree.writer().savepoint(),
        }
    }

    fn rollback(&mut self, savepoint: Savepoint) {
        match &mut self.waiting {
            Some(marks) => *marks = savepoint.0,
            None => self.tree.writer().rollback(savepoint),
        }
    }
}
