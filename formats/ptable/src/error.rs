//! Why a table cannot be read.

use crate::{Filesystem, Scheme};
use std::fmt;

/// A device whose partition table cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device failed.
    #[error("partition table cannot be read from the device")]
    Device(#[from] nomount_block::Error),
    /// The MBR announces a GPT and neither copy is good.
    #[error("GPT is damaged: primary {primary}; backup {backup}")]
    GptDamaged {
        /// What is wrong with the primary header or its entries.
        primary: Damage,
        /// What is wrong with the backup.
        backup: Damage,
    },
    /// Two good GPTs, one for each sector size.
    #[error("device has one GPT for sectors of 512 bytes and another for 4096, and nothing says which one counts")]
    TwoGpts,
    /// A filesystem on the whole device and a sound table: one of them is stale.
    #[error("device begins with {filesystem} and also has a sound {table} partition table; one of them is stale")]
    Ambiguous {
        /// What the filesystem is.
        filesystem: Filesystem,
        /// What the table is.
        table: Scheme,
    },
    /// The chain of extended boot records comes back to one of its members.
    #[error("logical partitions loop: the extended boot record at byte {offset} is reached twice")]
    EbrLoop {
        /// Byte offset of the record.
        offset: u64,
    },
    /// More logical partitions than are accepted.
    #[error("more than {limit} logical partitions")]
    TooManyLogical {
        /// How many are accepted.
        limit: usize,
    },
    /// More extended boot records than are accepted.
    #[error("more than {limit} extended boot records")]
    TooManyEbrs {
        /// How many are accepted.
        limit: usize,
    },
    /// A GPT entry passed every check and still does not decode.
    #[error("GPT entry at byte {offset} does not decode")]
    GptEntry {
        /// Byte offset of the entry.
        offset: u64,
        /// What gptman says.
        source: gptman::Error,
    },
    /// A boot record passed every check and still does not decode.
    #[error("boot record at byte {offset} does not decode")]
    BootRecord {
        /// Byte offset of the record.
        offset: u64,
        /// What mbrman says.
        source: mbrman::Error,
    },
}

/// What is wrong with one copy of a GPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Byte offset of the header.
    pub offset: u64,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// The first check that a copy of a GPT fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// The sector lies beyond the end of the device.
    BeyondEnd {
        /// Length of the device in bytes.
        device_len: u64,
    },
    /// The sector does not begin with `EFI PART`.
    NoSignature,
    /// A field holds what it must not.
    Field {
        /// Name of the field in the UEFI specification.
        name: &'static str,
        /// What it holds.
        found: u64,
        /// What it may hold.
        wanted: String,
    },
    /// The header's checksum is wrong.
    HeaderCrc {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// The checksum of the entries is wrong.
    EntriesCrc {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "header at byte {}: ", self.offset)?;
        match &self.kind {
            DamageKind::BeyondEnd { device_len } => write!(f, "beyond the end of the device of {device_len} bytes"),
            DamageKind::NoSignature => f.write_str("no signature"),
            DamageKind::Field { name, found, wanted } => write!(f, "{name} is {found}, wanted {wanted}"),
            DamageKind::HeaderCrc { stored, computed } => {
                write!(f, "checksum is {computed:#010x}, the header says {stored:#010x}")
            }
            DamageKind::EntriesCrc { stored, computed } => {
                write!(f, "checksum of the entries is {computed:#010x}, the header says {stored:#010x}")
            }
        }
    }
}
