//! From a path to what is there.

use crate::error::{Error, Result, corrupt};
use crate::fs::Filesystem;
use crate::listing::{Listing, SLOT};
use crate::raw::{DirEntry, attr};
use crate::shape::Root;
use crate::time::{self, Time};
use nomount_block::ReadAt;
use std::sync::Arc;
use zerocopy::FromBytes;

/// Number of the root directory. Other directories have that of their first cluster, so that one which is met twice
/// can be told.
pub const ROOT_NUMBER: u64 = 1;
/// Numbers of files as they were when the filesystem was opened, by the place of their entry.
const PLACES: u64 = 1 << 32;
/// Numbers of files that were made or moved since.
const GIVEN: u64 = 1 << 60;

/// The components of a path, from the root.
pub type Path<'p> = &'p [&'p [u8]];

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether it is marked as not to be written.
    pub read_only: bool,
    /// A number that no other file has, the same as long as the filesystem is open.
    pub number: u64,
    /// Length in bytes; of a directory, that of its clusters.
    pub size: u64,
    /// Bytes of the clusters that the length takes.
    pub allocated: u64,
    /// Last access, a day.
    pub accessed: Time,
    /// Last change, to two seconds.
    pub modified: Time,
    /// Creation, to a hundredth of a second; none where it was not kept.
    pub created: Option<Time>,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it is shown; what is not Unicode on the disk is not UTF-8 here.
    pub name: Vec<u8>,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// See [`Stat::number`].
    pub number: u64,
}

/// Where something was found: the directory it is in, and its place there.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// First cluster of the directory, 0 for the root.
    pub dir: u32,
    pub slot: u32,
    /// Byte offset of the entry.
    pub at: u64,
    pub entry: DirEntry,
}

impl<D: ReadAt> Filesystem<D> {
    pub(crate) fn read_entry(&self, dir: u32, listing: &Listing, slot: u32) -> Result<Found> {
        let at = self.slot_at(dir, &listing.chain, slot)?;
        let mut bytes = [0; SLOT];
        self.get(at, &mut bytes)?;
        Ok(Found { dir, slot, at, entry: DirEntry::read_from_bytes(&bytes).expect("32 bytes") })
    }

    /// Looks for a name in a directory.
    pub(crate) fn find_in(&self, dir: u32, name: &[u8]) -> Result<Option<Found>> {
        let listing = self.listing(dir)?;
        listing.find(name).map(|slot| self.read_entry(dir, &listing, slot)).transpose()
    }

    /// The first cluster of a directory that has an entry.
    pub(crate) fn dir_of(&self, found: &Found) -> Result<u32> {
        if !found.entry.is_dir() {
            return Err(Error::NotDirectory);
        }
        let cluster = self.first_cluster(&found.entry);
        if cluster == 0 || Root::Chain(cluster) == self.shape.root {
            return Err(corrupt("directory", "an entry stands for the root directory or for nothing"));
        }
        Ok(cluster)
    }

    pub(crate) fn first_cluster(&self, entry: &DirEntry) -> u32 {
        entry.cluster(self.shape.is_wide())
    }

    /// The first cluster of the directory at `path`.
    pub(crate) fn dir(&self, path: Path<'_>) -> Result<u32> {
        path.iter().try_fold(0, |dir, name| {
            let found = self.find_in(dir, name)?.ok_or(Error::NotFound)?;
            self.dir_of(&found)
        })
    }

    /// What is at `path`; none for the root.
    pub(crate) fn find(&self, path: Path<'_>) -> Result<Option<Found>> {
        let Some((name, parents)) = path.split_last() else { return Ok(None) };
        self.find_in(self.dir(parents)?, name)?.map(Some).ok_or(Error::NotFound)
    }

    /// What is at `path`, which must be a file.
    pub(crate) fn file(&self, path: Path<'_>) -> Result<Found> {
        self.find(path)?.filter(|found| !found.entry.is_dir()).ok_or(Error::IsDirectory)
    }

    /// What is at `path`, as far as its entry says.
    pub fn stat(&self, path: Path<'_>) -> Result<Stat> {
        let Some(found) = self.find(path)? else {
            let size = self.dir_size(0);
            return Ok(Stat {
                is_dir: true,
                read_only: false,
                number: ROOT_NUMBER,
                size,
                allocated: size,
                accessed: time::decode(0, 0, 0),
                modified: time::decode(0, 0, 0),
                created: None,
            });
        };
        let entry = &found.entry;
        let (is_dir, size) = (entry.is_dir(), u64::from(entry.DIR_FileSize.get()));
        let size = if is_dir { self.dir_of(&found).map_or(0, |dir| self.dir_size(dir)) } else { size };
        let created = entry.DIR_CrtDate.get();
        Ok(Stat {
            is_dir,
            read_only: entry.DIR_Attr & attr::READ_ONLY != 0,
            number: self.number(&found),
            size,
            allocated: u64::from(self.shape.clusters_for(size)) * u64::from(self.shape.cluster),
            accessed: time::decode(entry.DIR_LstAccDate.get(), 0, 0),
            modified: time::decode(entry.DIR_WrtDate.get(), entry.DIR_WrtTime.get(), 0),
            created: (created != 0).then(|| time::decode(created, entry.DIR_CrtTime.get(), entry.DIR_CrtTimeTenth)),
        })
    }

    /// Bytes of a directory; 0 for one that is corrupt, which whoever looks into it is told.
    fn dir_size(&self, dir: u32) -> u64 {
        self.listing(dir).map_or(0, |listing| u64::from(listing.slots()) * SLOT as u64)
    }

    /// The path as its names are spelt on the disk, as far as it leads anywhere: names are found in any case, and by
    /// their short form.
    pub fn spelling(&self, path: Path<'_>) -> Result<Vec<Vec<u8>>> {
        let mut spelt: Vec<Vec<u8>> = Vec::new();
        let mut dir = Some(0);
        for name in path {
            let listing = dir.map(|dir| self.listing(dir)).transpose()?;
            let place = listing.as_ref().zip(dir).and_then(|(listing, dir)| Some((listing, dir, listing.find(name)?)));
            dir = None;
            if let Some((listing, parent, slot)) = place {
                spelt.push(listing.names[&slot].name.clone());
                let found = self.read_entry(parent, listing, slot)?;
                if found.entry.is_dir() && spelt.len() < path.len() {
                    dir = Some(self.dir_of(&found)?);
                }
            } else {
                spelt.push(name.to_vec());
            }
        }
        Ok(spelt)
    }

    pub(crate) fn number(&self, found: &Found) -> u64 {
        if found.entry.is_dir() {
            let cluster = self.first_cluster(&found.entry);
            return if Root::Chain(cluster) == self.shape.root { ROOT_NUMBER } else { cluster.into() };
        }
        let place = found.at / SLOT as u64;
        self.state.numbers.get(&place).copied().unwrap_or(PLACES + place)
    }

    /// The names in the directory at `path`, in the order of their entries.
    pub fn entries(&self, path: Path<'_>) -> Result<Vec<Entry>> {
        let dir = self.dir(path)?;
        let listing: Arc<Listing> = self.listing(dir)?;
        listing
            .names
            .iter()
            .map(|(slot, named)| {
                let found = self.read_entry(dir, &listing, *slot)?;
                let (is_dir, number) = (found.entry.is_dir(), self.number(&found));
                Ok(Entry { name: named.name.clone(), is_dir, number })
            })
            .collect()
    }
}

impl<D> Filesystem<D> {
    /// Gives the file whose entry is at `at` a number: its old one, or a new one.
    pub(crate) fn set_number(&mut self, at: u64, number: Option<u64>) {
        let number = number.unwrap_or_else(|| {
            self.state.numbered += 1;
            GIVEN + self.state.numbered
        });
        self.state.numbers.insert_mut(at / SLOT as u64, number);
    }
}
