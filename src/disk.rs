//! What a disk holds: partitions or a filesystem, and of what kind each is.

mod identity;

pub use identity::Identity;

use crate::error::{Error, ErrorKind, Result};
use nomount_block::{ReadAt, Window};
use nomount_ext::Kind;
use nomount_ptable::{Partition, Table};
use serde::Serialize;
use std::fmt;

/// Bytes at the start of a volume that tell what is in it: btrfs has its magic at 64 KiB.
const PROBE: u64 = 68 << 10;

/// What a volume holds, by its magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// The three that are read and written.
    Ext2,
    /// See [`Content::Ext2`].
    Ext3,
    /// See [`Content::Ext2`].
    Ext4,
    /// FAT12, FAT16 or FAT32.
    Vfat,
    /// Others that are recognised and not opened.
    Xfs,
    /// See [`Content::Xfs`].
    Btrfs,
    /// See [`Content::Xfs`].
    Ntfs,
    /// See [`Content::Xfs`].
    Exfat,
    /// See [`Content::Xfs`].
    F2fs,
    /// See [`Content::Xfs`].
    Squashfs,
    /// See [`Content::Xfs`].
    Erofs,
    /// See [`Content::Xfs`].
    Iso9660,
    /// Swap space.
    Swap,
    /// LUKS encryption.
    Luks,
    /// An LVM physical volume.
    Lvm,
    /// An extended partition: it holds logical ones.
    Extended,
    /// Nothing that is recognised.
    Unknown,
}

/// Magic numbers: byte offset, bytes, meaning. The first that fits decides.
const MAGICS: &[(usize, &[u8], Content)] = &[
    (0, b"LUKS\xba\xbe", Content::Luks),
    (0, b"XFSB", Content::Xfs),
    (0, b"hsqs", Content::Squashfs),
    (3, b"NTFS    ", Content::Ntfs),
    (3, b"EXFAT   ", Content::Exfat),
    (0x218, b"LVM2 001", Content::Lvm),
    (0x400, &[0x10, 0x20, 0xF5, 0xF2], Content::F2fs),
    (0x400, &[0xE2, 0xE1, 0xF5, 0xE0], Content::Erofs),
    (0x10040, b"_BHRfS_M", Content::Btrfs),
    (0x8001, b"CD001", Content::Iso9660),
    (4086, b"SWAPSPACE2", Content::Swap),
    (54, b"FAT12   ", Content::Vfat),
    (54, b"FAT16   ", Content::Vfat),
    (82, b"FAT32   ", Content::Vfat),
];

impl Content {
    /// Whether it is one of the ext family.
    pub fn is_ext(self) -> bool {
        matches!(self, Self::Ext2 | Self::Ext3 | Self::Ext4)
    }

    /// Whether files can be in it: a filesystem, read here or not.
    pub fn is_filesystem(self) -> bool {
        !matches!(self, Self::Swap | Self::Luks | Self::Lvm | Self::Extended | Self::Unknown)
    }

    /// The name as blkid spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2 => Kind::Ext2.name(),
            Self::Ext3 => Kind::Ext3.name(),
            Self::Ext4 => Kind::Ext4.name(),
            Self::Vfat => "vfat",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Ntfs => "ntfs",
            Self::Exfat => "exfat",
            Self::F2fs => "f2fs",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Iso9660 => "iso9660",
            Self::Swap => "swap",
            Self::Luks => "crypto_LUKS",
            Self::Lvm => "LVM2_member",
            Self::Extended => "extended",
            Self::Unknown => "unknown",
        }
    }

    /// Tells what a device holds.
    fn probe(device: &impl ReadAt) -> Result<Self> {
        let mut start = vec![0; PROBE.min(device.len()) as usize];
        device.read_at(0, &mut start)?;
        if let Some(kind) = nomount_ext::probe(&start) {
            return Ok(match kind {
                Kind::Ext2 => Self::Ext2,
                Kind::Ext3 => Self::Ext3,
                Kind::Ext4 => Self::Ext4,
            });
        }
        let fits =
            |(at, magic, _): &&(usize, &[u8], Self)| start.get(*at..).is_some_and(|rest| rest.starts_with(magic));
        Ok(MAGICS.iter().find(fits).map_or(Self::Unknown, |(_, _, content)| *content))
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A place that may hold a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The partition; none for the whole device.
    pub partition: Option<Partition>,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// What it holds.
    pub content: Content,
}

impl Volume {
    /// The partition's number; none for the whole device.
    pub fn number(&self) -> Option<u32> {
        self.partition.as_ref().map(|partition| partition.number)
    }
}

/// The name that Linux gives a disk, counted from 0, or a partition of it: `/dev/sda`, `/dev/sda1`, `/dev/sdaa3`.
pub fn device_name(disk: usize, partition: Option<u32>) -> String {
    let mut letters = Vec::new();
    let mut rest = disk + 1;
    while rest > 0 {
        letters.push(char::from(b'a' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    let letters: String = letters.iter().rev().collect();
    format!("/dev/sd{letters}{}", partition.map(|number| number.to_string()).unwrap_or_default())
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => write!(f, "partition {number} ({})", self.content),
            None => write!(f, "whole device ({})", self.content),
        }
    }
}

/// Names of the first disk of a machine, by driver. Those that end in a digit have a `p` before a partition's number.
const FIRST_DISKS: [&str; 6] = ["/dev/sda", "/dev/vda", "/dev/xvda", "/dev/hda", "/dev/nvme0n1", "/dev/mmcblk0"];

/// Which volume to work on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// The whole device if it is a filesystem, else by inspection.
    #[default]
    Auto,
    /// The whole device (P1).
    Whole,
    /// A partition by its number (P2).
    Number(u32),
    /// The one that holds the root of a guest (P3).
    Inspect,
}

impl Choice {
    /// Reads `N`, `none` or `0`, `inspect` or `-1`, `auto`, and names of devices: `/dev/sda2` is 2, `/dev/sda` the
    /// whole device.
    pub fn parse(text: &str) -> Result<Self> {
        let unknown = || {
            let message = format!("partition {text:?}: a number from 1, `none`, `inspect` or `auto` is needed");
            Error::new(ErrorKind::Usage, message)
        };
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let number =
                digits.parse().ok().filter(|number| plain && (1..=nomount_ptable::MAX_ENTRIES).contains(number));
            number.map(Self::Number).ok_or_else(unknown)
        };
        if let Some((disk, rest)) = FIRST_DISKS.iter().find_map(|disk| Some((disk, text.strip_prefix(disk)?))) {
            let has_p = disk.ends_with(|end: char| end.is_ascii_digit());
            return match rest.strip_prefix('p') {
                None if rest.is_empty() => Ok(Self::Whole),
                Some(digits) if has_p => number(digits),
                None if !has_p => number(rest),
                _ => Err(unknown()),
            };
        }
        match text {
            "auto" => Ok(Self::Auto),
            "none" | "0" => Ok(Self::Whole),
            "inspect" | "-1" => Ok(Self::Inspect),
            // P5: other negatives mean nothing.
            digits => number(digits),
        }
    }
}

/// A disk's partition table, if it has one, and its volumes: the partitions, or else the whole device.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The table; none when there is none, or when the whole device was asked for.
    pub table: Option<Table>,
    /// In the order of their numbers.
    pub volumes: Vec<Volume>,
}

impl Layout {
    /// Reads what `device` holds. With [`Choice::Whole`] no partition table is looked for.
    pub fn read(device: &dyn ReadAt, choice: Choice) -> Result<Self> {
        let whole = Volume { partition: None, start: 0, len: device.len(), content: Content::probe(&device)? };
        let table = match choice {
            Choice::Whole => None,
            _ => nomount_ptable::read(device)?,
        };
        let Some(found) = table.as_ref() else { return Ok(Self { table, volumes: vec![whole] }) };
        let mut volumes = Vec::new();
        for partition in &found.partitions {
            let content = if partition.is_extended() {
                Content::Extended
            } else {
                Content::probe(&Window::new(device, partition.start, partition.len)?)?
            };
            volumes.push(Volume {
                start: partition.start,
                len: partition.len,
                partition: Some(partition.clone()),
                content,
            });
        }
        Ok(Self { table, volumes })
    }

    /// The volume with that number.
    pub fn partition(&self, number: u32) -> Result<&Volume> {
        let found = self.volumes.iter().find(|volume| volume.number() == Some(number));
        found.ok_or_else(|| {
            let message = format!("partition {number} not found; there is: {}", self.list());
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// The volumes, for messages.
    pub fn list(&self) -> String {
        let list: Vec<String> = self.volumes.iter().map(Volume::to_string).collect();
        if list.is_empty() { "no partition".to_owned() } else { list.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomount_block::Memory;

    #[test]
    fn p1_p5_partition_choices_as_words_and_as_nova_numbers() {
        for (text, choice) in [
            ("none", Choice::Whole),
            ("0", Choice::Whole),
            ("-1", Choice::Inspect),
            ("inspect", Choice::Inspect),
            ("3", Choice::Number(3)),
            ("/dev/sda2", Choice::Number(2)),
            ("/dev/nvme0n1p12", Choice::Number(12)),
            ("/dev/vda", Choice::Whole),
        ] {
            assert_eq!(Choice::parse(text).unwrap(), choice);
        }
        for bad in [
            "-2",
            "",
            "two",
            "99999999999",
            "1.5",
            "/dev/sdb1",
            "/dev/sdap1",
            "/dev/sda-1",
            "/dev/sda0",
            "/dev/nvme0n11",
        ] {
            assert_eq!(Choice::parse(bad).unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
    }

    #[test]
    fn disks_are_named_as_linux_names_them() {
        assert_eq!(device_name(0, None), "/dev/sda");
        assert_eq!(device_name(1, Some(15)), "/dev/sdb15");
        assert_eq!(
            [25, 26, 701, 702].map(|disk| device_name(disk, None)),
            ["/dev/sdz", "/dev/sdaa", "/dev/sdzz", "/dev/sdaaa"]
        );
    }

    #[test]
    fn contents_are_told_by_their_magic() {
        for (at, magic, content) in MAGICS {
            let mut bytes = vec![0; 1 << 17];
            bytes[*at..at + magic.len()].copy_from_slice(magic);
            assert_eq!(Content::probe(&Memory::new(bytes)).unwrap(), *content);
        }
        assert_eq!(Content::probe(&Memory::zeroed(100)).unwrap(), Content::Unknown);
    }

    #[test]
    fn p7_a_partition_that_is_not_there_is_named_with_what_is() {
        let layout = Layout::read(&Memory::zeroed(1 << 20), Choice::Auto).unwrap();
        let error = layout.partition(7).unwrap_err();
        assert_eq!(error.message(), "partition 7 not found; there is: whole device (unknown)");
    }
}
