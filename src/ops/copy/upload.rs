//! Streaming into one file of a guest.

use super::Copied;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Progress;
use crate::ops::editor::Editor;
use crate::ops::populate::Contents;
use crate::tree::{FileKind, Follow, GuestPath, NewNode, SetAttr, resolve};
use std::io::Read;
use std::ops::Range;

/// Bytes that are held at once.
const BUFFER: usize = 1 << 20;

/// What a reader gives, to its end.
pub struct Stream<R> {
    reader: R,
    at: u64,
}

impl<R> std::fmt::Debug for Stream<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("at", &self.at).finish_non_exhaustive()
    }
}

impl<R: Read> Stream<R> {
    /// The rest of `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, at: 0 }
    }
}

impl<R: Read> Contents for Stream<R> {
    fn next_data(&mut self, buf: &mut [u8]) -> Result<Option<(u64, usize)>> {
        let mut len = 0;
        while len < buf.len() {
            match self.reader.read(&mut buf[len..]) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Error::new(ErrorKind::Io, "the contents cannot be read").caused_by(error));
                }
            }
        }
        let start = self.at;
        self.at += len as u64;
        Ok((len > 0).then_some((start, len)))
    }

    fn stretches(&self) -> Option<&[Range<u64>]> {
        None
    }
}

/// Makes `contents` the whole of the file that `path` leads to, however long they are; `size` is their length with a
/// hole at the end, where there may be one.
///
/// A file that exists keeps inode, owner, mode and extended attributes; a new one is root's with mode 0644, in a
/// directory that exists.
pub fn upload(
    editor: &mut Editor<'_>,
    path: &GuestPath,
    contents: &mut dyn Contents,
    size: Option<u64>,
    progress: &mut dyn Progress,
) -> Result<Copied> {
    let found = resolve(editor.tree(), path, Follow::Last)?;
    let place = found.path;
    let before = match found.stat {
        None => None,
        Some(stat) if stat.kind == FileKind::File => Some(stat.size),
        Some(stat) if stat.kind == FileKind::Dir => {
            return Err(Error::new(ErrorKind::IsADirectory, "is a directory").at_path(path.to_bytes()));
        }
        Some(stat) => {
            let message = format!("not a regular file but a {}", stat.kind.noun());
            return Err(Error::new(ErrorKind::Refused, message).at_path(path.to_bytes()));
        }
    };
    progress.at(&place.to_bytes());
    match before {
        Some(_) => editor.fill_to(&place, 0)?,
        None => {
            let attr = SetAttr { mode: Some(0o644), uid: Some(0), gid: Some(0), ..SetAttr::default() };
            editor.begin(&place, NewNode::File, attr)?;
        }
    }
    let mut done = Copied { entries: 1, ..Copied::default() };
    let (mut buffer, mut end) = (vec![0; BUFFER], 0);
    while let Some((offset, len)) = contents.next_data(&mut buffer)? {
        editor.fill(&place, offset, &buffer[..len])?;
        progress.add(len as u64);
        done.bytes += len as u64;
        end = offset + len as u64;
    }
    if let Some(size) = size.filter(|size| *size > end) {
        editor.fill_to(&place, size)?;
    }
    match before {
        Some(before) => editor.refilled(&place, before)?,
        None => editor.finish(&place, SetAttr::default(), &[], false)?,
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Silent;
    use crate::tree::memtree::MemTree;

    #[test]
    fn a_file_keeps_what_is_not_contents() {
        let mut tree = MemTree::new();
        tree.file("/etc/f", "a long old text").chmod("/etc/f", 0o4640).owner("/etc/f", 5, 6).link("/l", "etc/f");
        tree.dir("/d").hard_link("/etc/f", "/g");
        let mut send = |path: &str, text: &str| {
            let path = GuestPath::parse(path).unwrap();
            upload(&mut Editor::new(&mut tree), &path, &mut Stream::new(text.as_bytes()), None, &mut Silent)
                .map_err(|error| error.kind())
        };
        send("/l", "new").unwrap();
        send("/d/new", "x").unwrap();
        assert_eq!(send("/d", "x").unwrap_err(), ErrorKind::IsADirectory);
        assert_eq!(send("/no/f", "x").unwrap_err(), ErrorKind::NotFound);
        assert_eq!((tree.text("/g").as_str(), tree.mode("/etc/f"), tree.owner_of("/etc/f")), ("new", 0o4640, (5, 6)));
        assert_eq!((tree.text("/d/new").as_str(), tree.mode("/d/new"), tree.owner_of("/d/new")), ("x", 0o644, (0, 0)));
    }
}
