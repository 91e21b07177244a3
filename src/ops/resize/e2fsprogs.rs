//! Changing the size of a filesystem with `e2fsck` and `resize2fs`, as an ordinary user.
//!
//! They work on a sparse copy of the volume, because they write in place and in no order that a crash would leave
//! whole; what they changed is then staged like any other change.

use super::super::program;
use crate::error::{Error, Result};
use crate::interrupt::Temporary;
use crate::session::Staging;
use nomount_block::{ExtentKind, HostFile, ReadAt, SetLen, Window, WriteAt, copy_to_zeroed};
use nomount_ext::{BlockUse, Filesystem, Options};
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where the programs are beside `PATH`: ordinary users often lack these folders in it.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];
/// Compared at a time.
const PIECE: u64 = 1 << 20;
/// What differs is written in blocks of this size, where the filesystem does not say its own.
const BLOCK: u64 = 4096;
/// A program that takes longer is ended: e2fsck of a full disk of some TiB stays below it.
const TIME_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// The size that a filesystem is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// All of its volume.
    Fill,
    /// So many bytes.
    Bytes(u64),
    /// As few as `resize2fs` finds possible.
    Minimum,
}

/// What a run of the programs came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The filesystem has its new size, and the change is staged.
    Done,
    /// It was left alone (R1, R3).
    NotDone {
        /// Why.
        reason: String,
    },
}

/// Checks the filesystem in `volume` (bytes of the disk) and changes its size. The copy lies in `folder` meanwhile.
pub fn resize(disk: &mut Staging, volume: Range<u64>, goal: Goal, folder: &Path) -> Result<Outcome> {
    let len = volume.end - volume.start;
    let host = |error: std::io::Error| {
        Error::of_host("cannot make a copy of the filesystem for resize2fs", error).in_image(folder)
    };
    let file = Temporary::create(folder, ".nomount-", ".scratch").map_err(host)?;
    let mut scratch = HostFile::new(file.as_file().try_clone().map_err(host)?, false)?;
    scratch.set_len(len)?;
    copy_to_zeroed(&Window::new(&*disk, volume.start, len)?, &mut scratch)?;

    // R1: 0, 1 and 2 say that the filesystem is sound now.
    if let Err(reason) = run("e2fsck", &["-f", "-p"], file.path(), None, 0..=2) {
        return Ok(Outcome::NotDone { reason });
    }
    let (options, size) = match goal {
        Goal::Fill => (&[][..], None),
        Goal::Bytes(bytes) => (&[][..], Some(format!("{}K", bytes / 1024))),
        Goal::Minimum => (&["-M"][..], None),
    };
    if let Err(reason) = run("resize2fs", options, file.path(), size.as_deref(), 0..=0) {
        return Ok(Outcome::NotDone { reason });
    }
    let scratch = HostFile::new(file.as_file().try_clone().map_err(host)?, false)?;
    bring_back(&scratch, disk, &volume)?;
    Ok(Outcome::Done)
}

/// Runs a program on a file; the text says why it cannot be run, or did not end with one of these exit codes.
fn run(
    program: &str,
    options: &[&str],
    file: &Path,
    size: Option<&str>,
    fine: RangeInclusive<i32>,
) -> Result<(), String> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut candidates = vec![program.to_owned()];
    candidates.extend(FOLDERS.iter().map(|folder| format!("{folder}/{program}")));
    for candidate in candidates {
        let mut command = Command::new(candidate);
        command.args(options).arg("--").arg(file).args(size);
        let ran = match program::run(command, folder, TIME_LIMIT) {
            Ok(ran) => ran,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{program} cannot be run: {error}")),
        };
        let how = match ran.status.map(|status| status.code()) {
            Some(Some(code)) if fine.contains(&code) => return Ok(()),
            Some(Some(code)) => format!("ended with exit code {code}"),
            Some(None) => "was killed".to_owned(),
            None => format!("took longer than {} seconds", TIME_LIMIT.as_secs()),
        };
        let lines: Vec<&str> = ran.text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        return Err(format!("{program} {how}: {}", lines.join("; ")));
    }
    Err(format!("{program} is not installed (package e2fsprogs)"))
}

/// Stages what differs. Blocks that the filesystem did not use before go as fresh ones.
fn bring_back(scratch: &HostFile, disk: &mut Staging, volume: &Range<u64>) -> Result<()> {
    let mut usage = Usage::of(disk, volume);
    let len = (volume.end - volume.start).min(scratch.len());
    let mut at = 0;
    let (mut new, mut old) = (Vec::new(), Vec::new());
    while at < len {
        let theirs = scratch.extent_at(at)?;
        let ours = disk.extent_at(volume.start + at)?;
        let piece = theirs.len.min(ours.len).min(len - at);
        if theirs.kind == ExtentKind::Zero && ours.kind == ExtentKind::Zero {
            at += piece;
            continue;
        }
        let piece = PIECE.min(len - at);
        new.resize(piece as usize, 0);
        old.resize(piece as usize, 0);
        scratch.read_at(at, &mut new)?;
        disk.read_at(volume.start + at, &mut old)?;
        let size = usage.block_size as usize;
        for (index, (new, old)) in new.chunks(size).zip(old.chunks(size)).enumerate() {
            if new != old {
                let within = at + (index * size) as u64;
                if usage.is_free(disk, volume, within)? {
                    disk.write_fresh(volume.start + within, new)?;
                } else {
                    disk.write_at(volume.start + within, new)?;
                }
            }
        }
        at += piece;
    }
    disk.barrier()?;
    Ok(())
}

/// What the filesystem used before; everything, where we cannot tell.
struct Usage {
    block_size: u64,
    known: bool,
    group: Option<BlockUse>,
}

impl Usage {
    fn of(disk: &Staging, volume: &Range<u64>) -> Self {
        match Self::open(disk, volume) {
            Ok(fs) => Self { block_size: fs.info().block_size.into(), known: true, group: None },
            Err(_) => Self { block_size: BLOCK, known: false, group: None },
        }
    }

    /// The filesystem as it is on the image, without what is staged.
    fn open<'a>(disk: &'a Staging, volume: &Range<u64>) -> Result<Filesystem<Window<&'a dyn ReadAt>>> {
        let image: &dyn ReadAt = disk.below();
        let len = image.len().min(volume.end).saturating_sub(volume.start);
        Ok(Filesystem::open(Window::new(image, volume.start, len)?, Options::default())?)
    }

    /// Whether nothing that is committed lives in the block at that byte of the volume.
    fn is_free(&mut self, disk: &Staging, volume: &Range<u64>, at: u64) -> Result<bool> {
        let block = at / self.block_size;
        if self.known && !self.group.as_ref().is_some_and(|group| group.covers(block)) {
            self.group = Self::open(disk, volume)?.block_use(block).unwrap_or(None);
        }
        Ok(self.group.as_ref().is_some_and(|group| group.covers(block) && !group.is_used(block)))
    }
}
