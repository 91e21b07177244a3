//! Sector 0 of a disk with partitions (UEFI specification 2.10, chapter 5.2).

use crate::format::Format;
use crate::image::{Image, le32};
use crate::verdict::Rules;

const SECTOR: usize = 512;
const SIGNATURE_AT: usize = 510;
const ENTRIES_AT: usize = 446;
const ENTRY: usize = 16;
const PROTECTIVE: u8 = 0xee;
/// Number of tables and medium in the boot sector of a FAT filesystem, which bears the same signature.
const FAT_TABLES: (usize, u8) = (0x10, 2);
const FAT_MEDIUM: (usize, u8) = (0x15, 0xf8);

fn entries<'a>(image: &'a Image<'_>) -> impl Iterator<Item = &'a [u8]> {
    image.head[ENTRIES_AT..ENTRIES_AT + 4 * ENTRY].chunks_exact(ENTRY)
}

pub(crate) fn recognise(image: &Image<'_>) -> Option<Format> {
    let head = &image.head;
    if head.len() < SECTOR || head[SIGNATURE_AT..SECTOR] != [0x55, 0xaa] {
        return None;
    }
    let is_fat = [FAT_TABLES, FAT_MEDIUM].iter().all(|(at, value)| head[*at] == *value);
    let protected = entries(image).any(|entry| entry[4] == PROTECTIVE);
    (!is_fat).then_some(if protected { Format::Gpt } else { Format::Mbr })
}

/// Judges the four entries. The sector must be there.
pub(crate) fn judge(image: &Image<'_>, rules: &mut Rules) {
    let flag = entries(image).enumerate().find(|(_, entry)| !matches!(entry[0], 0 | 0x80));
    rules.note(
        "boot_flag",
        "every boot flag is 0x00 or 0x80",
        flag.map(|(number, entry)| format!("entry {} has {:#04x}", number + 1, entry[0])),
    );
    let used: Vec<usize> = (0..4).filter(|number| image.head[ENTRIES_AT + number * ENTRY + 4] != 0).collect();
    rules.check("partitions", "there is a partition", !used.is_empty(), || {
        "the sector has the signature of a partition table and no partition".to_owned()
    });
    let protective = entries(image).filter(|entry| entry[4] == PROTECTIVE);
    let mut failure = None;
    for entry in protective {
        if entry[1..4] != [0, 2, 0] {
            failure = Some(format!("its first CHS address is {:?}, expected [0, 2, 0]", &entry[1..4]));
        } else if le32(entry, 8) != 1 {
            failure = Some(format!("it begins at sector {}, expected 1", le32(entry, 8)));
        } else if used != [0] {
            failure = Some("it is not the first and only one".to_owned());
        }
    }
    rules.note("protective", "an entry that protects a GPT is alone and protects all of it", failure);
}
