//! Reading an expression of find(1) from arguments.

use super::test::{Bits, Number, Permissions, Stamp, Test};
use super::{Expr, Expression, Told};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Owner;
use crate::ops::edit::ModeChange;
use crate::ops::glob::Glob;
use crate::ops::look::Names;
use crate::tree::{FileKind, FileTree, Follow, GuestPath, Time, existing};
use std::rc::Rc;

/// Parentheses and negations inside of each other: more than a person can read.
const MAX_NESTING: usize = 100;

/// What an expression is read with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'t> {
    /// Where names of users and groups, and files to compare with, are looked up.
    pub tree: &'t dyn FileTree,
    /// The moment that ages count from.
    pub now: Time,
    /// Reads a point in time; the error says what is wrong.
    pub parse_time: fn(&str) -> Result<Time, String>,
}

/// Reads an expression: tests and actions, `!` or `-not`, `-a` or nothing between them, `-o`, parentheses. Without an
/// action, what it is true for is told as with `-print`. Errors: [`Usage`](ErrorKind::Usage) for what makes no sense,
/// [`Unsupported`](ErrorKind::Unsupported) for what find knows and this does not; the hint says what to do.
pub fn parse(arguments: &[Vec<u8>], context: Context<'_>) -> Result<Expression> {
    let mut parser = Parser {
        rest: arguments,
        context,
        names: None,
        min_depth: 0,
        max_depth: usize::MAX,
        one_filesystem: false,
        acts: false,
    };
    let mut root = match arguments {
        [] => Expr::Test(Test::Always(true)),
        _ => parser.alternatives(0)?,
    };
    if let Some(argument) = parser.rest.first() {
        // Only a parenthesis ends an expression early.
        return Err(usage(format!("{} without its opening parenthesis", shown(argument))));
    }
    if !parser.acts {
        root = Expr::And(vec![root, Expr::Tell(Told::Path)]);
    }
    let Parser { min_depth, max_depth, one_filesystem, .. } = parser;
    Ok(Expression { root, min_depth, max_depth, one_filesystem })
}

struct Parser<'a, 't> {
    rest: &'a [Vec<u8>],
    context: Context<'t>,
    names: Option<Rc<Names>>,
    min_depth: usize,
    max_depth: usize,
    one_filesystem: bool,
    /// Whether an action was met that tells files.
    acts: bool,
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

fn shown(argument: &[u8]) -> String {
    argument.escape_ascii().to_string()
}

impl<'a> Parser<'a, '_> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn take(&mut self, words: [&str; 2]) -> bool {
        let found = self.rest.first().is_some_and(|next| words.iter().any(|word| word.as_bytes() == next));
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// What stands behind `of`.
    fn value(&mut self, of: &str) -> Result<&'a [u8]> {
        self.next().ok_or_else(|| usage(format!("{of} needs an argument")))
    }

    fn text(&mut self, of: &str) -> Result<&'a str> {
        let value = self.value(of)?;
        std::str::from_utf8(value).map_err(|_| usage(format!("{of} {}: not text", shown(value))))
    }

    fn alternatives(&mut self, depth: usize) -> Result<Expr> {
        let mut parts = vec![self.sequence(depth)?];
        while self.take(["-o", "-or"]) {
            parts.push(self.sequence(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Or(parts) })
    }

    fn sequence(&mut self, depth: usize) -> Result<Expr> {
        let mut parts = vec![self.part(depth)?];
        loop {
            let named = self.take(["-a", "-and"]);
            let ends = matches!(self.rest.first().map(Vec::as_slice), None | Some(b")" | b"-o" | b"-or"));
            if ends && !named {
                return Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::And(parts) });
            }
            parts.push(self.part(depth)?);
        }
    }

    fn part(&mut self, depth: usize) -> Result<Expr> {
        if depth > MAX_NESTING {
            return Err(usage(format!("an expression nested deeper than {MAX_NESTING}")));
        }
        let Some(word) = self.next() else { return Err(usage("the expression ends where a test is expected")) };
        match word {
            b"!" | b"-not" => Ok(Expr::Not(Box::new(self.part(depth + 1)?))),
            b"(" => {
                let inner = self.alternatives(depth + 1)?;
                match self.next() {
                    Some(b")") => Ok(inner),
                    _ => Err(usage("( is not closed")),
                }
            }
            _ => {
                let word = std::str::from_utf8(word).map_err(|_| unknown(word))?;
                self.primary(word)
            }
        }
    }

    fn primary(&mut self, word: &str) -> Result<Expr> {
        let test = match word {
            "-true" => Test::Always(true),
            "-false" => Test::Always(false),
            "-name" | "-iname" => Test::Name(Glob::new(self.value(word)?, word == "-iname")),
            "-path" | "-wholename" => Test::Path(Glob::new(self.value(word)?, false)),
            "-ipath" | "-iwholename" => Test::Path(Glob::new(self.value(word)?, true)),
            "-lname" | "-ilname" => Test::Target(Glob::new(self.value(word)?, word == "-ilname")),
            "-type" => Test::Kind(kinds(self.text(word)?)?),
            "-size" => size(self.text(word)?)?,
            "-atime" | "-ctime" | "-mtime" | "-Btime" => {
                let stamp = stamp(word.as_bytes()[1]).expect("each of these letters is one");
                Test::Days(stamp, self.number(word)?, self.context.now)
            }
            "-amin" | "-cmin" | "-mmin" | "-Bmin" => {
                let stamp = stamp(word.as_bytes()[1]).expect("each of these letters is one");
                Test::Minutes(stamp, self.number(word)?, self.context.now)
            }
            "-perm" => Test::Permissions(permissions(self.text(word)?)?),
            "-uid" => Test::Owner(self.number(word)?),
            "-gid" => Test::Group(self.number(word)?),
            "-user" => Test::Owner(Number::Exactly(self.owner(word)?.into())),
            "-group" => Test::Group(Number::Exactly(self.owner(word)?.into())),
            "-nouser" => Test::NoUser(self.names()),
            "-nogroup" => Test::NoGroup(self.names()),
            "-links" => Test::Links(self.number(word)?),
            "-inum" => Test::Inode(self.number(word)?),
            "-empty" => Test::Empty,
            "-maxdepth" => {
                self.max_depth = self.depth(word)?;
                Test::Always(true)
            }
            "-mindepth" => {
                self.min_depth = self.depth(word)?;
                Test::Always(true)
            }
            "-xdev" | "-mount" => {
                self.one_filesystem = true;
                Test::Always(true)
            }
            "-print" => return Ok(self.act(Told::Path)),
            "-print0" => return Ok(self.act(Told::PathZero)),
            "-ls" => return Ok(self.act(Told::Line)),
            "-prune" => return Ok(Expr::Prune),
            "-quit" => return Ok(Expr::Quit),
            _ => match word.strip_prefix("-newer") {
                Some(letters) => self.newer(word, letters)?,
                None => return Err(unknown(word.as_bytes())),
            },
        };
        Ok(Expr::Test(test))
    }

    fn act(&mut self, told: Told) -> Expr {
        self.acts = true;
        Expr::Tell(told)
    }

    fn number(&mut self, of: &str) -> Result<Number> {
        let text = self.text(of)?;
        number(text).ok_or_else(|| usage(format!("{of} {text}: a number such as 7, +7 or -7 is needed")))
    }

    fn depth(&mut self, of: &str) -> Result<usize> {
        let text = self.text(of)?;
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        number.ok_or_else(|| usage(format!("{of} {text}: a number is needed")))
    }

    /// A user or group of the guest, or a number.
    fn owner(&mut self, of: &str) -> Result<u32> {
        let name = self.value(of)?;
        if name.contains(&b':') {
            return Err(usage(format!("{of} {}: a name without a colon is needed", shown(name))));
        }
        let text = if of == "-group" { [b":", name].concat() } else { name.to_vec() };
        let (uid, gid) = Owner::parse(text)?.look_up(self.context.tree)?;
        uid.or(gid).ok_or_else(|| usage(format!("{of} needs a name")))
    }

    fn names(&mut self) -> Rc<Names> {
        let tree = self.context.tree;
        Rc::clone(self.names.get_or_insert_with(|| Rc::new(Names::of(tree))))
    }

    /// `-newer FILE`, `-newerXY FILE`, `-newerXt TIME`.
    fn newer(&mut self, word: &str, letters: &str) -> Result<Test> {
        let (of, than) = match letters.as_bytes() {
            [] => (Stamp::Modification, Some(Stamp::Modification)),
            [of, b't'] => (stamp(*of).ok_or_else(|| unknown(word.as_bytes()))?, None),
            [of, than] => match (stamp(*of), stamp(*than)) {
                (Some(of), Some(than)) => (of, Some(than)),
                _ => return Err(unknown(word.as_bytes())),
            },
            _ => return Err(unknown(word.as_bytes())),
        };
        let Some(than) = than else {
            let text = self.text(word)?;
            let time = (self.context.parse_time)(text).map_err(|why| usage(format!("{word} {why}")))?;
            return Ok(Test::Newer(of, time));
        };
        let path = GuestPath::parse(self.value(word)?)?;
        let (_, stat) = existing(self.context.tree, &path, Follow::Last)?;
        let time = than.of(&stat).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "this filesystem keeps no times of birth").at_path(path.to_bytes())
        })?;
        Ok(Test::Newer(of, time))
    }
}

fn stamp(letter: u8) -> Option<Stamp> {
    match letter {
        b'a' => Some(Stamp::Access),
        b'c' => Some(Stamp::Change),
        b'm' => Some(Stamp::Modification),
        b'B' => Some(Stamp::Birth),
        _ => None,
    }
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some(match text.as_bytes()[0] {
        b'+' => Number::More(value),
        b'-' => Number::Less(value),
        _ => Number::Exactly(value),
    })
}

fn kinds(text: &str) -> Result<Vec<FileKind>> {
    let kind = |letter: &str| match letter {
        "f" => Ok(FileKind::File),
        "d" => Ok(FileKind::Dir),
        "l" => Ok(FileKind::Symlink),
        "c" => Ok(FileKind::CharDevice),
        "b" => Ok(FileKind::BlockDevice),
        "p" => Ok(FileKind::Fifo),
        "s" => Ok(FileKind::Socket),
        other => Err(usage(format!("-type {}: one of f, d, l, c, b, p, s is needed", shown(other.as_bytes())))),
    };
    text.split(',').map(kind).collect()
}

fn size(text: &str) -> Result<Test> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'c') => (&text[..text.len() - 1], 1),
        Some(b'w') => (&text[..text.len() - 1], 2),
        Some(b'b') => (&text[..text.len() - 1], 512),
        Some(b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 512),
    };
    let number = number(digits).ok_or_else(|| {
        usage(format!("-size {}: a size such as +10M is needed, with c, w, b, k, M or G", shown(text.as_bytes())))
    })?;
    Ok(Test::Size(number, unit))
}

fn permissions(text: &str) -> Result<Permissions> {
    let (how, mode) = match text.as_bytes().first() {
        Some(b'-') => (Bits::All, &text[1..]),
        Some(b'/') => (Bits::Any, &text[1..]),
        _ => (Bits::Exactly, text),
    };
    if mode.starts_with(|first: char| first.is_ascii_digit()) {
        // A directory's set-id bits, too, which an octal mode leaves alone in chmod.
        let change = ModeChange::parse(mode)?;
        let bits = change.apply(0, false);
        return Ok(Permissions { how, file: bits, dir: bits });
    }
    // For everybody where nobody is named: no umask takes part.
    let named: Vec<String> = mode
        .split(',')
        .map(|clause| if clause.starts_with(['+', '-', '=']) { format!("a{clause}") } else { clause.to_owned() })
        .collect();
    let change = ModeChange::parse(&named.join(","))?;
    Ok(Permissions { how, file: change.apply(0, false), dir: change.apply(0, true) })
}

/// The error for a word that is no test or action of ours.
fn unknown(word: &[u8]) -> Error {
    let unsupported =
        |message: &str, hint: &str| Error::new(ErrorKind::Unsupported, format!("{} {message}", shown(word))).hint(hint);
    match word {
        b"-exec" | b"-execdir" | b"-ok" | b"-okdir" => unsupported(
            "is not supported: no command can see files inside an image",
            "pipe the paths: nomount find IMAGE ... -print0 | xargs -0 nomount cat IMAGE",
        ),
        b"-delete" => unsupported(
            "is not supported: find changes nothing",
            "pipe the paths: nomount find IMAGE ... -print0 | xargs -0 nomount rm IMAGE",
        ),
        b"-printf" | b"-fprint" | b"-fprint0" | b"-fprintf" | b"-fls" => {
            unsupported("is not supported", "--json gives all that is known of each file")
        }
        b"-regex" | b"-iregex" | b"-regextype" => unsupported("is not supported", "use -path with * and ?, and -o"),
        b"-L" | b"-H" | b"-follow" | b"-xtype" => {
            unsupported("is not supported: symbolic links are not followed", "look for links with -type l and -lname")
        }
        b"-depth" | b"-d" | b"-daystart" | b"-fstype" | b"-samefile" | b"-used" | b"-context" | b"-readable"
        | b"-writable" | b"-executable" | b"," => {
            unsupported("is not supported", "see `nomount find --help` for what is")
        }
        _ if word.starts_with(b"-") => usage(format!("unknown test or action {}", shown(word)))
            .hint("see `nomount find --help`; options of nomount itself stand before the image"),
        _ => usage(format!("{} is no test or action", shown(word)))
            .hint("paths stand before the expression, and patterns are quoted: -name '*.conf'"),
    }
}
