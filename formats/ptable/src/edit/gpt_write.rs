//! Writing a GPT so that a crash leaves a table.

use super::gpt::{Ends, Found, GptEdit};
use super::mbr::chs_or;
use super::{EditError, keep_boot_code, put};
use crate::gpt::Copy;
use crate::raw::{BOOT_CODE, BOOT_SIGNATURE, BootRecord, HEADER_CRC_OFFSET, MbrEntry, PROTECTIVE, SECTOR, is_inside};
use crate::raw::{GptHeader, read_exact_vec};
use nomount_block::WriteAt;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// CHS of what lies beyond the geometry in a protective entry, UEFI 2.10 table 5.4.
const CHS_BEYOND: [u8; 3] = [0xff; 3];
/// CHS of sector 1.
const CHS_SECTOR_1: [u8; 3] = [0, 2, 0];

impl GptEdit {
    /// Writes the table.
    ///
    /// # Order
    ///
    /// A reader takes the primary if it is good, else the backup in the last sector, else the one where the damaged
    /// primary points. A sector is written whole or not at all, and a header's checksummed bytes lie in one. Old
    /// backup: X; new backup: Y.
    ///
    /// 1. If the primary is damaged, it is made good again from X, with X's contents: entries, barrier, header. Until
    ///    the header is there it is as damaged as before and X is read; after it the primary is. All old.
    /// 2. Y. Where it covers X, X is lost, but the primary is good. Old.
    /// 3. The primary's header, barrier, its entries. While header and entries do not match, the backup counts: the
    ///    one in the last sector, which is Y, or X whole if the device is about to be cut; else Y, where the header
    ///    now points. Before the header the primary is the old one. Old or new, and new once the entries are there.
    /// 4. X, where Y does not cover it. Nothing reads it any more: new.
    ///
    /// Sector 0 goes with 3: a protective entry of any length makes the same reader.
    pub fn write(&self, device: &mut dyn WriteAt) -> Result<(), EditError> {
        let ends = self.check_fit()?;
        if device.len() < self.device_len {
            return Err(EditError::DeviceTooShort { len: device.len(), needed: self.device_len });
        }
        let Some(found) = &self.found else { return self.write_new(device, ends) };
        let sector0 = protective(&found.sector0, ends.last)?;
        if found.base.offset != self.copy.offset {
            self.restore_primary(device, found)?;
        }
        self.write_backup(device, ends)?;
        put(device, 0, &sector0)?;
        self.write_primary(device, ends)?;
        self.clear_old_backup(device, found, ends)
    }

    /// A new table. Sector 0 comes last: until then an MBR that was there is still read, and with it a GPT only as far
    /// as the order above has come. What else was there is overwritten.
    fn write_new(&self, device: &mut dyn WriteAt, ends: Ends) -> Result<(), EditError> {
        let mut sector0 = keep_boot_code(device)?;
        sector0.resize(SECTOR as usize, 0);
        // A disk signature would be an MBR's.
        sector0[BOOT_CODE..].fill(0);
        let mut sector0 = protective(&sector0, ends.last)?;
        // With sectors of 4096 bytes this clears what another table has behind the first 512.
        sector0.resize(self.sector() as usize, 0);
        self.write_backup(device, ends)?;
        self.write_primary(device, ends)?;
        put(device, 0, &sector0)?;
        device.barrier()?;
        Ok(())
    }

    fn restore_primary(&self, device: &mut dyn WriteAt, found: &Found) -> Result<(), EditError> {
        let mut old = found.base.clone();
        old.header.my_lba = 1.into();
        old.header.alternate_lba = (found.base.offset / self.sector()).into();
        old.header.partition_entry_lba = self.primary_entries().into();
        put(device, self.primary_entries() * self.sector(), &old.entries)?;
        device.barrier()?;
        put(device, self.sector(), &header_sector(&old))?;
        device.barrier()?;
        Ok(())
    }

    fn write_backup(&self, device: &mut dyn WriteAt, ends: Ends) -> Result<(), EditError> {
        let mut copy = self.copy.clone();
        copy.header.my_lba = ends.last.into();
        copy.header.alternate_lba = 1.into();
        copy.header.last_usable_lba = ends.last_usable.into();
        copy.header.partition_entry_lba = ends.backup_entries.into();
        put(device, ends.backup_entries * self.sector(), &copy.entries)?;
        put(device, ends.last * self.sector(), &header_sector(&copy))?;
        device.barrier()?;
        Ok(())
    }

    fn write_primary(&self, device: &mut dyn WriteAt, ends: Ends) -> Result<(), EditError> {
        let mut copy = self.copy.clone();
        copy.header.alternate_lba = ends.last.into();
        copy.header.last_usable_lba = ends.last_usable.into();
        put(device, self.sector(), &header_sector(&copy))?;
        device.barrier()?;
        put(device, self.primary_entries() * self.sector(), &copy.entries)?;
        device.barrier()?;
        Ok(())
    }

    /// Clears the old backup: left behind, some tool would find it one day. What is no longer as it was found belongs
    /// to somebody else by now, and what lay inside a partition always did.
    fn clear_old_backup(&self, device: &mut dyn WriteAt, found: &Found, ends: Ends) -> Result<(), EditError> {
        let size = self.sector();
        let new = ends.backup_entries * size..(ends.last + 1) * size;
        let old_entries = GptEdit::ranges_of(&found.base);
        for (offset, bytes) in &found.backup {
            let end = offset + bytes.len() as u64;
            let inside =
                old_entries.iter().any(|(first, last)| first.saturating_mul(size) < end && *offset / size <= *last);
            if inside || !is_inside(*offset, bytes.len() as u64, device.len()) {
                continue;
            }
            for (sector, old) in (0..).zip(bytes.chunks(size as usize)) {
                let at = offset + sector * size;
                let is_new = new.contains(&at) || at < (self.primary_entries() + self.array()) * size;
                if !is_new && read_exact_vec(&*device, at, old.len() as u64)? == old {
                    put(device, at, &vec![0; old.len()])?;
                }
            }
        }
        device.barrier()?;
        Ok(())
    }
}

/// The sector of a header, with both checksums.
fn header_sector(copy: &Copy) -> Vec<u8> {
    let mut header: GptHeader = copy.header.clone();
    header.partition_entry_array_crc32 = crc32fast::hash(&copy.entries).into();
    header.header_crc32 = 0.into();
    let mut sector = header.as_bytes().to_vec();
    sector.extend_from_slice(&copy.rest);
    let crc = crc32fast::hash(&sector);
    sector[HEADER_CRC_OFFSET..HEADER_CRC_OFFSET + 4].copy_from_slice(&crc.to_le_bytes());
    sector.resize(copy.sector_size as usize, 0);
    sector
}

/// Sector 0 with a protective entry for a device whose last sector is `last`. Boot code, and an entry that covers
/// everything whatever the length, stay. A hybrid MBR stays whole: its protective entry ends where the next begins.
fn protective(sector0: &[u8], last: u64) -> Result<Vec<u8>, EditError> {
    let (mut record, _) = BootRecord::read_from_prefix(sector0).expect("sector 0 has 512 bytes");
    let is_mbr = record.signature == BOOT_SIGNATURE;
    let entries = &mut record.partition_record;
    let used = entries.iter().filter(|entry| entry.size_in_lba.get() > 0 && entry.os_type != PROTECTIVE).count();
    let is_blank = entries.as_bytes().iter().all(|byte| *byte == 0);
    let protecting = entries.iter_mut().find(|entry| entry.os_type == PROTECTIVE).filter(|_| is_mbr);
    let sectors = u32::try_from(last).unwrap_or(u32::MAX);
    match protecting {
        Some(_) if used > 0 => return Ok(sector0.to_vec()),
        Some(entry) => {
            if entry.starting_lba.get() == 1 && entry.size_in_lba.get() == u32::MAX {
                return Ok(sector0.to_vec());
            }
            if entry.starting_lba.get() != 1 {
                entry.starting_lba = 1.into();
                entry.starting_chs = CHS_SECTOR_1;
            }
            if entry.size_in_lba.get() != sectors {
                entry.size_in_lba = sectors.into();
                entry.ending_chs = chs_or(last, CHS_BEYOND);
            }
        }
        None if !is_blank => return Err(EditError::Sector0),
        None => {
            entries[0] = MbrEntry {
                starting_chs: CHS_SECTOR_1,
                os_type: PROTECTIVE,
                ending_chs: chs_or(last, CHS_BEYOND),
                starting_lba: 1.into(),
                size_in_lba: sectors.into(),
                ..MbrEntry::new_zeroed()
            };
            record.signature = BOOT_SIGNATURE;
        }
    }
    Ok(record.as_bytes().to_vec())
}
