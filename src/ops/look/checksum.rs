//! Checksums of files and devices, and lists of them as md5sum(1), sha256sum(1) and cksum(1) write them.

use super::contents::{PIECE, pieces};
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileTree, GuestPath};
use nomount_block::{ExtentKind, ReadAt};
use sha2::digest::DynDigest;
use std::fmt::Write;

/// How a checksum is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// MD5, RFC 1321: tells damage, not forgery.
    Md5,
    /// SHA-1, FIPS 180-4: tells damage, not forgery.
    Sha1,
    /// SHA-256, FIPS 180-4.
    Sha256,
    /// SHA-512, FIPS 180-4.
    Sha512,
    /// The CRC of cksum, POSIX.1-2017: tells damage, not forgery.
    Crc,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512, Self::Crc];

    /// The name as guestfish spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Crc => "crc",
        }
    }

    /// The algorithm of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// How many digits a checksum has at most.
    pub fn width(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha1 => 40,
            Self::Sha256 => 64,
            Self::Sha512 => 128,
            Self::Crc => 10,
        }
    }

    /// The one whose checksums have so many hexadecimal digits.
    fn of_digits(digits: usize) -> Option<Self> {
        let of_digits = |algorithm: &Self| *algorithm != Self::Crc && algorithm.width() == digits;
        Self::ALL.into_iter().find(of_digits)
    }
}

/// A checksum that is being computed.
pub(super) enum Hasher {
    Digest(Box<dyn DynDigest>),
    Crc(u32, u64),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Digest(Box::<md5::Md5>::default()),
            Algorithm::Sha1 => Self::Digest(Box::<sha1::Sha1>::default()),
            Algorithm::Sha256 => Self::Digest(Box::<sha2::Sha256>::default()),
            Algorithm::Sha512 => Self::Digest(Box::<sha2::Sha512>::default()),
            Algorithm::Crc => Self::Crc(0, 0),
        }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Digest(digest) => digest.update(bytes),
            Self::Crc(crc, len) => {
                *crc = cksum(*crc, bytes);
                *len += bytes.len() as u64;
            }
        }
    }

    /// In hexadecimal; the CRC in decimal.
    pub(super) fn end(self) -> String {
        match self {
            Self::Digest(digest) => digest.finalize().iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            }),
            Self::Crc(crc, len) => {
                // The length follows, the lowest byte first, without zeroes at its end.
                let bytes = len.to_le_bytes();
                let used = bytes.len() - len.leading_zeros() as usize / 8;
                (!cksum(crc, &bytes[..used])).to_string()
            }
        }
    }
}

/// The table of the polynomial 0x04c11db7, the highest bit first.
const CKSUM: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 << 31 != 0 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn cksum(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| crc << 8 ^ CKSUM[(crc >> 24) as usize ^ usize::from(*byte)])
}

/// The checksum of the regular file at `path`, which has no links in it, and its length in bytes; `size` is what
/// [`Stat`](crate::tree::Stat) says of it.
pub fn of_file(tree: &dyn FileTree, path: &GuestPath, size: u64, algorithm: Algorithm) -> Result<(String, u64)> {
    let mut hasher = Hasher::new(algorithm);
    let len = pieces(tree, path, size, |piece| hasher.add(piece))?;
    Ok((hasher.end(), len))
}

/// The checksum of `len` bytes of a device from `start` on.
pub fn of_device(device: &dyn ReadAt, start: u64, len: u64, algorithm: Algorithm) -> Result<String> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; PIECE];
    let zeroes = vec![0; PIECE];
    let (mut at, end) = (start, start.saturating_add(len));
    while at < end {
        let extent = device.extent_at(at)?;
        let piece = extent.len.min(end - at).min(PIECE as u64) as usize;
        if extent.kind == ExtentKind::Zero {
            hasher.add(&zeroes[..piece]);
        } else {
            device.read_at(at, &mut buffer[..piece])?;
            hasher.add(&buffer[..piece]);
        }
        at += piece as u64;
    }
    Ok(hasher.end())
}

/// A line of a list of checksums without its line break: as coreutils write it, with a backslash before the line where
/// the name holds what would break it. The CRC has the length with it.
pub fn line(algorithm: Algorithm, sum: &str, len: u64, name: &[u8]) -> Vec<u8> {
    if algorithm == Algorithm::Crc {
        return [format!("{sum} {len} ").as_bytes(), name].concat();
    }
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' => escaped.extend(b"\\\\"),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            byte => escaped.push(*byte),
        }
    }
    let mark = if escaped.len() > name.len() { "\\" } else { "" };
    [format!("{mark}{sum}  ").as_bytes(), &escaped].concat()
}

/// A checksum that a file is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How it was computed.
    pub algorithm: Algorithm,
    /// The checksum in lower case.
    pub sum: String,
    /// The file; raw bytes.
    pub name: Vec<u8>,
}

/// Reads a list as [`line`] writes it: checksum, two blanks or a blank and an asterisk, name. The algorithm is told by
/// the checksum's length. Empty lines and those that begin with `#` are passed over; any other is an error.
pub fn parse_list(text: &[u8]) -> Result<Vec<Wanted>> {
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"));
    lines
        .map(|(at, line)| {
            wanted(line).ok_or_else(|| {
                let message = format!("line {} of the list is no checksum with a name", at + 1);
                Error::new(ErrorKind::Usage, message).hint("lists of md5sum, sha1sum, sha256sum and sha512sum are read")
            })
        })
        .collect()
}

fn wanted(line: &[u8]) -> Option<Wanted> {
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit())?;
    let algorithm = Algorithm::of_digits(digits)?;
    let sum = std::str::from_utf8(&line[..digits]).ok()?.to_ascii_lowercase();
    let name = line[digits..].strip_prefix(b"  ").or_else(|| line[digits..].strip_prefix(b" *"))?;
    let name = if escaped { unescape(name)? } else { name.to_vec() };
    (!name.is_empty()).then_some(Wanted { algorithm, sum, name })
}

fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            byte => *byte,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;
    use nomount_block::{Memory, WriteAt};

    #[test]
    fn checksums_that_others_give() {
        let mut tree = MemTree::new();
        tree.file("/empty", "").file("/abc", "abc");
        let sum = |path: &str, algorithm| {
            let path = GuestPath::parse(path).unwrap();
            let size = tree.stat(&path).unwrap().size;
            of_file(&tree, &path, size, algorithm).unwrap()
        };
        // RFC 1321, FIPS 180-4; the CRC as cksum prints it.
        for (path, algorithm, wanted) in [
            ("/empty", Algorithm::Md5, "d41d8cd98f00b204e9800998ecf8427e"),
            ("/abc", Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            ("/abc", Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("/abc", Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("/empty", Algorithm::Crc, "4294967295"),
            ("/abc", Algorithm::Crc, "1219131554"),
        ] {
            assert_eq!(sum(path, algorithm).0, wanted, "{path} {algorithm:?}");
        }
        assert!(sum("/abc", Algorithm::Sha512).0.starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(sum("/abc", Algorithm::Crc).1, 3);
    }

    #[test]
    fn a_device_and_a_file_with_its_bytes_are_alike() {
        let len = 3 * PIECE + 77;
        let mut device = Memory::zeroed(len + 5);
        device.write_at(PIECE as u64 + 3, b"in the middle").unwrap();
        let mut bytes = vec![0; len + 5];
        device.read_at(0, &mut bytes).unwrap();
        let mut tree = MemTree::new();
        tree.file("/f", &bytes[5..]);
        for algorithm in Algorithm::ALL {
            let file = of_file(&tree, &GuestPath::parse("/f").unwrap(), len as u64, algorithm).unwrap().0;
            assert_eq!(of_device(&device, 5, len as u64, algorithm).unwrap(), file);
        }
    }

    #[test]
    fn lists_are_read_as_they_are_written() {
        let sum = "d41d8cd98f00b204e9800998ecf8427e";
        for name in [&b"/plain"[..], b" x", b"a\nb\\c\rd", b"\xff", b"*x"] {
            let written = line(Algorithm::Md5, sum, 0, name);
            assert!(!written.contains(&b'\n'));
            let wanted = Wanted { algorithm: Algorithm::Md5, sum: sum.to_owned(), name: name.to_vec() };
            assert_eq!(parse_list(&[&written[..], b"\n"].concat()).unwrap(), [wanted]);
        }
        assert_eq!(line(Algorithm::Md5, sum, 0, b"a\nb"), format!("\\{sum}  a\\nb").into_bytes());
        assert_eq!(line(Algorithm::Crc, "7", 3, b"a"), b"7 3 a");
        let list = format!("# c\n\n{}  a\n{} *b\n", sum.to_uppercase(), "0".repeat(128));
        let list = parse_list(list.as_bytes()).unwrap();
        assert_eq!((list[0].sum.as_str(), list[1].algorithm, &list[1].name[..]), (sum, Algorithm::Sha512, &b"b"[..]));
        for bad in ["x", "d41d  a", &sum[1..], sum, &format!("{sum} a"), &format!("{sum}  "), &format!("\\{sum}  a\\x")]
        {
            assert_eq!(parse_list(bad.as_bytes()).unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
    }
}
