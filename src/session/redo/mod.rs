//! The redo file: how what has no journal of its own is changed all at once: a filesystem without one, a partition
//! table, the length of the device.
//!
//! Order: where the device becomes longer, a file `IMAGE.nomount-redo` that says how to take that back, and then the new
//! length. Blocks that the committed state does not read go to the image; everything else goes to the redo file,
//! checksummed, under another name until it is durable, in place of the first; then to the image; then the file is
//! removed. An image with a complete redo file beside it gets it applied before anything else, which may be repeated
//! any number of times. So a crash before the second file has its name leaves the old contents and one after it the
//! new, for whoever opens the image with this library. Others see the filesystem marked as not cleanly unmounted, or
//! its journal, while the file exists; or a device that is longer than its table says.
//!
//! Each record carries a checksum of what the image held before. A sector that holds neither that nor anything the file writes shows
//! that the image was changed by someone else meanwhile, or is another one: then nothing is applied.

mod file;

pub(super) use file::{Phase, encode};

use super::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::image::folder_of;
use crate::interrupt;
use file::{MAX_REDO, decode};
use nomount_block::{Overlay, ReadAt, Record, SetLen, WriteAt, replay};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Places in front whose contents tell whether somebody used an image since a commit of it was interrupted.
const IN_FRONT: usize = 16;
/// Written at a time.
const BUFFER: usize = 1 << 18;

/// What became of an interrupted commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// There was none.
    Nothing,
    /// It was completed: the image is the new one.
    Completed,
    /// It had not come far enough: the image is the old one again.
    TakenBack,
}

impl Recovered {
    /// For a note; none where there was nothing.
    pub fn describe(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Completed => Some("an unfinished commit was completed first"),
            Self::TakenBack => Some("a commit that was interrupted at its start was taken back first"),
        }
    }
}

/// Where the redo file of an image is.
pub fn redo_path(image: &Path) -> PathBuf {
    let mut name = OsString::from(image.file_name().unwrap_or_default());
    name.push(".nomount-redo");
    image.with_file_name(name)
}

fn host(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| cannot_write(error).in_image(&path)
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::of_host("the redo file cannot be used", error)
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

/// Commits a staged change. `is_free` tells whether nothing that is committed lives in a stretch of the device (offset,
/// length), as the caller of [`WriteAt::write_fresh`] promised of it. With `sync` the redo file is durable when it must.
pub(super) fn commit(
    image: &Path,
    staged: Overlay<Device>,
    sync: bool,
    is_free: impl Fn(u64, u64) -> bool,
) -> Result<()> {
    let _committing = interrupt::committing();
    let after = staged.len();
    let (mut device, fresh, mut rest) = staged.split_fresh(is_free);
    let before = device.len();
    let grows = after > before;
    if grows {
        rest.retain(|record| !matches!(record, Record::SetLen(_)));
        let known = in_front(&fresh, &rest, before);
        put(image, &device, Phase::TakeBack, (before, after), &known, sync)?;
        let longer = device.set_len(after);
        if longer.is_err() && device.len() == before {
            remove(&redo_path(image))?;
        }
        longer?;
        device.barrier()?;
    }
    replay(&mut device, &fresh)?;
    device.barrier()?;
    put(image, &device, Phase::Complete, (before, after), &rest, sync)?;
    replay(&mut device, &rest)?;
    device.barrier()?;
    remove(&redo_path(image))
}

/// The changes that are nearest to the beginning of the disk: those of the partition table and of the superblock, which
/// whoever uses the disk meanwhile changes, too. What goes ahead below the old end may be there already when a commit is
/// taken back.
fn in_front(fresh: &[Record], rest: &[Record], before: u64) -> Vec<Record> {
    let place = |record: &Record| match record {
        Record::Write { offset, .. } if *offset < before => Some(*offset),
        _ => None,
    };
    let mut places: Vec<u64> = rest.iter().filter_map(place).collect();
    places.sort_unstable();
    places.dedup();
    let last = places.get(IN_FRONT).copied().unwrap_or(before);
    let all = fresh.iter().chain(rest);
    all.filter(|record| place(record).is_some_and(|offset| offset < last)).cloned().collect()
}

/// Writes a redo file, and gives it its name once it is durable. The one for completing takes the place of the other.
fn put(image: &Path, device: &Device, phase: Phase, lengths: (u64, u64), records: &[Record], sync: bool) -> Result<()> {
    let path = redo_path(image);
    let folder = folder_of(&path);
    let made = tempfile::Builder::new().prefix(".nomount-").suffix(".redo").tempfile_in(folder);
    let mut file = made.map_err(host(&path))?;
    let mut buffered = BufWriter::with_capacity(BUFFER, &mut file);
    encode(&mut buffered, device, phase, lengths, records).map_err(|error| error.in_image(&path))?;
    buffered.flush().map_err(host(&path))?;
    drop(buffered);
    if sync {
        file.as_file().sync_all().map_err(host(&path))?;
    }
    let replaces = phase == Phase::Complete && lengths.1 > lengths.0;
    let named = if replaces { file.persist(&path) } else { file.persist_noclobber(&path) };
    named.map_err(|error| host(&path)(error.error))?;
    if sync {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(host(&path))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(host(path))
}

/// All of a redo file, and a little of one that is too long.
fn read(path: &Path) -> Result<Vec<u8>> {
    // Not blocking: a named pipe would wait for its other end.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(host(path))?;
    if !file.metadata().map_err(host(path))?.is_file() {
        return Err(Error::new(ErrorKind::Refused, "not a redo file: it is no regular file").in_image(path));
    }
    let mut bytes = Vec::new();
    file.take(MAX_REDO + 8).read_to_end(&mut bytes).map_err(host(path))?;
    Ok(bytes)
}

/// Completes an unfinished commit on an open device, or takes it back.
pub(super) fn apply(image: &Path, device: &mut Device) -> Result<Recovered> {
    if !pending(image)? {
        return Ok(Recovered::Nothing);
    }
    let path = redo_path(image);
    let bytes = read(&path)?;
    let redo = decode(&bytes, device.len()).map_err(|detail| {
        Error::new(ErrorKind::Corrupt, format!("not a redo file of this image: {detail}")).in_image(&path)
    })?;
    let looked_at = match redo.phase {
        Phase::TakeBack => redo.before.min(device.len()),
        Phase::Complete => device.len(),
    };
    let checked = redo.known.check(device, looked_at);
    checked.map_err(|error| error.in_image(&path).hint("if the image is as it should be, remove this file"))?;
    match redo.phase {
        Phase::TakeBack => device.set_len(redo.before)?,
        Phase::Complete if redo.is_done(device.len()) => {}
        Phase::Complete => replay(device, &redo.records)?,
    }
    device.barrier()?;
    remove(&path)?;
    Ok(if redo.phase == Phase::TakeBack { Recovered::TakenBack } else { Recovered::Completed })
}

/// Completes an unfinished commit of an image, or takes back one that did not come far, if there is one.
pub fn recover(image: &Path, options: &crate::image::ImageOptions) -> Result<Recovered> {
    if !pending(image)? {
        return Ok(Recovered::Nothing);
    }
    let options = crate::image::ImageOptions { write: true, ..options.clone() };
    let mut open = crate::image::Image::open(image, &options)?;
    apply(image, &mut open.device)
}
