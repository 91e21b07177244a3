//! Editing a text by an expression: what people write for `sed -i`, and the part of Perl's s/// that means the same.
//!
//! - Commands: `s/PATTERN/REPLACEMENT/FLAGS`, `d`, `a TEXT`, `i TEXT`, `c TEXT`, parted by `;` or line breaks (the text
//!   of `a`, `i`, `c` goes to the end of its line).
//! - Addresses before them: a line number, `$`, `/PATTERN/`, `/PATTERN/I`, `FROM,TO`, `FROM,+N`, `0,/PATTERN/`; `!`
//!   negates.
//! - Patterns are extended regular expressions as of `sed -E`: `( ) | + ? {2,3}` without backslashes, `\w \s \d \b \< \>`
//!   of ASCII, no back-references. Of alternatives the first that matches counts, as in Perl. In brackets a backslash
//!   escapes.
//! - Replacements: `&`, `\1` to `\9`, `\n`, `\t`. Flags: `g`, `i` or `I`, a number, and `m`, `s`, `x` of Perl.
//! - Any delimiter, also the pairs `{}{}`, `[][]`, `()()`, `<><>`.
//!
//! A line is taken without its line break, which stays what it was, LF or CR LF, and so does a missing last one. To a
//! script that names `\r` it is part of the line.

mod apply;
mod parse;
#[cfg(test)]
mod tests;

use crate::error::Result;
use regex::bytes::Regex;

/// The longest result in bytes.
pub const MAX_RESULT: usize = 256 << 20;

/// What to do to the lines of a text.
#[derive(Debug)]
pub struct Script {
    commands: Vec<Command>,
    /// Whether it names `\r`.
    sees_returns: bool,
}

/// Reads what `sed -E` would take; several expressions are joined with line breaks. [`Usage`](crate::ErrorKind::Usage)
/// names what is not understood.
pub fn parse(text: &str) -> Result<Script> {
    parse::script(text, Dialect::Sed)
}

/// Reads Perl's `s///`, several parted by `;`, as far as sed means the same. `$1` and `$&` are groups, `&` is itself.
pub fn parse_perl(text: &str) -> Result<Script> {
    parse::script(text, Dialect::Perl)
}

impl Script {
    /// The text as the script leaves it; [`Limit`](crate::ErrorKind::Limit) past [`MAX_RESULT`].
    pub fn apply(&self, text: &[u8]) -> Result<Vec<u8>> {
        apply::apply(self, text)
    }
}

/// Whose expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Sed,
    Perl,
}

#[derive(Debug)]
struct Command {
    lines: Lines,
    is_negated: bool,
    action: Action,
}

/// Which lines.
#[derive(Debug)]
enum Lines {
    All,
    One(Address),
    Range(From, To),
}

#[derive(Debug)]
enum Address {
    /// Counted from 1.
    Number(usize),
    Last,
    Matching(Regex),
}

/// Where a range begins.
#[derive(Debug)]
enum From {
    /// Before the first line: the end may be the first.
    Start,
    Address(Address),
}

/// Where a range ends.
#[derive(Debug)]
enum To {
    Address(Address),
    /// So many lines after the first.
    More(usize),
}

#[derive(Debug)]
enum Action {
    Substitute(Substitution),
    Delete,
    /// Lines without the last line break.
    Append(Vec<u8>),
    Insert(Vec<u8>),
    Change(Vec<u8>),
}

#[derive(Debug)]
struct Substitution {
    pattern: Regex,
    /// Whether it matches characters rather than bytes.
    is_unicode: bool,
    replacement: Vec<Part>,
    /// The first match that is replaced, counted from 1.
    first: usize,
    /// Whether those after it are, too.
    is_global: bool,
}

/// A piece of a replacement.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    /// 0 is the whole match.
    Group(usize),
    LineBreak,
}
