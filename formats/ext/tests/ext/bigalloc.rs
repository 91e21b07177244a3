//! Clusters: one of a file's is one of the filesystem's, allocated once, freed with its last block, moved as a whole.

use crate::common::files::{Staged, blocks, finish, judged, mke2fs, open, read_all};
use crate::common::{OPTIONS, bytes, in_parallel};
use nomount_block::{Memory, Overlay, Spill};
use nomount_ext::{Attrs, Error, Filesystem, New, ROOT_INO};
use nomount_kit::tool::{command, output, text};
use nomount_kit::{require, scratch};

/// Block and cluster size in bytes, features, KiB of image.
const SHAPES: &[(&str, &str, &str, u64)] = &[
    ("1024", "2048", "extent,bigalloc,filetype,sparse_super,has_journal,64bit,metadata_csum", 40_000),
    ("1024", "16384", "extent,bigalloc,filetype,sparse_super,flex_bg,uninit_bg", 300_000),
    ("2048", "1048576", "extent,bigalloc,filetype,sparse_super,metadata_csum", 100_000),
    ("4096", "65536", "extent,bigalloc,filetype,sparse_super,has_journal,64bit,metadata_csum,dir_index", 120_000),
];

fn image(&(block, cluster, features, kib): &(&str, &str, &str, u64)) -> Memory {
    let features = format!("none,{features},ext_attr,extra_isize,huge_file,large_file");
    mke2fs(kib, &["-b", block, "-C", cluster, "-O", &features, "-I", "256", "-N", "512"])
}

fn new_file(fs: &mut Staged, name: &[u8]) -> u32 {
    fs.create(ROOT_INO, name, &New::File, Attrs::default()).unwrap()
}

#[test]
fn a_cluster_comes_with_its_first_block_and_goes_with_its_last() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    in_parallel(SHAPES, |shape| {
        let name = format!("{shape:?}");
        let mut fs = open(image(shape));
        let ratio = u64::from(fs.geometry().cluster_ratio());
        let size = u64::from(fs.geometry().block_size);
        assert_eq!(ratio, shape.1.parse::<u64>().unwrap() / size);
        let ino = new_file(&mut fs, b"f");
        let free = fs.free_blocks_count();
        let used = |fs: &Staged| {
            let used = blocks(fs, ino);
            assert_eq!(free - fs.free_blocks_count(), used, "{name}");
            used / ratio
        };
        let at = |cluster: u64, block: u64| (cluster * ratio + block) * size;
        fs.write_at(ino, at(1, ratio - 1), b"a").unwrap();
        assert_eq!(used(&fs), 1, "{name}");
        fs.write_at(ino, at(1, 0), b"b").unwrap();
        fs.write_at(ino, at(5, 1), b"c").unwrap();
        assert_eq!(used(&fs), 2, "{name}");
        fs.allocate(ino, at(5, 0), size).unwrap();
        assert_eq!(used(&fs), 2, "{name}: the rest of a cluster costs nothing");
        fs.punch(ino, at(1, 0), size).unwrap();
        assert_eq!(used(&fs), 2, "{name}");
        fs.punch(ino, at(1, ratio - 1), size).unwrap();
        assert_eq!(used(&fs), 1, "{name}");
        let image = finish(fs);
        judged(&name, &image);

        // The committed state reads the cluster: what is written to it moves all of it.
        let mut fs = open(image);
        let before = fs.runs(ino).unwrap();
        fs.write_at(ino, at(5, 0), b"d").unwrap();
        let after = fs.runs(ino).unwrap();
        let start = |block: u64| block / ratio;
        assert!(after.iter().all(|run| start(run.block) != start(before[0].block)), "{name}: {before:?} {after:?}");
        let mut wanted = vec![0; (at(5, 1) + 1) as usize];
        wanted[at(5, 0) as usize] = b'd';
        *wanted.last_mut().unwrap() = b'c';
        assert!(read_all(&fs, ino) == wanted, "{name}");
        let image = finish(fs);
        judged(&name, &image);
        let mut fs = open(image);
        fs.truncate(ino, at(5, 1)).unwrap();
        fs.truncate(ino, at(5, 0)).unwrap();
        assert_eq!((fs.free_blocks_count(), blocks(&fs, ino)), (free, 0), "{name}");
        judged(&name, &finish(fs));
    });
}

#[test]
fn every_cluster_can_be_taken_and_given_back() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    in_parallel(SHAPES, |shape| {
        let name = format!("{shape:?}");
        let mut fs = open(image(shape));
        let size = u64::from(fs.geometry().block_size);
        let ino = new_file(&mut fs, b"f");
        let (mut at, piece) = (0, bytes(6_000_000, 1));
        let free = fs.free_blocks_count();
        while fs.free_blocks_count() * size > piece.len() as u64 + (4 << 20) {
            fs.write_at(ino, at, &piece).unwrap();
            at += piece.len() as u64;
        }
        let cluster = u64::from(fs.geometry().cluster_ratio()) * size;
        let mark = fs.savepoint();
        let error = fs.allocate(ino, 0, at + fs.free_blocks_count() * size + 2 * cluster).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{name}: {error}");
        fs.rollback(mark);
        let left = fs.free_blocks_count() * size;
        // Room for the tree stays.
        fs.allocate(ino, at.next_multiple_of(cluster), left - 2 * cluster).unwrap();
        assert!(fs.free_blocks_count() * size <= 2 * cluster, "{name}");
        let image = finish(fs);
        judged(&name, &image);
        let mut fs = open(image);
        fs.truncate(ino, 0).unwrap();
        assert_eq!(fs.free_blocks_count(), free, "{name}");
        judged(&name, &finish(fs));
    });
}

#[test]
fn metadata_takes_whole_clusters_and_the_counts_are_those_of_dumpe2fs() {
    if !require(&["e2fsck", "debugfs", "mke2fs", "dumpe2fs"]) {
        return;
    }
    in_parallel(SHAPES, |shape| {
        let name = format!("{shape:?}");
        let mut fs = open(image(shape));
        let ratio = u64::from(fs.geometry().cluster_ratio());
        let dir = fs.create(ROOT_INO, b"d", &New::Dir, Attrs::default()).unwrap();
        for at in 0..200 {
            let long = format!("{at:0200}");
            fs.create(dir, long.as_bytes(), &New::Fifo, Attrs::default()).unwrap();
        }
        let ino = fs.create(dir, b"with attributes", &New::Fifo, Attrs::default()).unwrap();
        fs.set_xattr(ino, b"user.long", Some(&bytes(500, 1))).unwrap();
        assert_eq!(blocks(&fs, ino), ratio, "{name}: the block of attributes");
        // Its blocks share clusters.
        let size = fs.inode(dir).unwrap().size() / u64::from(fs.geometry().block_size);
        assert_eq!(blocks(&fs, dir), size.div_ceil(ratio) * ratio, "{name}");
        let free = fs.free_blocks_count();
        let image = finish(fs);
        judged(&name, &image);
        let file = scratch::device(&image);
        let said = text(&output(command("dumpe2fs").arg("-h").arg(&*file)));
        let line = said.lines().find_map(|line| line.strip_prefix("Free blocks:")).unwrap();
        assert_eq!(line.trim(), free.to_string(), "{name}");
    });
}

#[test]
fn a_block_map_is_refused() {
    if !require(&["mke2fs", "debugfs"]) {
        return;
    }
    let file = scratch::device(&image(&SHAPES[0]));
    let script = "write /dev/null f\nset_inode_field f flags 0\n";
    let input = scratch::file();
    std::fs::write(input.path(), script).unwrap();
    assert!(output(command("debugfs").args(["-w", "-f"]).arg(input.path()).arg(&*file)).status.success());
    let image = Memory::new(std::fs::read(&file).unwrap());
    let mut fs = Filesystem::open_for_write(Overlay::new(image, Spill::Never), OPTIONS).unwrap();
    let ino = fs.resolve(b"/f").unwrap();
    let error = fs.write_at(ino, 0, b"x").unwrap_err();
    assert!(error.to_string().contains("block map"), "{error}");
    assert!(fs.commit().unwrap().is_empty());
}
