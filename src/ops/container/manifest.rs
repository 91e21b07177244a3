//! What an image held when a container was made of it, one JSON object a line: a header, a record for each name, and an
//! end, without which it is not complete.

use crate::error::{Error, ErrorKind, Result};
use crate::ops::IdMap;
use crate::ops::extract::Made;
use crate::ops::host_dir::{Facts, kind_name};
use crate::tree::{FileKind, GuestPath, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The version of the format that is written, and the only one that is read.
const VERSION: u32 = 1;
/// Bytes of the longest line: a path and the values of all attributes, in hexadecimal.
const MAX_LINE: u64 = 16 << 20;
/// The most names that are read: each takes some hundred bytes of memory.
const MAX_RECORDS: usize = 16 << 20;

/// Bytes: as text where they are UTF-8, else in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Utf8(String),
    Hex { hex: String },
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes().chunks(2);
    bytes.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

impl Text {
    fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Utf8(text.to_owned()),
            Err(_) => Self::Hex { hex: hex(bytes) },
        }
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Utf8(text) => Some(text.clone().into_bytes()),
            Self::Hex { hex } => unhex(hex),
        }
    }
}

/// Which image a container was made of, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    nomount_manifest: u32,
    image: Text,
    pub(super) format: String,
    /// None for the whole device.
    pub(super) partition: Option<u32>,
    pub(super) volume: String,
    /// What tells the state of the filesystem from any other.
    pub(super) identity: String,
    pub(super) uid_map: IdMap,
    pub(super) gid_map: IdMap,
}

/// One name of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    path: Text,
    #[serde(with = "kind_name")]
    kind: FileKind,
    ino: u64,
    /// Octal.
    mode: String,
    uid: u32,
    gid: u32,
    size: u64,
    links: u64,
    mtime: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    /// Attributes that the host was not given: name, and value in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<(Text, String)>,
    host: Option<Facts>,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    end: u64,
}

/// What is known of a name of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) kind: FileKind,
    pub(super) ino: u64,
    pub(super) mode: u32,
    /// Names of attributes that the host was not given.
    pub(super) recorded: Vec<Vec<u8>>,
    /// What the host made of it; none where it is only recorded.
    pub(super) host: Option<Facts>,
}

/// All of a manifest.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) header: Header,
    pub(super) names: BTreeMap<GuestPath, Known>,
}

impl Header {
    pub(super) fn new(image: &Path, format: &str, volume: String, identity: String, maps: (IdMap, IdMap)) -> Self {
        use std::os::unix::ffi::OsStrExt;
        Self {
            nomount_manifest: VERSION,
            image: Text::new(image.as_os_str().as_bytes()),
            format: format.to_owned(),
            partition: None,
            volume,
            identity,
            uid_map: maps.0,
            gid_map: maps.1,
        }
    }

    pub(super) fn image(&self) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStringExt;
        std::ffi::OsString::from_vec(self.image.bytes().unwrap_or_default()).into()
    }
}

/// Writes a manifest as it becomes known.
#[derive(Debug)]
pub(super) struct Writer {
    out: BufWriter<File>,
    records: u64,
}

impl Writer {
    /// Begins a manifest that is not there yet and that only its owner can read.
    pub(super) fn create(path: &Path, header: &Header) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                let message = format!("{} exists: the directory was set up before", path.display());
                Error::new(ErrorKind::Exists, message).hint("end it with `nomount container teardown` or `clean`")
            }
            _ => not_written(error),
        })?;
        let mut writer = Self { out: BufWriter::new(file), records: 0 };
        writer.line(header)?;
        Ok(writer)
    }

    pub(super) fn record(&mut self, made: &Made<'_>) -> Result<()> {
        let stat = made.stat;
        self.records += 1;
        self.line(&Record {
            path: Text::new(&made.path.to_bytes()),
            kind: stat.kind,
            ino: stat.ino,
            mode: format!("{:04o}", stat.mode),
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            links: stat.links,
            mtime: stat.mtime,
            device: stat.device,
            xattrs: made.xattrs.iter().map(|(name, value)| (Text::new(name), hex(value))).collect(),
            host: made.host.clone(),
        })
    }

    /// Ends the manifest.
    pub(super) fn finish(mut self) -> Result<()> {
        self.line(&End { end: self.records })?;
        self.out.flush().map_err(not_written)
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| not_written(error.into()))?;
        self.out.write_all(b"\n").map_err(not_written)
    }
}

fn not_written(error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::PermissionDenied => ErrorKind::Refused,
        _ => return Error::of_host("cannot write the manifest", error),
    };
    Error::new(kind, "cannot write the manifest").caused_by(error)
}

/// Reads the lines of a manifest.
struct Lines {
    input: BufReader<File>,
    number: u64,
    line: Vec<u8>,
}

impl Lines {
    fn next<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T> {
        self.number += 1;
        self.line.clear();
        let unreadable = |error| Error::new(ErrorKind::Io, "cannot read the manifest").caused_by(error);
        (&mut self.input).take(MAX_LINE).read_until(b'\n', &mut self.line).map_err(unreadable)?;
        self.parsed()
    }

    fn parsed<T: for<'de> Deserialize<'de>>(&self) -> Result<T> {
        serde_json::from_slice(&self.line).map_err(|error| self.wrong("is not as it was written").caused_by(error))
    }

    fn wrong(&self, what: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("line {} of the manifest {what}", self.number))
    }
}

/// Opens a manifest and reads its first line.
fn open(path: &Path) -> Result<(Header, Lines)> {
    let file = File::open(path).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Refused,
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("cannot read {}", path.display())).caused_by(error)
    })?;
    let mut lines = Lines { input: BufReader::new(file), number: 0, line: Vec::new() };
    let header: Header = lines.next()?;
    if header.nomount_manifest != VERSION {
        let message = format!("manifest of version {}, only {VERSION} is known", header.nomount_manifest);
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok((header, lines))
}

/// Reads the first line of a manifest alone.
pub(super) fn read_header(path: &Path) -> Result<Header> {
    open(path).map(|(header, _)| header)
}

/// Reads a whole manifest.
pub(super) fn read(path: &Path) -> Result<Manifest> {
    let (header, mut lines) = open(path)?;
    let mut names = BTreeMap::new();
    loop {
        let record: Record = match lines.next::<Record>() {
            Ok(record) => record,
            Err(error) => match lines.parsed::<End>() {
                Ok(end) if end.end == names.len() as u64 => return Ok(Manifest { header, names }),
                _ => return Err(error),
            },
        };
        if names.len() >= MAX_RECORDS {
            return Err(Error::new(ErrorKind::Limit, format!("a manifest of more than {MAX_RECORDS} names")));
        }
        let (path, known) = known(record).ok_or_else(|| lines.wrong("has values that cannot be"))?;
        names.insert(path, known);
    }
}

fn known(record: Record) -> Option<(GuestPath, Known)> {
    let mut path = GuestPath::root();
    for name in record.path.bytes()?.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        if name == b"." || name == b".." {
            return None;
        }
        path = path.join(name);
    }
    let recorded = record.xattrs.iter().map(|(name, _)| name.bytes()).collect::<Option<_>>()?;
    let mode = u32::from_str_radix(&record.mode, 8).ok().filter(|mode| *mode <= 0o7777)?;
    Some((path, Known { kind: record.kind, ino: record.ino, mode, recorded, host: record.host }))
}
