//! Partition tables: GPT (UEFI specification 2.10, chapter 5) and MBR with logical partitions.
//!
//! [`read`] answers with a [`Table`] whose partitions are byte ranges inside the device, numbered as Linux numbers
//! them; with `None` when the device has no table; and with an error when it claims one that cannot be trusted.
//! What is odd but harmless is told in [`Table::notes`]. An [`Editor`] changes a table, and writes it so that a crash
//! leaves the old one or the new.
//!
//! # How the libraries are used
//!
//! `gptman` and `mbrman` decode one structure at a time from bytes that were checked first; neither is given the
//! device. Measured with the whole-table readers of gptman 3.1.1 and mbrman 0.6.1: gptman allocates for whatever
//! number of entries the header names (652 GB in one mutant), asserts that an entry is 128 bytes, and multiplies
//! LBAs unchecked; mbrman adds LBAs unchecked, gives an EBR without data a partition number, which shifts the
//! numbers of all later logical partitions away from those of Linux, ends a chain that loops without saying so, and
//! knows two entries of an EBR where Linux knows four. So bounds, checksums and the walk along the EBRs are ours.
//! Writing is, too: an entry is changed in place, byte by byte, and cannot lose what nobody decoded.
#![forbid(unsafe_code)]

mod edit;
mod error;
mod filesystem;
mod gpt;
mod mbr;
mod note;
mod raw;
mod table;
mod types;

pub use edit::{ALIGNMENT, Deleted, EditError, Editor, NewPartition};
pub use error::{Damage, DamageKind, Error};
pub use filesystem::Filesystem;
pub use gpt::MAX_ENTRIES;
pub use mbr::{MAX_EBRS, MAX_LOGICAL};
pub use note::Note;
pub use table::{DiskId, Guid, Partition, Scheme, Table, TypeId};
pub use types::{NoGuid, UnknownType};

use nomount_block::ReadAt;
use raw::{SECTOR, read_exact_vec};

/// Reads the partition table of `device`; `None` when it has none.
///
/// A GPT counts when the MBR protects it (an entry of type 0xee) or when nothing else claims the device. An MBR
/// counts when its signature is there, all four boot flags are 0x00 or 0x80, at least one entry has a length, and
/// the sector is no boot sector of a filesystem.
///
/// # Errors
///
/// A protected GPT whose two copies are both damaged; logical partitions that loop or exceed [`MAX_LOGICAL`]; a
/// device that can be read both as a table and as a filesystem, or as two tables; a failure of the device.
pub fn read(device: &dyn ReadAt) -> Result<Option<Table>, Error> {
    find(device).map(|found| found.map(|(table, _)| table))
}

/// Where a table was read from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The copy of the GPT that is trusted.
    Gpt(gpt::Copy),
    /// Sector 0 and the chains that begin there.
    Mbr,
}

/// The table of `device` and where it is.
pub(crate) fn find(device: &dyn ReadAt) -> Result<Option<(Table, Source)>, Error> {
    if device.len() < SECTOR {
        return Ok(None);
    }
    let sector = read_exact_vec(device, 0, SECTOR)?;
    let mbr = mbr::Sector::parse(&sector)?;
    let filesystem = filesystem::detect(device, &sector)?;
    let protective = mbr.as_ref().is_some_and(mbr::Sector::is_protective);
    // Boot code of a filesystem may hold 0xee where a type would be; a real protective entry begins at sector 1.
    let stray = filesystem.is_some() && !mbr.as_ref().is_some_and(mbr::Sector::protects_sector_1);

    match gpt::find(device, protective && !stray)? {
        gpt::Found::Table(found) if protective => {
            let (mut table, copy) = *found;
            if let Some(mbr) = &mbr {
                mbr.protective_notes(&mut table.notes);
            }
            return Ok(Some((table, Source::Gpt(copy))));
        }
        gpt::Found::Table(found) => {
            let (mut table, copy) = *found;
            if let Some(mbr) = mbr.filter(mbr::Sector::is_table) {
                let mut other = match filesystem {
                    Some(filesystem) => return Err(Error::Ambiguous { filesystem, table: Scheme::Mbr }),
                    None => mbr::read(device, &mbr)?,
                };
                other.notes.push(Note::GptIgnored);
                return Ok(Some((other, Source::Mbr)));
            }
            if let Some(filesystem) = filesystem {
                return Err(Error::Ambiguous { filesystem, table: Scheme::Gpt });
            }
            table.notes.push(Note::NoProtectiveMbr);
            return Ok(Some((table, Source::Gpt(copy))));
        }
        gpt::Found::Damaged { primary, backup } if protective && !stray => {
            return Err(Error::GptDamaged { primary, backup });
        }
        gpt::Found::Damaged { .. } | gpt::Found::Nothing => {}
    }

    let Some(mbr) = mbr.filter(mbr::Sector::is_table) else { return Ok(None) };
    match filesystem {
        Some(filesystem) if mbr.is_plausible(device.len()) => Err(Error::Ambiguous { filesystem, table: Scheme::Mbr }),
        Some(_) => Ok(None),
        None => Ok(Some((mbr::read(device, &mbr)?, Source::Mbr))),
    }
}
