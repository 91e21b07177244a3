//! Partition types by name: the aliases of sfdisk, sgdisk and systemd, and what people call them.

use crate::{Guid, Scheme, TypeId};
use std::str::FromStr;

/// A type that has a name.
struct Named {
    /// The first is the one that is printed. The capitals are sfdisk's: `e` is a byte of an MBR.
    names: &'static [&'static str],
    /// Type GUID on a GPT.
    gpt: Option<&'static str>,
    /// System byte on an MBR.
    mbr: Option<u8>,
    /// sgdisk's code on a GPT; the high byte is the MBR's where there is one.
    code: Option<u16>,
}

const fn named(names: &'static [&'static str], gpt: Option<&'static str>, mbr: Option<u8>, code: Option<u16>) -> Named {
    Named { names, gpt, mbr, code }
}

/// GUIDs: UEFI 2.10 section 5.3.3, the Discoverable Partitions Specification, and those of sgdisk.
#[rustfmt::skip]
const TYPES: &[Named] = &[
    named(&["linux", "linux-generic", "linux-data", "L"],
        Some("0fc63daf-8483-4772-8e79-3d69d8477de4"), Some(0x83), Some(0x8300)),
    named(&["swap", "linux-swap", "S"], Some("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"), Some(0x82), Some(0x8200)),
    named(&["esp", "efi", "uefi", "U"], Some("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), Some(0xef), Some(0xef00)),
    named(&["bios-boot", "bios", "bios-grub"], Some("21686148-6449-6e6f-744e-656564454649"), None, Some(0xef02)),
    named(&["xbootldr", "linux-extended-boot", "boot"],
        Some("bc13c2ff-59e6-4262-a352-b275fd6f7172"), Some(0xea), Some(0xea00)),
    named(&["home", "H"], Some("933ac7e1-2eb4-4f13-b844-0e14e2aef915"), None, Some(0x8302)),
    named(&["srv"], Some("3b8f8425-20e0-4f3b-907f-1a25a76f98e8"), None, Some(0x8306)),
    named(&["var"], Some("4d21b016-b534-45c2-a9fb-5c16e091fd2d"), None, Some(0x8310)),
    named(&["tmp"], Some("7ec6f557-3bc5-4aca-b293-16ef5df639d1"), None, Some(0x8311)),
    named(&["user-home"], Some("773f91ef-66d4-49b5-bd83-d683bf40ad16"), None, Some(0x8312)),
    named(&["root-x86"], Some("44479540-f297-41b2-9af7-d131d5f0458a"), None, Some(0x8303)),
    named(&["root-x86-64"], Some("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"), None, Some(0x8304)),
    named(&["root-arm64"], Some("b921b045-1df0-41c3-af44-4c6f280d3fae"), None, Some(0x8305)),
    named(&["root-arm"], Some("69dad710-2ce4-4e3c-b16c-21a1d49abed3"), None, Some(0x8307)),
    named(&["root-ia64"], Some("993d8d3d-f80e-4225-855a-9daf8ed7ea97"), None, Some(0x830a)),
    named(&["root-riscv64"], Some("72ec70a6-cf74-40e6-bd49-4bda08e8f224"), None, None),
    named(&["root-ppc64-le"], Some("c31c45e6-3f39-412e-80fb-4809c4980599"), None, None),
    named(&["root-s390x"], Some("5eead9a9-fe09-4a1e-a1d7-520d00531306"), None, None),
    named(&["root-loongarch64"], Some("77055800-792c-4f94-b39a-98c91b762bb6"), None, None),
    named(&["usr-x86"], Some("75250d76-8cc6-458e-bd66-bd47cc81a812"), None, Some(0x8313)),
    named(&["usr-x86-64"], Some("8484680c-9521-48c6-9c11-b0720656f69e"), None, Some(0x8314)),
    named(&["usr-arm"], Some("7d0359a3-02b3-4f0a-865c-654403e70625"), None, Some(0x8315)),
    named(&["usr-arm64"], Some("b0e01050-ee5f-4390-949a-9101b17104e9"), None, Some(0x8316)),
    named(&["root-x86-64-verity"], Some("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"), None, Some(0x830c)),
    named(&["root-arm64-verity"], Some("df3300ce-d69f-4c92-978c-9bfb0f38d820"), None, Some(0x830e)),
    named(&["usr-x86-64-verity"], Some("77ff5f63-e7b6-4633-acf4-1565b864c0e6"), None, Some(0x8319)),
    named(&["usr-arm64-verity"], Some("6e11a4e7-fbca-4ded-b9e9-e1a512bb664e"), None, Some(0x831b)),
    named(&["lvm", "linux-lvm", "V"], Some("e6d6d379-f507-44c2-a23c-238f2a3df928"), Some(0x8e), Some(0x8e00)),
    named(&["raid", "linux-raid", "R"], Some("a19d880f-05fc-4d3b-a006-743f0f84911e"), Some(0xfd), Some(0xfd00)),
    named(&["luks", "linux-luks"], Some("ca7d7ccb-63ed-4c53-861c-1742536059cc"), None, Some(0x8309)),
    named(&["dm-crypt"], Some("7ffec5c9-2d00-49b7-8941-3ea10a5586b7"), None, Some(0x8308)),
    named(&["linux-reserved"], Some("8da63339-0007-60c0-c436-083ac8230908"), None, Some(0x8301)),
    named(&["microsoft-basic-data", "basic-data", "msdata"],
        Some("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"), None, Some(0x0700)),
    named(&["microsoft-reserved", "msr"], Some("e3c9e316-0b5c-4db8-817d-f92df00215ae"), None, Some(0x0c01)),
    named(&["windows-recovery"], Some("de94bba4-06d1-4d40-a16a-bfd50179d6ac"), Some(0x27), Some(0x2700)),
    named(&["prep"], Some("9e1a2d38-c612-4316-aa26-8b49521e5a8b"), Some(0x41), Some(0x4100)),
    named(&["apple-hfs"], Some("48465300-0000-11aa-aa11-00306543ecac"), Some(0xaf), Some(0xaf00)),
    named(&["apple-apfs"], Some("7c3457ef-0000-11aa-aa11-00306543ecac"), None, Some(0xaf0a)),
    named(&["ntfs", "hpfs"], None, Some(0x07), None),
    named(&["fat12"], None, Some(0x01), None),
    named(&["fat16"], None, Some(0x06), None),
    named(&["fat16-lba"], None, Some(0x0e), None),
    named(&["fat32"], None, Some(0x0b), None),
    named(&["fat32-lba"], None, Some(0x0c), None),
    named(&["extended", "ex", "E"], None, Some(0x05), None),
    named(&["extended-lba"], None, Some(0x0f), None),
    named(&["linux-extended", "X"], None, Some(0x85), None),
    named(&["gpt"], None, Some(0xee), None),
];

/// Text that is no partition type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("partition type {text:?} of {scheme} is not known")]
pub struct UnknownType {
    /// The text.
    pub text: String,
    /// The kind of table.
    pub scheme: Scheme,
}

impl UnknownType {
    /// What may be given instead.
    pub fn hint(&self) -> String {
        let names: Vec<&str> =
            TYPES.iter().filter(|named| named.id(self.scheme).is_some()).map(|named| named.names[0]).collect();
        let form = match self.scheme {
            Scheme::Gpt => "a GUID, a code of sgdisk such as 8300",
            Scheme::Mbr => "a byte in hexadecimal such as 83",
        };
        format!("{form}, or one of: {}", names.join(", "))
    }
}

impl Named {
    fn id(&self, scheme: Scheme) -> Option<TypeId> {
        match scheme {
            Scheme::Gpt => self.gpt.map(|guid| TypeId::Gpt(guid.parse().expect("the table's GUIDs are GUIDs"))),
            Scheme::Mbr => self.mbr.map(TypeId::Mbr),
        }
    }
}

impl TypeId {
    /// Reads a type: a name, in any case if it is longer than a letter; for a GPT a GUID or a code of sgdisk (`8300`); for an MBR one or two
    /// hexadecimal digits, or such a code that ends in 00.
    ///
    /// # Errors
    ///
    /// Anything else.
    pub fn parse(text: &str, scheme: Scheme) -> Result<Self, UnknownType> {
        let unknown = || UnknownType { text: text.to_owned(), scheme };
        let name = text.to_ascii_lowercase().replace(['_', ' '], "-");
        let by_name = TYPES.iter().find(|named| named.names.iter().any(|known| *known == name || *known == text));
        if let Some(id) = by_name.and_then(|named| named.id(scheme)) {
            return Ok(id);
        }
        let digits = name.strip_prefix("0x").unwrap_or(&name);
        let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u16::from_str_radix(digits, 16).ok().filter(|_| is_hex);
        match scheme {
            Scheme::Gpt => {
                if let Ok(guid) = Guid::from_str(&name) {
                    return Ok(Self::Gpt(guid));
                }
                let code = number.filter(|_| digits.len() == 4).ok_or_else(unknown)?;
                let by_code = TYPES.iter().find(|named| named.code == Some(code));
                by_code.and_then(|named| named.id(scheme)).ok_or_else(unknown)
            }
            Scheme::Mbr => match (digits.len(), number) {
                (1 | 2, Some(byte)) => Ok(Self::Mbr(byte as u8)),
                (4, Some(code)) if code & 0xff == 0 => Ok(Self::Mbr((code >> 8) as u8)),
                _ => Err(unknown()),
            },
        }
    }

    /// Its name, if it has one.
    pub fn name(self) -> Option<&'static str> {
        let scheme = match self {
            Self::Gpt(_) => Scheme::Gpt,
            Self::Mbr(_) => Scheme::Mbr,
        };
        TYPES.iter().find(|named| named.id(scheme) == Some(self)).map(|named| named.names[0])
    }
}

/// Text that is no GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID: 32 hexadecimal digits as 8-4-4-4-12 are needed")]
pub struct NoGuid;

impl FromStr for Guid {
    type Err = NoGuid;

    /// `0fc63daf-8483-4772-8e79-3d69d8477de4`, in any case.
    fn from_str(text: &str) -> Result<Self, NoGuid> {
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let digits: String = groups.concat();
        if lengths != [8, 4, 4, 4, 12] || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoGuid);
        }
        let mut bytes = u128::from_str_radix(&digits, 16).map_err(|_| NoGuid)?.to_be_bytes();
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_codes_and_guids_are_unique() {
        let mut names: Vec<_> = TYPES.iter().flat_map(|named| named.names).collect();
        let mut guids: Vec<_> =
            TYPES.iter().filter_map(|named| named.id(Scheme::Gpt)).map(|id| id.to_string()).collect();
        let mut bytes: Vec<_> = TYPES.iter().filter_map(|named| named.mbr).collect();
        let mut codes: Vec<_> = TYPES.iter().filter_map(|named| named.code).collect();
        let counts = [names.len(), guids.len(), bytes.len(), codes.len()];
        names.sort_unstable();
        names.dedup();
        guids.sort_unstable();
        guids.dedup();
        bytes.sort_unstable();
        bytes.dedup();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!([names.len(), guids.len(), bytes.len(), codes.len()], counts);
        for named in TYPES {
            for scheme in [Scheme::Gpt, Scheme::Mbr] {
                let Some(id) = named.id(scheme) else { continue };
                assert_eq!(id.name(), Some(named.names[0]));
                assert!(named.names.iter().all(|name| TypeId::parse(name, scheme) == Ok(id)));
                assert_eq!(TypeId::parse(&id.to_string(), scheme), Ok(id));
            }
        }
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in ["", "0x", "linuxx", "8399", "83001", "+83", "0fc63daf84834772 8e793d69d8477de4", "83"] {
            assert!(TypeId::parse(text, Scheme::Gpt).is_err(), "{text}");
        }
        for text in ["", "home", "100", "8301", "-1", "0fc63daf-8483-4772-8e79-3d69d8477de4"] {
            assert!(TypeId::parse(text, Scheme::Mbr).is_err(), "{text}");
        }
        assert_eq!(TypeId::parse("Root_x86-64", Scheme::Gpt), TypeId::parse("8304", Scheme::Gpt));
        assert_ne!(TypeId::parse("e", Scheme::Mbr), TypeId::parse("E", Scheme::Mbr));
        assert_eq!(TypeId::parse("8300", Scheme::Mbr), Ok(TypeId::Mbr(0x83)));
        assert!(TypeId::parse("home", Scheme::Mbr).unwrap_err().hint().contains("such as 83, or one of: linux, swap"));
        assert!("0fc63daf-8483-4772-8e79-3d69d8477dé".parse::<Guid>().is_err());
    }
}
