//! Volume labels.

use crate::error::{Error, Result};

/// Bytes of a volume label.
pub const MAX_LABEL: usize = 11;

/// Characters of code page 850 outside ASCII could be stored, but each reader takes another one for them.
const FORBIDDEN: &[u8] = b"\"*/:<>?\\|+,;=[].";

/// The label as it is stored: upper case, padded with spaces. It must be ASCII, without control characters and what
/// no short name may have, not longer than 11 bytes, and not begin with a space.
pub fn check_label(label: &[u8]) -> Result<[u8; MAX_LABEL]> {
    let wrong = |why| Error::Label { label: String::from_utf8_lossy(label).into_owned(), why };
    if label.len() > MAX_LABEL {
        return Err(wrong("is longer than 11 bytes"));
    }
    if label.is_empty() || label[0] == b' ' {
        return Err(wrong("is empty or begins with a space"));
    }
    if !label.iter().all(|byte| (0x20..0x7f).contains(byte) && !FORBIDDEN.contains(byte)) {
        return Err(wrong("has a character that FAT labels cannot have"));
    }
    let mut stored = [b' '; MAX_LABEL];
    stored[..label.len()].copy_from_slice(&label.to_ascii_uppercase());
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_stored_in_upper_case_or_refused() {
        assert_eq!(&check_label(b"ephemeral0").unwrap(), b"EPHEMERAL0 ");
        assert_eq!(&check_label(b"eleven long").unwrap(), b"ELEVEN LONG");
        for wrong in [&b"twelve bytes"[..], b"", b" x", b"a/b", b"a.b", b"\xc3\xa9", b"tab\t"] {
            assert!(check_label(wrong).is_err(), "{wrong:?}");
        }
    }
}
