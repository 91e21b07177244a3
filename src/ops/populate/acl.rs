//! Access lists as tar streams tell them, in text, and as a kernel keeps them.

/// The version that a list begins with.
const VERSION: u32 = 2;
/// The id of entries that are for nobody in particular.
const NOBODY: u32 = u32::MAX;
/// More entries than any filesystem has room for.
const MAX_ENTRIES: usize = 8192;

/// The attribute for a list of lines or parts such as `user::rwx`, `group:100:r-x` and `user:name:rw-:1000`. Empty for
/// a list that says no more than a mode. Errors: which part cannot be read, and why.
pub(super) fn attribute(text: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no text".to_owned())?;
    let mut entries = Vec::new();
    for part in text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty() && !part.starts_with('#')) {
        entries.push(entry(part).map_err(|why| format!("{part:?}: {why}"))?);
        if entries.len() > MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} entries"));
        }
    }
    entries.sort_unstable();
    if entries.iter().all(|(tag, ..)| [1, 4, 32].contains(tag)) {
        return Ok(Vec::new());
    }
    let mut list = VERSION.to_le_bytes().to_vec();
    for (tag, id, rights) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    Ok(list)
}

/// Tag, id and rights, so that they sort as the kernel wants them.
fn entry(part: &str) -> Result<(u16, u32, u16), &'static str> {
    let fields: Vec<&str> = part.strip_prefix("default:").unwrap_or(part).split(':').collect();
    let (kind, who, rights, number) = match fields[..] {
        [kind, who, rights] => (kind, who, rights, None),
        [kind, who, rights, number] => (kind, who, rights, Some(number)),
        [kind @ ("mask" | "m" | "other" | "o"), rights] => (kind, "", rights, None),
        _ => return Err("three fields are needed"),
    };
    let tag = match (kind, who.is_empty()) {
        ("user" | "u", true) => 1,
        ("user" | "u", false) => 2,
        ("group" | "g", true) => 4,
        ("group" | "g", false) => 8,
        ("mask" | "m", _) => 16,
        ("other" | "o", _) => 32,
        _ => return Err("what it is for is not known"),
    };
    let id = match number.unwrap_or(who).parse() {
        Ok(id) => id,
        Err(_) if who.is_empty() => NOBODY,
        Err(_) => return Err("a name without its number"),
    };
    let mut bits = 0;
    for right in rights.bytes() {
        bits |= match right {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return Err("rights are r, w, x and -"),
        };
    }
    Ok((tag, id, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_those_like_a_mode_are_none() {
        let list = attribute(b"user::rw-,user:bob:r--:1001,user:7:rwx,group::r--,mask::r--,other::---").unwrap();
        let mut wanted = 2u32.to_le_bytes().to_vec();
        for (tag, rights, id) in
            [(1u16, 6u16, u32::MAX), (2, 7, 7), (2, 4, 1001), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
        {
            wanted.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
            wanted.extend(id.to_le_bytes());
        }
        assert_eq!(list, wanted);
        assert!(attribute(b"user::rw-\ngroup::r--\nother::r--\n").unwrap().is_empty());
        for bad in [&b"user:bob:rw-"[..], b"user::rq-", b"x::r--", b"user", b"\xff"] {
            assert!(attribute(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
