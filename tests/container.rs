//! Containers without a mount: the way out of an image and back, and images and containers that mean harm.

mod common;

use common::{Ran, run, text};
use nomount_kit::debian::{self, Container, Layout, Release};
use nomount_kit::digest::{Change, Field, cat};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::tool::{command, output};
use nomount_kit::{TreeDigest, fixture, require, scratch};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An image, and the directory of a container beside it.
struct Case {
    folder: TempDir,
    image: PathBuf,
    /// Byte offset of the filesystem in it.
    offset: u64,
}

impl Case {
    fn new(image: &Path, offset: u64) -> Self {
        let folder = scratch::folder();
        let image = scratch::copy_as(image, folder.path().join("disk"));
        Self { folder, image, offset }
    }

    fn guest() -> Self {
        // The guest's root begins at sector 26624.
        Self::new(&fixture::guest(), 26_624 * 512)
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir().join(path)
    }

    fn container(&self, verb: &str, more: &[&str]) -> Ran {
        let mut args = vec!["container".to_owned(), verb.to_owned()];
        if verb == "setup" {
            args.push(text(&self.image));
        }
        args.push(text(&self.dir()));
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        run(&args)
    }

    fn json(&self, verb: &str, more: &[&str]) -> Value {
        let ran = self.container(verb, &[more, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Fails with this exit code and word, and leaves nothing but the image.
    fn refuses(&self, code: i32, word: &str) {
        let ran = self.container("setup", &["--partition", "none"]);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(word), "{ran:?}");
        self.only_the_image();
    }

    fn only_the_image(&self) {
        let left: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["disk"]);
    }

    /// What is in the image, which must be sound.
    fn judged(&self, format: &str) -> TreeDigest {
        let raw = scratch::raw_of(&self.image, format);
        judges::e2fsck_fn(&raw, self.offset).unwrap();
        TreeDigest::of_ext(&raw, self.offset)
    }
}

/// Path, and what is different there, without what follows from it.
fn shown(changes: &[Change]) -> Vec<String> {
    let consequence = |field: &Field| matches!(field, Field::Ctime | Field::Size | Field::Inode);
    changes
        .iter()
        .filter_map(|change| match change {
            Change::Changed { path, fields, .. } => {
                let fields: Vec<_> = fields.iter().filter(|field| !consequence(field)).collect();
                (!fields.is_empty()).then(|| format!("~ {} {fields:?}", String::from_utf8_lossy(path)))
            }
            change => Some(format!("{change:?}")),
        })
        .collect()
}

fn sleep_a_tick() {
    // The host's clock for files may move by 10 ms at a time.
    std::thread::sleep(std::time::Duration::from_millis(20));
}

#[test]
fn v6_what_has_changed_is_brought_back_in_one_commit() {
    if !require(&["qemu-img", "e2fsck", "debugfs"]) {
        return;
    }
    let case = Case::guest();
    let before = case.judged("qcow2");
    let made = case.json("setup", &[]);
    assert_eq!(made["names"], before.entries.len());
    assert_eq!(fs::metadata(case.dir()).unwrap().mode() & 0o7777, 0o755);
    let manifest = fs::metadata(case.folder.path().join("root.nomount-manifest")).unwrap();
    assert_eq!(manifest.mode() & 0o7777, 0o600);
    for (path, entry) in &before.entries {
        let host = case.at(std::str::from_utf8(&path[1..]).unwrap());
        let meta = fs::symlink_metadata(&host).unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec() as u32), entry.mtime, "{}", host.display());
        assert!(meta.is_dir() || meta.len() == entry.size, "{}", host.display());
    }
    sleep_a_tick();
    fs::write(case.at("etc/new"), "new\n").unwrap();
    fs::set_permissions(case.at("etc/new"), Permissions::from_mode(0o4711)).unwrap();
    fs::rename(case.at("etc/hostname"), case.at("etc/hostname.old")).unwrap();
    fs::hard_link(case.at("etc/passwd"), case.at("etc/passwd.link")).unwrap();
    fs::remove_dir_all(case.at("etc/ssh")).unwrap();
    fs::set_permissions(case.at("etc/hosts"), Permissions::from_mode(0o600)).unwrap();
    fs::create_dir_all(case.at("opt/x/y")).unwrap();
    fs::write(case.at("opt/x/y/z"), "linked\n").unwrap();
    fs::hard_link(case.at("opt/x/y/z"), case.at("opt/x/zz")).unwrap();
    symlink("/absolute", case.at("opt/l")).unwrap();
    // Two files change places, a file takes the place of another, a link that of a directory.
    fs::rename(case.at("etc/group"), case.at("etc/between")).unwrap();
    fs::rename(case.at("etc/shadow"), case.at("etc/group")).unwrap();
    fs::rename(case.at("etc/between"), case.at("etc/shadow")).unwrap();
    fs::rename(case.at("etc/shells"), case.at("etc/profile")).unwrap();
    fs::remove_dir_all(case.at("etc/skel")).unwrap();
    symlink("pam.d", case.at("etc/skel")).unwrap();
    let sparse = fs::File::create(case.at("opt/sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (1 << 30) - 3).unwrap();

    let done = case.json("teardown", &["--commit"]);
    case.only_the_image();
    assert_eq!(done["written"], true);
    assert_eq!(
        (&done["committed"]["linked"], &done["committed"]["owners_unknown"]),
        (&Value::from(6), &Value::from(0))
    );
    judges::qemu_img_check(&case.image, Leaks::Refused).unwrap();
    let after = case.judged("qcow2");
    let changes = before.diff(&after);
    let gone = ["/etc/hostname", "/etc/shells", "/etc/skel/", "/etc/ssh"];
    let rest: Vec<String> = shown(&changes)
        .into_iter()
        .filter(|line| !gone.iter().any(|gone| line.starts_with(&format!("- {gone}"))))
        .collect();
    assert_eq!(
        rest,
        [
            "~ /etc [Links, Mtime]",
            "~ /etc/group [Mode, Gid, Content]",
            "+ /etc/hostname.old",
            "~ /etc/hosts [Mode]",
            "+ /etc/new",
            "~ /etc/passwd [Links]",
            "+ /etc/passwd.link",
            "~ /etc/profile [Content]",
            "~ /etc/shadow [Mode, Gid, Content]",
            "~ /etc/skel [Kind, Mode, Flags, Links, Mtime, Atime, Crtime, Target]",
            "~ /opt [Links, Mtime]",
            "+ /opt/l",
            "+ /opt/sparse",
            "+ /opt/x",
            "+ /opt/x/y",
            "+ /opt/x/y/z",
            "+ /opt/x/zz",
        ]
    );
    let entry = |path: &str| after.get(path).unwrap();
    // What was renamed is what it was, with its inode and all.
    assert_eq!(entry("/etc/hostname.old").inode, before.get("/etc/hostname").unwrap().inode);
    assert_eq!(entry("/etc/group").inode, before.get("/etc/shadow").unwrap().inode);
    assert_eq!((entry("/etc/passwd").inode, entry("/etc/passwd").links), (entry("/etc/passwd.link").inode, 2));
    assert_eq!(entry("/opt/x/zz").inode, entry("/opt/x/y/z").inode);
    assert_eq!(entry("/etc/new").mode, 0o4711);
    let raw = scratch::raw_of(&case.image, "qcow2");
    assert_eq!(cat(&raw, case.offset, "/etc/new"), b"new\n");
    assert_eq!(cat(&raw, case.offset, "/opt/x/zz"), b"linked\n");
    assert_eq!(entry("/opt/sparse").size, 1 << 30);

    let again = case.json("teardown", &["--commit"]);
    assert_eq!((&again["found"], &again["written"]), (&Value::from(false), &Value::from(false)));
    assert_eq!(case.judged("qcow2"), after);
}

#[test]
fn v6_without_a_change_nothing_is_written_and_without_commit_changes_are_dropped() {
    let case = Case::guest();
    let before = fs::read(&case.image).unwrap();
    case.json("setup", &[]);
    let done = case.json("teardown", &["--commit"]);
    assert_eq!((&done["written"], &done["committed"]["changed"]), (&Value::from(false), &Value::from(0)));
    case.only_the_image();
    // An empty directory that is there will do.
    fs::create_dir(case.dir()).unwrap();
    case.json("setup", &[]);
    sleep_a_tick();
    fs::write(case.at("etc/new"), "x").unwrap();
    fs::write(case.at("etc/hosts"), "y").unwrap();
    fs::remove_file(case.at("etc/passwd")).unwrap();
    let done = case.json("teardown", &[]);
    assert_eq!((&done["discarded"], &done["written"]), (&Value::from(3), &Value::from(false)));
    case.only_the_image();
    assert_eq!(fs::read(&case.image).unwrap(), before);
}

#[test]
fn v6_a_failed_setup_leaves_what_was_there() {
    let case = Case::guest();
    fs::create_dir(case.dir()).unwrap();
    fs::set_permissions(case.dir(), Permissions::from_mode(0o750)).unwrap();
    fs::write(case.at("mine"), "x").unwrap();
    let ran = case.container("setup", &[]);
    assert!(ran.code == Some(1) && ran.stderr.contains("not empty"), "{ran:?}");
    assert_eq!(fs::metadata(case.dir()).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(fs::read(case.at("mine")).unwrap(), b"x");
    // Neither of these removes what was not set up.
    let ran = case.container("teardown", &[]);
    assert!(ran.code == Some(3) && case.at("mine").exists(), "{ran:?}");
    let ran = case.container("clean", &[]);
    assert!(ran.code == Some(0) && ran.stderr.contains("is missing") && case.at("mine").exists(), "{ran:?}");
    // A manifest in the way.
    fs::remove_dir_all(case.dir()).unwrap();
    let manifest = case.folder.path().join("root.nomount-manifest");
    fs::write(&manifest, "mine").unwrap();
    let ran = case.container("setup", &[]);
    assert!(ran.code == Some(1) && ran.stderr.contains("set up before"), "{ran:?}");
    assert!(!case.dir().exists() && fs::read(&manifest).unwrap() == b"mine");
}

#[test]
fn v6_clean_forgets_and_never_fails() {
    let case = Case::guest();
    let before = fs::read(&case.image).unwrap();
    assert_eq!(case.json("clean", &[])["found"], false);
    case.json("setup", &[]);
    sleep_a_tick();
    fs::write(case.at("etc/new"), "x").unwrap();
    assert_eq!(case.json("clean", &[])["found"], true);
    case.only_the_image();
    assert_eq!(fs::read(&case.image).unwrap(), before);
    // Another directory in its place is not ours.
    case.json("setup", &[]);
    fs::rename(case.dir(), case.folder.path().join("moved")).unwrap();
    fs::create_dir(case.dir()).unwrap();
    fs::write(case.at("mine"), "x").unwrap();
    assert_eq!(case.container("teardown", &[]).code, Some(3));
    assert_eq!(case.json("clean", &[])["notes"].as_array().unwrap().len(), 1);
    assert!(case.at("mine").exists());
    // A setup that was killed: the manifest has no end.
    fs::remove_dir_all(case.dir()).unwrap();
    case.json("setup", &[]);
    let manifest = case.folder.path().join("root.nomount-manifest");
    let text = fs::read(&manifest).unwrap();
    fs::write(&manifest, &text[..text.len() / 2]).unwrap();
    assert_eq!(case.container("teardown", &["--commit"]).code, Some(7));
    assert_eq!(case.json("teardown", &[])["found"], true);
    assert!(!case.dir().exists() && !manifest.exists());
}

#[test]
fn v6_an_image_that_was_changed_meanwhile_is_refused() {
    if !require(&["qemu-img", "e2fsck", "debugfs"]) {
        return;
    }
    let case = Case::guest();
    case.json("setup", &[]);
    sleep_a_tick();
    fs::write(case.at("etc/new"), "x").unwrap();
    let injected = run(["inject", &text(&case.image), "--metadata", "a=b", "--no-sync"]);
    assert_eq!(injected.code, Some(0), "{injected:?}");
    let ran = case.container("teardown", &["--commit"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("was changed since"), "{ran:?}");
    assert!(case.at("etc/new").exists());
    case.json("teardown", &["--commit", "--force"]);
    let after = case.judged("qcow2");
    assert!(after.get("/etc/new").is_some() && after.get("/meta.js").is_some());
}

#[test]
fn v6_a_commit_that_fails_loses_nothing() {
    let case = Case::guest();
    let before = fs::read(&case.image).unwrap();
    case.json("setup", &[]);
    sleep_a_tick();
    // More than the filesystem has room for.
    fs::write(case.at("opt/large"), vec![1; 60 << 20]).unwrap();
    fs::write(case.at("etc/hosts"), "changed").unwrap();
    let ran = case.container("teardown", &["--commit"]);
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert_eq!(fs::read(&case.image).unwrap(), before);
    assert_eq!(fs::read(case.at("etc/hosts")).unwrap(), b"changed");
    fs::remove_file(case.at("opt/large")).unwrap();
    assert_eq!(case.json("teardown", &["--commit"])["written"], true);
}

#[test]
fn owners_come_back_as_they_went() {
    if !require(&["qemu-img", "e2fsck", "debugfs"]) {
        return;
    }
    let case = Case::guest();
    let before = case.judged("qcow2");
    // Root may give files to these, others may not: either way the image keeps its owners.
    let maps = ["--uid-map", "0:100000:65536", "--gid-map", "0:200000:65536"];
    let made = case.json("setup", &maps);
    let given = made["owners_recorded"] == 0;
    let mine = fs::metadata(case.folder.path()).unwrap();
    let owner = |path: &str| fs::symlink_metadata(case.at(path)).map(|meta| (meta.uid(), meta.gid())).unwrap();
    assert_eq!(owner("etc/shadow"), if given { (100_000, 200_042) } else { (mine.uid(), mine.gid()) });
    sleep_a_tick();
    fs::write(case.at("etc/shadow"), "changed").unwrap();
    fs::write(case.at("etc/new"), "x").unwrap();
    if given {
        std::os::unix::fs::chown(case.at("etc/new"), Some(100_033), Some(200_034)).unwrap();
        std::os::unix::fs::chown(case.at("etc/hosts"), Some(100_007), None).unwrap();
        std::os::unix::fs::chown(case.at("etc/fstab"), Some(5), None).unwrap();
    }
    let done = case.json("teardown", &["--commit"]);
    let after = case.judged("qcow2");
    let owner = |path: &str| after.get(path).map(|entry| (entry.uid, entry.gid)).unwrap();
    assert_eq!(owner("/etc/shadow"), (0, 42));
    let was = before.get("/etc/fstab").unwrap();
    assert_eq!(owner("/etc/fstab"), (was.uid, was.gid));
    if given {
        assert_eq!((owner("/etc/new"), owner("/etc/hosts")), ((33, 34), (7, 0)));
        assert_eq!(done["committed"]["owners_unknown"], 1);
    }
}

/// A small filesystem without checksums, as mke2fs makes it, changed by debugfs.
fn crafted(commands: &[&str]) -> Case {
    let folder = scratch::folder();
    let image = folder.path().join("disk");
    common::hostile::ext(&image, commands);
    Case { folder, image, offset: 0 }
}

/// Writes other names over names, of the same length.
fn patch(case: &Case, names: &[(&[u8], &[u8])]) {
    names.iter().for_each(|(from, to)| common::hostile::overwrite(&case.image, from, to));
}

#[test]
fn z4_names_of_an_image_lead_nowhere_else() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    for (to, shown) in [
        (&b"../pwned"[..], "../pwned"),
        (b"a/bcdefg", "a/bcdefg"),
        (b"/etc/pwn", "/etc/pwn"),
        (b"ab\0cdefg", r"ab\x00"),
    ] {
        let case = crafted(&["mkdir dir", "cd dir", "mkdir abcdefgh"]);
        patch(&case, &[(b"abcdefgh", to)]);
        case.refuses(7, shown);
    }
    // `.` and `..` a second time, and a name of no length, are no names that a directory holds.
    for to in [&b"."[..], b".."] {
        let case = crafted(&["mkdir dir", "cd dir", "mkdir abcdefgh"]);
        let mut bytes = fs::read(&case.image).unwrap();
        let at = bytes.windows(8).position(|part| part == b"abcdefgh").unwrap();
        bytes[at - 2] = to.len() as u8;
        bytes[at..at + to.len()].copy_from_slice(to);
        fs::write(&case.image, bytes).unwrap();
        let made = case.json("setup", &["--partition", "none"]);
        assert_eq!((&made["names"], fs::read_dir(case.at("dir")).unwrap().count()), (&Value::from(3), 0));
    }
}

#[test]
fn z4_a_file_is_not_reached_through_a_link() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    // A link to the directory outside, and a directory of the same name with a file in it.
    let case = crafted(&["symlink outside0 ../..", "mkdir outside1", "cd outside1", "mkdir pwned"]);
    patch(&case, &[(b"outside1", b"outside0")]);
    case.refuses(7, "outside0");
    let case = crafted(&["symlink link /etc", "mkdir dir", "cd dir", "symlink up ../../../../etc/passwd"]);
    case.json("setup", &["--partition", "none"]);
    assert_eq!(fs::read_link(case.at("link")).unwrap(), Path::new("/etc"));
    assert_eq!(fs::read_link(case.at("dir/up")).unwrap(), Path::new("../../../../etc/passwd"));
}

#[test]
fn z3_a_directory_in_itself_ends() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    for command in ["link /dir /dir/sub/loop", "link / /dir/sub/root", "link /dir /again"] {
        crafted(&["mkdir dir", "mkdir dir/sub", command]).refuses(7, "has a second place");
    }
}

#[test]
fn z4_devices_and_set_id_bits_only_when_asked_for() {
    if !require(&["mke2fs", "debugfs", "e2fsck", "qemu-img"]) {
        return;
    }
    let case =
        crafted(&["mknod null c 1 3", "write /dev/null tool", "set_inode_field tool mode 0104755", "mkdir gone"]);
    let made = case.json("setup", &["--partition", "none"]);
    assert_eq!((&made["devices_recorded"], &made["set_id_recorded"]), (&Value::from(1), &Value::from(1)));
    assert!(!case.at("null").exists());
    assert_eq!(fs::metadata(case.at("tool")).unwrap().mode() & 0o7777, 0o755);
    sleep_a_tick();
    fs::write(case.at("tool"), "changed").unwrap();
    fs::set_permissions(case.at("tool"), Permissions::from_mode(0o711)).unwrap();
    fs::remove_dir(case.at("gone")).unwrap();
    case.json("teardown", &["--commit"]);
    let after = case.judged("raw");
    assert_eq!(after.get("/tool").unwrap().mode, 0o4711);
    assert_eq!(after.get("/null").unwrap().device, Some((1, 3)));
    assert!(after.get("/gone").is_none());
}

#[test]
fn attributes_of_users_go_both_ways_and_others_stay() {
    if !require(&["mke2fs", "debugfs", "e2fsck", "qemu-img"]) {
        return;
    }
    let sets = ["a", "b", "c"].map(|name| format!("ea_set file user.{name} old"));
    let mut commands = vec!["write /dev/null file", "ea_set file trusted.t kept", "mkdir dir", "ea_set dir user.d old"];
    commands.extend(sets.iter().map(String::as_str));
    let case = crafted(&commands);
    let before = case.judged("raw");
    let made = case.json("setup", &["--partition", "none"]);
    let host_has_them = made["xattrs_recorded"] == 1;
    sleep_a_tick();
    if host_has_them {
        rustix::fs::setxattr(case.at("file"), "user.b", b"new", rustix::fs::XattrFlags::empty()).unwrap();
        rustix::fs::removexattr(case.at("file"), "user.c").unwrap();
        rustix::fs::setxattr(case.at("dir"), "user.e", b"new", rustix::fs::XattrFlags::empty()).unwrap();
    }
    fs::write(case.at("file"), "changed").unwrap();
    case.json("teardown", &["--commit"]);
    let after = case.judged("raw");
    let xattrs = |tree: &TreeDigest, path: &str| -> Vec<(String, String)> {
        let list = tree.get(path).unwrap().xattrs.clone().into_iter();
        list.map(|(name, value)| (name, String::from_utf8(value).unwrap())).collect()
    };
    let shown = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    if host_has_them {
        let file = [("trusted.t", "kept"), ("user.a", "old"), ("user.b", "new")];
        assert_eq!(xattrs(&after, "/file"), shown(&file));
        assert_eq!(xattrs(&after, "/dir"), shown(&[("user.d", "old"), ("user.e", "new")]));
    } else {
        assert_eq!(xattrs(&after, "/file"), xattrs(&before, "/file"));
    }
}

/// What runs in a container can write anything into its directory.
#[test]
fn z4_links_of_the_container_are_not_followed_on_the_way_back() {
    if !require(&["qemu-img", "e2fsck", "debugfs"]) {
        return;
    }
    let case = Case::guest();
    let outside = scratch::folder();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    case.json("setup", &[]);
    sleep_a_tick();
    fs::remove_dir_all(case.at("etc/ssh")).unwrap();
    symlink(outside.path(), case.at("etc/ssh")).unwrap();
    fs::remove_file(case.at("etc/hosts")).unwrap();
    symlink(outside.path().join("secret"), case.at("etc/hosts")).unwrap();
    let done = output(command("mkfifo").arg(case.at("tmp/fifo")));
    assert!(done.status.success());
    let _socket = std::os::unix::net::UnixListener::bind(case.at("tmp/socket")).unwrap();
    let done = case.json("teardown", &["--commit"]);
    assert_eq!(done["notes"].as_array().unwrap().len(), 1, "{done}");
    let after = case.judged("qcow2");
    assert_eq!(
        after.get("/etc/hosts").unwrap().target.as_deref(),
        outside.path().join("secret").to_str().map(str::as_bytes)
    );
    assert!(after.get("/etc/ssh/secret").is_none() && after.get("/tmp/fifo").is_some());
    assert!(after.get("/tmp/socket").is_none());
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
    case.only_the_image();
}

#[test]
fn v6_a_whole_debian_goes_out_and_comes_back() {
    if !require(&["qemu-img", "e2fsck", "debugfs"]) {
        return;
    }
    let Some(image) = debian::image(Release::Bookworm, Layout::None, Container::Raw) else { return };
    let case = Case::new(&image, 0);
    let before = TreeDigest::of_ext(&case.image, 0);
    let made = case.json("setup", &["--partition", "none"]);
    assert_eq!(made["names"], before.entries.len());
    sleep_a_tick();
    let docs = before.entries.keys().filter(|path| path.starts_with(b"/usr/share/doc/base-files")).count();
    fs::remove_dir_all(case.at("usr/share/doc/base-files")).unwrap();
    fs::rename(case.at("usr/share/zoneinfo"), case.at("usr/share/zones")).unwrap();
    fs::copy(case.at("usr/bin/bash"), case.at("usr/local/bin/bash2")).unwrap();
    let motd = fs::read(case.at("etc/motd")).unwrap();
    fs::write(case.at("etc/motd"), [&motd[..], b"more\n"].concat()).unwrap();
    let done = case.json("teardown", &["--commit"]);
    judges::e2fsck_fn(&case.image, 0).unwrap();
    let after = TreeDigest::of_ext(&case.image, 0);
    let moved =
        |path: &[u8]| path.strip_prefix(b"/usr/share/zoneinfo").map(|rest| [b"/usr/share/zones", rest].concat());
    // The same tree but for this.
    let mut wanted = before.clone();
    wanted.entries.retain(|path, _| !path.starts_with(b"/usr/share/doc/base-files"));
    wanted.entries = wanted.entries.into_iter().map(|(path, entry)| (moved(&path).unwrap_or(path), entry)).collect();
    let rest = shown(&wanted.diff(&after));
    let rest: Vec<&str> = rest.iter().map(String::as_str).filter(|line| !line.contains("/usr/share/zones")).collect();
    assert_eq!(
        rest,
        [
            "~ /etc/motd [Mtime, Content]",
            "~ /usr/local/bin [Mtime]",
            "+ /usr/local/bin/bash2",
            "~ /usr/share [Mtime]",
            "~ /usr/share/doc [Links, Mtime]",
        ]
    );
    let zone = after.get("/usr/share/zones/Europe/Berlin").unwrap();
    assert_eq!(zone.inode, before.get("/usr/share/zoneinfo/Europe/Berlin").unwrap().inode);
    assert_eq!(after.get("/usr/local/bin/bash2").unwrap().content, before.get("/usr/bin/bash").unwrap().content);
    assert!(done["committed"]["removed"].as_u64().unwrap() >= docs as u64);
}
