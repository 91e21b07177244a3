use super::*;
use crate::tree::memtree::MemTree;

fn guest() -> MemTree {
    let mut tree = MemTree::new();
    tree.file("/etc/passwd", "web:x:33:33::/:/bin/sh\n").file("/etc/group", "adm:x:4:\n").file("/etc/motd", "hello\n");
    tree.file("/d/sub/f", "f").chmod("/d/sub/f", 0o4750).owner("/d/sub/f", 5, 6).link("/d/l", "nowhere");
    tree
}

fn run(tree: &mut MemTree, text: &str) -> Result<Vec<Output>> {
    let files = BTreeMap::from([("local".to_owned(), b"from the host".to_vec())]);
    let script = Script::parse(text.as_bytes())?;
    let mut editor = Editor::new(tree);
    script.run(&mut editor, &files, Time { sec: 7, nsec: 0 })
}

fn printed(output: &[Output]) -> String {
    let bytes = output.iter().flat_map(|output| match output {
        Output::Bytes(bytes) => bytes.clone(),
        Output::Lines(lines) => lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect(),
        _ => Vec::new(),
    });
    String::from_utf8(bytes.collect()).unwrap()
}

#[test]
fn commands_do_what_they_do_in_guestfish() {
    let mut tree = guest();
    let output = run(
        &mut tree,
        r#"
        # a comment
        run
        mount /dev/sda1 /
        mkdir-p /srv/app/data
        write /srv/app/conf "a = 1\n"
        write-append /srv/app/conf 'b = "\n"'
        upload local /srv/app/file
        chmod 0640 /srv/app/conf
        chown 33 adm /srv/app/conf
        ln-s ../app /srv/link
        ln-sf app /srv/link
        ln /srv/app/file /srv/hard
        cp /srv/app/file /srv/copy
        cp-a /d /srv/tree
        mv /etc/motd /srv
        mkfifo 600 /srv/fifo
        mknod-c 600 1 3 /srv/null
        truncate-size /srv/copy 4
        setxattr user.a value 5 /srv/copy
        rm-f /no/such
        rm-rf /d
        -rm /no
        cat /srv/app/conf
        exists /srv/link
        is-dir /srv/link
        is-file /srv/app/file
        is-symlink /srv/link
        readlink /srv/link
        filesize /srv/copy
        ls /srv/app
        echo done  "and done"
        download /srv/motd out
        quit
        rm /etc/passwd
        "#,
    )
    .unwrap();
    let wanted = "a = 1\nb = \"\\n\"true\nfalse\ntrue\ntrue\napp\n4\nconf\ndata\nfile\ndone and done\n";
    assert_eq!(printed(&output), wanted);
    assert!(output.contains(&Output::Save { name: "out".into(), contents: b"hello\n".to_vec() }));
    let failed: Vec<_> = output.iter().filter(|output| matches!(output, Output::Failed(_))).collect();
    assert!(matches!(&failed[..], [Output::Failed(why)] if why.contains("line 23: /no")), "{failed:?}");
    assert_eq!((tree.mode("/srv/app/conf"), tree.owner_of("/srv/app/conf")), (0o640, (33, 4)));
    assert_eq!((tree.mode("/srv/tree/sub/f"), tree.owner_of("/srv/tree/sub/f")), (0o4750, (5, 6)));
    assert_eq!((tree.text("/srv/copy").as_str(), tree.text("/srv/hard").as_str()), ("from", "from the host"));
    assert!(tree.has("/etc/passwd") && !tree.has("/d") && !tree.has("/etc/motd"));
}

#[test]
fn nothing_is_done_when_a_line_is_wrong() {
    for (text, kind, wanted) in [
        ("touch /a\n\nwirte /b x\n", ErrorKind::Usage, "line 3: unknown command \"wirte\""),
        ("touch\n", ErrorKind::Usage, "line 1: touch takes PATH"),
        ("touch \"/a\n", ErrorKind::Usage, "line 1: a \" is not closed"),
        ("touch /a\nsh 'ls'\n", ErrorKind::Unsupported, "line 2: sh is not supported: it runs programs of the guest"),
        ("mount /dev/sda1 /\nmount /dev/sda2 /\n", ErrorKind::Unsupported, "more than one filesystem"),
    ] {
        let mut tree = guest();
        let writes = tree.writes;
        let error = run(&mut tree, text).unwrap_err();
        assert_eq!((error.kind(), tree.writes), (kind, writes), "{text}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let error = run(&mut guest(), "touch /a\nrm /no\n").unwrap_err();
    assert!(error.to_string().contains("line 2: no such file"), "{error}");
}

#[test]
fn what_a_script_needs_is_known_before() {
    let script = Script::parse(b"upload a /x\nupload b /y\nupload a /z\nmount /dev/vda3 /\n").unwrap();
    assert_eq!((script.sources().into_iter().collect::<Vec<_>>(), script.mount()), (vec!["a", "b"], Some(Some(3))));
    let none = Script::parse(b"").unwrap();
    assert_eq!((none.mount(), none.sources().len()), (None, 0));
}

#[test]
fn copies_do_not_go_into_themselves() {
    for (text, kind) in [
        ("cp-a /d /d\n", ErrorKind::Invalid),
        ("cp-a /d /d/sub/x\n", ErrorKind::Invalid),
        ("cp /d /x\n", ErrorKind::IsADirectory),
        ("cp /etc/motd /etc\n", ErrorKind::Exists),
        ("cp /no /x\n", ErrorKind::NotFound),
    ] {
        assert_eq!(run(&mut guest(), text).unwrap_err().kind(), kind, "{text}");
    }
}
