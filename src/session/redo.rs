//! The redo file: how a filesystem without a journal is changed all at once.
//!
//! Order: blocks that the committed state does not read go to the image; everything else goes to `IMAGE.nomount-redo`,
//! checksummed, under another name until it is durable; then to the image; then the file is removed. An image with a
//! complete redo file beside it gets it applied before anything else, which may be repeated any number of times. So
//! a crash before the file has its name leaves the old contents and one after it the new, for whoever opens the image
//! with this library. Others see the filesystem marked as not cleanly unmounted while the file exists.
//!
//! Each record carries what the image held before. A sector that holds neither that nor anything the file writes shows
//! that the image was changed by someone else meanwhile, or is another one: then nothing is applied.

use super::Device;
use crate::error::{Error, ErrorKind, Result};
use byteorder::{ByteOrder, LittleEndian};
use nomount_block::{Overlay, ReadAt, Record, replay};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"NMREDO\0\x01";
/// Magic, length of the device, number of records.
const HEADER: usize = 24;
/// Kind, offset, length.
const RECORD: usize = 24;
const TRAILER: usize = 4;
/// A medium writes sectors of at least this size whole or not at all.
const SECTOR: u64 = 512;
/// The largest redo file that is read: what is protected is metadata, a few blocks for each change.
const MAX_REDO: u64 = 1 << 30;

const KIND_WRITE: u64 = 1;
const KIND_BARRIER: u64 = 2;

/// Where the redo file of an image is.
pub fn redo_path(image: &Path) -> PathBuf {
    let mut name = OsString::from(image.file_name().unwrap_or_default());
    name.push(".nomount-redo");
    image.with_file_name(name)
}

fn host(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| {
        let kind = if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::NoSpace } else { ErrorKind::Io };
        Error::new(kind, "the redo file cannot be used").caused_by(error).in_image(&path)
    }
}

/// Whether an image has an unfinished commit.
pub(super) fn pending(image: &Path) -> Result<bool> {
    let path = redo_path(image);
    path.try_exists().map_err(host(&path))
}

/// The error for an image that must be completed before it can be read.
pub(super) fn unfinished(image: &Path) -> Error {
    Error::new(ErrorKind::Refused, "a commit of this image was interrupted")
        .hint(format!("complete it with `nomount recover {}`", image.display()))
}

/// Commits a staged change whose filesystem has no journal of its own.
pub(super) fn commit(image: &Path, staged: Overlay<Device>) -> Result<()> {
    let (mut device, rest) = staged.commit_first_epoch()?;
    let path = redo_path(image);
    let bytes = encode(&device, &rest)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".nomount-").suffix(".redo").tempfile_in(folder);
    let mut file = made.map_err(host(&path))?;
    file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(host(&path))?;
    file.persist_noclobber(&path).map_err(|error| host(&path)(error.error))?;
    sync_folder(folder).map_err(host(&path))?;
    replay(&mut device, &rest)?;
    nomount_block::WriteAt::barrier(&mut device)?;
    remove(&path)
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(host(path))
}

/// Completes an unfinished commit on an open device. Does nothing when there is none.
pub(super) fn apply(image: &Path, device: &mut Device) -> Result<()> {
    let path = redo_path(image);
    let mut bytes = Vec::new();
    let mut file = File::open(&path).map_err(host(&path))?.take(MAX_REDO + 1);
    file.read_to_end(&mut bytes).map_err(host(&path))?;
    let (records, known) = decode(&bytes, device.len()).map_err(|detail| {
        Error::new(ErrorKind::Corrupt, format!("not a redo file of this image: {detail}")).in_image(&path)
    })?;
    known
        .check(device)
        .map_err(|error| error.in_image(&path).hint("if the image is as it should be, remove this file"))?;
    replay(device, &records)?;
    nomount_block::WriteAt::barrier(device)?;
    remove(&path)
}

/// Completes an unfinished commit of an image, if there is one. Returns whether there was.
pub fn recover(image: &Path, options: &crate::image::ImageOptions) -> Result<bool> {
    if !pending(image)? {
        return Ok(false);
    }
    let options = crate::image::ImageOptions { write: true, ..options.clone() };
    let mut open = crate::image::Image::open(image, &options)?;
    apply(image, &mut open.device)?;
    Ok(true)
}

pub(super) fn encode(device: &Device, records: &[Record]) -> Result<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    let word = |bytes: &mut Vec<u8>, value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    word(&mut bytes, device.len());
    word(&mut bytes, records.len() as u64);
    for record in records {
        match record {
            Record::Write { offset, data } => {
                word(&mut bytes, KIND_WRITE);
                word(&mut bytes, *offset);
                word(&mut bytes, data.len() as u64);
                let mut before = vec![0; data.len()];
                device.read_at(*offset, &mut before)?;
                bytes.extend_from_slice(&before);
                bytes.extend_from_slice(data);
            }
            Record::Barrier => (0..3).for_each(|at| word(&mut bytes, if at == 0 { KIND_BARRIER } else { 0 })),
            other => {
                let message = format!("a change of another kind than a write cannot be protected: {other:?}");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// The contents that a sector may have: before, and after each record that touches it.
#[derive(Debug, Default)]
struct Known(HashMap<u64, Vec<u32>>);

impl Known {
    fn add(&mut self, offset: u64, data: &[u8]) {
        for (at, sector) in (offset..).step_by(SECTOR as usize).zip(data.chunks(SECTOR as usize)) {
            self.0.entry(at).or_default().push(crc32c::crc32c(sector));
        }
    }

    fn check(&self, device: &Device) -> Result<()> {
        for (&at, allowed) in &self.0 {
            let mut sector = vec![0; SECTOR.min(device.len() - at) as usize];
            device.read_at(at, &mut sector)?;
            if !allowed.contains(&crc32c::crc32c(&sector)) {
                let message = format!("the image was changed since its commit was interrupted (sector at byte {at})");
                return Err(Error::new(ErrorKind::Refused, message));
            }
        }
        Ok(())
    }
}

fn decode(bytes: &[u8], device_len: u64) -> Result<(Vec<Record>, Known), String> {
    if bytes.len() as u64 > MAX_REDO {
        return Err(format!("it is longer than {MAX_REDO} bytes"));
    }
    if bytes.len() < HEADER + TRAILER || bytes[..8] != *MAGIC {
        return Err("its magic is missing".to_owned());
    }
    let (body, crc) = bytes.split_at(bytes.len() - TRAILER);
    if LittleEndian::read_u32(crc) != crc32c::crc32c(body) {
        return Err("its checksum is wrong".to_owned());
    }
    let len = LittleEndian::read_u64(&body[8..16]);
    if len != device_len {
        return Err(format!("it is for a device of {len} bytes, this one has {device_len}"));
    }
    let (mut records, mut known) = (Vec::new(), Known::default());
    let mut rest = &body[HEADER..];
    for _ in 0..LittleEndian::read_u64(&body[16..24]) {
        let short = || "it ends in a record".to_owned();
        let (head, after) = rest.split_at_checked(RECORD).ok_or_else(short)?;
        let [kind, offset, len] = [0, 8, 16].map(|at| LittleEndian::read_u64(&head[at..at + 8]));
        rest = after;
        if kind == KIND_BARRIER {
            records.push(Record::Barrier);
            continue;
        }
        let inside = offset.checked_add(len).is_some_and(|end| end <= device_len);
        if kind != KIND_WRITE || !inside || offset % SECTOR != 0 {
            return Err(format!("a record of kind {kind} at {offset} with {len} bytes makes no sense"));
        }
        let (before, after) = rest.split_at_checked(len as usize).ok_or_else(short)?;
        let (data, after) = after.split_at_checked(len as usize).ok_or_else(short)?;
        known.add(offset, before);
        known.add(offset, data);
        records.push(Record::Write { offset, data: data.to_vec() });
        rest = after;
    }
    if rest.is_empty() { Ok((records, known)) } else { Err("bytes follow its last record".to_owned()) }
}
