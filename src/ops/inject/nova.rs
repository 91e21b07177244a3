//! What `--nova-compat` shares between items: the habits of Nova's code that decide bytes.

use crate::error::Result;
use crate::ops::guest_names;
use crate::tree::FileTree;

/// (uid, gid) of `root:root`, which Nova looks up by name in the guest and fails without (V5).
pub(super) fn root_by_name(tree: &dyn FileTree) -> Result<(u32, u32)> {
    Ok((guest_names::user(tree, b"root")?.uid, guest_names::group_id(tree, b"root")?))
}

/// As `str.strip` of Python: its white space is that of Unicode and four separators of ASCII. Bytes that are no UTF-8
/// could not have reached Nova; of those ASCII white space is removed.
pub(super) fn strip(text: &[u8]) -> &[u8] {
    let is_space = |char: char| char.is_whitespace() || ('\x1c'..='\x1f').contains(&char);
    match std::str::from_utf8(text) {
        Ok(text) => text.trim_matches(is_space).as_bytes(),
        Err(_) => text.trim_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k2_strips_as_python_does() {
        assert_eq!(strip("\u{a0}\x1c\t key \u{3000}\x0b\n".as_bytes()), b"key");
        assert_eq!(strip(b" \xff "), b"\xff");
        assert_eq!(strip(b"\n "), b"");
    }
}
