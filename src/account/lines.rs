//! Lines and fields of the files under /etc.

use super::Error;

/// The longest field of an entry that is added, in bytes: home directories are paths.
const MAX_VALUE: usize = 4096;

/// The lines of `text`, each with its line break where it has one; together they are `text`.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// A line and its break: `\n`, `\r\n` or nothing.
pub(super) fn split_break(line: &[u8]) -> (&[u8], &[u8]) {
    let body = line.strip_suffix(b"\n").unwrap_or(line);
    let body = if body.len() < line.len() { body.strip_suffix(b"\r").unwrap_or(body) } else { body };
    line.split_at(body.len())
}

/// The colon-separated fields of a line without its break.
pub(super) fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|byte| *byte == b':').collect()
}

/// A user or group number: decimal digits, and not the one that means "none" to the kernel.
pub(super) fn number(field: &[u8]) -> Option<u32> {
    if field.is_empty() || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok().filter(|number| *number != u32::MAX)
}

/// Whether a field names an account: not empty, no comment, no entry of NIS (`+` and `-`).
pub(super) fn is_name(field: &[u8]) -> bool {
    !matches!(field.first(), None | Some(b'#' | b'+' | b'-'))
}

/// `text` with an entry of these fields at its end, before what NIS adds to it (`+` and `-`).
///
/// # Errors
///
/// A field that would break the line.
pub fn add_entry(text: &[u8], values: &[&[u8]]) -> Result<Vec<u8>, Error> {
    values.iter().try_for_each(|value| check_value(value))?;
    let nis = lines(text).scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    });
    let at = nis.filter(|(_, line)| matches!(line[0], b'+' | b'-')).map(|(start, _)| start).next();
    let (before, after) = text.split_at(at.unwrap_or(text.len()));
    let mut out = before.to_vec();
    if !before.is_empty() && !before.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend_from_slice(&values.join(&b':'));
    out.push(b'\n');
    out.extend_from_slice(after);
    Ok(out)
}

/// Refuses a value that a field cannot hold.
pub(super) fn check_value(value: &[u8]) -> Result<(), Error> {
    if value.len() > MAX_VALUE || value.iter().any(|byte| *byte == b':' || byte.is_ascii_control()) {
        return Err(Error::Field { value: value[..value.len().min(64)].to_vec() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_to_the_end_but_before_nis() {
        let add = |text: &[u8]| String::from_utf8(add_entry(text, &[b"u", b"", b"x"]).unwrap()).unwrap();
        assert_eq!(add(b""), "u::x\n");
        assert_eq!(add(b"a:b"), "a:b\nu::x\n");
        assert_eq!(add(b"a:b\n\n"), "a:b\n\nu::x\n");
        assert_eq!(add(b"a:b\n+::\n-x\n"), "a:b\nu::x\n+::\n-x\n");
        assert_eq!(add(b"+::"), "u::x\n+::");
        for bad in [&b"a:b"[..], b"a\n", b"\0", b"\x7f", &[b'a'; 4097]] {
            assert!(matches!(add_entry(b"", &[bad]), Err(Error::Field { .. })));
        }
    }
}
