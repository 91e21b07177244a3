//! Words of a line, quoted as guestfish(1) quotes them.

/// The longest script in bytes; a person writes a few thousand.
pub(super) const MAX_SCRIPT: usize = 16 << 20;

/// The words of a line; none for an empty one and a comment. `"..."` knows the escapes of C, `'...'` none. An error says
/// what is wrong.
pub(super) fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let line = line.trim_ascii();
    let mut words = Vec::new();
    if line.first() == Some(&b'#') {
        return Ok(words);
    }
    let mut rest = line;
    while let Some(first) = rest.first() {
        let (word, after) = match first {
            b'"' => double_quoted(&rest[1..])?,
            b'\'' => {
                let end = rest[1..].iter().position(|byte| *byte == b'\'').ok_or("a ' is not closed")? + 1;
                (rest[1..end].to_vec(), &rest[end + 1..])
            }
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                let word = &rest[..end];
                if !words.is_empty() && (word.starts_with(b"|") || word.starts_with(b"<")) {
                    return Err("pipes and here-documents are not supported: quote a word that begins so".to_owned());
                }
                (word.to_vec(), &rest[end..])
            }
        };
        if after.first().is_some_and(|next| !next.is_ascii_whitespace()) {
            return Err("a closing quotation mark is followed by more of the word".to_owned());
        }
        words.push(word);
        rest = after.trim_ascii_start();
    }
    Ok(words)
}

/// The text up to the closing mark, and what follows that.
fn double_quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut word = Vec::new();
    let mut rest = text;
    loop {
        let (first, after) = rest.split_first().ok_or("a \" is not closed")?;
        rest = after;
        match first {
            b'"' => return Ok((word, rest)),
            b'\\' => {
                let (byte, after) = escape(rest)?;
                word.push(byte);
                rest = after;
            }
            byte => word.push(*byte),
        }
    }
}

fn escape(text: &[u8]) -> Result<(u8, &[u8]), String> {
    let (first, rest) = text.split_first().ok_or("a backslash ends the line")?;
    let byte = match first {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' | b'"' | b'\'' => *first,
        b'x' => return number(rest, 16, 2),
        b'0'..=b'7' => return number(text, 8, 3),
        other => return Err(format!("\\{} is no escape", other.escape_ascii())),
    };
    Ok((byte, rest))
}

/// A byte written as at most `most` digits.
fn number(text: &[u8], radix: u32, most: usize) -> Result<(u8, &[u8]), String> {
    let len = text.iter().take(most).take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let (digits, rest) = text.split_at(len);
    let digits = std::str::from_utf8(digits).map_err(|_| "an escape is no number")?;
    let byte = u8::from_str_radix(digits, radix).map_err(|_| "an escape is no number of a byte")?;
    Ok((byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        for (line, wanted) in [
            ("", &[][..]),
            ("  # write /f x", &[]),
            (" write\t/f   text ", &["write", "/f", "text"]),
            (r#"write /f "a \"b\" \\ \n\t\x41\101\0""#, &["write", "/f", "a \"b\" \\ \n\tAA\0"]),
            (r"write /f 'a \n # b'", &["write", "/f", r"a \n # b"]),
            (r#"write "" ''"#, &["write", "", ""]),
            (r#"write /f "|x" a|b a"b"#, &["write", "/f", "|x", "a|b", "a\"b"]),
            ("write /f #x", &["write", "/f", "#x"]),
        ] {
            let wanted: Vec<Vec<u8>> = wanted.iter().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(split(line.as_bytes()), Ok(wanted), "{line}");
        }
        for bad in
            ["x \"a", "x 'a", "x \"a\"b", "x \"\\", "x \"\\q\"", "x \"\\x\"", "x \"\\777\"", "cat /f | less", "x <<END"]
        {
            assert!(split(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_line(line in proptest::collection::vec(proptest::sample::select(b"a \"'\\x0|#\xff".to_vec()), 0..40)) {
            if let Ok(words) = split(&line) {
                let total: usize = words.iter().map(Vec::len).sum();
                proptest::prop_assert!(total <= line.len());
            }
        }
    }
}
