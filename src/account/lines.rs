//! Lines and fields of the files under /etc.

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
