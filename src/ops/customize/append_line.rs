//! `--append-line`.

use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{FileKind, FileTree, Follow, GuestPath, resolve};

/// How much of a file is looked at to learn its line break, in bytes: no text has longer lines at its beginning.
const LOOKED_AT: usize = 64 << 10;

/// Adds `line` to the end of the file at `path`, on a line of its own, with the line break that the file has; a missing
/// file is created.
pub(super) fn append_line(editor: &mut Editor<'_>, path: &GuestPath, line: &[u8]) -> Result<()> {
    if line.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        let error = Error::new(ErrorKind::Usage, "the line to append has a line break in it");
        return Err(error.at_path(path.to_bytes()).hint("append several lines one by one"));
    }
    let found = resolve(editor.tree(), path, Follow::Last)?;
    let size = found.stat.filter(|stat| stat.kind == FileKind::File).map_or(0, |stat| stat.size);
    let line_break = line_break(editor.tree(), &found.path, size)?;
    let mut addition = Vec::new();
    if size > 0 && !matches!(last_byte(editor.tree(), &found.path, size)?, b'\n' | b'\r') {
        addition.extend_from_slice(line_break);
    }
    addition.extend_from_slice(line);
    addition.extend_from_slice(line_break);
    editor.append(path, &addition, Wanted::default()).map(drop)
}

/// The first line break of a file; `\n` where none is seen.
fn line_break(tree: &dyn FileTree, path: &GuestPath, size: u64) -> Result<&'static [u8]> {
    let mut head = vec![0; LOOKED_AT.min(usize::try_from(size).unwrap_or(LOOKED_AT))];
    let read = if head.is_empty() { 0 } else { tree.read_at(path, 0, &mut head)? };
    let mut bytes = head[..read].iter().skip_while(|byte| !matches!(byte, b'\n' | b'\r'));
    Ok(match (bytes.next(), bytes.next()) {
        (Some(b'\r'), Some(b'\n')) => b"\r\n",
        // At the end of what was read, a line feed may follow.
        (Some(b'\r'), Some(_)) => b"\r",
        (Some(b'\r'), None) if read as u64 == size => b"\r",
        _ => b"\n",
    })
}

fn last_byte(tree: &dyn FileTree, path: &GuestPath, size: u64) -> Result<u8> {
    let mut last = [0];
    tree.read_at(path, size - 1, &mut last)?;
    Ok(last[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn lines_end_as_the_others_do() {
        for (before, after) in [
            ("", "new\n"),
            ("a\nb\n", "a\nb\nnew\n"),
            ("a\nb", "a\nb\nnew\n"),
            ("a", "a\nnew\n"),
            ("a\r\nb\r\n", "a\r\nb\r\nnew\r\n"),
            ("a\r\nb", "a\r\nb\r\nnew\r\n"),
            ("a\rb", "a\rb\rnew\r"),
            ("a\r", "a\rnew\r"),
        ] {
            let mut tree = MemTree::new();
            tree.file("/f", before).link("/l", "f");
            append_line(&mut Editor::new(&mut tree), &GuestPath::parse("/l").unwrap(), b"new").unwrap();
            assert_eq!(tree.text("/f"), after, "{before:?}");
        }
    }

    #[test]
    fn a_missing_file_is_created_and_a_line_is_one() {
        let mut tree = MemTree::new();
        tree.dir("/d");
        let mut run = |path: &str, line: &[u8]| {
            let path = GuestPath::parse(path).unwrap();
            append_line(&mut Editor::new(&mut tree), &path, line).map_err(|error| error.kind())
        };
        assert_eq!(run("/new", b"x"), Ok(()));
        assert_eq!(run("/new", b"x\ny"), Err(ErrorKind::Usage));
        assert_eq!(run("/d", b"x"), Err(ErrorKind::IsADirectory));
        assert_eq!(run("/no/f", b"x"), Err(ErrorKind::NotFound));
        assert_eq!((tree.text("/new").as_str(), tree.mode("/new")), ("x\n", 0o644));
    }
}
