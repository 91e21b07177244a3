//! Writing an MBR and its chain so that a crash leaves a table.

use super::mbr::{MbrEdit, Records};
use super::{EditError, keep_boot_code, put};
use crate::gpt::SECTOR_SIZES;
use crate::raw::{BOOT_CODE, BootRecord, GPT_SIGNATURE, SECTOR, is_inside, read_exact_vec};
use nomount_block::WriteAt;
use zerocopy::IntoBytes;

impl MbrEdit {
    /// Writes the table.
    ///
    /// # Order
    ///
    /// Each record is a sector, written whole or not at all. A reader starts at sector 0 and follows the links.
    ///
    /// 1. Records where none was: nothing leads there. Old.
    /// 2. Sector 0, if the extended partition does not become shorter: the chain begins where it did, or at a record
    ///    of step 1. Primary partitions are new, logical ones old.
    /// 3. Records that were there, each by itself. What leads from one of them leads to one that comes later in the old
    ///    chain, or to one of step 1, so that any mixture is a chain without a loop; a partition in it is the old or
    ///    the new one. A single edit changes one record that counts, so there it is all old or all new.
    /// 4. Sector 0 otherwise: until then the extended partition is longer than it need be.
    ///
    /// A barrier stands between each two.
    pub fn write(&self, device: &mut dyn WriteAt) -> Result<(), EditError> {
        if device.len() < self.device_len {
            return Err(EditError::DeviceTooShort { len: device.len(), needed: self.device_len });
        }
        let Some(found) = &self.found else { return self.write_new(device) };
        let (old, new): (Vec<_>, Vec<_>) =
            self.records.iter().filter(|(lba, _)| **lba != 0).partition(|(lba, _)| found.contains_key(lba));
        let before = extended_end(found).is_none_or(|old| extended_end(&self.records).is_some_and(|new| new >= old));
        put_all(device, &new)?;
        if before {
            put_all(device, &[(&0, self.sector0())])?;
        }
        put_all(device, &old)?;
        put_all(device, &[(&0, self.sector0())])
    }

    /// A new table takes the place of whatever was there; the headers of a GPT go last, since nothing looks for them
    /// where an MBR has partitions.
    fn write_new(&self, device: &mut dyn WriteAt) -> Result<(), EditError> {
        let boot_code = keep_boot_code(device)?;
        let mut sector0 = self.sector0().as_bytes().to_vec();
        sector0[..BOOT_CODE].copy_from_slice(&boot_code);
        let chain: Vec<_> = self.records.iter().filter(|(lba, _)| **lba != 0).collect();
        put_all(device, &chain)?;
        put(device, 0, &sector0)?;
        device.barrier()?;
        for size in SECTOR_SIZES.map(u64::from) {
            let last = (device.len() / size).saturating_sub(1) * size;
            for offset in [last, size] {
                if !is_inside(offset, SECTOR, device.len()) || self.records.contains_key(&(offset / SECTOR)) {
                    continue;
                }
                if read_exact_vec(&*device, offset, SECTOR)?.starts_with(&GPT_SIGNATURE) {
                    device.write_at(offset, &[0; SECTOR as usize])?;
                }
            }
        }
        device.barrier()?;
        Ok(())
    }
}

fn put_all(device: &mut dyn WriteAt, records: &[(&u64, &BootRecord)]) -> Result<(), EditError> {
    for (lba, record) in records {
        put(device, *lba * SECTOR, record.as_bytes())?;
    }
    device.barrier()?;
    Ok(())
}

/// Where the extended partition ends, in sectors.
fn extended_end(records: &Records) -> Option<u64> {
    let entries = &records[&0].partition_record;
    let extended = entries.iter().find(|e| e.size_in_lba.get() > 0 && crate::table::is_extended_type(e.os_type))?;
    Some(u64::from(extended.starting_lba.get()) + u64::from(extended.size_in_lba.get()))
}
