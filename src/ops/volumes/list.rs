//! The filesystems, partitions and disks as one list of named things.

use super::Survey;
use crate::disk::{Content, device_name};
use nomount_ptable::TypeId;

/// What is to be listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selection {
    /// Filesystems that files can be in.
    pub filesystems: bool,
    /// With them swap space, encrypted volumes, and what is not recognised.
    pub extra: bool,
    /// Partitions, whatever they hold.
    pub partitions: bool,
    /// The disks.
    pub block_devices: bool,
    /// Physical volumes of LVM.
    pub physical_volumes: bool,
}

impl Selection {
    /// Everything.
    pub const ALL: Self =
        Self { filesystems: true, extra: true, partitions: true, block_devices: true, physical_volumes: true };

    /// Filesystems, where nothing else was chosen.
    #[must_use]
    pub fn or_filesystems(self) -> Self {
        let chosen = self != Self::default();
        Self { filesystems: self.filesystems || self.extra || !chosen, ..self }
    }
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A filesystem, or what stands in the place of one.
    Filesystem,
    /// A physical volume of LVM.
    PhysicalVolume,
    /// A partition.
    Partition,
    /// A disk.
    Device,
}

impl ItemKind {
    /// The word of virt-filesystems.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::PhysicalVolume => "pv",
            Self::Partition => "partition",
            Self::Device => "device",
        }
    }
}

/// One of the list. What is in both, a filesystem in a partition, is there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// As Linux names it: `/dev/sda1` on the first disk, `/dev/sdb1` on the second.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
    /// The partition's number; none for what has a whole disk.
    pub number: Option<u32>,
    /// What a filesystem is.
    pub content: Option<Content>,
    /// Its label, raw bytes.
    pub label: Option<Vec<u8>>,
    /// Type of a partition of an MBR.
    pub mbr_type: Option<u8>,
    /// Bytes: of a filesystem that is read here those for files, else of the device.
    pub size: u64,
    /// The disk of a partition.
    pub parent: Option<String>,
    /// UUID of what it holds.
    pub uuid: Option<String>,
}

/// Lists what is on `disks`: filesystems first, then physical volumes, partitions, disks.
pub fn items(disks: &[Survey], selection: Selection) -> Vec<Item> {
    let mut items = Vec::new();
    for kind in [ItemKind::Filesystem, ItemKind::PhysicalVolume, ItemKind::Partition, ItemKind::Device] {
        for (disk, survey) in disks.iter().enumerate() {
            match kind {
                ItemKind::Device if selection.block_devices => items.push(device(disk, survey)),
                ItemKind::Device => {}
                _ => items.extend(volumes(disk, survey, kind, selection)),
            }
        }
    }
    items
}

fn device(disk: usize, survey: &Survey) -> Item {
    let name = device_name(disk, None);
    let kind = ItemKind::Device;
    let (content, label, mbr_type, parent, uuid) = Default::default();
    Item { name, kind, number: None, content, label, mbr_type, size: survey.len, parent, uuid }
}

fn volumes(disk: usize, survey: &Survey, kind: ItemKind, selection: Selection) -> impl Iterator<Item = Item> {
    survey.volumes.iter().filter_map(move |found| {
        let volume = &found.volume;
        let content = volume.content;
        let wanted = match kind {
            ItemKind::Filesystem if content.is_filesystem() => selection.filesystems,
            ItemKind::Filesystem => selection.extra && !matches!(content, Content::Lvm | Content::Extended),
            ItemKind::PhysicalVolume => selection.physical_volumes && content == Content::Lvm,
            ItemKind::Partition => selection.partitions && volume.partition.is_some(),
            ItemKind::Device => false,
        };
        if !wanted {
            return None;
        }
        let is_partition = kind == ItemKind::Partition;
        let used = found.usage.as_ref().and_then(|usage| usage.as_ref().ok()).filter(|_| !is_partition);
        let identity = if is_partition { Default::default() } else { found.identity.clone() };
        let mbr_type =
            volume.partition.as_ref().filter(|_| is_partition).and_then(|partition| match partition.type_id {
                TypeId::Mbr(byte) => Some(byte),
                TypeId::Gpt(_) => None,
            });
        Some(Item {
            name: device_name(disk, volume.number()),
            kind,
            number: volume.number(),
            content: (kind == ItemKind::Filesystem).then_some(content),
            label: identity.label,
            mbr_type,
            size: used.map_or(volume.len, |usage| usage.size),
            parent: is_partition.then(|| device_name(disk, None)),
            uuid: identity.uuid,
        })
    })
}
