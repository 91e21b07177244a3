//! mkfs against mke2fs: the same parameters give the same layout, to the block and to the count.

use crate::common::{in_parallel, long};
use nomount_block::{Extent, ExtentKind, HostFile, ReadAt, WriteAt};
use nomount_ext::{
    Attrs, Filesystem, InodeCount, Kind, Made, MkfsOptions, New, Options, Profile, ROOT_INO, Time, mkfs,
};
use nomount_kit::digest::TreeDigest;
use nomount_kit::{judges, require, scratch};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Command;

const NOW: i64 = 1_780_000_000;
const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";
const SEED: &str = "fedcba98-7654-3210-fedc-ba9876543210";
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The conditions of one comparison: what mke2fs is told, and the same for us.
#[derive(Debug, Clone)]
struct Case {
    kind: Kind,
    size: u64,
    args: Vec<String>,
    options: MkfsOptions,
}

fn uuid(text: &str) -> [u8; 16] {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
}

impl Case {
    fn new(kind: Kind, size: u64) -> Self {
        let options = MkfsOptions {
            kind,
            uuid: uuid(UUID),
            hash_seed: uuid(SEED),
            now: Time { sec: NOW, nsec: 5 },
            ..MkfsOptions::default()
        };
        Self { kind, size, args: Vec::new(), options }
    }

    fn arg(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    fn set(mut self, set: impl FnOnce(&mut MkfsOptions)) -> Self {
        set(&mut self.options);
        self
    }

    fn features(self, list: &str) -> Self {
        self.arg(&["-O", list]).set(|options| options.features.push(list.to_owned()))
    }

    fn old(self) -> Self {
        self.arg(&["-O", "^metadata_csum_seed,^orphan_file"]).set(|options| options.profile = Profile::E2fsprogs146)
    }

    fn block(self, size: u32) -> Self {
        self.arg(&["-b", &size.to_string()]).set(|options| options.block_size = Some(size))
    }

    fn name(&self) -> String {
        format!("{} {} {}", self.kind.name(), self.size, self.args.join(" "))
    }
}

fn sparse(path: &Path, len: u64) -> File {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(len).unwrap();
    file
}

fn theirs(case: &Case, path: &Path) {
    drop(sparse(path, case.size));
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ext/mke2fs-1.47.conf");
    let mut command = Command::new("mke2fs");
    command.env("MKE2FS_CONFIG", conf).env("E2FSPROGS_FAKE_TIME", NOW.to_string()).env_remove("SOURCE_DATE_EPOCH");
    // Of several -E only the last one counts.
    let mut args = case.args.clone();
    let extended =
        args.iter().position(|arg| arg == "-E").map_or(String::new(), |at| args.drain(at..at + 2).nth(1).unwrap());
    command.args(["-q", "-F", "-t", case.kind.name(), "-U", UUID, "-E", &format!("hash_seed={SEED},{extended}")]);
    let done = command.args(&args).arg(path).output().unwrap();
    assert!(done.status.success(), "{}: {}", case.name(), String::from_utf8_lossy(&done.stderr));
}

fn ours(case: &Case, path: &Path) -> Made {
    let mut device = HostFile::new(sparse(path, case.size), false).unwrap();
    mkfs(&mut device, &case.options).unwrap_or_else(|e| panic!("{}: {e}", case.name()))
}

fn dump(path: &Path) -> Vec<String> {
    let done = Command::new("dumpe2fs").arg(path).output().unwrap();
    assert!(done.status.success());
    String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect()
}

/// Lines of dumpe2fs that differ, and why.
const EXPLAINED: &[(&str, &str)] = &[
    ("Lifetime writes:", "each counts what it wrote itself"),
    ("Checksum:", "of the superblock, which holds that count"),
    ("    mmp_update_date:", "mke2fs asks the clock, whatever E2FSPROGS_FAKE_TIME says; a clean block needs no time"),
    ("    mmp_update_time:", "as above"),
    ("    mmp_node_name:", "the name of the host is none of the filesystem's"),
    ("    mmp_device_name:", "as above, of the device"),
];

/// Byte offset of the count of written bytes, and of the checksum, in a superblock.
const COUNTED: [std::ops::Range<usize>; 2] = [0x178..0x180, 0x3FC..0x400];

/// Clears the entries after the first of a root of extents of depth 1: mke2fs leaves there what was in use before the
/// root grew. Returns whether there was one.
fn clear_stale(map: &mut [u8]) -> bool {
    let grown = map[..8] == [0x0A, 0xF3, 1, 0, 4, 0, 1, 0];
    if grown {
        map[24..60].fill(0);
    }
    grown
}

/// One kilobyte without what may differ: the explained fields of a superblock, an MMP block, the journal's inode.
fn explained(piece: &[u8]) -> Vec<u8> {
    let mut piece = piece.to_vec();
    for inode in piece.chunks_mut(256) {
        if clear_stale(&mut inode[0x28..0x64]) {
            inode[0x7C..0x7E].fill(0);
            inode[0x82..0x84].fill(0);
        }
    }
    if piece[0x38..0x3A] == [0x53, 0xEF] {
        COUNTED.into_iter().for_each(|range| piece[range].fill(0));
        clear_stale(&mut piece[0x10C..0x148]);
    } else if piece[..4] == 0x004D_4D50u32.to_le_bytes() {
        piece[8..0x70].fill(0);
        piece[0x3FC..].fill(0);
    }
    piece
}

/// The images are the same byte for byte, but for what is explained.
fn compare_bytes(name: &str, mine: &Path, other: &Path) {
    const PIECE: usize = 1 << 20;
    let open = |path| HostFile::new(File::open(path).unwrap(), false).unwrap();
    let (mine, other) = (open(mine), open(other));
    let (mut at, mut differing) = (0, Vec::new());
    while at < mine.len() {
        let here = [&mine, &other].map(|device| device.extent_at(at).unwrap());
        let len = here[0].len.min(here[1].len);
        if here.iter().all(|extent| extent.kind == ExtentKind::Zero) {
            at += len;
            continue;
        }
        let len = len.min(PIECE as u64) as usize;
        let [a, b] = [&mine, &other].map(|device| {
            let mut bytes = vec![0; len];
            device.read_at(at, &mut bytes).unwrap();
            bytes
        });
        if a != b {
            for ((index, a), b) in a.chunks(1024).enumerate().zip(b.chunks(1024)) {
                if a.len() < 1024 || explained(a) != explained(b) {
                    let bytes: Vec<_> =
                        (0..a.len()).filter(|at| a[*at] != b[*at]).take(8).map(|at| (at, a[at], b[at])).collect();
                    differing.push((at / 1024 + index as u64, bytes));
                }
            }
        }
        at += len as u64;
    }
    differing.retain(|(_, bytes)| !bytes.is_empty());
    assert!(
        differing.is_empty(),
        "{name}: KiB and bytes (offset, ours, theirs): {:x?}",
        &differing[..differing.len().min(8)]
    );
}

/// The judge's release: from 1.47.1 on, groups with copies of descriptors get a bitmap at once.
fn exact_judge() -> bool {
    let done = Command::new("mke2fs").arg("-V").output().unwrap();
    String::from_utf8_lossy(&done.stderr).contains("mke2fs 1.47.0")
}

fn compare(case: &Case) {
    compare_in(case, scratch::folder().path());
}

fn compare_in(case: &Case, folder: &Path) {
    let name = case.name();
    let (mine, other) = (folder.join("ours"), folder.join("theirs"));
    let made = ours(case, &mine);
    theirs(case, &other);
    let (mine_lines, other_lines) = (dump(&mine), dump(&other));
    let differs = |(a, b): &(&String, &String)| {
        a != b && !EXPLAINED.iter().any(|(start, _)| a.starts_with(start) && b.starts_with(start))
    };
    if exact_judge() {
        let diff: Vec<_> = mine_lines.iter().zip(&other_lines).filter(differs).take(12).collect();
        assert!(diff.is_empty() && mine_lines.len() == other_lines.len(), "{name}: {diff:#?}");
        // mke2fs writes the second kilobyte of a quota file last, and so a block of that size lies behind the others.
        // It makes lost+found as an inline directory and lets that grow, which leaves traces.
        let has = |name: &str| made.features.iter().any(|feature| feature == name);
        if !(has("inline_data") || has("quota") && made.block_size == 1024) {
            compare_bytes(&name, &mine, &other);
        }
    } else {
        let counts = |lines: &[String]| lines.iter().take_while(|line| !line.starts_with("Group 0")).cloned().collect();
        let (mine, other): (Vec<String>, Vec<String>) = (counts(&mine_lines), counts(&other_lines));
        let diff: Vec<_> = mine.iter().zip(&other).filter(differs).collect();
        assert!(diff.is_empty(), "{name}: {diff:#?}");
    }
    // With a long interval e2fsck talks of the time it would wait.
    if case.options.mmp_interval <= 5 {
        judges::e2fsck_fn(&mine, 0).unwrap();
    }
    let free = mine_lines.iter().find_map(|line| line.strip_prefix("Free blocks:")).unwrap();
    assert_eq!(free.trim(), made.free_blocks.to_string(), "{name}");
    // Our reader sees the same tree as debugfs.
    let device = HostFile::new(File::open(&mine).unwrap(), false).unwrap();
    let fs = Filesystem::open(device, Options::default()).unwrap();
    assert_eq!(fs.geometry().groups, made.groups, "{name}");
    fs::remove_file(&mine).unwrap();
    fs::remove_file(&other).unwrap();
}

/// Each kind, at sizes from the smallest to those where blocks, ratios, journals and the lengths of maps change.
#[test]
fn sizes() {
    if !require(&["mke2fs", "dumpe2fs", "e2fsck"]) {
        return;
    }
    let mut cases = Vec::new();
    for kind in [Kind::Ext2, Kind::Ext3, Kind::Ext4] {
        for size in [300 * KIB, 1441 * KIB, 3 * MIB, 5 * MIB + 5 * KIB, 64 * MIB, 511 * MIB, 512 * MIB, GIB] {
            cases.push(Case::new(kind, size));
        }
        for size in [3 * GIB, 20 * GIB] {
            cases.push(Case::new(kind, size));
        }
    }
    cases.push(Case::new(Kind::Ext4, 100 * GIB));
    cases.push(Case::new(Kind::Ext4, 300 * GIB));
    cases.push(Case::new(Kind::Ext4, 64 * MIB).old());
    cases.push(Case::new(Kind::Ext4, 2 * GIB).old());
    if long() {
        cases.push(Case::new(Kind::Ext4, 5 * TIB));
        cases.push(Case::new(Kind::Ext3, 200 * GIB));
    }
    in_parallel(cases, |case| compare(&case));
}

/// The last group: left out, or just large enough, at every kilobyte around its limits.
#[test]
fn a_short_last_group() {
    if !require(&["mke2fs", "dumpe2fs", "e2fsck"]) {
        return;
    }
    let mut cases = Vec::new();
    for kind in [Kind::Ext2, Kind::Ext4] {
        // Group 3 has copies of the descriptors, group 2 has none.
        for groups in [2, 3] {
            for rest in [0, 4, 40, 52, 56, 200, 300, 308, 312, 316, 320, 360, 500, 560, 564, 568, 620, 900] {
                cases.push(Case::new(kind, (groups * 8192 + 1 + rest) * KIB));
            }
        }
    }
    in_parallel(cases, |case| compare(&case));
}

/// Every feature that moves something or adds something.
#[test]
fn features() {
    if !require(&["mke2fs", "dumpe2fs", "e2fsck"]) {
        return;
    }
    let lists = [
        "^has_journal",
        "^64bit",
        "^64bit,^huge_file",
        "^metadata_csum",
        "^metadata_csum,uninit_bg",
        "^flex_bg",
        "^extent,^64bit",
        "^resize_inode",
        "^resize_inode,^sparse_super",
        "^resize_inode,meta_bg",
        "^resize_inode,meta_bg,^flex_bg,^64bit",
        "sparse_super2",
        "sparse_super2,^resize_inode",
        "mmp",
        "quota",
        "quota,project",
        "mmp,quota,project,sparse_super2",
        "fast_commit,stable_inodes",
        "large_dir,ea_inode,inline_data",
        "^orphan_file",
        "^dir_index,^ext_attr,^dir_nlink,^extra_isize,^large_file",
    ];
    let mut cases = Vec::new();
    for list in lists {
        for size in [64 * MIB, 1200 * MIB] {
            cases.push(Case::new(Kind::Ext4, size).features(list));
        }
    }
    for list in ["bigalloc", "bigalloc,quota", "bigalloc,^resize_inode,meta_bg", "bigalloc,sparse_super2,mmp"] {
        for size in [320 * MIB, 2 * GIB] {
            cases.push(Case::new(Kind::Ext4, size).features(list));
        }
    }
    for list in ["extent", "orphan_file", "flex_bg,uninit_bg", "metadata_csum"] {
        cases.push(Case::new(Kind::Ext3, 200 * MIB).features(list));
    }
    in_parallel(cases, |case| compare(&case));
}

/// Every number that can be given.
#[test]
fn numbers() {
    if !require(&["mke2fs", "dumpe2fs", "e2fsck"]) {
        return;
    }
    let mib64 = || Case::new(Kind::Ext4, 64 * MIB);
    let mut cases = vec![
        mib64().arg(&["-I", "128"]).set(|o| o.inode_size = Some(128)),
        mib64().arg(&["-I", "512"]).set(|o| o.inode_size = Some(512)),
        mib64().block(4096).arg(&["-I", "4096", "-i", "65536"]).set(|o| {
            o.inode_size = Some(4096);
            o.inodes = InodeCount::Ratio(65536);
        }),
        mib64().arg(&["-i", "65536"]).set(|o| o.inodes = InodeCount::Ratio(65536)),
        mib64().arg(&["-i", "1024"]).set(|o| o.inodes = InodeCount::Ratio(1024)),
        mib64().arg(&["-N", "12"]).set(|o| o.inodes = InodeCount::Exactly(12)),
        mib64().arg(&["-N", "100000"]).set(|o| o.inodes = InodeCount::Exactly(100_000)),
        mib64().arg(&["-m", "0"]).set(|o| o.reserved_percent = 0.0),
        mib64().arg(&["-m", "12.7"]).set(|o| o.reserved_percent = 12.7),
        mib64().arg(&["-J", "size=9"]).set(|o| o.journal_size = Some(9 * MIB)),
        mib64().arg(&["-G", "1"]).set(|o| o.groups_per_flex = Some(1)),
        mib64().arg(&["-G", "4"]).set(|o| o.groups_per_flex = Some(4)),
        mib64().arg(&["-G", "256"]).set(|o| o.groups_per_flex = Some(256)),
        mib64().arg(&["-g", "2048"]).set(|o| o.blocks_per_group = Some(2048)),
        mib64().arg(&["-g", "1024", "-N", "64"]).set(|o| {
            o.blocks_per_group = Some(1024);
            o.inodes = InodeCount::Exactly(64);
        }),
        mib64().arg(&["-L", "a label of 16 by"]).set(|o| o.label = b"a label of 16 by".to_vec()),
        mib64().arg(&["-E", "resize=4194304"]).set(|o| o.resize_limit = Some(4 * GIB)),
        mib64().arg(&["-E", "root_owner=70000:5"]).set(|o| o.root_owner = (70_000, 5)),
        mib64().features("quota").arg(&["-E", "root_owner=70000:5"]).set(|o| o.root_owner = (70_000, 5)),
        mib64().features("mmp").arg(&["-E", "mmp_update_interval=20"]).set(|o| o.mmp_interval = 20),
        mib64().features("sparse_super2").arg(&["-E", "num_backup_sb=1"]).set(|o| o.backups = 1),
        Case::new(Kind::Ext4, GIB).features("bigalloc").arg(&["-C", "262144"]).set(|o| o.cluster_size = Some(262_144)),
        Case::new(Kind::Ext3, 64 * MIB).arg(&["-J", "size=16"]).set(|o| o.journal_size = Some(16 * MIB)),
        Case::new(Kind::Ext4, 4 * GIB).arg(&["-b", "4096", "-i", "8192", "-m", "0", "-E", "resize=536870912"]).set(
            |o| {
                o.block_size = Some(4096);
                o.inodes = InodeCount::Ratio(8192);
                o.reserved_percent = 0.0;
                o.resize_limit = Some(2 * TIB);
            },
        ),
    ];
    for block in [1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        for kind in [Kind::Ext2, Kind::Ext3, Kind::Ext4] {
            cases.push(Case::new(kind, 640 * MIB).block(block));
        }
    }
    in_parallel(cases, |case| compare(&case));
}

/// More blocks than 32 bits count.
#[test]
fn beyond_two_to_the_32_blocks() {
    if !require(&["mke2fs", "dumpe2fs", "e2fsck"]) {
        return;
    }
    let size = 17 * TIB;
    let own = scratch::folder();
    let shared = tempfile::tempdir_in("/dev/shm").ok();
    let holds = |folder: &Path| {
        let path = folder.join("probe");
        let fits = File::create(&path).and_then(|file| file.set_len(size)).is_ok();
        fs::remove_file(&path).unwrap();
        fits
    };
    let folders = [Some(own.path()), shared.as_ref().map(|folder| folder.path())];
    let Some(folder) = folders.into_iter().flatten().find(|folder| holds(folder)) else {
        nomount_kit::tool::skip("no filesystem of the host holds a file of 17 TiB");
        return;
    };
    compare_in(&Case::new(Kind::Ext4, size), folder);
}

/// A device of many bytes in which few are not zero, that counts what is written.
#[derive(Debug)]
struct Sparse {
    len: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
    written: u64,
    /// Writes that still succeed.
    left: u64,
}

const PIECE: u64 = 4096;

impl Sparse {
    fn new(len: u64) -> Self {
        Self { len, pieces: BTreeMap::new(), written: 0, left: u64::MAX }
    }

    fn change(&mut self, offset: u64, len: u64, byte: impl Fn(usize) -> u8) -> nomount_block::Result<()> {
        nomount_block::check_range(offset, len, self.len)?;
        if self.left == 0 {
            return Err(nomount_block::Error::new(nomount_block::ErrorKind::Io, offset));
        }
        self.left -= 1;
        for index in 0..len {
            let at = offset + index;
            let piece = self.pieces.entry(at / PIECE).or_insert_with(|| vec![0; PIECE as usize]);
            piece[(at % PIECE) as usize] = byte(index as usize);
        }
        Ok(())
    }
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> nomount_block::Result<()> {
        nomount_block::check_range(offset, buf.len() as u64, self.len)?;
        for (index, byte) in buf.iter_mut().enumerate() {
            let at = offset + index as u64;
            *byte = self.pieces.get(&(at / PIECE)).map_or(0, |piece| piece[(at % PIECE) as usize]);
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> nomount_block::Result<Extent> {
        nomount_block::check_range(offset, 1, self.len)?;
        let next = self.pieces.range(offset / PIECE..).next().map_or(self.len, |(piece, _)| piece * PIECE);
        let rest = self.len - offset;
        Ok(if next > offset {
            Extent { kind: ExtentKind::Zero, len: rest.min(next - offset) }
        } else {
            Extent { kind: ExtentKind::Data, len: rest.min(PIECE - offset % PIECE) }
        })
    }
}

impl WriteAt for Sparse {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> nomount_block::Result<()> {
        self.written += data.len() as u64;
        self.change(offset, data.len() as u64, |index| data[index])
    }

    fn write_fresh(&mut self, offset: u64, data: &[u8]) -> nomount_block::Result<()> {
        self.write_at(offset, data)
    }

    fn discard(&mut self, offset: u64, len: u64) -> nomount_block::Result<()> {
        nomount_block::check_range(offset, len, self.len)?;
        let whole = offset.next_multiple_of(PIECE)..(offset + len) / PIECE * PIECE;
        if whole.start < whole.end && self.left > 0 {
            let inside: Vec<u64> =
                self.pieces.range(whole.start / PIECE..whole.end / PIECE).map(|(at, _)| *at).collect();
            inside.iter().for_each(|at| drop(self.pieces.remove(at)));
            self.change(offset, whole.start - offset, |_| 0)?;
            return self.change(whole.end, offset + len - whole.end, |_| 0);
        }
        self.change(offset, len, |_| 0)
    }

    fn barrier(&mut self) -> nomount_block::Result<()> {
        Ok(())
    }
}

/// 100 GiB cost what their groups cost: 800 descriptors in ten copies, a few bitmaps.
#[test]
fn a_large_empty_device_costs_little() {
    let mut device = Sparse::new(100 * GIB);
    let made = mkfs(&mut device, &Case::new(Kind::Ext4, 0).options).unwrap();
    assert_eq!((made.groups, made.journal_blocks), (800, 131_072));
    assert!(device.written < 12 << 20, "{} bytes written", device.written);
}

/// Whatever was there before, and wherever a run stops, there is the whole new filesystem or none.
#[test]
fn an_interrupted_run_leaves_no_filesystem() {
    let case = Case::new(Kind::Ext4, 16 * MIB);
    let mut whole = Sparse::new(case.size);
    mkfs(&mut whole, &Case::new(Kind::Ext2, case.size).block(4096).options).unwrap();
    whole.change(70 << 10, 4 << 20, |_| 0xA5).unwrap();
    whole.change(case.size - 4096, 4096, |_| 0x5A).unwrap();
    let (mut stop, mut complete) = (0, false);
    while !complete {
        let mut device = Sparse { pieces: whole.pieces.clone(), left: stop, ..Sparse::new(case.size) };
        complete = mkfs(&mut device, &case.options).is_ok();
        device.left = u64::MAX;
        let mut start = vec![0; 4096];
        device.read_at(0, &mut start).unwrap();
        assert_eq!(nomount_ext::probe(&start).is_some(), complete || stop == 0, "stopped after {stop} writes");
        stop += 1;
        if complete {
            let mut end = vec![1; 4096];
            device.read_at(case.size - 4096, &mut end).unwrap();
            assert_eq!(end, vec![0; 4096]);
            let path = scratch::device(&device);
            judges::e2fsck_fn(&path, 0).unwrap();
        }
    }
    assert!(stop > 10, "{stop} writes");
}

/// Same options, same bytes; and with files in it the result is a filesystem like any other.
#[test]
fn what_was_made_is_written_to() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let lists = [
        "",
        "^has_journal",
        "^64bit",
        "^metadata_csum,uninit_bg",
        "^extent,^64bit",
        "^flex_bg",
        "^huge_file",
        "bigalloc",
        "^resize_inode,meta_bg",
        "sparse_super2",
        "quota,project",
        "mmp",
        "large_dir,ea_inode,inline_data",
    ];
    for kind in [Kind::Ext2, Kind::Ext3, Kind::Ext4] {
        for list in lists.iter().filter(|list| kind == Kind::Ext4 || list.is_empty()) {
            let case = Case::new(kind, 24 * MIB).features(list);
            let made = || {
                let mut device = Sparse::new(case.size);
                mkfs(&mut device, &case.options).unwrap();
                device
            };
            assert_eq!(made().pieces, made().pieces, "{}", case.name());
            let mut fs = Filesystem::open_for_write(made(), crate::common::OPTIONS).unwrap();
            for name in ["etc", "root"] {
                let dir = fs.create(ROOT_INO, name.as_bytes(), &New::Dir, Attrs::default()).unwrap();
                fs.create(dir, b"file", &New::File, Attrs::default()).unwrap();
            }
            for index in 0..300 {
                let name = format!("a file with a name of some length {index}");
                let ino = fs.create(ROOT_INO, name.as_bytes(), &New::File, Attrs::default()).unwrap();
                fs.write_contents(ino, &crate::common::bytes(index * 97, index as u8)).unwrap();
            }
            fs.commit().unwrap();
            let path = scratch::device(fs.device());
            judges::e2fsck_fn(&path, 0).unwrap_or_else(|e| panic!("{}: {e}", case.name()));
            crate::common::assert_same(&case.name(), &crate::common::our_digest(&fs), &TreeDigest::of_ext(&path, 0));
        }
    }
}

#[test]
fn what_cannot_be_made_is_refused_and_nothing_written() {
    type Change = fn(&mut MkfsOptions);
    let cases: [(u64, Change, &str); 14] = [
        (64 * MIB, |o| o.label = b"seventeen letters".to_vec(), "label seventeen letters has 17 bytes"),
        (64 * MIB, |o| o.block_size = Some(3000), "block size is 3000"),
        (64 * MIB, |o| o.inode_size = Some(2048), "inode size is 2048"),
        (64 * MIB, |o| o.inode_size = Some(64), "inode size is 64"),
        (64 * MIB, |o| o.inodes = InodeCount::Exactly(u32::MAX), "inodes of 256 bytes do not fit"),
        (64 * MIB, |o| o.inodes = InodeCount::Ratio(5), "one inode for 5 bytes"),
        (64 * MIB, |o| o.reserved_percent = f64::NAN, "NaN percent"),
        (64 * MIB, |o| o.journal_size = Some(MIB / 2), "a journal of 512 blocks"),
        (64 * MIB, |o| o.journal_size = Some(60 * MIB), "expected 1024 to 32768"),
        (64 * MIB, |o| o.cluster_size = Some(65536), "needs feature bigalloc"),
        (64 * MIB, |o| o.size = Some(65 * MIB), "the device has 67108864"),
        (64 * MIB, |o| o.features = vec!["casefold".into()], "feature casefold is not made"),
        (20 * KIB, |_| {}, "too small"),
        (1 << 62, |o| o.block_size = Some(4096), "block groups"),
    ];
    for (size, change, words) in cases {
        let case = Case::new(Kind::Ext4, size).set(change);
        let mut device = Sparse::new(size);
        let error = mkfs(&mut device, &case.options).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(device.pieces.is_empty());
    }
    // Too small for a journal is no error: it is said.
    let made = nomount_ext::plan(MIB, &Case::new(Kind::Ext4, MIB).options).unwrap();
    assert!(made.journal_blocks == 0 && made.notes[0].contains("no journal"), "{made:?}");
}
