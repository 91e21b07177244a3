//! The images that are spoiled: made by our own mkfs and filled by our own writer, one for each family of features.

use super::OPTIONS;
use nomount_block::{Memory, Overlay, Record, Spill, WriteAt, replay};
use nomount_ext::{Attrs, Error, Filesystem, InodeCount, Kind, MkfsOptions, New, ROOT_INO, mkfs};
use nomount_kit::ext_layout::{Layout, Place};
use std::sync::OnceLock;

/// Damage without a place of its own goes to blocks of this size that hold something.
const PIECE: usize = 512;

/// An image, and where in it damage tells something.
#[derive(Debug)]
pub struct Base {
    pub name: &'static str,
    pub image: Vec<u8>,
    /// Bytes of a block.
    pub block: usize,
    pub places: Vec<Place>,
    /// Byte offsets of pieces that are not zero.
    pub used: Vec<usize>,
}

/// Name, KiB, bytes of a block, which of the family, features.
type Form = (&'static str, usize, u32, Kind, &'static str);

/// As small as their features allow: a journal has 1,024 blocks, of half the filesystem at most.
const FORMS: &[Form] = &[
    ("ext2-1k", 256, 1024, Kind::Ext2, ""),
    ("ext2-4k", 512, 4096, Kind::Ext2, "^dir_index"),
    ("ext2-groups", 512, 1024, Kind::Ext2, "none,filetype,dir_index,sparse_super,uninit_bg"),
    ("ext3-1k", 2048, 1024, Kind::Ext3, ""),
    ("ext4-1k", 2048, 1024, Kind::Ext4, ""),
    ("ext4-1k-32bit", 2048, 1024, Kind::Ext4, "^64bit,^metadata_csum,uninit_bg,quota"),
    ("ext4-4k", 1024, 4096, Kind::Ext4, "^has_journal"),
    ("ext4-inline", 256, 1024, Kind::Ext4, "^has_journal,inline_data"),
    ("ext4-bigalloc", 1024, 1024, Kind::Ext4, "^has_journal,^resize_inode,bigalloc"),
    ("ext4-quota", 512, 1024, Kind::Ext4, "^has_journal,quota,project"),
    ("ext4-values", 512, 1024, Kind::Ext4, "^has_journal,ea_inode,large_dir"),
    ("ext4-groups", 512, 1024, Kind::Ext4, "^has_journal,meta_bg,^resize_inode,^flex_bg"),
    ("ext4-mmp", 256, 1024, Kind::Ext4, "^has_journal,mmp,sparse_super2"),
];

impl Base {
    fn new(name: &'static str, image: Vec<u8>) -> Self {
        let layout = Layout::of(&image).expect("our own image");
        let mut places = layout.places(&image);
        places.retain(|place| place.at + place.fields.end <= image.len() && !place.fields.is_empty());
        let pieces = (0..image.len()).step_by(PIECE).filter(|at| image[*at..at + PIECE] != [0; PIECE]);
        Self { name, block: layout.block, places, used: pieces.collect(), image }
    }
}

/// Those without anything to recover.
pub fn all() -> &'static [Base] {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    BASES.get_or_init(|| {
        let make = |form: &Form| Base::new(form.0, filled(form).into_bytes());
        FORMS.iter().map(make).collect()
    })
}

/// Those with a journal, their log live: a commit was stopped after its commit point, in several places.
pub fn live() -> &'static [Base] {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    BASES.get_or_init(|| {
        let journaled = FORMS.iter().filter(|form| form.1 == 2048);
        journaled.flat_map(|form| stopped(form.0, &filled(form))).collect()
    })
}

fn empty(&(name, kib, block_size, kind, features): &Form) -> Memory {
    let mut disk = Memory::zeroed(kib << 10);
    let options = MkfsOptions {
        kind,
        features: vec![features.to_owned()],
        block_size: Some(block_size),
        cluster_size: features.contains(",bigalloc").then_some(4096),
        blocks_per_group: name.ends_with("-groups").then_some(256),
        inode_size: Some(if kind == Kind::Ext4 { 256 } else { 128 }),
        inodes: InodeCount::Exactly(64),
        journal_size: (kib == 2048).then_some(1024 << 10),
        reserved_percent: 0.0,
        resize_limit: None,
        uuid: *b"what is fuzzed!!",
        hash_seed: *b"seeds of hashes!",
        now: OPTIONS.now,
        ..MkfsOptions::default()
    };
    mkfs(&mut disk, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
    disk
}

fn filled(form: &Form) -> Memory {
    let mut fs = Filesystem::open_for_write(empty(form), OPTIONS).expect("our own image");
    fill(&mut fs).unwrap_or_else(|error| panic!("{}: {error}", form.0));
    fs.commit().unwrap_or_else(|error| panic!("{}: {error}", form.0));
    fs.into_device()
}

/// A tree with something of everything.
fn fill<D: WriteAt>(fs: &mut Filesystem<D>) -> Result<(), Error> {
    let block = u64::from(fs.geometry().block_size);
    let owned = Attrs { mode: Some(0o640), uid: Some(1000), gid: Some(70_000), ..Attrs::default() };
    let etc = fs.create(ROOT_INO, b"etc", &New::Dir, Attrs::default())?;
    let short = fs.create(etc, b"passwd", &New::File, owned)?;
    fs.write_contents(short, b"root:x:0:0:root:/root:/bin/sh\n")?;
    fs.set_xattr(short, b"user.short", Some(b"value"))?;
    // More extents than an inode holds, and a hole that block maps need an indirect block for.
    let parts = fs.create(etc, b"parts", &New::File, owned)?;
    for part in [0, 2, 4, 6, 8, 14] {
        fs.write_at(parts, part * block, &[b'a' + part as u8; 100])?;
    }
    let long = fs.create(etc, b"attributes", &New::File, owned)?;
    fs.set_xattr(long, b"user.long", Some(&[7; 400]))?;
    fs.set_xattr(long, b"security.selinux", Some(b"system_u:object_r:etc_t:s0\0"))?;
    // Not every filesystem has room for it, or preallocates.
    let mark = fs.savepoint();
    if fs.set_xattr(long, b"user.value", Some(&[9; 3000])).is_err() {
        fs.rollback(mark);
    }
    let ahead = fs.create(etc, b"ahead", &New::File, owned)?;
    let mark = fs.savepoint();
    if fs.allocate(ahead, 0, 3 * block).is_err() {
        fs.rollback(mark);
    }
    fs.link(short, ROOT_INO, b"another name")?;
    fs.create(ROOT_INO, b"near", &New::Symlink(b"etc/passwd"), Attrs::default())?;
    fs.create(ROOT_INO, b"far", &New::Symlink(&[b'x'; 90]), Attrs::default())?;
    fs.create(ROOT_INO, b"null", &New::CharDevice(1, 3), Attrs::default())?;
    fs.create(ROOT_INO, b"disk", &New::BlockDevice(259, 70_000), Attrs::default())?;
    fs.create(ROOT_INO, b"pipe", &New::Fifo, Attrs::default())?;
    fs.create(ROOT_INO, b"socket", &New::Socket, Attrs::default())?;
    // Enough names for an index, where there is one, and for a directory that left its inode.
    let many = fs.create(ROOT_INO, b"many", &New::Dir, Attrs::default())?;
    let target = fs.create(many, b"first", &New::File, Attrs::default())?;
    let names = 2 * block as usize / 208;
    for number in 0..names {
        fs.link(target, many, format!("{number:0>200}").as_bytes())?;
    }
    for name in [&b"empty"[..], b"below"] {
        fs.create(etc, name, &New::Dir, Attrs::default())?;
    }
    Ok(())
}

/// A change whose commit stops after its first, second and third step behind the commit point.
fn stopped(name: &'static str, base: &Memory) -> Vec<Base> {
    let mut fs = Filesystem::open_for_write(Overlay::new(base.clone(), Spill::Never), OPTIONS).expect("our own image");
    fill_more(&mut fs).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(fs.commit().expect("memory takes it").transactions, 1, "{name}");
    let log = fs.into_device().log().to_vec();
    let live = |record: &Record| {
        // A journal superblock, version 2, whose log starts somewhere.
        let head = [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 4];
        matches!(record, Record::Write { data, .. } if data.starts_with(&head) && data[0x1C..0x20] != [0; 4])
    };
    let point = log.iter().position(live).expect("a commit has its point");
    let stops = [point + 1, point + 3, point + 6];
    let image = |stop: usize| {
        let mut image = base.clone();
        replay(&mut image, &log[..stop]).expect("memory takes it");
        Base::new(name, image.into_bytes())
    };
    stops.into_iter().map(image).collect()
}

fn fill_more<D: WriteAt>(fs: &mut Filesystem<D>) -> Result<(), Error> {
    let etc = fs.resolve(b"/etc")?;
    let new = fs.create(etc, b"new", &New::File, Attrs::default())?;
    // Contents that a log must escape if it copies them, and some that look like a commit block.
    fs.write_contents(new, &[0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 2].repeat(300))?;
    fs.unlink(ROOT_INO, b"far")?;
    fs.remove_tree(etc, b"below")?;
    fs.rename(etc, b"parts", ROOT_INO, b"moved")
}
