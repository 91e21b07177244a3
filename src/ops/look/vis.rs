//! Names as mtree(5) files have them: what is not a visible character is a backslash with three octal digits, vis(3).

/// Encodes a name or the target of a link. What a reader of mtree takes for something else is encoded, too: `#`, `=`,
/// `\` and the characters of patterns.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_graphic() && !b"\\#=*?[".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("\\{byte:03o}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_octal() {
        assert_eq!(encode(b"a-b/c~"), "a-b/c~");
        assert_eq!(encode(b"a b\n\\\xff#=*?["), "a\\040b\\012\\134\\377\\043\\075\\052\\077\\133");
    }
}
