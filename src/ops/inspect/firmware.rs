//! Which firmware a disk is laid out for.

use crate::disk::Layout;
use nomount_ptable::Scheme;
use serde::Serialize;

/// What starts the boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// A PC's BIOS: there is a BIOS boot partition, or an active partition of an MBR.
    Bios,
    /// UEFI: there is an EFI system partition.
    Uefi,
}

/// The kinds of firmware that the partitions are made for. Neither does not mean that the disk cannot be booted.
pub fn firmware(layout: &Layout) -> Vec<Firmware> {
    let Some(table) = &layout.table else { return Vec::new() };
    let has = |name: &str| table.partitions.iter().any(|partition| partition.type_id.name() == Some(name));
    let active = table.scheme == Scheme::Mbr && table.partitions.iter().any(|partition| partition.bootable);
    let found = [(Firmware::Bios, has("bios-boot") || active), (Firmware::Uefi, has("esp"))];
    found.into_iter().filter(|(_, is)| *is).map(|(firmware, _)| firmware).collect()
}
