//! The tests of find(1): what can be asked of one file.

use crate::error::Result;
use crate::ops::glob::Glob;
use crate::ops::look::{FileInfo, Names};
use crate::tree::{FileKind, FileTree, Time};
use std::rc::Rc;

const NANOSECONDS: i128 = 1_000_000_000;

#[derive(Debug)]
pub(super) enum Test {
    /// `-true`, `-false`.
    Always(bool),
    /// The last component of the path; `/` for the root.
    Name(Glob),
    /// All of the path.
    Path(Glob),
    /// What a symbolic link says.
    Target(Glob),
    Kind(Vec<FileKind>),
    /// The length in units of so many bytes, rounded up.
    Size(Number, u64),
    /// The age in whole days at this moment.
    Days(Stamp, Number, Time),
    /// The age in minutes at this moment, rounded up.
    Minutes(Stamp, Number, Time),
    /// Later than this.
    Newer(Stamp, Time),
    Permissions(Permissions),
    Owner(Number),
    Group(Number),
    NoUser(Rc<Names>),
    NoGroup(Rc<Names>),
    Links(Number),
    Inode(Number),
    /// A file without contents, or a directory without names.
    Empty,
}

/// A number as find takes it: `N`, `+N` for more, `-N` for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Exactly(u64),
    More(u64),
    Less(u64),
}

impl Number {
    fn is(self, value: u64) -> bool {
        match self {
            Self::Exactly(wanted) => value == wanted,
            Self::More(than) => value > than,
            Self::Less(than) => value < than,
        }
    }
}

/// Which time of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    Access,
    Change,
    Modification,
    Birth,
}

impl Stamp {
    /// None where the filesystem does not keep it.
    pub(super) fn of(self, stat: &crate::tree::Stat) -> Option<Time> {
        match self {
            Self::Access => Some(stat.atime),
            Self::Change => Some(stat.ctime),
            Self::Modification => Some(stat.mtime),
            Self::Birth => stat.btime,
        }
    }
}

/// Permission bits, for files and for directories: `X` means another thing there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Permissions {
    pub(super) how: Bits,
    pub(super) file: u32,
    pub(super) dir: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bits {
    Exactly,
    All,
    Any,
}

impl Permissions {
    fn are(self, mode: u32, is_dir: bool) -> bool {
        let wanted = if is_dir { self.dir } else { self.file };
        match self.how {
            Bits::Exactly => mode == wanted,
            Bits::All => mode & wanted == wanted,
            // As in find, no bits ask for nothing.
            Bits::Any => wanted == 0 || mode & wanted != 0,
        }
    }
}

fn nanoseconds(time: Time) -> i128 {
    i128::from(time.sec) * NANOSECONDS + i128::from(time.nsec)
}

fn age(time: Option<Time>, now: Time) -> Option<i128> {
    Some(nanoseconds(now) - nanoseconds(time?))
}

fn days_are(age: i128, days: Number) -> bool {
    let whole = age.div_euclid(86_400 * NANOSECONDS);
    match days {
        Number::Exactly(wanted) => whole == i128::from(wanted),
        Number::More(than) => whole > i128::from(than),
        Number::Less(than) => whole < i128::from(than),
    }
}

fn minutes_are(age: i128, minutes: Number) -> bool {
    let limit = |minutes: u64| i128::from(minutes) * 60 * NANOSECONDS;
    match minutes {
        Number::Exactly(wanted) => age < limit(wanted) && age >= limit(wanted) - 60 * NANOSECONDS,
        Number::More(than) => age > limit(than),
        Number::Less(than) => age < limit(than),
    }
}

impl Test {
    pub(super) fn holds(&self, tree: &dyn FileTree, file: &FileInfo) -> Result<bool> {
        let stat = &file.stat;
        Ok(match self {
            Self::Always(value) => *value,
            Self::Name(glob) => glob.matches(file.path.name().unwrap_or(b"/")),
            Self::Path(glob) => glob.matches(&file.path.to_bytes()),
            Self::Target(glob) => file.target.as_ref().is_some_and(|target| glob.matches(target)),
            Self::Kind(kinds) => kinds.contains(&stat.kind),
            Self::Size(number, unit) => number.is(stat.size.div_ceil(*unit)),
            Self::Days(stamp, number, now) => age(stamp.of(stat), *now).is_some_and(|age| days_are(age, *number)),
            Self::Minutes(stamp, number, now) => age(stamp.of(stat), *now).is_some_and(|age| minutes_are(age, *number)),
            Self::Newer(stamp, than) => stamp.of(stat).is_some_and(|time| time > *than),
            Self::Permissions(permissions) => permissions.are(stat.mode, stat.kind == FileKind::Dir),
            Self::Owner(number) => number.is(stat.uid.into()),
            Self::Group(number) => number.is(stat.gid.into()),
            Self::NoUser(names) => names.user(stat.uid).is_none(),
            Self::NoGroup(names) => names.group(stat.gid).is_none(),
            Self::Links(number) => number.is(stat.links),
            Self::Inode(number) => number.is(stat.ino),
            Self::Empty => match stat.kind {
                FileKind::File => stat.size == 0,
                FileKind::Dir => tree.entries(&file.path)?.is_empty(),
                _ => false,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_minutes_are_begun() {
        let day = 86_400 * NANOSECONDS;
        for (age, yes, no) in [
            (0, vec![Number::Exactly(0), Number::Less(1)], vec![Number::More(0), Number::Exactly(1)]),
            (day - 1, vec![Number::Exactly(0)], vec![Number::Exactly(1), Number::More(0)]),
            (day, vec![Number::Exactly(1), Number::More(0)], vec![Number::Less(1)]),
            (-1, vec![Number::Less(0)], vec![Number::Exactly(0)]),
        ] {
            yes.iter().for_each(|number| assert!(days_are(age, *number), "{age} {number:?}"));
            no.iter().for_each(|number| assert!(!days_are(age, *number), "{age} {number:?}"));
        }
        let minute = 60 * NANOSECONDS;
        assert!(minutes_are(minute - 1, Number::Exactly(1)) && !minutes_are(minute, Number::Exactly(1)));
        assert!(minutes_are(minute + 1, Number::More(1)) && !minutes_are(minute, Number::More(1)));
        assert!(minutes_are(minute - 1, Number::Less(1)) && !minutes_are(minute, Number::Less(1)));
    }
}
