//! What a table says.

use crate::Note;
use byteorder::{ByteOrder, LittleEndian};
use std::fmt;

/// The kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// GUID partition table.
    Gpt,
    /// Master boot record, with logical partitions in extended boot records.
    Mbr,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gpt => "GPT",
            Self::Mbr => "MBR",
        })
    }
}

/// A GUID in the byte order of the disk: the first three groups little-endian. Prints in lower case, as blkid does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guid(pub [u8; 16]);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = &self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            LittleEndian::read_u32(&bytes[..4]),
            LittleEndian::read_u16(&bytes[4..6]),
            LittleEndian::read_u16(&bytes[6..8]),
            byteorder::BigEndian::read_u16(&bytes[8..10]),
            byteorder::BigEndian::read_uint(&bytes[10..], 6),
        )
    }
}

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TypeId {
    /// Partition type GUID of a GPT entry.
    Gpt(Guid),
    /// System byte of an MBR entry.
    Mbr(u8),
}

impl fmt::Display for TypeId {
    /// As sfdisk, but GUIDs in lower case: `83`, `0fc63daf-8483-4772-8e79-3d69d8477de4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpt(guid) => guid.fmt(f),
            Self::Mbr(byte) => write!(f, "{byte:x}"),
        }
    }
}

/// The identity of a whole disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskId {
    /// Disk GUID of a GPT.
    Guid(Guid),
    /// NT disk signature of an MBR; 0 where none was given.
    Signature(u32),
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guid(guid) => guid.fmt(f),
            Self::Signature(signature) => write!(f, "{signature:08x}"),
        }
    }
}

/// One partition, wholly inside the device and at least one sector long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// As Linux numbers it: the GPT slot counted from 1; 1 to 4 for the MBR's own entries, from 5 for logical ones.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// What it is for.
    pub type_id: TypeId,
    /// Name of a GPT partition up to the first NUL, what is no UTF-16 replaced; empty on an MBR.
    pub name: String,
    /// Its identity as blkid prints it: a GPT entry's unique GUID, or disk signature and number of an MBR partition.
    /// `None` on an MBR without a disk signature.
    pub partuuid: Option<String>,
    /// The MBR's active flag, or the GPT attribute "legacy BIOS bootable".
    pub bootable: bool,
    /// Attribute bits of a GPT entry; 0 on an MBR.
    pub attributes: u64,
    /// Whether an extended boot record describes it.
    pub logical: bool,
    /// Byte offset of the entry that describes it, in the copy of the table that was read.
    pub entry_offset: u64,
    /// That entry as it is on disk: 128 bytes of a GPT, 16 of an MBR.
    pub raw_entry: Vec<u8>,
}

impl Partition {
    /// Whether it is an extended partition: it holds logical ones and nothing else.
    pub fn is_extended(&self) -> bool {
        matches!(self.type_id, TypeId::Mbr(id) if is_extended_type(id))
    }

    /// First byte behind it.
    pub fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// The three types that Linux takes for an extended partition.
pub(crate) fn is_extended_type(id: u8) -> bool {
    matches!(id, 0x05 | 0x0f | 0x85)
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its kind.
    pub scheme: Scheme,
    /// Bytes per LBA: 512 or 4096 for a GPT. An MBR does not say and is read with 512.
    pub sector_size: u32,
    /// Identity of the disk.
    pub disk_id: DiskId,
    /// The partitions inside the device, in the order of their numbers.
    pub partitions: Vec<Partition>,
    /// What is odd, in the order it was found.
    pub notes: Vec<Note>,
}

impl Table {
    /// The partition of that number.
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.number == number)
    }

    /// Adds a note for each partition that begins inside an earlier one. An extended partition holds its logical
    /// ones, so it is compared with the others but not with those.
    pub(crate) fn note_overlaps(&mut self) {
        let mut found = overlaps(self.partitions.iter().filter(|p| !p.logical));
        found.extend(overlaps(self.partitions.iter().filter(|p| !p.is_extended())));
        found.sort_unstable();
        found.dedup();
        self.notes.extend(found.into_iter().map(|(first, second)| Note::Overlap { first, second }));
    }
}

/// Pairs of numbers: each partition that begins before the furthest end so far, with the one that reaches there.
fn overlaps<'a>(partitions: impl Iterator<Item = &'a Partition>) -> Vec<(u32, u32)> {
    let mut sorted: Vec<_> = partitions.collect();
    sorted.sort_by_key(|partition| (partition.start, partition.number));
    let mut found = Vec::new();
    let mut furthest: Option<&Partition> = None;
    for partition in sorted {
        if let Some(before) = furthest.filter(|before| partition.start < before.end()) {
            found.push((before.number, partition.number));
        }
        if furthest.is_none_or(|before| partition.end() > before.end()) {
            furthest = Some(partition);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_prints_as_blkid_prints_it() {
        let raw = [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4];
        assert_eq!(Guid(raw).to_string(), "0fc63daf-8483-4772-8e79-3d69d8477de4");
    }
}
