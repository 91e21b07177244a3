//! The text of ssh public keys: what a user hands in, and what authorized_keys(5) holds.

use crate::error::{Error, ErrorKind, Result};

/// The lines to add to an authorized_keys file: at least one, blanks around each removed, no comments, no empty ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyLines(Vec<Vec<u8>>);

impl KeyLines {
    /// Reads a file of public keys, one a line, as `ssh-keygen` and `ssh-add -L` write them.
    ///
    /// Private keys, and public ones in forms that sshd does not read, are refused: the error never quotes them.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let refuse = |why: &str| Err(Error::new(ErrorKind::Refused, format!("ssh key not accepted: {why}")));
        if text.contains(&0) {
            return refuse("it contains a NUL byte");
        }
        let has = |needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
        if has(b"-----BEGIN") || has(b"PuTTY-User-Key-File") {
            return refuse("it is a private key").map_err(|error: Error| error.hint("give the .pub file"));
        }
        if has(b"---- BEGIN SSH2 PUBLIC KEY") {
            return refuse("it is in RFC 4716 form, which sshd does not read")
                .map_err(|error: Error| error.hint("convert it with ssh-keygen -i -f FILE"));
        }
        // As str.lines does: old Macintosh line ends would glue keys together, so they count as line ends too.
        let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
        let lines: Vec<_> = lines.filter(|line| !line.is_empty() && line[0] != b'#').map(<[u8]>::to_vec).collect();
        if lines.is_empty() {
            return refuse("it is empty");
        }
        Ok(Self(lines))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

/// A line of authorized_keys(5), taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Options before the key, such as `command="..."`; empty when there are none.
    pub(super) options: &'a [u8],
    /// `ssh-ed25519` and the like.
    pub(super) key_type: &'a [u8],
    /// The key itself, in base64.
    pub(super) blob: &'a [u8],
}

impl<'a> Entry<'a> {
    /// None for a line that holds no key that could be valid.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii();
        if line.starts_with(b"#") {
            return None;
        }
        Self::key(b"", line).or_else(|| {
            let end = end_of_options(line);
            Self::key(&line[..end], line[end..].trim_ascii_start())
        })
    }

    fn key(options: &'a [u8], rest: &'a [u8]) -> Option<Self> {
        let mut fields = rest.split(|byte| matches!(byte, b' ' | b'\t')).filter(|field| !field.is_empty());
        let (key_type, blob) = (fields.next()?, fields.next()?);
        (type_in(blob)? == key_type).then_some(Self { options, key_type, blob })
    }

    /// Whether both stand for the same key: comments and options do not matter.
    pub(super) fn is_same_key(&self, other: &Entry<'_>) -> bool {
        (self.key_type, self.blob) == (other.key_type, other.blob)
    }
}

/// Where the options end: at the first blank outside double quotes, inside which `\"` is a quote.
fn end_of_options(line: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'\t' if !quoted => return at,
            _ => {}
        }
    }
    line.len()
}

/// The type that a key names in itself: RFC 4253 6.6 begins each with its type as a length of 4 bytes and a string.
fn type_in(blob: &[u8]) -> Option<Vec<u8>> {
    /// The longest type in use has 46 characters.
    const MAX_TYPE: usize = 64;
    let bytes = decode_base64(blob)?;
    let (len, rest) = bytes.split_first_chunk()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok().filter(|len| (1..=MAX_TYPE).contains(len))?;
    Some(rest.get(..len)?.to_vec())
}

/// Base64 of RFC 4648 section 4, padding required; none for anything else.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let digit = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for byte in &text[..text.len() - padding] {
        bits = (bits << 6 | u32::from(digit(byte)?)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOB: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn several_keys_in_one_text() {
        let text = format!("\n# mine\n ssh-ed25519 {BLOB} a b \r\n\tssh-rsa x\n\n");
        let keys = KeyLines::parse(text.as_bytes()).unwrap();
        let lines: Vec<&[u8]> = keys.iter().collect();
        assert_eq!(lines, [format!("ssh-ed25519 {BLOB} a b").as_bytes(), b"ssh-rsa x"]);
    }

    #[test]
    fn what_is_no_public_key_is_refused_and_never_quoted() {
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END";
        for text in [private, "PuTTY-User-Key-File-3: s", "", " \n#\n", "a\0b", "---- BEGIN SSH2 PUBLIC KEY ----\nx"] {
            let error = KeyLines::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{text}");
            assert!(!error.to_string().contains("c2Vj"));
        }
    }

    #[test]
    fn the_same_key_with_other_options_and_comment() {
        let plain = format!("ssh-ed25519 {BLOB} one");
        let plain = Entry::parse(plain.as_bytes()).unwrap();
        for line in [
            format!("ssh-ed25519   {BLOB}"),
            format!("no-pty,command=\"echo \\\"no ssh-rsa\\\" here\" ssh-ed25519 {BLOB} two words"),
            format!("restrict\tssh-ed25519\t{BLOB}"),
        ] {
            let entry = Entry::parse(line.as_bytes()).unwrap();
            assert!(plain.is_same_key(&entry), "{line}");
            assert_eq!(entry.options.is_empty(), line.starts_with("ssh"));
        }
        for line in [
            format!("# ssh-ed25519 {BLOB}"),
            format!("ssh-rsa {BLOB}"),
            "ssh-ed25519".to_owned(),
            "ssh-ed25519 AAAA".to_owned(),
            format!("ssh-ed25519 {}", &BLOB[..BLOB.len() - 1]),
            String::new(),
        ] {
            assert_eq!(Entry::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn base64_by_the_vectors_of_rfc_4648() {
        for (text, bytes) in [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(decode_base64(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        for bad in ["", "Zg", "Z===", "Zm9v====", "Zm9*", "=AAA"] {
            assert_eq!(decode_base64(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line: Vec<u8>) {
            if let Some(entry) = Entry::parse(&line) {
                prop_assert!(!entry.key_type.is_empty());
            }
            let _ = KeyLines::parse(&line);
        }
    }
}
