//! What a tar stream may not do to its reader.
//!
//! The headers before an entry, long names and PAX records, are read into memory as a whole, and those of old sparse
//! files one block after the other, as long as the stream says. This reader follows the structure of the stream as it
//! passes and ends it where one of them is longer than anybody's.

use std::io::{Error, ErrorKind, Read, Result};

/// Bytes of a header.
const BLOCK: usize = 512;
/// Bytes of one long name or one set of PAX records: Linux has names of 4 KiB and attributes of 64 KiB.
const MAX_EXTENSION: u64 = 4 << 20;
/// Further headers of one sparse file in GNU's old form, of 21 stretches each.
const MAX_SPARSE: u32 = 1 << 16;

enum State {
    /// In a header.
    Header,
    /// In PAX records, which may give the size of the entry after them; how many bytes are left.
    Records(u64),
    /// In contents of which nothing needs to be known.
    Contents(u64),
    /// In the further headers of a sparse file, before so many bytes of contents.
    Sparse(u64, u32),
    /// After the end, or where the stream makes no sense: whoever reads it says so.
    Over,
}

pub(super) struct Guard<R> {
    inner: R,
    state: State,
    /// What was seen of the header or of the records that are passing.
    seen: Vec<u8>,
    /// The size that PAX records gave for the next entry.
    size: Option<u64>,
}

fn padded(size: u64) -> u64 {
    size.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX)
}

/// A number of a header: octal, or binary with the first bit set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let fits = high[0] == 0x80 && high[1..].iter().all(|byte| *byte == 0);
        return fits.then(|| low.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

impl<R> Guard<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, state: State::Header, seen: Vec::with_capacity(BLOCK), size: None }
    }

    fn pass(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let taken = match self.state {
                State::Over => return Ok(()),
                State::Header | State::Sparse(..) => {
                    let taken = bytes.len().min(BLOCK - self.seen.len());
                    self.seen.extend(&bytes[..taken]);
                    if self.seen.len() == BLOCK {
                        self.state = self.after_block()?;
                        self.seen.clear();
                    }
                    taken
                }
                State::Records(left) => {
                    let taken = (bytes.len() as u64).min(left) as usize;
                    self.seen.extend(&bytes[..taken]);
                    let left = left - taken as u64;
                    self.state = if left > 0 { State::Records(left) } else { State::Header };
                    if left == 0 {
                        self.size = size_of(&self.seen).or(self.size);
                        self.seen.clear();
                    }
                    taken
                }
                State::Contents(left) => {
                    let taken = (bytes.len() as u64).min(left) as usize;
                    let left = left - taken as u64;
                    self.state = if left > 0 { State::Contents(left) } else { State::Header };
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn after_block(&mut self) -> Result<State> {
        let block = &self.seen;
        let contents = |size| if size > 0 { State::Contents(padded(size)) } else { State::Header };
        if let State::Sparse(size, count) = self.state {
            if block[504] == 0 {
                return Ok(contents(size));
            }
            if count >= MAX_SPARSE {
                return Err(too_long(format!("a sparse file has more than {MAX_SPARSE} headers")));
            }
            return Ok(State::Sparse(size, count + 1));
        }
        let Some(size) = number(&block[124..136]).filter(|_| block.iter().any(|byte| *byte != 0)) else {
            return Ok(State::Over);
        };
        match block[156] {
            b'x' | b'g' | b'L' | b'K' if size > MAX_EXTENSION => {
                Err(too_long(format!("a long name or a set of records has {size} bytes")))
            }
            b'x' if size > 0 => Ok(State::Records(padded(size))),
            b'g' | b'L' | b'K' | b'x' => Ok(contents(size)),
            kind => {
                let size = self.size.take().unwrap_or(size);
                Ok(if kind == b'S' && block[482] != 0 { State::Sparse(size, 1) } else { contents(size) })
            }
        }
    }
}

fn too_long(what: String) -> Error {
    Error::new(ErrorKind::InvalidData, format!("{what}, more than is read"))
}

/// The value of `size` in PAX records, each `LENGTH KEY=VALUE` and a line break.
fn size_of(mut records: &[u8]) -> Option<u64> {
    let mut size = None;
    while let Some(space) = records.iter().position(|byte| *byte == b' ') {
        let len = std::str::from_utf8(&records[..space]).ok()?.parse::<usize>().ok()?;
        let record = records.get(space + 1..len)?;
        if let Some(value) = record.strip_prefix(b"size=") {
            size = size.or(std::str::from_utf8(value).ok()?.trim_end().parse().ok());
        }
        records = &records[len..];
    }
    size
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let read = self.inner.read(buf)?;
        self.pass(&buf[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, EntryType, Header};

    fn entry(kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_path("f").unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        header
    }

    fn reads(stream: impl Read) -> Result<usize> {
        let mut archive = tar::Archive::new(Guard::new(stream));
        let mut count = 0;
        for entry in archive.entries()? {
            entry?;
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn extensions_without_end_are_refused_before_they_are_held() {
        for kind in [EntryType::XHeader, EntryType::XGlobalHeader, EntryType::GNULongName, EntryType::GNULongLink] {
            let header = entry(kind, 1 << 33);
            let stream = std::io::Cursor::new(*header.as_bytes()).chain(std::io::repeat(b'a').take(1 << 33));
            let error = reads(stream).unwrap_err();
            assert!(error.to_string().contains("8589934592 bytes"), "{kind:?}: {error}");
        }
        let mut sparse = entry(EntryType::GNUSparse, 0);
        sparse.as_mut_bytes()[257..265].copy_from_slice(b"ustar  \0");
        sparse.as_mut_bytes()[482] = 1;
        sparse.set_cksum();
        let mut guard = Guard::new(std::io::Cursor::new(*sparse.as_bytes()).chain(std::io::repeat(1)));
        let error = std::io::copy(&mut guard, &mut std::io::sink()).unwrap_err();
        assert!(error.to_string().contains("more than 65536 headers"), "{error}");
    }

    #[test]
    fn what_is_in_contents_is_nobodys_header() {
        let mut builder = Builder::new(Vec::new());
        let evil = entry(EntryType::XHeader, 1 << 33);
        builder.append(&entry(EntryType::Regular, 512), &evil.as_bytes()[..]).unwrap();
        builder.append_pax_extensions([("size", &b"512"[..])]).unwrap();
        // The header says nothing of the contents, the records do.
        builder.append(&entry(EntryType::Regular, 0), std::io::empty()).unwrap();
        let mut stream = builder.into_inner().unwrap();
        stream.truncate(stream.len() - 1024);
        stream.extend(evil.as_bytes());
        stream.extend([0; 1024]);
        assert_eq!(reads(&stream[..]).unwrap(), 2);
    }
}
