use super::*;
use crate::account::{Secret, crypt};
use crate::tree::memtree::MemTree;

fn guest() -> MemTree {
    let mut tree = MemTree::new();
    tree.file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nold:x:1000:1000::/home/old:/bin/sh\n");
    tree.file("/etc/shadow", "root:*:1::::::\nold:!:1::::::\n").dir("/root").dir("/home/old");
    tree.owner("/home/old", 1000, 1000);
    tree.file("/etc/group", "root:x:0:\nsudo:x:27:\nold:x:1000:\nusers:x:100:\n")
        .file("/etc/hosts", "127.0.0.1 localhost");
    tree.file("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n").file("/etc/hostname", "host\n");
    tree.file("/usr/share/zoneinfo/Europe/Berlin", "TZif").file("/etc/nologin", "").file("/opt/old/x", "");
    tree.file("/usr/lib/systemd/system/ssh.service", "[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n");
    tree.file("/usr/lib/systemd/system/apt.timer", "[Install]\nWantedBy=timers.target\n")
        .file("/usr/lib/systemd/systemd", "");
    tree.link("/srv/current", "elsewhere");
    tree
}

const RECIPE: &str = r##"
hostname = "web1"
timezone = "Europe/Berlin"
absent = ["/etc/nologin", "/opt/old", "/never"]
[groups.web]
gid = 900
[groups.sudo]
[users.alice]
groups = ["sudo", "web"]
shell = "/bin/zsh"
create-home = true
password = "file:pw"
ssh-keys = ["file:k.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr0cFQFZ0SgXxkPwEmHnK5hhl4nsWzJvZ7p7dU2m3qT me"]
[users.old]
comment = "Old"
groups = ["web"]
password-hash = "$6$salt$hash"
[users.root]
password = "file:pw"
[directories."/srv/www"]
mode = "2775"
owner = "root:web"
[files."/etc/motd"]
content = "welcome\n"
mode = "u=rw,go="
owner = "alice"
[files."/etc/app/app.conf"]
source = "app.conf"
[files."/etc/hosts"]
lines = ["192.0.2.1 db", "192.0.2.1 db"]
[links]
"/srv/current" = "www"
"/srv/a/b" = "c"
[services]
enable = ["ssh"]
mask = ["apt.timer"]
[[firstboot]]
name = "register"
script = "#!/bin/sh\n:\n"
"##;

fn inputs() -> Inputs {
    let key = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7 two\n";
    let password = || Password { secret: Secret::new(*b"s3cret"), salt: [1; 16] };
    Inputs {
        files: BTreeMap::from([("k.pub".into(), key.into()), ("app.conf".into(), b"a=1".to_vec())]),
        passwords: BTreeMap::from([("alice".into(), password()), ("root".into(), password())]),
        now: Time { sec: 20_000 * 86_400, nsec: 0 },
    }
}

fn run(tree: &mut MemTree, recipe: &str) -> Result<Vec<String>> {
    let recipe = Recipe::parse(recipe)?;
    let mut editor = Editor::new(tree);
    apply(&mut editor, &recipe, &inputs())?;
    Ok(editor.changes().iter().map(ToString::to_string).collect())
}

#[test]
fn the_guest_becomes_what_is_said_and_a_second_time_nothing_changes() {
    let mut tree = guest();
    assert!(!run(&mut tree, RECIPE).unwrap().is_empty());
    assert!(
        tree.text("/etc/passwd")
            .ends_with("old:x:1000:1000:Old:/home/old:/bin/sh\nalice:x:1001:100::/home/alice:/bin/zsh\n")
    );
    assert!(
        tree.text("/etc/group").contains("sudo:x:27:alice\n")
            && tree.text("/etc/group").contains("web:!:900:alice,old\n")
    );
    assert_eq!(tree.text("/home/alice/.ssh/authorized_keys").lines().count(), 2);
    let field = |tree: &MemTree, user: &str| {
        let shadow = tree.text("/etc/shadow");
        let line = shadow.lines().find(|line| line.starts_with(&format!("{user}:"))).unwrap().to_owned();
        line.split(':').nth(1).unwrap().to_owned()
    };
    for user in ["alice", "root"] {
        assert!(crypt::verify(&Secret::new(field(&tree, user)), b"s3cret").unwrap());
    }
    assert_eq!(field(&tree, "old"), "$6$salt$hash");
    assert_eq!((tree.mode("/srv/www"), tree.owner_of("/srv/www")), (0o2775, (0, 900)));
    assert_eq!((tree.mode("/etc/motd"), tree.owner_of("/etc/motd")), (0o600, (1001, 0)));
    assert_eq!(tree.text("/etc/app/app.conf"), "a=1");
    assert!(tree.text("/etc/hosts").ends_with("192.0.2.1 db\n"));
    assert!(!tree.has("/etc/nologin") && !tree.has("/opt/old"));
    assert_eq!(tree.text("/etc/hostname"), "web1\n");
    assert!(tree.has("/etc/systemd/system/sshd.service") && tree.has("/usr/lib/nomount/firstboot.d/0001-register"));

    let (listing, writes) = (tree.listing(), tree.writes);
    assert_eq!(run(&mut tree, RECIPE).unwrap(), Vec::<String>::new());
    assert!(tree.writes == writes && tree.listing() == listing);
    // Also when the script has run.
    let path = |text: &str| GuestPath::parse(text).unwrap();
    tree.dir("/usr/lib/nomount/firstboot.done");
    tree.rename(
        &path("/usr/lib/nomount/firstboot.d/0001-register"),
        &path("/usr/lib/nomount/firstboot.done/0001-register"),
    )
    .unwrap();
    assert_eq!(run(&mut tree, RECIPE).unwrap(), Vec::<String>::new());
    // What somebody changed comes back, and nothing else happens.
    tree.chmod("/etc/motd", 0o644);
    assert_eq!(run(&mut tree, RECIPE).unwrap(), ["chmod /etc/motd (0644 -> 0600)"]);
}

#[test]
fn what_would_change_hands_is_refused() {
    for (recipe, kind, place) in [
        ("[users.old]\nuid = 5\n", ErrorKind::Refused, "users.old: its uid is 1000 already"),
        ("[users.old]\ngroup = \"sudo\"\n", ErrorKind::Refused, "users.old: its primary group"),
        ("[groups.sudo]\ngid = 5\n", ErrorKind::Refused, "groups.sudo: its gid is 27"),
        ("[users.old]\ngroups = [\"none\"]\n", ErrorKind::NotFound, "users.old: group none"),
        ("[users.old]\nshell = \"sh\"\n", ErrorKind::Invalid, "no absolute path"),
        ("[services]\nenable = [\"none\"]\n", ErrorKind::NotFound, "services: the guest has no unit"),
        ("[directories.\"/etc/hosts\"]\n", ErrorKind::NotADirectory, "/etc/hosts"),
        ("[links]\n\"/etc\" = \"x\"\n", ErrorKind::IsADirectory, "/etc"),
        ("[files.\"/f\"]\nsource = \"missing\"\n", ErrorKind::NotFound, "missing was not given"),
    ] {
        let error = run(&mut guest(), recipe).unwrap_err();
        assert_eq!(error.kind(), kind, "{recipe}");
        assert!(error.to_string().contains(place), "{error}");
    }
}
