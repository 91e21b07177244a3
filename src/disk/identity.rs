//! Label and UUID of what a volume holds, as blkid tells them: read from its first bytes, without opening it.

use super::{Content, PROBE};
use crate::error::Result;
use byteorder::{ByteOrder, LittleEndian};
use nomount_block::ReadAt;

/// Bytes of an entry of a FAT directory.
const FAT_ENTRY: usize = 32;
/// Bytes of a FAT's root directory in which its label is looked for: mkfs.fat and Windows put it first.
const MAX_FAT_ROOT: u64 = 64 << 10;
/// A label in a FAT's boot sector that means none.
const FAT_NO_NAME: &[u8] = b"NO NAME";

/// What names a filesystem, swap space or the like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its label, raw bytes without padding; none where it has none. Those of NTFS and exFAT are not looked for.
    pub label: Option<Vec<u8>>,
    /// Its UUID, or serial number, as blkid spells it.
    pub uuid: Option<String>,
}

impl Identity {
    /// Reads it from a volume that holds `content`. What makes no sense there is none.
    ///
    /// # Errors
    ///
    /// The device cannot be read.
    pub fn read(device: &dyn ReadAt, content: Content) -> Result<Self> {
        let mut start = vec![0; PROBE.min(device.len()) as usize];
        device.read_at(0, &mut start)?;
        let bytes = |at: usize, len: usize| start.get(at..at + len).unwrap_or_default();
        let uuid = |at: usize| uuid_text(bytes(at, 16));
        let label = |at: usize, len: usize| padded(bytes(at, len));
        let (label, uuid) = match content {
            Content::Ext2 | Content::Ext3 | Content::Ext4 => (label(0x478, 16), uuid(0x468)),
            Content::Xfs => (label(108, 12), uuid(32)),
            Content::Btrfs => (label(0x1_012b, 256), uuid(0x1_0020)),
            Content::Erofs => (label(0x440, 16), uuid(0x430)),
            Content::F2fs => (utf16(bytes(0x47c, 512)), uuid(0x46c)),
            Content::Swap => (label(0x41c, 16), uuid(0x40c)),
            Content::Luks => (luks_label(bytes(0, 72)), text(bytes(168, 40))),
            Content::Lvm => (None, lvm_uuid(bytes(0x220, 32))),
            Content::Ntfs => (None, ntfs_serial(bytes(0x48, 8))),
            Content::Exfat => (None, fat_serial(bytes(0x64, 4))),
            Content::Iso9660 => (padded(bytes(0x8028, 32)), iso_uuid(bytes(0x832d, 33))),
            Content::Vfat => fat(device, &start)?,
            Content::Squashfs | Content::Extended | Content::Unknown => (None, None),
        };
        Ok(Self { label, uuid })
    }
}

/// Bytes up to the first NUL, without the blanks behind; none when nothing is left.
fn padded(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii_end();
    (!text.is_empty()).then(|| text.to_vec())
}

fn text(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8(padded(bytes)?).ok()?;
    text.bytes().all(|byte| byte.is_ascii_graphic()).then_some(text)
}

/// 16 bytes in the order they are printed; none when all are zero.
fn uuid_text(bytes: &[u8]) -> Option<String> {
    if bytes.len() != 16 || bytes.iter().all(|byte| *byte == 0) {
        return None;
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// A label in UTF-16, as UTF-8; what is no UTF-16 replaced.
fn utf16(bytes: &[u8]) -> Option<Vec<u8>> {
    let units: Vec<u16> = bytes.chunks_exact(2).map(LittleEndian::read_u16).take_while(|unit| *unit != 0).collect();
    (!units.is_empty()).then(|| String::from_utf16_lossy(&units).into_bytes())
}

/// LUKS2 alone has a label: LUKS1 has the name of its cipher there.
fn luks_label(header: &[u8]) -> Option<Vec<u8>> {
    (header.get(6..8) == Some(&[0, 2])).then(|| padded(&header[24..72])).flatten()
}

/// A physical volume's identity: 32 letters and digits, printed in groups.
fn lvm_uuid(bytes: &[u8]) -> Option<String> {
    let text = text(bytes).filter(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
    Some([0..6, 6..10, 10..14, 14..18, 18..22, 22..26, 26..32].map(|range| &text[range]).join("-"))
}

fn ntfs_serial(bytes: &[u8]) -> Option<String> {
    (bytes.len() == 8).then(|| format!("{:016X}", LittleEndian::read_u64(bytes)))
}

fn fat_serial(bytes: &[u8]) -> Option<String> {
    let serial = (bytes.len() == 4).then(|| LittleEndian::read_u32(bytes)).filter(|serial| *serial != 0)?;
    Some(format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff))
}

/// The time of the last modification, else of the creation, in ECMA-119's 17 bytes each, creation first.
fn iso_uuid(dates: &[u8]) -> Option<String> {
    let date = |bytes: &[u8]| {
        let digits = std::str::from_utf8(bytes.get(..16)?).ok()?;
        let is_date = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.bytes().any(|byte| byte != b'0');
        let parts = [0..4, 4..6, 6..8, 8..10, 10..12, 12..14, 14..16];
        is_date.then(|| parts.map(|range| &digits[range]).join("-"))
    };
    dates.get(17..).and_then(date).or_else(|| date(dates))
}

/// Label and serial number of a FAT: the label is in the root directory, and a copy in the boot sector.
fn fat(device: &dyn ReadAt, start: &[u8]) -> Result<(Option<Vec<u8>>, Option<String>)> {
    let Some(boot) = start.get(..512) else { return Ok((None, None)) };
    let number = |at: usize| u64::from(LittleEndian::read_u16(&boot[at..]));
    // FAT32 has no 16-bit size of a FAT, and an extended boot record that begins further back.
    let is_32 = number(22) == 0;
    let record = if is_32 { 66 } else { 38 };
    let (mut serial, mut label) = (None, None);
    if matches!(boot[record], 0x28 | 0x29) {
        serial = fat_serial(&boot[record + 1..record + 5]);
    }
    if boot[record] == 0x29 {
        label = padded(&boot[record + 5..record + 16]).filter(|label| label != FAT_NO_NAME);
    }
    let sector = number(11);
    let fat_sectors = if is_32 { u64::from(LittleEndian::read_u32(&boot[36..])) } else { number(22) };
    let fats_end = (number(14) + u64::from(boot[16]) * fat_sectors) * sector;
    let (root, len) = if is_32 {
        let cluster = u64::from(boot[13]) * sector;
        let first = u64::from(LittleEndian::read_u32(&boot[44..])).saturating_sub(2);
        (fats_end.saturating_add(first.saturating_mul(cluster)), cluster)
    } else {
        (fats_end, number(17) * FAT_ENTRY as u64)
    };
    let len = len.min(MAX_FAT_ROOT).min(device.len().saturating_sub(root));
    let mut entries = vec![0; len as usize];
    device.read_at(root.min(device.len()), &mut entries)?;
    Ok((fat_root_label(&entries).or(label), serial))
}

fn fat_root_label(entries: &[u8]) -> Option<Vec<u8>> {
    // Directory, volume label, and the mark of a long name, which has the label's bit too.
    const KIND: u8 = 0x18;
    const LABEL: u8 = 0x08;
    const LONG_NAME: u8 = 0x0f;
    const DELETED: u8 = 0xe5;
    let entries = entries.chunks_exact(FAT_ENTRY).take_while(|entry| entry[0] != 0);
    let mut labels =
        entries.filter(|entry| entry[0] != DELETED && entry[11] & LONG_NAME != LONG_NAME && entry[11] & KIND == LABEL);
    let label = labels.next()?;
    padded(&label[..11]).filter(|label| label != FAT_NO_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomount_block::Memory;

    fn read(content: Content, parts: &[(usize, &[u8])]) -> Identity {
        let mut bytes = vec![0; 1 << 17];
        parts.iter().for_each(|(at, part)| bytes[*at..at + part.len()].copy_from_slice(part));
        Identity::read(&Memory::new(bytes), content).unwrap()
    }

    const RAW: &[u8] = b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10";
    const UUID: &str = "01020304-0506-0708-090a-0b0c0d0e0f10";

    #[test]
    fn labels_and_uuids_where_each_format_has_them() {
        for (content, label, uuid) in [
            (Content::Ext4, 0x478, 0x468),
            (Content::Xfs, 108, 32),
            (Content::Btrfs, 0x1012b, 0x10020),
            (Content::Erofs, 0x440, 0x430),
            (Content::Swap, 0x41c, 0x40c),
        ] {
            let found = read(content, &[(label, b"data"), (uuid, RAW)]);
            assert_eq!(found, Identity { label: Some(b"data".into()), uuid: Some(UUID.into()) }, "{content}");
            assert_eq!(read(content, &[]), Identity::default(), "{content}");
        }
        let found = read(Content::F2fs, &[(0x47c, b"d\0\xe9\0"), (0x46c, RAW)]);
        assert_eq!(found, Identity { label: Some("d\u{e9}".into()), uuid: Some(UUID.into()) });
        let luks = read(Content::Luks, &[(6, &[0, 2]), (24, b"vault"), (168, UUID.as_bytes())]);
        assert_eq!(luks, Identity { label: Some(b"vault".into()), uuid: Some(UUID.into()) });
        let luks = read(Content::Luks, &[(6, &[0, 1]), (24, b"xts-plain64"), (168, b"\x1b[2J")]);
        assert_eq!(luks, Identity::default());
        let lvm = read(Content::Lvm, &[(0x220, b"abcdef0123456789ABCDEF0123456789")]);
        assert_eq!(lvm.uuid.as_deref(), Some("abcdef-0123-4567-89AB-CDEF-0123-456789"));
        let ntfs = read(Content::Ntfs, &[(0x48, &RAW[..8])]);
        assert_eq!(ntfs.uuid.as_deref(), Some("0807060504030201"));
        let dates = b"2026010203040500\x002026112413300099\x00";
        let iso = read(Content::Iso9660, &[(0x8028, b"CIDATA    "), (0x832d, dates)]);
        assert_eq!(iso, Identity { label: Some(b"CIDATA".into()), uuid: Some("2026-11-24-13-30-00-99".into()) });
    }

    #[test]
    fn a_fat_has_its_label_in_the_root_directory_and_a_copy_in_the_boot_sector() {
        // 512-byte sectors, one reserved, two FATs of two sectors, 16 entries in the root.
        let fat16: &[(usize, &[u8])] = &[
            (11, &[0, 2]),
            (13, &[1]),
            (14, &[1, 0]),
            (16, &[2]),
            (17, &[16, 0]),
            (22, &[2, 0]),
            (38, &[0x29, 0x78, 0x56, 0x34, 0x12]),
            (43, b"OLD        "),
        ];
        let old = read(Content::Vfat, fat16);
        assert_eq!(old, Identity { label: Some(b"OLD".into()), uuid: Some("1234-5678".into()) });
        let long_name = b"Al\0o\0n\0g\0\0\0\0\x0f";
        let label = b"EFI SYSTEM \x08";
        let root = [fat16, &[(5 * 512, long_name), (5 * 512 + 32, b"\xe5LD        \x08"), (5 * 512 + 64, label)]];
        assert_eq!(read(Content::Vfat, &root.concat()).label.as_deref(), Some(&b"EFI SYSTEM"[..]));
        // 32 reserved sectors, one FAT of 8, the root is cluster 3 of two sectors.
        let fat32: &[(usize, &[u8])] = &[
            (11, &[0, 2]),
            (13, &[2]),
            (14, &[32, 0]),
            (16, &[1]),
            (36, &[8, 0, 0, 0]),
            (44, &[3, 0, 0, 0]),
            (66, &[0x29, 0x78, 0x56, 0x34, 0x12]),
            (71, b"NO NAME    "),
        ];
        assert_eq!(read(Content::Vfat, fat32), Identity { label: None, uuid: Some("1234-5678".into()) });
        let root = [fat32, &[((32 + 8 + 2) * 512, label)]].concat();
        assert_eq!(read(Content::Vfat, &root).label.as_deref(), Some(&b"EFI SYSTEM"[..]));
        // Numbers that lead out of the device.
        let far = [fat32, &[(36, &[0xff; 4]), (44, &[0xff; 4])]].concat();
        assert_eq!(read(Content::Vfat, &far).label, None);
    }
}
