//! Finding and running the tools of the host.

use std::path::PathBuf;
use std::process::{Command, Output};

/// Which Debian package holds a tool; `testdata/install-judges.sh` installs the same.
const PACKAGES: &[(&str, &str)] = &[
    ("e2fsck", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("dumpe2fs", "e2fsprogs"),
    ("mke2fs", "e2fsprogs"),
    ("tune2fs", "e2fsprogs"),
    ("resize2fs", "e2fsprogs"),
    ("matchpathcon", "selinux-utils"),
    ("sed", "sed"),
    ("qemu-img", "qemu-utils"),
    ("qemu-io", "qemu-utils"),
    ("qemu-nbd", "qemu-utils"),
    ("sgdisk", "gdisk"),
    ("sfdisk", "fdisk"),
    ("mkfs.fat", "dosfstools"),
    ("fsck.fat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mmdebstrap", "mmdebstrap"),
    ("fakeroot", "fakeroot"),
    ("faketime", "faketime"),
    ("gzip", "gzip"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("tar", "tar"),
    ("perl", "perl-base"),
    ("python3", "python3"),
    ("mkfs.ntfs", "ntfs-3g"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("groff", "groff-base"),
    ("blkid", "util-linux"),
    ("mkswap", "util-linux"),
    ("strace", "strace"),
    ("prlimit", "util-linux"),
];

/// Ordinary users often lack these in `PATH`.
const SYSTEM_FOLDERS: &[&str] = &["/usr/sbin", "/sbin"];

/// Whether every tool named is there. Where one is missing: panics if the environment variable `CI` is set, and
/// otherwise prints a line and gives `false`, so that the test can return.
pub fn require(tools: &[&str]) -> bool {
    let missing: Vec<String> = tools
        .iter()
        .filter(|tool| find(tool).is_none())
        .map(|tool| {
            let package = PACKAGES.iter().find(|(name, _)| name == tool).map_or("?", |(_, package)| package);
            format!("{tool} (package {package})")
        })
        .collect();
    if missing.is_empty() {
        return true;
    }
    skip(&format!("missing: {}; testdata/install-judges.sh installs them", missing.join(", ")));
    false
}

/// Says why a test cannot run here; panics where `CI` is set.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    eprintln!("skipped: {reason}");
}

/// Where a tool is.
fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(tool))
        .find(|file| file.is_file())
}

/// A command for a tool, speaking English. Panics when the tool is missing: see [`require`].
pub fn command(tool: &str) -> Command {
    let mut command = Command::new(find(tool).unwrap_or_else(|| panic!("{tool} is missing: call require first")));
    command.env("LC_ALL", "C").env("TZ", "UTC").env("DEBUGFS_PAGER", "cat").env("PAGER", "cat");
    command
}

/// Runs a command and waits for its output.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?} does not run: {e}"))
}

/// A command's standard output and error, as text for a person.
pub fn text(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}
