//! A tree of a guest as a directory of the host.
//!
//! Whatever the image says, nothing outside the directory is read, written or linked to (Z4): each name is checked to
//! be one, everything is reached through descriptors without following links, and everything is new. An image cannot
//! make it go on for ever either: a directory is entered once, and there are no more names and bytes than the
//! filesystem has room for.

pub(in crate::ops) mod check;
mod finish;
mod make;
#[cfg(test)]
mod tests;

use crate::error::{Error, ErrorKind, Result};
use crate::ops::host_dir::{Facts, HostDir, MAX_DEPTH, host_error};
use crate::ops::id_map::IdMap;
use crate::tree::{Entry, FileKind, FileTree, GuestPath, Stat, Xattr};
use check::Budget;
use std::collections::{HashMap, HashSet};

/// How to extract.
#[derive(Debug, Clone)]
pub(crate) struct How {
    /// Owners.
    pub(crate) uids: IdMap,
    pub(crate) gids: IdMap,
    /// Give programs their set-user-ID and set-group-ID bits.
    pub(crate) set_id: bool,
    /// Make device nodes.
    pub(crate) devices: bool,
    /// Bytes of the filesystem: no tree has more.
    pub(crate) room: u64,
}

/// One name that was extracted.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    pub(crate) path: &'a GuestPath,
    pub(crate) stat: &'a Stat,
    /// What was made of it; none where it was only looked at.
    pub(crate) host: Option<Facts>,
    /// Attributes that the host does not have.
    pub(crate) xattrs: &'a [Xattr],
}

/// What was made, and what the host could not be given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Names of all kinds, the root directory included.
    pub names: u64,
    /// Bytes of contents, without holes.
    pub bytes: u64,
    /// Files whose owner is not that of the guest, mapped.
    pub owners_recorded: u64,
    /// Programs without the set-user-ID or set-group-ID bit that they have in the guest.
    pub set_id_recorded: u64,
    /// Device nodes that were not made.
    pub devices_recorded: u64,
    /// Extended attributes that were not set.
    pub xattrs_recorded: u64,
}

/// What is known of a file before all of its names are made.
struct Pending {
    path: GuestPath,
    stat: Stat,
    xattrs: Vec<Xattr>,
}

struct Level {
    dir: HostDir,
    path: GuestPath,
    entries: std::vec::IntoIter<Entry>,
}

struct Extractor<'a> {
    tree: &'a dyn FileTree,
    top: &'a HostDir,
    how: &'a How,
    visit: &'a mut dyn FnMut(Made<'_>) -> Result<()>,
    budget: Budget,
    done: Extracted,
    buffer: Vec<u8>,
    /// Directories that were entered.
    entered: HashSet<(u32, u64)>,
    /// Files with several names: where in `linked` the first is.
    first: HashMap<(u32, u64), usize>,
    /// Names of files that have several, told when they have all of them.
    linked: Vec<Pending>,
    /// Directories, told and given their attributes when everything is in them.
    dirs: Vec<Pending>,
}

/// Extracts the whole of `tree` into the empty directory `top`. Each name is told to `visit` once, in no order, when
/// nothing about it changes any more. When it fails, what was made so far is there.
pub(crate) fn extract(
    tree: &dyn FileTree,
    top: &HostDir,
    how: &How,
    visit: &mut dyn FnMut(Made<'_>) -> Result<()>,
) -> Result<Extracted> {
    let mut extractor = Extractor {
        tree,
        top,
        how,
        visit,
        budget: Budget::new(how.room),
        done: Extracted::default(),
        buffer: Vec::new(),
        entered: HashSet::new(),
        first: HashMap::new(),
        linked: Vec::new(),
        dirs: Vec::new(),
    };
    extractor.walk()?;
    extractor.finish()?;
    Ok(extractor.done)
}

impl Extractor<'_> {
    fn walk(&mut self) -> Result<()> {
        let root = GuestPath::root();
        let stat = self.tree.stat(&root)?;
        let dir = self.top.descend(&root).map_err(|e| host_error("open the directory", &root, e))?;
        let mut way = vec![self.enter(dir, root, stat)?];
        while let Some(level) = way.last_mut() {
            let Some(entry) = level.entries.next() else {
                way.pop();
                continue;
            };
            check::name(&level.path, &entry.name)?;
            let path = level.path.join(&entry.name);
            let stat = self.tree.stat(&path)?;
            if stat.ino != entry.ino {
                let message = format!("two entries of one name, for inodes {} and {}", entry.ino, stat.ino);
                return Err(Error::new(ErrorKind::Corrupt, message).at_path(path.to_bytes()));
            }
            self.budget.name(&path)?;
            if stat.kind != FileKind::Dir {
                self.make(&level.dir, &entry.name, path, stat)?;
                continue;
            }
            if way.len() >= MAX_DEPTH {
                let message = format!("more than {MAX_DEPTH} directories below each other");
                return Err(Error::new(ErrorKind::Limit, message).at_path(path.to_bytes()));
            }
            let dir = self.make_dir(&way[way.len() - 1].dir, &entry.name, &path)?;
            way.push(self.enter(dir, path, stat)?);
        }
        Ok(())
    }

    fn enter(&mut self, dir: HostDir, path: GuestPath, stat: Stat) -> Result<Level> {
        if !self.entered.insert(stat.id()) {
            let message = format!("directory inode {} has a second place", stat.ino);
            return Err(Error::new(ErrorKind::Corrupt, message).at_path(path.to_bytes()));
        }
        let entries = self.tree.entries(&path)?.into_iter();
        let xattrs = self.tree.xattrs(&path)?;
        self.dirs.push(Pending { path: path.clone(), stat, xattrs });
        Ok(Level { dir, path, entries })
    }

    fn tell(&mut self, path: &GuestPath, stat: &Stat, host: Option<Facts>, xattrs: &[Xattr]) -> Result<()> {
        self.done.names += 1;
        if matches!(stat.kind, FileKind::CharDevice | FileKind::BlockDevice) && host.is_none() {
            self.done.devices_recorded += 1;
        }
        (self.visit)(Made { path, stat, host, xattrs })
    }
}
