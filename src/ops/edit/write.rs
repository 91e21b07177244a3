//! `write` and `append`.

use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::GuestPath;

/// Makes `contents` the whole of the file that `path` leads to.
///
/// A file that exists keeps inode, owner, mode and extended attributes (L2); a new one is root's with mode 0644 (V2).
pub fn write(editor: &mut Editor<'_>, path: &GuestPath, contents: &[u8]) -> Result<()> {
    editor.replace(path, contents, Wanted::default()).map(drop)
}

/// Adds `contents`, and nothing else, to the end of the file that `path` leads to; a missing one is created (V2).
pub fn append(editor: &mut Editor<'_>, path: &GuestPath, contents: &[u8]) -> Result<()> {
    editor.append(path, contents, Wanted::default()).map(drop)
}

/// A path that is to be a file's: one with a slash at its end names a directory.
pub fn file_path(text: &[u8]) -> Result<GuestPath> {
    let path = GuestPath::parse(text)?;
    if path.is_root() || text.ends_with(b"/") || text.ends_with(b"/.") {
        return Err(Error::new(ErrorKind::Invalid, "the path names a directory, not a file").at_path(text));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_is_for_directories() {
        assert_eq!(file_path(b"etc/motd").unwrap().to_string(), "/etc/motd");
        for bad in ["/", "/etc/", "/etc/.", "", "/.."] {
            assert_eq!(file_path(bad.as_bytes()).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }
}
