//! The master boot record and the chain of extended boot records.

use crate::raw::{ACTIVE, BOOT_SIGNATURE, PROTECTIVE, SECTOR, is_inside, read_exact_vec};
use crate::table::is_extended_type;
use crate::{DiskId, Error, Note, Partition, Scheme, Table, TypeId};
use nomount_block::ReadAt;
use std::collections::HashSet;
use std::io::Cursor;

/// Most logical partitions accepted. Linux has room for 251.
pub const MAX_LOGICAL: usize = 128;
/// Most extended boot records read: some describe no partition.
pub const MAX_EBRS: usize = 256;

/// Byte offset of the first of four entries in a boot record.
const ENTRIES_OFFSET: usize = 446;
const ENTRY_SIZE: usize = 16;
const SIGNATURE_OFFSET: usize = 510;
/// Logical partitions are numbered from here.
pub(crate) const FIRST_LOGICAL: u32 = 5;

/// One entry of a boot record, in sectors.
#[derive(Debug, Clone)]
struct Entry {
    boot: u8,
    sys: u8,
    start: u32,
    sectors: u32,
    raw: [u8; ENTRY_SIZE],
}

impl Entry {
    fn is_extended(&self) -> bool {
        is_extended_type(self.sys)
    }
}

/// A boot record: sector 0, or an extended boot record, which has the same layout.
#[derive(Debug)]
pub(crate) struct Sector {
    signature: u32,
    entries: [Entry; 4],
}

impl Sector {
    /// `None` without the signature 0x55 0xaa.
    pub fn parse(sector: &[u8]) -> Result<Option<Self>, Error> {
        Self::parse_at(sector, 0)
    }

    fn parse_at(sector: &[u8], offset: u64) -> Result<Option<Self>, Error> {
        if sector[SIGNATURE_OFFSET..SIGNATURE_OFFSET + 2] != BOOT_SIGNATURE {
            return Ok(None);
        }
        // mbrman refuses a record for one odd boot flag. Whether that matters is decided here, from the raw byte.
        let mut clean = sector.to_vec();
        for index in 0..4 {
            clean[ENTRIES_OFFSET + index * ENTRY_SIZE] &= ACTIVE;
        }
        let header = mbrman::MBRHeader::read_from(&mut Cursor::new(clean))
            .map_err(|source| Error::BootRecord { offset, source })?;
        let decoded = [&header.partition_1, &header.partition_2, &header.partition_3, &header.partition_4];
        let entries = std::array::from_fn(|index| {
            let mut raw = [0; ENTRY_SIZE];
            raw.copy_from_slice(&sector[ENTRIES_OFFSET + index * ENTRY_SIZE..][..ENTRY_SIZE]);
            let entry = decoded[index];
            Entry { boot: raw[0], sys: entry.sys, start: entry.starting_lba, sectors: entry.sectors, raw }
        });
        Ok(Some(Self { signature: u32::from_le_bytes(header.disk_signature), entries }))
    }

    /// Entries that describe something; a type alone does not, Linux looks at the length.
    fn used(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.sectors > 0)
    }

    /// Whether this is a table: every boot flag is one, and there is an entry. Linux and blkid decide by the flags
    /// too, since boot code of a filesystem has something else there.
    pub fn is_table(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.boot, 0 | ACTIVE)) && self.used().next().is_some()
    }

    /// Whether an entry announces a GPT.
    pub fn is_protective(&self) -> bool {
        self.entries.iter().any(|entry| entry.sys == PROTECTIVE)
    }

    /// Whether an entry announces a GPT where a GPT is.
    pub fn protects_sector_1(&self) -> bool {
        self.entries.iter().any(|entry| entry.sys == PROTECTIVE && entry.start == 1)
    }

    /// Whether every entry lies inside the device, behind the table, and apart from the others.
    pub fn is_plausible(&self, device_len: u64) -> bool {
        let mut ranges: Vec<_> =
            self.used().map(|e| (u64::from(e.start), u64::from(e.start) + u64::from(e.sectors))).collect();
        ranges.sort_unstable();
        ranges.iter().all(|(start, end)| *start > 0 && end * SECTOR <= device_len)
            && ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0)
    }

    /// First and last sector of each entry beside a protective one.
    pub fn beside_protective(&self) -> Vec<(u64, u64)> {
        if !self.is_protective() {
            return Vec::new();
        }
        let others = self.used().filter(|entry| entry.sys != PROTECTIVE);
        others.map(|entry| (entry.start.into(), u64::from(entry.start) + u64::from(entry.sectors) - 1)).collect()
    }

    /// Tells what is odd about an MBR that protects a GPT.
    pub fn protective_notes(&self, notes: &mut Vec<Note>) {
        let protecting = self.entries.iter().filter(|entry| entry.sys == PROTECTIVE);
        if let Some(entry) = protecting.clone().find(|_| !self.protects_sector_1()) {
            notes.push(Note::ProtectiveStart { lba: entry.start });
        }
        let others = self.beside_protective();
        if !others.is_empty() {
            notes.push(Note::HybridMbr { entries: others.len() });
        }
    }
}

/// An extended boot record on the way along the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainRecord {
    /// Its sector.
    pub lba: u64,
    /// Index and partition number of each entry that counts, whether it fits the device or not.
    pub data: Vec<(usize, u32)>,
    /// Index of the entry that leads to the next record.
    pub link: Option<usize>,
}

/// The table of an MBR that [`Sector::is_table`].
pub(crate) fn read(device: &dyn ReadAt, mbr: &Sector) -> Result<Table, Error> {
    read_chain(device, mbr).map(|(table, _)| table)
}

/// The same, with the records of the logical partitions in the order of the chain.
pub(crate) fn read_chain(device: &dyn ReadAt, mbr: &Sector) -> Result<(Table, Vec<ChainRecord>), Error> {
    let table = Table {
        scheme: Scheme::Mbr,
        sector_size: SECTOR as u32,
        disk_id: DiskId::Signature(mbr.signature),
        partitions: Vec::new(),
        notes: Vec::new(),
    };
    let mut reader = Reader {
        device,
        signature: mbr.signature,
        table,
        next: FIRST_LOGICAL,
        visited: HashSet::new(),
        chain: Vec::new(),
    };
    for (index, entry) in mbr.entries.iter().enumerate() {
        if entry.sectors == 0 {
            continue;
        }
        let number = index as u32 + 1;
        let place = Place { number, base: 0, entry_offset: entry_offset(0, index), logical: false };
        if entry.start == 0 {
            reader.table.notes.push(Note::CoversTable { number });
        }
        reader.add(entry, &place);
        if entry.is_extended() {
            reader.walk(number, entry)?;
        }
    }
    reader.table.partitions.sort_by_key(|partition| partition.number);
    reader.table.note_overlaps();
    Ok((reader.table, reader.chain))
}

fn entry_offset(record: u64, index: usize) -> u64 {
    record + (ENTRIES_OFFSET + index * ENTRY_SIZE) as u64
}

/// Where an entry was found.
struct Place {
    number: u32,
    /// Sector that its start counts from.
    base: u64,
    entry_offset: u64,
    logical: bool,
}

struct Reader<'a> {
    device: &'a dyn ReadAt,
    signature: u32,
    table: Table,
    /// Number of the next logical partition.
    next: u32,
    /// Sectors of the extended boot records seen, over all extended partitions.
    visited: HashSet<u64>,
    chain: Vec<ChainRecord>,
}

impl Reader<'_> {
    fn add(&mut self, entry: &Entry, place: &Place) {
        let number = place.number;
        // Two sums of at most three 32-bit numbers, times 512: far from overflow.
        let start = (place.base + u64::from(entry.start)) * SECTOR;
        let len = u64::from(entry.sectors) * SECTOR;
        if !is_inside(start, len, self.device.len()) {
            self.table.notes.push(Note::BeyondEnd { number, start, len });
            return;
        }
        self.table.partitions.push(Partition {
            number,
            start,
            len,
            type_id: TypeId::Mbr(entry.sys),
            name: String::new(),
            partuuid: (self.signature != 0).then(|| format!("{:08x}-{number:02x}", self.signature)),
            bootable: entry.boot == ACTIVE,
            attributes: 0,
            logical: place.logical,
            entry_offset: place.entry_offset,
            raw_entry: entry.raw.to_vec(),
        });
    }

    /// Follows the chain of one extended partition. Numbers are given as Linux gives them (block/partitions/msdos.c):
    /// to every entry with a length that is no link, in the order of the chain, so a record without one takes none.
    fn walk(&mut self, extended_number: u32, extended: &Entry) -> Result<(), Error> {
        let first = u64::from(extended.start);
        let end = first + u64::from(extended.sectors);
        let (mut this, mut this_len) = (first, u64::from(extended.sectors));
        loop {
            let offset = this * SECTOR;
            if self.visited.len() == MAX_EBRS {
                return Err(Error::TooManyEbrs { limit: MAX_EBRS });
            }
            if !self.visited.insert(this) {
                return Err(Error::EbrLoop { offset });
            }
            if !is_inside(offset, SECTOR, self.device.len()) {
                self.table.notes.push(Note::BrokenChain { offset, beyond_end: true });
                return Ok(());
            }
            let sector = read_exact_vec(self.device, offset, SECTOR)?;
            let Some(record) = Sector::parse_at(&sector, offset)? else {
                // An empty extended partition needs no record.
                if this != first {
                    self.table.notes.push(Note::BrokenChain { offset, beyond_end: false });
                }
                return Ok(());
            };
            let mut data = Vec::new();
            for (index, entry) in record.entries.iter().enumerate() {
                if entry.sectors == 0 || entry.is_extended() {
                    continue;
                }
                let (start, len) = (this + u64::from(entry.start), u64::from(entry.sectors));
                // OS/2 uses all four entries; elsewhere the last two may be garbage and count only if they fit.
                let fits = u64::from(entry.start) + len <= this_len && start + len <= end;
                if index >= 2 && !fits {
                    continue;
                }
                let number = self.next;
                if (number - FIRST_LOGICAL) as usize == MAX_LOGICAL {
                    return Err(Error::TooManyLogical { limit: MAX_LOGICAL });
                }
                self.next += 1;
                data.push((index, number));
                if start < first || start + len > end {
                    self.table.notes.push(Note::OutsideExtended { number, extended: extended_number });
                }
                let entry_offset = entry_offset(offset, index);
                self.add(entry, &Place { number, base: this, entry_offset, logical: true });
            }
            let link = record.entries.iter().position(|entry| entry.sectors > 0 && entry.is_extended());
            self.chain.push(ChainRecord { lba: this, data, link });
            let Some(link) = link else { return Ok(()) };
            let link = &record.entries[link];
            this = first + u64::from(link.start);
            this_len = u64::from(link.sectors);
        }
    }
}
