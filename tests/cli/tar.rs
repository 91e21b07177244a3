//! `tar-in` and `tar-out`, with GNU tar and Python as judges.

use crate::common::{Ran, nomount, ran, run, text};
use crate::{Guest, state};
use nomount_kit::debian::{self, Container, Layout, Release};
use nomount_kit::digest::{Change, Field, Kind};
use nomount_kit::{TreeDigest, judges, require, scratch, tool};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tar::{Builder, EntryType, Header};

fn done<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    let ran = run(args);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran
}

/// An empty filesystem.
fn empty(guest: &Guest, size: &str) -> PathBuf {
    let image = guest.path("empty.img");
    done(["mkfs", &text(&image), size, "--seed", "1"]);
    image
}

fn tar_of(image: &str, guest: &Guest, more: &[&str]) -> Vec<u8> {
    let file = guest.path("stream.tar");
    let mut args = vec!["tar-out", image];
    args.extend(more);
    let name = text(&file);
    args.push(&name);
    done(args);
    fs::read(file).unwrap()
}

/// Everything that a stream may hold, made by the verbs.
fn fill(image: &str) {
    let long = "d/".repeat(60) + "file";
    let at = |path: &str| format!("{image}:/all/{path}");
    done(["mkdir", "-p", image, &format!("/all/{}", "d/".repeat(60))]);
    done(["write", &at(&long), "--text", "deep"]);
    done(["ln", "-s", &"t".repeat(150), &at("link")]);
    done(["ln", image, &format!("/all/{long}"), "/all/same"]);
    done(["truncate", "-s", "9G", &at("hole")]);
    done(["append", &at("hole"), "--text", "end"]);
    done(["mknod", &at("disk"), "b", "8", "300"]);
    done(["mknod", &at("tty"), "c", "4", "64"]);
    done(["mknod", &at("pipe"), "p"]);
    done(["write", &at("odd"), "--text", "x"]);
    done(["chown", "-h", "3000000000:70000", &at("odd")]);
    done(["touch", "-d", "@-1000.25", &at("odd")]);
    done(["chmod", "6751", &at("odd")]);
    for (name, value) in [("user.a=b%", "1"), ("security.capability", "0x0100000200040000000000000000000000000000")] {
        done(["setfattr", "-n", name, "-v", value, &at("odd")]);
    }
    let label = ["-n", "security.selinux", "-v", "system_u:object_r:etc_t:s0"];
    done(["setfattr"].iter().chain(&label).copied().chain([&at("odd")[..]]));
}

#[test]
fn other_programs_read_it() {
    if !require(&["tar", "python3"]) {
        return;
    }
    let guest = Guest::new();
    let image = guest.arg();
    fill(&image);
    let stream = tar_of(&image, &guest, &["/all"]);
    assert!(stream.len() < 1 << 20 && stream.len().is_multiple_of(10_240), "{}", stream.len());
    let file = guest.path("stream.tar");
    let list = |args: &[&str]| {
        let out = tool::output(tool::command("tar").args(args).arg(&file));
        assert!(out.status.success() && out.stderr.is_empty(), "{}", tool::text(&out));
        String::from_utf8(out.stdout).unwrap()
    };
    let shown = list(&["--full-time", "--xattrs", "--xattrs-include=*", "-tvvf"]);
    let shown =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n");
    for wanted in [
        "9663676419 ",
        "./same link to ./d/d/",
        "brw-r--r-- root/root 8,300",
        "prw-r--r--",
        "-rwsr-s--x* 3000000000/70000",
        "x: 26 security.selinux",
        "x: 1 user.a=b%",
        "x: 20 security.capability",
        &format!("-> {}", "t".repeat(150)),
    ] {
        assert!(shown.contains(wanted), "{wanted}:\n{shown}");
    }
    let script = "import sys, tarfile
t = tarfile.open(sys.argv[1])
for m in t.getmembers():
    print(m.name, m.size, oct(m.mode), m.uid, m.gid, m.uname, m.mtime, m.type, m.issparse())
f = t.extractfile('./hole'); f.seek(9 << 30); print(f.read())
print(t.extractfile(t.getmember('./same')).read())
print(t.getmember('./odd').pax_headers['SCHILY.xattr.user.a%3Db%25'])
";
    let out = tool::output(tool::command("python3").args(["-c", script]).arg(&file));
    let shown = tool::text(&out);
    assert!(out.status.success(), "{shown}");
    for wanted in
        ["./hole 9663676419 0o644 0 0 root ", "True\n", "b'end'", "b'deep'", "0o6751 3000000000 70000", "-1000.25"]
    {
        assert!(shown.contains(wanted), "{wanted}:\n{shown}");
    }
    // And unpacked by GNU tar, packed by it again, it comes back.
    let folder = guest.path("there");
    fs::create_dir(&folder).unwrap();
    let unpacked = tool::output(tool::command("tar").arg("-xf").arg(&file).arg("-C").arg(&folder).args([
        "--exclude",
        "./disk",
        "--exclude",
        "./tty",
    ]));
    assert!(unpacked.status.success(), "{}", tool::text(&unpacked));
    assert_eq!(fs::metadata(folder.join("hole")).unwrap().len(), 9663676419);
    // A quarter of a second more than 1000 seconds before 1970: GNU tar shows another time, and sets this.
    let odd = fs::metadata(folder.join("odd")).unwrap();
    assert_eq!((odd.mtime(), odd.mtime_nsec()), (-1001, 750_000_000));
}

#[test]
fn a_stream_comes_back_the_same_in_every_compression() {
    if !require(&["e2fsck"]) {
        return;
    }
    let guest = Guest::new();
    let image = guest.arg();
    fill(&image);
    let stream = tar_of(&image, &guest, &[]);
    for (suffix, option) in [("tar", None), ("tgz", None), ("tar.xz", None), ("tar.zst", None), ("bin", Some("zstd"))] {
        let file = text(&guest.path(&format!("stream.{suffix}")));
        let mut args = vec!["tar-out", &image, &file];
        if let Some(option) = option {
            args.extend(["--compress", option]);
        }
        done(args);
        let fresh = empty(&guest, "64M");
        done(["tar-in", &text(&fresh), &file]);
        assert!(tar_of(&text(&fresh), &guest, &[]) == stream, "{suffix}");
        judges::e2fsck_fn(&fresh, 0).unwrap();
        fs::remove_file(fresh).unwrap();
    }
    let mut piped = nomount();
    let short = tar_of(&image, &guest, &["--exclude", "hole", "--exclude", "/etc", "--exclude", "same", "/"]);
    let fresh = empty(&guest, "64M");
    fs::write(guest.path("short"), &short).unwrap();
    piped.args(["tar-in", &text(&fresh), "-"]).stdin(fs::File::open(guest.path("short")).unwrap());
    assert_eq!(ran(&mut piped).code, Some(0));
    let names = done(["ls", &format!("{}:/", text(&fresh))]).stdout;
    assert!(names.contains("all") && !names.contains("etc"), "{names}");
    assert_eq!(run(["tar-out", &image, "/etc"]).code, Some(2));
    let both =
        nomount().args(["tar-out", &image, "/etc/passwd", "/root", "-"]).stdout(Stdio::piped()).output().unwrap();
    assert!(both.status.success() && both.stdout.starts_with(b"etc/passwd\0"));
}

/// A stream of these entries: name, type, target or contents.
fn stream(guest: &Guest, entries: &[(&str, EntryType, &str)]) -> String {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, text) in entries {
        let mut header = Header::new_gnu();
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        let contents = if kind.is_file() { *text } else { "" };
        if !kind.is_file() && !text.is_empty() {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_size(contents.len() as u64);
        header.set_cksum();
        builder.append(&header, contents.as_bytes()).unwrap();
    }
    let file = guest.path("made.tar");
    fs::write(&file, builder.into_inner().unwrap()).unwrap();
    text(&file)
}

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

#[test]
fn a_hostile_stream_writes_nothing_outside() {
    let guest = Guest::new();
    let image = guest.arg();
    done(["mkdir", "-p", &format!("{image}:/srv/in")]);
    done(["ln", "-s", "/etc", &format!("{image}:/srv/in/known")]);
    let before = state(&guest.image);
    for entries in [
        &[("ok", FILE, "x"), ("../../etc/passwd", FILE, "x")][..],
        &[("a/../../x", FILE, "x")],
        &[("out", LINK, "/etc"), ("out/passwd", FILE, "x")],
        &[("out", LINK, ".."), ("out/x", FILE, "x")],
        &[("b", LINK, ".."), ("a", LINK, "b"), ("a/x", FILE, "x")],
        &[("hard", HARD, "../../etc/shadow")],
        &[("hard", HARD, "no/such")],
        &[("loop", LINK, "loop"), ("loop/x", FILE, "x")],
        &[("f", FILE, "x"), ("f/x", FILE, "x")],
    ] {
        let file = stream(&guest, entries);
        let failed = run(["tar-in", &image, &file, "/srv/in"]);
        assert!(matches!(failed.code, Some(1 | 3)), "{entries:?}: {failed:?}");
    }
    assert!(state(&guest.image) == before, "something that failed wrote");
    // Absolute names are those below the directory, links of the guest are followed in the guest, and one of the stream
    // that leads out is only a link as long as nothing goes through it.
    let file = stream(
        &guest,
        &[
            ("/abs", FILE, "1"),
            ("known/new", FILE, "2"),
            ("out", LINK, "/etc"),
            ("in", LINK, "dir"),
            ("dir", DIR, ""),
            ("in/x", FILE, "3"),
        ],
    );
    done(["tar-in", &image, &file, "/srv/in"]);
    for (path, wanted) in [("/srv/in/abs", "1"), ("/etc/new", "2"), ("/srv/in/dir/x", "3")] {
        assert_eq!(done(["cat", &format!("{image}:{path}")]).stdout, wanted);
    }
    assert_eq!(done(["readlink", &format!("{image}:/srv/in/out")]).stdout, "/etc\n");
}

#[test]
fn what_is_in_the_way_gives_way_as_tar_has_it() {
    let guest = Guest::new();
    let image = guest.arg();
    done(["mkdir", "-p", &image, "/srv/full/sub", "/srv/real", "/srv/none"]);
    done(["ln", "-s", "real", &format!("{image}:/srv/dir")]);
    let kind = |path: &str| run(["stat", "--json", &format!("{image}:{path}")]).stdout;
    let file = stream(&guest, &[("full", FILE, "x")]);
    assert_eq!(run(["tar-in", &image, &file, "/srv"]).code, Some(1));
    let file = stream(&guest, &[("none", FILE, "x"), ("dir", DIR, ""), ("dir/f", FILE, "x")]);
    done(["tar-in", "--keep-directory-symlink", &image, &file, "/srv"]);
    assert!(kind("/srv/dir").contains("symlink") && kind("/srv/real/f").contains("file"));
    done(["tar-in", &image, &file, "/srv"]);
    assert!(kind("/srv/dir").contains("directory") && kind("/srv/none").contains("\"file\""));
}

#[test]
fn layers_of_an_image_remove_what_was_there_before() {
    let guest = Guest::new();
    let image = guest.arg();
    done(["mkdir", "-p", &image, "/r/opaque/old/deep", "/r/gone/deep", "/r/becomes", "/r/keep"]);
    done(["touch", &image, "/r/opaque/new", "/r/gone/f", "/r/keep/f", "/r/keep/g", "/r/becomes/f"]);
    let file = stream(
        &guest,
        &[
            ("opaque", DIR, ""),
            ("opaque/new", FILE, "from the layer"),
            ("opaque/old", DIR, ""),
            ("opaque/.wh..wh..opq", FILE, ""),
            (".wh.gone", FILE, ""),
            (".wh.never-there", FILE, ""),
            ("keep", DIR, ""),
            ("keep/.wh.f", FILE, ""),
            (".wh..wh.aufs", FILE, ""),
            ("becomes", FILE, "a file"),
        ],
    );
    done(["tar-in", "--oci-layer", &image, &file, "/r"]);
    let names = |path: &str| done(["ls", &format!("{image}:{path}")]).stdout;
    assert_eq!(names("/r").split_whitespace().collect::<Vec<_>>(), ["becomes", "keep", "opaque"]);
    assert_eq!(names("/r/opaque").split_whitespace().collect::<Vec<_>>(), ["new", "old"]);
    assert_eq!((names("/r/opaque/old").trim(), names("/r/keep").trim()), ("", "g"));
    assert_eq!(
        done(["cat", &format!("{image}:/r/opaque/new"), &format!("{image}:/r/becomes")]).stdout,
        "from the layera file"
    );
}

fn hash(path: &Path) -> String {
    let out = tool::output(Command::new("sha256sum").arg(path));
    tool::text(&out)[..64].to_owned()
}

#[test]
fn a_debian_comes_back_byte_for_byte() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let Some(original) = debian::image(Release::Trixie, Layout::None, Container::Raw) else { return };
    let folder = scratch::folder();
    let path = |name: &str| folder.path().join(name);
    let (source, fresh) = (text(&original), text(&path("fresh.img")));

    done(["mkfs", &fresh, "4G", "--seed", "1", "--no-sync"]);
    let (first, second) = (path("first.tar"), path("second.tar"));
    done(["tar-out", &source, &text(&first)]);
    let made = done(["tar-in", "--no-sync", "--json", "--verify=always", &fresh, &text(&first)]);
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    // ext4-view has read all of it back: each path, with contents, mode and owner.
    let (all, read) = (made["copied"]["entries"].as_u64().unwrap(), &made["verified"]);
    assert!(all > 10_000 && read["independent_reader"] == all && read["own_reader"] == 0, "{read}, {all} entries");
    judges::e2fsck_fn(Path::new(&fresh), 0).unwrap();
    done(["tar-out", &fresh, &text(&second)]);
    assert_eq!(hash(&first), hash(&second));
    fs::remove_file(first).unwrap();
    fs::remove_file(second).unwrap();
    let (before, after) = (TreeDigest::of_ext(&original, 0), TreeDigest::of_ext(Path::new(&fresh), 0));
    // A new filesystem has its own numbers, and knows when its files were made.
    let own = [Field::Inode, Field::Ctime, Field::Atime, Field::Crtime, Field::Flags];
    for change in before.diff(&after) {
        match &change {
            Change::Changed { path, fields, .. } => {
                // Sizes of directories are a matter of their history.
                let is_dir = before.get(path).is_some_and(|entry| entry.kind == Kind::Dir);
                let may = |field: &Field| own.contains(field) || is_dir && *field == Field::Size;
                assert!(fields.iter().all(may), "{change:?}");
            }
            _ => panic!("{change:?}"),
        }
    }
}
