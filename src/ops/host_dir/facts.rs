//! What the host's filesystem knows of a file.

use crate::tree::{FileKind, Time};
use rustix::fs::{AtFlags, FileType, StatxFlags, StatxTimestamp, statx};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;

/// What tells whether a file of the host is still the same, and unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    #[serde(with = "kind_name")]
    pub(crate) kind: FileKind,
    pub(crate) ino: u64,
    /// Birth, which tells a file from a later one that was given its number; not every filesystem has it.
    pub(crate) btime: Option<Time>,
    pub(crate) mtime: Time,
    /// Cannot be set: whatever is changed, it moves.
    pub(crate) ctime: Time,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u32,
    pub(crate) device: (u32, u32),
}

fn time(stamp: StatxTimestamp) -> Time {
    Time { sec: stamp.tv_sec, nsec: stamp.tv_nsec }
}

/// A time as the host's calls take it.
pub(crate) fn host_time(time: Time) -> rustix::fs::Timespec {
    rustix::fs::Timespec { tv_sec: time.sec, tv_nsec: time.nsec.into() }
}

pub(super) fn facts(dir: impl AsFd, name: &[u8], flags: AtFlags) -> rustix::io::Result<Facts> {
    let stat = statx(dir, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
    let kind = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        _ => FileKind::File,
    };
    Ok(Facts {
        kind,
        ino: stat.stx_ino,
        btime: (stat.stx_mask & StatxFlags::BTIME.bits() != 0).then(|| time(stat.stx_btime)),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        size: stat.stx_size,
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        links: stat.stx_nlink,
        device: (stat.stx_rdev_major, stat.stx_rdev_minor),
    })
}

impl Facts {
    /// What is known of an open file.
    pub(crate) fn of_open(file: impl AsFd) -> rustix::io::Result<Self> {
        facts(file, b"", AtFlags::EMPTY_PATH)
    }

    /// Whether this is the file that `other` was, perhaps changed since.
    pub(crate) fn same_file(&self, other: &Self) -> bool {
        self.kind == other.kind && self.ino == other.ino && self.btime == other.btime
    }

    /// Whether nothing of the file was changed between this and `other`. Number of names aside, the time of the last
    /// change tells it all.
    pub(crate) fn same_state(&self, other: &Self) -> bool {
        self.same_file(other) && (self.ctime, self.mtime, self.size) == (other.ctime, other.mtime, other.size)
    }
}

/// Kinds of files as words.
pub(crate) mod kind_name {
    use crate::tree::FileKind;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const WORDS: [(FileKind, &str); 7] = [
        (FileKind::File, "file"),
        (FileKind::Dir, "dir"),
        (FileKind::Symlink, "symlink"),
        (FileKind::CharDevice, "char_device"),
        (FileKind::BlockDevice, "block_device"),
        (FileKind::Fifo, "fifo"),
        (FileKind::Socket, "socket"),
    ];

    pub(crate) fn serialize<S: Serializer>(kind: &FileKind, serializer: S) -> Result<S::Ok, S::Error> {
        let (_, word) = WORDS.iter().find(|(other, _)| other == kind).expect("every kind has a word");
        serializer.serialize_str(word)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FileKind, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = WORDS.iter().find(|(_, word)| *word == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| D::Error::custom(format!("unknown kind {text:?}")))
    }
}
