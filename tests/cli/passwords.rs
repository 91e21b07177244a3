//! Where passwords come from, and that they go nowhere but into the hash.

use crate::common::{PASSWORD, Ran, Request, is_hash_of, nomount, ran, run, shadow_fields};
use crate::{Guest, json};
use nomount_kit::require;
use std::io::Write;
use std::process::{Command, Stdio};

fn hash(guest: &Guest) -> String {
    let shadow = run(["cat", &format!("{}:/etc/shadow", guest.arg())]);
    assert_eq!(shadow.code, Some(0), "{shadow:?}");
    shadow_fields(&shadow.stdout, "root")[1].to_owned()
}

fn check(guest: &Guest, ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD), "{ran:?}");
    assert!(is_hash_of(&hash(guest), PASSWORD), "{ran:?}");
}

#[test]
fn every_selector_sets_the_password_and_shows_it_nowhere() {
    if !require(&["perl"]) {
        return;
    }
    let request = Request::new();
    let file = format!("file:{}", request.path("pw").display());
    let direct = format!("password:{PASSWORD}");
    for json_option in [&["--json"][..], &[]] {
        let start = |guest: &Guest, selector: &str| {
            let mut command = nomount();
            command.args(["inject", &guest.arg(), "--admin-password", selector]).args(json_option);
            command
        };
        let guest = Guest::new();
        check(&guest, &ran(&mut start(&guest, &file)));
        let guest = Guest::new();
        check(&guest, &ran(start(&guest, "env:NOMOUNT_TEST_PW").env("NOMOUNT_TEST_PW", PASSWORD)));

        let guest = Guest::new();
        let mut shell = Command::new("sh");
        shell.args(["-c", "pw=$1; shift; exec \"$@\" 3<\"$pw\"", "sh"]).arg(request.path("pw"));
        let with_fd = start(&guest, "fd:3");
        check(&guest, &ran(shell.arg(with_fd.get_program()).args(with_fd.get_args())));

        let guest = Guest::new();
        let mut command = start(&guest, "-");
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
        let done = child.wait_with_output().unwrap();
        let said = |bytes| String::from_utf8(bytes).unwrap();
        check(&guest, &Ran { code: done.status.code(), stdout: said(done.stdout), stderr: said(done.stderr) });

        let guest = Guest::new();
        let direct = ran(&mut start(&guest, &direct));
        assert!(direct.stderr.contains("seen by everyone"), "{direct:?}");
        check(&guest, &direct);
    }
}

#[test]
fn a_random_password_is_shown_once_and_never_in_json() {
    if !require(&["perl"]) {
        return;
    }
    let guest = Guest::new();
    let before = hash(&guest);
    let shown = run(["inject", &guest.arg(), "--admin-password", "random", "--json"]);
    assert_eq!((shown.code, &json(&shown)["error"]["kind"]), (Some(2), &"usage".into()), "{shown:?}");
    let dry = run(["inject", &guest.arg(), "--admin-password", "random", "-n"]);
    assert!(dry.code == Some(0) && !dry.stdout.contains("password of"), "{dry:?}");
    assert_eq!(hash(&guest), before);
    let done = run(["inject", &guest.arg(), "--admin-password", "random"]);
    let marker = "the new password of root is ";
    let line = done.stdout.lines().find_map(|line| line.trim().strip_prefix(marker)).unwrap();
    assert!(is_hash_of(&hash(&guest), line), "{done:?}");
}

#[test]
fn a_selector_that_may_be_the_password_itself_is_not_repeated() {
    let guest = Guest::new();
    for bad in ["hunter2", "file:/nonexistent/pw", "env:NOMOUNT_TEST_NOT_SET", "fd:x", "fd:77", "password:"] {
        for json_option in [&["--json"][..], &[]] {
            let ran = run([&["inject", &guest.arg(), "--admin-password", bad], json_option].concat());
            assert!(matches!(ran.code, Some(1 | 2)), "{bad}: {ran:?}");
            assert!(!ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"), "{ran:?}");
        }
    }
}

#[test]
fn a_user_that_is_not_there_is_told_without_the_password() {
    let (guest, request) = (Guest::new(), Request::new());
    let file = format!("file:{}", request.path("pw").display());
    let args = ["inject", &guest.arg(), "--admin-password", &file, "--user", "ghost", "--mandatory", "admin_password"];
    let ran = run(args);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("user ghost not found") && !ran.stderr.contains(PASSWORD), "{ran:?}");
}
