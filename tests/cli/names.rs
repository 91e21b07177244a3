//! `touch`, `truncate`, `rm`, `rmdir`, `mv`, `ln`, `mknod`, `setfattr`, and `readlink` and `getfattr`, which look.

use crate::common::{nomount, ran, run, text};
use crate::edit::{ROOT, changes, done};
use crate::{Guest, json, state};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{TreeDigest, fixture, require, scratch};
use serde_json::Value;
use std::path::Path;

/// The verbs one after the other on files that every fixture has.
fn every_verb(image: &str) {
    let at = |path: &str| format!("{image}:{path}");
    done(["mkdir", image, "/w", "/w/d", "/w/d/e"]);
    done(["touch", "-d", "@1000000000", &at("/w/stamp"), "/etc/hostname"]);
    done(["truncate", "-s", "3M", &at("/w/hole")]);
    done(["truncate", "-s", "2", &at("/etc/group")]);
    done(["ln", image, "/etc/passwd", "/w/d"]);
    done(["ln", "-s", "../etc/passwd", &at("/w/link")]);
    done(["ln", "-sf", &at("/w/d"), &at("/w/link")]);
    done(["ln", "-sfn", "elsewhere", &at("/w/link")]);
    done(["mknod", "-m", "660", &at("/w/disk"), "b", "8", "0x10"]);
    done(["mknod", image, "/w/pipe", "p"]);
    done(["setfattr", "-n", "user.made", "-v", "0x0001ff", image, "/w/stamp", "/w/d"]);
    done(["setfattr", "-n", "user.gone", "-v", "x", &at("/w/d")]);
    done(["setfattr", "-x", "user.gone", &at("/w/d")]);
    done(["mv", image, "/w/disk", "/w/d"]);
    done(["mv", "-T", &at("/w/stamp"), "/w/stamp2"]);
    done(["rmdir", &at("/w/d/e")]);
    done(["rm", "-rf", &at("/etc/ssh"), "/w/no", "/etc/hostname"]);
}

fn check(before: &Path, after: &Path, offset: u64, name: &str) {
    judges::e2fsck_fn(after, offset).unwrap_or_else(|complaint| panic!("{name}: {complaint:?}"));
    let tree = TreeDigest::of_ext(after, offset);
    let entry = |path: &str| tree.get(path).unwrap_or_else(|| panic!("{name}: no {path}"));
    assert_eq!(entry("/w/d/disk").device, Some((8, 16)), "{name}");
    assert_eq!((entry("/w/d/disk").mode, entry("/w/pipe").mode), (0o660, 0o644), "{name}");
    assert_eq!(entry("/w/link").target.as_deref(), Some(&b"elsewhere"[..]), "{name}");
    assert_eq!((entry("/w/hole").size, entry("/etc/group").size), (3 << 20, 2), "{name}");
    assert_eq!((entry("/w/d/passwd").inode, entry("/etc/passwd").links), (entry("/etc/passwd").inode, 2), "{name}");
    assert_eq!(
        (entry("/w/stamp2").mtime, entry("/w/stamp2").atime),
        ((1_000_000_000, 0), (1_000_000_000, 0)),
        "{name}"
    );
    for path in ["/w/stamp2", "/w/d"] {
        let names: Vec<&str> = entry(path).xattrs.keys().map(String::as_str).collect();
        assert_eq!((names, &entry(path).xattrs["user.made"][..]), (vec!["user.made"], &[0, 1, 0xff][..]), "{name}");
    }
    for gone in ["/etc/hostname", "/etc/ssh", "/w/d/e", "/w/disk", "/w/stamp"] {
        assert!(tree.get(gone).is_none(), "{name}: {gone} is there");
    }
    // And nothing else, but that other names of /etc/hostname are fewer now.
    let others = changes(before, after, offset).into_iter().filter(|line| {
        let path = line[2..].split(' ').next().unwrap();
        let ours = ["/w", "/etc/hostname", "/etc/group", "/etc/passwd", "/etc/ssh", "/etc", "/"];
        let names = line.starts_with("~ /etc/hostname-") && line.contains("[Links] 0644");
        !names && !ours.contains(&path) && !path.starts_with("/w/") && !path.starts_with("/etc/ssh/")
    });
    assert_eq!(others.collect::<Vec<_>>(), [""; 0], "{name}");
}

#[test]
fn each_verb_changes_what_it_says_and_nothing_else() {
    if !require(&["e2fsck", "debugfs", "qemu-img"]) {
        return;
    }
    let guest = Guest::new();
    let raw = scratch::raw_of(&guest.image, "qcow2");
    every_verb(&guest.arg());
    judges::qemu_img_check(&guest.image, Leaks::Refused).unwrap();
    check(&raw, &scratch::raw_of(&guest.image, "qcow2"), ROOT, "guest.qcow2");
    let disk = scratch::copy(&raw);
    every_verb(&text(&disk));
    check(&raw, &disk, ROOT, "guest.raw");
    for name in ["ext2-1k", "ext3-4k", "ext4-142", "ext4-147", "ext4-nojournal", "ext4-i128-csum"] {
        let image = fixture::file(name);
        let before = scratch::copy(&image);
        every_verb(&text(&image));
        check(&before, &image, 0, name);
    }
}

fn fact(image: &str, path: &str, name: &str) -> Value {
    json(&done(["stat", "--json", image, path]))["files"][0][name].clone()
}

#[test]
fn touch_sets_the_times_that_are_asked_for() {
    let guest = Guest::new();
    let image = guest.arg();
    let sec = |path: &str, name: &str| fact(&image, path, name)["sec"].as_i64().unwrap();
    let before = sec("/etc/hosts", "atime");
    done(["touch", "-m", "-d", "2026-01-31T12:00:00.5Z", &image, "/etc/hosts"]);
    assert_eq!((sec("/etc/hosts", "atime"), sec("/etc/hosts", "mtime")), (before, 1_769_860_800));
    assert_eq!(fact(&image, "/etc/hosts", "mtime")["nsec"], 500_000_000);
    done(["touch", "-r", "/etc/hosts", &image, "/etc/copy"]);
    assert_eq!((sec("/etc/copy", "atime"), sec("/etc/copy", "mtime")), (before, 1_769_860_800));
    let mut command = nomount();
    command.args(["touch", "-a", &image, "/etc/copy"]).env("SOURCE_DATE_EPOCH", "5");
    assert_eq!(ran(&mut command).code, Some(0));
    assert_eq!((sec("/etc/copy", "atime"), sec("/etc/copy", "mtime")), (5, 1_769_860_800));
    done(["touch", "-h", "-d", "@7", &image, "/bin"]);
    assert_eq!((sec("/bin", "mtime"), fact(&image, "/bin", "type")), (7, "symlink".into()));
    let ran = done(["touch", "-c", &image, "/nothing"]);
    assert!(ran.stdout.contains("nothing to change"), "{ran:?}");
    assert_eq!(run(["stat", &image, "/nothing"]).code, Some(1));
    assert_eq!(run(["touch", "-d", "yesterday", &image, "/x"]).code, Some(2));
}

#[test]
fn removals_are_shown_and_never_follow_links() {
    let guest = Guest::new();
    let image = guest.arg();
    let before = state(&guest.image);
    let dry = done(["rm", "-rn", &image, "/etc/ssh", "/bin"]);
    assert!(dry.stdout.contains("  would remove directory /etc/ssh and 3 names below\n"), "{dry:?}");
    assert!(dry.stdout.contains("  would remove symbolic link /bin\n"), "{dry:?}");
    for (args, code, words) in [
        (vec!["rm", &image, "/etc"], 1, "-r removes a directory"),
        (vec!["rm", &image, "/no"], 1, "no such file"),
        (vec!["rm", "-rf", &image, "/"], 3, "root directory"),
        (vec!["rm", "-rf", &image, "/etc/.."], 3, "root directory"),
        (vec!["rmdir", &image, "/etc"], 1, "/etc"),
        (vec!["mv", &image, "/etc"], 2, "no path to move to"),
        (vec!["mv", &image, "/etc", "/etc/ssh"], 2, "into itself"),
        (vec!["ln", &image, "/etc", "/new"], 1, "-s makes a symbolic link"),
        (vec!["ln", &image, "/etc/hosts"], 2, "ln -s TARGET IMAGE:/link"),
        (vec!["ln", "-s", "x", "y", &format!("{image}:/new")], 1, "several links"),
        (vec!["ln", "-s", "x", &format!("{image}:/etc/hosts")], 1, "file exists"),
        (vec!["mknod", &image, "/x", "c", "1"], 2, "minor"),
        (vec!["mknod", &image, "/x", "c", "4096", "1"], 2, "beyond 4095"),
        (vec!["truncate", "-s", "1", &image, "/etc"], 1, "directory"),
        (vec!["truncate", &image, "/etc/hosts"], 2, "--size"),
        (vec!["setfattr", "-n", "bogus.x", &image, "/etc/hosts"], 2, "bogus.x"),
        (vec!["setfattr", "-x", "user.none", &image, "/etc/hosts"], 1, "no attribute user.none"),
        (vec!["readlink", &image, "/etc"], 1, "not a symbolic link"),
        (vec!["getfattr", "-n", "user.none", &image, "/etc/hosts"], 1, "no attribute user.none"),
    ] {
        let ran = run(&args);
        assert!(ran.code == Some(code) && ran.stderr.contains(words), "{args:?}: {ran:?}");
    }
    assert!(state(&guest.image) == before);
    done(["rm", &image, "/bin"]);
    assert_eq!((fact(&image, "/usr/bin", "type"), run(["stat", &image, "/bin"]).code), ("directory".into(), Some(1)));
}

#[test]
fn links_are_read_and_followed_inside_the_guest() {
    let guest = Guest::new();
    let image = guest.arg();
    done(["ln", "-s", "../../../../usr/lib/os-release\n\u{1b}[2J", &format!("{image}:/srv/odd")]);
    assert_eq!(done(["readlink", &image, "/srv/odd"]).stdout, "../../../../usr/lib/os-release\n\u{1b}[2J\n");
    let both = done(["readlink", "-f", &image, "/etc/os-release", "/bin/none"]);
    assert_eq!(both.stdout, "/usr/lib/os-release\n/usr/bin/none\n");
    let document = json(&done(["readlink", "--json", &image, "/etc/os-release"]));
    assert_eq!(document["links"][0]["path"], "/etc/os-release");
    assert_eq!(document["links"][0]["target"], "../usr/lib/os-release");
}

#[test]
fn attributes_come_back_as_they_were_given() {
    let guest = Guest::new();
    let image = guest.arg();
    done(["setfattr", "-n", "user.text", "-v", r#"a \"b\" \\ \012"#, &image, "/etc/os-release"]);
    done(["setfattr", "-n", "security.selinux", "-v", r"system_u:object_r:etc_t:s0\000", &image, "/etc/os-release"]);
    // The link was followed.
    let dump = done(["getfattr", "-d", &image, "/usr/lib/os-release", "/etc/hosts"]).stdout;
    let wanted = "# file: /usr/lib/os-release\nsecurity.selinux=\"system_u:object_r:etc_t:s0\\000\"\n\
                  user.text=\"a \\\"b\\\" \\\\ \\012\"\n\n";
    assert_eq!(dump, wanted);
    assert_eq!(
        done(["getfattr", "--only-values", "-n", "user.text", &image, "/etc/os-release"]).stdout,
        "a \"b\" \\ \n"
    );
    let hex = done(["getfattr", "-e", "hex", "-n", "user.text", &image, "/etc/os-release"]).stdout;
    assert!(hex.contains("user.text=0x6120226222205c200a\n"), "{hex}");
    assert_eq!(done(["getfattr", "-h", &image, "/etc/os-release"]).stdout, "");
    let names = json(&done(["getfattr", "--json", &image, "/etc/os-release"]));
    assert_eq!(names["files"][0]["xattrs"][1]["value_hex"], "6120226222205c200a");
    let again = done(["setfattr", "-n", "user.text", "-v", "0x6120226222205c200a", &image, "/etc/os-release"]);
    assert!(again.stdout.contains("nothing to change"), "{again:?}");
    // As the kernel does it, capabilities go when a file changes hands, and a label stays.
    done([
        "setfattr",
        "-n",
        "security.capability",
        "-v",
        "0x0100000200200000000000000000000000000000",
        &image,
        "/etc/os-release",
    ]);
    assert!(done(["getfattr", &image, "/etc/os-release"]).stdout.contains("security.capability\n"));
    let given = done(["chown", "9", &image, "/etc/os-release"]).stdout;
    assert!(given.contains("  remove attribute security.capability of /usr/lib/os-release\n"), "{given}");
    done(["write", &image, "/etc/os-release", "--text", "ID=x\n"]);
    assert_eq!(done(["getfattr", "-d", &image, "/usr/lib/os-release"]).stdout, wanted);
}
