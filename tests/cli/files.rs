//! `ls`, `find`, `du`, `checksum`, `mtree` beside the host's own programs on the same tree, and `diff`.

use crate::common::{nomount, ran, run, text};
use crate::edit::done;
use crate::{Guest, json, state};
use nomount_kit::{fixture, require, scratch, tool};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A tree on the host, and a filesystem made of it. `t` is what lines can show, `w` has names that break lines.
struct Twins {
    folder: TempDir,
    image: PathBuf,
}

const WEIRD: [&[u8]; 6] = [b"new\nline", b"back\\slash", b"re\rturn", b"by\xff\xfete", b"sp ace #=*?[", b"both\\\n"];

impl Twins {
    fn new() -> Self {
        let folder = scratch::folder();
        let root = folder.path().join("root");
        let at = |name: &str| root.join(name);
        for dir in ["t/a/b/c/d", "t/conf.d", "t/empty", "t/.hidden", "w"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        let file = |name: &str, size: usize, mode: u32, days: f64| {
            let contents: Vec<u8> = (0..size).map(|byte| (byte * 7 % 253) as u8).collect();
            fs::write(at(name), contents).unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
            age(&at(name), days);
        };
        file("t/one.conf", 1, 0o644, 0.1);
        file("t/TWO.CONF", 511, 0o600, 1.2);
        file("t/conf.d/three.conf~", 512, 0o755, 2.4);
        file("t/conf.d/four", 513, 0o4755, 3.5);
        file("t/a/zero", 0, 0o640, 6.9);
        file("t/a/b/kilo", 1024, 0o2711, 7.2);
        file("t/a/b/c/more", 1025, 0o444, 30.3);
        file("t/a/b/c/d/mega", (1 << 20) + 1, 0o666, 400.5);
        file("t/.hidden/.dot", 77, 0o644, 0.01);
        file("t/[odd]*name", 9, 0o644, 0.5);
        file("t/caf\u{e9}", 10, 0o644, 0.5);
        file("t/with space", 11, 0o1644, 0.5);
        for (at_byte, name) in WEIRD.iter().enumerate() {
            let path = at("w").join(std::ffi::OsStr::from_bytes(name));
            fs::write(&path, vec![b'x'; at_byte]).unwrap();
            age(&path, 1.0);
        }
        fs::hard_link(at("t/conf.d/four"), at("t/conf.d/again")).unwrap();
        symlink("one.conf", at("t/link")).unwrap();
        symlink("nowhere at all", at("t/a/dangling")).unwrap();
        symlink("a/b", at("t/to-dir")).unwrap();
        assert!(tool::output(Command::new("mkfifo").arg(at("t/a/pipe"))).status.success());
        for dir in ["t/a/b/c/d", "t/a/b/c", "t/a/b", "t/a", "t/conf.d", "t/empty", "t/.hidden", "t", "w"] {
            age(&at(dir), 12.0);
        }
        let image = folder.path().join("twin.img");
        done(["mkfs", &text(&image), "16M", "-d", &text(&root)]);
        Self { folder, image }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn arg(&self) -> String {
        text(&self.image)
    }

    /// What a program of the host prints, run in the tree.
    fn host(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root()).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        let ran = ran(&mut command);
        assert_eq!(ran.code, Some(0), "{program} {args:?}: {ran:?}");
        ran.stdout
    }
}

/// Sets when a file was changed last.
fn age(path: &Path, days: f64) {
    let time = SystemTime::now() - Duration::from_secs_f64(days * 86_400.0);
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// Lines with single blanks, without what two filesystems do not have in common: how large directories are, how many
/// names they have, and what is allocated.
fn comparable(listing: &str) -> Vec<String> {
    let lines = listing.lines().filter(|line| !line.starts_with("total "));
    lines
        .map(|line| {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            if words.first().is_some_and(|mode| mode.starts_with('d') && mode.len() == 10) {
                (words[1], words[4]) = ("links", "size");
            }
            words.join(" ").trim_start_matches('/').to_owned()
        })
        .collect()
}

#[test]
fn ls_prints_what_coreutils_prints() {
    if !require(&["ls"]) {
        return;
    }
    let twins = Twins::new();
    let image = twins.arg();
    for (options, host) in [
        (vec!["-lRn", "--time-style=full-iso"], vec!["-lRn", "--time-style=full-iso"]),
        (vec!["-lRnA", "--time-style=+%s"], vec!["-lRnA", "--time-style=+%s"]),
        (vec!["-lnhA", "--time-style=long-iso"], vec!["-lnhA", "--time-style=long-iso"]),
        (vec!["-R"], vec!["-R1"]),
        (vec![], vec![]),
        (vec!["-d"], vec!["-d"]),
    ] {
        let args = [&["ls"][..], &options, &[&image, "/t"]].concat();
        // By bytes, as the C locale sorts, with names as they are.
        let host = twins.host("env", &[&["LC_ALL=C", "ls", "-N"][..], &host, &["t"]].concat());
        assert_eq!(comparable(&done(args).stdout), comparable(&host), "{options:?}");
    }
    let both = done(["ls", "-dln", &image, "/t/link", "/t/to-dir", "/t/a/pipe"]).stdout;
    assert!(both.contains(" /t/link -> one.conf\n") && both.contains(" /t/to-dir -> a/b\n"), "{both}");
    assert_eq!(done(["ls", &image, "/t/to-dir", "/t/one.conf"]).stdout, "/t/one.conf\n\n/t/a/b:\nc\nkilo\n");
    assert_eq!(done(["ls", &image, "/t/a/dangling"]).stdout, "/t/a/dangling\n");
}

/// Of the bytes `a,"b`.
const MD5: &str = "1817f1595198f19a8aa096fa12208100";

#[test]
fn ls_has_names_checksums_and_tables() {
    let guest = Guest::new();
    let image = guest.arg();
    done(["chown", "12345:12", &image, "/etc/hosts"]);
    done(["mknod", &image, "/dev/sda1", "b", "8", "1"]);
    done(["mknod", &image, "/dev/null", "c", "1", "3"]);
    let lines = done(["ls", "-l", &image, "/dev"]).stdout;
    assert!(lines.starts_with("total 0\ncrw-r--r-- 1 root root 1, 3 "), "{lines}");
    let long = done(["ls", "-l", &image, "/etc/hosts", "/etc/shadow"]).stdout;
    assert!(long.contains("1 12345     12 ") && long.contains("1 root  shadow "), "{long}");
    done(["write", &image, "/srv/f", "--text", "a,\"b"]);
    let csv = done(["ls", "--csv", "--checksum=md5", &image, "/srv"]).stdout;
    let titles = "path,type,mode,links,uid,user,gid,group,size,device,mtime,target,md5\n";
    assert!(csv.starts_with(titles) && csv.contains("/srv/f,file,0644,1,0,root,0,root,4,,20"), "{csv}");
    // The checksum as md5sum has it.
    assert!(csv.ends_with(&format!(",,{}\n", MD5)), "{csv}");
    let document = json(&done(["ls", "--json", "--checksum=crc", &image, "/srv", "/etc/shadow"]));
    assert_eq!(document["files"][0]["group"], "shadow");
    let host = guest.path("f");
    fs::write(&host, "a,\"b").unwrap();
    let cksum = tool::output(Command::new("cksum").arg(&host)).stdout;
    let wanted = String::from_utf8(cksum).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(document["files"][1]["checksum"]["crc"], wanted);
    assert_eq!(run(["ls", "-Rd", &image]).code, Some(2));
    assert_eq!(run(["ls", "--time-style=iso", &image]).code, Some(2));
}

#[test]
fn find_finds_what_findutils_find() {
    if !require(&["find"]) {
        return;
    }
    let twins = Twins::new();
    let uid = fs::metadata(twins.root()).unwrap().uid().to_string();
    let newer = "2026-01-01";
    let mut expressions: Vec<String> = [
        "",
        "-name *.conf",
        "-iname *.conf",
        "-name .*",
        "-name \\[odd\\]*",
        "-name [[]odd*",
        "-name caf?",
        "-name [[:upper:]]*",
        "-name [!a-z]*",
        "-path t/*/c/*",
        "-ipath T/A/*",
        "-wholename t/a/b",
        "-lname one* -o -lname *at*",
        "-type f,l",
        "-type d -empty",
        "-empty",
        "-maxdepth 2 -mindepth 2",
        "-mindepth 3 -type f",
        "-maxdepth 0",
        "-name b -prune -o -print",
        "-path t/a -prune -o -type f",
        "( -type l -o -type p ) -a ! -name link",
        "-type f ! -perm -u=w",
        "-type f -perm -4000",
        "-type f -perm /6000",
        "-type f -perm 644",
        "-type f -perm u=rw,g=r,o=r",
        "-type f -perm /a+x",
        "-type f -perm -g+r,o+r",
        "-type f -links 2",
        "-type f -links +1",
        "-nouser -false",
        "-type f -newer t/conf.d/four",
        "-not -newer t/a/zero -type f",
        "-true -name z*",
    ]
    .map(str::to_owned)
    .to_vec();
    for size in ["0", "1", "2", "-2", "+1", "513c", "+512c", "-1k", "1k", "2k", "+1k", "1M", "2M", "-1M", "1w", "-1G"] {
        expressions.push(format!("-type f -size {size}"));
    }
    for days in ["0", "1", "-1", "+1", "3", "6", "7", "-7", "+7", "+399", "400"] {
        expressions.push(format!("-mtime {days}"));
    }
    for minutes in ["-20", "+20", "-1000", "+500000"] {
        expressions.push(format!("-mmin {minutes} -type f"));
    }
    expressions.push(format!("-newermt {newer}"));
    expressions.push(format!("-uid {uid} -type p"));
    expressions.push(format!("! -uid {uid}"));
    for expression in &expressions {
        let words: Vec<&str> = expression.split_whitespace().collect();
        let host = twins.host("find", &[&["t"][..], &words].concat());
        let wanted: BTreeSet<String> = host.lines().map(|line| format!("/{line}")).collect();
        // The paths of a guest begin with a slash.
        let ours: Vec<String> = words
            .iter()
            .map(|word| if word.to_lowercase().starts_with("t/") { format!("/{word}") } else { (*word).to_owned() })
            .collect();
        let target = format!("{}:/t", twins.arg());
        let found = done(["find".to_owned(), target].into_iter().chain(ours)).stdout;
        let found: BTreeSet<String> = found.lines().map(str::to_owned).collect();
        assert_eq!(found, wanted, "{expression}");
    }
}

#[test]
fn find_tells_paths_of_any_bytes_and_refuses_what_it_does_not_do() {
    let twins = Twins::new();
    let image = twins.arg();
    let out = tool::output(nomount().args(["find", &image, "/w", "-type", "f", "-print0"])).stdout;
    let found: BTreeSet<&[u8]> = out.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
    let wanted: BTreeSet<Vec<u8>> = WEIRD.iter().map(|name| [b"/w/", *name].concat()).collect();
    assert_eq!(found, wanted.iter().map(Vec::as_slice).collect());
    let several = done(["find", &image, "/t/empty", "/t/link", "-ls"]).stdout;
    assert!(several.lines().count() == 2 && several.ends_with(" /t/link -> one.conf\n"), "{several}");
    let document = json(&done(["find", &image, "-name", "one.conf", "--json"]));
    assert_eq!((&document["files"][0]["path"], &document["files"][0]["size"]), (&"/t/one.conf".into(), &1.into()));
    for (args, code, words) in [
        (vec!["-exec", "cat", "{}", ";"], 4, "xargs -0"),
        (vec!["-delete"], 4, "xargs -0 nomount rm"),
        (vec!["-type", "q"], 2, "-type q"),
        (vec!["-name"], 2, "needs an argument"),
        (vec!["/nothing"], 1, "no such file"),
        (vec!["-user", "nobody-here"], 1, "nobody-here"),
        (vec!["(", "-name", "x"], 2, "not closed"),
    ] {
        let ran = run([&["find", &image][..], &args].concat());
        assert!(ran.code == Some(code) && ran.stderr.contains(words) && ran.stdout.is_empty(), "{args:?}: {ran:?}");
    }
}

#[test]
fn du_counts_what_coreutils_count() {
    if !require(&["du"]) {
        return;
    }
    let twins = Twins::new();
    let image = twins.arg();
    let target = format!("{image}:/t");
    let parse = |text: &str| -> BTreeMap<String, u64> {
        let line = |line: &str| {
            let (size, path) = line.split_once('\t').unwrap();
            (format!("/{}", path.trim_start_matches('/')), size.parse().unwrap())
        };
        text.lines().map(line).collect()
    };
    let host = parse(&twins.host("du", &["-ab", "t"]));
    let ours = parse(&done(["du", "-ab", &target]).stdout);
    let is_dir = |path: &str| fs::symlink_metadata(twins.root().join(&path[1..])).unwrap().is_dir();
    for (path, size) in &ours {
        // Older versions of coreutils count the lengths of directories.
        let below = || host.iter().filter(|(other, _)| other.starts_with(&format!("{path}/")) && !is_dir(other));
        let wanted =
            if is_dir(path) { below().map(|(_, size)| size).sum() } else { host.get(path).copied().unwrap_or(513) };
        assert_eq!(*size, wanted, "{path}");
    }
    // One of the two names of a file, not always the same.
    assert_eq!(ours.len(), host.len());
    assert_eq!(ours.keys().filter(|path| path.starts_with("/t/conf.d/")).count(), 2);
    // What is allocated, by the filesystem's own blocks of 1 KiB: 1026 for the longest file, none for the empty one.
    let blocks = parse(&done(["du", "-a", &target]).stdout);
    assert_eq!((blocks["/t/a/zero"], blocks["/t/one.conf"], blocks["/t/link"]), (0, 1, 0));
    let sum: u64 = ["/t/.hidden", "/t/a", "/t/conf.d", "/t/empty"].iter().map(|dir| blocks[*dir]).sum();
    let files = blocks.iter().filter(|(path, _)| path.matches('/').count() == 2 && !is_dir(path));
    assert_eq!(blocks["/t"], sum + files.map(|(_, size)| size).sum::<u64>() + 1);
    let total = done(["du", "-sch", &image, "/t/a", "/t/a/b/c/d/mega"]).stdout;
    let size = blocks["/t/a"];
    assert!(size > 1024 && total == "1.1M\t/t/a\n1.1M\ttotal\n", "{total}");
    let document = json(&done(["du", "--json", "-d1", &target]));
    assert_eq!(document["total_bytes"], blocks["/t"] * 1024);
    assert_eq!(run(["du", "-sa", &target]).code, Some(2));
}

#[test]
fn checksums_are_those_of_coreutils() {
    if !require(&["sha256sum"]) {
        return;
    }
    let twins = Twins::new();
    let image = twins.arg();
    for (algorithm, program) in
        [("md5", "md5sum"), ("sha1", "sha1sum"), ("sha256", "sha256sum"), ("sha512", "sha512sum")]
    {
        let list = format!("find . -type f -exec {program} {{}} +");
        let host = tool::output(Command::new("sh").args(["-c", &list]).current_dir(twins.root())).stdout;
        let ours = tool::output(nomount().args(["checksum", algorithm, &image, "-r"])).stdout;
        let lines =
            |text: &[u8]| -> BTreeSet<Vec<u8>> { text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect() };
        let host = lines(&host).into_iter().map(|line| {
            let dot = line.windows(3).position(|three| three == b" ./").map(|at| at + 1);
            dot.map_or(line.clone(), |dot| [&line[..dot], &line[dot + 1..]].concat())
        });
        assert_eq!(lines(&ours), host.collect(), "{algorithm}");
    }
    let one = done(["checksum", "crc", &image, "/t/a/b/c/d/mega", "/t/link"]).stdout;
    let host = twins.host("cksum", &["t/a/b/c/d/mega", "t/link"]).replace(" t/", " /t/");
    assert_eq!(one, host);
    let device = done(["checksum", &image]).stdout;
    let host = twins.host("sha256sum", &[&image]);
    assert_eq!(device, host);
    let guest = text(&fixture::guest());
    if require(&["qemu-img"]) {
        let raw = scratch::raw_of(Path::new(&guest), "qcow2");
        let raw = text(&raw);
        let wanted = twins.host("md5sum", &[&raw]);
        assert_eq!(done(["checksum", "md5", &guest]).stdout[..32], wanted[..32]);
        let document = json(&done(["checksum", "--json", "md5", &format!("{guest}@1")]));
        let len = document["size"].as_u64().unwrap();
        let part = format!("tail -c +{} {raw} | head -c {len} | md5sum", (13 << 20) + 1);
        let wanted = twins.host("sh", &["-c", &part]);
        assert_eq!((document["checksum"].as_str(), &document["start"]), (Some(&wanted[..32]), &(13 << 20).into()));
    }
    for (args, code, words) in [
        (vec!["checksum", &image, "/t"], 1, "-r takes all files in it"),
        (vec!["checksum", &image, "/no"], 1, "no such file"),
        (vec!["checksum", &image, "/t/a/pipe"], 3, "named pipe"),
        (vec!["checksum", "sha3", &image], 1, "sha3"),
    ] {
        let ran = run(&args);
        assert!(ran.code == Some(code) && ran.stderr.contains(words), "{args:?}: {ran:?}");
    }
}

#[test]
fn a_list_of_checksums_is_checked() {
    let twins = Twins::new();
    let image = twins.arg();
    let list = twins.folder.path().join("list");
    fs::write(&list, tool::output(nomount().args(["checksum", &image, "-r"])).stdout).unwrap();
    let check = || run(["checksum", &image, "--quiet", "-c", &text(&list)]);
    let all = tool::output(nomount().args(["checksum", &image, "-c", &text(&list)]));
    assert!(all.status.success() && all.stdout.ends_with(b"/w/sp ace #=*?[: OK\n"), "{all:?}");
    assert_eq!(check().stdout, "");
    done(["write", &image, "/t/one.conf", "--text", "2"]);
    done(["rm", &image, "/t/TWO.CONF"]);
    let ran = check();
    assert_eq!((ran.code, &ran.stdout[..]), (Some(1), "/t/TWO.CONF: FAILED open or read\n/t/one.conf: FAILED\n"));
    assert!(ran.stderr.contains("1 differ and 1 cannot be read"), "{ran:?}");
    let ran = run(["checksum", "--json", &image, "-c", &text(&list)]);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &document["ok"]), (Some(1), &false.into()));
    fs::write(&list, "no list\n").unwrap();
    assert_eq!(check().code, Some(2));
}

/// Reads a manifest as mtree(5) describes it: paths with their keywords.
fn parse_mtree(text: &str) -> BTreeMap<Vec<u8>, BTreeMap<String, Vec<u8>>> {
    let decode = |text: &str| -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, more @ ..] = rest {
            if *first == b'\\' {
                let octal = std::str::from_utf8(&more[..3]).unwrap();
                bytes.push(u8::from_str_radix(octal, 8).unwrap());
                rest = &more[3..];
            } else {
                bytes.push(*first);
                rest = more;
            }
        }
        bytes
    };
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("#mtree"));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let path = decode(words.next().unwrap());
            let keywords = words.map(|word| word.split_once('=').unwrap());
            (path, keywords.map(|(key, value)| (key.to_owned(), decode(value))).collect())
        })
        .collect()
}

#[test]
fn a_manifest_says_what_the_host_knows() {
    let twins = Twins::new();
    let manifest = parse_mtree(&done(["mtree", &twins.arg(), "--hash=md5"]).stdout);
    let mut wanted = BTreeSet::new();
    let mut pending = vec![twins.root()];
    while let Some(path) = pending.pop() {
        let below = path.strip_prefix(twins.root()).unwrap();
        let name = [&b"./"[..], below.as_os_str().as_bytes()].concat();
        let name = if below.as_os_str().is_empty() { b".".to_vec() } else { name };
        let keywords = &manifest[&name];
        let meta = fs::symlink_metadata(&path).unwrap();
        let value = |key: &str| String::from_utf8(keywords[key].clone()).unwrap();
        if !below.as_os_str().is_empty() {
            assert_eq!(value("mode"), format!("{:04o}", meta.mode() & 0o7777), "{path:?}");
            assert_eq!((value("uid"), value("gid")), (meta.uid().to_string(), meta.gid().to_string()), "{path:?}");
            assert_eq!(value("time"), format!("{}.{:09}", meta.mtime(), meta.mtime_nsec()), "{path:?}");
        }
        if meta.is_dir() {
            assert_eq!(value("type"), "dir");
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_symlink() {
            assert_eq!(keywords["link"], fs::read_link(&path).unwrap().into_os_string().into_vec());
        } else if meta.is_file() {
            assert_eq!((value("size"), value("nlink")), (meta.len().to_string(), meta.nlink().to_string()));
            let sum = tool::output(Command::new("md5sum").stdin(File::open(&path).unwrap())).stdout;
            assert_eq!(value("md5digest").as_bytes(), &sum[..32]);
        } else {
            assert_eq!(value("type"), "fifo");
        }
        wanted.insert(name);
    }
    wanted.insert(b"./lost+found".to_vec());
    assert_eq!(manifest.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    let below = done(["mtree", &format!("{}:/t/to-dir", twins.arg()), "--hash=none"]).stdout;
    assert!(below.starts_with("#mtree\n. type=dir ") && !below.contains("digest"), "{below}");
    assert_eq!(run(["mtree", &twins.arg(), "--hash=crc"]).code, Some(2));
    let document = json(&done(["mtree", "--json", &format!("{}:/t/a/b/kilo", twins.arg())]));
    assert_eq!(document["files"][0]["checksum"]["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn diff_tells_what_was_changed_and_only_that() {
    let guest = Guest::new();
    let before = text(&fixture::guest());
    let image = guest.arg();
    let same = run(["diff", &before, &image]);
    assert_eq!((same.code, &same.stdout[..], &same.stderr[..]), (Some(0), "", ""));
    let edit = |args: &[&str]| {
        let ran = ran(nomount().args(args).env("SOURCE_DATE_EPOCH", "1800000000"));
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    };
    edit(&["write", &image, "/etc/hostname", "--text", "other\n"]);
    edit(&["chmod", "600", &image, "/etc/hosts"]);
    edit(&["chown", "1:2", &image, "/etc/fstab"]);
    edit(&["rm", "-r", &image, "/etc/ssh"]);
    edit(&["ln", "-sfn", "usr/sbin", &format!("{image}:/bin")]);
    edit(&["mkdir", &image, "/srv/new"]);
    edit(&["setfattr", "-n", "user.x", "-v", "1", &image, "/srv"]);
    let ran = run(["diff", &before, &image, "--ignore", "mtime"]);
    assert_eq!(ran.code, Some(1));
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let has = |line: &str| assert!(lines.contains(&line), "{line:?} in {}", ran.stdout);
    has("# changed: target usr/bin -> usr/sbin");
    has("# changed: mode 0644 -> 0600");
    has("# changed: uid 0 -> 1, gid 0 -> 2");
    has("# changed: xattrs +user.x");
    has("= - 0644            6 /etc/hostname");
    has("- d 0755         4096 /etc/ssh");
    has("+ d 0755         4096 /srv/new");
    let removed = lines.iter().filter(|line| line.starts_with("- ")).count();
    assert!(removed == 4 && lines.iter().filter(|line| line.starts_with("# ")).count() == 5, "{}", ran.stdout);
    let csv = run(["diff", "--csv", "--ignore=mtime", &format!("{before}:/etc"), &format!("{image}@1:/etc")]).stdout;
    assert!(csv.starts_with("change,path,type,mode,size,fields\n"), "{csv}");
    assert!(csv.contains("changed,/fstab,file,0644,") && csv.contains(",\"uid gid\"\n"), "{csv}");
    let ran = run(["diff", "--json", &format!("{before}:/etc/hosts"), &format!("{image}:/etc/hosts")]);
    let document = json(&ran);
    let one = &document["differences"][0];
    assert_eq!((&document["equal"], &document["compared"], &one["path"]), (&false.into(), &1.into(), &"/".into()));
    assert_eq!((&one["fields"], &one["before"]["mode"]), (&serde_json::json!(["mode"]), &"0644".into()));
    assert_eq!(run(["diff", &before, &format!("{image}:/no")]).code, Some(1));
    assert_eq!(run(["diff", &before, &image, "--ignore", "colour"]).code, Some(2));
}

#[test]
fn an_overlay_is_compared_with_its_base() {
    if !require(&["qemu-img"]) {
        return;
    }
    let guest = Guest::new();
    let overlay = guest.path("overlay.qcow2");
    let make = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "guest.qcow2"];
    let made = tool::output(Command::new("qemu-img").args(make).arg(&overlay));
    assert!(made.status.success(), "{}", tool::text(&made));
    done(["append", "--allow-backing", &text(&overlay), "/etc/hostname", "--text", "x"]);
    let (before, after) = (state(&guest.image), state(&overlay));
    let ran = run(["diff", "--allow-backing", &guest.arg(), &text(&overlay)]);
    assert!(ran.code == Some(1) && ran.stdout.contains("= - 0644"), "{ran:?}");
    assert!(
        ran.stdout.contains("/etc/hostname\n# changed: content, size ") && ran.stdout.lines().count() == 2,
        "{ran:?}"
    );
    assert!(state(&guest.image) == before && state(&overlay) == after);
    assert_eq!(run(["diff", &guest.arg(), &text(&overlay)]).code, Some(3));
}
