//! What fuzz harnesses need: is this image sound, and can all of it be read? The answer follows from the image's bytes
//! alone, whoever asks, where and when.
//!
//! [`check_bytes`] and its relatives open a raw or qcow2 image, find what its partition table names, check every ext
//! filesystem as [`nomount_ext::check`] does, and then read what these and FAT filesystems hold, within [`Limits`].
//! They keep nothing between two calls, write nothing, and can be called by any number of threads. A panic is a bug.
//!
//! ```
//! use nomount::ops::harness::{Limits, Verdict, check_bytes};
//!
//! # fn main() -> std::io::Result<()> {
//! // What a fuzzer thinks up.
//! let outcome = check_bytes(&[0; 4096], None, &Limits::default());
//! assert_eq!(outcome.verdict, Verdict::Unsupported);
//!
//! // A disk with a FAT, for which there is no check, and a guest's root.
//! let image = std::fs::read("testdata/images/guest.qcow2")?;
//! let outcome = check_bytes(&image, None, &Limits::default());
//! assert_eq!(outcome.verdict, Verdict::Walked);
//! let root = &outcome.volumes[0];
//! assert_eq!(root.verdict, Verdict::Clean);
//! assert!(root.walked.as_ref().is_some_and(|walked| walked.complete && walked.digest != 0));
//! # Ok(())
//! # }
//! ```

mod walk;

pub use walk::{MAX_ERRORS, Walked};

use crate::disk::{Choice, Content, Layout, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, open_to_copy, probe};
use crate::tree::{ExtTree, FatTree, FileTree};
use nomount_block::{Bytes, HostFile, ReadAt, ReadOnly, Window};
use nomount_ext::{CheckOptions, Filesystem, Options, Report};
use nomount_qcow2::Qcow2;
use std::path::Path;

/// Memory for the tables of a qcow2 image, in bytes: what is checked is small, and there may be many at a time.
const TABLE_CACHE: usize = 1 << 20;

/// How much is read, of all filesystems of an image together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of files' contents.
    pub bytes: u64,
    /// Names in directories.
    pub names: u64,
}

impl Default for Limits {
    /// 256 MiB and 100,000 names: more than an image of a fuzz harness holds, and read in about a second.
    fn default() -> Self {
        Self { bytes: 256 << 20, names: 100_000 }
    }
}

/// What is thought of an image or of a filesystem, the better first: an image is as bad as the worst of its
/// filesystems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// A check found nothing corrupt, and all was read.
    Clean,
    /// There is no check for this filesystem, and all was read.
    Walked,
    /// No filesystem that is known, or a feature that is not.
    Unsupported,
    /// It names other files, or several formats claim it.
    Refused,
    /// It contradicts itself.
    Corrupt,
    /// The device below could not be read.
    Unreadable,
}

impl Verdict {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Walked => "walked",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
            Self::Corrupt => "corrupt",
            Self::Unreadable => "unreadable",
        }
    }

    /// What an error says of the image that it comes from.
    fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Unsupported | ErrorKind::Limit => Self::Unsupported,
            ErrorKind::Refused | ErrorKind::Busy => Self::Refused,
            ErrorKind::Io => Self::Unreadable,
            // What is asked for comes from the image: that it is not there, or not of this kind, is its contradiction.
            _ => Self::Corrupt,
        }
    }
}

/// What was found in an image.
#[derive(Debug)]
pub struct Outcome {
    /// The worst of what follows.
    pub verdict: Verdict,
    /// How the image is stored, if that could be told.
    pub format: Option<Format>,
    /// The filesystems that are known, in the order of their partitions.
    pub volumes: Vec<Seen>,
    /// What is remarkable about the partition table.
    pub notes: Vec<String>,
    /// Why no filesystem could be looked at.
    pub error: Option<Error>,
}

/// What was found in a filesystem.
#[derive(Debug)]
pub struct Seen {
    /// Where it is.
    pub volume: Volume,
    /// The worst of what follows.
    pub verdict: Verdict,
    /// What a check says; none where there is no check for this filesystem, or it could not be made.
    pub report: Option<Report>,
    /// What was read; none where it cannot be opened.
    pub walked: Option<Walked>,
    /// Why it could not be checked, or opened where nothing of that was found before.
    pub error: Option<Error>,
}

/// Looks at an image; without a format the container's magic decides.
pub fn check(image: &dyn ReadAt, format: Option<Format>, limits: &Limits) -> Outcome {
    let mut outcome = Outcome { verdict: Verdict::Clean, format, volumes: Vec::new(), notes: Vec::new(), error: None };
    if let Err(error) = look(image, limits, &mut outcome) {
        outcome.verdict = Verdict::of(&error);
        outcome.error = Some(error);
    }
    outcome
}

/// The same of an image in memory.
pub fn check_bytes(image: &[u8], format: Option<Format>, limits: &Limits) -> Outcome {
    check(&Bytes(image), format, limits)
}

/// The same of a file. No lock is taken, and no other file is looked at.
///
/// Fails where the file cannot be opened.
pub fn check_file(path: &Path, format: Option<Format>, limits: &Limits) -> Result<Outcome> {
    let file = open_to_copy(path, false)?;
    Ok(check(&HostFile::new(file, false)?, format, limits))
}

fn look(image: &dyn ReadAt, limits: &Limits, outcome: &mut Outcome) -> Result<()> {
    let format = match outcome.format {
        Some(format) => format,
        None => probe(image)?,
    };
    outcome.format = Some(format);
    match format {
        Format::Raw => look_at_disk(image, limits, outcome),
        Format::Qcow2 => {
            let how = nomount_qcow2::Options { read_only: true, cache_bytes: TABLE_CACHE };
            look_at_disk(&Qcow2::open(image, None, how)?, limits, outcome)
        }
    }
}

fn look_at_disk(device: &dyn ReadAt, limits: &Limits, outcome: &mut Outcome) -> Result<()> {
    let layout = Layout::read(device, Choice::Auto)?;
    outcome.notes = layout.table.iter().flat_map(|table| &table.notes).map(ToString::to_string).collect();
    let mut left = *limits;
    let known = |volume: &&Volume| volume.content.is_ext() || volume.content == Content::Vfat;
    outcome.volumes = layout.volumes.iter().filter(known).map(|volume| see(device, volume, &mut left)).collect();
    let worst = outcome.volumes.iter().map(|seen| seen.verdict).max();
    outcome.verdict =
        worst.ok_or_else(|| Error::new(ErrorKind::Unsupported, "no filesystem is recognised that could be checked"))?;
    Ok(())
}

fn see(device: &dyn ReadAt, volume: &Volume, left: &mut Limits) -> Seen {
    let verdict = if volume.content == Content::Vfat { Verdict::Walked } else { Verdict::Clean };
    let mut seen = Seen { volume: volume.clone(), verdict, report: None, walked: None, error: None };
    let part = |device| Window::new(ReadOnly(device), volume.start, volume.len).map_err(Error::from);
    if volume.content.is_ext() {
        let how = CheckOptions { now: None };
        match part(device).and_then(|part| Ok(nomount_ext::check(part, Options::default(), &how)?)) {
            Ok(report) => {
                if !report.is_sound() {
                    seen.verdict = Verdict::Corrupt;
                }
                seen.report = Some(report);
            }
            Err(error) => seen.failed(error),
        }
    }
    let tree = part(device).and_then(|part| -> Result<Box<dyn FileTree + '_>> {
        if volume.content == Content::Vfat {
            let fs = nomount_fat::Filesystem::open(part, nomount_fat::OpenOptions::default())?;
            return Ok(Box::new(FatTree::new(fs)));
        }
        Ok(Box::new(ExtTree::new(Filesystem::open(part, Options::default())?)))
    });
    match tree {
        Ok(tree) => {
            let walked = walk::walk(&*tree, left);
            seen.verdict = walked.errors.iter().map(Verdict::of).fold(seen.verdict, Verdict::max);
            seen.walked = Some(walked);
        }
        // A check has said more of it.
        Err(_) if seen.verdict == Verdict::Corrupt => {}
        Err(error) => seen.failed(error),
    }
    seen
}

impl Seen {
    fn failed(&mut self, error: Error) {
        self.verdict = self.verdict.max(Verdict::of(&error));
        self.error.get_or_insert(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomount_kit::fixture;

    fn look_at(bytes: &[u8]) -> Outcome {
        check_bytes(bytes, None, &Limits::default())
    }

    #[test]
    fn everything_in_a_guest_is_read() {
        let outcome = look_at(&std::fs::read(fixture::guest()).unwrap());
        let verdicts: Vec<Verdict> = outcome.volumes.iter().map(|seen| seen.verdict).collect();
        assert_eq!(verdicts, [Verdict::Clean, Verdict::Walked], "{outcome:?}");
        assert_eq!((outcome.verdict, outcome.format), (Verdict::Walked, Some(Format::Qcow2)));
        let walked = outcome.volumes[0].walked.as_ref().unwrap();
        assert!(walked.complete && walked.directories > 30 && walked.files >= 30 && walked.bytes > 0, "{walked:?}");
    }

    #[test]
    fn another_letter_is_another_digest() {
        let digest = |bytes: &[u8]| look_at(bytes).volumes[0].walked.as_ref().unwrap().digest;
        let image = fixture::bytes("ext4-nojournal");
        let mut other = image.clone();
        // A letter of the text of /etc/passwd.
        let at = image.windows(5).position(|text| text == b"root:").unwrap();
        other[at] = b'R';
        assert_eq!(digest(&image), digest(&image));
        assert_ne!(digest(&image), digest(&other));
    }

    #[test]
    fn verdicts_tell_apart_what_harnesses_do() {
        let ext = fixture::bytes("ext2-1k");
        assert_eq!(look_at(&ext).verdict, Verdict::Clean);
        let mut corrupt = ext.clone();
        corrupt[1024 + 0x10] ^= 1;
        assert_eq!(look_at(&corrupt).verdict, Verdict::Corrupt);
        for name in ["unknown-incompat", "journal-dev"] {
            assert_eq!(look_at(&fixture::bytes(name)).verdict, Verdict::Unsupported, "{name}");
        }
        for bytes in [&b""[..], b"x", &[0; 5000], b"KDMV\0\0\0\0\0"] {
            assert_eq!(look_at(bytes).verdict, Verdict::Unsupported);
        }
        assert_eq!(look_at(b"QFI\xfb\0\0\0\x03").verdict, Verdict::Corrupt);
        let raw = check_bytes(b"QFI\xfb\0\0\0\x03", Some(Format::Raw), &Limits::default());
        assert_eq!(raw.verdict, Verdict::Unsupported);
    }

    #[test]
    fn no_more_is_read_than_is_allowed() {
        let image = fixture::bytes("ext4-nojournal");
        for limits in [Limits { bytes: 10, ..Limits::default() }, Limits { names: 3, ..Limits::default() }] {
            let outcome = check_bytes(&image, None, &limits);
            let walked = outcome.volumes[0].walked.as_ref().unwrap();
            assert!(!walked.complete && walked.bytes <= limits.bytes, "{walked:?}");
            assert!(walked.files + walked.directories <= limits.names, "{walked:?}");
        }
    }

    #[test]
    fn threads_do_not_see_each_other() {
        let image = fixture::bytes("dirty-csum3");
        let told = |outcome: &Outcome| format!("{outcome:?}");
        let alone = told(&look_at(&image));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..3).for_each(|_| assert_eq!(told(&look_at(&image)), alone)));
            }
        });
    }
}
