//! Which tasks are chosen, and what each takes away.

use super::*;
use crate::ops::glob::PathGlob;
use crate::tree::memtree::MemTree;

fn names(list: &str) -> Result<Vec<&'static str>, ErrorKind> {
    choose(list).map(|tasks| tasks.iter().map(|task| task.name).collect()).map_err(|error| error.kind())
}

fn run_only(tree: &mut MemTree, list: &str, accounts: &Accounts) -> Result<Vec<Done>> {
    sysprep(&mut Editor::new(tree), &choose(list)?, accounts)
}

#[test]
fn lists_are_read_from_left_to_right() {
    assert_eq!(names("bash-history, machine-id"), Ok(vec!["bash-history", "machine-id"]));
    assert_eq!(names("machine-id,utmp,-utmp"), Ok(vec!["machine-id"]));
    let defaults = names("defaults").unwrap();
    assert!(defaults.contains(&"ssh-hostkeys") && !defaults.contains(&"user-account"));
    assert_eq!(defaults.len(), TASKS.iter().filter(|task| task.default).count());
    assert!(!names("defaults,-ssh-hostkeys").unwrap().contains(&"ssh-hostkeys"));
    let all = names("all").unwrap();
    assert!(all.contains(&"user-account") && !all.contains(&"fs-uuids"));
    assert_eq!(names("lvm-uuids"), Err(ErrorKind::Unsupported));
    assert_eq!(names("all,-lvm-uuids"), Ok(all));
    for bad in ["", "-utmp", "nonsense", "defaults,-defaults"] {
        assert_eq!(names(bad), Err(ErrorKind::Usage), "{bad}");
    }
}

#[test]
fn the_table_is_sound() {
    let mut seen = std::collections::BTreeSet::new();
    for task in TASKS {
        assert!(seen.insert(task.name), "{} twice", task.name);
        assert!(!(task.default && task.reason_against().is_some()), "{}", task.name);
        if let Work::Remove(patterns) = task.work {
            for pattern in patterns {
                assert!(pattern.starts_with('/') && PathGlob::parse(pattern).is_ok(), "{pattern}");
            }
        }
    }
    // Those of virt-sysprep.
    assert_eq!(TASKS.len(), 45);
}

#[test]
fn what_is_the_guests_own_goes() {
    let mut tree = MemTree::new();
    tree.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\ndb:x:70:70::/var/lib/db:/bin/sh\nbad:x:9:9::../x:\n");
    tree.file("/root/.bash_history", "").file("/var/lib/db/.bash_history", "").file("/srv/.bash_history", "");
    tree.file("/root/.ssh/authorized_keys", "");
    tree.file("/etc/machine-id", "0123\n").link("/var/lib/dbus/machine-id", "/etc/machine-id");
    tree.file("/etc/ssh/ssh_host_rsa_key", "").file("/etc/ssh/sshd_config", "");
    tree.file("/etc/a.conf~", "").file("/etc/x/b.bak", "").file("/etc/bak", "");
    tree.file("/tmp/.hidden/f", "").file("/tmp/f", "").dir("/var/tmp");
    tree.file("/var/spool/cron/crontabs/root", "").file("/var/spool/at/.SEQ", "");
    tree.file("/var/log/nginx/access.log", "").file("/var/log/syslog.1", "").file("/var/log/README", "");
    tree.file("/etc/sysconfig/network-scripts/ifcfg-eth0", "DEVICE=eth0\nHWADDR=aa:bb\n#HWADDR=x\nDHCP_HOSTNAME=h\n");
    run_only(&mut tree, "defaults", &Accounts::default()).unwrap();
    for gone in [
        "/root/.bash_history",
        "/var/lib/db/.bash_history",
        "/root/.ssh",
        "/etc/ssh/ssh_host_rsa_key",
        "/etc/a.conf~",
        "/etc/x/b.bak",
        "/tmp/.hidden",
        "/tmp/f",
        "/var/spool/cron/crontabs/root",
        "/var/log/nginx/access.log",
        "/var/log/syslog.1",
    ] {
        assert!(!tree.has(gone), "{gone}");
    }
    for there in [
        "/srv/.bash_history",
        "/etc/ssh/sshd_config",
        "/etc/bak",
        "/tmp",
        "/var/spool/cron/crontabs",
        "/var/spool/at/.SEQ",
        "/var/log/nginx",
        "/var/log/README",
    ] {
        assert!(tree.has(there), "{there}");
    }
    assert_eq!(tree.text("/etc/machine-id"), "");
    assert_eq!(tree.text("/etc/sysconfig/network-scripts/ifcfg-eth0"), "DEVICE=eth0\n#HWADDR=x\n");
    let again = run_only(&mut tree, "defaults", &Accounts::default()).unwrap();
    assert_eq!(again.iter().map(|done| done.changes).sum::<usize>(), 0);
    run_only(&mut tree, "flag-reconfiguration", &Accounts::default()).unwrap();
    assert_eq!(tree.text("/.unconfigured"), "");
}

fn with_people() -> MemTree {
    let mut tree = MemTree::new();
    tree.file(
        "/etc/passwd",
        "root:x:0:0::/root:\na:x:1000:1000::/home/a:\nb:x:1001:1001::/home/b:\nsys:x:200:1001::/home/b/s:\n",
    );
    tree.file("/etc/shadow", "root:*:1:\na:*:1:\nb:*:1:\n").file("/etc/login.defs", "UID_MIN 1000\nUID_MAX\t60000\n");
    tree.file("/etc/group", "root:x:0:a\na:x:1000:\nb:x:1001:\n").file("/etc/gshadow", "root:*:a:a,b\na:!::\nb:!::\n");
    tree.file("/home/a/f", "").owner("/home/a", 1000, 1000).file("/home/b/s/f", "").owner("/home/b", 1001, 1001);
    tree.file("/var/mail/a", "").file("/var/mail/b", "");
    tree
}

#[test]
fn accounts_go_with_what_is_theirs_alone() {
    let mut tree = with_people();
    let done = run_only(&mut tree, "user-account", &Accounts::default()).unwrap();
    assert_eq!(tree.text("/etc/passwd"), "root:x:0:0::/root:\nsys:x:200:1001::/home/b/s:\n");
    assert_eq!(tree.text("/etc/shadow"), "root:*:1:\n");
    assert_eq!(
        (tree.text("/etc/group"), tree.text("/etc/gshadow")),
        ("root:x:0:\nb:x:1001:\n".into(), "root:*::\nb:!::\n".into())
    );
    assert!(!tree.has("/home/a") && tree.has("/home/b/s/f") && !tree.has("/var/mail/a") && !tree.has("/var/mail/b"));
    assert_eq!(done[0].warnings, ["the home of b stays: others have theirs there, too: /home/b"]);
}

#[test]
fn accounts_can_be_named() {
    let accounts = |remove: &[&str], keep: &[&str]| Accounts {
        remove: remove.iter().map(|name| (*name).to_owned()).collect(),
        keep: keep.iter().map(|name| (*name).to_owned()).collect(),
    };
    let mut tree = with_people();
    run_only(&mut tree, "user-account", &accounts(&[], &["a", "b"])).unwrap();
    assert_eq!(tree.text("/etc/passwd"), with_people().text("/etc/passwd"));
    run_only(&mut tree, "user-account", &accounts(&["sys", "a"], &["a"])).unwrap();
    assert_eq!(tree.text("/etc/passwd"), "root:x:0:0::/root:\na:x:1000:1000::/home/a:\nb:x:1001:1001::/home/b:\n");
    for (name, kind) in [("nobody", ErrorKind::NotFound), ("root", ErrorKind::Refused)] {
        let error = run_only(&mut tree, "user-account", &accounts(&[name], &[])).unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}
