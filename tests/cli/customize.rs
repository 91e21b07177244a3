//! `customize` and `sysprep`: what they change together and nothing else, in which order, and what they refuse.

use crate::common::{KEY, PASSWORD, Ran, is_hash_of, nomount, ran, run, shadow_fields, text};
use crate::edit::{ROOT, changes, done};
use crate::{Guest, json, state};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{fixture, require, scratch};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A file beside the image; its path as text.
fn local(guest: &Guest, name: &str, contents: &str, mode: u32) -> String {
    let path = guest.path(name);
    fs::write(&path, contents).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    text(&path)
}

fn cat(guest: &Guest, path: &str) -> String {
    done(["cat", &format!("{}:{path}", guest.arg())]).stdout
}

/// Runs `customize` on the guest.
fn customize(guest: &Guest, args: &[&str]) -> Ran {
    run([&["customize", &guest.arg()], args].concat())
}

/// What makes the small guest, which has no programs, look like one with systemd.
const SYSTEMD: [&str; 6] = [
    "--mkdir=/usr/lib/systemd",
    "--write=/usr/lib/systemd/systemd:ELF",
    "--mkdir=/usr/sbin",
    "--link=/usr/lib/systemd/systemd:/usr/sbin/init",
    "--mkdir=/usr/share/zoneinfo/Europe",
    "--write=/usr/share/zoneinfo/Europe/Berlin:TZif",
];

#[test]
fn one_command_line_is_one_commit_in_order_with_passwords_last() {
    if !require(&["e2fsck", "debugfs", "qemu-img", "perl"]) {
        return;
    }
    let guest = Guest::new();
    let before = scratch::raw_of(&guest.image, "qcow2");
    let upload = format!("{}:/opt", local(&guest, "tool", "#!/bin/sh\n", 0o700));
    let boot = local(&guest, "setup.sh", "#!/bin/sh\necho set up\n", 0o644);
    let password = format!("debian:file:{}", local(&guest, "pw", PASSWORD, 0o600));
    let commands = local(
        &guest,
        "commands",
        "# more\nwrite /etc/two:a \\\n  b\nappend-line /etc/two:c\nchown debian:www-data:/etc/two\nchmod u=rw,go=:/etc/two\n",
        0o644,
    );
    let key = format!("debian:string:{KEY}");
    let args = [
        &SYSTEMD[..],
        &["--password", &password, "--hostname", "web1", "--timezone", "Europe/Berlin"],
        &["--mkdir", "/opt", "--upload", &upload, "--commands-from-file", &commands, "--firstboot", &boot],
        &["--firstboot-command", "touch /booted", "--ssh-inject", &key, "--move", "/etc/profile:/opt"],
        &["--truncate", "/etc/motd-gone", "--delete", "/etc/motd*", "--json"],
    ]
    .concat();
    // The truncated file is not there: nothing at all happens.
    let untouched = state(&guest.image);
    let failed = customize(&guest, &args);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(json(&failed)["error"]["message"].as_str().unwrap().starts_with("truncate: no such file"), "{failed:?}");
    assert_eq!(state(&guest.image), untouched);

    let args: Vec<&str> =
        args.into_iter().filter(|argument| !matches!(*argument, "--truncate" | "/etc/motd-gone")).collect();
    let document = json(&done([&["customize", &guest.arg()], &args[..]].concat()));
    let operations: Vec<&str> =
        document["operations"].as_array().unwrap().iter().map(|one| one["operation"].as_str().unwrap()).collect();
    assert_eq!(
        operations[6..],
        [
            "hostname",
            "timezone",
            "mkdir",
            "upload",
            "write",
            "append-line",
            "chown",
            "chmod",
            "firstboot",
            "firstboot",
            "ssh-inject",
            "move",
            "delete",
            "password"
        ]
    );
    assert_eq!(document["committed"]["transactions"], 1);
    let all: usize =
        document["operations"].as_array().unwrap().iter().map(|one| one["changes"].as_array().unwrap().len()).sum();
    assert_eq!(document["changes"].as_array().unwrap().len(), all);

    judges::qemu_img_check(&guest.image, Leaks::Refused).unwrap();
    let after = scratch::raw_of(&guest.image, "qcow2");
    judges::e2fsck_fn(&after, ROOT).unwrap();
    let seen = changes(&before, &after, ROOT);
    let files: Vec<&String> = seen.iter().filter(|line| !line.contains(" Dir ") && !line.contains("[Links]")).collect();
    assert_eq!(
        files,
        [
            "~ /etc/hostname [Size, Content] 0644 0:0 5",
            "~ /etc/hosts [Size, Content] 0644 0:0 63",
            "+ /etc/localtime Symlink 0777 0:0 35",
            "- /etc/profile",
            "~ /etc/shadow [Size, Content] 0640 0:42 436",
            "+ /etc/systemd/system/multi-user.target.wants/nomount-firstboot.service Symlink 0777 0:0 28",
            "+ /etc/systemd/system/nomount-firstboot.service File 0644 0:0 314",
            "+ /etc/two File 0600 1000:33 6",
            "+ /home/debian/.ssh/authorized_keys File 0600 1000:1000 89",
            "+ /opt/profile File 0644 0:0 56",
            "+ /opt/tool File 0755 0:0 10",
            "+ /usr/lib/nomount/firstboot.d/0001-setup.sh File 0755 0:0 22",
            "+ /usr/lib/nomount/firstboot.d/0002-command File 0755 0:0 24",
            "+ /usr/lib/nomount/firstboot.sh File 0755 0:0 500",
            "+ /usr/lib/systemd/systemd File 0644 0:0 3",
            "+ /usr/sbin/init Symlink 0777 0:0 24",
            "+ /usr/share/zoneinfo/Europe/Berlin File 0644 0:0 4",
        ]
    );
    assert_eq!(cat(&guest, "/etc/hosts"), "127.0.0.1\tlocalhost\n127.0.1.1\tweb1\n::1\tlocalhost ip6-localhost\n");
    assert_eq!(cat(&guest, "/etc/two"), "a b\nc\n");
    assert_eq!(cat(&guest, "/usr/lib/nomount/firstboot.d/0002-command"), "#!/bin/sh\ntouch /booted\n");
    assert!(is_hash_of(shadow_fields(&cat(&guest, "/etc/shadow"), "debian")[1], PASSWORD));
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is() {
    let guest = Guest::new();
    let before = state(&guest.image);
    let touch = ["--touch", "/new"];
    for (args, code, said) in [
        (&["--install", "vim"][..], 4, "--firstboot-install"),
        (&["--update"], 4, "--firstboot-command"),
        (&["--scrub", "/etc"], 1, "is a directory"),
        (&["--run-command", "id"], 4, "--firstboot-command"),
        (&["--firstboot-command", "id"], 4, "systemd, OpenRC and System V init"),
        (&["--root-password", "disabled", "--password", "root:locked"], 2, "given twice"),
        (&["--root-password", "hunter2"], 2, "selector is unknown"),
        (&["--password", "nobody-here:disabled"], 1, "not found"),
        (&["--timezone", "Europe/Berlin"], 1, "tzdata"),
        (&["--hostname", "a_b"], 2, "no hostname"),
        (&["--chmod", "999:/etc/passwd"], 2, "octal"),
        (&["--ssh-inject", "debian:string:nonsense", "--ssh-inject", "nobody:string:x"], 3, "no home"),
        (&["--delete", "/"], 3, "root directory"),
        (&["--commands-from-file", "/no/such/file"], 1, "cannot read"),
    ] {
        let ran = customize(&guest, &[&touch, args].concat());
        assert_eq!(ran.code, Some(code), "{args:?} {ran:?}");
        assert!(ran.stderr.contains(said) && !ran.stderr.contains("hunter2"), "{args:?} {ran:?}");
    }
    assert_eq!(customize(&guest, &[]).code, Some(2));
    assert_eq!(run(["customize", &format!("{}:/etc", guest.arg()), "--touch", "/new"]).code, Some(2));
    let dry = customize(&guest, &["--touch", "/new", "--root-password", "random", "-n"]);
    assert!(
        dry.code == Some(0) && dry.stdout.contains("would create /new") && !dry.stdout.contains("the new password")
    );
    assert_eq!(state(&guest.image), before);
}

/// How often a pattern is in a file.
fn count(image: &Path, pattern: &[u8]) -> usize {
    fs::read(image).unwrap().windows(pattern.len()).filter(|window| *window == pattern).count()
}

#[test]
fn what_is_scrubbed_is_nowhere_in_the_image() {
    if !require(&["e2fsck", "qemu-img"]) {
        return;
    }
    let guest = Guest::new();
    let secret = b"-- a key that nobody may read --";
    let key = local(&guest, "key", &String::from_utf8_lossy(secret).repeat(1000), 0o600);
    // With a journal and partitions, and by the redo file.
    for (image, offset) in [(scratch::raw_of(&guest.image, "qcow2"), ROOT), (fixture::file("ext2-1k"), 0)] {
        let arg = text(&image);
        done(["customize", &arg, "--upload", &format!("{key}:/key"), "--touch", "/a", "--link", "/a:/l"]);
        done(["ln", &format!("{arg}:/key"), "/second"]);
        assert_eq!(count(&image, secret), 1000);
        let ran = run(["customize", &arg, "--scrub", "/key"]);
        assert!(ran.code == Some(3) && ran.stderr.contains("2 names"), "{ran:?}");
        let dry = done(["customize", &arg, "--delete", "/second", "--scrub", "/key", "-n"]);
        assert!(dry.stdout.contains("would scrub /key (32000 bytes)"), "{dry:?}");
        assert_eq!(count(&image, secret), 1000);
        let ran = done(["customize", &arg, "--delete", "/second", "--scrub", "/key"]);
        assert!(ran.stdout.contains("remove regular file /key") && ran.stderr.is_empty(), "{ran:?}");
        assert_eq!(count(&image, secret), 0);
        judges::e2fsck_fn(&image, offset).unwrap();
    }
    // Of the container is said what is not known.
    done(["customize", &guest.arg(), "--upload", &format!("{key}:/key")]);
    let ran = done(["customize", &guest.arg(), "--scrub", "/key"]);
    assert!(ran.stderr.contains("may still be in the qcow2 file"), "{ran:?}");
    assert_eq!(count(&guest.image, secret), 0);
    judges::qemu_img_check(&guest.image, Leaks::Refused).unwrap();
}

#[test]
fn new_files_get_the_contexts_of_the_guests_policy() {
    let guest = Guest::new();
    let policy = [
        "--mkdir=/etc/selinux/targeted/contexts/files",
        "--write=/etc/selinux/config:SELINUX=enforcing\nSELINUXTYPE=targeted\n",
    ]
    .map(|argument| argument.replace("\\n", "\n"));
    let contexts = local(
        &guest,
        "contexts",
        "/.*\tsystem_u:object_r:default_t:s0\n/opt(/.*)?\tsystem_u:object_r:usr_t:s0\n",
        0o644,
    );
    let upload = format!("--upload={contexts}:/etc/selinux/targeted/contexts/files/file_contexts");
    done(["customize", &guest.arg(), "--no-selinux-relabel", &policy[0], &policy[1], &upload]);
    let context = |path: &str| {
        let ran = run(["getfattr", "-n", "security.selinux", &format!("{}:{path}", guest.arg())]);
        ran.stdout.lines().find_map(|line| line.strip_prefix("security.selinux=").map(str::to_owned))
    };
    assert_eq!(context("/etc/selinux/config"), None);
    let ran = done(["customize", &guest.arg(), "--write", "/opt/new:text"]);
    assert!(ran.stdout.contains("1 file got an SELinux context"), "{ran:?}");
    assert!(context("/opt/new").unwrap().contains("usr_t"));
    let args = ["--selinux-relabel", "--selinux-relabel-exclude", "/home", "--json"];
    let document = json(&done([&["customize", &guest.arg()], &args[..]].concat()));
    assert_eq!(document["operations"][0]["operation"], "selinux-relabel");
    assert!(context("/etc/selinux/config").unwrap().contains("default_t"));
    assert_eq!(context("/home"), None);
    // In a guest without a policy there is nothing to do.
    let plain = done(["customize", &Guest::new().arg(), "--selinux-relabel"]);
    assert!(plain.stdout.contains("nothing to change"), "{plain:?}");
}

#[test]
fn random_passwords_are_shown_once_they_are_set() {
    if !require(&["perl"]) {
        return;
    }
    let guest = Guest::new();
    let ran = done(["customize", &guest.arg(), "--password", "debian:random", "--password-crypto", "sha256"]);
    let password = ran.stdout.lines().find_map(|line| line.trim().strip_prefix("the new password of debian is "));
    let shadow = cat(&guest, "/etc/shadow");
    let hash = shadow_fields(&shadow, "debian")[1];
    assert!(hash.starts_with("$5$") && is_hash_of(hash, password.unwrap()), "{ran:?}");
    done(["customize", &guest.arg(), "--password", "debian:locked"]);
    assert_eq!(shadow_fields(&cat(&guest, "/etc/shadow"), "debian")[1], format!("!{hash}"));
}

#[test]
fn the_callers_newest_key_is_the_default() {
    let guest = Guest::new();
    let home = guest.path("home");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    let run = |guest: &Guest| {
        let mut command = nomount();
        ran(command.args(["customize", &guest.arg(), "--ssh-inject", "root"]).env("HOME", &home))
    };
    assert_eq!(run(&guest).code, Some(1));
    let other = KEY.replace("me@host", "other");
    let times =
        [("id_ed25519.pub", KEY, 20), ("id_old.pub", &other, 10), ("id_x-cert.pub", &other, 30), ("x.pub", &other, 40)];
    for (name, key, seconds) in times {
        let file = fs::File::create(home.join(".ssh").join(name)).unwrap();
        std::io::Write::write_all(&mut &file, key.as_bytes()).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }
    let done = run(&guest);
    assert_eq!(done.code, Some(0), "{done:?}");
    let keys = cat(&guest, "/root/.ssh/authorized_keys");
    assert!(keys.ends_with(&format!("{KEY}\n")) && !keys.contains("other"), "{keys}");
}

#[test]
fn sysprep_removes_what_is_the_guests_own() {
    if !require(&["e2fsck", "debugfs", "qemu-img"]) {
        return;
    }
    let guest = Guest::new();
    let files =
        ["/etc/ssh/ssh_host_rsa_key", "/etc/machine-id", "/home/debian/.bash_history", "/tmp/.x", "/etc/passwd-"];
    let writes: Vec<String> = files.iter().map(|file| format!("--write={file}:text")).collect();
    let mut args = vec!["customize".to_owned(), guest.arg(), "--mkdir=/tmp".to_owned()];
    args.extend(writes);
    done(&args);
    let before = scratch::raw_of(&guest.image, "qcow2");
    let customize = ["--hostname", "template"];
    let operations = ["--operations", "defaults,-ssh-userdir"];
    let text = done([&["sysprep", &guest.arg()], &operations[..], &customize].concat()).stdout;
    assert!(text.contains("  machine-id\n    truncate /etc/machine-id (4 -> 0 bytes)\n"), "{text}");
    judges::qemu_img_check(&guest.image, Leaks::Refused).unwrap();
    let after = scratch::raw_of(&guest.image, "qcow2");
    judges::e2fsck_fn(&after, ROOT).unwrap();
    assert_eq!(
        changes(&before, &after, ROOT),
        [
            "~ /etc/hostname [Size, Content] 0644 0:0 9",
            "~ /etc/hosts [Size, Content] 0644 0:0 67",
            "~ /etc/machine-id [Size, Content] 0644 0:0 0",
            "- /etc/passwd-",
            "- /etc/ssh/ssh_host_rsa_key",
            "- /home/debian/.bash_history",
            "- /tmp/.x",
        ]
    );
    let again = done(["sysprep", &guest.arg(), "--enable", "machine-id,tmp-files", "--json"]);
    let document = json(&again);
    assert_eq!(document["changes"].as_array().unwrap().len(), 0);
    assert_eq!(document["operations"].as_array().unwrap().len(), 2);

    let gone = done(["sysprep", &guest.arg(), "--enable", "user-account"]);
    assert!(gone.stdout.contains("remove directory /home/debian"), "{gone:?}");
    assert!(!cat(&guest, "/etc/passwd").contains("debian") && cat(&guest, "/etc/passwd").contains("nobody"));
    judges::e2fsck_fn(&scratch::raw_of(&guest.image, "qcow2"), ROOT).unwrap();
}

#[test]
fn sysprep_says_what_it_does_and_what_not() {
    let guest = Guest::new();
    let list = done(["sysprep", "--list-operations"]).stdout;
    assert!(list.contains("\nmachine-id * Empty") && list.contains("\nuser-account   Remove"), "{list}");
    assert!(!list.contains("fs-uuids"), "{list}");
    let all = json(&done(["sysprep", "--list-operations", "--json"]));
    let uuids = all["operations"].as_array().unwrap().iter().find(|one| one["name"] == "fs-uuids").unwrap();
    assert_eq!((&uuids["supported"], &uuids["default"]), (&false.into(), &false.into()));
    for (args, code, said) in [
        (&["--enable", "fs-uuids"][..], 4, "not supported here"),
        (&["--operations", "nonsense"], 2, "--list-operations"),
        (&["--enable", "machine-id", "--touch", "/x"], 2, "customize is not among"),
        (&["--remove-user-accounts", "nobody-here"], 1, "not found"),
        (&["--remove-user-accounts", "root"], 3, "root"),
    ] {
        let ran = run([&["sysprep", &guest.arg()], args].concat());
        assert!(ran.code == Some(code) && ran.stderr.contains(said), "{args:?} {ran:?}");
    }
    assert_eq!(run(["sysprep"]).code, Some(2));
}
