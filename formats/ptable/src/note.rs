//! What is odd about a table that can be read all the same.

use crate::Damage;
use std::fmt;

/// Something a user may want to know. Prints as one sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The primary GPT is damaged and the backup was read instead.
    BackupUsed {
        /// What is wrong with the primary.
        primary: Damage,
        /// Byte offset of the backup header that was read.
        backup: u64,
    },
    /// The backup GPT is damaged; the primary was read.
    BackupDamaged(Damage),
    /// The backup is good and says something else than the primary, which was read.
    BackupDiffers {
        /// Byte offset of the backup header.
        backup: u64,
    },
    /// The backup header is not in the last sector: the device was grown, or cut.
    BackupNotAtEnd {
        /// Byte offset where the primary says the backup is.
        backup: u64,
        /// Byte offset of the last sector.
        last: u64,
    },
    /// No MBR entry of type 0xee protects the GPT: Linux will not look at it.
    NoProtectiveMbr,
    /// The protecting MBR entry begins at another sector than 1: Linux will not look at the GPT.
    ProtectiveStart {
        /// The sector where the entry says it begins.
        lba: u32,
    },
    /// The MBR has entries beside the protecting one; the GPT was read.
    HybridMbr {
        /// How many.
        entries: usize,
    },
    /// A good GPT is not announced by the MBR, which has partitions of its own; the MBR was read, as Linux does.
    GptIgnored,
    /// A partition reaches beyond the end of the device and was left out.
    BeyondEnd {
        /// Its number.
        number: u32,
        /// First byte; saturates.
        start: u64,
        /// Length in bytes; saturates.
        len: u64,
    },
    /// A partition ends before it begins and was left out.
    Reversed {
        /// Its number.
        number: u32,
        /// First sector.
        first_lba: u64,
        /// Last sector.
        last_lba: u64,
    },
    /// A GPT partition reaches out of the area that the header sets aside for partitions.
    OutsideUsable {
        /// Its number.
        number: u32,
    },
    /// A partition covers sector 0, and so the table itself.
    CoversTable {
        /// Its number.
        number: u32,
    },
    /// A logical partition reaches out of its extended partition.
    OutsideExtended {
        /// Its number.
        number: u32,
        /// Number of the extended partition.
        extended: u32,
    },
    /// Two partitions share bytes.
    Overlap {
        /// The one that begins first.
        first: u32,
        /// The other.
        second: u32,
    },
    /// The chain of logical partitions ends at a record that is none; what follows in the chain is lost.
    BrokenChain {
        /// Byte offset where an extended boot record was expected; saturates.
        offset: u64,
        /// Whether that lies beyond the end of the device.
        beyond_end: bool,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackupUsed { primary, backup } => {
                write!(f, "primary GPT is damaged ({primary}); the backup at byte {backup} was used")
            }
            Self::BackupDamaged(damage) => write!(f, "backup GPT is damaged ({damage})"),
            Self::BackupDiffers { backup } => {
                write!(f, "backup GPT at byte {backup} differs from the primary, which was used")
            }
            Self::BackupNotAtEnd { backup, last } => {
                write!(f, "backup GPT is expected at byte {backup}, but the device's last sector is at byte {last}")
            }
            Self::NoProtectiveMbr => f.write_str("no protective MBR: Linux will not use this GPT"),
            Self::ProtectiveStart { lba } => {
                write!(f, "protective MBR entry begins at sector {lba} instead of 1: Linux will not use this GPT")
            }
            Self::HybridMbr { entries } => {
                write!(f, "MBR has {entries} more entries beside the protective one; the GPT was used")
            }
            Self::GptIgnored => f.write_str("a GPT without a protective MBR was ignored; the MBR was used"),
            Self::BeyondEnd { number, start, len } => {
                write!(
                    f,
                    "partition {number} ({len} bytes at byte {start}) reaches beyond the end of the device; left out"
                )
            }
            Self::Reversed { number, first_lba, last_lba } => {
                write!(f, "partition {number} begins at sector {first_lba} and ends at {last_lba}; left out")
            }
            Self::OutsideUsable { number } => {
                write!(f, "partition {number} reaches out of the area for partitions")
            }
            Self::CoversTable { number } => write!(f, "partition {number} covers the partition table"),
            Self::OutsideExtended { number, extended } => {
                write!(f, "logical partition {number} reaches out of extended partition {extended}")
            }
            Self::Overlap { first, second } => write!(f, "partitions {first} and {second} overlap"),
            Self::BrokenChain { offset, beyond_end: false } => {
                write!(f, "chain of logical partitions is broken: no extended boot record at byte {offset}")
            }
            Self::BrokenChain { offset, beyond_end: true } => {
                write!(f, "chain of logical partitions is broken: byte {offset} is beyond the end of the device")
            }
        }
    }
}
