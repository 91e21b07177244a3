//! Why an edit is refused.

use crate::{Error, Guid, Scheme, TypeId};

/// An edit that was refused. Nothing was changed, in memory or on the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The table that is there cannot be read.
    #[error(transparent)]
    Read(#[from] Error),
    /// The device failed.
    #[error("partition table cannot be read or written")]
    Device(#[from] nomount_block::Error),
    /// No partition has that number.
    #[error("partition {number} not found; there is: {}", list(.there))]
    NotFound {
        /// The number asked for.
        number: u32,
        /// The numbers in use.
        there: Vec<u32>,
    },
    /// The number is in use.
    #[error("partition {number} is there already")]
    NumberTaken {
        /// The number.
        number: u32,
    },
    /// No partition of this table can have that number.
    #[error("partition number {number}: {wanted}")]
    BadNumber {
        /// The number.
        number: u32,
        /// What is possible.
        wanted: String,
    },
    /// Every number is in use.
    #[error("all {limit} partition numbers are in use")]
    NoFreeNumber {
        /// How many there are.
        limit: u32,
    },
    /// The place is taken.
    #[error("bytes {start} to {end} overlap {}", owner(.other))]
    Overlap {
        /// First byte asked for.
        start: u64,
        /// First byte behind it.
        end: u64,
        /// The partition that is there; none where it is the table itself.
        other: Option<u32>,
    },
    /// The place lies outside the area for partitions.
    #[error("bytes {start} to {end} reach out of {first} to {last}, where partitions may be")]
    Outside {
        /// First byte asked for.
        start: u64,
        /// First byte behind it.
        end: u64,
        /// First byte that may be used.
        first: u64,
        /// First byte behind the area.
        last: u64,
    },
    /// No free stretch is long enough. Starts are aligned to 1 MiB unless given.
    #[error("no free space of {wanted} bytes at a multiple of 1 MiB; the largest has {largest}")]
    NoSpace {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes of the largest free stretch.
        largest: u64,
    },
    /// A start or length is no multiple of the sector size.
    #[error("{what} {value} is no multiple of the sector size {sector_size}")]
    Misaligned {
        /// Start or length.
        what: &'static str,
        /// Its value.
        value: u64,
        /// Bytes of a sector.
        sector_size: u64,
    },
    /// A partition of no length.
    #[error("a partition of 0 bytes")]
    Empty,
    /// An MBR cannot say so.
    #[error("partition would end at byte {end}: an MBR counts sectors in 32 bits and ends at byte {limit}")]
    Beyond32Bits {
        /// First byte behind the partition.
        end: u64,
        /// The furthest possible.
        limit: u64,
    },
    /// This kind of table has no such thing.
    #[error("{scheme} has no {what}")]
    Unfit {
        /// The kind of table.
        scheme: Scheme,
        /// What it has not.
        what: &'static str,
    },
    /// The type cannot be given to this partition.
    #[error("partition type {type_id}: {reason}")]
    BadType {
        /// The type.
        type_id: TypeId,
        /// Why not.
        reason: &'static str,
    },
    /// The GUID is another partition's, or zero.
    #[error("partition GUID {guid} is {}", guid_reason(.number))]
    BadGuid {
        /// The GUID.
        guid: Guid,
        /// Whose it is; none when it is zero.
        number: Option<u32>,
    },
    /// A GPT cannot hold the name.
    #[error("partition name {name:?}: {reason}")]
    BadName {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// An extended partition that is not empty.
    #[error("extended partition {number} holds {}", list(.logical))]
    HoldsLogical {
        /// Its number.
        number: u32,
        /// The numbers of the logical partitions in it.
        logical: Vec<u32>,
    },
    /// A logical partition without an extended one.
    #[error("there is no extended partition for a logical one")]
    NoExtended,
    /// Tables with several extended partitions are read and not edited.
    #[error("partition {number} is a second extended partition")]
    SecondExtended {
        /// Its number.
        number: u32,
    },
    /// What follows in the chain would be lost for good.
    #[error("the chain of logical partitions is broken; logical partitions are not edited")]
    BrokenChain,
    /// The MBR beside the GPT describes the same place.
    #[error("partition {number} is also described by the hybrid MBR, which would then be wrong")]
    Hybrid {
        /// Its number.
        number: u32,
    },
    /// Sector 0 holds something that a protective MBR would destroy.
    #[error("GPT has no protective MBR, and sector 0 holds something else in its place")]
    Sector0,
    /// The device has no room for the table.
    #[error("a device of {len} bytes is too short for this table, which needs {needed}")]
    DeviceTooShort {
        /// Length of the device in bytes.
        len: u64,
        /// The shortest possible.
        needed: u64,
    },
    /// A partition reaches where it cannot.
    #[error("partition {number} ends at byte {end}; on a device of {len} bytes it may reach byte {limit}")]
    DoesNotFit {
        /// Its number.
        number: u32,
        /// First byte behind it.
        end: u64,
        /// Length of the device.
        len: u64,
        /// First byte behind the area for partitions.
        limit: u64,
    },
    /// The primary entries lie over the header or the backup.
    #[error("the primary GPT's entries at sector {lba} lie over another part of the table")]
    EntriesMisplaced {
        /// `PartitionEntryLBA`.
        lba: u64,
    },
    /// A sector size that the table cannot have.
    #[error("sectors of {size} bytes: {wanted}")]
    SectorSize {
        /// The size asked for.
        size: u32,
        /// What is possible.
        wanted: &'static str,
    },
}

fn list(numbers: &[u32]) -> String {
    if numbers.is_empty() {
        return "no partition".to_owned();
    }
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    format!("partition {}", numbers.join(", "))
}

fn owner(other: &Option<u32>) -> String {
    match other {
        Some(number) => format!("partition {number}"),
        None => "the partition table itself".to_owned(),
    }
}

fn guid_reason(number: &Option<u32>) -> String {
    match number {
        Some(number) => format!("that of partition {number}"),
        None => "the one of unused entries".to_owned(),
    }
}
