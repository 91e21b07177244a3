//! Expressions of sed and of Perl on a text. The input: expression and text, parted by NUL.

use crate::input::{joined, parts};
use nomount::ops::edit::sed::{MAX_RESULT, parse, parse_perl};

/// A text is at most so long: an expression may make much of little, and that it is bounded shows with little, too.
const MAX_TEXT: usize = 4096;

pub fn body(data: &[u8]) {
    let [expression, text] = parts(data);
    let Ok(expression) = std::str::from_utf8(expression) else { return };
    let text = &text[..text.len().min(MAX_TEXT)];
    for script in [parse(expression), parse_perl(expression)].into_iter().flatten() {
        let Ok(result) = script.apply(text) else { continue };
        assert!(result.len() <= MAX_RESULT);
        assert_eq!(script.apply(text).ok(), Some(result), "a script has no memory");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let text = b"alpha beta\nGRUB_TIMEOUT=5\r\n# comment\n\nlast line";
    let expressions = [
        "s/a/b/",
        "s|^GRUB_TIMEOUT=.*|GRUB_TIMEOUT=0|",
        "/comment/d",
        "2,3d; $a end",
        "1i first\\nsecond",
        "/alpha/,/comment/s/(a+)(.*)$/\\2\\1&/gI",
        "0,/beta/c changed",
        "2!s{[[:alpha:]]{1,3}}{<&>}2g",
        "s/\\w+\\b/\\n\\t/3;4,+2d",
        "s/(.)(.)/$2$1/gx; s/\\r//",
        "/A/I,$!d",
    ];
    expressions.iter().map(|expression| joined(&[expression.as_bytes(), text])).collect()
}
