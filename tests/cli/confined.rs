//! Nothing that an image holds is written outside the place that the user named, whoever else writes there.

use crate::common::hostile::{ext, overwrite, rename};
use crate::common::{nomount, ran, run, text};
use nomount_kit::tool::{command, output};
use nomount_kit::{require, scratch};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// An image, a directory to copy it into, and a directory that nothing may come to.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = scratch::folder();
        for name in ["out", "outside"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("outside/kept"), "kept").unwrap();
        fs::set_permissions(folder.path().join("outside/kept"), PermissionsExt::from_mode(0o600)).unwrap();
        Self { folder }
    }

    fn ext(commands: &[&str]) -> Self {
        let case = Self::new();
        ext(&case.path("disk"), commands);
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn image(&self) -> String {
        text(&self.path("disk"))
    }

    /// Every way to the host, for everything below `top`.
    fn ways(&self, top: &str) -> Vec<Command> {
        let (image, out, outside) = (self.image(), text(&self.path("out")), self.path("outside"));
        let at = format!("{image}:{top}");
        let mut ways: Vec<Command> = [
            &["copy-out", &image, top, &out][..],
            &["copy-out", "--archive", &image, top, &out],
            &["cp", "-r", &at, &out],
            &["cp", "-a", &format!("{at}/."), &out],
            &["tar-out", &image, top, &text(&self.path("tar"))],
            &["container", "setup", &image, &text(&self.path("root")), "--partition", "none"],
        ]
        .map(|args| {
            let mut command = nomount();
            command.args(args);
            command
        })
        .into();
        for (tool, args) in [
            ("virt-copy-out", &["-a", &image, top, &out][..]),
            ("virt-tar-out", &["-a", &image, top, &text(&self.path("tar"))]),
        ] {
            let link = self.path(tool);
            if !link.exists() {
                symlink(env!("CARGO_BIN_EXE_nomount"), &link).unwrap();
            }
            let mut command = Command::new(link);
            command.args(args);
            ways.push(command);
        }
        for way in &mut ways {
            way.current_dir(&outside);
        }
        ways
    }

    /// Only the places that were named have anything new.
    fn confined(&self, what: &str) {
        let outside: Vec<_> = fs::read_dir(self.path("outside")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(outside, ["kept"], "{what}");
        let kept = fs::symlink_metadata(self.path("outside/kept")).unwrap();
        assert_eq!((kept.len(), kept.mode() & 0o7777, kept.nlink()), (4, 0o600, 1), "{what}");
        let known = ["disk", "out", "outside", "root", "root.nomount-manifest", "tar", "virt-copy-out", "virt-tar-out"];
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(known.iter().any(|known| name == *known), "{what}: {name:?} was made");
        }
    }

    /// What was copied goes, for the next way.
    fn clear(&self) {
        for name in ["out", "root"] {
            let path = self.path(name);
            if path.exists() {
                fs::remove_dir_all(&path).unwrap();
            }
        }
        for name in ["tar", "root.nomount-manifest"] {
            let path = self.path(name);
            if path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
        fs::create_dir(self.path("out")).unwrap();
    }
}

#[test]
fn z4_impossible_names_of_ext_are_refused_by_every_way_out() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    for name in [&b"../pwned"[..], b"/etc/pwn", b"a/bcdefg", b"ab\0cdefg", b"../../..", b".\0......"] {
        let case = Case::ext(&["mkdir dir", "cd dir", "mkdir abcdefgh", "cd abcdefgh", "write /dev/null file"]);
        rename(&case.path("disk"), b"abcdefgh", name);
        for mut way in case.ways("/dir") {
            let ran = ran(&mut way);
            assert!(matches!(ran.code, Some(1 | 7)), "{way:?}: {ran:?}");
            // On a terminal and in logs a name is harmless, too.
            assert!(!ran.stderr.contains('\0'), "{ran:?}");
            case.confined(&format!("{way:?}"));
            case.clear();
        }
        // Inside the guest no way leads anywhere either.
        let image = case.image();
        let before = scratch::fingerprint(Path::new(&image));
        for args in [
            vec!["cp".to_owned(), "-r".into(), format!("{image}:/dir"), format!("{image}:/copy")],
            vec!["mtree".into(), image.clone()],
            vec!["checksum".into(), "-r".into(), format!("{image}:/dir")],
        ] {
            let ran = run(&args);
            assert_eq!(ran.code, Some(7), "{args:?}: {ran:?}");
        }
        assert_eq!(scratch::fingerprint(Path::new(&image)), before);
    }
}

#[test]
fn z4_odd_names_are_names() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    // Empty and dots are nothing that is listed; control characters and what looks like an option are.
    for (name, listed) in [(&b""[..], false), (b".", false), (b"..", false), (b"\x1b[2J\r\n\x07", true), (b"-rf", true)]
    {
        let case = Case::ext(&["mkdir dir", "cd dir", "mkdir abcdefgh", "cd abcdefgh", "write /dev/null file"]);
        rename(&case.path("disk"), b"abcdefgh", name);
        for mut way in case.ways("/dir") {
            let ran = ran(&mut way);
            assert!(ran.code == Some(0) || !listed && ran.code == Some(7), "{name:?} {way:?}: {ran:?}");
            case.confined(&format!("{way:?}"));
            let copied = case.path("out/dir");
            if copied.exists() {
                let names: Vec<_> = fs::read_dir(copied).unwrap().map(|e| e.unwrap().file_name()).collect();
                assert_eq!(names.iter().any(|found| found.as_encoded_bytes() == name), listed, "{names:?}");
            }
            case.clear();
        }
    }
}

#[test]
fn z4_a_file_is_never_written_through_a_link_of_the_image() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    let case = Case::new();
    // Two entries of one name: the link, and a directory with a file that would go through it.
    let outside = text(&case.path("outside"));
    let link = format!("symlink twin0 {outside}");
    ext(&case.path("disk"), &["mkdir dir", "cd dir", &link, "mkdir twin1", "cd twin1", "write /dev/null pwned"]);
    overwrite(&case.path("disk"), b"twin1", b"twin0");
    for mut way in case.ways("/dir") {
        // One of the two is made, or none; neither leads out.
        let ran = ran(&mut way);
        assert!(matches!(ran.code, Some(0 | 1 | 7)), "{way:?}: {ran:?}");
        case.confined(&format!("{way:?}"));
        case.clear();
    }
}

#[test]
fn z3_directories_that_lead_to_their_ancestors_end() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    for command in ["link /dir /dir/sub/loop", "link /dir/sub /dir/sub/loop", "link /dir/sub /dir/again"] {
        let case = Case::ext(&["mkdir dir", "mkdir dir/sub", command]);
        for mut way in case.ways("/dir") {
            let ran = ran(&mut way);
            assert_eq!(ran.code, Some(7), "{way:?}: {ran:?}");
            case.confined(&format!("{way:?}"));
            case.clear();
        }
    }
}

/// The directory entries of a FAT, as mkfs.fat makes it and nomount fills it: a long name of 13 characters at a time,
/// and a short one of 11 bytes.
#[test]
fn z4_impossible_names_of_fat_lead_nowhere() {
    let long = |name: &str| name.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let plant = |from: &[u8], to: &[u8]| {
        let case = Case::new();
        let image = case.image();
        for args in [
            &["mkfs", "-t", "vfat", &image, "4M"][..],
            &["mkdir", &image, "/dir"],
            &["write", &format!("{image}:/dir/abcde"), "--text", "x"],
            &["write", &format!("{image}:/dir/SHORTNAM.TXT"), "--text", "y"],
        ] {
            let ran = run(args);
            assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        }
        overwrite(&case.path("disk"), from, to);
        case
    };
    let mut cases = Vec::new();
    for name in ["../xy", "/etc/", "a/b/c", "ab\0/d", "..\0\0\0", ".\0\0\0\0", "\0\0\0\0\0"] {
        cases.push((name, plant(&long("abcde"), &long(name))));
    }
    for (name, short) in [("../../..", b"../../..TXT"), ("/", b"/       TXT"), ("..", b"..         ")] {
        cases.push((name, plant(b"SHORTNAMTXT", short)));
    }
    for (name, case) in cases {
        for mut way in case.ways("/dir") {
            let ran = ran(&mut way);
            assert!(matches!(ran.code, Some(0 | 1 | 4 | 7)), "{name:?} {way:?}: {ran:?}");
            case.confined(&format!("{name:?} {way:?}"));
            case.clear();
        }
    }
}

#[test]
fn z4_links_that_somebody_put_into_the_target_are_not_followed() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    let tree =
        ["mkdir dir", "cd dir", "write /dev/null file", "symlink link x", "mkdir sub", "cd sub", "write /dev/null f"];
    let names = ["dir/file", "dir/link", "dir/sub", "dir", "dir/sub/f"];
    for (place, target) in
        names.iter().flat_map(|place| ["../outside", "../../outside", "../outside/kept", "kept"].map(|to| (place, to)))
    {
        let case = Case::ext(&tree);
        let link = case.path("out").join(place);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let target = if target == "kept" { case.path("outside/kept") } else { PathBuf::from(target) };
        symlink(&target, &link).unwrap();
        let ran = run(["copy-out", "--archive", &case.image(), "/dir", &text(&case.path("out"))]);
        assert!(matches!(ran.code, Some(0 | 1)), "{place} {target:?}: {ran:?}");
        case.confined(&format!("{place} to {}", target.display()));
    }
}

/// While the tree is copied, somebody who may write into the target puts links to the outside in place of what was just
/// made there, again and again.
#[test]
fn z4_a_target_that_changes_meanwhile_is_not_left() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    let mut commands = vec!["mkdir dir".to_owned(), "cd dir".to_owned()];
    for number in 0..40 {
        commands.extend([
            format!("mkdir d{number}"),
            format!("write /dev/null d{number}/file"),
            format!("mknod p{number} p"),
            format!("symlink l{number} target"),
        ]);
    }
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let case = Case::ext(&commands);
    let (image, out, outside) = (case.image(), case.path("out"), case.path("outside"));
    let over = AtomicBool::new(false);
    let rounds = if crate::common::long() { 300 } else { 15 };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0usize;
            while !over.load(Ordering::Relaxed) {
                let number = turn % 40;
                turn += 1;
                let dir = out.join(format!("dir/d{number}"));
                // Whatever fails here has not been made yet, or is gone again.
                if fs::rename(&dir, out.join("dir/moved")).is_ok() {
                    let _ = symlink(&outside, &dir);
                    let _ = fs::remove_dir_all(out.join("dir/moved"));
                }
                let pipe = out.join(format!("dir/p{number}"));
                if fs::remove_file(&pipe).is_ok() {
                    let _ = symlink(outside.join("kept"), &pipe);
                }
            }
        });
        for _ in 0..rounds {
            let ran = run(["copy-out", "--archive", &image, "/dir", &text(&out)]);
            // It may fail: the one who does this can spoil what is copied, and nothing else.
            assert!(matches!(ran.code, Some(0 | 1 | 3)), "{ran:?}");
            case.confined("a race");
            let _ = fs::remove_dir_all(out.join("dir"));
        }
        over.store(true, Ordering::Relaxed);
    });
    case.confined("after the race");
}

#[test]
fn z4_devices_and_set_id_are_only_made_when_asked_for() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    let tree = [
        "mkdir dir",
        "cd dir",
        "mknod disk b 8 0",
        "mknod mem c 1 1",
        "write /dev/null tool",
        "set_inode_field tool mode 0106755",
    ];
    let case = Case::ext(&tree);
    for way in [&["copy-out"][..], &["cp", "-r"], &["copy-out", "--preserve=mode"]] {
        let (image, out) = (case.image(), text(&case.path("out")));
        let from = if way[0] == "cp" { vec![format!("{image}:/dir")] } else { vec![image, "/dir".to_owned()] };
        let args: Vec<String> = way.iter().map(|arg| (*arg).to_owned()).chain(from).chain([out]).collect();
        let ran = run(&args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        assert!(!case.path("out/dir/disk").exists() && !case.path("out/dir/mem").exists(), "{args:?}");
        let tool = fs::metadata(case.path("out/dir/tool")).unwrap();
        assert_eq!(tool.mode() & 0o7000, 0, "{args:?}");
        case.clear();
    }
}

#[test]
fn z4_capabilities_of_programs_go_with_their_owner_alone() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    let case = Case::ext(&["mkdir dir", "cd dir", "write /dev/null tool"]);
    let (image, out) = (case.image(), text(&case.path("out")));
    // cap_setuid, effective: whoever runs it becomes anybody.
    let value = "0x0100000280000000000000000000000000000000";
    for (name, value) in [("security.capability", value), ("user.note", "kept")] {
        let ran = run(["setfattr", "-n", name, "-v", value, &format!("{image}:/dir/tool")]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let ran = run(["copy-out", "--preserve=mode,xattr", &image, "/dir", &out]);
    assert!(ran.code == Some(0) && ran.stderr.contains("extended attributes could not be kept"), "{ran:?}");
    let mut buffer = [0; 64];
    let has = rustix::fs::getxattr(case.path("out/dir/tool"), "security.capability", &mut buffer[..]);
    assert!(has.is_err(), "the copy has capabilities");
}

/// A script that downloads over a link in a folder that others write to.
#[test]
fn z4_downloads_replace_names_and_follow_only_what_the_user_owns() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    let case = Case::ext(&["write /dev/null file"]);
    let (image, out) = (case.image(), case.path("out"));
    fs::set_permissions(&out, PermissionsExt::from_mode(0o1777)).unwrap();
    symlink(case.path("outside/new"), out.join("dangling")).unwrap();
    let to = text(&out.join("dangling"));
    // What leads nowhere is a name that is replaced.
    for args in [&["download", &image, "/file", &to][..], &["tar-out", &image, "/", &to]] {
        let ran = run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        case.confined(&format!("{args:?}"));
    }
    // A link of somebody else leads nowhere: only root can make one here.
    let link = out.join("trap");
    symlink(case.path("outside/kept"), &link).unwrap();
    let given = output(command("chown").args(["-h", "4711"]).arg(&link));
    if given.status.success() {
        let to = text(&link);
        let script = case.path("out/script");
        fs::write(&script, format!("download /file {to}\n")).unwrap();
        for args in
            [&["download", &image, "/file", &to][..], &["tar-out", &image, "/", &to], &["run", &image, &text(&script)]]
        {
            let ran = run(args);
            assert_eq!(ran.code, Some(3), "{args:?}: {ran:?}");
            case.confined(&format!("{args:?}"));
        }
    }
}
