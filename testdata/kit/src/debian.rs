//! Full Debian systems as disk images, made once by `testdata/make-debian.sh` and kept in the cache folder.

use crate::tool::{output, require, skip};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A release of Debian; its ext4 features are those that its own `mke2fs` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian 12: metadata_csum, 64bit.
    Bookworm,
    /// Debian 13: also metadata_csum_seed and orphan_file.
    Trixie,
}

/// What is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// GPT: 1 root, 14 BIOS boot, 15 ESP; 4 GiB.
    Gpt,
    /// MBR: 1 /boot (ext2), 2 extended, 5 root, 6 swap; 4 GiB.
    Mbr,
    /// No partition table: the filesystem is the disk; 4 GiB.
    None,
    /// As [`Layout::Gpt`], on 2 TiB.
    Huge,
}

/// What the disk is stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// Raw, sparse.
    Raw,
    /// qcow2 version 3.
    Qcow2,
    /// qcow2 with zlib-compressed clusters.
    Qcow2Zlib,
    /// qcow2 with zstd-compressed clusters.
    Qcow2Zstd,
    /// An empty qcow2 whose backing file is the raw image, named relative to it.
    Overlay,
}

impl Release {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Bookworm, Self::Trixie];

    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

impl Layout {
    /// The three of ordinary size.
    pub const ALL: [Self; 3] = [Self::Gpt, Self::Mbr, Self::None];

    /// Byte offset of the root filesystem in the disk.
    pub fn root_offset(self) -> u64 {
        match self {
            Self::Gpt | Self::Huge => 128 << 20,
            Self::Mbr => 129 << 20,
            Self::None => 0,
        }
    }

    /// Number of the root partition; 0 for the whole disk.
    pub fn root_partition(self) -> u32 {
        match self {
            Self::Gpt | Self::Huge => 1,
            Self::Mbr => 5,
            Self::None => 0,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gpt => "gpt",
            Self::Mbr => "mbr",
            Self::None => "none",
            Self::Huge => "huge",
        }
    }
}

impl Container {
    /// All five.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Qcow2, Self::Qcow2Zlib, Self::Qcow2Zstd, Self::Overlay];

    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Qcow2Zlib => "qcow2-zlib",
            Self::Qcow2Zstd => "qcow2-zstd",
            Self::Overlay => "overlay",
        }
    }
}

/// The path of an image, made now if it is not there: minutes for the first of a release, seconds for a container.
/// Tests that run at once wait for each other. The file is shared and read-only: copy it, or put an overlay above.
///
/// `None`, after a line that says why, where it cannot be made and the environment variable `CI` is not set; with it
/// set, a panic.
pub fn image(release: Release, layout: Layout, container: Container) -> Option<PathBuf> {
    if !require(&["mmdebstrap", "fakeroot", "mke2fs", "sgdisk", "sfdisk", "mkfs.fat", "mcopy", "qemu-img"]) {
        return None;
    }
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../make-debian.sh");
    let mut command = Command::new(&script);
    command.args([release.name(), layout.name(), container.name()]).stderr(Stdio::inherit());
    let done = output(&mut command);
    let path = PathBuf::from(String::from_utf8(done.stdout).expect("the cache folder has a UTF-8 name").trim_end());
    if !done.status.success() || !path.is_file() {
        skip(&format!("testdata/make-debian.sh made no {} {}", release.name(), layout.name()));
        return None;
    }
    Some(path)
}
