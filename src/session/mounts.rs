//! The filesystems of a disk that the guest mounts below its root, by its /etc/fstab.

use super::mounted::Mounted;
use super::{Disk, SessionOptions};
use crate::disk::{Content, Identity, Layout, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::guest::{FstabEntry, fstab};
use crate::tree::{FileKind, Follow, GuestPath, MountTree, resolve};
use nomount_block::{ReadOnly, Window};

/// Lines of /etc/fstab that are looked at.
const MAX_MOUNTS: usize = 256;

/// A line of the guest's fstab that means a filesystem of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where the guest mounts it, with links followed as far as possible.
    pub at: GuestPath,
    /// The device, as the guest names it.
    pub spec: String,
    /// The volume of this disk that is meant; none where no volume is.
    pub volume: Option<Volume>,
    /// Why it is not part of the tree; none where it is.
    pub missing: Option<String>,
}

/// What the guest's name for a device can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec<'a> {
    /// A volume by one of its names.
    Name(Tag, &'a str),
    /// A partition of the first disk, by number; 0 for the disk.
    Number(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Uuid,
    Label,
    PartUuid,
    PartLabel,
}

/// Prefixes of fstab(5) and of udev's links, and what follows them.
const TAGS: [(&str, Tag); 8] = [
    ("UUID=", Tag::Uuid),
    ("LABEL=", Tag::Label),
    ("PARTUUID=", Tag::PartUuid),
    ("PARTLABEL=", Tag::PartLabel),
    ("/dev/disk/by-uuid/", Tag::Uuid),
    ("/dev/disk/by-label/", Tag::Label),
    ("/dev/disk/by-partuuid/", Tag::PartUuid),
    ("/dev/disk/by-partlabel/", Tag::PartLabel),
];

/// Names of the first disk, by driver; a partition's number follows, in the last two after a `p`.
const DISKS: [&str; 6] = ["/dev/sda", "/dev/vda", "/dev/xvda", "/dev/hda", "/dev/nvme0n1", "/dev/mmcblk0"];

impl<'a> Spec<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        for (prefix, tag) in TAGS {
            if let Some(value) = text.strip_prefix(prefix) {
                return Some(Self::Name(tag, value.trim_matches('"')));
            }
        }
        let rest = DISKS.iter().find_map(|disk| text.strip_prefix(disk))?;
        let digits = rest.strip_prefix('p').unwrap_or(rest);
        if digits.is_empty() { Some(Self::Number(0)) } else { digits.parse().ok().map(Self::Number) }
    }
}

/// What names a volume, as blkid gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeNames {
    /// The filesystem's UUID, or volume id, as text.
    pub uuid: Option<String>,
    /// The filesystem's label.
    pub label: Option<String>,
    /// The partition's UUID: its own in a GPT, disk signature and number in an MBR.
    pub part_uuid: Option<String>,
    /// The partition's name in a GPT.
    pub part_label: Option<String>,
}

impl VolumeNames {
    /// The names of a volume of a disk; a filesystem that cannot be read has none of its own.
    pub(super) fn of(disk: &Disk, volume: &Volume) -> Self {
        let mut names = Self::default();
        if let Some(partition) = &volume.partition {
            names.part_uuid = partition.partuuid.clone();
            names.part_label = Some(partition.name.clone()).filter(|name| !name.is_empty());
        }
        if let Ok(window) = Window::new(ReadOnly(disk), volume.start, volume.len)
            && let Ok(identity) = Identity::read(&window, volume.content)
        {
            names.uuid = identity.uuid;
            names.label = identity.label.map(|label| String::from_utf8_lossy(&label).into_owned());
        }
        names
    }

    fn fit(&self, tag: Tag, wanted: &str) -> bool {
        let same_uuid = |name: &String| name.eq_ignore_ascii_case(wanted);
        match tag {
            Tag::Uuid => self.uuid.as_ref().is_some_and(same_uuid),
            Tag::Label => self.label.as_deref() == Some(wanted),
            Tag::PartUuid => self.part_uuid.as_ref().is_some_and(same_uuid),
            Tag::PartLabel => self.part_label.as_deref() == Some(wanted),
        }
    }
}

/// Mounts in `tree`, whose root is in volume `root`, what the guest mounts at boot. Returns the lines of its fstab that
/// mean a disk, whether they could be followed or not.
pub(super) fn mount_all(
    tree: &mut MountTree<Mounted>,
    disk: &Disk,
    layout: &Layout,
    root: &Volume,
    options: &SessionOptions,
) -> Vec<Mount> {
    let mut entries: Vec<FstabEntry> = fstab(tree.root()).into_iter().filter(is_mounted_at_boot).collect();
    entries.truncate(MAX_MOUNTS);
    // Parents first, as the guest's own init sorts them.
    entries.sort_by_key(|entry| entry.mount_point.split('/').filter(|name| !name.is_empty()).count());
    let mut names: Option<Vec<(VolumeNames, &Volume)>> = None;
    let mut mounts = Vec::new();
    for entry in entries {
        let Ok(point) = GuestPath::parse(&entry.mount_point) else { continue };
        let spec = Spec::parse(&entry.spec);
        if point.is_root() || spec.is_none() && !entry.spec.starts_with("/dev/") {
            continue;
        }
        let names = names.get_or_insert_with(|| {
            layout.volumes.iter().map(|volume| (VolumeNames::of(disk, volume), volume)).collect()
        });
        let volume = spec.and_then(|spec| find(names, spec)).cloned();
        let resolved = resolve(tree, &point, Follow::Last);
        let at = resolved.as_ref().map_or(point, |found| found.path.clone());
        let mounted = match &volume {
            None => Err(Error::new(ErrorKind::NotFound, "no volume of this disk has that name")),
            Some(volume) if volume == root => Err(Error::new(ErrorKind::Refused, "it is the root")),
            Some(volume) => resolved.and_then(|found| match found.stat.map(|stat| stat.kind) {
                Some(FileKind::Dir) => open(disk, volume, options),
                Some(_) => Err(Error::new(ErrorKind::NotADirectory, "the mount point is no directory")),
                None => Err(Error::new(ErrorKind::NotFound, "the mount point does not exist")),
            }),
        };
        let missing = match mounted {
            Ok(mounted) => {
                tree.mount(at.clone(), mounted);
                None
            }
            Err(error) => Some(error.chain()),
        };
        mounts.push(Mount { at, spec: entry.spec, volume, missing });
    }
    mounts
}

fn is_mounted_at_boot(entry: &FstabEntry) -> bool {
    entry.mount_point.starts_with('/') && !entry.options.split(',').any(|option| option == "noauto")
}

fn find<'a>(names: &[(VolumeNames, &'a Volume)], spec: Spec<'_>) -> Option<&'a Volume> {
    let fits = |(names, volume): &&(VolumeNames, &Volume)| match spec {
        Spec::Number(number) => volume.number().unwrap_or(0) == number && volume.content != Content::Extended,
        Spec::Name(tag, wanted) => names.fit(tag, wanted),
    };
    names.iter().find(fits).map(|(_, volume)| *volume)
}

fn open(disk: &Disk, volume: &Volume, options: &SessionOptions) -> Result<Mounted> {
    let part = Window::new(disk.clone(), volume.start, volume.len)?;
    Mounted::for_reading(part, volume, options, options.image.write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_by_every_name_that_an_fstab_has() {
        for (text, wanted) in [
            ("UUID=1234-ABCD", Some(Spec::Name(Tag::Uuid, "1234-ABCD"))),
            ("UUID=\"x\"", Some(Spec::Name(Tag::Uuid, "x"))),
            ("LABEL=boot", Some(Spec::Name(Tag::Label, "boot"))),
            ("PARTUUID=1-02", Some(Spec::Name(Tag::PartUuid, "1-02"))),
            ("PARTLABEL=EFI System", Some(Spec::Name(Tag::PartLabel, "EFI System"))),
            ("/dev/disk/by-label/x", Some(Spec::Name(Tag::Label, "x"))),
            ("/dev/sda2", Some(Spec::Number(2))),
            ("/dev/vda", Some(Spec::Number(0))),
            ("/dev/nvme0n1p15", Some(Spec::Number(15))),
            ("/dev/sdb1", None),
            ("/dev/sdax", None),
            ("/dev/mapper/vg-var", None),
            ("tmpfs", None),
        ] {
            assert_eq!(Spec::parse(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_mounted_at_boot_is_not_mounted() {
        let entry = |mount_point: &str, options: &str| FstabEntry {
            spec: "LABEL=x".to_owned(),
            mount_point: mount_point.to_owned(),
            fs_type: "ext4".to_owned(),
            options: options.to_owned(),
        };
        assert!(is_mounted_at_boot(&entry("/srv", "defaults,nofail")));
        assert!(!is_mounted_at_boot(&entry("/srv", "ro,noauto")));
        assert!(!is_mounted_at_boot(&entry("none", "sw")));
    }
}
