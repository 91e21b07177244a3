//! The kernels of a guest: images and initramfs in /boot, modules in /lib/modules.

use super::reader::{Reader, known};
use crate::tree::FileKind;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A kernel, by its version: the name of its directory of modules, or what follows its name in /boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// As `uname -r` says, or a flavour such as `lts`; empty for an image without one.
    pub version: String,
    /// Path of its image.
    pub image: Option<String>,
    /// Path of its initramfs.
    pub initramfs: Option<String>,
    /// Path of its modules.
    pub modules: Option<String>,
}

/// Names of images; a version may follow behind a dash.
const IMAGES: [&str; 6] = ["vmlinuz", "vmlinux", "bzImage", "zImage", "Image", "kernel"];
/// Names of initramfs, before the version and behind it.
const INITRAMFS: [(&str, &str); 5] =
    [("initrd.img-", ""), ("initramfs-", ".img"), ("initramfs-", ""), ("initrd-", ".img"), ("initrd-", "")];
/// Directories of modules. The second is the first one where /lib is a link.
const MODULES: [&str; 2] = ["/lib/modules", "/usr/lib/modules"];

/// The kernels of the guest, newest first.
pub(super) fn kernels(reader: &mut Reader<'_>) -> Vec<Kernel> {
    let mut found: BTreeMap<String, Kernel> = BTreeMap::new();
    let boot = reader.names("/boot");
    let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    for name in boot.iter().map(text) {
        let Some(version) = IMAGES.iter().find_map(|image| version_behind(&name, image)) else { continue };
        // Links such as vmlinuz and vmlinuz.old name images that are there by their version, too.
        if is_file(reader, "/boot", &name) {
            found.entry(version.to_owned()).or_default().image.get_or_insert(format!("/boot/{name}"));
        }
    }
    for dir in MODULES {
        for name in reader.names(dir).iter().map(text) {
            let place = known(dir).join(name.as_bytes());
            if reader.stat(&place).is_none_or(|stat| stat.kind != FileKind::Dir) {
                continue;
            }
            let kernel = found.entry(name.clone()).or_default();
            kernel.modules.get_or_insert(format!("{dir}/{name}"));
            // Where the package puts it on Fedora and Arch; /boot has a copy, or nothing yet.
            if kernel.image.is_none() && is_file(reader, dir, &format!("{name}/vmlinuz")) {
                kernel.image = Some(format!("{dir}/{name}/vmlinuz"));
            }
        }
    }
    let mut kernels: Vec<Kernel> = found.into_iter().map(|(version, kernel)| Kernel { version, ..kernel }).collect();
    for kernel in &mut kernels {
        let version = &kernel.version;
        let names = INITRAMFS.iter().map(|(before, behind)| format!("{before}{version}{behind}"));
        let is_there = |name: &String| boot.iter().any(|other| other == name.as_bytes());
        kernel.initramfs = names.into_iter().find(is_there).map(|name| format!("/boot/{name}"));
    }
    kernels.sort_by(|a, b| compare(&b.version, &a.version));
    kernels
}

fn version_behind<'a>(name: &'a str, image: &str) -> Option<&'a str> {
    let rest = name.strip_prefix(image)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('-').filter(|version| !version.is_empty()) }
}

/// A regular file of its own, not a link to one.
fn is_file(reader: &Reader<'_>, dir: &str, name: &str) -> bool {
    let is_link = |stat: crate::tree::Stat| stat.kind == FileKind::Symlink;
    let path = name.split('/').fold(known(dir), |path, part| path.join(part.as_bytes()));
    reader.stat(&path).is_some_and(|stat| stat.kind == FileKind::File) && !reader.tree().stat(&path).is_ok_and(is_link)
}

/// Versions in their order: numbers by value, the rest as text.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(first), Some(second)) = (a.first(), b.first()) else { return a.len().cmp(&b.len()) };
        if first.is_ascii_digit() && second.is_ascii_digit() {
            let (left, right) = (take_number(&mut a), take_number(&mut b));
            match left.len().cmp(&right.len()).then_with(|| left.cmp(right)) {
                Ordering::Equal => continue,
                different => return different,
            }
        }
        if first != second {
            return first.cmp(second);
        }
        (a, b) = (&a[1..], &b[1..]);
    }
}

/// The digits at the start, without leading zeros; what follows stays.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    *text = rest;
    let zeros = number.iter().take_while(|digit| **digit == b'0').count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn images_initramfs_and_modules_belong_together_by_version() {
        let mut tree = MemTree::new();
        tree.file("/boot/vmlinuz-6.1.0-9-amd64", "").file("/boot/initrd.img-6.1.0-9-amd64", "");
        tree.file("/boot/vmlinuz-6.1.0-18-amd64", "").file("/boot/config-6.1.0-18-amd64", "");
        tree.link("/boot/vmlinuz", "vmlinuz-6.1.0-18-amd64").dir("/boot/grub");
        tree.link("/lib", "usr/lib").dir("/usr/lib/modules/6.1.0-18-amd64").file("/usr/lib/modules/note", "");
        tree.file("/usr/lib/modules/6.5.6-300.fc39.x86_64/vmlinuz", "");
        let found = kernels(&mut Reader::new(&tree));
        let facts: Vec<[&str; 4]> = found
            .iter()
            .map(|kernel| {
                let path = |path: &'_ Option<String>| path.as_deref().unwrap_or("-").to_owned().leak() as &str;
                [&kernel.version, path(&kernel.image), path(&kernel.initramfs), path(&kernel.modules)]
            })
            .collect();
        assert_eq!(
            facts,
            [
                [
                    "6.5.6-300.fc39.x86_64",
                    "/lib/modules/6.5.6-300.fc39.x86_64/vmlinuz",
                    "-",
                    "/lib/modules/6.5.6-300.fc39.x86_64"
                ],
                ["6.1.0-18-amd64", "/boot/vmlinuz-6.1.0-18-amd64", "-", "/lib/modules/6.1.0-18-amd64"],
                ["6.1.0-9-amd64", "/boot/vmlinuz-6.1.0-9-amd64", "/boot/initrd.img-6.1.0-9-amd64", "-"],
            ]
        );
    }

    #[test]
    fn flavours_and_images_without_a_version_count() {
        let mut tree = MemTree::new();
        tree.file("/boot/vmlinuz-lts", "").file("/boot/initramfs-lts", "").file("/boot/Image", "");
        let found = kernels(&mut Reader::new(&tree));
        assert_eq!((found[0].version.as_str(), found[0].initramfs.as_deref()), ("lts", Some("/boot/initramfs-lts")));
        assert_eq!((found[1].version.as_str(), found[1].image.as_deref()), ("", Some("/boot/Image")));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(compare("6.1.0-9", "6.1.0-18"), Ordering::Less);
        assert_eq!(compare("6.10", "6.9"), Ordering::Greater);
        assert_eq!(compare("6.01", "6.1"), Ordering::Equal);
        assert_eq!(compare("6.1-rc1", "6.1"), Ordering::Greater);
    }
}
