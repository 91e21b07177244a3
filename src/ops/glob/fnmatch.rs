//! Patterns of names as fnmatch(3) has them, on bytes: `*`, `?`, `[a-z]`, `[!a-z]`, `[[:digit:]]`, `\` before a
//! character that is meant as it is. A slash and a leading dot are characters like any other.

/// A pattern, read once.
#[derive(Debug, Clone)]
pub struct Glob {
    pieces: Vec<Piece>,
    ignore_case: bool,
}

#[derive(Debug, Clone)]
enum Piece {
    Star,
    Any,
    One(Symbol),
    Set { negated: bool, members: Vec<Member> },
}

/// A character, or a byte that is part of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Symbol {
    Char(char),
    Byte(u8),
}

#[derive(Debug, Clone)]
enum Member {
    Range(Symbol, Symbol),
    Class(Class),
}

/// Whether a character is of a class.
type Class = fn(char) -> bool;

/// The classes of POSIX.
const CLASSES: [(&[u8], Class); 12] = [
    (b"alnum", |c| c.is_alphanumeric()),
    (b"alpha", |c| c.is_alphabetic()),
    (b"blank", |c| c == ' ' || c == '\t'),
    (b"cntrl", |c| c.is_control()),
    (b"digit", |c| c.is_ascii_digit()),
    (b"graph", |c| !c.is_control() && !c.is_whitespace()),
    (b"lower", |c| c.is_lowercase()),
    (b"print", |c| !c.is_control()),
    (b"punct", |c| c.is_ascii_punctuation()),
    (b"space", |c| c.is_whitespace()),
    (b"upper", |c| c.is_uppercase()),
    (b"xdigit", |c| c.is_ascii_hexdigit()),
];

impl Glob {
    /// Reads a pattern. Every text is one: a bracket that is not closed stands for itself.
    pub fn new(pattern: &[u8], ignore_case: bool) -> Self {
        let text = symbols(pattern, ignore_case);
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let (piece, next) = match text[at] {
                Symbol::Char('*') => (Piece::Star, at + 1),
                Symbol::Char('?') => (Piece::Any, at + 1),
                Symbol::Char('\\') if at + 1 < text.len() => (Piece::One(text[at + 1]), at + 2),
                Symbol::Char('[') => set(&text, at).unwrap_or((Piece::One(text[at]), at + 1)),
                symbol => (Piece::One(symbol), at + 1),
            };
            // Several stars are one: the match below goes back to the last.
            if !matches!((&piece, pieces.last()), (Piece::Star, Some(Piece::Star))) {
                pieces.push(piece);
            }
            at = next;
        }
        Self { pieces, ignore_case }
    }

    /// Whether all of `name` is what the pattern says.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.fits(name, None)
    }

    /// Whether `path`, or what follows one of its slashes, is what the pattern says.
    pub fn matches_end(&self, path: &[u8]) -> bool {
        self.fits(path, Some((0, 0)))
    }

    /// Whether the pattern takes only names that begin with a dot that is written out, as shells want it.
    pub(super) fn begins_with_dot(&self) -> bool {
        matches!(self.pieces.first(), Some(Piece::One(Symbol::Char('.'))))
    }

    /// `back` is the piece to go back to when one does not fit, and the place where it was tried last: what follows the
    /// last star that was met, or the first piece, which is tried behind slashes alone. To go back further is of no use,
    /// as a star takes whatever is left out here.
    fn fits(&self, name: &[u8], mut back: Option<(usize, usize)>) -> bool {
        let name = symbols(name, self.ignore_case);
        let (mut piece, mut at) = (0, 0);
        loop {
            match self.pieces.get(piece) {
                Some(Piece::Star) => {
                    piece += 1;
                    back = Some((piece, at));
                    continue;
                }
                Some(other) if name.get(at).is_some_and(|symbol| other.takes(*symbol)) => {
                    (piece, at) = (piece + 1, at + 1);
                    continue;
                }
                None if at == name.len() => return true,
                _ => {}
            }
            let next = back.and_then(|(first, tried)| {
                let rest = &name[tried..];
                let slash = || rest.iter().position(|symbol| *symbol == Symbol::Char('/'));
                let skipped = if first == 0 { slash()? } else { 0 };
                (!rest.is_empty()).then_some((first, tried + skipped + 1))
            });
            let Some(next) = next else { return false };
            back = Some(next);
            (piece, at) = next;
        }
    }
}

impl Piece {
    fn takes(&self, symbol: Symbol) -> bool {
        match self {
            Self::Star => false,
            Self::Any => true,
            Self::One(one) => *one == symbol,
            Self::Set { negated, members } => {
                let among = members.iter().any(|member| match (member, symbol) {
                    (Member::Range(first, last), symbol) => (*first..=*last).contains(&symbol),
                    (Member::Class(is), Symbol::Char(character)) => is(character),
                    (Member::Class(_), Symbol::Byte(_)) => false,
                });
                among != *negated
            }
        }
    }
}

fn symbols(bytes: &[u8], lower: bool) -> Vec<Symbol> {
    let mut list = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut lowered = character.to_lowercase();
            match (lower, lowered.next(), lowered.next()) {
                (true, Some(one), None) => list.push(Symbol::Char(one)),
                _ => list.push(Symbol::Char(character)),
            }
        }
        list.extend(chunk.invalid().iter().map(|byte| Symbol::Byte(*byte)));
    }
    list
}

/// The set that begins with the bracket at `at`, and where it ends; none when it is not closed.
fn set(text: &[Symbol], at: usize) -> Option<(Piece, usize)> {
    let mut at = at + 1;
    let negated = matches!(text.get(at), Some(Symbol::Char('!' | '^')));
    at += usize::from(negated);
    let first = at;
    let mut members = Vec::new();
    loop {
        match *text.get(at)? {
            Symbol::Char(']') if at > first => return Some((Piece::Set { negated, members }, at + 1)),
            Symbol::Char('[') if text.get(at + 1) == Some(&Symbol::Char(':')) => {
                if let Some((class, next)) = class(text, at + 2) {
                    members.push(class);
                    at = next;
                    continue;
                }
            }
            _ => {}
        }
        let (low, next) = member(text, at)?;
        at = next;
        let is_range = text.get(at) == Some(&Symbol::Char('-')) && text.get(at + 1) != Some(&Symbol::Char(']'));
        let (high, next) = if is_range { member(text, at + 1)? } else { (low, at) };
        at = next;
        members.push(Member::Range(low, high));
    }
}

fn member(text: &[Symbol], at: usize) -> Option<(Symbol, usize)> {
    match *text.get(at)? {
        Symbol::Char('\\') => Some((*text.get(at + 1)?, at + 2)),
        symbol => Some((symbol, at + 1)),
    }
}

fn class(text: &[Symbol], at: usize) -> Option<(Member, usize)> {
    let len = text[at..].iter().position(|symbol| *symbol == Symbol::Char(':'))?;
    if text.get(at + len + 1) != Some(&Symbol::Char(']')) {
        return None;
    }
    let is = |wanted: &[u8]| {
        wanted.len() == len && wanted.iter().zip(&text[at..]).all(|(a, b)| Symbol::Char(char::from(*a)) == *b)
    };
    CLASSES.iter().find(|(name, _)| is(name)).map(|(_, class)| (Member::Class(*class), at + len + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_as_fnmatch_has_them() {
        for (pattern, yes, no) in [
            ("*", &["", "a", ".a", "a/b"][..], &[][..]),
            ("*.conf", &[".conf", "a.conf", "a.conf.conf"], &["a.conf~", "aconf"]),
            ("a*b*c", &["abc", "axbxbxc"], &["ab", "abcd"]),
            ("?", &["a", "\u{e9}"], &["", "ab"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x", "-x"]),
            ("[!a-c]", &["d", "-"], &["a", ""]),
            ("[^a]", &["b"], &["a"]),
            ("[]a]", &["]", "a"], &["b", "[]a]"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[[:digit:][:upper:]_]", &["7", "X", "_"], &["x", ":"]),
            ("[[:none:]]", &["n]", ":]", "[]"], &["n"]),
            ("[\\]]", &["]"], &["\\"]),
            ("\\*", &["*"], &["a", "\\*"]),
            ("a\\", &["a\\"], &["a"]),
            ("[ab", &["[ab"], &["a"]),
            ("a**b", &["ab", "axxb"], &["a"]),
        ] {
            let glob = Glob::new(pattern.as_bytes(), false);
            yes.iter().for_each(|name| assert!(glob.matches(name.as_bytes()), "{pattern} {name}"));
            no.iter().for_each(|name| assert!(!glob.matches(name.as_bytes()), "{pattern} {name}"));
        }
        let glob = Glob::new(b"R\xc3\x89*[A-C]?", true);
        assert!(glob.matches("r\u{e9}sum\u{e9}bX".as_bytes()) && !glob.matches(b"rb"));
        let bytes = Glob::new(b"?\xff*", false);
        assert!(bytes.matches(b"\xfe\xff\xfd") && !bytes.matches(b"\xff"));
    }

    #[test]
    fn ends_of_paths() {
        for (pattern, yes, no) in [
            ("*.log", &["x.log", "a/b.c/x.log", ".log"][..], &["x.log/y", "log"][..]),
            ("/a/*", &["/a/b", "/a/b/c"], &["/b/a/c", "a/b", "/a"]),
            ("b/?", &["b/c", "/a/b/c"], &["ab/c", "b/cc"]),
            ("a*b?", &["x/axb/bc", "ab1", "x/ab/a/b1"], &["x/cab1", "ab"]),
            ("", &["", "a/"], &["a", "a/b"]),
        ] {
            let glob = Glob::new(pattern.as_bytes(), false);
            yes.iter().for_each(|path| assert!(glob.matches_end(path.as_bytes()), "{pattern} {path}"));
            no.iter().for_each(|path| assert!(!glob.matches_end(path.as_bytes()), "{pattern} {path}"));
        }
    }

    proptest::proptest! {
        // Whatever the bytes, it ends; a text with every character escaped matches itself alone.
        #[test]
        fn any_bytes_are_a_pattern(
            pattern in proptest::collection::vec(proptest::sample::select(b"*?[]!^-\\:/ad\xff\xc3\xa9".to_vec()), 0..24),
            name in proptest::collection::vec(proptest::sample::select(b"*?[]!^-\\:/ad\xff\xc3\xa9".to_vec()), 0..24),
        ) {
            let glob = Glob::new(&pattern, false);
            let starts = [0].into_iter().chain((0..name.len()).filter(|at| name[*at] == b'/').map(|at| at + 1));
            let ends: Vec<bool> = starts.map(|at| glob.matches(&name[at..])).collect();
            proptest::prop_assert_eq!(glob.matches_end(&name), ends.contains(&true));
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
            let escaped: Vec<u8> =
                pattern.iter().flat_map(|byte| if plain(byte) { vec![*byte] } else { vec![b'\\', *byte] }).collect();
            proptest::prop_assert_eq!(Glob::new(&escaped, false).matches(&name), pattern == name);
        }
    }
}
