//! POSIX ACLs in their two forms: as programs give and get them (version 2: entries of 8 bytes), and as they are stored
//! (version 1: entries without a number are 4 bytes; ext4.rst does not describe it, `fs/ext4/acl.h` does).

use crate::error::{Error, Result};

const API_VERSION: u32 = 2;
const DISK_VERSION: u32 = 1;
/// The number of an entry that names nobody.
const NOBODY: u32 = u32::MAX;
/// More entries than a value of 64 KiB in either form holds.
const MAX_ENTRIES: usize = 1 << 14;

/// `e_tag`: whom an entry is for, in the order in which entries stand.
mod tag {
    pub const USER_OBJ: u16 = 0x01;
    pub const USER: u16 = 0x02;
    pub const GROUP_OBJ: u16 = 0x04;
    pub const GROUP: u16 = 0x08;
    pub const MASK: u16 = 0x10;
    pub const OTHER: u16 = 0x20;
}

fn is_named(tag: u16) -> bool {
    matches!(tag, tag::USER | tag::GROUP)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u16,
    perm: u16,
    id: u32,
}

/// An access control list that is well formed: entries in order, each of the three of the mode once, and a mask where
/// somebody is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acl {
    entries: Vec<Entry>,
}

fn half(bytes: &[u8]) -> u16 {
    u16::from_le_bytes(bytes.try_into().expect("two bytes"))
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

impl Acl {
    /// From the form of programs; none for a list without entries, which stands for no list at all.
    pub fn from_api(bytes: &[u8]) -> Result<Option<Self>> {
        let (version, rest) = bytes.split_at_checked(4).ok_or_else(|| bad("is shorter than its version"))?;
        if word(version) != API_VERSION {
            return Err(bad(&format!("has version {}, expected {API_VERSION}", word(version))));
        }
        if rest.len() % 8 != 0 || rest.len() / 8 > MAX_ENTRIES {
            return Err(bad(&format!("has {} bytes of entries, expected a multiple of 8", rest.len())));
        }
        let entry = |bytes: &[u8]| Entry { tag: half(&bytes[..2]), perm: half(&bytes[2..4]), id: word(&bytes[4..]) };
        let entries: Vec<Entry> = rest.chunks_exact(8).map(entry).collect();
        if entries.is_empty() { Ok(None) } else { Self::checked(entries).map(Some) }
    }

    /// From the form on disk.
    pub fn from_disk(bytes: &[u8]) -> Result<Self> {
        let (version, mut rest) = bytes.split_at_checked(4).ok_or_else(|| bad("is shorter than its version"))?;
        if word(version) != DISK_VERSION {
            return Err(bad(&format!("has version {}, expected {DISK_VERSION}", word(version))));
        }
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let (short, after) = rest.split_at_checked(4).ok_or_else(|| bad("ends within an entry"))?;
            let (tag, perm) = (half(&short[..2]), half(&short[2..]));
            let (id, after) = if is_named(tag) {
                let (id, after) = after.split_at_checked(4).ok_or_else(|| bad("ends within an entry"))?;
                (word(id), after)
            } else {
                (NOBODY, after)
            };
            if entries.len() >= MAX_ENTRIES {
                return Err(bad(&format!("has more than {MAX_ENTRIES} entries")));
            }
            entries.push(Entry { tag, perm, id });
            rest = after;
        }
        Self::checked(entries)
    }

    fn checked(entries: Vec<Entry>) -> Result<Self> {
        let mut last = 0;
        for entry in &entries {
            let Entry { tag, perm, id } = *entry;
            if !(tag.is_power_of_two() && tag <= tag::OTHER) {
                return Err(bad(&format!("has an entry with tag {tag:#x}")));
            }
            if tag < last || tag == last && !is_named(tag) {
                return Err(bad(&format!("has tag {tag:#x} after {last:#x}")));
            }
            if perm > 7 {
                return Err(bad(&format!("has an entry with permissions {perm:#o}")));
            }
            if is_named(tag) && id == NOBODY {
                return Err(bad("has an entry for a user or group without a number"));
            }
            last = tag;
        }
        let has = |tag| entries.iter().any(|entry| entry.tag == tag);
        for (tag, who) in [(tag::USER_OBJ, "the owner"), (tag::GROUP_OBJ, "the group"), (tag::OTHER, "others")] {
            if !has(tag) {
                return Err(bad(&format!("has no entry for {who}")));
            }
        }
        if !has(tag::MASK) && (has(tag::USER) || has(tag::GROUP)) {
            return Err(bad("names somebody and has no mask"));
        }
        Ok(Self { entries })
    }

    /// In the form of programs.
    pub fn to_api(&self) -> Vec<u8> {
        let mut bytes = API_VERSION.to_le_bytes().to_vec();
        for Entry { tag, perm, id } in &self.entries {
            let id = if is_named(*tag) { *id } else { NOBODY };
            bytes.extend(tag.to_le_bytes().into_iter().chain(perm.to_le_bytes()).chain(id.to_le_bytes()));
        }
        bytes
    }

    /// In the form on disk.
    pub fn to_disk(&self) -> Vec<u8> {
        let mut bytes = DISK_VERSION.to_le_bytes().to_vec();
        for Entry { tag, perm, id } in &self.entries {
            bytes.extend(tag.to_le_bytes().into_iter().chain(perm.to_le_bytes()));
            if is_named(*tag) {
                bytes.extend(id.to_le_bytes());
            }
        }
        bytes
    }

    /// The nine permission bits of a mode under this list, and whether they say everything it does. The group's bits
    /// are the mask's where there is one.
    pub fn mode(&self) -> (u16, bool) {
        let shift = |tag| match tag {
            tag::USER_OBJ => Some(6),
            tag::GROUP_OBJ => Some(3),
            tag::OTHER => Some(0),
            _ => None,
        };
        let plain = self.entries.iter().all(|entry| shift(entry.tag).is_some());
        let bits = self.entries.iter().filter_map(|entry| Some(entry.perm << shift(entry.tag)?));
        let mode = bits.fold(0, |mode, bits| mode | bits);
        let mask = self.entries.iter().find(|entry| entry.tag == tag::MASK);
        (mask.map_or(mode, |mask| mode & !0o070 | mask.perm << 3), plain)
    }

    /// The list after the mode's permission bits were set to those of `mode`: its mask takes the group's, so that
    /// nobody who is named is allowed more.
    #[must_use]
    pub fn with_mode(mut self, mode: u16) -> Self {
        let group = if self.entries.iter().any(|entry| entry.tag == tag::MASK) { tag::MASK } else { tag::GROUP_OBJ };
        for entry in &mut self.entries {
            match entry.tag {
                tag::USER_OBJ => entry.perm = mode >> 6 & 7,
                tag::OTHER => entry.perm = mode & 7,
                other if other == group => entry.perm = mode >> 3 & 7,
                _ => {}
            }
        }
        self
    }
}

fn bad(what: &str) -> Error {
    Error::Invalid(format!("access control list {what}"))
}

/// The form in which an access control list is stored, from that of `setxattr` and `getxattr` (version 2). Fails with
/// [`Error::Invalid`] for a malformed list, and for one without entries.
pub fn acl_to_disk(api: &[u8]) -> Result<Vec<u8>> {
    Acl::from_api(api)?.map(|acl| acl.to_disk()).ok_or_else(|| bad("has no entries"))
}

/// The form of `getxattr` (version 2) from that in which an access control list is stored. Fails with
/// [`Error::Invalid`] for a malformed list.
pub fn acl_to_api(disk: &[u8]) -> Result<Vec<u8>> {
    Ok(Acl::from_disk(disk)?.to_api())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0];
        for (tag, perm, id) in entries {
            bytes.extend(tag.to_le_bytes().into_iter().chain(perm.to_le_bytes()).chain(id.to_le_bytes()));
        }
        bytes
    }

    const NAMED: &[(u16, u16, u32)] =
        &[(1, 7, NOBODY), (2, 6, 1000), (4, 5, NOBODY), (8, 4, 70_000), (0x10, 6, NOBODY), (0x20, 1, NOBODY)];

    #[test]
    fn both_forms_give_each_other() {
        let acl = Acl::from_api(&api(NAMED)).unwrap().unwrap();
        let disk = acl.to_disk();
        assert_eq!(disk.len(), 4 + 4 * 4 + 2 * 8);
        assert_eq!(disk[..12], [1, 0, 0, 0, 1, 0, 7, 0, 2, 0, 6, 0]);
        assert_eq!(Acl::from_disk(&disk).unwrap(), acl);
        assert_eq!(acl.to_api(), api(NAMED));
    }

    #[test]
    fn the_mask_is_what_the_mode_shows() {
        let acl = Acl::from_api(&api(NAMED)).unwrap().unwrap();
        assert_eq!(acl.mode(), (0o761, false));
        let changed = acl.with_mode(0o4540);
        assert_eq!(changed.mode(), (0o540, false));
        let group = changed.entries.iter().find(|entry| entry.tag == 4).unwrap();
        assert_eq!(group.perm, 5);
        let plain = Acl::from_api(&api(&[(1, 6, NOBODY), (4, 4, NOBODY), (0x20, 0, NOBODY)])).unwrap().unwrap();
        assert_eq!(plain.mode(), (0o640, true));
        assert_eq!(plain.with_mode(0o751).mode(), (0o751, true));
    }

    #[test]
    fn malformed_lists_are_refused() {
        let lists: &[&[(u16, u16, u32)]] = &[
            &[(1, 7, 0), (4, 5, 0)],
            &[(1, 7, 0), (0x20, 5, 0), (4, 5, 0)],
            &[(1, 7, 0), (1, 7, 0), (4, 5, 0), (0x20, 5, 0)],
            &[(1, 8, 0), (4, 5, 0), (0x20, 5, 0)],
            &[(1, 7, 0), (2, 7, 5), (4, 5, 0), (0x20, 5, 0)],
            &[(1, 7, 0), (2, 7, NOBODY), (4, 5, 0), (0x10, 7, 0), (0x20, 5, 0)],
            &[(1, 7, 0), (4, 5, 0), (0x20, 5, 0), (0x40, 5, 0)],
        ];
        for list in lists {
            assert!(matches!(Acl::from_api(&api(list)), Err(Error::Invalid(_))), "{list:?}");
        }
        for bytes in [&b""[..], b"\x02\0\0", b"\x01\0\0\0", b"\x02\0\0\0\x01\0\x07\0"] {
            assert!(Acl::from_api(bytes).is_err());
        }
        assert_eq!(Acl::from_api(b"\x02\0\0\0").unwrap(), None);
        let disk = Acl::from_api(&api(NAMED)).unwrap().unwrap().to_disk();
        for end in [0, 3, 5, 10, disk.len() - 1] {
            assert!(Acl::from_disk(&disk[..end]).is_err(), "{end}");
        }
    }
}
