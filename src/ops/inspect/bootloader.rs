//! Boot loaders, by the configuration that they leave in a guest.

use super::reader::Reader;
use serde::Serialize;

/// A boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bootloader {
    /// Its name.
    pub name: &'static str,
    /// The file or directory that says so.
    pub path: &'static str,
}

/// What each leaves, most telling first.
const TRACES: &[(&str, &[&str])] = &[
    ("grub2", &["/boot/grub2/grub.cfg", "/boot/grub/grub.cfg", "/boot/efi/EFI/grub/grub.cfg", "/etc/default/grub"]),
    ("grub-legacy", &["/boot/grub/menu.lst", "/boot/grub/grub.conf"]),
    (
        "systemd-boot",
        &[
            "/boot/loader/loader.conf",
            "/efi/loader/loader.conf",
            "/boot/efi/loader/loader.conf",
            "/boot/efi/EFI/systemd",
        ],
    ),
    (
        "syslinux",
        &[
            "/boot/extlinux/extlinux.conf",
            "/boot/extlinux.conf",
            "/boot/syslinux/syslinux.cfg",
            "/boot/syslinux.cfg",
            "/extlinux.conf",
        ],
    ),
    ("u-boot", &["/boot/boot.scr", "/boot/uEnv.txt", "/etc/default/u-boot"]),
    ("raspberry-pi", &["/boot/firmware/config.txt", "/boot/bootcode.bin"]),
    ("zipl", &["/etc/zipl.conf"]),
    ("lilo", &["/etc/lilo.conf"]),
    ("limine", &["/boot/limine.conf", "/boot/limine/limine.conf"]),
];

/// The boot loaders that the guest has traces of.
pub(super) fn bootloaders(reader: &Reader<'_>) -> Vec<Bootloader> {
    let found = TRACES.iter().filter_map(|(name, paths)| {
        let path = paths.iter().find(|path| reader.is_file(path) || reader.is_dir(path))?;
        Some(Bootloader { name, path })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn each_is_told_by_what_it_leaves() {
        let mut tree = MemTree::new();
        tree.file("/boot/grub/grub.cfg", "").file("/etc/default/grub", "").dir("/boot/efi/EFI/systemd");
        let found = bootloaders(&Reader::new(&tree));
        let pairs: Vec<(&str, &str)> = found.iter().map(|loader| (loader.name, loader.path)).collect();
        assert_eq!(pairs, [("grub2", "/boot/grub/grub.cfg"), ("systemd-boot", "/boot/efi/EFI/systemd")]);
    }
}
