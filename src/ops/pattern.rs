//! Regular expressions as sed -E, Perl and PCRE write them, in the words of the `regex` crate.
//!
//! The crate has no back-references and no look-around, and it takes some texts differently: set operations in
//! brackets, `\<`, braces that are no counts. What cannot be said is an error that names it, never another meaning.

/// Where an expression comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// sed -E or Perl: `\<` and `\>` are the ends of words.
    Sed,
    /// PCRE, of bytes: `\<` is `<`.
    Pcre,
}

/// An expression that the crate reads as it is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) text: String,
    /// Whether it has alternatives outside of any group: what is put before it is part of the first only.
    pub(super) has_alternatives: bool,
}

/// The same expression for the crate, or what of it cannot be said there.
pub(super) fn translate(pattern: &str, flavour: Flavour) -> Result<Translated, String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 8);
    let (mut at, mut depth, mut has_alternatives, mut counted) = (0, 0usize, false, false);
    while let Some(&character) = chars.get(at) {
        let rest = &chars[at + 1..];
        at += 1;
        let was_counted = std::mem::take(&mut counted);
        match character {
            '\\' => {
                let escaped = rest.first().ok_or("it ends with a backslash")?;
                out.push_str(&escape(*escaped, flavour)?);
                at += 1;
            }
            '[' => at += bracket(rest, &mut out)?,
            '{' => match count(rest, flavour) {
                Some((text, length)) => {
                    out.push_str(&text);
                    at += length;
                    counted = true;
                }
                None => out.push_str("\\{"),
            },
            '+' if was_counted => return Err("possessive repetition is not supported".to_owned()),
            '*' | '+' | '?' => {
                // `?` after a repetition makes it lazy, and nothing may follow that.
                counted = character != '?' || !was_counted;
                out.push(character);
            }
            _ => {
                match character {
                    '(' => depth += 1,
                    ')' => depth = depth.saturating_sub(1),
                    '|' if depth == 0 => has_alternatives = true,
                    _ => {}
                }
                out.push(character);
                // `(?` begins a group with options, where `?` counts nothing.
                if character == '(' && rest.first() == Some(&'?') {
                    out.push('?');
                    at += 1;
                }
            }
        }
    }
    Ok(Translated { text: out, has_alternatives })
}

const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = " \\t\\n\\x0b\\f\\r";

/// What a backslash and this character mean outside of brackets.
fn escape(character: char, flavour: Flavour) -> Result<String, String> {
    Ok(match character {
        'w' => format!("[{WORD}]"),
        'W' => format!("[^{WORD}]"),
        'd' => "[0-9]".to_owned(),
        'D' => "[^0-9]".to_owned(),
        's' => format!("[{SPACE}]"),
        'S' => format!("[^{SPACE}]"),
        'h' => "[ \\t]".to_owned(),
        'b' | 'B' => format!("(?-u:\\{character})"),
        '<' | '>' if flavour == Flavour::Sed => format!("(?-u:\\{character})"),
        '<' | '>' => character.to_string(),
        'n' | 't' | 'r' | 'f' | 'v' | 'x' | 'A' | 'z' => format!("\\{character}"),
        'Z' => "(?:\\n?\\z)".to_owned(),
        '1'..='9' => return Err(format!("back-references such as \\{character} are not supported in a pattern")),
        'a'..='z' | 'A'..='Z' | '0' => return Err(format!("\\{character} is not supported in a pattern")),
        '\n' => "\\n".to_owned(),
        character if character.is_ascii_punctuation() => format!("\\{character}"),
        character => character.to_string(),
    })
}

/// What follows an opening bracket: writes the whole class, returns how many characters it took.
fn bracket(rest: &[char], out: &mut String) -> Result<usize, String> {
    out.push('[');
    let mut at = usize::from(rest.first() == Some(&'^'));
    if at == 1 {
        out.push('^');
    }
    let first = at;
    while let Some(&character) = rest.get(at) {
        at += 1;
        match character {
            ']' if at > first + 1 => {
                out.push(']');
                return Ok(at);
            }
            '[' if rest.get(at) == Some(&':') => {
                let inside = &rest[at + 1..];
                let end =
                    inside.windows(2).position(|pair| pair == [':', ']']).ok_or("a class such as [: has no :]")?;
                let name: String = inside[..end].iter().collect();
                out.push_str(&format!("[:{name}:]"));
                at += end + 3;
            }
            '[' if matches!(rest.get(at), Some('.' | '=')) => {
                return Err("collating elements, [. and [=, are not supported".to_owned());
            }
            '\\' => {
                let escaped = *rest.get(at).ok_or("a bracket has no end")?;
                at += 1;
                match escaped {
                    'w' => out.push_str(WORD),
                    'd' => out.push_str("0-9"),
                    's' => out.push_str(SPACE),
                    'n' | 't' | 'r' | 'f' | 'v' | 'x' => out.extend(['\\', escaped]),
                    'b' => out.push_str("\\x08"),
                    'a'..='z' | 'A'..='Z' | '0'..='9' => {
                        return Err(format!("\\{escaped} is not supported in brackets"));
                    }
                    escaped if escaped.is_ascii_punctuation() => out.extend(['\\', escaped]),
                    escaped => out.push(escaped),
                }
            }
            // The second of two hyphens is the end of a range; to the crate they would be a difference.
            '-' if out.ends_with('-') => out.push_str("\\-"),
            '[' | ']' | '&' | '~' => out.extend(['\\', character]),
            character => out.push(character),
        }
    }
    Err("a bracket has no end".to_owned())
}

/// The count that follows an opening brace and how many characters it took; none when it is an ordinary brace.
fn count(rest: &[char], flavour: Flavour) -> Option<(String, usize)> {
    let end = rest.iter().take(16).position(|character| *character == '}')?;
    let text: String = rest[..end].iter().collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (from, to) = match text.split_once(',') {
        Some((from, to)) => (from, Some(to)),
        None => (text.as_str(), None),
    };
    let from = if from.is_empty() && to.is_some_and(is_number) && flavour == Flavour::Sed { "0" } else { from };
    let fits = is_number(from) && to.is_none_or(|to| to.is_empty() || is_number(to));
    let comma = if to.is_some() { "," } else { "" };
    fits.then(|| (format!("{{{from}{comma}{}}}", to.unwrap_or_default()), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::bytes::Regex;

    fn matches(pattern: &str, flavour: Flavour, text: &str) -> bool {
        let text_of = translate(pattern, flavour).unwrap().text;
        Regex::new(&format!("^(?:{text_of})$")).unwrap().is_match(text.as_bytes())
    }

    #[test]
    fn means_what_sed_and_pcre_mean() {
        for (pattern, yes, no) in [
            (r"[]a]+", "]a", "["),
            (r"[^]a]", "[", "]"),
            (r"[[]x", "[x", "]x"),
            (r"[[:digit:][:space:]]+", "1 2", "a"),
            (r"[a&&b]+", "a&b", "c"),
            (r"[a~~+--]+", "~,", "c"),
            (r"[+--]", ",", "."),
            (r"[\w.-]+", "a_9.-", "/"),
            (r"\w\W\d\D", "a-1b", "--1b"),
            (r"a{b}", "a{b}", "ab"),
            (r"a{2,3}", "aaa", "a"),
            (r"a\.b\/c", "a.b/c", "axb/c"),
            (r"(?:x|y)?z", "yz", "xy"),
            (r"a\+b", "a+b", "aab"),
            (r"a+?b??", "aa", "c"),
        ] {
            for flavour in [Flavour::Sed, Flavour::Pcre] {
                assert!(matches(pattern, flavour, yes), "{pattern} {yes}");
                assert!(!matches(pattern, flavour, no), "{pattern} {no}");
            }
        }
        assert!(matches(r"\<a\> b", Flavour::Sed, "a b") && matches(r"\<a\>", Flavour::Pcre, "<a>"));
        assert!(matches(r"a{,2}", Flavour::Sed, "aa") && matches(r"a{,2}", Flavour::Pcre, "a{,2}"));
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        for (pattern, named) in [
            (r"(a)\1", "back-references"),
            (r"a*+b", "possessive"),
            (r"a{2}+", "possessive"),
            (r"vdagentd.\pid", "\\p"),
            (r"[[.a.]]", "collating"),
            (r"[a", "no end"),
            (r"a\", "backslash"),
        ] {
            assert!(translate(pattern, Flavour::Pcre).unwrap_err().contains(named), "{pattern}");
        }
        let has = |pattern: &str| translate(pattern, Flavour::Pcre).unwrap().has_alternatives;
        assert_eq!((has("/a|/b"), has("/(a|b)"), has(r"/[|]\|")), (true, false, false));
    }
}
