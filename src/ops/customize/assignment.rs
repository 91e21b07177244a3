//! Assignments in the files that a guest's shell reads.

use crate::error::Result;
use crate::ops::edit::write;
use crate::ops::editor::Editor;
use crate::tree::{GuestPath, read_text};

/// Gives `key` the `value` wherever the file at `path` assigns it, quotes kept; says whether it does. A file that is
/// missing, or has no such line, stays as it is.
pub(super) fn assign(editor: &mut Editor<'_>, path: &str, key: &str, value: &str) -> Result<bool> {
    let path = GuestPath::parse(path)?;
    let Some(before) = read_text(editor.tree(), &path)? else { return Ok(false) };
    let mut found = false;
    let mut after = Vec::with_capacity(before.len() + value.len());
    for line in before.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(key.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
            Some(old) => {
                found = true;
                let quote: &[u8] = match old.first() {
                    Some(b'"') => b"\"",
                    Some(b'\'') => b"'",
                    _ => b"",
                };
                let end: &[u8] = if line.ends_with(b"\n") { b"\n" } else { b"" };
                after.extend([key.as_bytes(), b"=", quote, value.as_bytes(), quote, end].concat());
            }
            None => after.extend_from_slice(line),
        }
    }
    if found {
        write(editor, &path, &after)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn only_that_key_changes() {
        let mut tree = MemTree::new();
        tree.file("/f", "A=1\nAB=2\n#A=3\nA='4'\nexport A=5\nA=\"6\"");
        let mut run = |path: &str, key: &str| assign(&mut Editor::new(&mut tree), path, key, "new").unwrap();
        assert!(run("/f", "A") && !run("/f", "C") && !run("/no/f", "A"));
        assert_eq!(tree.text("/f"), "A=new\nAB=2\n#A=3\nA='new'\nexport A=5\nA=\"new\"");
    }
}
