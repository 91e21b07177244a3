//! Making, moving and removing names.

use crate::error::{Error, Result, corrupt};
use crate::find::{Found, Path};
use crate::fs::{Filesystem, exclusive};
use crate::listing::{FREE, LAST, Listing, MAX_SLOTS, Named, SLOT};
use crate::name::{self, DOT, DOTDOT, Short, UNITS};
use crate::raw::{DirEntry, LongEntry, attr};
use crate::time::{self, Time};
use nomount_block::WriteAt;
use std::collections::HashSet;
use std::sync::Arc;
use zerocopy::{FromZeros, IntoBytes};

/// The deepest directory below one that is removed with all that is in it.
const MAX_DEPTH: usize = 2048;

/// Attributes to change; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Not to be written.
    pub read_only: Option<bool>,
    /// Last access; only the day is kept.
    pub accessed: Option<Time>,
    /// Last change; only even seconds are kept.
    pub modified: Option<Time>,
}

impl Attrs {
    fn set(self, entry: &mut DirEntry) {
        match self.read_only {
            Some(true) => entry.DIR_Attr |= attr::READ_ONLY,
            Some(false) => entry.DIR_Attr &= !attr::READ_ONLY,
            None => {}
        }
        if let Some(accessed) = self.accessed {
            entry.DIR_LstAccDate.set(time::encode(accessed).0);
        }
        if let Some(modified) = self.modified {
            let (date, clock, _) = time::encode(modified);
            entry.DIR_WrtDate.set(date);
            entry.DIR_WrtTime.set(clock);
        }
    }
}

impl<D: WriteAt> Filesystem<D> {
    /// Makes an empty file.
    pub fn create_file(&mut self, path: Path<'_>, attrs: Attrs) -> Result<()> {
        self.change(|fs| {
            let (dir, name) = fs.new_place(path)?;
            let mut entry = fs.new_entry(attr::ARCHIVE);
            attrs.set(&mut entry);
            fs.add_entry(dir, name, entry, None)
        })
    }

    /// Makes an empty directory.
    pub fn create_dir(&mut self, path: Path<'_>, attrs: Attrs) -> Result<()> {
        self.change(|fs| {
            let (dir, name) = fs.new_place(path)?;
            let cluster = fs.allocate(1, None)?[0];
            fs.zero_cluster(cluster)?;
            let wide = fs.shape.is_wide();
            let mut entry = fs.new_entry(attr::DIRECTORY);
            let at = fs.shape.cluster_at(cluster);
            for (number, name, first) in [(0, DOT, cluster), (1, DOTDOT, dir)] {
                entry.DIR_Name = name;
                entry.set_cluster(first, wide);
                fs.put(at + number * SLOT as u64, entry.as_bytes())?;
            }
            entry.set_cluster(cluster, wide);
            attrs.set(&mut entry);
            fs.add_entry(dir, name, entry, None)
        })
    }

    /// Changes attributes of what is at `path`; the root has none, and keeps none.
    pub fn set_attrs(&mut self, path: Path<'_>, attrs: Attrs) -> Result<()> {
        self.change(|fs| {
            let mut found = fs.find(path)?.ok_or(Error::Place("the root directory of FAT has no attributes"))?;
            attrs.set(&mut found.entry);
            fs.put(found.at, found.entry.as_bytes())
        })
    }

    /// Removes a file.
    pub fn unlink(&mut self, path: Path<'_>) -> Result<()> {
        self.change(|fs| {
            let found = fs.file(path)?;
            fs.remove_file(&found)
        })
    }

    /// Removes an empty directory.
    pub fn rmdir(&mut self, path: Path<'_>) -> Result<()> {
        self.change(|fs| {
            let found = fs.find(path)?.ok_or(ROOT_STAYS)?;
            fs.remove_dir(&found)
        })
    }

    /// Removes what is at `path` and all below; returns how many names went.
    pub fn remove_tree(&mut self, path: Path<'_>) -> Result<u64> {
        self.change(|fs| {
            let found = fs.find(path)?.ok_or(ROOT_STAYS)?;
            fs.remove_all(found)
        })
    }

    /// Moves a name. What has the new name is replaced if it is of the same kind, a directory only if it is empty.
    pub fn rename(&mut self, from: Path<'_>, to: Path<'_>) -> Result<()> {
        self.change(|fs| {
            let old = fs.find(from)?.ok_or(ROOT_STAYS)?;
            let (name, parents) = to.split_last().ok_or(ROOT_STAYS)?;
            let into = fs.dir(parents)?;
            let moved = if old.entry.is_dir() { Some(fs.dir_of(&old)?) } else { None };
            if moved.is_some() && fs.passes(parents, moved)? {
                return Err(Error::Place("a directory cannot be moved into itself"));
            }
            name::check(name)?;
            let over = fs.find_in(into, name)?;
            let listing = fs.listing(into)?;
            if over.as_ref().is_some_and(|over| over.at == old.at && listing.names[&over.slot].name == *name) {
                return Ok(());
            }
            drop(listing);
            // Another spelling of its own name replaces nothing.
            if let Some(over) = over.filter(|over| over.at != old.at) {
                match (old.entry.is_dir(), over.entry.is_dir()) {
                    (true, false) => return Err(Error::NotDirectory),
                    (false, true) => return Err(Error::IsDirectory),
                    (true, true) => fs.remove_dir(&over)?,
                    (false, false) => fs.remove_file(&over)?,
                }
            }
            let number = moved.is_none().then(|| fs.number(&old));
            fs.remove_entry(&old)?;
            fs.add_entry(into, name, old.entry, number)?;
            match moved {
                Some(dir) if into != old.dir => fs.set_parent(dir, into),
                _ => Ok(()),
            }
        })
    }

    /// Whether one of the directories of `path` is `dir`.
    fn passes(&self, path: Path<'_>, dir: Option<u32>) -> Result<bool> {
        for depth in 1..=path.len() {
            if Some(self.dir(&path[..depth])?) == dir {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The directory and name of a path at which nothing is.
    fn new_place<'p>(&self, path: Path<'p>) -> Result<(u32, &'p [u8])> {
        let (name, parents) = path.split_last().ok_or(Error::Exists(None))?;
        let dir = self.dir(parents)?;
        let listing = self.listing(dir)?;
        if let Some(slot) = listing.find(name) {
            let present = &listing.names[&slot].name;
            return Err(Error::Exists((present != name).then(|| present.escape_ascii().to_string())));
        }
        name::check(name)?;
        Ok((dir, name))
    }

    pub(crate) fn new_entry(&self, attr: u8) -> DirEntry {
        let (date, clock, hundredths) = time::encode(self.options.now);
        let mut entry = DirEntry::new_zeroed();
        entry.DIR_Attr = attr;
        entry.DIR_CrtTimeTenth = hundredths;
        entry.DIR_CrtTime.set(clock);
        entry.DIR_CrtDate.set(date);
        entry.DIR_LstAccDate.set(date);
        entry.DIR_WrtTime.set(clock);
        entry.DIR_WrtDate.set(date);
        entry
    }

    /// Writes an entry under a name that is not there, its long name before it where it needs one.
    fn add_entry(&mut self, dir: u32, name: &[u8], mut entry: DirEntry, number: Option<u64>) -> Result<()> {
        let text = name::check(name)?;
        let listing = self.listing(dir)?;
        let plain = name::as_short(name).filter(|short| !listing.is_taken(short));
        let short = match plain {
            Some(short) => short,
            None => name::make_short(text, |short| listing.is_taken(short))?,
        };
        drop(listing);
        let units: Vec<u16> = text.encode_utf16().collect();
        let is_long = name::show_short(&short, 0) != name;
        let pieces = if is_long { units.len().div_ceil(UNITS) as u32 } else { 0 };
        let first = self.make_room(dir, pieces + 1)?;
        let slot = first + pieces;
        entry.DIR_Name = short;
        entry.DIR_NTRes = 0;
        let mut listing = self.listing_mut(dir)?;
        for number in 0..pieces {
            let long = long_entry(&units, pieces - number, number == 0, &short);
            let at = self.slot_at(dir, &listing.chain, first + number)?;
            self.put(at, long.as_bytes())?;
        }
        let at = self.slot_at(dir, &listing.chain, slot)?;
        self.put(at, entry.as_bytes())?;
        self.mark_end(dir, &listing, slot)?;
        Arc::make_mut(&mut listing).insert(slot, Named { first, name: name.to_vec(), short });
        exclusive(&mut self.listings).insert(dir, listing);
        if !entry.is_dir() {
            self.set_number(at, number);
        }
        Ok(())
    }

    /// Marks the end behind a slot that is used now, where it was behind an earlier one: nobody looks beyond, so that
    /// anything may be there.
    pub(crate) fn mark_end(&mut self, dir: u32, listing: &Listing, slot: u32) -> Result<()> {
        if slot >= listing.end && slot + 1 < listing.slots() {
            let at = self.slot_at(dir, &listing.chain, slot + 1)?;
            self.put(at, &[LAST])?;
        }
        Ok(())
    }

    /// The directory, taken out of those that are remembered.
    fn listing_mut(&mut self, dir: u32) -> Result<Arc<Listing>> {
        if let Some(listing) = exclusive(&mut self.listings).take(dir) {
            return Ok(listing);
        }
        self.listing(dir)?;
        Ok(exclusive(&mut self.listings).take(dir).expect("it was just read"))
    }

    /// The first of `count` free slots in a row; the directory grows where it has none.
    pub(crate) fn make_room(&mut self, dir: u32, count: u32) -> Result<u32> {
        let mut listing = self.listing_mut(dir)?;
        while listing.room(count).is_none() {
            let last = listing.chain.last().ok_or_else(|| self.full(dir))?;
            let wanted = listing.slots() - listing.free_at_end() + count;
            if wanted > MAX_SLOTS {
                return Err(self.full(dir));
            }
            let cluster = self.allocate(1, Some(last))?[0];
            self.zero_cluster(cluster)?;
            let slots = self.slots_per_cluster();
            Arc::make_mut(&mut listing).grow(cluster, slots);
        }
        let first = listing.room(count).expect("it has room now");
        exclusive(&mut self.listings).insert(dir, listing);
        Ok(first)
    }

    fn zero_cluster(&mut self, cluster: u32) -> Result<()> {
        let zeroes = vec![0; self.shape.cluster as usize];
        self.put(self.shape.cluster_at(cluster), &zeroes)
    }

    /// Frees the slots of a name.
    fn remove_entry(&mut self, found: &Found) -> Result<()> {
        let mut listing = self.listing_mut(found.dir)?;
        let first = listing.names.get(&found.slot).map_or(found.slot, |named| named.first);
        for slot in first..=found.slot {
            let at = self.slot_at(found.dir, &listing.chain, slot)?;
            self.put(at, &[FREE])?;
        }
        if Arc::make_mut(&mut listing).remove(found.slot) {
            exclusive(&mut self.listings).insert(found.dir, listing);
        }
        self.state.numbers.remove_mut(&(found.at / SLOT as u64));
        Ok(())
    }

    fn remove_file(&mut self, found: &Found) -> Result<()> {
        let chain = self.chain(self.first_cluster(&found.entry), self.shape.clusters)?;
        *exclusive(&mut self.last_chain) = None;
        self.free(chain.clusters())?;
        self.remove_entry(found)
    }

    fn remove_dir(&mut self, found: &Found) -> Result<()> {
        let dir = self.dir_of(found)?;
        let listing = self.listing(dir)?;
        if !listing.names.is_empty() {
            return Err(Error::NotEmpty);
        }
        exclusive(&mut self.listings).take(dir);
        self.free(listing.chain.clusters())?;
        self.remove_entry(found)
    }

    /// Removes what was found and all below, the deepest first.
    fn remove_all(&mut self, found: Found) -> Result<u64> {
        let mut seen = HashSet::new();
        let mut pending = vec![found];
        let mut removed = 0;
        while let Some(found) = pending.last().cloned() {
            if !found.entry.is_dir() {
                self.remove_file(&found)?;
            } else {
                let dir = self.dir_of(&found)?;
                let listing = self.listing(dir)?;
                if let Some(slot) = listing.names.keys().next_back() {
                    let inside = self.read_entry(dir, &listing, *slot)?;
                    self.check_depth(&inside, &mut seen, pending.len())?;
                    pending.push(inside);
                    continue;
                }
                drop(listing);
                self.remove_dir(&found)?;
            }
            pending.pop();
            removed += 1;
        }
        Ok(removed)
    }

    /// Fails where a directory that is gone into was met before.
    fn check_depth(&self, found: &Found, seen: &mut HashSet<u32>, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::Limit(format!("directories are nested deeper than {MAX_DEPTH}")));
        }
        if found.entry.is_dir() && !seen.insert(self.dir_of(found)?) {
            return Err(corrupt("directory", format!("the one at {:#x} has two names", found.at)));
        }
        Ok(())
    }

    /// Lets `..` of a directory that was moved stand for its new parent.
    fn set_parent(&mut self, dir: u32, parent: u32) -> Result<()> {
        let mut bytes = [0; SLOT];
        let at = self.shape.cluster_at(dir) + SLOT as u64;
        self.get(at, &mut bytes)?;
        let mut entry: DirEntry = zerocopy::transmute!(bytes);
        if entry.DIR_Name != DOTDOT {
            return Err(corrupt("directory", format!("the one at cluster {dir} has no entry for its parent")));
        }
        entry.set_cluster(parent, self.shape.is_wide());
        self.put(at, entry.as_bytes())
    }
}

const ROOT_STAYS: Error = Error::Place("the root directory stays where it is");

/// Piece `number` of a long name, counted from 1; `last` is the one that is stored first.
fn long_entry(units: &[u16], number: u32, last: bool, short: &Short) -> LongEntry {
    let mut entry = LongEntry::new_zeroed();
    entry.LDIR_Ord = number as u8 | if last { 0x40 } else { 0 };
    entry.LDIR_Attr = attr::LONG_NAME;
    entry.LDIR_Chksum = name::checksum(short);
    // The name, then one zero, then ones.
    let mut stored = units.iter().copied().skip((number as usize - 1) * UNITS).chain([0]);
    for unit in entry.units_mut() {
        unit.set(stored.next().unwrap_or(0xffff));
    }
    entry
}
