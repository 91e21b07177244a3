//! The order of operations, and those that are a line each.

use super::*;
use crate::account::Secret;
use crate::ops::copy::Stream;
use crate::ops::edit::{ModeChange, edit, sed};
use crate::ops::populate::TarStream;
use crate::tree::FileTree;
use crate::tree::memtree::MemTree;

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

fn guest() -> MemTree {
    let mut tree = MemTree::new();
    tree.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n");
    tree.file("/etc/shadow", "root:*:1::::::\nme:*:1::::::\n")
        .dir("/root")
        .dir("/home/me")
        .owner("/home/me", 1000, 1000);
    tree.file("/var/log/a.log", "text").file("/var/log/sub/b.log", "text").link("/var/log/l", "/etc/passwd");
    tree
}

fn run(tree: &mut MemTree, operations: Vec<Operation>) -> Result<Vec<Done>> {
    let settings = Settings { now: Time { sec: 5, nsec: 0 }, password_method: Some(Method::Md5) };
    apply(&mut Editor::new(tree), operations, &settings)
}

fn password(user: &str) -> Operation {
    let password = NewPassword::Set { secret: Secret::new("secret"), salt: [0; 16], locked: false };
    Operation::Password { user: user.into(), password }
}

#[test]
fn in_the_order_given_but_passwords_last() {
    let mut tree = guest();
    let write = |text: &str| Operation::Write { path: path("/f"), contents: text.into() };
    let done = run(
        &mut tree,
        vec![write("1"), password("root"), Operation::Delete(b"/f".to_vec()), write("2"), Operation::Touch(path("/f"))],
    )
    .unwrap();
    let names: Vec<(&str, usize)> = done.iter().map(|done| (done.operation, done.changes)).collect();
    assert_eq!(names, [("write", 1), ("delete", 1), ("write", 1), ("touch", 1), ("password", 1)]);
    assert_eq!(tree.text("/f"), "2");
    assert_eq!(tree.stat(&path("/f")).unwrap().mtime, Time { sec: 5, nsec: 0 });
    assert!(tree.text("/etc/shadow").starts_with("root:$1$"));
}

#[test]
fn the_same_user_twice_is_an_error_and_a_failure_says_of_what() {
    let mut tree = guest();
    let before = tree.listing();
    let twice = vec![Operation::Mkdir(path("/new")), password("me"), password("me")];
    assert_eq!(run(&mut tree, twice).unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(tree.listing(), before);
    let failing = vec![Operation::Mkdir(path("/new")), Operation::Truncate(path("/no"))];
    let error = edit(&mut tree, |editor| apply(editor, failing, &Settings::default()).map(drop)).unwrap_err();
    assert_eq!(error.to_string(), "/no: truncate: no such file or directory");
    assert_eq!(tree.listing(), before);
}

#[test]
fn one_line_operations() {
    let mut tree = guest();
    let done = run(
        &mut tree,
        vec![
            Operation::Chmod { mode: ModeChange::parse("0600").unwrap(), path: path("/var/log/a.log") },
            Operation::Chown { owner: crate::ops::Owner::parse("me:7").unwrap(), path: path("/var/log/a.log") },
            Operation::Link { target: b"../x".to_vec(), links: vec![path("/l1"), path("/var/log/l")] },
            Operation::Mkdir(path("/a/b")),
            Operation::Mkdir(path("/a/b")),
            Operation::Move { source: path("/l1"), destination: path("/a") },
            Operation::TruncateRecursive(path("/var/log")),
            Operation::Delete(b"/nothing/*".to_vec()),
        ],
    )
    .unwrap();
    assert_eq!((tree.mode("/var/log/a.log"), tree.owner_of("/var/log/a.log")), (0o600, (1000, 7)));
    assert_eq!(tree.read_link(&path("/a/l1")).unwrap(), b"../x");
    assert_eq!(tree.read_link(&path("/var/log/l")).unwrap(), b"../x");
    assert_eq!((tree.text("/var/log/a.log"), tree.text("/var/log/sub/b.log")), (String::new(), String::new()));
    let changes: Vec<usize> = done.iter().map(|done| done.changes).collect();
    assert_eq!(changes, [1, 1, 3, 2, 0, 1, 2, 0]);
    assert_eq!(done.last().unwrap().warnings, ["nothing to delete: no /nothing/*"]);
}

#[test]
fn a_file_of_one_name_is_scrubbed_through_links() {
    let mut tree = guest();
    tree.file("/etc/key", "secret").hard_link("/etc/key", "/etc/key2").link("/l", "/etc/key");
    let scrub = |name: &str| Operation::Scrub(path(name));
    let kind = |tree: &mut MemTree, name: &str| run(tree, vec![scrub(name)]).unwrap_err().kind();
    assert_eq!(kind(&mut tree, "/l"), ErrorKind::Refused);
    assert_eq!(kind(&mut tree, "/etc"), ErrorKind::IsADirectory);
    assert_eq!(kind(&mut tree, "/no"), ErrorKind::NotFound);
    assert_eq!(tree.text("/etc/key"), "secret");
    let done = run(&mut tree, vec![Operation::Delete(b"/etc/key2".to_vec()), scrub("/l")]).unwrap();
    assert_eq!((done[1].operation, done[1].subject.as_str(), done[1].changes), ("scrub", "/l", 2));
    assert!(!tree.has("/etc/key") && tree.has("/l"));
}

#[test]
fn uploads_are_roots_and_what_is_there_keeps_its_own() {
    let mut tree = guest();
    tree.file("/d/there", "old").chmod("/d/there", 0o640).owner("/d/there", 5, 6);
    let upload = |name: &str, executable, destination: &str| Operation::Upload {
        name: name.into(),
        contents: Box::new(Stream::new(&b"new"[..])),
        executable,
        destination: path(destination),
    };
    run(&mut tree, vec![upload("there", true, "/d"), upload("run", true, "/d"), upload("x", false, "/d/y")]).unwrap();
    let facts = ["/d/there", "/d/run", "/d/y"].map(|name| (tree.text(name), tree.mode(name), tree.owner_of(name)));
    let fact = |mode, owner| ("new".to_owned(), mode, owner);
    assert_eq!(facts, [fact(0o640, (5, 6)), fact(0o755, (0, 0)), fact(0o644, (0, 0))]);
}

#[test]
fn texts_are_edited_in_place() {
    let mut tree = guest();
    tree.file("/f", "PermitRootLogin no\nx\n").chmod("/f", 0o600);
    let edit = |file: &str, text: &str| Operation::Edit { path: path(file), script: sed::parse_perl(text).unwrap() };
    let done = run(&mut tree, vec![edit("/f", r"s/^(\w+Login).*/$1 yes/"), edit("/f", "s/nothing/x/")]).unwrap();
    assert_eq!((tree.text("/f").as_str(), tree.mode("/f")), ("PermitRootLogin yes\nx\n", 0o600));
    assert_eq!((done[0].changes, done[1].changes), (1, 0));
    assert_eq!(run(&mut tree, vec![edit("/no", "s/a/b/")]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn keys_go_to_any_user() {
    let mut tree = guest();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me";
    run(&mut tree, vec![Operation::SshInject { user: b"me".to_vec(), keys: key.into() }]).unwrap();
    assert_eq!(tree.text("/home/me/.ssh/authorized_keys"), format!("{key}\n"));
    assert_eq!((tree.mode("/home/me/.ssh"), tree.owner_of("/home/me/.ssh/authorized_keys")), (0o700, (1000, 1000)));
}

#[test]
fn copies_inside_the_guest_keep_all() {
    let mut tree = guest();
    tree.chmod("/var/log/sub/b.log", 0o640).owner("/var/log/sub/b.log", 7, 8).dir("/backup");
    let copy =
        |source: &str, destination: &str| Operation::Copy { source: path(source), destination: destination.into() };
    run(&mut tree, vec![copy("/var/log", "/backup"), copy("/var/log/sub/b.log", "/b"), copy("/var/log/l", "/l")])
        .unwrap();
    assert_eq!((tree.mode("/backup/log/sub/b.log"), tree.owner_of("/b")), (0o640, (7, 8)));
    assert_eq!(tree.read_link(&path("/l")).unwrap(), b"/etc/passwd");
    for (source, destination, kind) in [
        ("/var", "/var/log/x", ErrorKind::Invalid),
        ("/no", "/x", ErrorKind::NotFound),
        ("/b", "/no/", ErrorKind::NotFound),
    ] {
        assert_eq!(run(&mut tree, vec![copy(source, destination)]).unwrap_err().kind(), kind, "{source}");
    }
}

#[test]
fn a_tar_stream_says_who_owns_what_and_its_directory_must_exist() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(4);
    header.set_mode(0o640);
    header.set_uid(5);
    header.set_gid(6);
    builder.append_data(&mut header, "d/f", &b"text"[..]).unwrap();
    let stream = builder.into_inner().unwrap();
    let mut tree = guest();
    let mut tar_in = |directory: &str| {
        let source = Box::new(TarStream::new(std::io::Cursor::new(stream.clone())));
        run(&mut tree, vec![Operation::TarIn { source, directory: path(directory) }]).map_err(|error| error.kind())
    };
    assert_eq!(tar_in("/no").unwrap_err(), ErrorKind::NotFound);
    assert_eq!(tar_in("/root").unwrap()[0].changes, 2);
    assert_eq!(
        (tree.text("/root/d/f"), tree.mode("/root/d/f"), tree.owner_of("/root/d/f")),
        ("text".into(), 0o640, (5, 6))
    );
}
