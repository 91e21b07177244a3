//! Which features: the defaults of a release of e2fsprogs, and what the caller adds and removes.

use super::options::MkfsOptions;
use crate::error::{Error, Result};
use crate::features::{Features, Kind, compat, incompat, ro_compat};

/// Whose default features a new filesystem has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// e2fsprogs 1.44 to 1.46, and what Debian 10 to 12 and Ubuntu 18.04 to 24.04 make: read by kernels since 3.18.
    E2fsprogs146,
    /// e2fsprogs 1.47, as upstream and Debian 13 have it: adds `metadata_csum_seed` and `orphan_file`. Every kernel
    /// since 5.15 mounts it, but e2fsck before 1.47 and GRUB before 2.12 do not know it. The default, because it is
    /// upstream's.
    #[default]
    E2fsprogs147,
}

impl Profile {
    /// The release, as `--profile` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::E2fsprogs146 => "1.46",
            Self::E2fsprogs147 => "1.47",
        }
    }

    /// The profile of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::E2fsprogs146, Self::E2fsprogs147].into_iter().find(|profile| profile.name() == name)
    }
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Compat,
    Incompat,
    RoCompat,
}

/// What can be asked for by name.
const KNOWN: &[(&str, Word, u32)] = &[
    ("has_journal", Word::Compat, compat::HAS_JOURNAL),
    ("ext_attr", Word::Compat, compat::EXT_ATTR),
    ("resize_inode", Word::Compat, compat::RESIZE_INODE),
    ("dir_index", Word::Compat, compat::DIR_INDEX),
    ("sparse_super2", Word::Compat, compat::SPARSE_SUPER2),
    ("fast_commit", Word::Compat, compat::FAST_COMMIT),
    ("stable_inodes", Word::Compat, compat::STABLE_INODES),
    ("orphan_file", Word::Compat, compat::ORPHAN_FILE),
    ("filetype", Word::Incompat, incompat::FILETYPE),
    ("meta_bg", Word::Incompat, incompat::META_BG),
    ("extent", Word::Incompat, incompat::EXTENTS),
    ("extents", Word::Incompat, incompat::EXTENTS),
    ("64bit", Word::Incompat, incompat::BIT64),
    ("mmp", Word::Incompat, incompat::MMP),
    ("flex_bg", Word::Incompat, incompat::FLEX_BG),
    ("ea_inode", Word::Incompat, incompat::EA_INODE),
    ("metadata_csum_seed", Word::Incompat, incompat::CSUM_SEED),
    ("large_dir", Word::Incompat, incompat::LARGEDIR),
    ("inline_data", Word::Incompat, incompat::INLINE_DATA),
    ("sparse_super", Word::RoCompat, ro_compat::SPARSE_SUPER),
    ("large_file", Word::RoCompat, ro_compat::LARGE_FILE),
    ("huge_file", Word::RoCompat, ro_compat::HUGE_FILE),
    ("uninit_bg", Word::RoCompat, ro_compat::GDT_CSUM),
    ("uninit_groups", Word::RoCompat, ro_compat::GDT_CSUM),
    ("dir_nlink", Word::RoCompat, ro_compat::DIR_NLINK),
    ("extra_isize", Word::RoCompat, ro_compat::EXTRA_ISIZE),
    ("quota", Word::RoCompat, ro_compat::QUOTA),
    ("project", Word::RoCompat, ro_compat::PROJECT),
    ("bigalloc", Word::RoCompat, ro_compat::BIGALLOC),
    ("metadata_csum", Word::RoCompat, ro_compat::METADATA_CSUM),
];

/// Names that mean something and are not made, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("casefold", "names are not folded here"),
    ("fname_encoding", "names are not folded here"),
    ("encrypt", "encrypted files cannot be written here"),
    ("verity", "protected files cannot be written here"),
    ("journal_dev", "a journal on a device of its own is not made"),
    ("shared_blocks", "nothing could be written to it"),
    ("read-only", "nothing could be written to it"),
    ("needs_recovery", "it is a state, not a choice"),
    ("orphan_present", "it is a state, not a choice"),
];

const BASE_COMPAT: u32 = compat::EXT_ATTR | compat::RESIZE_INODE | compat::DIR_INDEX;
const BASE_RO_COMPAT: u32 = ro_compat::SPARSE_SUPER | ro_compat::LARGE_FILE;
const EXT4_INCOMPAT: u32 = incompat::EXTENTS | incompat::FLEX_BG | incompat::BIT64;
const EXT4_RO_COMPAT: u32 =
    ro_compat::HUGE_FILE | ro_compat::METADATA_CSUM | ro_compat::DIR_NLINK | ro_compat::EXTRA_ISIZE;

fn defaults(kind: Kind, profile: Profile) -> Features {
    let mut features = Features { compat: BASE_COMPAT, incompat: incompat::FILETYPE, ro_compat: BASE_RO_COMPAT };
    if kind != Kind::Ext2 {
        features.compat |= compat::HAS_JOURNAL;
    }
    if kind == Kind::Ext4 {
        features.incompat |= EXT4_INCOMPAT;
        features.ro_compat |= EXT4_RO_COMPAT;
        if profile == Profile::E2fsprogs147 {
            features.compat |= compat::ORPHAN_FILE;
            features.incompat |= incompat::CSUM_SEED;
        }
    }
    features
}

fn word(features: &mut Features, word: Word) -> &mut u32 {
    match word {
        Word::Compat => &mut features.compat,
        Word::Incompat => &mut features.incompat,
        Word::RoCompat => &mut features.ro_compat,
    }
}

/// What the caller added and removed, by name.
#[derive(Debug, Default)]
struct Edits<'a> {
    added: Vec<&'a str>,
    removed: Vec<&'a str>,
}

fn invalid(text: String) -> Error {
    Error::Invalid(text)
}

/// The features of the new filesystem: defaults, edited, with what depends on each other checked.
pub(super) fn resolve(options: &MkfsOptions) -> Result<Features> {
    let mut features = defaults(options.kind, options.profile);
    let mut edits = Edits::default();
    let list = options.features.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty());
    for text in list {
        if text == "none" {
            features = Features { compat: 0, incompat: 0, ro_compat: 0 };
            continue;
        }
        let (name, remove) = text.strip_prefix('^').map_or((text, false), |name| (name, true));
        let Some((_, class, bit)) = KNOWN.iter().find(|(known, ..)| *known == name) else {
            return match REFUSED.iter().find(|(known, _)| *known == name) {
                Some(_) if remove => continue,
                Some((name, why)) => Err(Error::Unsupported(format!("feature {name} is not made: {why}"))),
                None => Err(invalid(format!("unknown feature {name}"))),
            };
        };
        let field = word(&mut features, *class);
        let (mine, other) =
            if remove { (&mut edits.removed, &edits.added) } else { (&mut edits.added, &edits.removed) };
        if other.contains(&name) {
            return Err(invalid(format!("feature {name} is both added and removed")));
        }
        mine.push(name);
        *field = if remove { *field & !bit } else { *field | bit };
    }
    follow(&mut features, &edits);
    if options.resize_limit.is_some() {
        features.compat |= compat::RESIZE_INODE;
    }
    check(&features)?;
    Ok(features)
}

/// Defaults that make no sense without what was removed go with it; what was named stays, to be refused.
fn follow(features: &mut Features, edits: &Edits<'_>) {
    let named = |name: &str| edits.added.contains(&name);
    if !features.compat(compat::HAS_JOURNAL) && !named("orphan_file") {
        features.compat &= !compat::ORPHAN_FILE;
    }
    if !features.ro_compat(ro_compat::METADATA_CSUM) && !named("metadata_csum_seed") {
        features.incompat &= !incompat::CSUM_SEED;
    }
    if !features.incompat(incompat::EXTENTS) && !named("64bit") && edits.removed.contains(&"extent") {
        features.incompat &= !incompat::BIT64;
    }
    if named("meta_bg") && !named("resize_inode") {
        features.compat &= !compat::RESIZE_INODE;
    }
    if !features.ro_compat(ro_compat::SPARSE_SUPER) && !named("resize_inode") {
        features.compat &= !compat::RESIZE_INODE;
    }
    // With checksums of everything, those of descriptors alone are part of it.
    if features.ro_compat(ro_compat::METADATA_CSUM) && !named("metadata_csum") {
        features.ro_compat &= !ro_compat::GDT_CSUM;
    }
}

/// Features that exclude or need each other.
fn check(features: &Features) -> Result<()> {
    let needs = |with: bool, name: &str, what: bool, needed: &str| {
        if with && !what { Err(invalid(format!("feature {name} needs {needed}"))) } else { Ok(()) }
    };
    let excludes = |a: bool, name: &str, b: bool, other: &str| {
        if a && b { Err(invalid(format!("features {name} and {other} exclude each other"))) } else { Ok(()) }
    };
    let (compat_on, incompat_on, ro_on) =
        (|bit| features.compat(bit), |bit| features.incompat(bit), |bit| features.ro_compat(bit));
    let extents = incompat_on(incompat::EXTENTS);
    let journal = compat_on(compat::HAS_JOURNAL);
    let resize = compat_on(compat::RESIZE_INODE);
    needs(incompat_on(incompat::BIT64), "64bit", extents, "extent")?;
    needs(ro_on(ro_compat::BIGALLOC), "bigalloc", extents, "extent")?;
    needs(compat_on(compat::ORPHAN_FILE), "orphan_file", journal, "has_journal")?;
    needs(compat_on(compat::FAST_COMMIT), "fast_commit", journal, "has_journal")?;
    needs(incompat_on(incompat::CSUM_SEED), "metadata_csum_seed", ro_on(ro_compat::METADATA_CSUM), "metadata_csum")?;
    needs(resize, "resize_inode", ro_on(ro_compat::SPARSE_SUPER), "sparse_super")?;
    excludes(resize, "resize_inode", incompat_on(incompat::META_BG), "meta_bg")?;
    excludes(ro_on(ro_compat::GDT_CSUM), "uninit_bg", ro_on(ro_compat::METADATA_CSUM), "metadata_csum")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(kind: Kind, list: &str) -> Result<Vec<String>> {
        let options = MkfsOptions { kind, features: vec![list.to_owned()], ..MkfsOptions::default() };
        Ok(resolve(&options)?.names())
    }

    #[test]
    fn the_defaults_of_each_kind() {
        assert_eq!(
            names(Kind::Ext2, "").unwrap(),
            ["ext_attr", "resize_inode", "dir_index", "filetype", "sparse_super", "large_file"]
        );
        assert!(names(Kind::Ext3, "").unwrap().contains(&"has_journal".to_owned()));
        let old = MkfsOptions { profile: Profile::E2fsprogs146, ..MkfsOptions::default() };
        let (old, new) = (resolve(&old).unwrap().names(), names(Kind::Ext4, "").unwrap());
        let added: Vec<_> = new.iter().filter(|name| !old.contains(name)).collect();
        assert_eq!(added, ["orphan_file", "metadata_csum_seed"]);
    }

    #[test]
    fn errors_say_which_feature() {
        for (list, words) in [
            ("bogus", "unknown feature bogus"),
            ("casefold", "casefold"),
            ("mmp,^mmp", "mmp is both added and removed"),
            ("^extent,64bit", "64bit needs extent"),
            ("^has_journal,orphan_file", "orphan_file needs has_journal"),
            ("meta_bg,resize_inode", "resize_inode and meta_bg exclude"),
            ("uninit_bg,metadata_csum", "uninit_bg and metadata_csum exclude"),
            ("^metadata_csum,metadata_csum_seed", "metadata_csum_seed needs metadata_csum"),
        ] {
            let error = names(Kind::Ext4, list).unwrap_err().to_string();
            assert!(error.contains(words), "{list}: {error}");
        }
    }

    #[test]
    fn a_default_goes_with_what_it_needs() {
        let list = names(Kind::Ext4, "^has_journal,^metadata_csum").unwrap();
        assert!(!list.contains(&"orphan_file".to_owned()) && !list.contains(&"metadata_csum_seed".to_owned()));
    }
}
