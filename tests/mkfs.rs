//! `nomount mkfs`: what it fills a filesystem with, against mke2fs -d and GNU tar; what it refuses.

mod common;

use common::{nomount, ran, run, text};
use nomount_kit::digest::{Entry, Kind, TreeDigest};
use nomount_kit::{judges, require, scratch, tool};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

const SEED: &str = "12345";

/// A tree with everything that a process without privileges can make, and devices where it may make them.
fn make_tree(root: &Path) {
    fs::create_dir_all(root).unwrap();
    for dir in 0..30 {
        let folder = root.join(format!("dir-{dir}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..70 {
            let contents: Vec<u8> = (0..dir * 91 + file * 37).map(|at| (at * 7 + file) as u8).collect();
            fs::write(folder.join(format!("file with a longer name {file}")), contents).unwrap();
        }
    }
    let large = fs::canonicalize(root).unwrap().join("large-directory");
    fs::create_dir(&large).unwrap();
    for file in 0..1500 {
        File::create(large.join(format!("an-empty-file-{file:06}"))).unwrap();
    }
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("blob"), vec![0xA5; 3 << 20]).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(200 << 20).unwrap();
    for at in [0, 65_536, 1 << 20, 100 << 20] {
        sparse.write_all_at(&[at as u8 + 1; 5000], at).unwrap();
    }
    fs::hard_link(root.join("blob"), root.join("dir-3/also-blob")).unwrap();
    fs::hard_link(root.join("blob"), root.join("zz-blob")).unwrap();
    symlink("../short", root.join("dir-1/fast")).unwrap();
    symlink("x/".repeat(200), root.join("dir-1/slow")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("dir-2/socket")).unwrap();
    // Only root can, and not everywhere.
    let device = rustix::fs::makedev(300, 70_000);
    let _ = mknodat(CWD, root.join("device"), FileType::BlockDevice, Mode::RUSR, device);
    let _ = mknodat(CWD, root.join("null"), FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3));
    fs::write(root.join("attributes"), "x").unwrap();
    for (name, len) in [("user.one", 5), ("user.long", 900)] {
        // A host without them leaves them out of the comparison on both sides.
        let _ = lsetxattr(root.join("attributes"), name, &vec![b'v'; len], XattrFlags::empty());
    }
    let _ = lsetxattr(root.join("dir-4"), "user.dir", b"of a directory", XattrFlags::empty());
    fs::write(root.join("set-id"), "x").unwrap();
    fs::set_permissions(root.join("set-id"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(root.join("dir-5"), fs::Permissions::from_mode(0o3770)).unwrap();
    fs::create_dir(root.join("dir-5/below")).unwrap();
    fs::set_permissions(root.join("dir-5/below"), fs::Permissions::from_mode(0o700)).unwrap();
    let times = |sec, nsec| FileTimes::new().set_modified(UNIX_EPOCH + Duration::new(sec, nsec));
    File::open(root.join("empty")).unwrap().set_times(times(1_600_000_000, 123_456_789)).unwrap();
    File::open(root.join("dir-6")).unwrap().set_times(times(1_500_000_000, 0)).unwrap();
}

/// What must be the same whoever fills: not inode numbers, not the times that say when it was done, and neither the
/// access time, which mke2fs takes from the host.
fn comparable(digest: TreeDigest) -> Vec<(Vec<u8>, Entry, Vec<Vec<u8>>)> {
    let entries = digest.entries;
    let all = entries.iter().map(|(path, entry)| {
        let mut plain = entry.clone();
        plain.inode = 0;
        (plain.ctime, plain.atime, plain.crtime) = ((0, 0), (0, 0), None);
        // An index is an optimisation.
        plain.flags = 0;
        if plain.kind == Kind::Dir {
            plain.size = 0;
        }
        if matches!(&path[..], b"/" | b"/lost+found") {
            plain.mtime = (0, 0);
        }
        let names = entries.iter().filter(|(_, other)| other.inode == entry.inode && entry.links > 1);
        let names = if entry.kind == Kind::Dir { Vec::new() } else { names.map(|(name, _)| name.clone()).collect() };
        (path.clone(), plain, names)
    });
    all.collect()
}

fn assert_same(what: &str, a: TreeDigest, b: TreeDigest) {
    let (a, b) = (comparable(a), comparable(b));
    let differs = |(a, b): &(&_, &_)| a != b;
    let first = a.iter().zip(&b).find(differs);
    assert!(first.is_none() && a.len() == b.len(), "{what}: {first:#?}, {} against {} entries", a.len(), b.len());
}

fn made(image: &Path, size: &str, more: &[&str]) -> TreeDigest {
    let done = ran(nomount().args(["mkfs", &text(image), size, "--no-sync", "--seed", SEED]).args(more));
    assert_eq!(done.code, Some(0), "{done:?}");
    judges::e2fsck_fn(image, 0).unwrap();
    TreeDigest::of_ext(image, 0)
}

#[test]
fn a_directory_and_its_tar_give_what_mke2fs_gives() {
    if !require(&["mke2fs", "e2fsck", "debugfs", "tar"]) {
        return;
    }
    let folder = scratch::folder();
    let at = |name: &str| folder.path().join(name);
    let tree = at("tree");
    make_tree(&tree);
    let done = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d", &text(&tree), &text(&at("theirs")), "300M"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", tool::text(&done));
    let theirs = TreeDigest::of_ext(&at("theirs"), 0);
    assert!(theirs.entries.len() > 3600);
    let ours = made(&at("ours"), "300M", &["-d", &text(&tree)]);
    // mke2fs -d keeps whole seconds (until 1.47.1).
    let (mut whole, mut theirs) = (ours.clone(), theirs);
    for entry in whole.entries.values_mut().chain(theirs.entries.values_mut()) {
        entry.mtime.1 = 0;
    }
    assert_same("directory", whole, theirs);
    assert_eq!(ours.get("/empty").unwrap().mtime, (1_600_000_000, 123_456_789));
    for kind in ["ext2", "ext3"] {
        let old = made(&at(kind), "300M", &["-t", kind, "-d", &text(&tree)]);
        assert_same(kind, old, ours.clone());
    }
    // GNU tar leaves sockets out and has two forms of sparse files; the old one holds neither fractions of a second
    // nor attributes.
    for (format, more) in [("posix", &["--xattrs", "--xattrs-include=*"][..]), ("gnu", &[])] {
        let tar = at("tree.tar");
        let done = Command::new("tar")
            .args(["--create", "--sparse", "--sort=name", "--format", format, "--file", &text(&tar), "--directory"])
            .args([&text(&tree), "--warning=no-file-ignored"])
            .args(more)
            .arg(".")
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", tool::text(&done));
        let from_tar = made(&at(format), "300M", &["-d", &text(&tar)]);
        let (mut from_tar, mut wanted) = (from_tar, ours.clone());
        wanted.entries.retain(|_, entry| entry.kind != Kind::Socket);
        if format == "gnu" {
            for entry in from_tar.entries.values_mut().chain(wanted.entries.values_mut()) {
                entry.mtime.1 = 0;
                entry.xattrs.clear();
            }
        }
        assert_same(format, from_tar, wanted);
        // The holes of 200 MiB are still holes.
        let (from_tar, from_dir) = (free_blocks(&at(format)), free_blocks(&at("ours")));
        assert!(
            from_tar.abs_diff(from_dir) < 100,
            "{format}: {from_tar} blocks are free, {from_dir} from the directory"
        );
    }
}

fn free_blocks(image: &Path) -> u64 {
    let text = tool::text(&tool::output(tool::command("dumpe2fs").arg("-h").arg(image)));
    let line = text.lines().find_map(|line| line.strip_prefix("Free blocks:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn the_same_files_give_the_same_bytes() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let folder = scratch::folder();
    let at = |name: &str| folder.path().join(name);
    make_tree(&at("tree"));
    for image in ["one", "two"] {
        let mut command = nomount();
        command.env("SOURCE_DATE_EPOCH", "1590000000").args(["mkfs", &text(&at(image)), "300M", "--seed", SEED]);
        let done = ran(command.args(["--no-sync", "--owner", "0:0", "-d", &text(&at("tree"))]));
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    assert!(fs::read(at("one")).unwrap() == fs::read(at("two")).unwrap());
    judges::e2fsck_fn(&at("one"), 0).unwrap();
    let digest = TreeDigest::of_ext(&at("one"), 0);
    let newest = digest.entries.values().map(|entry| entry.mtime.max(entry.ctime).max(entry.atime)).max();
    assert_eq!(newest, Some((1_590_000_000, 0)));
    // What is older stays.
    assert_eq!(digest.get("/dir-6").unwrap().mtime, (1_500_000_000, 0));
    assert!(digest.entries.values().all(|entry| (entry.uid, entry.gid) == (0, 0)));
}

#[test]
fn what_is_there_is_overwritten_only_by_force() {
    if !require(&["e2fsck", "qemu-img", "sfdisk"]) {
        return;
    }
    let folder = scratch::folder();
    let image = folder.path().join("disk.img");
    let name = text(&image);
    let refused = |args: &[&str], code: i32, words: &str| {
        let done = run(args);
        assert!(done.code == Some(code) && done.stderr.contains(words), "{args:?}: {done:?}");
    };
    refused(&["mkfs", &name], 1, "does not exist");
    assert_eq!(run(["mkfs", &name, "64M", "-n"]).code, Some(0));
    assert!(!image.exists());
    refused(&["mkfs", &name, "64M", "-O", "casefold"], 4, "casefold");
    assert!(!image.exists());
    assert_eq!(run(["mkfs", &name, "64M", "-t", "ext3", "-L", "first"]).code, Some(0));
    judges::e2fsck_fn(&image, 0).unwrap();
    let before = fs::read(&image).unwrap();
    refused(&["mkfs", &name], 3, "ext3");
    assert!(fs::read(&image).unwrap() == before);
    let done = run(["mkfs", &name, "-F", "-t", "ext2", "--json"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let json: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&json["type"], &json["journal_blocks"]), (&"ext2".into(), &0.into()));
    judges::e2fsck_fn(&image, 0).unwrap();
    // A partition table, then a filesystem in one partition of it and nothing elsewhere.
    fs::write(&image, vec![0; 64 << 20]).unwrap();
    let mut sfdisk = Command::new("sh");
    sfdisk.args(["-c", "printf 'label: gpt\\nstart=2048,size=40960\\nstart=43008,size=40960\\n' | sfdisk -q \"$0\""]);
    assert!(sfdisk.arg(&image).status().unwrap().success());
    refused(&["mkfs", &name], 3, "partition table with 2");
    let before = fs::read(&image).unwrap();
    assert_eq!(run(["mkfs", &format!("{name}@2")]).code, Some(0));
    let after = fs::read(&image).unwrap();
    let partition = 43_008 * 512..(43_008 + 40_960) * 512;
    assert!(before[..partition.start] == after[..partition.start] && before[partition.end..] == after[partition.end..]);
    judges::e2fsck_fn(&image, partition.start as u64).unwrap();
    judges::sfdisk_json(&image).unwrap();
    // A qcow2 image stays one.
    let qcow2 = folder.path().join("disk.qcow2");
    let create = tool::output(tool::command("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&qcow2).arg("2G"));
    assert!(create.status.success());
    assert_eq!(run(["mkfs", &text(&qcow2)]).code, Some(0));
    judges::qemu_img_check(&qcow2, judges::Leaks::Refused).unwrap();
    let raw = scratch::raw_of(&qcow2, "qcow2");
    judges::e2fsck_fn(&raw, 0).unwrap();
}

/// A stream from a stranger stays inside the tree and fails with words.
#[test]
fn a_hostile_stream_is_refused() {
    if !require(&["tar"]) {
        return;
    }
    let folder = scratch::folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("tree")).unwrap();
    fs::write(at("tree/file"), "contents").unwrap();
    let tar = |transform: &str| {
        let out = text(&at("bad.tar"));
        let done = Command::new("tar")
            .args(["-cPf", &out, "-C", &text(&at("tree")), "--transform", transform, "file"])
            .output()
            .unwrap();
        assert!(done.status.success());
        out
    };
    let escaping = tar("s,file,../../file,");
    let done = run(["mkfs", &text(&at("image")), "8M", "-d", &escaping]);
    assert!(done.code == Some(3) && done.stderr.contains("leaves the tree"), "{done:?}");
    assert!(!at("image").exists());
    let good = tar("s,file,/deep/below/file,");
    let bytes = fs::read(&good).unwrap();
    fs::write(at("cut.tar"), &bytes[..515]).unwrap();
    let done = run(["mkfs", &text(&at("image")), "8M", "-d", &text(&at("cut.tar"))]);
    assert!(done.code == Some(1) && !at("image").exists(), "{done:?}");
    // Directories that were not told are made, and it is said.
    let done = run(["mkfs", &text(&at("image")), "8M", "-d", &good]);
    assert!(done.code == Some(0) && done.stderr.contains("/deep/below: made"), "{done:?}");
    let full = run(["mkfs", &text(&at("small")), "200K", "-t", "ext2", "-d", "/usr/bin"]);
    assert!(full.code == Some(6) && !at("small").exists(), "{full:?}");
}
