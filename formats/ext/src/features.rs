//! Feature flags: their numbers, their names, and what each one allows us to do.

use crate::error::{Error, Result};
use crate::raw::Superblock;

/// Flags that a writer may ignore.
pub mod compat {
    #![allow(missing_docs, reason = "the names are the specification's")]
    pub const HAS_JOURNAL: u32 = 0x4;
    pub const EXT_ATTR: u32 = 0x8;
    pub const RESIZE_INODE: u32 = 0x10;
    pub const DIR_INDEX: u32 = 0x20;
    pub const SPARSE_SUPER2: u32 = 0x200;
    pub const FAST_COMMIT: u32 = 0x400;
    pub const STABLE_INODES: u32 = 0x800;
    pub const ORPHAN_FILE: u32 = 0x1000;
}

/// Flags without which nothing may be read.
pub mod incompat {
    #![allow(missing_docs, reason = "the names are the specification's")]
    pub const FILETYPE: u32 = 0x2;
    pub const RECOVER: u32 = 0x4;
    pub const JOURNAL_DEV: u32 = 0x8;
    pub const META_BG: u32 = 0x10;
    pub const EXTENTS: u32 = 0x40;
    pub const BIT64: u32 = 0x80;
    pub const MMP: u32 = 0x100;
    pub const FLEX_BG: u32 = 0x200;
    pub const EA_INODE: u32 = 0x400;
    pub const CSUM_SEED: u32 = 0x2000;
    pub const LARGEDIR: u32 = 0x4000;
    pub const INLINE_DATA: u32 = 0x8000;
    pub const ENCRYPT: u32 = 0x10000;
    pub const CASEFOLD: u32 = 0x20000;
}

/// Flags without which nothing may be written.
pub mod ro_compat {
    #![allow(missing_docs, reason = "the names are the specification's")]
    pub const SPARSE_SUPER: u32 = 0x1;
    pub const LARGE_FILE: u32 = 0x2;
    pub const HUGE_FILE: u32 = 0x8;
    pub const GDT_CSUM: u32 = 0x10;
    pub const DIR_NLINK: u32 = 0x20;
    pub const EXTRA_ISIZE: u32 = 0x40;
    pub const QUOTA: u32 = 0x100;
    pub const BIGALLOC: u32 = 0x200;
    pub const METADATA_CSUM: u32 = 0x400;
    pub const READONLY: u32 = 0x1000;
    pub const PROJECT: u32 = 0x2000;
    pub const SHARED_BLOCKS: u32 = 0x4000;
    pub const VERITY: u32 = 0x8000;
    pub const ORPHAN_PRESENT: u32 = 0x10000;
}

const COMPAT_NAMES: &[(u32, &str)] = &[
    (0x1, "dir_prealloc"),
    (0x2, "imagic_inodes"),
    (compat::HAS_JOURNAL, "has_journal"),
    (compat::EXT_ATTR, "ext_attr"),
    (compat::RESIZE_INODE, "resize_inode"),
    (compat::DIR_INDEX, "dir_index"),
    (0x40, "lazy_bg"),
    (0x80, "exclude_inode"),
    (0x100, "exclude_bitmap"),
    (compat::SPARSE_SUPER2, "sparse_super2"),
    (compat::FAST_COMMIT, "fast_commit"),
    (compat::STABLE_INODES, "stable_inodes"),
    (compat::ORPHAN_FILE, "orphan_file"),
];

const INCOMPAT_NAMES: &[(u32, &str)] = &[
    (0x1, "compression"),
    (incompat::FILETYPE, "filetype"),
    (incompat::RECOVER, "needs_recovery"),
    (incompat::JOURNAL_DEV, "journal_dev"),
    (incompat::META_BG, "meta_bg"),
    (incompat::EXTENTS, "extent"),
    (incompat::BIT64, "64bit"),
    (incompat::MMP, "mmp"),
    (incompat::FLEX_BG, "flex_bg"),
    (incompat::EA_INODE, "ea_inode"),
    (0x1000, "dirdata"),
    (incompat::CSUM_SEED, "metadata_csum_seed"),
    (incompat::LARGEDIR, "large_dir"),
    (incompat::INLINE_DATA, "inline_data"),
    (incompat::ENCRYPT, "encrypt"),
    (incompat::CASEFOLD, "casefold"),
];

const RO_COMPAT_NAMES: &[(u32, &str)] = &[
    (ro_compat::SPARSE_SUPER, "sparse_super"),
    (ro_compat::LARGE_FILE, "large_file"),
    (0x4, "btree_dir"),
    (ro_compat::HUGE_FILE, "huge_file"),
    (ro_compat::GDT_CSUM, "uninit_bg"),
    (ro_compat::DIR_NLINK, "dir_nlink"),
    (ro_compat::EXTRA_ISIZE, "extra_isize"),
    (0x80, "has_snapshot"),
    (ro_compat::QUOTA, "quota"),
    (ro_compat::BIGALLOC, "bigalloc"),
    (ro_compat::METADATA_CSUM, "metadata_csum"),
    (0x800, "replica"),
    (ro_compat::READONLY, "read-only"),
    (ro_compat::PROJECT, "project"),
    (ro_compat::SHARED_BLOCKS, "shared_blocks"),
    (ro_compat::VERITY, "verity"),
    (ro_compat::ORPHAN_PRESENT, "orphan_present"),
];

/// Incompatible features that are read.
const READ_INCOMPAT: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::BIT64
    | incompat::MMP
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGEDIR
    | incompat::INLINE_DATA
    | incompat::ENCRYPT
    | incompat::CASEFOLD;

/// Incompatible features with which a filesystem is written.
const WRITE_INCOMPAT: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::EXTENTS
    | incompat::BIT64
    | incompat::FLEX_BG
    | incompat::CSUM_SEED
    | incompat::META_BG
    | incompat::MMP
    | incompat::EA_INODE
    | incompat::LARGEDIR
    | incompat::INLINE_DATA
    | incompat::ENCRYPT
    | incompat::CASEFOLD;

/// Read-only-compatible features with which a filesystem is written.
const WRITE_RO_COMPAT: u32 = ro_compat::SPARSE_SUPER
    | ro_compat::LARGE_FILE
    | ro_compat::HUGE_FILE
    | ro_compat::GDT_CSUM
    | ro_compat::DIR_NLINK
    | ro_compat::EXTRA_ISIZE
    | ro_compat::BIGALLOC
    | ro_compat::METADATA_CSUM
    | ro_compat::QUOTA
    | ro_compat::PROJECT
    | ro_compat::VERITY
    | ro_compat::ORPHAN_PRESENT;

/// A member of the family, as `blkid` tells them apart by the features in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Without a journal and without anything that came later.
    Ext2,
    /// With a journal.
    Ext3,
    /// With anything that ext3 does not have.
    Ext4,
}

impl Kind {
    /// `ext2`, `ext3` or `ext4`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
        }
    }
}

/// The feature words of a superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// `s_feature_compat`.
    pub compat: u32,
    /// `s_feature_incompat`.
    pub incompat: u32,
    /// `s_feature_ro_compat`.
    pub ro_compat: u32,
}

impl Features {
    pub(crate) fn of(sb: &Superblock) -> Self {
        Self {
            compat: sb.s_feature_compat.get(),
            incompat: sb.s_feature_incompat.get(),
            ro_compat: sb.s_feature_ro_compat.get(),
        }
    }

    /// Which of the family uses such features.
    pub fn kind(&self) -> Kind {
        const EXT3_INCOMPAT: u32 = incompat::FILETYPE | incompat::RECOVER | incompat::META_BG | incompat::JOURNAL_DEV;
        const EXT3_RO_COMPAT: u32 = 0x7;
        let beyond = self.incompat & !EXT3_INCOMPAT != 0 || self.ro_compat & !EXT3_RO_COMPAT != 0;
        match (beyond, self.compat(compat::HAS_JOURNAL)) {
            (true, _) => Kind::Ext4,
            (false, true) => Kind::Ext3,
            (false, false) => Kind::Ext2,
        }
    }

    /// Whether a compatible feature is set.
    pub fn compat(&self, bit: u32) -> bool {
        self.compat & bit != 0
    }

    /// Whether an incompatible feature is set.
    pub fn incompat(&self, bit: u32) -> bool {
        self.incompat & bit != 0
    }

    /// Whether a read-only-compatible feature is set.
    pub fn ro_compat(&self, bit: u32) -> bool {
        self.ro_compat & bit != 0
    }

    /// Names as `dumpe2fs` and `mke2fs -O` spell them; unknown bits as `FEATURE_C31`, `FEATURE_I31`, `FEATURE_R31`.
    pub fn names(&self) -> Vec<String> {
        let mut all = names(self.compat, COMPAT_NAMES, 'C');
        all.extend(names(self.incompat, INCOMPAT_NAMES, 'I'));
        all.extend(names(self.ro_compat, RO_COMPAT_NAMES, 'R'));
        all
    }

    /// Fails, with the names, when a feature stands against reading.
    pub(crate) fn require_readable(&self) -> Result<()> {
        let unknown = self.incompat & !READ_INCOMPAT;
        if unknown != 0 {
            let list = names(unknown, INCOMPAT_NAMES, 'I').join(", ");
            return Err(Error::Unsupported(format!("incompatible feature {list}")));
        }
        if self.ro_compat(ro_compat::GDT_CSUM) && self.ro_compat(ro_compat::METADATA_CSUM) {
            return Err(Error::Unsupported("uninit_bg and metadata_csum at once".into()));
        }
        Ok(())
    }

    /// Fails, with the names, when a feature stands against writing.
    pub(crate) fn require_writable(&self) -> Result<()> {
        let mut list = names(self.incompat & !WRITE_INCOMPAT, INCOMPAT_NAMES, 'I');
        list.extend(names(self.ro_compat & !WRITE_RO_COMPAT, RO_COMPAT_NAMES, 'R'));
        if list.is_empty() {
            return Ok(());
        }
        Err(Error::ReadOnly(format!("feature {} is not written", list.join(", "))))
    }
}

fn names(word: u32, table: &[(u32, &str)], class: char) -> Vec<String> {
    (0..32)
        .filter(|bit| word & (1 << bit) != 0)
        .map(|bit| match table.iter().find(|(flag, _)| *flag == 1 << bit) {
            Some((_, name)) => (*name).to_string(),
            None => format!("FEATURE_{class}{bit}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_named_and_refused() {
        let features = Features { compat: 1 << 31, incompat: 1 << 30, ro_compat: 1 << 29 };
        assert_eq!(features.names(), ["FEATURE_C31", "FEATURE_I30", "FEATURE_R29"]);
        assert!(features.require_readable().unwrap_err().to_string().contains("FEATURE_I30"));
        let features = Features { compat: 1 << 31, incompat: 0, ro_compat: 1 << 29 };
        features.require_readable().unwrap();
        assert!(features.require_writable().unwrap_err().to_string().contains("FEATURE_R29"));
    }
}
