//! Patterns of names and of paths, and expressions of find. The input: pattern and name, parted by NUL; the words of an
//! expression follow.

use crate::input::joined;
use crate::volume::small_tree;
use nomount::ops::glob::{Glob, PathGlob};
use nomount::ops::look::find::{Context, find, parse};
use nomount::tree::{FileTree, GuestPath, Time};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Of more words nothing new comes.
const MAX_WORDS: usize = 64;

/// Read only, so that one is enough.
static TREE: LazyLock<Mutex<crate::volume::Tree>> = LazyLock::new(|| Mutex::new(small_tree()));

pub fn body(data: &[u8]) {
    let mut texts = data.split(|byte| *byte == 0);
    let (pattern, name) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
    for ignore_case in [false, true] {
        let glob = Glob::new(pattern, ignore_case);
        if glob.matches(name) {
            assert!(glob.matches_end(name), "what the whole matches, its end matches");
            assert!(glob.matches_end(&[b"/some/where/", name].concat()));
        }
    }
    assert!(Glob::new(b"*", false).matches(name) && Glob::new(&escaped(name), false).matches(name));
    let tree = TREE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(paths) = PathGlob::parse(pattern)
        && let Ok(found) = paths.matches(&*tree)
    {
        assert!(found.is_sorted());
        for path in &found {
            assert!(tree.stat(path).is_ok(), "{path} is not there");
        }
    }
    let words: Vec<Vec<u8>> = texts.take(MAX_WORDS).map(<[u8]>::to_vec).collect();
    let context = Context { tree: &*tree, now: Time { sec: 1_800_000_000, nsec: 0 }, parse_time: seconds };
    if let Ok(expression) = parse(&words, context) {
        let _ = find(&*tree, &GuestPath::root(), &expression, &mut |_, _| Ok(()));
    }
}

/// A pattern for this name alone.
fn escaped(name: &[u8]) -> Vec<u8> {
    name.iter().flat_map(|byte| if byte.is_ascii_punctuation() { vec![b'\\', *byte] } else { vec![*byte] }).collect()
}

fn seconds(text: &str) -> Result<Time, String> {
    text.parse().map(|sec| Time { sec, nsec: 0 }).map_err(|_| "not a number".to_owned())
}

pub fn seeds() -> Vec<Vec<u8>> {
    let pairs = [
        ("*.conf", "sshd.conf"),
        ("[!a-c]?[[:digit:]]*", "x-1y"),
        ("/etc/{passwd,sha*}", "shadow"),
        ("/{etc,a directory}/**/*", "*"),
        ("\\*[]-]", "*]"),
        ("/link/*/../[p-s]*", "größe"),
    ];
    let words: [&[&str]; 6] = [
        &["-name", "*.conf", "-o", "-type", "f", "-size", "+1k"],
        &["(", "-perm", "-644", "-a", "!", "-user", "0", ")", "-print0"],
        &["-mtime", "-3", "-newer", "/etc/passwd"],
        &["-regex", ".*/[a-z]+", "-maxdepth", "2"],
        &["-path", "/etc/*", "-prune", "-o", "-print"],
        &["-empty", "-not", "-iname", "A*", "-inum", "+12", "-links", "1", "-xdev"],
    ];
    let seed = |((pattern, name), words): (&(&str, &str), &&[&str])| {
        let texts: Vec<&[u8]> = [*pattern, *name].iter().chain(words.iter()).map(|text| text.as_bytes()).collect();
        joined(&texts)
    };
    pairs.iter().zip(&words).map(seed).collect()
}
