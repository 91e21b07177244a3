//! Reading an expression.

use super::{Action, Address, Command, Dialect, From, Lines, Part, Script, Substitution, To};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::pattern::{Flavour, translate};
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;

/// What follows a number is not taken for one.
const MAX_NUMBER: usize = u32::MAX as usize;

pub(super) fn script(text: &str, dialect: Dialect) -> Result<Script> {
    let mut parser = Parser { text, at: 0, dialect, sees_returns: false };
    let mut commands = Vec::new();
    let read = (|| {
        while parser.next_command() {
            commands.push(parser.command()?);
        }
        if commands.is_empty() { Err("it is empty".to_owned()) } else { Ok(()) }
    })();
    read.map_err(|why: String| {
        Error::new(ErrorKind::Usage, format!("cannot use the expression \"{}\": {why}", text.escape_debug()))
    })?;
    Ok(Script { commands, sees_returns: parser.sees_returns })
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    dialect: Dialect,
    sees_returns: bool,
}

type Parsed<T> = Result<T, String>;

/// What comes between two delimiters.
struct Delimited<'t> {
    text: Cow<'t, str>,
    end: char,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.take();
        }
    }

    fn skip_blanks(&mut self) {
        self.skip(|character| character == ' ' || character == '\t');
    }

    /// Goes to where a command begins; whether there is one.
    fn next_command(&mut self) -> bool {
        loop {
            self.skip(|character| character.is_ascii_whitespace() || character == ';');
            match self.peek() {
                Some('#') => self.skip(|character| character != '\n'),
                next => return next.is_some(),
            }
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        if self.dialect == Dialect::Perl {
            return match (self.take(), self.peek()) {
                (Some('s'), Some(delimiter)) if !delimiter.is_alphanumeric() => {
                    let action = Action::Substitute(self.substitution(None)?);
                    self.end()?;
                    Ok(Command { lines: Lines::All, is_negated: false, action })
                }
                _ => Err("of Perl, only s/// is supported".to_owned()),
            };
        }
        let lines = self.lines()?;
        self.skip_blanks();
        let is_negated = self.peek() == Some('!');
        if is_negated {
            self.take();
            self.skip_blanks();
        }
        let action = match self.take() {
            Some('s') => Action::Substitute(self.substitution(lines.only_pattern())?),
            Some('d') => Action::Delete,
            Some('a') => Action::Append(self.lines_of_text()?),
            Some('i') => Action::Insert(self.lines_of_text()?),
            Some('c') => Action::Change(self.lines_of_text()?),
            Some(other) => return Err(format!("the command \"{other}\" is not supported; s, d, a, i and c are")),
            None => return Err("a command is missing after an address".to_owned()),
        };
        self.end()?;
        Ok(Command { lines, is_negated, action })
    }

    /// Nothing else may follow a command.
    fn end(&mut self) -> Parsed<()> {
        self.skip_blanks();
        match self.peek() {
            None | Some(';' | '\n' | '#') => Ok(()),
            Some(other) => Err(format!("\"{other}\" after a command")),
        }
    }

    fn lines(&mut self) -> Parsed<Lines> {
        let from = match self.peek() {
            Some('0') => {
                let number = self.number()?;
                if number != 0 || self.peek() != Some(',') {
                    return Err("lines are counted from 1; 0 is for 0,/PATTERN/".to_owned());
                }
                From::Start
            }
            _ => match self.address()? {
                Some(address) => From::Address(address),
                None => return Ok(Lines::All),
            },
        };
        self.skip_blanks();
        match (self.peek(), from) {
            (Some(','), from) => {
                self.take();
                self.skip_blanks();
                let to = if self.peek() == Some('+') {
                    self.take();
                    To::More(self.number()?)
                } else {
                    To::Address(self.address()?.ok_or("the second address is missing after a comma")?)
                };
                if matches!(from, From::Start) && !matches!(to, To::Address(Address::Matching(_))) {
                    return Err("0 is only for 0,/PATTERN/".to_owned());
                }
                Ok(Lines::Range(from, to))
            }
            (Some('~'), _) => Err("steps, as 1~2, are not supported".to_owned()),
            (_, From::Address(address)) => Ok(Lines::One(address)),
            (_, From::Start) => Ok(Lines::All),
        }
    }

    fn address(&mut self) -> Parsed<Option<Address>> {
        match self.peek() {
            Some('$') => {
                self.take();
                Ok(Some(Address::Last))
            }
            Some('0'..='9') => Ok(Some(Address::Number(self.number()?))),
            Some('/' | '\\') => {
                if self.take() == Some('\\') {
                    self.delimiter()?;
                }
                let start = self.text[..self.at].chars().next_back().unwrap_or('/');
                let pattern = self.delimited(start, true)?;
                let ignores_case = self.peek() == Some('I');
                if ignores_case {
                    self.take();
                }
                if pattern.text.is_empty() {
                    return Err("an address is an empty pattern".to_owned());
                }
                let options = Options { ignores_case, ..Options::default() };
                Ok(Some(Address::Matching(self.regex(&pattern.text, options)?.0)))
            }
            _ => Ok(None),
        }
    }

    fn number(&mut self) -> Parsed<usize> {
        let start = self.at;
        self.skip(|character| character.is_ascii_digit());
        let number = self.text[start..self.at].parse().ok().filter(|number| *number <= MAX_NUMBER);
        number.ok_or_else(|| "a number is needed, of at most 4294967295".to_owned())
    }

    fn delimiter(&mut self) -> Parsed<char> {
        match self.take() {
            Some('\\' | '\n') | None => Err("a delimiter is missing".to_owned()),
            Some(delimiter) => Ok(delimiter),
        }
    }

    /// What comes up to the delimiter that ends what `start` begins. A backslash before a delimiter goes, unless the
    /// delimiter would mean something in a pattern.
    fn delimited(&mut self, start: char, is_pattern: bool) -> Parsed<Delimited<'t>> {
        let end = match start {
            '{' => '}',
            '[' => ']',
            '(' => ')',
            '<' => '>',
            other => other,
        };
        let mut text = String::new();
        let mut depth = 0;
        loop {
            let Some(character) = self.take() else { return Err(format!("the closing \"{end}\" is missing")) };
            if character == '\\' {
                let escaped = self.take().ok_or_else(|| format!("the closing \"{end}\" is missing"))?;
                let is_special = ".*+?^$|()[]{}\\&".contains(escaped);
                if (escaped == start || escaped == end) && !is_special && !escaped.is_ascii_alphanumeric() {
                    text.push(escaped);
                } else {
                    text.extend(['\\', escaped]);
                }
            } else if character == '[' && is_pattern && start == end && self.dialect == Dialect::Sed {
                // In brackets the delimiter is itself, as in GNU sed.
                let length = class_length(&self.text[self.at..]);
                text.push('[');
                text.push_str(&self.text[self.at..self.at + length]);
                self.at += length;
            } else if character == end && depth == 0 {
                return Ok(Delimited { text: Cow::Owned(text), end });
            } else {
                if start != end {
                    depth = if character == start { depth + 1 } else { depth - usize::from(character == end) };
                }
                text.push(character);
            }
        }
    }

    /// What follows `s`. An empty pattern is that of the address.
    fn substitution(&mut self, own: Option<&Regex>) -> Parsed<Substitution> {
        let start = self.delimiter()?;
        let pattern = self.delimited(start, true)?;
        let second = if pattern.end == start {
            start
        } else {
            self.skip(|character| character.is_ascii_whitespace());
            self.delimiter()?
        };
        let replacement = self.delimited(second, false)?;
        let (options, number, is_global) = self.flags()?;
        let (regex, is_unicode) = match (pattern.text.is_empty(), own) {
            (false, _) => self.regex(&pattern.text, options)?,
            (true, Some(own)) if options == Options::default() => (own.clone(), true),
            (true, _) => return Err("an empty pattern is only for /PATTERN/s//.../".to_owned()),
        };
        let replacement = self.replacement(&replacement.text)?;
        let groups = regex.captures_len() - 1;
        for part in &replacement {
            if let Part::Group(group) = part
                && *group > groups
            {
                return Err(format!("the replacement names group {group} of {groups}"));
            }
        }
        Ok(Substitution { pattern: regex, is_unicode, replacement, first: number.unwrap_or(1), is_global })
    }

    fn flags(&mut self) -> Parsed<(Options, Option<usize>, bool)> {
        let (mut options, mut number, mut is_global) = (Options::default(), None, false);
        loop {
            match self.peek() {
                Some('g') => is_global = true,
                Some('i') => options.ignores_case = true,
                Some('I') if self.dialect == Dialect::Sed => options.ignores_case = true,
                Some('m') => options.is_multi_line = true,
                Some('s') => {}
                Some('x') => options.is_verbose = true,
                Some('0'..='9') if self.dialect == Dialect::Sed && number.is_none() => {
                    number = Some(self.number()?).filter(|number| *number > 0);
                    if number.is_none() {
                        return Err("matches are counted from 1".to_owned());
                    }
                    continue;
                }
                Some(other) if other.is_alphanumeric() => return Err(format!("the flag \"{other}\" is not supported")),
                _ => return Ok((options, number, is_global)),
            }
            self.take();
        }
    }

    fn replacement(&mut self, text: &str) -> Parsed<Vec<Part>> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut chars = text.chars().peekable();
        let mut push = |plain: &mut Vec<u8>, part: Part| {
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(plain)));
            }
            parts.push(part);
        };
        while let Some(character) = chars.next() {
            let literal = match (character, self.dialect) {
                ('&', Dialect::Sed) => {
                    push(&mut plain, Part::Group(0));
                    continue;
                }
                ('\n', _) => {
                    push(&mut plain, Part::LineBreak);
                    continue;
                }
                ('$', Dialect::Perl) => {
                    let braced = chars.next_if_eq(&'{').is_some();
                    let group = match chars.next() {
                        Some('&') if !braced => 0,
                        Some(digit @ '1'..='9') if !chars.peek().is_some_and(char::is_ascii_digit) => {
                            digit as usize - 48
                        }
                        _ => return Err("of $, only $1 to $9 and $& are supported; \\$ is the character".to_owned()),
                    };
                    if braced && chars.next() != Some('}') {
                        return Err("of ${, only ${1} to ${9} are supported".to_owned());
                    }
                    push(&mut plain, Part::Group(group));
                    continue;
                }
                ('@', Dialect::Perl) => return Err("@ names an array in Perl; \\@ is the character".to_owned()),
                ('\\', _) => match chars.next() {
                    Some(digit @ '0'..='9') if digit != '0' || self.dialect == Dialect::Sed => {
                        push(&mut plain, Part::Group(digit as usize - 48));
                        continue;
                    }
                    Some('n' | '\n') => {
                        push(&mut plain, Part::LineBreak);
                        continue;
                    }
                    Some('t') => '\t',
                    Some('r') => {
                        self.sees_returns = true;
                        '\r'
                    }
                    Some(other) if other.is_ascii_alphanumeric() => {
                        return Err(format!("\\{other} is not supported in a replacement"));
                    }
                    Some(other) => other,
                    None => '\\',
                },
                (character, _) => character,
            };
            plain.extend_from_slice(literal.encode_utf8(&mut [0; 4]).as_bytes());
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(parts)
    }

    /// The text of `a`, `i` or `c`: up to the end of the line, lines that end with a backslash go on.
    fn lines_of_text(&mut self) -> Parsed<Vec<u8>> {
        self.skip_blanks();
        if self.peek() == Some('\\') {
            self.take();
            let here = self.at;
            self.skip_blanks();
            match self.peek() {
                Some('\n') => drop(self.take()),
                _ => self.at = here,
            }
        } else if matches!(self.peek(), None | Some('\n')) {
            return Err("the text of a, i or c is missing".to_owned());
        }
        let mut text = Vec::new();
        while let Some(character) = self.take() {
            let character = match character {
                '\n' => break,
                '\\' => match self.take() {
                    Some('t') => '\t',
                    Some(escaped) => escaped,
                    None => break,
                },
                other => other,
            };
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        // The line break ends the command, too.
        if self.at < self.text.len() {
            self.at -= 1;
        }
        Ok(text)
    }

    /// Compiles a pattern, and says whether it is one of characters.
    fn regex(&mut self, pattern: &str, options: Options) -> Parsed<(Regex, bool)> {
        self.sees_returns |= pattern.contains("\\r") || pattern.contains('\r');
        if self.dialect == Dialect::Perl && pattern.contains("\\n") {
            return Err("\\n in a pattern: lines are taken without their line breaks".to_owned());
        }
        let text = translate(pattern, Flavour::Sed)?.text;
        // Without the case of other letters than ASCII's, case is ignored byte by byte.
        let is_unicode = !options.ignores_case;
        let mut builder = RegexBuilder::new(&text);
        builder.unicode(is_unicode).case_insensitive(options.ignores_case).multi_line(options.is_multi_line);
        builder.ignore_whitespace(options.is_verbose).dot_matches_new_line(true);
        let regex = builder.build().map_err(|error| {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("the pattern \"{pattern}\": {last}")
        })?;
        Ok((regex, is_unicode))
    }
}

/// How long the class is whose opening bracket came before, the closing one included; 0 when it has none.
fn class_length(text: &str) -> usize {
    let first = text.strip_prefix('^').unwrap_or(text);
    let mut at = text.len() - first.len();
    at += usize::from(first.starts_with(']'));
    while let Some(next) = text[at..].chars().next() {
        at += match next {
            ']' => return at + 1,
            '[' if text[at..].starts_with("[:") => match text[at..].find(":]") {
                Some(end) => end + 2,
                None => return 0,
            },
            '\\' => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            next => next.len_utf8(),
        };
    }
    0
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Options {
    ignores_case: bool,
    is_multi_line: bool,
    is_verbose: bool,
}

impl Lines {
    /// The pattern of a single address.
    fn only_pattern(&self) -> Option<&Regex> {
        match self {
            Self::One(Address::Matching(pattern)) => Some(pattern),
            _ => None,
        }
    }
}
