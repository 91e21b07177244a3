//! What this host does with an image: block devices, and files that loop devices stand on, may be mounted, swapped to
//! or be part of another device. Whoever writes to them then writes below a filesystem that keeps what it read.

use super::ImageOptions;
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::{OFlags, major, minor};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is looked at below the root directory of this host: whoever locks the process in must leave it readable.
pub const LOOKED_AT: [&str; 5] =
    ["/proc/self/mountinfo", "/proc/swaps", "/sys/block", "/sys/dev/block", "/sys/devices"];

/// Bytes of a file of /proc or /sys that are read: mounts of ten thousand containers.
const MAX_TEXT: u64 = 16 << 20;
/// Entries of a folder of /sys that are looked at: Linux has at most 2^20 devices of a kind.
const MAX_ENTRIES: usize = 1 << 20;

/// Opens an image for writing. A block device must be allowed, and with `lock` nobody else may use what is opened; a
/// block device then cannot be mounted either as long as it is open.
pub(super) fn open_for_writing(path: &Path, options: &ImageOptions) -> Result<File> {
    let host = Host::default();
    let is_device = |meta: &Metadata| meta.file_type().is_block_device();
    // Before it is opened for writing, which is an event that others wait for.
    let mut exclusive = OFlags::empty();
    if path.metadata().is_ok_and(|meta| is_device(&meta)) {
        allowed(options)?;
        if options.lock {
            exclusive = OFlags::EXCL;
        }
    }
    let file = super::open_file(path, true, exclusive).map_err(|error| match in_way(&error) {
        true => busy(host.user_at(path).unwrap_or_else(|| "another device or program".to_owned())),
        false => error,
    })?;
    let meta = file.metadata().map_err(|error| Error::of_host("cannot look at the image", error))?;
    if is_device(&meta) {
        allowed(options)?;
    }
    match options.lock.then(|| host.user_of(path, &meta)).flatten() {
        Some(user) => Err(busy(user)),
        None => Ok(file),
    }
}

fn allowed(options: &ImageOptions) -> Result<()> {
    if options.device {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused, "this is a block device, which is not written to unasked")
        .hint("allow it with --allow-device"))
}

fn in_way(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.and_then(std::io::Error::raw_os_error) == Some(rustix::io::Errno::BUSY.raw_os_error())
}

fn busy(user: String) -> Error {
    Error::new(ErrorKind::Busy, format!("the image is in use by this host: {user}"))
        .hint("unmount it, or detach the device, first")
}

/// Who uses a file or block device of this host, in words; none where nobody is known to.
pub fn user_of(path: &Path) -> Option<String> {
    Host::default().user_at(path)
}

/// A host, by the folder that has its /proc and /sys.
struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

/// A block device with what is mounted of it.
struct Device {
    /// `8:1`.
    number: String,
    /// `/dev/sda1`, and `/dev/mapper/NAME` where it has that.
    names: Vec<Vec<u8>>,
    /// Devices that it is a part of.
    holders: Vec<String>,
}

/// A line of mountinfo: the device's number, the place, the source.
type Mount = (Vec<u8>, Vec<u8>, Vec<u8>);

impl Host {
    fn user_at(&self, path: &Path) -> Option<String> {
        self.user_of(path, &path.metadata().ok()?)
    }

    fn user_of(&self, path: &Path, meta: &Metadata) -> Option<String> {
        if meta.file_type().is_block_device() {
            let number = format!("{}:{}", major(meta.rdev()), minor(meta.rdev()));
            return self.user_of_device(&self.root.join("sys/dev/block").join(number));
        }
        self.user_of_file(path, meta)
    }

    /// A device is in use where it, or a partition of it, is mounted, swapped to or part of another.
    fn user_of_device(&self, folder: &Path) -> Option<String> {
        let partitions = names(folder).into_iter().map(|name| folder.join(name));
        let partitions = partitions.filter(|folder| folder.join("partition").exists());
        let devices: Vec<Device> = std::iter::once(folder.to_owned()).chain(partitions).map(|at| device(&at)).collect();
        self.user_of_devices(&devices)
    }

    fn user_of_devices(&self, devices: &[Device]) -> Option<String> {
        let (mounts, swaps) = (self.mounts(), self.swaps());
        devices.iter().find_map(|device| {
            let name = device.names.first().map_or(device.number.clone(), |name| name.escape_ascii().to_string());
            let mounted = mounts
                .iter()
                .find(|(number, _, source)| *number == device.number.as_bytes() || device.names.contains(source));
            if let Some((_, place, _)) = mounted {
                return Some(format!("{name} is mounted at {}", place.escape_ascii()));
            }
            if swaps.iter().any(|swap| device.names.contains(swap)) {
                return Some(format!("{name} is swapped to"));
            }
            device.holders.first().map(|holder| format!("{name} is part of {holder}"))
        })
    }

    /// A file is in use where a loop device stands on it, it is swapped to, or a filesystem of a program has it as its
    /// source.
    fn user_of_file(&self, path: &Path, meta: &Metadata) -> Option<String> {
        let blocks = self.root.join("sys/block");
        for name in names(&blocks).into_iter().filter(|name| name.as_bytes().starts_with(b"loop")) {
            let folder = blocks.join(&name);
            let Some(mut backing) = text(&folder.join("loop/backing_file")) else { continue };
            backing.pop_if(|last| *last == b'\n');
            let same = |other: Metadata| (other.dev(), other.ino()) == (meta.dev(), meta.ino());
            if Path::new(OsStr::from_bytes(&backing)).metadata().is_ok_and(same) {
                let how = self.user_of_device(&folder).map(|how| format!(", and {how}")).unwrap_or_default();
                return Some(format!("loop device /dev/{} stands on it{how}", name.display()));
            }
        }
        // As these files name it; it is not looked for on filesystems that may not answer.
        let path = path.canonicalize().ok()?;
        let path = path.as_os_str().as_bytes();
        if let Some((_, place, _)) = self.mounts().iter().find(|(_, _, source)| source == path) {
            return Some(format!("it is mounted at {}", place.escape_ascii()));
        }
        self.swaps().iter().any(|swap| swap == path).then(|| "it is swapped to".to_owned())
    }

    /// See proc_pid_mountinfo(5): the third and fifth fields, and the second after a single dash.
    fn mounts(&self) -> Vec<Mount> {
        let text = text(&self.root.join("proc/self/mountinfo")).unwrap_or_default();
        let mount = |line: &[u8]| {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            let dash = fields.iter().position(|field| *field == b"-")?;
            Some((fields.get(2)?.to_vec(), unescaped(fields.get(4)?), unescaped(fields.get(dash + 2)?)))
        };
        text.split(|byte| *byte == b'\n').filter_map(mount).collect()
    }

    /// See proc_swaps(5): the first field, after a line of headings.
    fn swaps(&self) -> Vec<Vec<u8>> {
        let text = text(&self.root.join("proc/swaps")).unwrap_or_default();
        let lines = text.split(|byte| *byte == b'\n').skip(1);
        let name = |line: &[u8]| line.split(|byte| byte.is_ascii_whitespace()).next().map(unescaped);
        lines.filter_map(name).filter(|name| name.starts_with(b"/")).collect()
    }
}

fn device(folder: &Path) -> Device {
    let line = |name: &str| {
        let mut bytes = text(&folder.join(name))?;
        bytes.pop_if(|last| *last == b'\n');
        Some(bytes)
    };
    let number = line("dev").map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let uevent = line("uevent").unwrap_or_default();
    let node = uevent.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"DEVNAME="));
    let mapped = line("dm/name").map(|name| [b"/dev/mapper/", &name[..]].concat());
    let holders = names(&folder.join("holders")).into_iter().map(|name| format!("/dev/{}", name.display()));
    Device {
        number,
        names: node.map(|name| [b"/dev/", name].concat()).into_iter().chain(mapped).collect(),
        holders: holders.collect(),
    }
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = folder.read_dir().into_iter().flatten().take(MAX_ENTRIES);
    entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect()
}

/// A file of the kernel's; none where it is not there, or not for this process to read.
fn text(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_TEXT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Blanks, line breaks and backslashes are written as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &tail[3..];
            }
            None => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A host with nothing but a system disk of two partitions, the second one not in use.
    fn host() -> (tempfile::TempDir, Host) {
        let folder = nomount_kit::scratch::folder();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/swaps", "Filename\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
        put("proc/self/mountinfo", "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n");
        for (at, number, name) in [("", "8:0", "sda"), ("/sda1", "8:1", "sda1"), ("/sda2", "8:2", "sda2")] {
            for path in ["sys/dev/block/8:0", "sys/block/sda"] {
                put(&format!("{path}{at}/dev"), &format!("{number}\n"));
                put(&format!("{path}{at}/uevent"), &format!("MAJOR=8\nDEVNAME={name}\nDEVTYPE=disk\n"));
                if !at.is_empty() {
                    put(&format!("{path}{at}/partition"), "1\n");
                }
            }
        }
        fs::create_dir_all(folder.path().join("sys/dev/block/8:0/sda2/holders")).unwrap();
        let host = Host { root: folder.path().to_owned() };
        (folder, host)
    }

    fn put(host: &Host, path: &str, text: &str) {
        let path = host.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn device_user(host: &Host, at: &str) -> Option<String> {
        host.user_of_device(&host.root.join("sys/dev/block").join(at))
    }

    #[test]
    fn a_device_is_in_use_with_any_of_its_partitions() {
        let (_folder, host) = host();
        let user = |at| device_user(&host, at);
        assert_eq!(user("8:0").as_deref(), Some("/dev/sda1 is mounted at /"));
        assert_eq!(user("8:0/sda1").as_deref(), Some("/dev/sda1 is mounted at /"));
        assert_eq!(user("8:0/sda2"), None);
        put(&host, "proc/self/mountinfo", "");
        assert_eq!(user("8:0"), None);
        put(&host, "proc/swaps", "Filename Type\n/dev/sda2                               partition\t1\t0\t-2\n");
        assert_eq!(user("8:0").as_deref(), Some("/dev/sda2 is swapped to"));
        put(&host, "proc/swaps", "");
        put(&host, "sys/dev/block/8:0/sda2/holders/dm-0/dev", "253:0\n");
        assert_eq!(user("8:0/sda2").as_deref(), Some("/dev/sda2 is part of /dev/dm-0"));
        // Not one that this host has.
        assert_eq!(user("9:9"), None);
    }

    #[test]
    fn a_mount_is_found_by_the_name_of_its_source_too() {
        let (_folder, host) = host();
        put(&host, "sys/dev/block/253:0/dev", "253:0\n");
        put(&host, "sys/dev/block/253:0/uevent", "DEVNAME=dm-0\n");
        put(&host, "sys/dev/block/253:0/dm/name", "vg-guest\n");
        put(&host, "proc/self/mountinfo", "9 1 0:40 / /mnt/a\\040b rw - btrfs /dev/mapper/vg-guest rw\n");
        assert_eq!(device_user(&host, "253:0").as_deref(), Some("/dev/dm-0 is mounted at /mnt/a b"));
    }

    #[test]
    fn a_file_is_in_use_below_a_loop_device_a_mount_or_swap() {
        let (folder, host) = host();
        let image = folder.path().join("a disk");
        fs::write(&image, "x").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&image, &link).unwrap();
        let user = |path: &Path| host.user_at(path);
        assert_eq!(user(&image), None);
        put(&host, "sys/block/loop7/loop/backing_file", "/no/such/file (deleted)\n");
        put(&host, "sys/block/loop8/loop/backing_file", &format!("{}\n", image.display()));
        put(&host, "sys/block/loop8/dev", "7:8\n");
        put(&host, "sys/block/loop8/uevent", "DEVNAME=loop8\n");
        assert_eq!(user(&image).as_deref(), Some("loop device /dev/loop8 stands on it"));
        put(&host, "proc/self/mountinfo", "30 22 7:8 / /mnt rw - ext4 /dev/loop8 rw\n");
        let mounted = "loop device /dev/loop8 stands on it, and /dev/loop8 is mounted at /mnt";
        assert_eq!(user(&link).as_deref(), Some(mounted));
        fs::remove_dir_all(host.root.join("sys/block/loop8")).unwrap();
        assert_eq!(user(&image), None);
        let source = image.canonicalize().unwrap().display().to_string().replace(' ', "\\040");
        put(&host, "proc/self/mountinfo", &format!("30 22 0:50 / /mnt rw - fuse.fuse2fs {source} rw\n"));
        assert_eq!(user(&link).as_deref(), Some("it is mounted at /mnt"));
        put(&host, "proc/self/mountinfo", "");
        put(&host, "proc/swaps", &format!("Filename\n{source} file 1 0 -2\n"));
        assert_eq!(user(&image).as_deref(), Some("it is swapped to"));
    }

    #[test]
    fn a_host_that_tells_nothing_is_no_obstacle() {
        let folder = nomount_kit::scratch::folder();
        let host = Host { root: folder.path().to_owned() };
        let file = nomount_kit::scratch::file();
        assert_eq!(host.user_at(file.path()), None);
        assert_eq!(device_user(&host, "8:0"), None);
    }
}
