//! Which filesystem an operating system gets, and the commands that make it.

use crate::error::{Error, ErrorKind, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The operating system of a template that stands for every other.
const FALLBACK: &str = "default";

/// The filesystem for an operating system that no template is for.
pub fn type_for_os(os_type: &str) -> &'static str {
    match os_type {
        "linux" => "ext4",
        "windows" => "ntfs",
        _ => "vfat",
    }
}

/// A command line with places for label and target. It is split at white space first and filled in then, so that
/// neither can become an option of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    words: Vec<String>,
}

impl Template {
    /// Reads a command: `%(fs_label)s` and `%(target)s` are filled in, `%%` is a percent sign, other uses of it are
    /// errors. Nothing is quoted, and no shell sees it.
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let template = Self { words };
        let filled = template.fill(OsStr::new("label"), OsStr::new("target"))?;
        if filled.is_empty() || !template.words.iter().skip(1).any(|word| word.contains("%(target)s")) {
            let message = format!("the mkfs template {text:?} has no %(target)s for what to format");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        Ok(template)
    }

    /// The command with its arguments.
    pub fn fill(&self, label: &OsStr, target: &OsStr) -> Result<Vec<OsString>> {
        self.words.iter().map(|word| fill_word(word, label, target)).collect()
    }

    /// The filesystem that it makes, as far as its words tell.
    pub fn filesystem(&self) -> &str {
        let program = self.words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
        match program {
            "mkfs" => {
                let mut words = self.words.iter();
                let found = words.find_map(|word| word.strip_prefix("-t").or_else(|| word.strip_prefix("--type=")));
                match found {
                    Some("") => words.next().map_or("ext2", String::as_str),
                    Some(name) => name,
                    None => "ext2",
                }
            }
            "mke2fs" => "ext2",
            "mkswap" => "swap",
            "mkntfs" => "ntfs",
            "mkdosfs" => "vfat",
            _ => program.strip_prefix("mkfs.").unwrap_or(program),
        }
    }
}

fn fill_word(word: &str, label: &OsStr, target: &OsStr) -> Result<OsString> {
    let mut filled = Vec::new();
    let mut rest = word;
    while let Some(at) = rest.find('%') {
        filled.extend(&rest.as_bytes()[..at]);
        let places = [("%(fs_label)s", label.as_bytes()), ("%(target)s", target.as_bytes()), ("%%", b"%")];
        let Some((place, value)) = places.into_iter().find(|(place, _)| rest[at..].starts_with(place)) else {
            let message = format!("{word:?} in a mkfs template is neither %(fs_label)s, %(target)s nor %%");
            return Err(Error::new(ErrorKind::Usage, message));
        };
        filled.extend(value);
        rest = &rest[at + place.len()..];
    }
    filled.extend(rest.as_bytes());
    Ok(OsString::from_vec(filled))
}

/// Templates by operating system.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    entries: Vec<(String, Template)>,
}

impl Templates {
    /// Adds an entry `OS=COMMAND`, split at the first `=`. One without an operating system is ignored; a later one for
    /// the same replaces the earlier.
    pub fn add(&mut self, entry: &str) -> Result<()> {
        let Some((os_type, command)) = entry.split_once('=') else {
            let message = format!("the mkfs template {entry:?} is not of the form OS=COMMAND");
            return Err(Error::new(ErrorKind::Usage, message));
        };
        if !os_type.is_empty() {
            let template = Template::parse(command)?;
            self.entries.retain(|(known, _)| known != os_type);
            self.entries.push((os_type.to_owned(), template));
        }
        Ok(())
    }

    /// The command for an operating system, or that of `default`.
    pub fn find(&self, os_type: Option<&str>) -> Option<&Template> {
        let entry = |wanted: &str| self.entries.iter().find(|(known, _)| known == wanted).map(|(_, found)| found);
        os_type.and_then(entry).or_else(|| entry(FALLBACK))
    }
}

/// Fails for a label that the filesystem of that name cannot hold: tools that cut it would make another one of it.
/// Nothing is known of other filesystems.
pub fn check_label(filesystem: &str, label: &OsStr) -> Result<()> {
    let bytes = label.as_bytes();
    let (limit, unit, len) = match filesystem {
        "ext2" | "ext3" | "ext4" => (16, "bytes", bytes.len()),
        "vfat" | "fat" | "msdos" => (nomount_fat::MAX_LABEL, "bytes", bytes.len()),
        "swap" => (15, "bytes", bytes.len()),
        "xfs" => (12, "bytes", bytes.len()),
        "btrfs" => (255, "bytes", bytes.len()),
        "ntfs" => (32, "UTF-16 units", label.to_string_lossy().encode_utf16().count()),
        _ => return Ok(()),
    };
    if len > limit {
        let message = format!("the label {label:?} is longer than the {limit} {unit} that {filesystem} has for it");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

/// The Debian package with a program that makes filesystems.
pub(super) fn package(program: &OsStr) -> Option<&'static str> {
    Some(match Path::new(program).file_name()?.to_str()? {
        "mkfs.ntfs" | "mkntfs" => "ntfs-3g",
        "mkfs.xfs" => "xfsprogs",
        "mkfs.btrfs" => "btrfs-progs",
        "mkfs.ext2" | "mkfs.ext3" | "mkfs.ext4" | "mke2fs" => "e2fsprogs",
        "mkfs.fat" | "mkfs.vfat" | "mkfs.msdos" | "mkdosfs" => "dosfstools",
        "mkfs.exfat" => "exfatprogs",
        "mkfs.f2fs" => "f2fs-tools",
        "mkfs" | "mkswap" => "util-linux",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, label: &str) -> Vec<OsString> {
        Template::parse(text).unwrap().fill(OsStr::new(label), OsStr::new("/dev/a b")).unwrap()
    }

    #[test]
    fn f1_the_first_equals_sign_splits_and_default_is_the_fallback() {
        let mut templates = Templates::default();
        for entry in ["linux=mkfs.ext3 -O a=b %(target)s", "=nothing %(target)s", "default=mkfs.vfat %(target)s"] {
            templates.add(entry).unwrap();
        }
        assert_eq!(templates.entries.len(), 2, "an empty operating system is ignored");
        let words = |os_type| templates.find(os_type).unwrap().words.join(" ");
        assert_eq!(words(Some("linux")), "mkfs.ext3 -O a=b %(target)s");
        assert_eq!(words(Some("plan9")), "mkfs.vfat %(target)s");
        assert_eq!(words(None), "mkfs.vfat %(target)s");
        assert!(Templates::default().find(Some("linux")).is_none());
        assert!(templates.add("linux").is_err());
    }

    #[test]
    fn f2_label_and_target_are_filled_in_and_nothing_else() {
        let words = filled("mkfs.x  -L %(fs_label)s\t-o 5%%=%(target)s", "-F two");
        assert_eq!(words, ["mkfs.x", "-L", "-F two", "-o", "5%=/dev/a b"]);
        for wrong in ["mkfs %(target)d %(target)s", "mkfs %(label)s %(target)s", "mkfs %", "mkfs", "", "%(target)s"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn f3_the_type_follows_from_the_operating_system() {
        assert_eq!(["linux", "windows", "vxworks"].map(type_for_os), ["ext4", "ntfs", "vfat"]);
    }

    #[test]
    fn f6_a_label_too_long_is_an_error_for_each_filesystem() {
        for (text, filesystem, limit) in [
            ("mkfs.ext3 %(target)s", "ext3", 16),
            ("/sbin/mkfs -t ext4 %(target)s", "ext4", 16),
            ("mkfs -tvfat %(target)s", "vfat", 11),
            ("mkfs --type=xfs %(target)s", "xfs", 12),
            ("mkfs.msdos %(target)s", "msdos", 11),
            ("mkswap %(target)s", "swap", 15),
            ("mkntfs %(target)s", "ntfs", 32),
        ] {
            assert_eq!(Template::parse(text).unwrap().filesystem(), filesystem);
            check_label(filesystem, OsStr::new(&"x".repeat(limit))).unwrap();
            assert!(check_label(filesystem, OsStr::new(&"x".repeat(limit + 1))).is_err(), "{text}");
        }
        check_label("mine", OsStr::new(&"x".repeat(999))).unwrap();
    }
}
