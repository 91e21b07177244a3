//! Files that are stored in their inodes: how much fits, what else is in there, and the way out into blocks.

use crate::common::bytes;
use crate::common::files::{Staged, blocks, finish, judged, mke2fs, open, read_all};
use nomount_block::Memory;
use nomount_ext::{Attrs, Error, New, ROOT_INO};
use nomount_kit::tool::{command, output};
use nomount_kit::{fixture, require, scratch};

const INLINE: u32 = 0x1000_0000;
const EXTENTS: u32 = 0x8_0000;

fn small_image(inode_size: &str) -> Memory {
    let features = "none,extent,inline_data,filetype,ext_attr,extra_isize,metadata_csum,has_journal";
    mke2fs(8192, &["-b", "1024", "-O", features, "-I", inode_size, "-J", "size=1"])
}

fn new_file(fs: &mut Staged, name: &[u8]) -> u32 {
    fs.create(ROOT_INO, name, &New::File, Attrs::default()).unwrap()
}

fn is_inline(fs: &Staged, ino: u32) -> bool {
    let flags = fs.inode(ino).unwrap().flags();
    assert!(flags & INLINE == 0 || flags & EXTENTS == 0);
    flags & INLINE != 0
}

#[test]
fn what_fits_the_inode_stays_there() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    // 60 bytes, and what is left of the inode after its fields, the magic, one entry with its name, the end mark.
    for (inode_size, fits) in [("256", 60 + 256 - 160 - 4 - 20 - 4), ("1024", 60 + 1024 - 160 - 4 - 20 - 4)] {
        let mut fs = open(small_image(inode_size));
        for len in [1, 59, 60, 61, fits - 1, fits, fits + 1, 5000] {
            let ino = new_file(&mut fs, format!("{len}").as_bytes());
            assert!(!is_inline(&fs, ino));
            let contents = bytes(len, 1);
            fs.write_contents(ino, &contents).unwrap();
            assert_eq!(is_inline(&fs, ino), len <= fits, "{inode_size}, {len}");
            assert_eq!(blocks(&fs, ino) == 0, len <= fits, "{inode_size}, {len}");
            assert!(read_all(&fs, ino) == contents);
        }
        judged(inode_size, &finish(fs));
    }
}

#[test]
fn attributes_and_contents_share_the_inode() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    let mut fs = open(small_image("256"));
    let ino = new_file(&mut fs, b"f");
    fs.set_xattr(ino, b"user.a", Some(b"before")).unwrap();
    fs.write_contents(ino, &bytes(70, 1)).unwrap();
    assert!(is_inline(&fs, ino));
    // No room beside the contents: it goes to a block of its own.
    fs.set_xattr(ino, b"user.bb", Some(&bytes(60, 2))).unwrap();
    assert_eq!(blocks(&fs, ino), 1);
    fs.append(ino, &bytes(5, 3)).unwrap();
    assert!(is_inline(&fs, ino));
    let attributes = fs.xattrs(ino).unwrap();
    assert_eq!(attributes, [(b"user.a".to_vec(), b"before".to_vec()), (b"user.bb".to_vec(), bytes(60, 2))]);
    let image = finish(fs);
    judged("inline", &image);
    let mut fs = open(image);
    fs.append(ino, &bytes(500, 4)).unwrap();
    assert!(!is_inline(&fs, ino));
    assert_eq!((fs.xattrs(ino).unwrap(), blocks(&fs, ino)), (attributes, 2));
    assert!(read_all(&fs, ino) == [bytes(70, 1), bytes(5, 3), bytes(500, 4)].concat());
    fs.set_xattr(ino, b"user.bb", None).unwrap();
    judged("grown", &finish(fs));
}

#[test]
fn every_way_out_of_the_inode_keeps_the_contents() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    let old = bytes(100, 7);
    // How it gets there; the size afterwards; from where on there are nines.
    type Way = (&'static str, fn(&mut Staged, u32) -> Result<(), Error>, usize, Option<usize>);
    let ways: &[Way] = &[
        ("append", |fs, ino| fs.append(ino, &[9; 400]), 500, Some(100)),
        ("far", |fs, ino| fs.write_at(ino, 1_000_000, &[9]), 1_000_001, Some(1_000_000)),
        ("up", |fs, ino| fs.truncate(ino, 3000), 3000, None),
        ("allocate", |fs, ino| fs.allocate(ino, 0, 10), 100, None),
    ];
    let mut fs = open(small_image("256"));
    for (name, way, len, nines) in ways {
        let ino = new_file(&mut fs, name.as_bytes());
        fs.write_contents(ino, &old).unwrap();
        fs.commit().unwrap();
        assert!(is_inline(&fs, ino));
        way(&mut fs, ino).unwrap();
        assert!(!is_inline(&fs, ino), "{name}");
        let mut wanted = old.clone();
        wanted.resize(*len, 0);
        nines.map(|from| wanted[from..].fill(9));
        assert!(read_all(&fs, ino) == wanted, "{name}");
    }
    judged("ways out", &finish(fs));
}

#[test]
fn files_that_others_stored_inline_are_changed() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    let source = scratch::file();
    std::fs::write(source.path(), bytes(90, 1)).unwrap();
    let file = fixture::file("inline-data");
    let write = format!("write {} by-debugfs", source.path().display());
    assert!(output(command("debugfs").args(["-w", "-R", &write]).arg(&*file)).status.success());
    let mut fs = open(Memory::new(std::fs::read(&file).unwrap()));
    let ino = fs.resolve(b"/by-debugfs").unwrap();
    assert!(is_inline(&fs, ino));
    fs.punch(ino, 10, 60).unwrap();
    fs.write_at(ino, 88, b"1234").unwrap();
    fs.truncate(ino, 91).unwrap();
    assert!(is_inline(&fs, ino));
    let mut wanted = bytes(90, 1);
    wanted[10..70].fill(0);
    wanted.truncate(88);
    wanted.extend(b"123");
    assert!(read_all(&fs, ino) == wanted);
    fs.truncate(ino, 0).unwrap();
    fs.truncate(ino, 64).unwrap();
    assert!(is_inline(&fs, ino) && read_all(&fs, ino) == [0; 64]);
    fs.set_attrs(ino, Attrs { mode: Some(0o600), ..Attrs::default() }).unwrap();
    let image = finish(fs);
    judged("inline-data", &image);
    let mut fs = open(image);
    fs.write_contents(ino, b"").unwrap();
    assert!(!is_inline(&fs, ino));
    judged("inline-data", &finish(fs));
}
