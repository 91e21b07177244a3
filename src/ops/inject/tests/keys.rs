//! K1, K2 and V5: the key in authorized_keys.

use super::*;

const FILE: &str = "/root/.ssh/authorized_keys";

#[test]
fn k1_nova_makes_the_directory_and_always_sets_owner_and_mode() {
    let mut tree = debian();
    done(&mut tree, &nova(key()));
    assert_eq!((tree.mode("/root/.ssh"), tree.owner_of("/root/.ssh")), (0o700, (0, 0)));
    assert_eq!(tree.mode("/root"), 0o700);
    tree.chmod("/root/.ssh", 0o755).owner("/root/.ssh", 5, 6);
    done(&mut tree, &nova(key()));
    assert_eq!((tree.mode("/root/.ssh"), tree.owner_of("/root/.ssh")), (0o700, (0, 0)));
}

#[test]
fn k1_nova_makes_a_missing_home_of_root_as_mkdir_does() {
    let mut tree = debian();
    tree.file("/etc/passwd", "root:x:0:0::/elsewhere:/bin/sh\n");
    let mut without = MemTree::new();
    without.file("/etc/passwd", tree.bytes("/etc/passwd")).file("/etc/group", "root:x:0:\n");
    done(&mut without, &nova(key()));
    assert_eq!(without.mode("/root"), 0o755);
    assert!(without.has(FILE) && !without.has("/elsewhere"));
}

#[test]
fn k2_nova_appends_these_bytes_each_time() {
    let mut tree = debian();
    let request = InjectRequest { key: Some(b"  mysshkey\t\n\n".to_vec()), ..nova(key()) };
    let entry = "\n# The following ssh key was injected by Nova\nmysshkey\n";
    tree.file(FILE, "old").chmod(FILE, 0o644).owner(FILE, 7, 8);
    done(&mut tree, &request);
    assert_eq!(tree.text(FILE), format!("old{entry}"));
    assert_eq!((tree.mode(FILE), tree.owner_of(FILE)), (0o600, (7, 8)));
    done(&mut tree, &request);
    assert_eq!(tree.text(FILE), format!("old{entry}{entry}"));
    let mut tree = debian();
    done(&mut tree, &request);
    assert_eq!((tree.text(FILE).as_str(), tree.mode(FILE)), (entry, 0o600));
}

#[test]
fn k2_the_same_key_is_not_added_again() {
    let mut tree = debian();
    done(&mut tree, &key());
    let line = format!("ssh-ed25519 {BLOB} me@host\n");
    assert_eq!(tree.text(FILE), line);
    assert_eq!((tree.mode(FILE), tree.owner_of(FILE)), (0o600, (0, 0)));
    assert_eq!((tree.mode("/root/.ssh"), tree.owner_of("/root/.ssh")), (0o700, (0, 0)));
    // Another comment is the same key.
    let other = InjectRequest { key: Some(format!("ssh-ed25519 {BLOB} you@there").into_bytes()), ..key() };
    assert_eq!(done(&mut tree, &other).changes, []);
    // With options that the cloud images put there it is no second copy, either, but not what one would expect.
    let locked = format!("no-pty,command=\"echo 'Please login as \\\"debian\\\"'\" {line}");
    tree.file(FILE, &locked);
    let report = done(&mut tree, &key());
    assert_eq!(tree.text(FILE), locked);
    assert!(report.warnings[0].starts_with("the key is there already with other options"), "{:?}", report.warnings);
    // In a comment it is no key.
    tree.file(FILE, format!("#{line}"));
    done(&mut tree, &key());
    assert_eq!(tree.text(FILE), format!("#{line}{line}"));
}

#[test]
fn k2_several_keys_begin_on_lines_of_their_own() {
    let mut tree = debian();
    tree.file(FILE, "ssh-rsa old");
    let text = format!("ssh-ed25519 {BLOB} one\r\nssh-ed25519 {BLOB} two\n\n# three\nodd\nodd\n");
    let report = done(&mut tree, &InjectRequest { key: Some(text.into_bytes()), ..key() });
    assert_eq!(tree.text(FILE), format!("ssh-rsa old\nssh-ed25519 {BLOB} one\nodd\n"));
    assert!(report.warnings[0].starts_with("key 3 does not look like an ssh public key"), "{:?}", report.warnings);
}

#[test]
fn k2_what_is_no_public_key_is_refused() {
    for text in ["", " \n", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret", "ssh-rsa a\0b"] {
        let mut tree = debian();
        let before = tree.listing();
        let reason = failed(&mut tree, &InjectRequest { key: Some(text.into()), ..key() }, Item::Key);
        assert!(reason.starts_with("ssh key not accepted: ") && !reason.contains("secret"), "{reason}");
        assert_eq!(tree.listing(), before);
    }
}

#[test]
fn k1_the_home_is_that_of_the_guests_passwd() {
    let mut tree = debian();
    let request = InjectRequest { user: b"web".to_vec(), ..key() };
    done(&mut tree, &request);
    assert_eq!((tree.mode("/srv/web/.ssh"), tree.owner_of("/srv/web/.ssh")), (0o700, (1000, 1001)));
    let file = "/srv/web/.ssh/authorized_keys";
    assert_eq!((tree.mode(file), tree.owner_of(file)), (0o600, (1000, 1001)));
    assert!(!tree.has("/root/.ssh"));
}

#[test]
fn k1_existing_attributes_are_those_that_sshd_accepts_afterwards() {
    let mut tree = debian();
    tree.file(FILE, "").chmod(FILE, 0o666).owner(FILE, 9, 9).chmod("/root/.ssh", 0o777);
    done(&mut tree, &key());
    assert_eq!((tree.mode(FILE), tree.owner_of(FILE), tree.mode("/root/.ssh")), (0o600, (0, 0), 0o700));
}

#[test]
fn k1_a_missing_home_is_made_for_its_user() {
    let mut tree = debian();
    tree.file("/etc/passwd", "new:x:1005:1006::/home/people/new:/bin/sh\n");
    let report = done(&mut tree, &InjectRequest { user: b"new".to_vec(), ..key() });
    assert_eq!((tree.mode("/home/people"), tree.owner_of("/home/people")), (0o755, (0, 0)));
    assert_eq!((tree.mode("/home/people/new"), tree.owner_of("/home/people/new")), (0o700, (1005, 1006)));
    assert!(report.warnings[0].contains("/home/people/new"), "{:?}", report.warnings);
}

#[test]
fn v5_no_such_user_and_no_home() {
    let mut tree = debian();
    let user = |name: &str| InjectRequest { user: name.into(), ..key() };
    assert_eq!(failed(&mut tree, &user("alice"), Item::Key), "/etc/passwd: user alice not found in password file");
    assert!(failed(&mut tree, &user("nobody"), Item::Key).contains("no home directory: \"/nonexistent\""));
    tree.file("/etc/passwd", "a:x:1:1::relative:\nb:x:1:1::/../..:\nc:x:1:1:::\n");
    for name in ["a", "b", "c"] {
        assert!(failed(&mut tree, &user(name), Item::Key).contains("home directory"), "{name}");
    }
}

#[test]
fn v5_a_guest_without_passwd() {
    // As CirrOS before its first boot. Nova fails by name; root is 0:0 everywhere, so that we need not.
    let mut tree = MemTree::new();
    let reason = failed(&mut tree, &nova(key()), Item::Key);
    assert_eq!(reason, "user root cannot be looked up: the guest has no /etc/passwd");
    assert!(!tree.has("/root"));
    let report = done(&mut tree, &key());
    assert!(tree.has(FILE));
    assert!(report.warnings.iter().any(|text| text.contains("/etc/passwd")), "{:?}", report.warnings);
}

#[test]
fn v5_nova_takes_the_numbers_of_root_from_the_guest() {
    let mut tree = debian();
    tree.file("/etc/passwd", "root:x:10:20::/:\n").file("/etc/group", "root:x:30:\n");
    done(&mut tree, &nova(key()));
    assert_eq!(tree.owner_of("/root/.ssh"), (10, 30));
}

#[test]
fn z2_links_of_root_are_followed_inside_the_guest() {
    let mut tree = debian();
    tree.dir("/data/keys").link("/root/.ssh", "../../../../data/keys").link("/data/keys/authorized_keys", "/data/all");
    done(&mut tree, &key());
    assert!(tree.text("/data/all").contains(BLOB));
    assert_eq!(tree.mode("/data/keys"), 0o700);
}

#[test]
fn z2_a_user_of_the_guest_cannot_aim_the_key_at_files_of_others() {
    let request = InjectRequest { user: b"web".to_vec(), ..key() };
    let mut traps: Vec<MemTree> = (0..5).map(|_| debian()).collect();
    traps[0].link("/srv/web/.ssh", "/etc");
    traps[1].dir("/srv/web/.ssh").link("/srv/web/.ssh/authorized_keys", "/etc/shadow");
    traps[2].dir("/srv/web/.ssh").hard_link("/etc/shadow", "/srv/web/.ssh/authorized_keys");
    traps[3].link("/srv/web/.ssh", ".");
    traps[4].dir("/srv/web/.ssh").link("/srv/web/.ssh/authorized_keys", "/etc/cron.d/new").dir("/etc/cron.d");
    for mut tree in traps {
        let before = tree.listing();
        failed(&mut tree, &request, Item::Key);
        assert_eq!(tree.listing(), before);
    }
    // A link that stays in the home is the user's own business, and so is the home being one.
    let mut tree = debian();
    tree.file("/srv/web/keys/a", "").owner("/srv/web/keys/a", 1000, 1001).link("/srv/web/.ssh", "keys");
    tree.file("/etc/passwd", "web:x:1000:1001::/home/web:\n").link("/home/web", "/srv/web");
    done(&mut tree, &request);
    assert!(tree.text("/srv/web/keys/authorized_keys").contains(BLOB));
}

#[test]
fn v5_a_guest_that_is_filled_at_its_first_boot_is_pointed_out() {
    let mut tree = MemTree::new();
    tree.file("/boot/vmlinuz-5.3", "").file("/boot/initrd.img-5.3", "");
    let report = done(&mut tree, &key());
    assert!(tree.has(FILE));
    assert!(report.warnings[0].contains("at the first boot"), "{:?}", report.warnings);
}

#[test]
fn nova_compat_is_for_root_only() {
    let request = InjectRequest { user: b"web".to_vec(), ..nova(key()) };
    assert_eq!(inject(&mut debian(), &request).unwrap_err().kind(), ErrorKind::Usage);
}
