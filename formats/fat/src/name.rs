//! Names: what is stored for a name, and which name is meant by what is stored.

use crate::error::{Error, Result};

/// Units of UTF-16 that a long name can have.
pub(crate) const MAX_UNITS: usize = 255;
/// Bytes of a name that a path can have.
const MAX_BYTES: usize = 255;
/// Units in each entry of a long name, and the most entries.
pub(crate) const UNITS: usize = 13;
pub(crate) const MAX_LONG: usize = MAX_UNITS.div_ceil(UNITS);
/// The most short names that are tried for one long name: more than a directory has entries.
const TRIES: u32 = 1 << 16;

/// A short name: eight bytes, and three of extension, padded with spaces.
pub(crate) type Short = [u8; 11];
pub(crate) const DOT: Short = *b".          ";
pub(crate) const DOTDOT: Short = *b"..         ";

/// `DIR_NTRes`.
const LOWER_BASE: u8 = 0x08;
const LOWER_EXTENSION: u8 = 0x10;
/// Stands for 0xE5, which as the first byte would mean a free entry.
const KANJI: u8 = 0x05;

/// Bytes of code page 437 from 0x80 on, which Linux takes short names for.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
                     αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// Checks a name that is to be stored. A reader may see another one where it ends with a dot or space.
pub(crate) fn check(name: &[u8]) -> Result<&str> {
    let wrong = |why| Error::Name { name: name.to_vec(), why };
    let text = std::str::from_utf8(name).map_err(|_| wrong("is not UTF-8"))?;
    if text.is_empty() {
        return Err(wrong("is empty"));
    }
    if name.len() > MAX_BYTES || text.encode_utf16().count() > MAX_UNITS {
        return Err(wrong("is longer than 255"));
    }
    if text.chars().any(|c| c.is_ascii_control() || c == '\u{ffff}' || "\"*/:<>?\\|".contains(c)) {
        return Err(wrong("has a control character or one of \"*/:<>?\\|"));
    }
    if text.ends_with(['.', ' ']) {
        return Err(wrong("ends with a dot or a space"));
    }
    Ok(text)
}

/// What all spellings of a name have in common: each character that has one in upper case, in it.
pub(crate) fn key(name: &[u8]) -> Vec<u8> {
    let upper = |c: char| {
        let mut all = c.to_uppercase();
        match (all.next(), all.next()) {
            (Some(upper), None) => upper,
            _ => c,
        }
    };
    match std::str::from_utf8(name) {
        Ok(text) => text.chars().map(upper).collect::<String>().into_bytes(),
        Err(_) => name.to_vec(),
    }
}

fn is_short_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"$%'-_@~`!(){}^#&".contains(&byte)
}

/// The short name that is `name` but for its case, if there is one.
pub(crate) fn as_short(name: &[u8]) -> Option<Short> {
    let (base, extension) = match name.iter().position(|byte| *byte == b'.') {
        Some(dot) if dot + 1 < name.len() => (&name[..dot], &name[dot + 1..]),
        Some(_) => return None,
        None => (name, &[][..]),
    };
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3;
    if !fits || !base.iter().chain(extension).all(|byte| is_short_byte(*byte)) {
        return None;
    }
    Some(joined(base, extension))
}

fn joined(base: &[u8], extension: &[u8]) -> Short {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base);
    short[8..8 + extension.len()].copy_from_slice(extension);
    short.make_ascii_uppercase();
    short
}

/// A short name for `name`, which is none itself and not `taken`: its first characters and a number, and where four of
/// those are taken two characters and a hash, as Windows does, so that the search stays short in large directories.
pub(crate) fn make_short(name: &str, taken: impl Fn(&Short) -> bool) -> Result<Short> {
    let name = name.trim_start_matches(['.', ' ']);
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let bytes = |text: &str, most: usize| -> Vec<u8> {
        let kept = text.chars().filter(|c| !matches!(c, ' ' | '.'));
        kept.take(most).map(|c| u8::try_from(c).ok().filter(|byte| is_short_byte(*byte)).unwrap_or(b'_')).collect()
    };
    let (mut base, extension) = (bytes(base, 8), bytes(extension, 3));
    if base.is_empty() {
        base.push(b'_');
    }
    let numbered = |base: &[u8], number: u32| {
        let tail = format!("~{number}");
        let kept = base.len().min(8 - tail.len());
        joined(&[&base[..kept], tail.as_bytes()].concat(), &extension)
    };
    let plain = (1..=4).map(|number| numbered(&base, number));
    let start = &base[..base.len().min(2)];
    let hashed = (0..TRIES).map(|salt| {
        let hash = fnv(name.as_bytes(), salt);
        numbered(&[start, format!("{:04X}", hash & 0xffff).as_bytes()].concat(), 1 + hash % 9)
    });
    let found = plain.chain(hashed).find(|short| !taken(short));
    found.ok_or_else(|| Error::Limit(format!("no short name is left for {name:?} in its directory")))
}

fn fnv(bytes: &[u8], salt: u32) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = salt.to_le_bytes().iter().chain(bytes).fold(0x811c_9dc5, step);
    hash ^ hash >> 16
}

/// Of a short name, what each entry of its long name says as well.
pub(crate) fn checksum(short: &Short) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// A short name as it is shown. What no path can have becomes `_`.
pub(crate) fn show_short(short: &Short, case: u8) -> Vec<u8> {
    let shown = |bytes: &[u8], lower: bool| -> String {
        let end = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
        let one = |byte: &u8| match *byte {
            0..0x20 | b'/' | 0x7f => '_',
            ascii @ 0x20..0x7f if lower => ascii.to_ascii_lowercase().into(),
            ascii @ 0x20..0x7f => ascii.into(),
            high => CP437.chars().nth(usize::from(high) - 0x80).expect("128 characters"),
        };
        bytes[..end].iter().map(one).collect()
    };
    let mut short = *short;
    if short[0] == KANJI {
        short[0] = 0xe5;
    }
    let (base, extension) =
        (shown(&short[..8], case & LOWER_BASE != 0), shown(&short[8..], case & LOWER_EXTENSION != 0));
    let name = if extension.is_empty() { base } else { format!("{base}.{extension}") };
    let name = if matches!(&name[..], "" | "." | "..") { "_".to_owned() } else { name };
    name.into_bytes()
}

/// A long name as it is shown: UTF-8, and for half a surrogate pair the three bytes that would be its UTF-8. None for
/// what no path can have: the short name is shown then.
pub(crate) fn show_long(units: &[u16]) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    for unit in char::decode_utf16(units.iter().copied()) {
        match unit {
            Ok('/' | '\0') => return None,
            Ok(c) => name.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            Err(half) => {
                let half = half.unpaired_surrogate();
                name.extend([0xe0 | (half >> 12) as u8, 0x80 | (half >> 6 & 0x3f) as u8, 0x80 | (half & 0x3f) as u8]);
            }
        }
    }
    (!matches!(&name[..], b"" | b"." | b"..") && name.len() <= MAX_BYTES).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_that_no_reader_agrees_on_are_refused() {
        for name in ["", "a.", "a ", ".", "..", "a:b", "a\\b", "tab\t", "a|b", "\"", "\u{ffff}"] {
            assert!(check(name.as_bytes()).is_err(), "{name:?}");
        }
        assert!(check(b"\xff").is_err() && check(&[b'x'; 256]).is_err());
        for name in ["a", ".profile", "a+b,c;d=e[f]", "grün 漢字 🦀.txt", " leading", "a..b"] {
            assert!(check(name.as_bytes()).is_ok(), "{name:?}");
        }
        assert!(check(&[b'x'; 255]).is_ok());
    }

    #[test]
    fn short_names_are_found_and_shown() {
        assert_eq!(as_short(b"Readme.txt"), Some(*b"README  TXT"));
        assert_eq!(as_short(b"EFI"), Some(*b"EFI        "));
        for not in [&b"long name.txt"[..], b"a.b.c", b".profile", b"abcdefghi", b"a.html", b"a+b", b"a.", b""] {
            assert_eq!(as_short(not), None, "{}", not.escape_ascii());
        }
        assert_eq!(show_short(b"README  TXT", 0), b"README.TXT");
        assert_eq!(show_short(b"README  TXT", LOWER_BASE | LOWER_EXTENSION), b"readme.txt");
        assert_eq!(show_short(b"\x05\x81/\x01    \x9b  ", 0), "σü__.¢".as_bytes());
        assert_eq!(CP437.chars().count(), 128);
        for odd in [&DOT, &DOTDOT, b"           "] {
            assert_eq!(show_short(odd, 0), b"_");
        }
    }

    #[test]
    fn a_short_name_is_found_at_once_among_many_alike() {
        let mut taken = HashSet::new();
        let tries = std::cell::Cell::new(0);
        for number in 0..20_000 {
            let name = format!("a file with a long name {number}.text");
            let short = make_short(&name, |short| {
                tries.set(tries.get() + 1);
                taken.contains(short)
            });
            assert!(taken.insert(short.unwrap()));
        }
        assert!(tries.get() < 20_000 * 6, "{}", tries.get());
        assert!(taken.contains(b"AFILEW~1TEX") && taken.contains(b"AFILEW~4TEX"));
        let short = |name: &str| make_short(name, |_| false).unwrap();
        assert_eq!(
            (short("..é+b. c"), short("漢字"), short(".x")),
            (*b"__B~1   C  ", *b"__~1       ", *b"X~1        ")
        );
    }

    #[test]
    fn long_names_are_shown_or_given_up() {
        let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        assert_eq!(show_long(&units("grün🦀")).unwrap(), "grün🦀".as_bytes());
        assert_eq!(show_long(&[b'a'.into(), 0xd800, b'b'.into()]).unwrap(), b"a\xed\xa0\x80b");
        for none in ["a/b", "a\0b", "", ".", "..", &"漢".repeat(86)] {
            assert_eq!(show_long(&units(none)), None, "{none:?}");
        }
        assert_eq!(key("Grün ß".as_bytes()), "GRÜN ß".as_bytes());
        assert_eq!(key(b"a\xed\xa0\x80"), b"a\xed\xa0\x80");
    }
}
