//! A1 and A2: the password in shadow.

use super::*;
use crate::account::crypt::verify;

fn password() -> InjectRequest {
    let salt = *b"0123456789abcdef";
    InjectRequest { admin_password: Some(Secret::new("123456")), salt, ..InjectRequest::default() }
}

/// The second field of a user's first line.
fn field(tree: &MemTree, name: &str) -> String {
    let text = tree.text("/etc/shadow");
    let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    line.split(':').nth(1).unwrap().to_owned()
}

#[test]
fn a1_only_the_second_field_changes() {
    let rest = "root:*:14917:0:99999:7:::\n";
    for request in [password(), nova(password())] {
        let mut tree = debian();
        let users = tree.text("/etc/passwd");
        let before = tree.text("/etc/shadow");
        assert!(before.starts_with(rest));
        done(&mut tree, &request);
        let hash = field(&tree, "root");
        assert!(hash.starts_with('$'));
        assert_eq!(tree.text("/etc/shadow"), before.replace("root:*:", &format!("root:{hash}:")));
        assert_eq!(tree.text("/etc/passwd"), users);
        assert_eq!((tree.mode("/etc/shadow"), tree.owner_of("/etc/shadow")), (0o640, (0, 42)));
    }
}

#[test]
fn a1_every_line_of_the_user_changes_and_odd_lines_stay() {
    let mut tree = debian();
    tree.file("/etc/shadow", "\n# x\nroot:a:1:::::\nroots:b:2\nroot:c:3:::::9");
    done(&mut tree, &password());
    let hash = field(&tree, "root");
    let wanted = format!("\n# x\nroot:{hash}:1:::::\nroots:b:2\nroot:{hash}:3:::::9");
    assert_eq!(tree.text("/etc/shadow"), wanted);
}

#[test]
fn a1_both_files_must_have_the_user() {
    let request = InjectRequest { user: b"web".to_vec(), ..password() };
    let mut tree = debian();
    done(&mut tree, &request);
    assert!(field(&tree, "web").starts_with('$'));
    assert_eq!(field(&tree, "root"), "*");
    for request in [password(), nova(password())] {
        let mut tree = debian();
        tree.file("/etc/passwd", "toor:x:0:0::/root:/bin/sh\n");
        let reason = failed(&mut tree, &request, Item::AdminPassword);
        assert_eq!(reason, "/etc/passwd: user root not found in password file");
        let mut tree = debian();
        tree.file("/etc/shadow", "toor:*:::::::\n");
        let reason = failed(&mut tree, &request, Item::AdminPassword);
        assert_eq!(reason, "/etc/shadow: user root not found in shadow file");
    }
}

#[test]
fn a1_both_files_must_be_there() {
    for request in [password(), nova(password())] {
        let mut tree = MemTree::new();
        tree.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        let reason = failed(&mut tree, &request, Item::AdminPassword);
        assert!(reason.starts_with("/etc/shadow: "), "{reason}");
        let mut tree = MemTree::new();
        tree.file("/etc/shadow", "root:*:::::::\n");
        let reason = failed(&mut tree, &request, Item::AdminPassword);
        assert!(reason.starts_with("/etc/passwd: "), "{reason}");
    }
}

#[test]
fn a2_nova_writes_md5() {
    // The vector of Nova's tests: password 123456, salt 1234567890abcdef, of which crypt(3) reads eight characters.
    let salt = *b"\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x02abcdef";
    let mut tree = debian();
    done(&mut tree, &InjectRequest { salt, ..nova(password()) });
    let line = "root:$1$12345678$a4ge4d5iJ5vwvbFS88TEN0:14917:0:99999:7:::\n";
    assert!(tree.text("/etc/shadow").starts_with(line), "{}", tree.text("/etc/shadow"));
}

#[test]
fn a2_the_hash_is_one_that_the_guest_verifies() {
    let mut without = debian();
    done(&mut without, &password());
    assert!(field(&without, "root").starts_with("$6$"));
    let mut with = debian();
    with.file("/usr/lib/x86_64-linux-gnu/libcrypt.so.1.1.0", "\x7fELF $y$ $6$");
    done(&mut with, &password());
    assert!(field(&with, "root").starts_with("$y$"));
    for tree in [without, with] {
        let hash = Secret::new(field(&tree, "root"));
        assert!(verify(&hash, b"123456").unwrap());
        assert!(!verify(&hash, b"123457").unwrap());
    }
}

#[test]
fn a2_the_salt_is_the_random_bytes_given() {
    let hash_with = |salt| {
        let mut tree = debian();
        done(&mut tree, &InjectRequest { salt, ..password() });
        field(&tree, "root")
    };
    assert_eq!(hash_with([7; 16]), hash_with([7; 16]));
    assert_ne!(hash_with([7; 16]), hash_with([8; 16]));
}

#[test]
fn a2_a_password_that_crypt_would_cut_is_refused() {
    for password_text in ["a\0b".to_owned(), "x".repeat(512)] {
        let mut tree = debian();
        let before = tree.listing();
        let request = InjectRequest { admin_password: Some(Secret::new(password_text)), ..password() };
        assert!(failed(&mut tree, &request, Item::AdminPassword).starts_with("the password cannot be set: "));
        assert_eq!(tree.listing(), before);
    }
}

#[test]
fn a1_a_user_whose_password_is_not_in_shadow_is_pointed_out() {
    let mut tree = debian();
    tree.file("/etc/passwd", "root:$1$a$b:0:0::/root:/bin/sh\n");
    let report = done(&mut tree, &password());
    assert!(report.warnings[0].contains("does not refer to /etc/shadow"), "{:?}", report.warnings);
}
