//! `write`, `append`, `mkdir`, `chmod`, `chown`: what they change and nothing else, and what all editing commands share.

use crate::common::{Ran, nomount, ran, run, text};
use crate::{Guest, json, state};
use nomount_kit::digest::Field;
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{TreeDigest, fixture, require, scratch, tool};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// Where the root of the small guest begins, in bytes.
pub const ROOT: u64 = 13 << 20;

/// Runs a command that must succeed.
pub fn done<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    let ran = run(args);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran
}

/// What changed from one image to the other, without times and the directories' own sizes.
pub fn changes(before: &Path, after: &Path, offset: u64) -> Vec<String> {
    let (before, after) = (TreeDigest::of_ext(before, offset), TreeDigest::of_ext(after, offset));
    let shown = before.diff(&after).into_iter().filter_map(|change| match change {
        nomount_kit::digest::Change::Changed { path, fields, after, .. } => {
            let times = [Field::Mtime, Field::Ctime, Field::Atime];
            let fields: Vec<Field> = fields.into_iter().filter(|field| !times.contains(field)).collect();
            let path = String::from_utf8_lossy(&path).into_owned();
            let facts = format!("{:04o} {}:{} {}", after.mode, after.uid, after.gid, after.size);
            (!fields.is_empty()).then(|| format!("~ {path} {fields:?} {facts}"))
        }
        nomount_kit::digest::Change::Added(path, entry) => {
            let facts = format!("{:04o} {}:{} {}", entry.mode, entry.uid, entry.gid, entry.size);
            Some(format!("+ {} {:?} {facts}", String::from_utf8_lossy(&path), entry.kind))
        }
        nomount_kit::digest::Change::Removed(path, _) => Some(format!("- {}", String::from_utf8_lossy(&path))),
    });
    shown.collect()
}

/// The verbs one after the other on an image, and what they changed together.
fn every_verb(image: &str, local: &str) {
    done(["write", &format!("{image}:/etc/hostname"), "--text", "web1"]);
    done(["write", image, "/etc/new.conf", local]);
    let mut command = nomount();
    command.args(["append", &format!("{image}:/etc/group")]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"app:x:900:\n").unwrap();
    assert!(child.wait().unwrap().success());
    done(["append", image, "/etc/added", "--text", "one line\n"]);
    done(["mkdir", "-p", "-m", "go-rwx", &format!("{image}:/srv/app/data"), "/srv/app/log"]);
    done(["chmod", "u+s,g=u", image, "/etc/new.conf"]);
    done(["chmod", "-R", "o-rx", image, "/srv/app"]);
    done(["chown", "70000:app", image, "/etc/new.conf"]);
    done(["chown", "-R", ":app", &format!("{image}:/srv/app")]);
}

#[test]
fn each_verb_changes_what_it_says_and_nothing_else() {
    if !require(&["e2fsck", "debugfs", "qemu-img"]) {
        return;
    }
    let folder = scratch::folder();
    let local = folder.path().join("local");
    fs::write(&local, "contents of the host\n").unwrap();
    let guest = Guest::new();
    let raw = scratch::raw_of(&guest.image, "qcow2");
    every_verb(&guest.arg(), &text(&local));
    judges::qemu_img_check(&guest.image, Leaks::Refused).unwrap();
    let after = scratch::raw_of(&guest.image, "qcow2");
    judges::e2fsck_fn(&after, ROOT).unwrap();
    let mut seen = vec![changes(&raw, &after, ROOT)];
    // The same on a raw disk, and on filesystems of other kinds without a table.
    let disk = scratch::copy(&raw);
    every_verb(&text(&disk), &text(&local));
    judges::e2fsck_fn(&disk, ROOT).unwrap();
    seen.push(changes(&raw, &disk, ROOT));
    let group = |lines: &[String]| lines.iter().filter(|line| !line.contains(" /etc/group")).cloned().collect();
    let wanted = [
        "+ /etc/added File 0644 0:0 9",
        "~ /etc/hostname [Size, Content] 0644 0:0 4",
        "+ /etc/new.conf File 0664 70000:900 21",
        "~ /srv [Links] 0755 0:0 4096",
        "+ /srv/app Dir 0750 0:900 4096",
        "+ /srv/app/data Dir 0700 0:900 4096",
        "+ /srv/app/log Dir 0700 0:900 4096",
    ];
    for seen in &seen {
        let lines: Vec<String> = group(seen);
        assert_eq!(lines, wanted);
        assert!(seen.iter().any(|line| line.starts_with("~ /etc/group [Size, Content] 0644 0:0 ")), "{seen:?}");
    }
}

#[test]
fn filesystems_of_every_age_are_edited() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for name in ["ext2-1k", "ext3-4k", "ext4-142", "ext4-147", "ext4-nojournal"] {
        let image = fixture::file(name);
        let before = scratch::copy(&image);
        let arg = text(&image);
        done(["write", &format!("{arg}:/etc/hostname"), "--text", "x"]);
        done(["mkdir", &arg, "/new"]);
        done(["chmod", "7777", &arg, "/new"]);
        done(["chown", "-R", "70000:70001", &format!("{arg}:/new")]);
        judges::e2fsck_fn(&image, 0).unwrap();
        let seen = changes(&before, &image, 0);
        assert!(seen.iter().any(|line| line.starts_with("+ /new Dir 7777 70000:70001 ")), "{name}: {seen:?}");
        assert!(seen.iter().any(|line| line.starts_with("~ /etc/hostname [Size, Content]")), "{name}: {seen:?}");
        assert!(
            seen.iter().all(|line| ["/new", "/etc/hostname", "~ / [Links]"].iter().any(|part| line.contains(part)))
        );
    }
}

#[test]
fn what_is_rewritten_keeps_inode_owner_mode_and_label() {
    let guest = Guest::new();
    let stat = |path: &str| json(&run(["stat", "--json", &guest.arg(), path]))["files"][0].clone();
    let before = stat("/etc/shadow");
    done(["write", &guest.arg(), "/etc/shadow", "--text", "root:*:1:0:99999:7:::\n"]);
    let after = stat("/etc/shadow");
    for name in ["inode", "mode", "uid", "gid", "links", "xattrs", "btime"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    assert_eq!(after["size"], 22);
    // Through a link that leads up and out, which ends in the guest.
    done(["write", &guest.arg(), "/etc/os-release", "--text", "ID=debian\n"]);
    assert_eq!(run(["cat", &guest.arg(), "/usr/lib/os-release"]).stdout, "ID=debian\n");
    assert_eq!(stat("/etc/os-release")["type"], "symlink");
}

#[test]
fn several_paths_are_one_commit_or_none() {
    let guest = Guest::new();
    let before = state(&guest.image);
    let image = format!("{}:/srv/one", guest.arg());
    let failed = run(["mkdir", &image, "/srv/two", "/no/three", "--json"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let error = &json(&failed)["error"];
    assert_eq!((&error["kind"], &error["volume"]), (&"not_found".into(), &"partition 1 (ext4)".into()), "{failed:?}");
    assert!(state(&guest.image) == before && guest.names() == ["guest.qcow2"]);
    let both = done(["mkdir", "--json", &image, &format!("{}:/srv/two", guest.arg())]);
    let document = json(&both);
    let paths: Vec<&str> =
        document["changes"].as_array().unwrap().iter().map(|c| c["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/srv/one", "/srv/two"]);
    assert_eq!(document["changes"][0]["change"], "created_dir");
    assert_eq!(document["committed"]["transactions"], 1, "{document}");
    assert_eq!(document["verified"]["independent_reader"], 2, "{document}");
    assert_eq!(run(["mkdir", &image]).code, Some(1));
    let again = done(["mkdir", "-p", &image]);
    assert!(again.stdout.ends_with("  nothing to change\nnothing was written\n"), "{again:?}");
}

#[test]
fn dry_runs_write_nothing_and_new_images_leave_the_old() {
    let guest = Guest::new();
    let before = state(&guest.image);
    let dry = done(["chmod", "-n", "-R", "700", &guest.arg(), "/home"]);
    assert!(dry.stdout.contains("  would chmod /home (0755 -> 0700)\n"), "{dry:?}");
    assert!(dry.stdout.ends_with("dry run: nothing was written\n"), "{dry:?}");
    let document = json(&done(["write", "-n", "--json", &guest.arg(), "/etc/hostname", "--text", "x"]));
    assert_eq!((&document["dry_run"], &document["committed"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!((&document["changes"][0]["change"], &document["changes"][0]["after"]), (&"replaced".into(), &1.into()));
    assert!(state(&guest.image) == before);
    let new = guest.path("new.qcow2");
    done(["chown", "12:34", "--no-sync", "-o", &text(&new), &format!("{}@1:/etc/hostname", guest.arg())]);
    assert!(state(&guest.image) == before && guest.names() == ["guest.qcow2", "new.qcow2"]);
    let stat = run(["ls", "-l", &text(&new), "/etc/hostname"]).stdout;
    assert!(stat.contains(" 12 34 "), "{stat}");
    let same = run(["mkdir", "-o", &text(&new), &guest.arg(), "/x"]);
    assert!(same.code == Some(1) && same.stderr.contains("exists already"), "{same:?}");
    // A failure leaves no half-made file.
    let failed = run(["mkdir", "-o", &text(&guest.path("no.qcow2")), &guest.arg(), "/etc"]);
    assert!(failed.code == Some(1) && failed.stderr.contains(&guest.arg()), "{failed:?}");
    assert_eq!(guest.names(), ["guest.qcow2", "new.qcow2"]);
}

#[test]
fn modes_begin_with_a_dash_as_well() {
    let guest = Guest::new();
    let mode = |path: &str| json(&run(["stat", "--json", &guest.arg(), path]))["files"][0]["mode"].clone();
    done(["chmod", "-w", &guest.arg(), "/etc/hostname"]);
    assert_eq!(mode("/etc/hostname"), "0444");
    done(["chmod", "-R", "--", "-rx", &guest.arg(), "/etc/hostname"]);
    assert_eq!(mode("/etc/hostname"), "0000");
    done(["chmod", "-rwx,u+rw", &guest.arg(), "/etc/hostname"]);
    assert_eq!(mode("/etc/hostname"), "0600");
    for bad in ["8", "u+q", "77777", ""] {
        let ran = run(["chmod", bad, &guest.arg(), "/etc/hostname"]);
        assert!(ran.code == Some(2) && ran.stderr.contains("invalid mode"), "{bad}: {ran:?}");
    }
}

#[test]
fn v5_owners_are_names_of_the_guest() {
    let guest = Guest::new();
    let owner = |path: &str| {
        let file = json(&run(["stat", "--json", &guest.arg(), path]))["files"][0].clone();
        (file["uid"].as_u64().unwrap(), file["gid"].as_u64().unwrap(), file["mode"].clone())
    };
    done(["append", &guest.arg(), "/etc/passwd", "--text", "only-here:x:4242:4343::/:/bin/sh\n"]);
    done(["chmod", "6755", &guest.arg(), "/etc/hostname"]);
    done(["chown", "only-here:shadow", &guest.arg(), "/etc/hostname"]);
    assert_eq!(owner("/etc/hostname"), (4242, 42, "0755".into()));
    done(["chown", "only-here:", &guest.arg(), "/etc/hostname"]);
    assert_eq!(owner("/etc/hostname").1, 4343);
    // -h is for the link, as in chown(1).
    done(["chown", "-h", "5:6", &format!("{}:/bin", guest.arg())]);
    assert_eq!((owner("/bin").0, owner("/usr/bin").0), (5, 0));
    done(["chown", "7:8", &format!("{}:/bin", guest.arg())]);
    assert_eq!((owner("/bin").0, owner("/usr/bin").0), (5, 7));
    let ran = run(["chown", "nobody-here", &guest.arg(), "/bin"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("user nobody-here not found in password file"), "{ran:?}");
    done(["write", &guest.arg(), "/etc/passwd", "--text", ""]);
    assert_eq!(run(["chown", "root", &guest.arg(), "/bin"]).code, Some(1));
    assert_eq!(run(["chown", "a:b:c", &guest.arg(), "/bin"]).code, Some(2));
}

#[test]
fn command_lines_that_make_no_sense() {
    let guest = Guest::new();
    let before = state(&guest.image);
    let image = guest.arg();
    let path = format!("{image}:/etc/motd");
    for args in [
        vec!["write", &image],
        vec!["write", &path, "/dev/null", "--text", "x"],
        vec!["write", &path, "/dev/null", "/dev/null"],
        vec!["write", &format!("{image}:/etc/"), "--text", "x"],
        vec!["append", &format!("{image}:/../etc/x"), "--text", "x"],
        vec!["mkdir", &image],
        vec!["chmod", "644", &image],
        vec!["chown", "root", &image],
        vec!["chown", "", &path],
        vec!["mkdir", "-n", "-o", "x", &path],
    ] {
        let ran = run(&args);
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
    }
    for (args, code, words) in [
        (vec!["write", &image, "/etc", "--text", "x"], 1, "directory"),
        (vec!["write", &image, "/no/file", "--text", "x"], 1, "/no"),
        (vec!["write", &path, "/nonexistent/file"], 1, "/nonexistent/file"),
        (vec!["chmod", "600", &path], 1, "/etc/motd: no such file"),
        (vec!["mkdir", &image, "/etc"], 1, "file exists"),
    ] {
        let ran = run(&args);
        assert!(ran.code == Some(code) && ran.stderr.contains(words), "{args:?}: {ran:?}");
    }
    assert!(state(&guest.image) == before);
}

#[test]
fn a_directory_inside_of_itself_ends_the_walk() {
    if !require(&["debugfs"]) {
        return;
    }
    let image = fixture::file("ext4-147");
    for name in ["loop", "more"] {
        let command = format!("link /etc /etc/{name}");
        let made = tool::output(tool::command("debugfs").args(["-w", "-R", &command]).arg(&*image));
        assert!(made.status.success(), "{}", tool::text(&made));
    }
    let before = state(&image);
    let ran = run(["chmod", "-R", "700", &text(&image), "/"]);
    assert!(ran.code == Some(7) && ran.stderr.contains("has two names"), "{ran:?}");
    for args in [vec!["ls", "-R"], vec!["find"], vec!["du"], vec!["mtree"], vec!["checksum", "-r"], vec!["diff"]] {
        let image = text(&image);
        let images = if args[0] == "diff" { vec![&image[..]; 2] } else { vec![&image[..]] };
        let looked = run(args.iter().copied().chain(images));
        assert!(looked.code == Some(7) && looked.stderr.contains("has two names"), "{args:?}: {looked:?}");
    }
    assert_eq!(run(["rm", "-rf", &text(&image), "/etc"]).code, Some(7));
    assert!(state(&image) == before);
}

#[test]
fn help_has_an_example_that_works() {
    let guest = Guest::new();
    let verbs = [
        "write", "append", "mkdir", "chmod", "chown", "touch", "truncate", "rm", "rmdir", "mv", "ln", "mknod",
        "readlink", "setfattr", "getfattr",
    ];
    done(["mkdir", "-p", &guest.arg(), "/srv/www", "/srv/empty"]);
    done(["write", &guest.arg(), "/etc/motd", "--text", "hello\n"]);
    for verb in verbs {
        let help = done([verb, "--help"]).stdout;
        let (_, examples) = help.split_once("\nExample:\n").unwrap_or_else(|| panic!("{verb}: {help}"));
        let (_, words) = examples.lines().next().unwrap().split_once("nomount ").unwrap();
        let args: Vec<String> = words.split_whitespace().map(|word| word.replace("disk.qcow2", &guest.arg())).collect();
        let ran = ran(nomount().args(&args).stdin(Stdio::null()));
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    }
}
