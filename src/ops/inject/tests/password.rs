//! A1 and A2: the password in shadow.

use super::*;

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
