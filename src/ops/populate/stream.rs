//! A tar stream: ustar, GNU and PAX, with their long names, extended attributes and sparse files.

use super::guard::Guard;
use super::sparse::{Mapped, Plain, SparseMap};
use super::{Item, Meta, Node, Source, acl};
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{Time, Xattr};
use std::io::Read;
use tar::{Archive, EntryType};

/// Bytes that are read after the end of the archive: records of GNU tar have 10 KiB, of tapes up to 1 MiB.
const MAX_REST: u64 = 2 << 20;

/// A tar stream. It is read once, from start to end.
pub struct TarStream<R> {
    reader: Option<R>,
}

impl<R> std::fmt::Debug for TarStream<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarStream").finish_non_exhaustive()
    }
}

impl<R: Read> TarStream<R> {
    /// The stream that `reader` gives, not compressed.
    pub fn new(reader: R) -> Self {
        Self { reader: Some(reader) }
    }
}

pub(super) fn broken(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "the tar stream cannot be read").caused_by(error)
}

/// What PAX records add to a header.
#[derive(Debug, Default)]
struct Extras {
    mtime: Option<Time>,
    uid: Option<u32>,
    gid: Option<u32>,
    name: Option<Vec<u8>>,
    xattrs: Vec<Xattr>,
    /// Real size of a sparse file.
    size: Option<u64>,
    /// Version 1.0: the map stands before the data.
    map_in_data: bool,
    map: Vec<u64>,
    sparse: bool,
    left_out: Vec<String>,
}

fn number<T: std::str::FromStr>(key: &str, value: &[u8]) -> Result<T> {
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the tar stream says {key} is {}", value.escape_ascii())))
}

/// `[-]SECONDS[.FRACTION]`.
fn time(value: &[u8]) -> Result<Time> {
    let point = value.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = point.map_or((value, &b""[..]), |at| (&value[..at], &value[at + 1..]));
    let sec: i64 = number("mtime", whole)?;
    let mut digits = [b'0'; 9];
    let len = fraction.len().min(9);
    digits[..len].copy_from_slice(&fraction[..len]);
    let nsec: u32 = number("mtime", &digits)?;
    if whole.first() == Some(&b'-') && nsec > 0 {
        return Ok(Time { sec: sec - 1, nsec: 1_000_000_000 - nsec });
    }
    Ok(Time { sec, nsec })
}

/// The name of an attribute in a key, where `=` and `%` are escaped.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, more)) = rest.split_first() {
        let (byte, used) = match rest.get(..3) {
            Some(b"%3D") => (b'=', 2),
            Some(b"%25") => (b'%', 2),
            _ => (*first, 0),
        };
        plain.push(byte);
        rest = &more[used..];
    }
    plain
}

impl Extras {
    /// An attribute in the form that says most: it wins.
    fn xattr(&mut self, name: &[u8], value: &[u8]) {
        self.xattrs.retain(|(other, _)| other != name);
        self.xattrs.push((name.to_vec(), value.to_vec()));
    }

    fn xattr_unless_told(&mut self, name: &[u8], value: &[u8]) {
        if !self.xattrs.iter().any(|(other, _)| other == name) {
            self.xattrs.push((name.to_vec(), value.to_vec()));
        }
    }

    fn list(&mut self, name: &[u8], key: &str, text: &[u8]) {
        match acl::attribute(text) {
            Ok(list) if list.is_empty() => {}
            Ok(list) => self.xattr_unless_told(name, &list),
            Err(why) => self.left_out.push(format!("{key} is left out: {why}")),
        }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        const XATTR: &[u8] = b"SCHILY.xattr.";
        if let Some(name) = key.strip_prefix(XATTR) {
            self.xattr(&unescaped(name), value);
            return Ok(());
        }
        let text = String::from_utf8_lossy(key);
        match &*text {
            "mtime" => self.mtime = Some(time(value)?),
            "uid" => self.uid = Some(number("uid", value)?),
            "gid" => self.gid = Some(number("gid", value)?),
            "GNU.sparse.name" => self.name = Some(value.to_vec()),
            "GNU.sparse.realsize" | "GNU.sparse.size" => self.size = Some(number(&text, value)?),
            "GNU.sparse.major" => {
                self.sparse = true;
                self.map_in_data = number::<u32>(&text, value)? == 1;
            }
            "GNU.sparse.numblocks" => self.sparse = true,
            "GNU.sparse.map" => {
                self.sparse = true;
                let list = value.split(|byte| *byte == b',').filter(|item| !item.is_empty());
                self.map = list.map(|item| number(&text, item)).collect::<Result<_>>()?;
            }
            "GNU.sparse.offset" | "GNU.sparse.numbytes" => {
                self.sparse = true;
                self.map.push(number(&text, value)?);
            }
            "RHT.security.selinux" => {
                // Programs give the label to a kernel with the NUL at its end, which this form is without.
                let nul: &[u8] = if value.ends_with(b"\0") { b"" } else { b"\0" };
                self.xattr_unless_told(b"security.selinux", &[value, nul].concat());
            }
            "SCHILY.acl.access" => self.list(b"system.posix_acl_access", &text, value),
            "SCHILY.acl.default" => self.list(b"system.posix_acl_default", &text, value),
            _ => {}
        }
        Ok(())
    }
}

impl<R: Read> Source for TarStream<R> {
    fn each(&mut self, notes: &mut Vec<String>, visit: &mut dyn FnMut(Item<'_>) -> Result<()>) -> Result<()> {
        let Some(reader) = self.reader.take() else { return Ok(()) };
        let mut archive = Archive::new(Guard::new(reader));
        for entry in archive.entries().map_err(broken)? {
            one(entry.map_err(broken)?, notes, visit)?;
        }
        // What fills the last record, and what a compressed stream has to say of its own integrity.
        let rest = &mut archive.into_inner().take(MAX_REST);
        std::io::copy(rest, &mut std::io::sink()).map_err(broken)?;
        Ok(())
    }
}

fn one<R: Read>(
    mut entry: tar::Entry<'_, R>,
    notes: &mut Vec<String>,
    visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
) -> Result<()> {
    let mut extras = Extras::default();
    if let Some(list) = entry.pax_extensions().map_err(broken)? {
        for record in list {
            let record = record.map_err(broken)?;
            extras.add(record.key_bytes(), record.value_bytes())?;
        }
    }
    let path = extras.name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
    let shown = path.escape_ascii().to_string();
    notes.extend(extras.left_out.iter().map(|what| format!("{shown}: {what}")));
    let header = entry.header();
    let id = |value: std::io::Result<u64>, what: &str| {
        let value = value.map_err(broken)?;
        u32::try_from(value).map_err(|_| Error::new(ErrorKind::Invalid, format!("{shown}: {what} is {value}")))
    };
    let meta = Meta {
        mode: (header.mode().map_err(broken)? & 0o7777) as u16,
        uid: extras.uid.map_or_else(|| id(header.uid(), "uid"), Ok)?,
        gid: extras.gid.map_or_else(|| id(header.gid(), "gid"), Ok)?,
        mtime: match extras.mtime {
            Some(time) => time,
            None => Time { sec: header.mtime().map_err(broken)? as i64, nsec: 0 },
        },
        xattrs: std::mem::take(&mut extras.xattrs),
    };
    let device = || -> Result<(u32, u32)> {
        let (major, minor) = (header.device_major().map_err(broken)?, header.device_minor().map_err(broken)?);
        Ok((major.unwrap_or(0), minor.unwrap_or(0)))
    };
    let link = || match entry.link_name_bytes() {
        Some(name) => Ok(name.into_owned()),
        None => Err(Error::new(ErrorKind::Corrupt, format!("{shown}: a link without a target"))),
    };
    match header.entry_type() {
        EntryType::Directory => visit(Item { path: &path, node: Node::Dir, meta }),
        EntryType::Symlink => visit(Item { path: &path, node: Node::Symlink(&link()?), meta }),
        EntryType::Link => visit(Item { path: &path, node: Node::HardLink(&link()?), meta }),
        EntryType::Char => {
            let (major, minor) = device()?;
            visit(Item { path: &path, node: Node::CharDevice(major, minor), meta })
        }
        EntryType::Block => {
            let (major, minor) = device()?;
            visit(Item { path: &path, node: Node::BlockDevice(major, minor), meta })
        }
        EntryType::Fifo => visit(Item { path: &path, node: Node::Fifo, meta }),
        kind @ (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse) => {
            if extras.sparse {
                let size = extras.size.ok_or_else(|| {
                    Error::new(ErrorKind::Corrupt, format!("{shown}: a sparse file without its size"))
                })?;
                let map = match extras.map_in_data {
                    true => SparseMap::from_stream(&mut entry, size)?,
                    false => SparseMap::from_numbers(&extras.map, size)?,
                };
                let mut contents = Mapped::new(&mut entry, map);
                return visit(Item { path: &path, node: Node::File(size, &mut contents), meta });
            }
            let size = entry.size();
            // The reader gives zeroes for the holes of GNU's old form.
            let mut contents = Plain::new(&mut entry, size, kind.is_gnu_sparse());
            visit(Item { path: &path, node: Node::File(size, &mut contents), meta })
        }
        EntryType::XGlobalHeader => Ok(()),
        other => {
            notes.push(format!("{shown}: an entry of type {:?} is left out", char::from(other.as_byte())));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        assert_eq!(time(b"5").unwrap(), Time { sec: 5, nsec: 0 });
        assert_eq!(time(b"1780000000.5").unwrap(), Time { sec: 1_780_000_000, nsec: 500_000_000 });
        assert_eq!(time(b"-1.25").unwrap(), Time { sec: -2, nsec: 750_000_000 });
        assert_eq!(time(b"7.1234567899").unwrap(), Time { sec: 7, nsec: 123_456_789 });
        assert!(time(b"x").is_err() && time(b"1.x").is_err());
    }

    #[test]
    fn attributes_come_in_several_forms() {
        let mut extras = Extras::default();
        extras.add(b"RHT.security.selinux", b"system_u:object_r:etc_t:s0").unwrap();
        extras.add(b"SCHILY.acl.access", b"user::rw-,user:5:r--,group::r--,mask::r--,other::r--").unwrap();
        extras.add(b"SCHILY.acl.default", b"user::rw-,user:bob:r--").unwrap();
        extras.add(b"SCHILY.xattr.user.a%3Db%25", b"1").unwrap();
        assert_eq!(extras.xattrs[0].1, b"system_u:object_r:etc_t:s0\0");
        assert_eq!(extras.xattrs[1].0, b"system.posix_acl_access");
        assert_eq!(extras.xattrs[2].0, b"user.a=b%");
        assert!(extras.left_out[0].contains("bob"), "{:?}", extras.left_out);
        extras.add(b"SCHILY.xattr.security.selinux", b"other").unwrap();
        assert_eq!(extras.xattrs.iter().filter(|(name, _)| name == b"security.selinux").count(), 1);
    }
}
