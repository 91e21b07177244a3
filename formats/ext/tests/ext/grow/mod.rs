//! Growing in place: what comes out is judged by e2fsck, its copies of the superblock by repairing from them, the size by
//! resize2fs, the files by debugfs; interrupted anywhere it is old or new.

mod crash;
mod kinds;
mod refused;
mod sizes;
mod used;

use crate::common::{OPTIONS, our_digest};
use nomount_block::{HostFile, Overlay, Spill};
use nomount_ext::{Attrs, CheckOptions, Filesystem, Grown, New, Options, ROOT_INO};
use nomount_kit::tool::{command, output, text};
use nomount_kit::{TreeDigest, judges, scratch};
use std::fs::{File, OpenOptions};
use std::path::Path;
use tempfile::{NamedTempFile, TempPath};

/// What ext4 has that matters here, in the words of mke2fs.
const EXT4: &str = "has_journal,ext_attr,dir_index,filetype,sparse_super,large_file,extent,flex_bg,huge_file,dir_nlink,\
    extra_isize,64bit,metadata_csum";
const EXT3: &str = "has_journal,ext_attr,dir_index,filetype,sparse_super,large_file";
const EXT2: &str = "ext_attr,dir_index,filetype,sparse_super,large_file";

/// A filesystem whose change is staged, on a sparse file.
type OnFile = Filesystem<Overlay<HostFile>>;

/// A new filesystem of `kib` KiB by mke2fs with these features and options, on a sparse file.
fn make(kib: u64, features: &str, options: &str) -> NamedTempFile {
    let file = scratch::file();
    file.as_file().set_len(kib * 1024).unwrap();
    let mut mke2fs = command("mke2fs");
    mke2fs.env("MKE2FS_CONFIG", "/dev/null").args(["-q", "-F", "-O", &format!("none,{features}")]);
    let done = output(mke2fs.args(options.split_whitespace()).arg(file.path()));
    assert!(done.status.success(), "mke2fs {features} {options}: {}", text(&done));
    file
}

fn open(path: &Path) -> OnFile {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    Filesystem::open_for_write(Overlay::new(HostFile::new(file, true).unwrap(), Spill::Never), OPTIONS).unwrap()
}

fn read(path: &Path) -> Filesystem<HostFile> {
    Filesystem::open(HostFile::new(File::open(path).unwrap(), false).unwrap(), Options::default()).unwrap()
}

fn finish(mut fs: OnFile) {
    fs.commit().unwrap();
    fs.into_device().commit().unwrap();
}

/// Some files, so that there is something to lose.
fn populate<D: nomount_block::WriteAt>(fs: &mut Filesystem<D>) {
    let dir = fs.create(ROOT_INO, b"dir", &New::Dir, Attrs::default()).unwrap();
    for index in 0..20u8 {
        let ino = fs.create(dir, format!("file-{index}").as_bytes(), &New::File, Attrs::default()).unwrap();
        fs.write_contents(ino, &crate::common::bytes(usize::from(index) * 3000, index)).unwrap();
    }
    fs.create(ROOT_INO, b"link", &New::Symlink(b"dir/file-7"), Attrs::default()).unwrap();
}

/// Makes the file `kib` KiB long and the filesystem as long as it goes, checking it before and after the commit.
fn grow_file(name: &str, path: &Path, kib: u64) -> Grown {
    OpenOptions::new().write(true).open(path).unwrap().set_len(kib * 1024).unwrap();
    let mut fs = open(path);
    let blocks = kib * 1024 / u64::from(fs.geometry().block_size);
    let planned = fs.plan_grow(blocks).unwrap_or_else(|e| panic!("{name}: {e}"));
    let grown = fs.grow(blocks).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(planned, grown, "{name}");
    assert_eq!(fs.geometry().blocks_count, grown.to_blocks, "{name}");
    assert_sound(name, "before the commit", &fs);
    fs.commit().unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_sound(name, "after the commit", &fs);
    fs.into_device().commit().unwrap();
    grown
}

fn assert_sound<D: nomount_block::ReadAt>(name: &str, when: &str, fs: &Filesystem<D>) {
    let report = fs.check(&CheckOptions::default()).unwrap();
    let said: Vec<_> = report.findings().iter().filter(|finding| finding.id != "NM_MMP_IN_USE").collect();
    assert!(said.is_empty(), "{name}, {when}: {said:#?}");
}

/// Judged by e2fsck, resize2fs and dumpe2fs; read alike by debugfs and by us.
fn judged(name: &str, path: &Path) -> TreeDigest {
    judges::e2fsck_fn(path, 0).unwrap_or_else(|e| panic!("{name}: {e}"));
    let fs = read(path);
    let geo = fs.geometry();
    // With feature mmp it waits for 11 seconds.
    if geo.features.incompat & 0x100 == 0 || crate::common::long() {
        let done = output(command("resize2fs").arg(path).arg(geo.blocks_count.to_string()));
        assert!(text(&done).contains("Nothing to do"), "{name}: {}", text(&done));
    }
    let shown = dumped(path);
    let count = |field: &str| {
        let line =
            shown.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_else(|| panic!("{name}: no {field}"));
        line.trim().parse::<u64>().unwrap()
    };
    assert_eq!(count("Block count:"), geo.blocks_count, "{name}");
    assert_eq!(count("Free blocks:"), fs.info().free_blocks, "{name}");
    assert_eq!(count("Inode count:"), u64::from(geo.inodes_count), "{name}");
    let digest = TreeDigest::of_ext(path, 0);
    crate::common::assert_same(name, &our_digest(&fs), &digest);
    digest
}

fn dumped(path: &Path) -> String {
    let done = output(command("dumpe2fs").arg(path));
    assert!(done.status.success(), "{}", text(&done));
    String::from_utf8(done.stdout).unwrap()
}

/// Copies of the superblock with descriptors behind them: from each of these the filesystem can be restored. With meta_bg
/// the groups behind its first have copies that no tool can use, since the plain descriptors are not there.
fn usable_copies(path: &Path) -> Vec<u64> {
    let lines = dumped(path);
    let copies = lines.lines().filter_map(|line| line.trim().strip_prefix("Backup superblock at "));
    let meta = lines.lines().find_map(|line| line.strip_prefix("First meta block group:"));
    let spread: u64 = meta.map_or(u64::MAX, |first| first.trim().parse().unwrap());
    let geo = read(path).geometry().clone();
    let per_block = if spread == u64::MAX { 1 } else { u64::from(geo.block_size) / u64::from(geo.desc_size) };
    let block = |copy: &str| copy.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<u64>().unwrap();
    copies.map(block).filter(|at| u64::from(geo.group_of_block(*at).0) / per_block < spread.max(1)).collect()
}

/// Restores copies of the filesystem from the first and the last usable copies of its superblock: e2fsck finds nothing
/// wrong but bitmaps that were never written, and nothing at all afterwards; the tree is the same.
fn restored(name: &str, path: &Path, tree: &TreeDigest, tried: usize) {
    let copies = usable_copies(path);
    let size = read(path).geometry().block_size;
    let last = copies.len().saturating_sub(1);
    for &copy in copies.iter().take(tried).chain(copies.iter().skip(tried.max(last))) {
        let damaged: TempPath = scratch::copy(path);
        let done =
            output(command("e2fsck").args(["-fy", "-b", &copy.to_string(), "-B", &size.to_string()]).arg(&*damaged));
        let said = text(&done);
        let until_bitmaps = said.split("Pass 5").next().unwrap();
        assert!(done.status.code().unwrap() <= 1 && !until_bitmaps.contains('?'), "{name}, copy at {copy}: {said}");
        judges::e2fsck_fn(&damaged, 0).unwrap_or_else(|e| panic!("{name}, copy at {copy}: {e}"));
        let found = our_digest(&read(&damaged));
        assert!(found == *tree, "{name}, copy at {copy}: {:#?}", tree.diff(&found));
    }
}
