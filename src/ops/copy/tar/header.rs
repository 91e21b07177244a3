//! Headers of a tar stream: POSIX.1-2001, "pax Interchange Format".

use crate::error::{Error, ErrorKind, Result};
use crate::ops::populate::Meta;
use tar::Header;

/// Bytes of a header, and what everything is filled up to.
pub(super) const BLOCK: usize = 512;
/// Bytes of a name in a header.
const NAME: usize = 100;
/// Bytes of the name of a user or group in a header, without the NUL at its end.
const ACCOUNT: usize = 31;
/// The largest id of a header: seven octal digits.
const MAX_ID: u32 = 0o777_7777;
/// The largest size and time of a header: eleven octal digits.
const MAX_NUMBER: u64 = 0o777_7777_7777;
/// What those who know no records see for an owner that does not fit.
const NOBODY: u64 = 65_534;

/// What a header says of an entry.
pub(super) struct Head<'a> {
    pub(super) name: Vec<u8>,
    pub(super) meta: Meta,
    /// Type flag.
    pub(super) kind: u8,
    /// Target of a symbolic link, or the first name of a file.
    pub(super) link: &'a [u8],
    /// Bytes of data that follow.
    pub(super) size: u64,
    /// The length of a file whose map stands before its data.
    pub(super) sparse: Option<u64>,
    pub(super) device: (u32, u32),
    pub(super) user: Vec<u8>,
    pub(super) group: Vec<u8>,
}

impl Head<'_> {
    pub(super) fn new(name: &[u8], meta: Meta) -> Self {
        Self {
            name: name.to_vec(),
            meta,
            kind: b'0',
            link: &[],
            size: 0,
            sparse: None,
            device: (0, 0),
            user: Vec::new(),
            group: Vec::new(),
        }
    }

    /// The header, with records before it where they are needed.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let records = self.records();
        let mut bytes = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            let name = [b"PaxHeaders/", &self.name[..]].concat();
            let mut header = Header::new_ustar();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(self.mtime());
            header.set_size(records.len() as u64);
            bytes.extend(finished(header, b'x', &name, b""));
            bytes.extend(&records);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        let mut header = Header::new_ustar();
        header.set_mode(u32::from(self.meta.mode));
        header.set_uid(if self.meta.uid > MAX_ID { NOBODY } else { u64::from(self.meta.uid) });
        header.set_gid(if self.meta.gid > MAX_ID { NOBODY } else { u64::from(self.meta.gid) });
        header.set_mtime(self.mtime());
        header.set_size(self.size.min(MAX_NUMBER));
        let failed = |error| Error::new(ErrorKind::Invalid, "not possible in a tar stream").caused_by(error);
        let device = header.set_device_major(self.device.0).and_then(|()| header.set_device_minor(self.device.1));
        device.map_err(failed).map_err(|error| error.at_path(self.name.clone()))?;
        if let Some(ustar) = header.as_ustar_mut() {
            put(&mut ustar.uname[..ACCOUNT], &self.user);
            put(&mut ustar.gname[..ACCOUNT], &self.group);
        }
        let sparse_name;
        let name = match self.sparse {
            None => &self.name[..],
            // What those see who know nothing of sparse files: the map and the data.
            Some(_) => {
                let at = self.name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
                let (dir, last) = self.name.split_at(at);
                sparse_name = [dir, b"GNUSparseFile.0/", last].concat();
                &sparse_name
            }
        };
        bytes.extend(finished(header, self.kind, name, self.link));
        Ok(bytes)
    }

    /// Seconds, as near as a header can tell them.
    fn mtime(&self) -> u64 {
        u64::try_from(self.meta.mtime.sec).unwrap_or(0).min(MAX_NUMBER)
    }

    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        let mut add = |key: &[u8], value: &[u8]| record(&mut records, key, value);
        // Without this, names are taken for UTF-8.
        if [&self.name[..], self.link, &self.user, &self.group].iter().any(|text| std::str::from_utf8(text).is_err()) {
            add(b"hdrcharset", b"BINARY");
        }
        let plain = |text: &[u8], room| text.len() <= room && text.is_ascii();
        if self.sparse.is_none() && !plain(&self.name, NAME) {
            add(b"path", &self.name);
        }
        if !plain(self.link, NAME) {
            add(b"linkpath", self.link);
        }
        if self.size > MAX_NUMBER {
            add(b"size", self.size.to_string().as_bytes());
        }
        for (key, id) in [(&b"uid"[..], self.meta.uid), (b"gid", self.meta.gid)] {
            if id > MAX_ID {
                add(key, id.to_string().as_bytes());
            }
        }
        for (key, name) in [(&b"uname"[..], &self.user), (b"gname", &self.group)] {
            if !plain(name, ACCOUNT) {
                add(key, name);
            }
        }
        if self.meta.mtime.nsec != 0 || self.meta.mtime.sec != self.mtime() as i64 {
            add(b"mtime", time(self.meta.mtime).as_bytes());
        }
        if let Some(size) = self.sparse {
            add(b"GNU.sparse.major", b"1");
            add(b"GNU.sparse.minor", b"0");
            add(b"GNU.sparse.name", &self.name);
            add(b"GNU.sparse.realsize", size.to_string().as_bytes());
        }
        for (name, value) in &self.meta.xattrs {
            add(&[b"SCHILY.xattr.", &escaped(name)[..]].concat(), value);
        }
        records
    }
}

/// The bytes of a header with these names, cut off where they do not fit.
fn finished(mut header: Header, kind: u8, name: &[u8], link: &[u8]) -> [u8; BLOCK] {
    let old = header.as_old_mut();
    old.linkflag = [kind];
    put(&mut old.name, name);
    put(&mut old.linkname, link);
    header.set_cksum();
    *header.as_bytes()
}

fn put(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field.fill(0);
    field[..len].copy_from_slice(&text[..len]);
}

/// `LENGTH KEY=VALUE` and a line break, where the length is that of all of it.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    records.extend(len.to_string().as_bytes());
    records.extend([b" ", key, b"=", value, b"\n"].concat());
}

/// The name of an attribute in a key, which ends at the first `=`.
fn escaped(name: &[u8]) -> Vec<u8> {
    name.iter()
        .flat_map(|byte| match byte {
            b'=' => b"%3D".to_vec(),
            b'%' => b"%25".to_vec(),
            byte => vec![*byte],
        })
        .collect()
}

/// Seconds with their fraction, if there is one. Nanoseconds always count forwards, also before 1970.
fn time(time: crate::tree::Time) -> String {
    let (sign, sec, nsec) = match (time.sec, time.nsec) {
        (sec, nsec) if sec < 0 && nsec > 0 => ("-", (sec + 1).unsigned_abs(), 1_000_000_000 - nsec),
        (sec, nsec) if sec < 0 => ("-", sec.unsigned_abs(), nsec),
        (sec, nsec) => ("", sec.unsigned_abs(), nsec),
    };
    let text = format!("{sign}{sec}.{nsec:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Time;

    #[test]
    fn a_record_counts_its_own_length() {
        for len in [1usize, 80, 85, 86, 87, 88, 90, 980, 983, 984, 985, 986, 990, 9_985] {
            let mut records = Vec::new();
            record(&mut records, b"key", &vec![b'v'; len]);
            let space = records.iter().position(|byte| *byte == b' ').unwrap();
            let told: usize = std::str::from_utf8(&records[..space]).unwrap().parse().unwrap();
            assert_eq!(told, records.len(), "{len}");
        }
    }

    #[test]
    fn times_on_both_sides_of_1970() {
        for (sec, nsec, wanted) in [
            (5, 0, "5"),
            (5, 500_000_000, "5.5"),
            (0, 1, "0.000000001"),
            (10, 0, "10"),
            (-1, 0, "-1"),
            (-1, 750_000_000, "-0.25"),
            (-2, 1, "-1.999999999"),
        ] {
            assert_eq!(time(Time { sec, nsec }), wanted, "{sec} {nsec}");
        }
    }
}
