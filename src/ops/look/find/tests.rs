use super::*;
use crate::error::ErrorKind;
use crate::tree::memtree::MemTree;
use crate::tree::{NewNode, SetAttr, Time};

const NOW: Time = Time { sec: 1_000_000_000 + 3 * 86_400, nsec: 0 };

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

fn tree() -> MemTree {
    let mut tree = MemTree::new();
    tree.file("/etc/passwd", "root:x:0:0::/:\nweb:x:33:44::/:\n").file("/etc/group", "adm:x:4:\n");
    tree.file("/d/a.conf", "12345").file("/d/B.CONF", "").file("/d/sub/deep/x", vec![0; 1025]).dir("/d/empty");
    tree.link("/d/link", "a.conf").owner("/d/a.conf", 33, 4).owner("/d/B.CONF", 99, 99).chmod("/d/a.conf", 0o4640);
    tree.hard_link("/d/a.conf", "/d/sub/same");
    tree.create(&path("/d/pipe"), NewNode::Fifo, SetAttr::default()).unwrap();
    let old = SetAttr { mtime: Some(Time { sec: 1_000_000_000 - 86_400, nsec: 0 }), ..SetAttr::default() };
    tree.set_attr(&path("/d/sub/deep/x"), old).unwrap();
    tree
}

fn parsed(tree: &MemTree, text: &str) -> Result<Expression> {
    let arguments: Vec<Vec<u8>> = text.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
    let parse_time =
        |text: &str| text.parse().map(|sec| Time { sec, nsec: 0 }).map_err(|_| format!("{text}: seconds are needed"));
    parse(&arguments, Context { tree, now: NOW, parse_time })
}

/// What is found in /d, without that.
fn found(text: &str) -> String {
    let tree = tree();
    let mut names = Vec::new();
    let expression = parsed(&tree, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    find(&tree, &path("/d"), &expression, &mut |file, told| {
        let name = file.path.to_string();
        let mark = match told {
            Told::Path => "",
            Told::PathZero => "0",
            Told::Line => "!",
        };
        names.push(format!("{}{mark}", name.strip_prefix("/d/").unwrap_or(".")));
        Ok(())
    })
    .unwrap();
    names.join(" ")
}

#[test]
fn tests_of_one_file() {
    for (text, wanted) in [
        ("", ". B.CONF a.conf empty link pipe sub sub/deep sub/deep/x sub/same"),
        ("-name *.conf", "a.conf"),
        ("-iname *.conf", "B.CONF a.conf"),
        ("-path /d/*/x", "sub/deep/x"),
        ("-lname a*", "link"),
        ("-type d", ". empty sub sub/deep"),
        ("-type l,p", "link pipe"),
        ("-empty", "B.CONF empty"),
        ("-size 1 -type f", "a.conf sub/same"),
        ("-size +1k -type f", "sub/deep/x"),
        ("-size 1025c", "sub/deep/x"),
        ("-size -1M -type f", "B.CONF"),
        ("-mtime 4", "sub/deep/x"),
        ("-mtime +3", "sub/deep/x"),
        ("-mtime -4 -name a*", "a.conf"),
        ("-mmin +5760 -type f", ""),
        ("-newermt 999999999 -type p", "pipe"),
        ("! -newer /etc/passwd -type f -name x", "sub/deep/x"),
        ("-perm 4640", "a.conf sub/same"),
        ("-perm -u+s,g=r", "a.conf sub/same"),
        ("-perm /7000", "a.conf sub/same"),
        ("-perm -o=x -type d -name e*", "empty"),
        ("-user web -group adm", "a.conf sub/same"),
        ("-user 99", "B.CONF"),
        ("-uid +33", "B.CONF"),
        ("-gid -5 -type p", "pipe"),
        ("-nouser", "B.CONF"),
        ("-links 2 -type f", "a.conf sub/same"),
        ("-inum 2", ""),
    ] {
        assert_eq!(found(text), wanted, "{text}");
    }
}

#[test]
fn operators_and_actions() {
    for (text, wanted) in [
        ("-maxdepth 1 -type d", ". empty sub"),
        ("-mindepth 2 -maxdepth 2", "sub/deep sub/same"),
        ("-maxdepth 0", "."),
        ("-type p -o -type l -name l*", "link pipe"),
        ("( -type p -o -type l ) -name l*", "link"),
        ("! ( -type f -o -type d )", "link pipe"),
        ("-not -type f -a -not -type d", "link pipe"),
        ("! ! -type p", "pipe"),
        ("-name sub -prune -o -type f -print", "B.CONF a.conf"),
        ("-name sub -prune -o -name a.conf", "a.conf sub"),
        ("-type p -print0 -ls", "pipe0 pipe!"),
        ("-type p -print -o -type l", "pipe"),
        ("-type f -print -quit", "B.CONF"),
        ("-false -o -true -type p", "pipe"),
        ("-name sub -quit", ""),
    ] {
        assert_eq!(found(text), wanted, "{text}");
    }
}

#[test]
fn what_makes_no_sense_and_what_is_not_supported() {
    let tree = tree();
    for (text, kind, words) in [
        ("-name", ErrorKind::Usage, "-name needs an argument"),
        ("-name x -o", ErrorKind::Usage, "ends where a test is expected"),
        ("-name x -a", ErrorKind::Usage, "ends where a test is expected"),
        ("( -name x", ErrorKind::Usage, "( is not closed"),
        ("-name x )", ErrorKind::Usage, "without its opening"),
        ("( )", ErrorKind::Usage, ") is no test"),
        ("-o -name x", ErrorKind::Usage, "unknown test or action -o"),
        ("-type x", ErrorKind::Usage, "-type x"),
        ("-size 10X", ErrorKind::Usage, "-size 10X"),
        ("-size +", ErrorKind::Usage, "-size +"),
        ("-mtime x", ErrorKind::Usage, "-mtime x"),
        ("-mtime", ErrorKind::Usage, "needs an argument"),
        ("-maxdepth -1", ErrorKind::Usage, "-maxdepth -1"),
        ("-perm u*x", ErrorKind::Usage, "mode"),
        ("-perm 9", ErrorKind::Usage, "mode"),
        ("-user nobody", ErrorKind::NotFound, "user nobody"),
        ("-group a:b", ErrorKind::Usage, "colon"),
        ("-newer /no", ErrorKind::NotFound, "no such file"),
        ("-newermt x", ErrorKind::Usage, "-newermt x: seconds"),
        ("-newerxt 0", ErrorKind::Usage, "-newerxt"),
        ("-nam x", ErrorKind::Usage, "unknown test or action -nam"),
        ("x", ErrorKind::Usage, "x is no test"),
        ("-exec rm", ErrorKind::Unsupported, "-exec"),
        ("-delete", ErrorKind::Unsupported, "changes nothing"),
        ("-printf %p", ErrorKind::Unsupported, "-printf"),
    ] {
        let error = parsed(&tree, text).unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(words), "{text}: {error:?}");
    }
    let nested = "! ".repeat(99) + "-true";
    assert!(parsed(&tree, &nested).is_ok());
    let error = parsed(&tree, &"( ".repeat(10_000)).unwrap_err();
    assert!(error.message().contains("nested deeper"), "{error}");
}

#[test]
fn an_error_of_the_sink_ends_it() {
    let tree = tree();
    let expression = parsed(&tree, "").unwrap();
    let failed =
        find(&tree, &path("/d"), &expression, &mut |_, _| Err(crate::Error::new(ErrorKind::Io, "nobody listens")));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Io);
    let quit = parsed(&tree, "-quit").unwrap();
    assert!(!find(&tree, &path("/d"), &quit, &mut |_, _| Ok(())).unwrap());
}
