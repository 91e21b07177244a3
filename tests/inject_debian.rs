//! The main job on whole Debian systems: every release, partition layout and container, judged by e2fsprogs, QEMU and
//! gdisk.

mod common;

use common::{CONF, KEY, META, NET, PASSWORD, Request, is_hash_of, long, run, shadow_fields, text};
use nomount_kit::debian::{self, Container, Layout, Release};
use nomount_kit::digest::{self, Change, Field, content_hash};
use nomount_kit::judges::{self, Leaks};
use nomount_kit::{TreeDigest, require, scratch};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, TempPath};

const TOOLS: &[&str] = &["qemu-img", "sgdisk", "sfdisk", "e2fsck", "debugfs", "perl"];
/// Compared at a time.
const PIECE: u64 = 1 << 20;

/// A writable image and what it came from.
struct Case {
    layout: Layout,
    container: Container,
    name: String,
    original: PathBuf,
    image: PathBuf,
    _folder: TempDir,
}

impl Case {
    fn new(release: Release, layout: Layout, container: Container) -> Option<Self> {
        let original = debian::image(release, layout, Container::Raw)?;
        let source = debian::image(release, layout, container)?;
        let folder = scratch::folder();
        let image = scratch::copy_as(&source, folder.path().join("disk"));
        if container == Container::Overlay {
            scratch::copy_as(&original, folder.path().join(original.file_name().unwrap()));
        }
        let name = format!("{release:?} {layout:?} {container:?}");
        Some(Self { layout, container, name, original, image, _folder: folder })
    }

    fn base(&self) -> Option<PathBuf> {
        let base = self.image.with_file_name(self.original.file_name().unwrap());
        (self.container == Container::Overlay).then_some(base)
    }

    /// Injects and gives the standard output.
    fn inject(&self, request: Vec<String>) -> String {
        let partition = match self.layout.root_partition() {
            0 => "none".to_owned(),
            number => number.to_string(),
        };
        let mut args = vec!["inject".to_owned(), text(&self.image), "--partition".to_owned(), partition];
        args.extend(request);
        args.push("--no-sync".to_owned());
        if self.container == Container::Overlay {
            args.push("--allow-backing".to_owned());
        }
        let ran = run(&args);
        assert_eq!(ran.code, Some(0), "{}: {ran:?}", self.name);
        assert!(!ran.stderr.contains("warning"), "{}: {ran:?}", self.name);
        assert!(!format!("{ran:?}").contains(PASSWORD), "{}: the password is shown", self.name);
        ran.stdout
    }

    /// Lets everybody judge the image. The disk's bytes, raw.
    fn judge(&self) -> Raw<'_> {
        let raw = if self.container == Container::Raw {
            Raw::Same(&self.image)
        } else {
            judges::qemu_img_check(&self.image, Leaks::Refused).unwrap_or_else(|e| panic!("{}: {e}", self.name));
            Raw::Made(scratch::raw_of(&self.image, "qcow2"))
        };
        let offset = self.layout.root_offset();
        judges::e2fsck_fn(raw.path(), offset).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        if self.layout == Layout::Gpt {
            judges::sgdisk_v(raw.path()).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        }
        let mut end = std::fs::metadata(&self.original).unwrap().len();
        if self.layout != Layout::None {
            let (table, before) =
                (judges::sfdisk_json(raw.path()).unwrap(), judges::sfdisk_json(&self.original).unwrap());
            assert_eq!(table, before, "{}", self.name);
            end = end_of(&table, self.layout.root_partition());
        }
        self.same_outside(raw.path(), offset, end);
        raw
    }

    /// Tables, boot partitions, swap: every byte outside of the root partition is as it was.
    fn same_outside(&self, raw: &Path, start: u64, end: u64) {
        let (now, before) = (std::fs::File::open(raw).unwrap(), std::fs::File::open(&self.original).unwrap());
        let len = before.metadata().unwrap().len();
        assert_eq!(now.metadata().unwrap().len(), len, "{}", self.name);
        assert!(end > start && end <= len && end - start > len / 2, "{}: {start}..{end}", self.name);
        for (mut at, end) in [(0, start), (end, len)] {
            while at < end {
                let size = PIECE.min(end - at) as usize;
                let (mut a, mut b) = (vec![0; size], vec![0; size]);
                now.read_exact_at(&mut a, at).unwrap();
                before.read_exact_at(&mut b, at).unwrap();
                assert!(a == b, "{}: bytes from {at} differ", self.name);
                at += size as u64;
            }
        }
    }
}

/// A raw disk to be judged.
enum Raw<'a> {
    Same(&'a Path),
    Made(TempPath),
}

impl Raw<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::Same(path) => path,
            Self::Made(path) => path,
        }
    }
}

/// The first byte after a partition, by sfdisk.
fn end_of(table: &serde_json::Value, number: u32) -> u64 {
    let table = &table["partitiontable"];
    let partitions = table["partitions"].as_array().unwrap();
    let node = number.to_string();
    let found = partitions.iter().find(|partition| partition["node"] == node).unwrap();
    (found["start"].as_u64().unwrap() + found["size"].as_u64().unwrap()) * 512
}

/// Checks that exactly what was asked for changed, and that it is right.
fn check_tree(name: &str, before: &TreeDigest, after: &TreeDigest) {
    use Field::{Content, Ctime, Links, Mtime, Size};
    let in_place = [Size, Content, Mtime, Ctime];
    let parent = [Size, Links, Mtime, Ctime];
    // Debian's openssh may have made /root/.ssh; a parent changes only where a name is added.
    let new = ["/etc/app", "/etc/app/app.conf", "/meta.js", "/root/.ssh", "/root/.ssh/authorized_keys"];
    let new: Vec<&str> = new.into_iter().filter(|path| before.get(path).is_none()).collect();
    assert!(new.len() >= 4, "{name}: the image had {new:?} before");
    let mut requested: BTreeMap<&[u8], &[Field]> =
        BTreeMap::from([(&b"/etc/network/interfaces"[..], &in_place[..]), (b"/etc/shadow", &in_place)]);
    for path in &new {
        let end = path.rfind('/').expect("an absolute path").max(1);
        requested.insert(&path.as_bytes()[..end], &parent);
    }
    let mut added = Vec::new();
    for change in before.diff(after) {
        match &change {
            Change::Added(path, _) => added.push(String::from_utf8_lossy(path).into_owned()),
            Change::Changed { path, fields, .. } => {
                let allowed = requested.get(&path[..]).copied().unwrap_or_default();
                assert!(fields.iter().all(|field| allowed.contains(field)), "{name}: {change:?}");
            }
            Change::Removed(..) => panic!("{name}: {change:?}"),
        }
    }
    assert_eq!(added, new, "{name}");
    let facts = |path: &str| {
        let entry = after.get(path).unwrap_or_else(|| panic!("{name}: no {path}"));
        (entry.mode, entry.uid, entry.gid, entry.links)
    };
    assert_eq!(facts("/root/.ssh"), (0o700, 0, 0, 2), "{name}");
    assert_eq!(facts("/root/.ssh/authorized_keys"), (0o600, 0, 0, 1), "{name}");
    assert_eq!(facts("/etc/app"), (0o755, 0, 0, 2), "{name}");
    assert_eq!(facts("/etc/app/app.conf"), (0o644, 0, 0, 1), "{name}");
    assert_eq!(facts("/meta.js"), (0o644, 0, 0, 1), "{name}");
    let key = format!("{KEY}\n");
    let files = [("/root/.ssh/authorized_keys", &key[..]), ("/etc/network/interfaces", NET)];
    for (path, contents) in files.into_iter().chain([("/meta.js", META), ("/etc/app/app.conf", CONF)]) {
        assert_eq!(after.get(path).unwrap().content, content_hash(contents.as_bytes()), "{name}: {path}");
    }
}

/// Checks that /etc/shadow has a hash of the password for root and is otherwise as it was. The hash.
fn check_shadow(name: &str, before: &str, after: &str) -> String {
    let hash = shadow_fields(after, "root")[1].to_owned();
    assert!(is_hash_of(&hash, PASSWORD), "{name}: {hash}");
    let old = shadow_fields(before, "root");
    let expected = before.replacen(&format!("root:{}:", old[1]), &format!("root:{hash}:"), 1);
    assert_eq!(after, expected, "{name}");
    hash
}

fn whole_job(release: Release, layout: Layout, containers: &[Container]) {
    if !require(TOOLS) {
        return;
    }
    let mut before = None;
    for &container in containers {
        let Some(case) = Case::new(release, layout, container) else { return };
        let (name, offset) = (&case.name, layout.root_offset());
        let request = Request::new();
        let shadow = |raw: &Path| String::from_utf8(digest::cat(raw, offset, "/etc/shadow")).unwrap();
        let before = before.get_or_insert_with(|| TreeDigest::of_ext(&case.original, offset));
        let base = case.base().map(|base| (scratch::fingerprint(&base), base));

        case.inject(request.all());
        let raw = case.judge();
        let first = TreeDigest::of_ext(raw.path(), offset);
        check_tree(name, before, &first);
        let first_shadow = shadow(raw.path());
        let first_hash = check_shadow(name, &shadow(&case.original), &first_shadow);
        drop(raw);

        let written =
            |image: &Path| (scratch::fingerprint(image), std::fs::metadata(image).unwrap().modified().unwrap());
        let image = written(&case.image);
        let said = case.inject(request.without_password());
        assert!(said.contains("nothing to change") && said.contains("nothing was written"), "{name}: {said}");
        assert!(written(&case.image) == image, "{name}: a run that changes nothing wrote");

        // Another salt, so another hash in the same file, and nothing else.
        case.inject(request.all());
        let raw = case.judge();
        let changes = first.diff(&TreeDigest::of_ext(raw.path(), offset));
        let [Change::Changed { path, fields, .. }] = &changes[..] else { panic!("{name}: {changes:?}") };
        assert_eq!(path, b"/etc/shadow", "{name}");
        let only = [Field::Mtime, Field::Ctime, Field::Content];
        assert!(fields.iter().all(|field| only.contains(field)), "{name}: {changes:?}");
        assert_ne!(check_shadow(name, &first_shadow, &shadow(raw.path())), first_hash, "{name}");
        if let Some((fingerprint, base)) = base {
            assert_eq!(scratch::fingerprint(&base), fingerprint, "{name}: the backing file was written");
        }
    }
}

/// Every container on one disk, raw on the others, unless everything was asked for.
fn containers(most: bool) -> &'static [Container] {
    if most || long() { &Container::ALL } else { &[Container::Raw] }
}

#[test]
fn bookworm_on_gpt() {
    whole_job(Release::Bookworm, Layout::Gpt, containers(false));
}

#[test]
fn bookworm_on_mbr_with_a_logical_root() {
    whole_job(Release::Bookworm, Layout::Mbr, containers(false));
}

#[test]
fn bookworm_without_a_table() {
    whole_job(Release::Bookworm, Layout::None, containers(false));
}

#[test]
fn trixie_on_gpt() {
    whole_job(Release::Trixie, Layout::Gpt, containers(true));
}

#[test]
fn trixie_on_mbr_with_a_logical_root() {
    whole_job(Release::Trixie, Layout::Mbr, containers(false));
}

#[test]
fn trixie_without_a_table() {
    whole_job(Release::Trixie, Layout::None, containers(false));
}
