//! The second virtual hard disk (MS-VHDX 2.2.3, 2.2.5, 2.2.6): a region table leads to a metadata table, which leads to
//! the size and to the parent, if there is one.

use crate::format::Format;
use crate::image::{Image, le16, le32, le64};
use crate::verdict::Rules;
use nomount_block as block;

const SIGNATURE: &[u8] = b"vhdxfile";
const REGIONS_AT: u64 = 192 << 10;
/// Length of a table with its header, in bytes.
const TABLE: u64 = 64 << 10;
const ENTRY: usize = 32;
const REGION_HEADER: usize = 16;
const METADATA_HEADER: usize = 32;
/// Both tables hold no more, by the specification.
pub const MAX_TABLE_ENTRIES: u32 = 2047;
/// Everything but headers is behind the first MiB.
const FIRST_REGION: u64 = 1 << 20;
const HAS_PARENT: u32 = 1 << 1;

/// GUIDs, as stored.
const METADATA_REGION: [u8; 16] = 0x06a2_7c8b_9047_9a4b_b8fe_575f_050f_886e_u128.to_be_bytes();
const VIRTUAL_DISK_SIZE: [u8; 16] = 0x2442_a52f_1bcd_7648_b211_5dbe_d83b_f4b8_u128.to_be_bytes();
const FILE_PARAMETERS: [u8; 16] = 0x3767_a1ca_36fa_434d_b3b6_33f0_aa44_e76b_u128.to_be_bytes();
const PARENT_LOCATOR: [u8; 16] = 0x2d5f_d3a8_0bb3_4d45_abf7_d3d8_4834_ab0c_u128.to_be_bytes();

pub(crate) fn recognise(image: &Image<'_>) -> Option<Format> {
    image.head.starts_with(SIGNATURE).then_some(Format::Vhdx)
}

pub(crate) fn judge(image: &Image<'_>, rules: &mut Rules) -> block::Result<Option<u64>> {
    let metadata = Metadata::find(image)?;
    let failure = metadata.as_ref().err().cloned();
    rules.note("tables", "region and metadata tables lead to the disk's size", failure);
    let Ok(metadata) = metadata else { return Ok(None) };
    rules.check("parent", "no parent disk is named", !metadata.has_parent, || {
        "it is a differencing disk, which names its parent".to_owned()
    });
    Ok(Some(metadata.size))
}

struct Metadata {
    size: u64,
    has_parent: bool,
}

impl Metadata {
    /// Follows the tables; the inner error says what is wrong with them.
    fn find(image: &Image<'_>) -> block::Result<Result<Self, String>> {
        let Some(regions) = image.exactly(REGIONS_AT, TABLE)? else {
            return Ok(Err("the file ends before the end of the region table".to_owned()));
        };
        let start = match metadata_region(&regions) {
            Ok(start) => start,
            Err(why) => return Ok(Err(why)),
        };
        let Some(header) = image.exactly(start, METADATA_HEADER as u64)? else {
            return Ok(Err("the file ends before the metadata table".to_owned()));
        };
        let count = u32::from(le16(&header, 10));
        if !header.starts_with(b"metadata") {
            return Ok(Err("the metadata table has no signature".to_owned()));
        }
        if count > MAX_TABLE_ENTRIES {
            return Ok(Err(format!("the metadata table has {count} entries, more than {MAX_TABLE_ENTRIES}")));
        }
        let Some(entries) = image.exactly(start + METADATA_HEADER as u64, u64::from(count) * ENTRY as u64)? else {
            return Ok(Err("the file ends before the end of the metadata table".to_owned()));
        };
        let item = |guid: &[u8; 16]| entries.chunks_exact(ENTRY).find(|entry| entry.starts_with(guid));
        let value = |guid| match item(guid) {
            // Items are behind the table, by the specification.
            Some(entry) if u64::from(le32(entry, 16)) >= TABLE && le32(entry, 20) == 8 => {
                image.exactly(start.saturating_add(le32(entry, 16).into()), 8)
            }
            _ => Ok(None),
        };
        let Some(size) = value(&VIRTUAL_DISK_SIZE)? else {
            return Ok(Err("the disk's size is not to be found".to_owned()));
        };
        let Some(parameters) = value(&FILE_PARAMETERS)? else {
            return Ok(Err("the file's parameters are not to be found".to_owned()));
        };
        let has_parent = le32(&parameters, 4) & HAS_PARENT != 0 || item(&PARENT_LOCATOR).is_some();
        Ok(Ok(Self { size: le64(&size, 0), has_parent }))
    }
}

/// Where the metadata region begins, or why that cannot be told.
fn metadata_region(regions: &[u8]) -> Result<u64, String> {
    if !regions.starts_with(b"regi") {
        return Err("the region table has no signature".to_owned());
    }
    let count = le32(regions, 8);
    if count > MAX_TABLE_ENTRIES {
        return Err(format!("the region table has {count} entries, more than {MAX_TABLE_ENTRIES}"));
    }
    let mut entries = regions[REGION_HEADER..].chunks_exact(ENTRY).take(count as usize);
    let Some(entry) = entries.find(|entry| entry.starts_with(&METADATA_REGION)) else {
        return Err("the region table names no metadata".to_owned());
    };
    let start = le64(entry, 16);
    if start < FIRST_REGION {
        return Err(format!("the metadata begin at byte {start}, before the first MiB ends"));
    }
    Ok(start)
}
