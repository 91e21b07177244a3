//! Filesystems of all shapes, made by mke2fs: changed, judged, and read alike.

use crate::common::{OPTIONS, assert_same, bytes, in_parallel, our_digest, typical_change};
use nomount_block::{HostFile, Overlay, Spill};
use nomount_ext::{Attrs, Error, Filesystem, New, Options, ROOT_INO};
use nomount_kit::{TreeDigest, judges, require, scratch};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::Command;

const CSUM: &str = "has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,\
    dir_nlink,extra_isize,metadata_csum";
const OLD: &str = "ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file";

/// A shape: its name, MiB, features, and further options of mke2fs.
struct Shape {
    name: String,
    mib: u64,
    features: String,
    options: Vec<String>,
    blocks: Option<u64>,
}

fn shape(name: &str, mib: u64, features: &str, options: &str) -> Shape {
    let options = options.split_whitespace().map(str::to_owned).collect();
    Shape { name: name.into(), mib, features: features.into(), options, blocks: None }
}

fn make(shape: &Shape) -> impl AsRef<Path> + use<> {
    let file = scratch::file();
    file.as_file().set_len(shape.mib << 20).unwrap();
    let done = Command::new("mke2fs")
        .args(["-q", "-F", "-F", "-t", "ext4", "-m", "0", "-O", &format!("none,{}", shape.features)])
        .args(&shape.options)
        .arg(file.path())
        .args(shape.blocks.map(|blocks| blocks.to_string()))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}: {}", shape.name, String::from_utf8_lossy(&done.stderr));
    file
}

fn open(path: &Path) -> Filesystem<Overlay<HostFile>> {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let overlay = Overlay::new(HostFile::new(file, true).unwrap(), Spill::Never);
    Filesystem::open_for_write(overlay, OPTIONS).unwrap()
}

/// What [`typical_change`] expects to find.
fn prepare(fs: &mut Filesystem<Overlay<HostFile>>) {
    let etc = fs.create(ROOT_INO, b"etc", &New::Dir, Attrs::default()).unwrap();
    fs.create(etc, b"shadow", &New::File, Attrs::default()).unwrap();
    let root = fs.create(ROOT_INO, b"root", &New::Dir, Attrs::default()).unwrap();
    let ssh = fs.create(root, b".ssh", &New::Dir, Attrs::default()).unwrap();
    let key = fs.create(ssh, b"authorized_keys", &New::File, Attrs::default()).unwrap();
    fs.write_contents(key, &bytes(3000, 5)).unwrap();
}

fn judged(name: &str, path: &Path) {
    judges::e2fsck_fn(path, 0).unwrap_or_else(|e| panic!("{name}: {e}"));
    let fs = Filesystem::open(HostFile::new(File::open(path).unwrap(), false).unwrap(), Options::default()).unwrap();
    assert_same(name, &our_digest(&fs), &TreeDigest::of_ext(path, 0));
}

/// Makes, fills in two commits, and grows a directory over several blocks.
fn run(shape: &Shape) {
    let name = &shape.name;
    let file = make(shape);
    let mut fs = open(file.as_ref());
    prepare(&mut fs);
    fs.commit().unwrap_or_else(|e| panic!("{name}: {e}"));
    match typical_change(&mut fs) {
        // All but the attributes at its end.
        Err(Error::Unsupported(what)) => assert!(name.starts_with("revision 0") && what.contains("ext_attr")),
        result => result.unwrap_or_else(|e| panic!("{name}: {e}")),
    }
    let many = fs.create(ROOT_INO, b"many", &New::Dir, Attrs::default()).unwrap();
    let entries = 3 * fs.geometry().block_size / 200;
    for at in 0..entries.min(400) {
        let long = format!("{at:0200}");
        fs.create(many, long.as_bytes(), &New::Fifo, Attrs::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    fs.commit().unwrap_or_else(|e| panic!("{name}: {e}"));
    fs.into_device().commit().unwrap();
    judged(name, file.as_ref());
}

fn run_all(shapes: Vec<Shape>) {
    if require(&["mke2fs", "e2fsck", "debugfs"]) {
        in_parallel(shapes, |shape| run(&shape));
    }
}

#[test]
fn every_block_size() {
    let mut shapes = Vec::new();
    for kib in [1, 2, 4, 8, 16, 32, 64] {
        // A journal has 1024 blocks at least.
        let mib = 3 * kib + 16;
        let journal = format!("-b {} -J size={kib}", kib * 1024);
        shapes.push(shape(&format!("{kib} KiB, checksums"), mib, CSUM, &journal));
        shapes.push(shape(&format!("{kib} KiB, ext3"), mib, &format!("{OLD},has_journal"), &journal));
        let quota = format!("{},quota,project", CSUM.replace("has_journal,", ""));
        shapes.push(shape(&format!("{kib} KiB, quota"), mib, &quota, &format!("-b {} -I 256", kib * 1024)));
    }
    run_all(shapes);
}

#[test]
fn every_inode_size() {
    let mut shapes = Vec::new();
    for size in [128, 256, 512, 1024, 2048, 4096] {
        let options = format!("-b 4096 -J size=4 -N 2000 -I {size}");
        let csum = if size == 128 { CSUM.replace(",extra_isize", "") } else { CSUM.to_owned() };
        shapes.push(shape(&format!("inodes of {size}"), 48, &csum, &options));
        shapes.push(shape(
            &format!("inodes of {size}, 32-byte descriptors"),
            48,
            &csum.replace(",64bit", ""),
            &options,
        ));
    }
    run_all(shapes);
}

#[test]
fn every_place_of_descriptors_and_backups() {
    let small = "-b 1024 -J size=1 -N 4096 -g 1024";
    let meta = format!("{CSUM},meta_bg");
    let super2 = CSUM.replace("sparse_super", "sparse_super2");
    run_all(vec![
        shape("meta_bg", 40, &meta, small),
        shape("meta_bg, 32-byte descriptors", 72, &meta.replace(",64bit", ""), small),
        shape("meta_bg, no flex_bg", 40, &meta.replace(",flex_bg", ""), small),
        shape("meta_bg of ext2", 72, &format!("{},meta_bg", OLD.replace("resize_inode,", "")), "-b 1024 -g 1024"),
        shape("sparse_super2, no backups", 20, &super2, &format!("{small} -E num_backup_sb=0")),
        shape("sparse_super2, one backup", 20, &super2, &format!("{small} -E num_backup_sb=1")),
        shape("sparse_super2, two backups", 20, &super2, &format!("{small} -E num_backup_sb=2")),
        shape("backups everywhere", 20, &CSUM.replace("sparse_super,", ""), small),
        shape("reserved descriptors", 20, &format!("{CSUM},resize_inode"), small),
        shape("uninit_bg", 20, &CSUM.replace("metadata_csum", "uninit_bg"), small),
        shape("packed metadata", 64, CSUM, "-b 4096 -J size=4 -g 1024 -E packed_meta_blocks=1"),
        shape("lazy tables", 64, CSUM, "-b 4096 -J size=4 -g 1024 -E lazy_itable_init=1"),
    ]);
}

/// Directory entries without types, and before that not even a place for features.
#[test]
fn the_oldest_forms() {
    let bare = OLD.replace("filetype,", "").replace("resize_inode,", "");
    run_all(vec![
        shape("revision 0", 20, "", "-r 0 -b 1024 -g 4096"),
        shape("revision 0, 4 KiB", 20, "", "-r 0 -b 4096"),
        shape("no features", 20, "", "-b 1024 -I 128"),
        shape("no filetype", 20, &bare, "-b 1024 -I 128"),
        shape("no filetype, extents", 20, &CSUM.replace("filetype,", ""), "-b 1024 -J size=1"),
    ]);
}

#[test]
fn every_size_of_flexible_groups_and_short_last_ones() {
    let mut shapes = Vec::new();
    for groups in [1, 2, 16, 64, 512, 4096] {
        shapes.push(shape(&format!("-G {groups}"), 96, CSUM, &format!("-b 1024 -J size=1 -g 256 -N 8000 -G {groups}")));
    }
    // A last group of 400 blocks, one that lacks a block, and none.
    for blocks in [8193 + 400, 16384, 16385] {
        let mut short = shape(&format!("{blocks} blocks"), 17, CSUM, "-b 1024 -J size=1 -g 8192");
        short.blocks = Some(blocks);
        shapes.push(short);
    }
    run_all(shapes);
}

/// Beyond 2^32 blocks nothing is near the start: an inode of the last group, made by debugfs, gets its contents there.
#[test]
fn more_blocks_than_32_bits_count() {
    if !require(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    // 8 TiB of 2 KiB blocks and a bit. Copies of the descriptors, all over it, would be most of what is on the disk.
    let features = CSUM.replace("has_journal,", "").replace("sparse_super", "sparse_super2");
    let file = make(&shape(
        "over 2^32 blocks",
        8200 << 10,
        &features,
        "-b 2048 -G 4096 -i 67108864 -E lazy_itable_init=1,nodiscard,num_backup_sb=0",
    ));
    let last = Filesystem::open(HostFile::new(File::open(file.as_ref()).unwrap(), false).unwrap(), OPTIONS)
        .unwrap()
        .geometry()
        .inodes_count;
    let script = scratch::file();
    let fields = ["mode 0100644", "links_count 1", "flags 0x80000", "block[0] 0xf30a", "block[1] 4", "extra_isize 32"];
    let mut commands = format!("seti <{last}>\nln <{last}> /far\n");
    fields.iter().for_each(|field| commands += &format!("sif <{last}> {field}\n"));
    std::fs::write(script.path(), commands).unwrap();
    let done = Command::new("debugfs").args(["-w", "-f"]).arg(script.path()).arg(file.as_ref()).output().unwrap();
    assert!(done.status.success());
    let mended = Command::new("e2fsck").arg("-fy").arg(file.as_ref()).output().unwrap();
    assert!(mended.status.code().unwrap() <= 1, "{}", String::from_utf8_lossy(&mended.stdout));

    let mut fs = open(file.as_ref());
    prepare(&mut fs);
    let far = fs.resolve(b"/far").unwrap();
    fs.write_contents(far, &bytes(100_000, 3)).unwrap();
    fs.append(far, &bytes(100_000, 4)).unwrap();
    fs.set_xattr(far, b"user.long", Some(&bytes(1000, 5))).unwrap();
    typical_change(&mut fs).unwrap();
    fs.commit().unwrap();
    assert!(fs.runs(far).unwrap().iter().all(|run| run.block > u64::from(u32::MAX)));
    fs.into_device().commit().unwrap();
    judged("over 2^32 blocks", file.as_ref());
}
