//! Going through the lines of a text.

use super::{Action, Address, Command, From, Lines, MAX_RESULT, Part, Script, Substitution, To};
use crate::error::{Error, ErrorKind, Result};

/// How far a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Outside,
    /// It began at the number of a line, which does not come again, and has ended.
    Over,
    /// Inside, up to this line where its number is known.
    Inside(Option<usize>),
}

/// Where a line is.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// Counted from 1.
    number: usize,
    is_last: bool,
}

pub(super) fn apply(script: &Script, text: &[u8]) -> Result<Vec<u8>> {
    let mut ranges: Vec<Range> = script.commands.iter().map(|command| command.lines.at_start()).collect();
    let mut out = Vec::with_capacity(text.len() + 256);
    let lines: Vec<(&[u8], &[u8])> =
        text.split_inclusive(|byte| *byte == b'\n').map(|line| parts(line, script.sees_returns)).collect();
    let line_break = lines.first().map(|(_, end)| *end).filter(|end| !end.is_empty()).unwrap_or(b"\n");
    for (index, (line, end)) in lines.iter().enumerate() {
        let position = Position { number: index + 1, is_last: index + 1 == lines.len() };
        let mut space = line.to_vec();
        let mut after: Vec<&[u8]> = Vec::new();
        let mut is_kept = true;
        for (command, range) in script.commands.iter().zip(&mut ranges) {
            if !command.is_for(&space, position, range) {
                continue;
            }
            match &command.action {
                Action::Substitute(substitution) => {
                    space = substitution.apply(space, line_break)?;
                }
                Action::Delete => is_kept = false,
                Action::Append(text) => after.push(text),
                Action::Insert(text) => push_text(&mut out, text, line_break),
                Action::Change(text) => {
                    // A range becomes the text once, at its end.
                    if command.is_negated || !matches!(range, Range::Inside(_)) {
                        push_text(&mut out, text, line_break);
                    }
                    is_kept = false;
                }
            }
            if !is_kept {
                break;
            }
        }
        if is_kept {
            out.append(&mut space);
            out.extend_from_slice(end);
        }
        for text in after {
            if !out.is_empty() && !out.ends_with(b"\n") {
                out.extend_from_slice(line_break);
            }
            // `$a\` without a text gives the last line its line break and nothing else.
            if !text.is_empty() {
                push_text(&mut out, text, line_break);
            }
        }
        within_limit(out.len())?;
    }
    Ok(out)
}

fn within_limit(length: usize) -> Result<()> {
    if length <= MAX_RESULT {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Limit, format!("the edited text would be longer than {} MiB", MAX_RESULT >> 20)))
}

/// A line and its line break.
fn parts(line: &[u8], sees_returns: bool) -> (&[u8], &[u8]) {
    let length = match line {
        [text @ .., b'\r', b'\n'] if !sees_returns => text.len(),
        [text @ .., b'\n'] => text.len(),
        text => text.len(),
    };
    line.split_at(length)
}

fn push_text(out: &mut Vec<u8>, text: &[u8], line_break: &[u8]) {
    for line in text.split(|byte| *byte == b'\n') {
        out.extend_from_slice(line);
        out.extend_from_slice(line_break);
    }
}

impl Lines {
    fn at_start(&self) -> Range {
        match self {
            Self::Range(From::Start, _) => Range::Inside(None),
            _ => Range::Outside,
        }
    }
}

impl Address {
    fn is_at(&self, line: &[u8], position: Position) -> bool {
        match self {
            Self::Number(number) => *number == position.number,
            Self::Last => position.is_last,
            Self::Matching(pattern) => pattern.is_match(line),
        }
    }
}

impl Command {
    fn is_for(&self, line: &[u8], position: Position, range: &mut Range) -> bool {
        let is_in = match &self.lines {
            Lines::All => true,
            Lines::One(address) => address.is_at(line, position),
            Lines::Range(from, to) => step(from, to, line, position, range),
        };
        is_in != self.is_negated
    }
}

/// Whether a line is in a range, and what becomes of the range after it.
fn step(from: &From, to: &To, line: &[u8], position: Position, range: &mut Range) -> bool {
    let number = position.number;
    let after = match from {
        From::Start | From::Address(Address::Number(_)) => Range::Over,
        From::Address(_) => Range::Outside,
    };
    match *range {
        Range::Over => false,
        Range::Outside => {
            let From::Address(from) = from else { return false };
            let is_first = from.is_at(line, position);
            // The first line may have been kept away by an earlier command.
            let is_late = !is_first && matches!(from, Address::Number(first) if number > *first);
            if !is_first && !is_late {
                return false;
            }
            let end = match to {
                To::Address(Address::Number(end)) => Some(*end),
                To::More(lines) => Some(number.saturating_add(*lines)),
                To::Address(Address::Last) if position.is_last => Some(number),
                // Looked for from the next line on.
                To::Address(_) => None,
            };
            *range = if end.is_none_or(|end| end > number) { Range::Inside(end) } else { after };
            is_first || end.is_none_or(|end| end >= number)
        }
        Range::Inside(Some(end)) => {
            if number >= end {
                *range = after;
            }
            // Past it only where an earlier command kept the last lines away.
            number <= end
        }
        Range::Inside(None) => {
            if let To::Address(to) = to
                && to.is_at(line, position)
            {
                *range = after;
            }
            true
        }
    }
}

impl Substitution {
    fn apply(&self, line: Vec<u8>, line_break: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let (mut done, mut count) = (0, 0);
        for groups in self.pattern.captures_iter(&line) {
            let found = groups.get(0).map(|found| found.range()).unwrap_or_default();
            // Nothing is put into the middle of a character.
            if self.is_unicode && found.is_empty() && line.get(found.start).is_some_and(|byte| byte & 0xC0 == 0x80) {
                continue;
            }
            count += 1;
            if count < self.first {
                continue;
            }
            out.extend_from_slice(&line[done..found.start]);
            for part in &self.replacement {
                match part {
                    Part::Text(text) => out.extend_from_slice(text),
                    Part::LineBreak => out.extend_from_slice(line_break),
                    Part::Group(group) => {
                        let text = groups.get(*group).map(|text| text.as_bytes()).unwrap_or_default();
                        out.extend_from_slice(text);
                    }
                }
            }
            done = found.end;
            within_limit(out.len())?;
            if !self.is_global {
                break;
            }
        }
        if done == 0 && out.is_empty() {
            // Nothing was found, or nothing was put for nothing.
            return Ok(line);
        }
        out.extend_from_slice(&line[done..]);
        Ok(out)
    }
}
