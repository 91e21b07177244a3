//! Whether a filesystem is the root of a guest: what `--partition inspect` asks of each (P3).

use super::{is_file, known};
use crate::tree::{FileKind, FileTree, GuestPath};
use std::collections::BTreeMap;

/// Names looked at in one directory. A root has about twenty; a mail spool may have millions.
const MAX_NAMES: usize = 4096;

/// Whether a tree is the root of a guest, with what was seen that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootVerdict {
    /// A root filesystem.
    Root(String),
    /// One that holds a kernel only and is filled from the initramfs at the first boot, as CirrOS has it.
    AwaitsFirstBoot(String),
    /// Something else.
    NotRoot(String),
}

impl RootVerdict {
    /// Whether it counts as a root.
    pub fn is_root(&self) -> bool {
        !matches!(self, Self::NotRoot(_))
    }

    /// What was seen, for people.
    pub fn why(&self) -> &str {
        match self {
            Self::Root(why) | Self::AwaitsFirstBoot(why) | Self::NotRoot(why) => why,
        }
    }
}

/// Files of which a configured system has at least one in its /etc.
const IDENTITY: [&str; 7] = [
    "/etc/fstab",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/inittab",
    "/etc/cirros/version",
    "/usr/lib/os-release",
    "/etc/alpine-release",
];

/// Judges by the top directory and a few files.
///
/// A root has /etc with a file in it that every configured system has one of; programs, or the links of a merged
/// /usr that may lie on another filesystem (hence only the name is asked for); and a place to mount /dev, /proc or
/// /sys, which tells it from a separate /usr with a factory copy of /etc. A filesystem with none of that but with a
/// kernel and an initramfs in a real /boot directory is a root too: a separate /boot has those at its top, and at most
/// a link `boot -> .`.
pub fn looks_like_root(tree: &dyn FileTree) -> RootVerdict {
    let top = names(tree, &GuestPath::root());
    let has = |name: &str| matches!(top.get(name.as_bytes()), Some(FileKind::Dir | FileKind::Symlink));
    let is_dir = |name: &str| top.get(name.as_bytes()) == Some(&FileKind::Dir);
    let identity = IDENTITY.iter().find(|path| is_file(tree, path));
    let programs = ["bin", "sbin", "usr"].into_iter().find(|name| has(name));
    let mount_point = ["dev", "proc", "sys"].into_iter().find(|name| is_dir(name));
    if let (true, Some(identity), Some(programs), Some(mount_point)) = (is_dir("etc"), identity, programs, mount_point)
    {
        return RootVerdict::Root(format!("it has {identity}, /{programs} and /{mount_point}"));
    }
    if is_dir("boot") {
        let boot = names(tree, &known("/boot"));
        let any = |prefixes: &[&str]| {
            boot.iter().any(|(name, kind)| {
                *kind != FileKind::Dir && prefixes.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
            })
        };
        if any(&["vmlinuz", "vmlinux", "bzImage", "Image"]) && any(&["initrd", "initramfs"]) {
            let why = "it has a kernel and an initramfs in /boot and no system yet";
            return RootVerdict::AwaitsFirstBoot(why.to_owned());
        }
    }
    let mut missing = Vec::new();
    if !is_dir("etc") {
        missing.push("/etc");
    } else if identity.is_none() {
        missing.push("any of /etc/fstab, /etc/os-release, /etc/passwd");
    }
    if programs.is_none() {
        missing.push("/bin, /sbin or /usr");
    }
    if mount_point.is_none() {
        missing.push("/dev, /proc or /sys");
    }
    RootVerdict::NotRoot(format!("it lacks {}", missing.join("; ")))
}

fn names(tree: &dyn FileTree, path: &GuestPath) -> BTreeMap<Vec<u8>, FileKind> {
    let entries = tree.entries(path).unwrap_or_default();
    entries.into_iter().take(MAX_NAMES).map(|entry| (entry.name, entry.kind)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn p3_roots_of_the_usual_guests_count() {
        let mut debian = MemTree::new();
        debian.file("/etc/fstab", "").file("/usr/bin/dpkg", "").link("/bin", "usr/bin").dir("/proc").dir("/boot");
        let mut fedora = MemTree::new();
        // /usr on another filesystem, os-release there too.
        fedora.link("/bin", "usr/bin").link("/sbin", "usr/sbin").dir("/usr").file("/etc/fstab", "").dir("/sys");
        let mut alpine = MemTree::new();
        alpine.file("/bin/busybox", "").file("/etc/alpine-release", "3.20").dir("/dev");
        for (name, tree) in [("debian", debian), ("fedora", fedora), ("alpine", alpine)] {
            assert!(matches!(looks_like_root(&tree), RootVerdict::Root(_)), "{name}");
        }
        let mut cirros = MemTree::new();
        cirros.file("/boot/vmlinuz-5.3", "").file("/boot/initrd.img-5.3", "").file("/boot/grub/menu.lst", "");
        cirros.link("/vmlinuz", "boot/vmlinuz-5.3").dir("/lost+found").dir("/lib/modules");
        assert!(matches!(looks_like_root(&cirros), RootVerdict::AwaitsFirstBoot(_)));
        assert!(looks_like_root(&cirros).is_root());
    }

    #[test]
    fn p3_other_filesystems_do_not_count() {
        let mut esp = MemTree::new();
        esp.file("/EFI/BOOT/BOOTX64.EFI", "").file("/EFI/debian/grub.cfg", "");
        let mut boot = MemTree::new();
        boot.file("/vmlinuz-6.1", "").file("/initrd.img-6.1", "").dir("/grub").link("/boot", ".");
        // A link of that name is no /boot directory.
        let mut linked = MemTree::new();
        linked.file("/old/vmlinuz-6.1", "").file("/old/initrd.img-6.1", "").link("/boot", "old");
        let mut home = MemTree::new();
        home.dir("/alice/etc").dir("/bob/bin").dir("/lost+found");
        let mut usr = MemTree::new();
        usr.dir("/bin").dir("/lib").file("/etc/passwd", "").file("/etc/fstab", "").dir("/share");
        let mut var = MemTree::new();
        var.dir("/lib/dpkg").dir("/log").dir("/tmp");
        for (name, tree) in [
            ("esp", esp),
            ("boot", boot),
            ("linked", linked),
            ("home", home),
            ("usr", usr),
            ("var", var),
            ("empty", MemTree::new()),
        ] {
            let verdict = looks_like_root(&tree);
            assert!(!verdict.is_root(), "{name}: {verdict:?}");
        }
        assert_eq!(looks_like_root(&MemTree::new()).why(), "it lacks /etc; /bin, /sbin or /usr; /dev, /proc or /sys");
    }
}
