//! The account files: any bytes are a text; what is asked for changes, and every other line stays byte for byte.
//!
//! The input: a verb, then name, value and text parted by NUL.

use crate::input::{joined, parts};
use nomount::account::login_defs::{LoginDefs, useradd_default};
use nomount::account::passwd::{Field, field, set_field, users};
use nomount::account::shadow::{Change, change, password};
use nomount::account::{Secret, add_entry, check_name, group, remove, subid};

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn name_of(line: &[u8]) -> &[u8] {
    line.split(|byte| matches!(byte, b':' | b'\r' | b'\n')).next().expect("a first part is always there")
}

/// `new` is `old` but for lines of `name`, and at most `count` of those.
fn only_differs(old: &[u8], new: &[u8], name: &[u8], count: usize) {
    let (old, new) = (lines(old), lines(new));
    assert_eq!(old.len(), new.len(), "lines came or went");
    let differ: Vec<_> = old.iter().zip(&new).filter(|(old, new)| old != new).collect();
    assert!(differ.iter().all(|(old, new)| name_of(old) == name && name_of(new) == name), "another line changed");
    assert!(differ.len() <= count, "more lines changed");
}

/// `new` is `old` without some of its lines; a line break at the end of the text does not count.
fn lines_went(old: &[u8], new: &[u8]) {
    let mut rest = old.split(|byte| *byte == b'\n');
    let new = new.strip_suffix(b"\n").unwrap_or(new);
    assert!(
        new.is_empty() || new.split(|byte| *byte == b'\n').all(|line| rest.any(|other| other == line)),
        "a line changed"
    );
}

pub fn body(data: &[u8]) {
    let Some((verb, data)) = data.split_first() else { return };
    let [name, value, text] = parts(data);
    match verb % 9 {
        0 => {
            for user in users(text) {
                let found = nomount::account::passwd::find(text, &user.name).expect("it is there");
                assert_eq!(found.name, user.name);
                assert!(field(text, &user.name, Field::Home).is_some());
            }
        }
        1 => {
            for which in [Field::Password, Field::Comment, Field::Home, Field::Shell] {
                let Ok(changed) = set_field(text, name, which, value) else { continue };
                only_differs(text, &changed, name, 1);
                assert_eq!(field(&changed, name, which), Some(value));
                assert_eq!(users(&changed).count(), users(text).count());
            }
        }
        2 => {
            let secret = Secret::new(value);
            for how in [Change::Hash(&secret), Change::Lock, Change::Disable] {
                let Ok(changed) = change(text, name, &how, Some(20_000)) else { continue };
                only_differs(text, &changed, name, usize::MAX);
                let now = lines(&changed).into_iter().filter_map(|line| password(line, name)).next();
                match how {
                    Change::Hash(_) => assert_eq!(now, Some(value)),
                    Change::Lock => assert!(now.is_some_and(|field| field.starts_with(b"!"))),
                    Change::Disable => assert_eq!(now, Some(&b"*"[..])),
                }
            }
        }
        3 => {
            for known in group::groups(text) {
                assert!(group::find(text, &known.name).is_some() && group::find_id(text, known.gid).is_some());
            }
            if let Ok(changed) = group::add_member(text, name, value) {
                assert_eq!(lines(text).len(), lines(&changed).len());
                let again = group::add_member(&changed, name, value).expect("it was possible before");
                assert_eq!(again, changed, "a second time there is nothing to do");
            }
        }
        4 => {
            let Ok(changed) = add_entry(text, &[name, value]) else { return };
            lines_went(&changed, text);
        }
        5 => {
            let less = remove::without(text, &[name, value]);
            lines_went(text, &less);
            assert_eq!(remove::without(&less, &[name, value]), less);
        }
        6 => {
            for first in [2, 3] {
                let less = remove::without_members(text, &[name, value], first);
                assert_eq!(lines(text).len(), lines(&less).len());
                assert_eq!(remove::without_members(&less, &[name, value], first), less);
            }
        }
        7 => {
            subid::has(text, name);
            if let Some(first) = subid::free_range(text, 100_000, 600_100_000, 65_536) {
                assert!((100_000..=600_100_000 - 65_535).contains(&first));
            }
        }
        _ => {
            let defs = LoginDefs(text);
            for key in ["UID_MIN", "ENCRYPT_METHOD", "CREATE_HOME", ""] {
                let _ = (defs.value(key), defs.number(key), defs.flag(key, true), useradd_default(text, key));
            }
            let _ = check_name(name);
        }
    }
}

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\r\n\
    # a comment\n+nis::::::\nada:x:1000:1000:Ada,,,:/home/ada:/bin/sh";
const SHADOW: &[u8] = b"root:*:19000:0:99999:7:::\nada:$6$salt$hash:19000:0:99999:7:::\nlocked:!:19000::::::\n";
const GROUP: &[u8] = b"root:x:0:\nsudo:x:27:ada\nusers:x:100:ada,bob\n+:::\n";
const GSHADOW: &[u8] = b"root:*::\nsudo:*:ada:ada,bob\n";
const SUBID: &[u8] = b"ada:100000:65536\nbob:165536:65536\n";
const DEFS: &[u8] = b"# defaults\nUID_MIN\t\t1000\nENCRYPT_METHOD YESCRYPT\nCREATE_HOME yes\nSHELL=/bin/sh\n";

/// Verb, name, value, text.
type Seed<'t> = (u8, &'t [u8], &'t [u8], &'t [u8]);

pub fn seeds() -> Vec<Vec<u8>> {
    let seeds: [Seed<'_>; 9] = [
        (0, b"", b"", PASSWD),
        (1, b"ada", b"/srv/ada", PASSWD),
        (2, b"ada", b"$y$j9T$salt$hash", SHADOW),
        (3, b"users", b"eve", GROUP),
        (4, b"eve", b"x", PASSWD),
        (5, b"ada", b"root", SHADOW),
        (6, b"ada", b"bob", GSHADOW),
        (7, b"ada", b"", SUBID),
        (8, b"name", b"", DEFS),
    ];
    seeds.iter().map(|(verb, name, value, text)| [&[*verb][..], &joined(&[name, value, text])].concat()).collect()
}
