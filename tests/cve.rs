//! Attacks that others were hurt by, each tried on the program: what the image does, and what must come of it.
//!
//! One test for each, by its number. Images are made here, see `common/hostile.rs`.

mod common;

use common::hostile::{DATA_FILE, Qcow2, ext, rename};
use common::{KEY, Ran, ran, run, text};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{fixture, require, scratch, tool};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Every attack that has a test here: `cve_` and its number, or what else it is known by.
const TABLE: [&str; 24] = [
    "cve_2010_3851",
    "cve_2012_2690",
    "cve_2012_3360",
    "cve_2012_3361",
    "cve_2012_3447",
    "cve_2013_2096",
    "cve_2013_4463",
    "cve_2013_4469",
    "cve_2013_7130",
    "cve_2014_0134",
    "cve_2014_0223",
    "cve_2015_5162",
    "cve_2015_5163",
    "cve_2015_7548",
    "cve_2016_2140",
    "cve_2022_47951",
    "cve_2024_32498",
    "cve_2024_40767",
    "cve_2024_4467",
    "cve_2024_44082",
    "cve_2026_24708",
    "e2fsprogs_272",
    "nova_lp_1015531",
    "rhbz_1260778",
];

#[test]
fn the_table_is_complete() {
    let source = include_str!("cve.rs");
    let tests = source.split("#[test]\nfn ").skip(1).filter_map(|part| part.split('(').next());
    let mut tests: Vec<&str> = tests.filter(|name| *name != "the_table_is_complete").collect();
    tests.sort_unstable();
    let mut table = TABLE.to_vec();
    table.sort_unstable();
    assert_eq!(tests, table);
}

/// What a file of the host holds that no image may show.
const SECRET: &str = "the host's own secret 5e884898da28";
/// Bytes of address space that the program has for an image that wants more.
const MEMORY: u64 = 1 << 30;
/// How long it may take over such an image.
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder with a file of the host and an image.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = scratch::folder();
        fs::write(folder.path().join("secret"), format!("{SECRET}\n").repeat(200)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn secret(&self) -> String {
        text(&self.path("secret"))
    }

    fn image(&self) -> String {
        text(&self.path("disk"))
    }

    fn qcow2(&self, image: &Qcow2<'_>) -> String {
        image.write(&self.path("disk"));
        self.image()
    }

    /// A raw disk, all of it a filesystem, whose guest has written a qcow2 header before it that names the secret.
    fn disguised(&self) -> String {
        let image = scratch::copy_as(&fixture::file("ext4-147"), self.path("disk"));
        let written = run(["write", &format!("{}:/mark", image.display()), "--text", "the guest's\n"]);
        assert_eq!(written.code, Some(0), "{written:?}");
        let secret = self.secret();
        let header = Qcow2 { backing: Some(&secret), backing_format: Some("raw"), ..Qcow2::default() }.header();
        assert!(header.len() <= 1024, "the filesystem begins there");
        OpenOptions::new().write(true).open(&image).unwrap().write_all_at(&header, 0).unwrap();
        self.image()
    }

    /// The guest's disk is what the caller says it is.
    fn is_raw(&self, image: &str) {
        let cat = run(["cat", "--format", "raw", &format!("{image}:/mark")]);
        assert!(cat.code == Some(0) && cat.stdout == "the guest's\n", "{cat:?}");
        let info = json(&run(["info", "--json", "--format", "raw", image]));
        assert_eq!(info["format"], "raw", "{info}");
        assert!(!info.to_string().contains("secret"), "{info}");
    }

    /// Everything that opens the image ends with this code, shows nothing of the host, and leaves the image alone.
    fn refused(&self, more: &[&str], code: i32) {
        let (image, new) = (self.image(), text(&self.path("new")));
        let before = scratch::fingerprint(&self.path("disk"));
        for args in [
            &["info", &image][..],
            &["ls", "-R", &image],
            &["cat", &format!("{image}:/etc/shadow")],
            &["check", &image],
            &["tar-out", &image, "/", &new],
            &["inject", &image, "--metadata", "a=b"],
            &["inject", &image, "--metadata", "a=b", "-o", &new],
            &["grow", &image, "+1M"],
        ] {
            let ran = run(args.iter().chain(more));
            // What only looks at the container may tell of it.
            let looked = args[0] == "info" && ran.code == Some(0);
            assert!(looked || ran.code == Some(code), "{args:?}: {ran:?}");
            self.shows_nothing(&ran);
            assert!(!self.path("new").exists(), "{args:?}");
        }
        assert_eq!(scratch::fingerprint(&self.path("disk")), before, "the image was written");
    }

    fn shows_nothing(&self, ran: &Ran) {
        assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET), "{ran:?}");
    }

    /// No image that was made holds anything of the host.
    fn holds_nothing(&self, name: &str) {
        assert!(!holds(&fs::read(self.path(name)).unwrap(), SECRET), "{name} holds the secret");
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// Runs the program with little memory, and not for long.
fn limited(args: &[&str]) -> Ran {
    let start = Instant::now();
    let script = format!("ulimit -v {}; exec \"$0\" \"$@\"", MEMORY / 1024);
    let ran = ran(Command::new("sh").arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_nomount")).args(args));
    assert!(start.elapsed() < PATIENCE, "{args:?} took {:?}", start.elapsed());
    assert!(ran.code.is_some_and(|code| code < 8), "{args:?}: {ran:?}");
    ran
}

/// The small guest.
fn guest(case: &Case) -> String {
    scratch::copy_as(&fixture::guest(), case.path("disk"));
    case.image()
}

/// A raw image is probed, and a backing file that the guest wrote into it is read.
#[test]
fn cve_2010_3851() {
    let case = Case::new();
    let image = case.disguised();
    case.is_raw(&image);
    let sum = json(&run(["checksum", "--json", "--format", "raw", &image])).to_string();
    let host = tool::output(tool::command("sha256sum").arg(&image));
    assert!(sum.contains(&tool::text(&host)[..64]), "{sum}");
    // Without the caller's word it is a qcow2 image, whose backing file is not opened.
    case.refused(&[], 3);
}

/// An edited file belongs to root and is readable by all afterwards.
#[test]
fn cve_2012_2690() {
    let case = Case::new();
    let image = guest(&case);
    let file = format!("{image}:/etc/shadow");
    // An access list: user::rw-, group::r--, user 1000 r--, mask r--, other ---.
    let acl = "0x0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff";
    for (name, value) in [("user.note", "kept"), ("security.selinux", "system_u:object_r:shadow_t:s0")] {
        assert_eq!(run(["setfattr", "-n", name, "-v", value, &file]).code, Some(0));
    }
    let ran = run(["setfattr", "-n", "system.posix_acl_access", "-v", acl, &file]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let facts = || {
        let stat = json(&run(["stat", "--json", &file]));
        let stat = stat.pointer("/files/0").cloned().unwrap_or(stat);
        let xattrs = run(["getfattr", "-d", "-e", "hex", &file]);
        assert!(xattrs.code == Some(0) && xattrs.stdout.contains("posix_acl_access"), "{xattrs:?}");
        (["mode", "uid", "gid", "links"].map(|name| stat[name].clone()), xattrs.stdout)
    };
    let before = facts();
    assert!(before.0.iter().all(|fact| !fact.is_null()), "{before:?}");
    for edit in
        [&["edit", &file, "-e", "s/^root:/root:/; $s/$/x/"][..], &["write", &file, "--text", "root:*:1::::::\n"]]
    {
        let ran = run(edit);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(facts(), before, "{edit:?}");
    }
}

/// The path of an injected file leads out of the guest.
fn leads_out(path: &str) {
    let case = Case::new();
    let image = guest(&case);
    let before = scratch::fingerprint(Path::new(&image));
    let ran = run(["inject", &image, "--file", &format!("{}:{path}", case.secret()), "--mandatory", "files"]);
    assert!(ran.code.is_some_and(|code| code == 2 || code == 3), "{path}: {ran:?}");
    assert!(ran.stderr.contains(path) && ran.stderr.contains("climbs above"), "{path}: {ran:?}");
    assert_eq!(scratch::fingerprint(Path::new(&image)), before, "{path}");
}

#[test]
fn cve_2012_3360() {
    leads_out("/etc/../../../../etc/passwd");
}

#[test]
fn cve_2012_3361() {
    leads_out("/../../../../../../../../etc/something.conf");
}

#[test]
fn nova_lp_1015531() {
    leads_out("etc/../../../something.conf");
}

/// A symbolic link in the guest leads to a directory of the host, and a file is written through it.
#[test]
fn cve_2012_3447() {
    let case = Case::new();
    let image = guest(&case);
    let outside = case.path("outside");
    fs::create_dir(&outside).unwrap();
    let inside = |link: &str, target: &str| {
        assert_eq!(run(["ln", "-s", target, &format!("{image}:{link}")]).code, Some(0));
    };
    inside("/absolute", &text(&outside));
    inside("/relative", &format!("../../../../../../../..{}", outside.display()));
    inside("/chained", "absolute");
    inside("/root/hidden", &text(&outside));
    inside("/loop", "loop");
    let secret = case.secret();
    for link in ["/absolute", "/relative", "/chained", "/root/hidden", "/loop"] {
        // Where it leads, the guest has nothing.
        let path = format!("{link}/file");
        let inject = format!("{secret}:{path}");
        for args in [
            vec!["write", &format!("{image}:{path}"), "--text", "x"],
            vec!["upload", &image, &secret, &path],
            vec!["mkdir", &format!("{image}:{path}")],
            vec!["touch", &format!("{image}:{path}")],
            vec!["cat", &format!("{image}:{link}/../secret")],
        ] {
            let ran = run(&args);
            assert!(ran.code.is_some_and(|code| code != 0 && code < 8), "{args:?}: {ran:?}");
            case.shows_nothing(&ran);
        }
        let ran = run(["inject", &image, "--file", &inject]);
        assert!(ran.code.is_some_and(|code| code < 8), "{ran:?}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was written outside");
    // Links of a directory that was made lead to it: the guest's, not the host's.
    let made = run(["mkdir", "-p", &format!("{image}:{}", outside.display())]);
    assert!(made.code == Some(0) || made.code == Some(1), "{made:?}");
    let ran = run(["write", &format!("{image}:/absolute/file"), "--text", "the guest's"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(run(["cat", &format!("{image}:/chained/file")]).stdout, "the guest's");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was written outside");
}

/// A disk of 1 PiB in a file of no size: whoever makes room for it has none left.
fn huge(size: u64, cluster_bits: u32) {
    let case = Case::new();
    let image = case.qcow2(&Qcow2 { size, cluster_bits, ..Qcow2::default() });
    let before = fs::metadata(&image).unwrap().blocks();
    let info = limited(&["info", "--json", &image]);
    assert!(info.code == Some(0) && info.stdout.contains(&size.to_string()), "{info:?}");
    for args in [
        &["ls", "-R", &image][..],
        &["check", &image],
        &["inject", &image, "--metadata", "a=b"],
        &["part", "list", &image],
        &["size", &image],
        &["grow", "-n", &image],
        &["mkfs", "-n", &image],
    ] {
        case.shows_nothing(&limited(args));
    }
    let after = fs::metadata(&image).unwrap().blocks();
    assert!(after < before + 64, "it took {} blocks", after - before);
}

#[test]
fn cve_2013_2096() {
    huge(1 << 50, 21);
}

#[test]
fn cve_2013_4463() {
    huge(1 << 50, 20);
}

/// A small image whose size is far beyond that of the flavor, which is to be known without making it large.
#[test]
fn cve_2013_4469() {
    let case = Case::new();
    let image = case.qcow2(&Qcow2 { size: 1 << 46, cluster_bits: 21, ..Qcow2::default() });
    let info = json(&limited(&["info", "--json", &image]));
    assert!(info.to_string().contains(&(1u64 << 46).to_string()), "{info}");
    // A copy takes what the image takes.
    let new = text(&case.path("new"));
    let copied = limited(&["mkfs", "-F", "-t", "swap", &image, "1M"]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let grown = limited(&["grow", "--no-filesystem", &image, "+1M", "-o", &new]);
    assert!(grown.code.is_some(), "{grown:?}");
    let takes = |path: &str| fs::metadata(path).map_or(0, |meta| meta.blocks() * 512);
    assert!(takes(&image) < 64 << 20 && takes(&new) < 64 << 20);
}

/// What an earlier owner left in the storage shows in a disk that was made of it.
#[test]
fn cve_2013_7130() {
    if !require(&["qemu-img"]) {
        return;
    }
    let case = Case::new();
    let image = guest(&case);
    // Storage that the container will take next.
    let len = fs::metadata(&image).unwrap().len().next_multiple_of(65536);
    let stale = SECRET.repeat(1 << 16);
    OpenOptions::new().write(true).open(&image).unwrap().write_all_at(stale.as_bytes(), len).unwrap();
    let small = case.path("small");
    fs::write(&small, "x").unwrap();
    for number in 0..40 {
        let ran = run(["upload", "--no-sync", &image, &text(&small), &format!("/srv/{number}")]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let ran = run(["truncate", "-s", "3M", &format!("{image}:/srv/0")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!holds(&fs::read(scratch::raw_of(Path::new(&image), "qcow2")).unwrap(), SECRET));
}

/// The rescue of an instance looks at a disk that the guest wrote a header into.
#[test]
fn cve_2014_0134() {
    let case = Case::new();
    let image = case.disguised();
    case.is_raw(&image);
    for verb in ["inspect", "ls", "filesystems", "df", "du", "check"] {
        let ran = run([verb, "--format", "raw", &image]);
        assert!(ran.code.is_some_and(|code| code < 8), "{verb}: {ran:?}");
        case.shows_nothing(&ran);
    }
    case.refused(&[], 3);
}

/// The length of the L1 table overflows a number of 32 bits.
#[test]
fn cve_2014_0223() {
    for l1_size in [0x2000_0000, 0x2000_0001, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0] {
        let case = Case::new();
        let image = case.qcow2(&Qcow2 { l1_size: Some(l1_size), ..Qcow2::default() });
        for args in [&["ls", &image][..], &["check", &image], &["inject", &image, "--metadata", "a=b"]] {
            let ran = limited(args);
            assert!(ran.code == Some(7) || ran.code == Some(1), "{l1_size:#x} {args:?}: {ran:?}");
        }
    }
    for size in [u64::MAX, 1 << 63, (1 << 63) - 512, i64::MAX as u64] {
        let case = Case::new();
        let image = case.qcow2(&Qcow2 { size, cluster_bits: 9, l1_size: Some(u32::MAX), ..Qcow2::default() });
        let ran = limited(&["ls", &image]);
        assert!(ran.code == Some(7) || ran.code == Some(1), "{size:#x}: {ran:?}");
    }
}

/// Tables that are long only in the header keep whoever reads them busy, or take all memory.
#[test]
fn cve_2015_5162() {
    for hostile in [
        Qcow2 { snapshots: u32::MAX, ..Qcow2::default() },
        Qcow2 { snapshots: 65_536, ..Qcow2::default() },
        Qcow2 { size: 1 << 61, cluster_bits: 21, l1_size: Some(1 << 22), ..Qcow2::default() },
        Qcow2 { cluster_bits: 9, size: 64 << 30, ..Qcow2::default() },
        Qcow2 { cluster_bits: 31, ..Qcow2::default() },
        Qcow2 { cluster_bits: 63, l1_size: Some(1), ..Qcow2::default() },
    ] {
        let case = Case::new();
        let mut made = hostile.clone();
        // The file is that of an ordinary image.
        made.cluster_bits = 16;
        let image = case.qcow2(&made);
        let header = hostile_header(&hostile);
        OpenOptions::new().write(true).open(&image).unwrap().write_all_at(&header, 0).unwrap();
        for args in [&["info", &image][..], &["ls", "-R", &image], &["check", &image]] {
            limited(args);
        }
    }
}

/// The header, also where its numbers are too large to reckon with.
fn hostile_header(image: &Qcow2<'_>) -> Vec<u8> {
    let mut header = Qcow2 { cluster_bits: 16, l1_size: image.l1_size.or(Some(1)), ..image.clone() }.header();
    header[20..24].copy_from_slice(&image.cluster_bits.to_be_bytes());
    header
}

/// An image that is imported names a file of the host as its backing file.
#[test]
fn cve_2015_5163() {
    for format in ["raw", "qcow2"] {
        let case = Case::new();
        let secret = case.secret();
        for backing in [&secret[..], "secret", "./secret", "../../../../../../../etc/passwd"] {
            case.qcow2(&Qcow2 { backing: Some(backing), backing_format: Some(format), ..Qcow2::default() });
            case.refused(&[], 3);
        }
    }
}

/// A snapshot of a raw disk reads what the guest's header names, and the copy has it.
#[test]
fn cve_2015_7548() {
    let case = Case::new();
    let image = case.disguised();
    let new = text(&case.path("new"));
    let copied = run(["write", "--format", "raw", &format!("{image}:/new"), "--text", "x", "-o", &new]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    case.is_raw(&new);
    case.holds_nothing("new");
    assert_eq!(fs::metadata(&new).unwrap().len(), fs::metadata(&image).unwrap().len());
}

/// A raw disk that is resized or moved to another host is taken for what the guest made of it.
#[test]
fn cve_2016_2140() {
    let case = Case::new();
    let image = case.disguised();
    let len = fs::metadata(&image).unwrap().len();
    let new = text(&case.path("new"));
    let grown = run(["grow", "--format", "raw", &image, "+8M", "-o", &new]);
    assert_eq!(grown.code, Some(0), "{grown:?}");
    case.is_raw(&new);
    assert_eq!(fs::metadata(&new).unwrap().len(), len + (8 << 20));
    case.holds_nothing("new");
}

/// A resize without a format takes the header that the guest wrote for the disk's own.
#[test]
fn cve_2026_24708() {
    let case = Case::new();
    let image = case.disguised();
    let (len, before) = (fs::metadata(&image).unwrap().len(), scratch::fingerprint(Path::new(&image)));
    let size = (len + (8 << 20)).to_string();
    let unnamed = run(["extend", &image, &size]);
    assert!(unnamed.code.is_some_and(|code| code != 0 && code < 8), "{unnamed:?}");
    assert_eq!(run(["grow", &image, "+8M"]).code, Some(3));
    assert_eq!(scratch::fingerprint(Path::new(&image)), before);
    let named = run(["extend", "--format", "raw", &image, &size]);
    assert_eq!(named.code, Some(0), "{named:?}");
    assert_eq!(fs::metadata(&image).unwrap().len(), len + (8 << 20));
    case.is_raw(&image);
    case.holds_nothing("disk");
}

/// A vmdk whose extent is a file of the host.
#[test]
fn cve_2022_47951() {
    for kind in ["monolithicFlat", "twoGbMaxExtentFlat", "vmfs", "monolithicSparse", "custom"] {
        for extent in ["FLAT", "SPARSE", "VMFS"] {
            let case = Case::new();
            let descriptor = vmdk(kind, extent, &case.secret());
            fs::write(case.path("disk"), &descriptor).unwrap();
            case.refused(&[], 4);
            // In a sparse header, where readers take it for the descriptor of the file itself.
            let mut sparse = b"KDMV\x01\0\0\0\x03\0\0\0".to_vec();
            sparse.resize(512, 0);
            sparse[28..36].copy_from_slice(&1u64.to_le_bytes());
            sparse[36..44].copy_from_slice(&20u64.to_le_bytes());
            sparse.extend(descriptor.as_bytes());
            sparse.resize(1 << 20, 0);
            fs::write(case.path("disk"), sparse).unwrap();
            case.refused(&[], 4);
        }
    }
}

fn vmdk(kind: &str, extent: &str, file: &str) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"{kind}\"\n\n\
         # Extent description\nRW 8 {extent} \"{file}\" 0\n\n# The Disk Data Base\n#DDB\nddb.adapterType = \"ide\"\n"
    )
}

/// A qcow2 image whose data is said to be in a file of the host.
#[test]
fn cve_2024_32498() {
    let case = Case::new();
    let secret = case.secret();
    for data_file in [Some(&secret[..]), Some("secret"), None] {
        case.qcow2(&Qcow2 { incompatible: DATA_FILE, data_file, ..Qcow2::default() });
        let folder = format!("--allow-backing={}", case.folder.path().display());
        for more in [&[][..], &["--allow-backing"], &[&folder], &["--format", "qcow2"]] {
            case.refused(more, 4);
        }
    }
    // The name alone, without the feature that makes it one.
    let image = case.qcow2(&Qcow2 { data_file: Some(&secret), ..Qcow2::default() });
    case.shows_nothing(&run(["ls", "-R", &image]));
    // Version 2 has no features: what stands there is nothing.
    let image =
        case.qcow2(&Qcow2 { version: 2, incompatible: DATA_FILE, data_file: Some(&secret), ..Qcow2::default() });
    case.shows_nothing(&run(["ls", "-R", &image]));
}

/// A qcow2 image that is registered as raw, and a flat vmdk: checks for the claimed format see nothing wrong.
#[test]
fn cve_2024_40767() {
    let case = Case::new();
    let secret = case.secret();
    case.qcow2(&Qcow2 { incompatible: DATA_FILE, data_file: Some(&secret), ..Qcow2::default() });
    // Its bytes are no disk that has anything; nobody looks at what they say.
    for verb in ["info", "ls", "check"] {
        let ran = run([verb, "--format", "raw", &case.image()]);
        assert!(ran.code.is_some_and(|code| code < 8), "{ran:?}");
        case.shows_nothing(&ran);
    }
    fs::write(case.path("disk"), vmdk("monolithicFlat", "FLAT", &secret)).unwrap();
    case.refused(&["--format", "qcow2"], 7);
    case.refused(&[], 4);
    let ran = run(["info", "--format", "raw", &case.image()]);
    case.shows_nothing(&ran);
}

/// A name that is a description of any block driver in JSON, or a protocol.
#[test]
fn cve_2024_4467() {
    let case = Case::new();
    let secret = case.secret();
    let described = format!(r#"json:{{"driver":"raw","file":{{"driver":"file","filename":"{secret}"}}}}"#);
    let names = [described, format!("file:{secret}"), "nbd:unix:/run/x:exportname=a".into(), "fat:rw:/etc".into()];
    for name in &names {
        case.qcow2(&Qcow2 { incompatible: DATA_FILE, data_file: Some(name), ..Qcow2::default() });
        case.refused(&["--allow-backing=/"], 4);
        case.qcow2(&Qcow2 { backing: Some(name), backing_format: Some("raw"), ..Qcow2::default() });
        case.refused(&["--allow-backing=/"], 3);
        case.refused(&[], 3);
    }
}

/// An image is judged by one format and read as another.
#[test]
fn cve_2024_44082() {
    let case = Case::new();
    let secret = case.secret();
    let backed = Qcow2 { backing: Some(&secret), backing_format: Some("raw"), ..Qcow2::default() };
    case.qcow2(&backed);
    case.refused(&[], 3);
    case.refused(&["--format", "qcow2"], 3);
    // Without a format of the backing file, nobody guesses it.
    case.qcow2(&Qcow2 { backing_format: None, ..backed.clone() });
    case.refused(&["--allow-backing"], 3);
    for (at, magic) in [(0, &b"QED\0"[..]), (0, b"vhdxfile"), (0, b"conectix"), (0x40, b"\x7f\x10\xda\xbe")] {
        let mut bytes = vec![0; 1 << 20];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        fs::write(case.path("disk"), bytes).unwrap();
        case.refused(&[], 4);
        case.refused(&["--format", "qcow2"], 7);
    }
}

/// A new .ssh and its keys may be read by all, so that sshd does not use them.
#[test]
fn rhbz_1260778() {
    if !require(&["qemu-img"]) {
        return;
    }
    let case = Case::new();
    let image = guest(&case);
    let key = case.path("key.pub");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    run(["rm", "-rf", &format!("{image}:/root/.ssh")]);
    let ran = run(["inject", &image, "--key", &text(&key)]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    judges::qemu_img_check(Path::new(&image), Leaks::Refused).unwrap();
    for (path, mode) in [("/root/.ssh", "0700"), ("/root/.ssh/authorized_keys", "0600")] {
        let stat = run(["stat", "--json", &format!("{image}:{path}")]);
        let document = json(&stat).to_string();
        assert!(document.contains(&format!("\"mode\":\"{mode}\"")), "{document}");
    }
}

/// A name in a directory leads out of the one that it is extracted into.
#[test]
fn e2fsprogs_272() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    for name in [&b"../pwned"[..], b"/tmp/pwn", b"a/../../", b"../../..", b"..", b".", b""] {
        let case = Case::new();
        let (image, out) = (case.path("disk"), case.path("out"));
        fs::create_dir(&out).unwrap();
        symlink(case.folder.path(), out.join("up")).unwrap();
        ext(&image, &["mkdir dir", "cd dir", "mkdir abcdefgh", "cd abcdefgh", "write /dev/null file"]);
        rename(&image, b"abcdefgh", name);
        let (image, out) = (text(&image), text(&out));
        let tar = text(&case.path("tar"));
        for args in [
            &["copy-out", &image, "/dir", &out][..],
            &["copy-out", &image, "/", &out],
            &["cp", "-r", &format!("{image}:/dir"), &out],
            &["cp", "-a", &format!("{image}:/."), &out],
            &["tar-out", &image, "/", &tar],
            &["container", "setup", &image, &text(&case.path("root")), "--partition", "none"],
        ] {
            let ran = run(args);
            let clean = [b"".as_slice(), b".", b".."].contains(&name);
            assert!(ran.code == Some(7) || clean && ran.code == Some(0), "{name:?} {args:?}: {ran:?}");
            let mut names: Vec<_> =
                fs::read_dir(case.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.retain(|name| !["tar", "root", "root.nomount-manifest"].iter().any(|made| name == made));
            names.sort();
            assert_eq!(names, ["disk", "out", "secret"], "{name:?} {args:?}");
            assert!(fs::read_dir(&out).unwrap().all(|entry| {
                let name = entry.unwrap().file_name();
                ["up", "dir", "lost+found"].iter().any(|known| name == *known)
            }));
        }
    }
}
