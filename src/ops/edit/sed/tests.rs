//! The judge is sed itself.

use super::{parse, parse_perl};
use crate::error::ErrorKind;
use nomount_kit::require;
use std::io::Write;
use std::process::{Command, Stdio};

fn edited(script: &str, text: &str) -> String {
    String::from_utf8(parse(script).unwrap().apply(text.as_bytes()).unwrap()).unwrap()
}

fn by_perl(script: &str, text: &str) -> String {
    String::from_utf8(parse_perl(script).unwrap().apply(text.as_bytes()).unwrap()).unwrap()
}

/// What sed -E makes of it.
fn by_sed(script: &str, text: &str) -> String {
    let mut command = Command::new("sed");
    command.args(["-E", script]).env("LC_ALL", "C.UTF-8").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "sed {script}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn does_what_sed_does() {
    if !require(&["sed"]) {
        return;
    }
    let texts = [
        "",
        "\n",
        "one",
        "PermitRootLogin no\n#Port 22\nUsePAM yes\n",
        "aaa bbb aaa\n\nb/a/c\nend",
        "1\n2\n3\n4\n5\n6\n",
        "naive a.b*c [x] {y} $5 ^\\\n\ttab\n",
    ];
    let scripts = [
        "s/a/X/",
        "s/a/X/g",
        "s/a/X/2",
        "s/a/X/2g",
        "s/a*/x/g",
        "s/x*/-/g",
        "s/B+/<&>/Ig",
        "s/^#?(Port) [0-9]+$/\\1 2222/",
        "s|b/a|\\&|",
        "s,\\.,\\,,",
        "s/([a-z]+) ([a-z]+)/\\2\\t\\1\\n/",
        "s/\\<[a-c]/_/g",
        "s/[^[:alnum:]_]+/ /g",
        "s/./X/g",
        "s/a{2,}|b{,1}c/Q/",
        "s/\\$5/\\\\&/",
        "/^#/d",
        "/a/!d",
        "$d",
        "2d",
        "2,4d",
        "4,2d",
        "2,+1d",
        "2,$d",
        "/2/,/4/s/$/!/",
        "/2/,/2/s/$/!/",
        "/2/,3d",
        "/[25]/,+1s/^/-/",
        "0,/[1a]/s//X/",
        "1,/1/d",
        "$!s/$/,/",
        "2,3!d",
        "2d;2,4s/$/x/",
        "4d;4,2s/$/x/",
        "2,4d;3,5s/$/x/",
        "s/[/]/X/",
        "s/[^/]*/x/g",
        "3d;2,3s/$/x/;s/^/y/",
        "/PAM/a added line",
        "/PAM/a\\  kept blanks\\\nsecond\\tline",
        "$a last",
        "1i first",
        "1i\\\nfirst\\\nsecond",
        "/Port/c Port 22",
        "2,3c both",
        "$!c x",
        "2{",
        "/a/Is/b/Y/",
        "\\,b/a,s/e/E/",
        "# a comment\ns/a/b/ # another\n;; 1d",
        "1a x\n1a y\n1i z",
        "/1/s//one/",
    ];
    let mut compared = 0;
    for script in scripts {
        // Groups of commands, and an empty pattern after a range, are refused.
        let Ok(ours) = parse(script) else {
            assert!(matches!(script, "2{" | "0,/[1a]/s//X/"), "{script}");
            continue;
        };
        for text in texts {
            let result = String::from_utf8(ours.apply(text.as_bytes()).unwrap()).unwrap();
            assert_eq!(result, by_sed(script, text), "sed -E '{script}' on {text:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, texts.len() * (scripts.len() - 2));
}

#[test]
fn line_breaks_stay_as_they_are() {
    assert_eq!(edited("s/$/;/;$a end", "a\r\nb\r\n"), "a;\r\nb;\r\nend\r\n");
    assert_eq!(edited("s/b/x\\ny/", "a\r\nb"), "a\r\nx\r\ny");
    assert_eq!(edited("s/\\r$//", "a\r\nb\r\n"), "a\nb\n");
    assert_eq!(edited("s/a/b/", "a"), "b");
    assert_eq!(edited("$a\\", "a"), "a\n");
    assert_eq!(edited("$a\\", "a\n"), "a\n");
}

#[test]
fn characters_are_not_torn_apart() {
    assert_eq!(edited("s/./X/g", "na\u{ef}ve"), "XXXXX");
    // sed 4.9 puts an x into the middle of the second.
    assert_eq!(edited("s/a*/x/g", "\u{e9}a\u{ef}"), "x\u{e9}x\u{ef}x");
    assert_eq!(edited("s/[\u{e9}\u{ef}]/e/g", "\u{e9}a\u{ef}"), "eae");
}

#[test]
fn bytes_that_are_no_text_are_kept() {
    let latin = b"caf\xe9 a\n";
    assert_eq!(parse("s/a$/b/").unwrap().apply(latin).unwrap(), b"caf\xe9 b\n");
    assert_eq!(parse("s/A/b/gI").unwrap().apply(latin).unwrap(), b"cbf\xe9 b\n");
}

#[test]
fn perl_says_the_same_otherwise() {
    let text = "PermitRootLogin no\nUser = root & co\n";
    assert_eq!(by_perl("s/^(Permit\\w+) .*/$1 yes/", text), "PermitRootLogin yes\nUser = root & co\n");
    assert_eq!(by_perl("s{root}{<$&> & \\$x/y}; s/NO$/n/i;", text), "PermitRootLogin n\nUser = <root> & $x/y & co\n");
    assert_eq!(by_perl("s( ( o+ ) ) (${1}0)xg", text), "PermitRoo0tLo0gin no0\nUser = roo0t & co0\n");
    assert_eq!(by_perl("s[(\\w+)$]<[\\1]>", text), "PermitRootLogin [no]\nUser = root & [co]\n");
    for (script, named) in [
        ("s/a/b/e", "flag \"e\""),
        ("s/a/$name/", "$1 to $9"),
        ("s/a/@list/", "array"),
        ("s/a\\n/b/", "line breaks"),
        ("s/(?<=a)b/c/", "look-around"),
        ("tr/a/b/", "only s///"),
        ("s/a/b/; print", "only s///"),
        ("$_ = 1", "only s///"),
    ] {
        let error = parse_perl(script).unwrap_err();
        assert!(error.kind() == ErrorKind::Usage && error.to_string().contains(named), "{script}: {error}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for (script, named) in [
        ("", "empty"),
        (" ;# nothing", "empty"),
        ("s/a/b", "closing \"/\""),
        ("s/a", "closing \"/\""),
        ("s/a/b/w /etc/passwd", "flag \"w\""),
        ("s/a/b/e", "flag \"e\""),
        ("s/a/b/p", "flag \"p\""),
        ("s/a/b/0", "from 1"),
        ("s/a/\\1/", "group 1 of 0"),
        ("s/(a)\\1/b/", "back-references"),
        ("s/(a/b/", "unclosed group"),
        ("s/a/\\U&/", "\\U is not supported"),
        ("s//b/", "empty pattern"),
        ("//d", "empty pattern"),
        ("2", "command is missing"),
        ("2,", "second address"),
        ("0d", "0,/PATTERN/"),
        ("0,3d", "0,/PATTERN/"),
        ("1~2d", "steps"),
        ("y/a/b/", "command \"y\""),
        ("e reboot", "command \"e\""),
        ("r /etc/shadow", "command \"r\""),
        ("99999999999d", "at most"),
        ("d d", "after a command"),
        ("a", "text of a"),
        ("s/a{1000}{1000}{1000}/b/", "size limit"),
    ] {
        let error = parse(script).unwrap_err();
        assert!(error.kind() == ErrorKind::Usage && error.to_string().contains(named), "{script}: {error}");
    }
}

#[test]
fn the_result_is_bounded() {
    let script = parse(&format!("s/a/{}/g", "&".repeat(1000))).unwrap();
    assert_eq!(script.apply(&vec![b'a'; 1 << 20]).unwrap_err().kind(), ErrorKind::Limit);
}
