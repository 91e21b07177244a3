//! Finding the copy of a GPT that can be trusted, and its entries.

use crate::error::{Damage, DamageKind};
use crate::raw::{GPT_REVISION, GPT_SIGNATURE, GptHeader, HEADER_CRC_OFFSET, is_inside, read_exact_vec};
use crate::{DiskId, Error, Guid, Note, Partition, Scheme, Table, TypeId};
use nomount_block::ReadAt;
use zerocopy::FromBytes;

/// Most entries accepted; the usual number is 128.
pub const MAX_ENTRIES: u32 = 1024;
/// The one entry size that Linux and the common tools accept.
pub(crate) const ENTRY_SIZE: u32 = 128;
/// Sector sizes that are tried.
pub(crate) const SECTOR_SIZES: [u32; 2] = [512, 4096];
/// gptman decodes an entry from as many bytes as its own structure takes in memory, more than the 128 on disk.
const DECODE_BUFFER: usize = 256;
/// Attribute bit 2: legacy BIOS bootable.
pub(crate) const LEGACY_BOOTABLE: u64 = 1 << 2;

const _: () = assert!(size_of::<gptman::GPTPartitionEntry>() <= DECODE_BUFFER);

/// What a search for a GPT found.
pub(crate) enum Found {
    /// A copy that can be trusted, and what it says.
    Table(Box<(Table, Copy)>),
    /// Copies that cannot.
    Damaged { primary: Damage, backup: Damage },
    /// Not even a signature.
    Nothing,
}

/// A header whose every field was checked, with its entries.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub sector_size: u32,
    /// Byte offset of the header.
    pub offset: u64,
    pub header: GptHeader,
    /// What `HeaderSize` counts beyond the fields that are known.
    pub rest: Vec<u8>,
    pub entries: Vec<u8>,
}

/// Looks at both places of a primary header, then at the backups. `announced`: the MBR says that there is a GPT;
/// without it a backup alone is a leftover and does not count.
pub(crate) fn find(device: &dyn ReadAt, announced: bool) -> Result<Found, Error> {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for sector_size in SECTOR_SIZES {
        match check_copy(device, u64::from(sector_size), sector_size)? {
            Ok(copy) => good.push(copy),
            Err(damage) => bad.push((sector_size, damage)),
        }
    }
    if good.len() > 1 {
        return Err(Error::TwoGpts);
    }
    if let Some(copy) = good.pop() {
        let mut notes = Vec::new();
        compare_backup(device, &copy, &mut notes)?;
        let table = table(device.len(), &copy, notes)?;
        return Ok(Found::Table(Box::new((table, copy))));
    }

    // Where a signature is left at one of the two places, that is the size of a sector.
    if bad.iter().any(|(_, damage)| damage.kind != DamageKind::NoSignature && !is_beyond(damage)) {
        bad.retain(|(_, damage)| damage.kind != DamageKind::NoSignature && !is_beyond(damage));
    } else if !announced {
        return Ok(Found::Nothing);
    }
    let mut backups = Vec::new();
    let mut first_failure = None;
    for (sector_size, primary) in bad {
        match find_backup(device, &primary, sector_size)? {
            Ok(copy) => backups.push((primary, copy)),
            Err(backup) => {
                first_failure.get_or_insert((primary, backup));
            }
        }
    }
    if backups.len() > 1 {
        return Err(Error::TwoGpts);
    }
    match (backups.pop(), first_failure) {
        (Some((primary, copy)), _) => {
            let notes = vec![Note::BackupUsed { primary, backup: copy.offset }];
            let table = table(device.len(), &copy, notes)?;
            Ok(Found::Table(Box::new((table, copy))))
        }
        (None, Some((primary, backup))) => Ok(Found::Damaged { primary, backup }),
        (None, None) => Ok(Found::Nothing),
    }
}

fn is_beyond(damage: &Damage) -> bool {
    matches!(damage.kind, DamageKind::BeyondEnd { .. })
}

/// Byte offset of the last whole sector.
fn last_sector(device: &dyn ReadAt, sector_size: u32) -> u64 {
    let size = u64::from(sector_size);
    (device.len() / size).saturating_sub(1) * size
}

/// Looks for a good backup in the last sector, then where the damaged primary points; answers with what is wrong
/// in the last sector otherwise.
fn find_backup(device: &dyn ReadAt, primary: &Damage, sector_size: u32) -> Result<Result<Copy, Damage>, Error> {
    let last = last_sector(device, sector_size);
    let damage = match check_copy(device, last, sector_size)? {
        // On a device so short that its last sector is the primary's, there is no backup.
        Ok(copy) if last != primary.offset => return Ok(Ok(copy)),
        Ok(_) => Damage { offset: last, kind: DamageKind::NoSignature },
        Err(damage) => damage,
    };
    if is_inside(primary.offset, u64::from(sector_size), device.len()) {
        let sector = read_exact_vec(device, primary.offset, u64::from(sector_size))?;
        let alternate = GptHeader::read_from_prefix(&sector)
            .ok()
            .filter(|(header, _)| header.signature == GPT_SIGNATURE)
            .and_then(|(header, _)| header.alternate_lba.get().checked_mul(u64::from(sector_size)))
            .filter(|offset| *offset != last && *offset > primary.offset);
        if let Some(offset) = alternate
            && let Ok(copy) = check_copy(device, offset, sector_size)?
        {
            return Ok(Ok(copy));
        }
    }
    Ok(Err(damage))
}

/// Everything that must hold before anything in a copy is believed. The outer result is the device's.
pub(crate) fn check_copy(device: &dyn ReadAt, offset: u64, sector_size: u32) -> Result<Result<Copy, Damage>, Error> {
    let damage = |kind| Ok(Err(Damage { offset, kind }));
    let field =
        |name, found, wanted: String| Ok(Err(Damage { offset, kind: DamageKind::Field { name, found, wanted } }));
    let size = u64::from(sector_size);
    if !is_inside(offset, size, device.len()) {
        return damage(DamageKind::BeyondEnd { device_len: device.len() });
    }
    let mut sector = read_exact_vec(device, offset, size)?;
    let Ok((header, _)) = GptHeader::read_from_prefix(&sector) else {
        return damage(DamageKind::NoSignature);
    };
    if header.signature != GPT_SIGNATURE {
        return damage(DamageKind::NoSignature);
    }
    let header_size = header.header_size.get();
    if !(size_of::<GptHeader>() as u32..=sector_size).contains(&header_size) {
        return field("HeaderSize", header_size.into(), format!("92 to {sector_size}"));
    }
    sector[HEADER_CRC_OFFSET..HEADER_CRC_OFFSET + 4].fill(0);
    let computed = crc32fast::hash(&sector[..header_size as usize]);
    if computed != header.header_crc32.get() {
        return damage(DamageKind::HeaderCrc { stored: header.header_crc32.get(), computed });
    }
    if header.revision.get() != GPT_REVISION {
        return field("Revision", header.revision.get().into(), GPT_REVISION.to_string());
    }
    if header.my_lba.get() != offset / size {
        return field("MyLBA", header.my_lba.get(), (offset / size).to_string());
    }
    let (first, last) = (header.first_usable_lba.get(), header.last_usable_lba.get());
    if first > last {
        return field("FirstUsableLBA", first, format!("at most LastUsableLBA {last}"));
    }
    let entry_size = header.size_of_partition_entry.get();
    if entry_size != ENTRY_SIZE {
        return field("SizeOfPartitionEntry", entry_size.into(), ENTRY_SIZE.to_string());
    }
    let count = header.number_of_partition_entries.get();
    if count == 0 || count > MAX_ENTRIES {
        return field("NumberOfPartitionEntries", count.into(), format!("1 to {MAX_ENTRIES}"));
    }
    let entry_lba = header.partition_entry_lba.get();
    let array_len = u64::from(count) * u64::from(entry_size);
    let array = entry_lba.checked_mul(size).filter(|array| is_inside(*array, array_len, device.len()));
    let Some(array) = array else {
        let wanted = format!("{count} entries inside the device of {} bytes", device.len());
        return field("PartitionEntryLBA", entry_lba, wanted);
    };
    let entries = read_exact_vec(device, array, array_len)?;
    let computed = crc32fast::hash(&entries);
    let stored = header.partition_entry_array_crc32.get();
    if computed != stored {
        return damage(DamageKind::EntriesCrc { stored, computed });
    }
    let rest = sector[size_of::<GptHeader>()..header_size as usize].to_vec();
    Ok(Ok(Copy { sector_size, offset, header, rest, entries }))
}

/// Tells what is odd about the backup of a good primary.
fn compare_backup(device: &dyn ReadAt, primary: &Copy, notes: &mut Vec<Note>) -> Result<(), Error> {
    let last = last_sector(device, primary.sector_size);
    let backup = primary.header.alternate_lba.get().saturating_mul(u64::from(primary.sector_size));
    if backup != last {
        notes.push(Note::BackupNotAtEnd { backup, last });
    }
    match check_copy(device, backup, primary.sector_size)? {
        Ok(copy) => {
            let same = copy.header.disk_guid == primary.header.disk_guid && copy.entries == primary.entries;
            if !same {
                notes.push(Note::BackupDiffers { backup });
            }
        }
        Err(damage) => notes.push(Note::BackupDamaged(damage)),
    }
    Ok(())
}

/// What a copy says about a device of `device_len` bytes.
pub(crate) fn table(device_len: u64, copy: &Copy, notes: Vec<Note>) -> Result<Table, Error> {
    let mut table = Table {
        scheme: Scheme::Gpt,
        sector_size: copy.sector_size,
        disk_id: DiskId::Guid(Guid(copy.header.disk_guid)),
        partitions: Vec::new(),
        notes,
    };
    let size = u64::from(copy.sector_size);
    // check_copy found the array inside the device, so this and the offsets below cannot overflow.
    let array = copy.header.partition_entry_lba.get() * size;
    for (index, raw) in copy.entries.chunks_exact(ENTRY_SIZE as usize).enumerate() {
        let offset = array + (index * ENTRY_SIZE as usize) as u64;
        let mut buffer = [0; DECODE_BUFFER];
        buffer[..raw.len()].copy_from_slice(raw);
        let entry = gptman::GPTPartitionEntry::read_from(&mut &buffer[..])
            .map_err(|source| Error::GptEntry { offset, source })?;
        if entry.is_unused() {
            continue;
        }
        let number = index as u32 + 1;
        let (first_lba, last_lba) = (entry.starting_lba, entry.ending_lba);
        if last_lba < first_lba {
            if first_lba - last_lba > 1 {
                table.notes.push(Note::Reversed { number, first_lba, last_lba });
            }
            continue;
        }
        let start = first_lba.saturating_mul(size);
        let len = (last_lba - first_lba).saturating_add(1).saturating_mul(size);
        if !is_inside(start, len, device_len) {
            table.notes.push(Note::BeyondEnd { number, start, len });
            continue;
        }
        if first_lba < copy.header.first_usable_lba.get() || last_lba > copy.header.last_usable_lba.get() {
            table.notes.push(Note::OutsideUsable { number });
        }
        table.partitions.push(Partition {
            number,
            start,
            len,
            type_id: TypeId::Gpt(Guid(entry.partition_type_guid)),
            name: entry.partition_name.to_string(),
            partuuid: Some(Guid(entry.unique_partition_guid).to_string()),
            bootable: entry.attribute_bits & LEGACY_BOOTABLE != 0,
            attributes: entry.attribute_bits,
            logical: false,
            entry_offset: offset,
            raw_entry: raw.to_vec(),
        });
    }
    table.note_overlaps();
    Ok(table)
}
