//! `truncate`.

use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{FileKind, Follow, GuestPath, resolve};

/// A length, in bytes, as it is or from the one that a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewSize {
    /// This.
    To(u64),
    /// So much more.
    Plus(u64),
    /// So much less, at least nothing.
    Minus(u64),
    /// At most this.
    AtMost(u64),
    /// At least this.
    AtLeast(u64),
    /// The multiple of this, not zero, that is not greater.
    RoundDown(u64),
    /// The multiple of this, not zero, that is not less.
    RoundUp(u64),
}

impl NewSize {
    /// From a length; none where that is beyond all numbers.
    fn of(self, size: u64) -> Option<u64> {
        match self {
            Self::To(wanted) => Some(wanted),
            Self::Plus(more) => size.checked_add(more),
            Self::Minus(less) => Some(size.saturating_sub(less)),
            Self::AtMost(most) => Some(size.min(most)),
            Self::AtLeast(least) => Some(size.max(least)),
            Self::RoundDown(unit) => size.checked_div(unit).map(|units| units * unit),
            Self::RoundUp(unit) => size.checked_next_multiple_of(unit),
        }
    }
}

/// Gives the regular file that `path` leads to a length; what is added is a hole. A missing one is created, root's with
/// mode 0644, unless `no_create`.
pub fn truncate(editor: &mut Editor<'_>, path: &GuestPath, size: NewSize, no_create: bool) -> Result<()> {
    let found = resolve(editor.tree(), path, Follow::Last)?;
    let before = match found.stat {
        Some(stat) if stat.kind != FileKind::File => {
            let kind = if stat.kind == FileKind::Dir { ErrorKind::IsADirectory } else { ErrorKind::Refused };
            let message = format!("not a regular file but a {}", stat.kind.noun());
            return Err(Error::new(kind, message).at_path(path.to_bytes()));
        }
        Some(stat) => stat.size,
        None if no_create => return Ok(()),
        None => {
            editor.append(&found.path, b"", Wanted::default())?;
            0
        }
    };
    let after = size.of(before).ok_or_else(|| {
        let message = format!("a file of {before} bytes cannot get that size");
        Error::new(ErrorKind::Invalid, message).at_path(path.to_bytes())
    })?;
    editor.truncate(&found.path, after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn lengths_as_they_are_and_from_the_old_one() {
        for (size, wanted) in [
            (NewSize::To(3), Some(3)),
            (NewSize::Plus(3), Some(13)),
            (NewSize::Plus(u64::MAX), None),
            (NewSize::Minus(3), Some(7)),
            (NewSize::Minus(30), Some(0)),
            (NewSize::AtMost(3), Some(3)),
            (NewSize::AtMost(30), Some(10)),
            (NewSize::AtLeast(30), Some(30)),
            (NewSize::RoundDown(4), Some(8)),
            (NewSize::RoundDown(0), None),
            (NewSize::RoundUp(4), Some(12)),
            (NewSize::RoundUp(5), Some(10)),
        ] {
            assert_eq!(size.of(10), wanted, "{size:?}");
        }
        assert_eq!(NewSize::RoundUp(u64::MAX).of(10), Some(u64::MAX));
    }

    #[test]
    fn only_regular_files_have_a_length_to_set() {
        let mut tree = MemTree::new();
        tree.file("/f", "12345").link("/l", "f").dir("/d");
        let mut run = |text: &str, size, no_create| {
            let path = GuestPath::parse(text).unwrap();
            truncate(&mut Editor::new(&mut tree), &path, size, no_create).map_err(|error| error.kind())
        };
        assert_eq!(run("/l", NewSize::Minus(2), false), Ok(()));
        assert_eq!(run("/d", NewSize::To(0), false), Err(ErrorKind::IsADirectory));
        assert_eq!(run("/f", NewSize::Plus(u64::MAX), false), Err(ErrorKind::Invalid));
        assert_eq!(run("/no", NewSize::To(2), true), Ok(()));
        assert_eq!(run("/new", NewSize::To(2), false), Ok(()));
        assert_eq!((tree.text("/f").as_str(), tree.bytes("/new"), tree.has("/no")), ("123", vec![0, 0], false));
    }
}
