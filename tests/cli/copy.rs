//! `cp`, `copy-in`, `copy-out`, `upload`, `download`.

use crate::common::{Ran, nomount, ran, run, text};
use crate::{Guest, json, state};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{TreeDigest, require, scratch};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn done<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    let ran = run(args);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A tree of the host: a program, hard links, a link, a sparse file, an empty directory.
fn site(guest: &Guest) -> std::path::PathBuf {
    let site = guest.path("site");
    fs::create_dir_all(site.join("empty")).unwrap();
    fs::create_dir(site.join("bin")).unwrap();
    fs::write(site.join("bin/run"), "#!/bin/sh\n").unwrap();
    mode(&site.join("bin/run"), 0o4750);
    fs::write(site.join("page"), "text\n").unwrap();
    mode(&site.join("page"), 0o600);
    fs::hard_link(site.join("page"), site.join("same")).unwrap();
    symlink("/outside/of/all", site.join("link")).unwrap();
    let hole = fs::File::create(site.join("hole")).unwrap();
    hole.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hole, b"middle", 32 << 20).unwrap();
    site
}

/// The root partition as e2fsck and debugfs see it.
fn judged(guest: &Guest) -> TreeDigest {
    judges::qemu_img_check(&guest.image, Leaks::Refused).unwrap();
    let raw = scratch::raw_of(&guest.image, "qcow2");
    let table = judges::sfdisk_json(&raw).unwrap();
    let root = &table["partitiontable"]["partitions"][0];
    let offset = root["start"].as_u64().unwrap() * 512;
    judges::e2fsck_fn(&raw, offset).unwrap();
    TreeDigest::of_ext(&raw, offset)
}

#[test]
fn copies_in_are_roots_unless_asked_otherwise() {
    if !require(&["e2fsck", "debugfs", "qemu-img", "sfdisk"]) {
        return;
    }
    let guest = Guest::new();
    let site = text(&site(&guest));
    let image = guest.arg();
    done(["copy-in", &image, &site, "/srv"]);
    done(["cp", "-r", &site, &format!("{image}:/srv/renamed")]);
    done(["cp", "-a", "--chown", "debian:", &format!("{site}/."), &format!("{image}:/srv/all")]);
    done(["cp", "--chmod", "u=rw,go=", "--chown", "7:8", &format!("{site}/page"), &format!("{image}:/etc/page")]);
    let refused = run(["copy-in", &image, &site, "/srv/no/such"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("--parents"), "{refused:?}");
    done(["copy-in", "-D", &image, &site, "/srv/no/such"]);
    let tree = judged(&guest);
    let facts = |path: &str| {
        let entry = tree.get(path).unwrap_or_else(|| panic!("no {path}"));
        (entry.mode, entry.uid, entry.gid, entry.links)
    };
    for top in ["/srv/site", "/srv/renamed", "/srv/no/such/site"] {
        assert_eq!(facts(top), (0o755, 0, 0, 4), "{top}");
        assert_eq!(facts(&format!("{top}/bin/run")), (0o755, 0, 0, 1), "{top}");
        let links = if top == "/srv/renamed" { 1 } else { 2 };
        assert_eq!(facts(&format!("{top}/page")), (0o644, 0, 0, links), "{top}");
        let hole = tree.get(format!("{top}/hole")).unwrap();
        assert_eq!(hole.size, 64 << 20);
        assert_eq!(tree.get(format!("{top}/link")).unwrap().target.as_deref(), Some(&b"/outside/of/all"[..]));
    }
    let debian = (1000, 1000);
    assert_eq!(facts("/srv/all/bin/run"), (0o4750, debian.0, debian.1, 1));
    assert_eq!(facts("/srv/all/same"), (0o600, debian.0, debian.1, 2));
    assert_eq!(facts("/etc/page"), (0o600, 7, 8, 1));
    let there = fs::metadata(format!("{site}/page")).unwrap();
    assert_eq!(tree.get("/srv/all/page").unwrap().mtime.0, there.mtime());
    let size = fs::metadata(&guest.image).unwrap().blocks() * 512;
    assert!(size < 16 << 20, "holes take room: {size} bytes");
}

#[test]
fn what_is_in_the_way_is_replaced_or_refused() {
    let guest = Guest::new();
    let site = text(&site(&guest));
    let image = guest.arg();
    done(["cp", &format!("{site}/page"), &format!("{image}:/etc/hostname")]);
    assert_eq!(done(["cat", &format!("{image}:/etc/hostname")]).stdout, "text\n");
    let before = state(&guest.image);
    for (from, to, code) in [
        ("page", "/etc/no/page", 1),
        ("page", "/no-such-dir/", 1),
        ("bin", "/etc/hostname", 1),
        ("no-such-file", "/etc", 1),
    ] {
        let failed = run(["cp", &format!("{site}/{from}"), &format!("{image}:{to}")]);
        assert_eq!(failed.code, Some(code), "{from} {to}: {failed:?}");
    }
    let several = run(["cp", &format!("{site}/page"), &format!("{site}/same"), &format!("{image}:/etc/new")]);
    assert_eq!(several.code, Some(1), "{several:?}");
    let neither = run(["cp", &site, &text(&guest.path("copy"))]);
    assert!(neither.code == Some(2) && !guest.path("copy").exists(), "{neither:?}");
    let itself = run(["cp", &format!("{image}:/etc"), &format!("{image}:/etc/copy")]);
    assert!(itself.code == Some(2) && itself.stderr.contains("itself"), "{itself:?}");
    assert!(state(&guest.image) == before, "something that failed wrote");
    let told = run(["cp", "-n", "--json", &format!("{site}/page"), &format!("{image}:/etc/new")]);
    assert_eq!(json(&told)["copied"]["bytes"], 5);
    assert!(state(&guest.image) == before, "a dry run wrote");
}

#[test]
fn inside_an_image_and_from_one_to_another() {
    if !require(&["e2fsck", "debugfs", "qemu-img", "sfdisk"]) {
        return;
    }
    let (guest, other) = (Guest::new(), Guest::new());
    let (image, second) = (guest.arg(), other.arg());
    done(["cp", "-a", &format!("{image}:/etc"), &format!("{image}:/srv")]);
    done(["cp", "-a", &format!("{image}:/etc/."), &format!("{second}:/srv/etc")]);
    done(["cp", &format!("{image}:/etc/passwd"), &format!("{second}:/etc/group"), &format!("{image}:/srv")]);
    judged(&guest);
    judged(&other);
    let tar = |image: &str, path: &str| {
        let file = guest.path("tar");
        done(["tar-out", image, path, &text(&file)]);
        fs::read(file).unwrap()
    };
    let original = tar(&image, "/etc");
    assert!(original.len() > 10_000);
    assert!(tar(&image, "/srv/etc") == original && tar(&second, "/srv/etc") == original);
    let cat = |path: &str| done(["cat", &format!("{image}:{path}")]).stdout;
    assert!(cat("/srv/group") == cat("/etc/group") && cat("/srv/passwd") == cat("/etc/passwd"));
}

#[test]
fn copies_out_stay_in_the_directory() {
    let guest = Guest::new();
    let image = guest.arg();
    let outside = guest.path("outside");
    fs::create_dir(&outside).unwrap();
    for (args, path) in [(&["ln", "-s"][..], "/srv/abs"), (&["ln", "-s"][..], "/srv/d/up")] {
        done(["mkdir", "-p", &image, "/srv/d"]);
        let mut all: Vec<String> = args.iter().map(ToString::to_string).collect();
        all.extend([text(&outside), format!("{image}:{path}")]);
        let made = run(&all);
        assert_eq!(made.code, Some(0), "{made:?}");
    }
    done(["mknod", &image, "/srv/disk", "b", "8", "0"]);
    done(["mknod", &image, "/srv/pipe", "p"]);
    done(["write", &format!("{image}:/srv/prog"), "--text", "x"]);
    done(["chmod", "6755", &format!("{image}:/srv/prog")]);
    done(["truncate", "-s", "20M", &format!("{image}:/srv/hole")]);
    done(["ln", &image, "/srv/prog", "/srv/prog2"]);
    let out = guest.path("out");
    fs::create_dir(&out).unwrap();
    // What has a name already is a link to the outside: it is replaced, never followed.
    fs::create_dir(out.join("srv")).unwrap();
    symlink(&outside, out.join("srv/prog")).unwrap();
    let ran = done(["copy-out", &image, "/srv", "/etc/hostname", &text(&out)]);
    assert!(ran.stderr.contains("1 device nodes are left out"), "{ran:?}");
    let facts = |name: &str| fs::symlink_metadata(out.join(name)).unwrap();
    assert_eq!(facts("srv/prog").mode() & 0o7777, 0o755);
    assert_eq!((facts("srv/prog").ino(), facts("srv/prog").nlink()), (facts("srv/prog2").ino(), 2));
    assert_eq!((facts("srv/hole").len(), facts("srv/hole").blocks()), (20 << 20, 0));
    assert!(facts("srv/abs").is_symlink() && facts("hostname").is_file());
    assert!(!out.join("srv/disk").exists());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was written outside");
    // A link of the host where a directory is to be.
    fs::remove_dir_all(out.join("srv")).unwrap();
    symlink(&outside, out.join("srv")).unwrap();
    let refused = run(["copy-out", &image, "/srv", &text(&out)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "a link of the host was followed");
    // Single files, by docker's rules.
    done(["cp", &format!("{image}:/srv/prog"), &text(&out.join("new"))]);
    done(["cp", &format!("{image}:/srv/d/."), &text(&out.join("made"))]);
    assert!(out.join("made/up").is_symlink() && fs::read(out.join("new")).unwrap() == b"x");
    let leftovers = fs::read_dir(&out)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".nomount"));
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn single_files_are_streamed_both_ways() {
    let guest = Guest::new();
    let image = guest.arg();
    let big = guest.path("big");
    let file = fs::File::create(&big).unwrap();
    file.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 5000], 1 << 20).unwrap();
    done(["chmod", "4640", &format!("{image}:/etc/hostname")]);
    done(["upload", &image, &text(&big), "/etc/hostname"]);
    let back = guest.path("back");
    done(["download", &image, "/etc/hostname", &text(&back)]);
    assert!(fs::read(&back).unwrap() == fs::read(&big).unwrap());
    assert!(fs::metadata(&back).unwrap().blocks() * 512 < 1 << 20, "holes take room");
    let stat = done(["stat", "--json", &format!("{image}:/etc/hostname")]).stdout;
    assert!(stat.contains("4640"), "{stat}");
    let mut sent = nomount();
    sent.args(["upload", &image, "-", "/srv/sent"]).stdin(fs::File::open(&big).unwrap());
    assert_eq!(ran(&mut sent).code, Some(0));
    let mut got = nomount();
    got.args(["download", &format!("{image}:/srv/sent"), "-"]).stdout(fs::File::create(&back).unwrap());
    assert_eq!(ran(&mut got).code, Some(0));
    assert!(fs::read(&back).unwrap() == fs::read(&big).unwrap());
    fs::write(&back, "kept").unwrap();
    let failed = run(["download", &image, "/etc", &text(&back)]);
    assert!(failed.code == Some(1) && fs::read(&back).unwrap() == b"kept", "{failed:?}");
}
