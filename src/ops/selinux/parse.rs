//! The lines of file_contexts: a pattern, perhaps a kind of file, a context.

use crate::tree::FileKind;

/// The longest pattern or context in bytes: real ones have up to a few hundred.
const MAX_WORD: usize = 4096;

/// What matches no file's own context: it gets none.
const NONE: &str = "<<none>>";

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'t> {
    pub(super) pattern: &'t str,
    /// The only kind of file it is for.
    pub(super) kind: Option<FileKind>,
    /// None for `<<none>>`.
    pub(super) context: Option<&'t str>,
}

/// Reads one line; none for a comment or an empty one.
pub(super) fn line(text: &[u8]) -> Result<Option<Line<'_>>, &'static str> {
    let text = text.trim_ascii();
    if text.is_empty() || text[0] == b'#' {
        return Ok(None);
    }
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii()).ok_or("it is not ASCII")?;
    let mut words = text.split_ascii_whitespace();
    let (pattern, second, third) = (words.next().unwrap_or_default(), words.next(), words.next());
    let (kind, context) = match (second, third) {
        (Some(kind), Some(context)) => (Some(kind_of(kind).ok_or("no such kind of file")?), context),
        (Some(context), None) => (None, context),
        (None, _) => return Err("its context is missing"),
    };
    if pattern.len() > MAX_WORD || context.len() > MAX_WORD {
        return Err("it is too long");
    }
    if context.contains('\0') || pattern.contains('\0') {
        return Err("it contains a NUL byte");
    }
    Ok(Some(Line { pattern, kind, context: (context != NONE).then_some(context) }))
}

fn kind_of(word: &str) -> Option<FileKind> {
    Some(match word {
        "--" => FileKind::File,
        "-d" => FileKind::Dir,
        "-l" => FileKind::Symlink,
        "-c" => FileKind::CharDevice,
        "-b" => FileKind::BlockDevice,
        "-p" => FileKind::Fifo,
        "-s" => FileKind::Socket,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let of = |pattern, kind, context| Ok(Some(Line { pattern, kind, context }));
        assert_eq!(line(b"/etc(/.*)?\t\tu:r:t:s0"), of("/etc(/.*)?", None, Some("u:r:t:s0")));
        assert_eq!(line(b"  /a -l  <<none>> \r"), of("/a", Some(FileKind::Symlink), None));
        assert_eq!(line(b"/a -- c rest"), of("/a", Some(FileKind::File), Some("c")));
        assert_eq!((line(b" # /a b"), line(b"\t")), (Ok(None), Ok(None)));
        for bad in [&b"/a"[..], b"/a -x c", b"/\xc3\xa9 c", b"/a b\0c"] {
            assert!(line(bad).is_err(), "{bad:?}");
        }
        assert!(line(format!("/{} c", "a".repeat(MAX_WORD)).as_bytes()).is_err());
    }
}
