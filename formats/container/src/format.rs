//! The formats and their names.

use std::fmt;

/// How a file stores a disk, or what its first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// No format that is known.
    Raw,
    /// QEMU's qcow, version 1.
    Qcow,
    /// QEMU's qcow2, and any later version under its magic.
    Qcow2,
    /// QEMU's enhanced disk.
    Qed,
    /// VMware's, with its header or as a text that names other files.
    Vmdk,
    /// Connectix' and Microsoft's virtual hard disk.
    Vhd,
    /// Microsoft's second one.
    Vhdx,
    /// VirtualBox'.
    Vdi,
    /// An encrypted volume.
    Luks,
    /// ISO 9660 or UDF.
    Iso,
    /// A disk with a protective MBR.
    Gpt,
    /// A disk, or something else, with the signature of an MBR.
    Mbr,
    /// Parallels' disk.
    Parallels,
    /// The disk of the Bochs emulator.
    Bochs,
    /// A compressed loop image.
    Cloop,
}

impl Format {
    const ALL: [Self; 15] = [
        Self::Raw,
        Self::Qcow,
        Self::Qcow2,
        Self::Qed,
        Self::Vmdk,
        Self::Vhd,
        Self::Vhdx,
        Self::Vdi,
        Self::Luks,
        Self::Iso,
        Self::Gpt,
        Self::Mbr,
        Self::Parallels,
        Self::Bochs,
        Self::Cloop,
    ];

    /// The name, as most tools spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow => "qcow",
            Self::Qcow2 => "qcow2",
            Self::Qed => "qed",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
            Self::Luks => "luks",
            Self::Iso => "iso",
            Self::Gpt => "gpt",
            Self::Mbr => "mbr",
            Self::Parallels => "parallels",
            Self::Bochs => "bochs",
            Self::Cloop => "cloop",
        }
    }

    /// The format of that name; `vpc` is QEMU's word for vhd.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "vpc" {
            return Some(Self::Vhd);
        }
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The names of all formats.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::name)
    }

    /// Whether the guest's bytes are those of the file: a reader who takes it as raw reads the same disk.
    pub fn is_one_to_one(self) -> bool {
        matches!(self, Self::Raw | Self::Iso | Self::Gpt | Self::Mbr)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
