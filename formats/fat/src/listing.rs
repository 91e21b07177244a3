//! A directory as it was read: which slots are used, and by which names.

use crate::chain::Chain;
use crate::error::{Error, Result, corrupt};
use crate::fs::{Filesystem, lock};
use crate::name::{self, MAX_LONG, Short, UNITS};
use crate::raw::{DirEntry, LongEntry, attr};
use crate::shape::Root;
use nomount_block::{Budget, Held, ReadAt};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use zerocopy::FromBytes;

/// Bytes of an entry.
pub(crate) const SLOT: usize = 32;
/// The most slots of a directory, by the specification.
pub(crate) const MAX_SLOTS: u32 = 65536;
/// Names of which so many are remembered, of all directories together.
const MAX_REMEMBERED: usize = 1 << 18;
/// Memory of a slot: as it was read, whether it is used, and for one in two a name with the keys to find it by.
const SLOT_BYTES: u64 = 192;

/// Marks of the first byte of an entry.
pub(crate) const LAST: u8 = 0;
pub(crate) const FREE: u8 = 0xe5;

/// A name in a directory.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// The first of its slots; the last is its place.
    pub first: u32,
    pub name: Vec<u8>,
    pub short: Short,
}

/// A directory.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    /// Its clusters; none for the root of FAT12 and FAT16.
    pub chain: Chain,
    /// Whether each slot is used.
    used: Vec<bool>,
    /// From this slot on all are free, whatever they hold.
    pub end: u32,
    /// No slot before this one is free.
    free_from: u32,
    /// By the slot of the short entry.
    pub names: BTreeMap<u32, Named>,
    by_key: HashMap<Vec<u8>, u32>,
    by_short: HashMap<Short, u32>,
    /// Slot of the volume's label.
    pub label: Option<u32>,
    /// Two have the same name, so that one is hidden behind the other.
    ambiguous: bool,
}

impl Listing {
    fn parse(bytes: &[u8], chain: Chain) -> Self {
        let slots = (bytes.len() / SLOT) as u32;
        let mut listing = Self {
            chain,
            used: vec![false; slots as usize],
            end: slots,
            free_from: 0,
            names: BTreeMap::new(),
            by_key: HashMap::new(),
            by_short: HashMap::new(),
            label: None,
            ambiguous: false,
        };
        let mut long = Long::default();
        for (slot, entry) in (0..).zip(bytes.chunks_exact(SLOT)) {
            match entry[0] {
                LAST => {
                    listing.end = slot;
                    break;
                }
                FREE => {
                    long = Long::default();
                    continue;
                }
                _ => listing.used[slot as usize] = true,
            }
            let short = DirEntry::read_from_bytes(entry).expect("32 bytes");
            if short.DIR_Attr & attr::LONG_NAME_MASK == attr::LONG_NAME {
                long.add(slot, &LongEntry::read_from_bytes(entry).expect("32 bytes"));
                continue;
            }
            let long = std::mem::take(&mut long);
            if short.DIR_Attr & attr::VOLUME_ID != 0 {
                listing.label.get_or_insert(slot);
            } else if short.DIR_Name != name::DOT && short.DIR_Name != name::DOTDOT {
                let stored = short.DIR_Name;
                let (first, units) = long.of(&stored).unwrap_or((slot, Vec::new()));
                let shown = name::show_long(&units).unwrap_or_else(|| name::show_short(&stored, short.DIR_NTRes));
                listing.add(slot, Named { first, name: shown, short: stored });
            }
        }
        listing
    }

    fn add(&mut self, slot: u32, named: Named) {
        let first = *self.by_key.entry(name::key(&named.name)).or_insert(slot);
        self.ambiguous |= first != slot || *self.by_short.entry(named.short).or_insert(slot) != slot;
        self.names.insert(slot, named);
    }

    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        self.used.len() as u32
    }

    /// The place of a name: of its long form, or of its short one.
    pub fn find(&self, name: &[u8]) -> Option<u32> {
        let long = self.by_key.get(&name::key(name));
        long.or_else(|| self.by_short.get(&name::as_short(name)?)).copied()
    }

    pub fn is_taken(&self, short: &Short) -> bool {
        self.by_short.contains_key(short)
    }

    /// The first of `count` free slots in a row, if there are so many.
    pub fn room(&self, count: u32) -> Option<u32> {
        let mut run = 0;
        for slot in self.free_from..self.slots() {
            run = if self.used[slot as usize] { 0 } else { run + 1 };
            if run == count {
                return Some(slot + 1 - count);
            }
        }
        None
    }

    /// Slots that are free at the end.
    pub fn free_at_end(&self) -> u32 {
        self.used.iter().rev().take_while(|used| !**used).count() as u32
    }

    /// A cluster was added.
    pub fn grow(&mut self, cluster: u32, slots: u32) {
        self.chain.push(cluster);
        self.used.resize(self.used.len() + slots as usize, false);
    }

    pub fn insert(&mut self, slot: u32, named: Named) {
        self.used[named.first as usize..=slot as usize].fill(true);
        while self.used.get(self.free_from as usize).is_some_and(|used| *used) {
            self.free_from += 1;
        }
        self.end = self.end.max(slot + 1);
        self.add(slot, named);
    }

    /// Forgets a name; false where it may have hidden another, and the directory must be read again.
    #[must_use]
    pub fn remove(&mut self, slot: u32) -> bool {
        let Some(named) = self.names.remove(&slot) else { return false };
        self.used[named.first as usize..=slot as usize].fill(false);
        self.free_from = self.free_from.min(named.first);
        self.by_key.remove(&name::key(&named.name));
        self.by_short.remove(&named.short);
        !self.ambiguous
    }
}

/// A long name that is being put together: the last piece comes first.
#[derive(Debug, Default)]
struct Long {
    first: u32,
    /// Number of the piece that was read last; 0 where there is none.
    number: u8,
    checksum: u8,
    /// Pieces, in the order in which they came.
    pieces: Vec<[u16; UNITS]>,
}

impl Long {
    fn add(&mut self, slot: u32, entry: &LongEntry) {
        let number = entry.LDIR_Ord & 0x3f;
        let starts = entry.LDIR_Ord & 0x40 != 0 && (1..=MAX_LONG).contains(&number.into());
        let follows = self.number > 1 && number == self.number - 1 && entry.LDIR_Chksum == self.checksum;
        if starts {
            *self = Self { first: slot, checksum: entry.LDIR_Chksum, ..Self::default() };
        } else if !follows || entry.LDIR_Ord & 0xc0 != 0 {
            *self = Self::default();
            return;
        }
        self.number = number;
        let mut piece = [0; UNITS];
        piece.iter_mut().zip(entry.units()).for_each(|(unit, stored)| *unit = stored);
        self.pieces.push(piece);
    }

    /// The first slot and the units of the name, if it is whole and belongs to the short name behind it.
    fn of(self, short: &Short) -> Option<(u32, Vec<u16>)> {
        if self.number != 1 || self.checksum != name::checksum(short) {
            return None;
        }
        let mut units = self.pieces.iter().rev().flatten().copied().collect::<Vec<_>>();
        if let Some(end) = units.iter().position(|unit| *unit == 0) {
            units.truncate(end);
        }
        Some((self.first, units))
    }
}

/// Directories that were read, by their first cluster, 0 for the root.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    all: HashMap<u32, Arc<Listing>>,
    names: usize,
    held: Option<Held>,
}

impl Listings {
    pub fn get(&self, dir: u32) -> Option<Arc<Listing>> {
        self.all.get(&dir).map(Arc::clone)
    }

    /// Remembers one whose memory is not in what they take yet.
    pub fn insert(&mut self, dir: u32, listing: Arc<Listing>) {
        if self.names > MAX_REMEMBERED {
            *self = Self::default();
        }
        self.names += listing.slots() as usize;
        self.all.insert(dir, listing);
    }

    /// Takes memory for one of `slots`; forgets the others where it would not be enough.
    fn charge(&mut self, budget: &Budget, slots: u32) -> Result<()> {
        let held = self.held.get_or_insert_with(|| budget.hold("directories of the FAT filesystem"));
        let bytes = |names: usize| (names as u64 + u64::from(slots)) * SLOT_BYTES;
        if held.set(bytes(self.names)).is_err() {
            *self = Self { held: self.held.take(), ..Self::default() };
            self.held.as_mut().expect("it was just put back").set(bytes(0))?;
        }
        Ok(())
    }

    /// Takes one out, to be changed.
    pub fn take(&mut self, dir: u32) -> Option<Arc<Listing>> {
        let listing = self.all.remove(&dir)?;
        self.names = self.names.saturating_sub(listing.slots() as usize);
        Some(listing)
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// The directory that begins at cluster `dir`, 0 for the root.
    pub(crate) fn listing(&self, dir: u32) -> Result<Arc<Listing>> {
        if let Some(listing) = lock(&self.listings).get(dir) {
            return Ok(listing);
        }
        let (chain, slots) = match (dir, self.shape.root) {
            (0, Root::Fixed { entries, .. }) => (Chain::default(), entries),
            (0, Root::Chain(first)) | (first, _) => {
                let per_cluster = self.slots_per_cluster();
                let chain = self.chain(first, MAX_SLOTS.div_ceil(per_cluster))?;
                let slots = chain.len() * per_cluster;
                (chain, slots)
            }
        };
        lock(&self.listings).charge(&self.budget, slots)?;
        let mut bytes = vec![0; slots as usize * SLOT];
        for (number, chunk) in (0..).zip(bytes.chunks_mut(self.shape.cluster as usize)) {
            let at = match self.shape.root {
                Root::Fixed { at, .. } if dir == 0 => at + u64::from(number * self.shape.cluster),
                _ => {
                    let (cluster, _) = chain.at(number).expect("as many chunks as clusters");
                    self.shape.cluster_at(cluster)
                }
            };
            self.get(at, chunk)?;
        }
        let listing = Arc::new(Listing::parse(&bytes, chain));
        lock(&self.listings).insert(dir, Arc::clone(&listing));
        Ok(listing)
    }

    pub(crate) fn slots_per_cluster(&self) -> u32 {
        self.shape.cluster / SLOT as u32
    }

    /// Where a slot is on the device.
    pub(crate) fn slot_at(&self, dir: u32, chain: &Chain, slot: u32) -> Result<u64> {
        if let (0, Root::Fixed { at, .. }) = (dir, self.shape.root) {
            return Ok(at + u64::from(slot) * SLOT as u64);
        }
        let (cluster, _) = chain
            .at(slot / self.slots_per_cluster())
            .ok_or_else(|| corrupt("directory", format!("it has no slot {slot}")))?;
        Ok(self.shape.cluster_at(cluster) + u64::from(slot % self.slots_per_cluster()) * SLOT as u64)
    }

    /// The most slots that a directory can have.
    pub(crate) fn most_slots(&self, dir: u32) -> u32 {
        match self.shape.root {
            Root::Fixed { entries, .. } if dir == 0 => entries,
            _ => MAX_SLOTS,
        }
    }

    pub(crate) fn full(&self, dir: u32) -> Error {
        Error::DirectoryFull { slots: self.most_slots(dir) }
    }
}
