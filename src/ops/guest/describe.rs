//! The facts of a guest that `info` prints and other operations choose by.

use super::{OsRelease, is_dir, is_file, known, text};
use crate::tree::{FileKind, FileTree, find};
use serde::Serialize;

/// What starts a guest's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Init {
    /// systemd.
    Systemd,
    /// OpenRC, whatever process 1 is.
    OpenRc,
    /// Upstart.
    Upstart,
    /// runit.
    Runit,
    /// The init of busybox, with its /etc/inittab.
    Busybox,
    /// System V init, with /etc/inittab.
    Sysvinit,
}

impl Init {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "openrc",
            Self::Upstart => "upstart",
            Self::Runit => "runit",
            Self::Busybox => "busybox",
            Self::Sysvinit => "sysvinit",
        }
    }
}

/// A line of fstab(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FstabEntry {
    /// The device, `UUID=...` and the like included.
    pub spec: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// Its type.
    pub fs_type: String,
    /// Mount options, separated by commas; `defaults` where none are given.
    pub options: String,
}

/// A guest as its files describe it. Strings are the guest's own: escape them before printing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GuestInfo {
    /// The distribution.
    pub os: Option<OsRelease>,
    /// Its name on the network.
    pub hostname: Option<String>,
    /// As `uname -m` would say, from the header of one of its programs.
    pub architecture: Option<&'static str>,
    /// What starts its services.
    pub init: Option<Init>,
    /// The command that installs packages.
    pub package_manager: Option<&'static str>,
    /// What it mounts, in the order of the file.
    pub fstab: Vec<FstabEntry>,
}

/// Describes the guest in `tree`.
pub fn describe(tree: &dyn FileTree) -> GuestInfo {
    GuestInfo {
        os: OsRelease::of(tree),
        hostname: hostname(tree),
        architecture: architecture(tree),
        init: init(tree),
        package_manager: package_manager(tree),
        fstab: fstab(tree),
    }
}

fn hostname(tree: &dyn FileTree) -> Option<String> {
    let line = |text: String| {
        let mut lines = text.lines().map(str::trim);
        lines.find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned)
    };
    let assigned = |text: String| {
        let value = text.lines().find_map(|line| line.trim().strip_prefix("HOSTNAME=").map(str::to_owned))?;
        Some(value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    let of = |path| text(tree, path);
    of("/etc/hostname")
        .and_then(line)
        .or_else(|| of("/etc/HOSTNAME").and_then(line))
        .or_else(|| of("/etc/sysconfig/network").and_then(assigned))
}

/// Programs of which every guest has one; the first that is there tells.
const PROGRAMS: [&str; 7] = [
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/sbin/init",
    "/bin/busybox",
    "/bin/sh",
    "/usr/bin/env",
    "/usr/bin/bash",
];

fn architecture(tree: &dyn FileTree) -> Option<&'static str> {
    PROGRAMS.iter().find_map(|program| {
        let found = find(tree, &known(program)).ok().flatten()?;
        // e_ident[16], e_type, e_machine of the ELF header.
        let mut header = [0; 20];
        let read = tree.read_at(&found.path, 0, &mut header).ok()?;
        if read == header.len() { machine(&header) } else { None }
    })
}

/// The name of an ELF header's machine.
fn machine(header: &[u8; 20]) -> Option<&'static str> {
    if header[..4] != *b"\x7fELF" {
        return None;
    }
    let (is_64, is_big) = (header[4] == 2, header[5] == 2);
    let number = [header[18], header[19]];
    let number = if is_big { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
    Some(match (number, is_64, is_big) {
        (3, ..) => "i686",
        (8, true, true) => "mips64",
        (8, true, false) => "mips64el",
        (8, false, true) => "mips",
        (8, false, false) => "mipsel",
        (20, ..) => "ppc",
        (21, _, true) => "ppc64",
        (21, _, false) => "ppc64le",
        (22, true, _) => "s390x",
        (40, ..) => "arm",
        (62, true, _) => "x86_64",
        (183, ..) => "aarch64",
        (243, true, _) => "riscv64",
        (258, true, _) => "loongarch64",
        _ => return None,
    })
}

/// What starts the services of the guest in `tree`.
pub fn init(tree: &dyn FileTree) -> Option<Init> {
    let process_one = ["/sbin/init", "/usr/sbin/init", "/bin/init", "/init"].iter().find_map(|path| {
        let found = find(tree, &known(path)).ok().flatten()?;
        (found.stat?.kind == FileKind::File).then_some(found.path)
    });
    let name = process_one.as_ref().and_then(|path| path.name()).unwrap_or_default();
    let has_systemd = is_file(tree, "/usr/lib/systemd/systemd") || is_file(tree, "/lib/systemd/systemd");
    match name {
        b"systemd" => return Some(Init::Systemd),
        b"runit-init" | b"runit" => return Some(Init::Runit),
        // No process 1 at all: images for containers and for systemd-nspawn leave the link out.
        b"" if has_systemd => return Some(Init::Systemd),
        _ => {}
    }
    if is_file(tree, "/sbin/openrc") || is_file(tree, "/usr/sbin/openrc") || is_file(tree, "/usr/bin/openrc") {
        return Some(Init::OpenRc);
    }
    match name {
        b"busybox" => Some(Init::Busybox),
        b"init" if is_dir(tree, "/etc/init") && is_file(tree, "/sbin/initctl") => Some(Init::Upstart),
        b"init" if is_file(tree, "/etc/inittab") => Some(Init::Sysvinit),
        _ => None,
    }
}

/// Most telling first: dnf guests keep a yum link, and apt exists on guests of other kinds.
const PACKAGE_MANAGERS: [(&str, &str); 11] = [
    ("/usr/bin/apt-get", "apt"),
    ("/usr/bin/dnf", "dnf"),
    ("/usr/bin/microdnf", "microdnf"),
    ("/usr/bin/tdnf", "tdnf"),
    ("/usr/bin/yum", "yum"),
    ("/usr/bin/zypper", "zypper"),
    ("/sbin/apk", "apk"),
    ("/usr/bin/pacman", "pacman"),
    ("/usr/bin/emerge", "emerge"),
    ("/usr/bin/xbps-install", "xbps"),
    ("/bin/opkg", "opkg"),
];

fn package_manager(tree: &dyn FileTree) -> Option<&'static str> {
    PACKAGE_MANAGERS.iter().find(|(path, _)| is_file(tree, path)).map(|(_, name)| *name)
}

/// The lines of /etc/fstab.
pub fn fstab(tree: &dyn FileTree) -> Vec<FstabEntry> {
    text(tree, "/etc/fstab").map(|text| fstab_lines(&text)).unwrap_or_default()
}

fn fstab_lines(text: &str) -> Vec<FstabEntry> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let entries = lines.filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().map(unescape);
        let (spec, mount_point, fs_type) = (fields.next()?, fields.next()?, fields.next()?);
        let options = fields.next().unwrap_or_else(|| "defaults".to_owned());
        Some(FstabEntry { spec, mount_point, fs_type, options })
    });
    entries.collect()
}

/// The escapes of getmntent(3), by which a field can have blanks.
fn unescape(field: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |field, (escape, char)| field.replace(escape, char))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    fn elf(class: u8, data: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut header = b"\x7fELF".to_vec();
        header.extend([class, data, 1]);
        header.resize(18, 0);
        header.extend(machine);
        header.resize(64, 0);
        header
    }

    #[test]
    fn describes_a_debian() {
        let mut tree = MemTree::new();
        tree.link("/etc/os-release", "../usr/lib/os-release");
        tree.file("/usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\n").file("/etc/hostname", "\nweb\n");
        tree.link("/lib", "usr/lib").file("/usr/lib/systemd/systemd", elf(2, 1, [62, 0]));
        tree.link("/usr/sbin/init", "/lib/systemd/systemd").link("/sbin", "usr/sbin").file("/usr/bin/apt-get", "");
        tree.file("/etc/fstab", "# x\nUUID=1-2 / ext4 rw 0 1\n\nLABEL=a /my\\040data auto\nbroken /x\n");
        let info = describe(&tree);
        let os = info.os.unwrap();
        assert_eq!((os.id.as_str(), os.major()), ("debian", Some(12)));
        assert_eq!((info.hostname.as_deref(), info.architecture), (Some("web"), Some("x86_64")));
        assert_eq!((info.init, info.package_manager), (Some(Init::Systemd), Some("apt")));
        let mounts: Vec<&str> = info.fstab.iter().map(|entry| entry.mount_point.as_str()).collect();
        assert_eq!(mounts, ["/", "/my data"]);
    }

    #[test]
    fn describes_an_alpine_and_a_cirros() {
        let mut alpine = MemTree::new();
        alpine.file("/bin/busybox", elf(2, 1, [183, 0])).link("/sbin/init", "/bin/busybox").file("/sbin/openrc", "");
        alpine.file("/sbin/apk", "");
        let info = describe(&alpine);
        assert_eq!((info.architecture, info.init), (Some("aarch64"), Some(Init::OpenRc)));
        assert_eq!(info.package_manager, Some("apk"));
        let mut cirros = MemTree::new();
        cirros.file("/bin/busybox", elf(2, 1, [62, 0])).link("/sbin/init", "../bin/busybox");
        assert_eq!(describe(&cirros).init, Some(Init::Busybox));
    }

    #[test]
    fn an_odd_guest_has_no_facts_and_no_failures() {
        assert_eq!(describe(&MemTree::new()), GuestInfo::default());
        let mut tree = MemTree::new();
        tree.dir("/etc/os-release").link("/etc/hostname", "hostname").file("/bin/sh", "#!").dir("/sbin/init");
        tree.file("/etc/fstab", b"\xff\xfe\n/dev/sda1");
        assert_eq!(describe(&tree), GuestInfo::default());
    }

    #[test]
    fn machines_by_class_and_byte_order() {
        let name = |class, data, number| machine(elf(class, data, number)[..20].try_into().unwrap());
        assert_eq!(name(2, 1, [21, 0]), Some("ppc64le"));
        assert_eq!(name(2, 2, [0, 21]), Some("ppc64"));
        assert_eq!(name(1, 1, [40, 0]), Some("arm"));
        assert_eq!(name(2, 2, [0, 22]), Some("s390x"));
        assert_eq!(name(1, 1, [99, 99]), None);
    }
}
