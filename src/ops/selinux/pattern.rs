//! What a pattern says without being compiled: whether it is a plain path, and how what it matches begins.

use crate::ops::pattern::{Flavour, translate};
use regex::bytes::{Regex, RegexBuilder};

/// The largest compiled pattern in bytes: real ones take a few thousand.
const MAX_REGEX: usize = 1 << 18;

/// Characters that libselinux takes for those of a regular expression.
const META: &[u8] = b".^$?*+|[({";

/// A pattern, looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outline {
    /// Whether it has none of [`META`]: such lines win over the others.
    pub(super) is_exact: bool,
    /// The only path it matches, where that is plain.
    pub(super) literal: Option<Vec<u8>>,
    /// What every path that it matches begins with.
    pub(super) prefix: Vec<u8>,
    /// The length of its first name with the slash before, when that is without [`META`] and another slash follows:
    /// then only paths are tried that have a slash there, and the expression begins behind.
    pub(super) stem: usize,
}

pub(super) fn outline(pattern: &str) -> Outline {
    let bytes = pattern.as_bytes();
    let stem = bytes.iter().skip(1).position(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let stem = if bytes[..stem].iter().any(|byte| META.contains(byte) || *byte == b'\\') { 0 } else { stem };
    let mut prefix = Vec::with_capacity(bytes.len());
    let (mut at, mut is_plain) = (0, true);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if bytes.get(at + 1).is_some_and(u8::is_ascii_punctuation) => {
                prefix.push(bytes[at + 1]);
                at += 2;
                continue;
            }
            b'\\' => is_plain = false,
            byte if META.contains(&byte) => break,
            byte => {
                prefix.push(byte);
                at += 1;
                continue;
            }
        }
        break;
    }
    // A backslash hides the character after it.
    let mut rest = bytes[at..].iter();
    let is_exact = loop {
        match rest.next() {
            None => break true,
            Some(b'\\') => drop(rest.next()),
            Some(byte) if META.contains(byte) => break false,
            Some(_) => {}
        }
    };
    if is_exact && is_plain {
        return Outline { is_exact, literal: Some(prefix.clone()), prefix, stem };
    }
    if matches!(bytes.get(at), Some(b'*' | b'?' | b'+' | b'{')) {
        prefix.pop();
    }
    // Alternatives outside of groups may begin otherwise, but not before the stem.
    if bytes.contains(&b'|') && translate(pattern, Flavour::Pcre).map_or(true, |pattern| pattern.has_alternatives) {
        prefix.truncate(stem);
    }
    Outline { is_exact, literal: None, prefix, stem }
}

/// Compiles what comes after the stem. The start is not grouped: alternatives are anchored as libselinux does it.
pub(super) fn compile(pattern: &str, stem: usize) -> Result<Regex, String> {
    let text = translate(&pattern[stem..], Flavour::Pcre)?.text;
    // At the end PCRE allows a line break.
    RegexBuilder::new(&format!("^{text}(?:\\n?\\z)"))
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(MAX_REGEX)
        .dfa_size_limit(MAX_REGEX)
        .build()
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines() {
        for (pattern, is_exact, literal, prefix, stem) in [
            ("/etc/passwd", true, Some("/etc/passwd"), "/etc/passwd", 4),
            (r"/etc/a\.b", true, Some("/etc/a.b"), "/etc/a.b", 4),
            ("/etc(/.*)?", false, None, "/etc", 0),
            ("/etc/x?", false, None, "/etc/", 4),
            ("/etc/.*", false, None, "/etc/", 4),
            ("/usr/(local/)?lib", false, None, "/usr/", 4),
            ("/etc/a|/var/b", false, None, "/etc", 4),
            ("/a|/b", false, None, "", 0),
            ("/.*", false, None, "/", 0),
            (r"/r\d", true, None, "/r", 0),
            (r"/r\d+", false, None, "/r", 0),
            (r"/o\-x/a", true, Some("/o-x/a"), "/o-x/a", 0),
            ("/", true, Some("/"), "/", 0),
        ] {
            let literal = literal.map(|text| text.as_bytes().to_vec());
            let wanted = Outline { is_exact, literal, prefix: prefix.as_bytes().to_vec(), stem };
            assert_eq!(outline(pattern), wanted, "{pattern}");
        }
    }

    #[test]
    fn patterns_are_bytes_and_bounded() {
        assert!(compile("/etc/[^/]*x", 4).unwrap().is_match(b"/\xffx"));
        assert!(compile("/a{1000}{1000}", 0).is_err());
        assert!(compile(r"/(a)\1", 0).unwrap_err().contains("back-references"));
        // As PCRE: ^ belongs to the first alternative, $ to the last.
        let alternatives = compile("/a|/b", 0).unwrap();
        assert!(alternatives.is_match(b"/ax") && alternatives.is_match(b"x/b") && !alternatives.is_match(b"/bx"));
    }
}
