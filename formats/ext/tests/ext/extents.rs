//! Maps of files: trees of every depth built and taken down again, how much of them a change touches, and how far
//! they reach.

use crate::common::files::{Staged, blocks, finish, judged, judged_but_wide, mke2fs, open, read_all};
use crate::common::{OPTIONS, bytes, in_parallel, seed};
use nomount_block::{HostFile, Overlay, Spill};
use nomount_ext::{Attrs, Error, Filesystem, New, ROOT_INO, Run};
use nomount_kit::tool::{command, output, text};
use nomount_kit::{fixture, judges, require, scratch};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

const SEED: &str = "NOMOUNT_EXTENTS_SEED";
const BLOCK: u64 = 1024;
/// Plain ext4 with checksums, and ext3: both with blocks of 1 KiB, in which trees are deepest.
const KINDS: &[(&str, &[&str])] = &[
    (
        "extents",
        &["-b", "1024", "-O", "none,extent,64bit,metadata_csum,filetype,has_journal,sparse_super", "-J", "size=4"],
    ),
    ("block map", &["-b", "1024", "-O", "none,filetype,has_journal,sparse_super", "-J", "size=4"]),
];

fn new_file(fs: &mut Staged, name: &[u8]) -> u32 {
    fs.create(ROOT_INO, name, &New::File, Attrs::default()).unwrap()
}

/// What debugfs says of the shape: the deepest level of an extent tree.
fn depth(image: &nomount_block::Memory, path: &str) -> u32 {
    let file = scratch::device(image);
    let said = text(&output(command("debugfs").arg("-R").arg(format!("ex {path}")).arg(&*file)));
    let levels = said.lines().filter_map(|line| line.trim_start().split_once('/')?.1.split_whitespace().next());
    levels.filter_map(|depth| depth.parse().ok()).max().unwrap_or_else(|| panic!("{said}"))
}

/// Which blocks of a file are mapped.
fn mapped(runs: &[Run]) -> u64 {
    runs.iter().map(|run| u64::from(run.len)).sum()
}

#[test]
fn trees_of_every_depth_are_built_and_taken_down() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    let seed = seed(SEED);
    // Extents after every other block is gone; the depth that so many need; in which order.
    let cases = [(4u64, 0, false), (300, 1, true), (3000, 2, true), (29_000, 3, false), (10_000, 2, true)];
    let runs = cases.iter().flat_map(|case| KINDS.iter().map(move |kind| (*case, *kind)));
    in_parallel(runs, |((count, levels, shuffled), (kind, options))| {
        let mut rng = StdRng::seed_from_u64(seed);
        let name = format!("{kind}, {count}");
        let mut fs = open(mke2fs(2 * count + 16_000, options));
        let free = fs.free_blocks_count();
        let ino = new_file(&mut fs, b"f");
        let contents = bytes((2 * count * BLOCK) as usize, 5);
        fs.write_contents(ino, &contents).unwrap();
        let whole = blocks(&fs, ino);
        let mut order: Vec<u64> = (0..count).collect();
        if shuffled {
            order.shuffle(&mut rng);
        }
        for at in &order {
            fs.punch(ino, (2 * at + 1) * BLOCK, BLOCK).unwrap();
        }
        let runs = fs.runs(ino).unwrap();
        assert_eq!((runs.len() as u64, mapped(&runs)), (count, count), "{name}");
        let mut wanted = contents.clone();
        wanted.chunks_mut(BLOCK as usize).skip(1).step_by(2).for_each(|block| block.fill(0));
        assert!(read_all(&fs, ino) == wanted, "{name}");
        let image = finish(fs);
        judged_but_wide(&name, &image);
        if kind == "extents" {
            // Nodes that were filled in any order are not all full.
            let found = depth(&image, "f");
            assert!(found == levels || (shuffled && found == levels + 1), "{name}: {found}");
        }

        // Half is filled again, the rest goes, and with it the tree.
        let mut fs = open(image);
        order.shuffle(&mut rng);
        let (filled, gone) = order.split_at(order.len() / 2);
        for at in filled {
            let start = ((2 * at + 1) * BLOCK) as usize;
            fs.write_at(ino, start as u64, &contents[start..start + BLOCK as usize]).unwrap();
            wanted[start..start + BLOCK as usize].copy_from_slice(&contents[start..start + BLOCK as usize]);
        }
        for at in gone {
            fs.punch(ino, 2 * at * BLOCK, BLOCK).unwrap();
            wanted[(2 * at * BLOCK) as usize..][..BLOCK as usize].fill(0);
        }
        assert!(read_all(&fs, ino) == wanted, "{name}");
        let image = finish(fs);
        judged_but_wide(&name, &image);
        let mut fs = open(image);
        for at in order.iter().rev() {
            fs.punch(ino, 2 * at * BLOCK, 2 * BLOCK).unwrap();
        }
        assert_eq!((blocks(&fs, ino), fs.runs(ino).unwrap().len()), (0, 0), "{name}");
        assert_eq!(fs.free_blocks_count(), free, "{name}");
        let image = finish(fs);
        judged(&name, &image);

        // A fragmented file that is cut short loses the levels it does not need.
        let mut fs = open(image);
        for at in (0..count).rev() {
            fs.write_at(ino, 2 * at * BLOCK, &contents[..BLOCK as usize]).unwrap();
        }
        for cut in [count / 3, count / 50, 0] {
            fs.truncate(ino, 2 * cut * BLOCK).unwrap();
            assert_eq!(mapped(&fs.runs(ino).unwrap()), cut, "{name}");
        }
        assert_eq!((blocks(&fs, ino), fs.free_blocks_count()), (0, free), "{name}");
        fs.write_contents(ino, &contents).unwrap();
        assert_eq!(blocks(&fs, ino), whole, "{name}");
        judged(&name, &finish(fs));
    });
}

#[test]
fn a_small_change_of_a_fragmented_file_touches_little() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    in_parallel(KINDS, |(kind, options)| {
        let mut fs = open(mke2fs(60_000, options));
        let ino = new_file(&mut fs, b"f");
        fs.write_contents(ino, &bytes(40_000 * BLOCK as usize, 1)).unwrap();
        for at in 0..20_000 {
            fs.punch(ino, (2 * at + 1) * BLOCK, BLOCK).unwrap();
        }
        fs.commit().unwrap();
        let change = |fs: &mut Staged, what: &str, change: &mut dyn FnMut(&mut Staged)| {
            change(fs);
            let done = fs.commit().unwrap();
            // Superblock, descriptors, one or two bitmaps, inode, and of the map a way of nodes and two neighbours.
            assert!(done.protected + done.in_place <= 12, "{kind}, {what}: {done:?}");
        };
        change(&mut fs, "overwrite", &mut |fs| fs.write_at(ino, 20_000 * BLOCK, b"new").unwrap());
        change(&mut fs, "fill a hole", &mut |fs| fs.write_at(ino, 20_001 * BLOCK, b"new").unwrap());
        change(&mut fs, "append", &mut |fs| fs.append(ino, &bytes(3000, 2)).unwrap());
        change(&mut fs, "punch", &mut |fs| fs.punch(ino, 10_000 * BLOCK, BLOCK).unwrap());
        change(&mut fs, "cut the end", &mut |fs| fs.truncate(ino, 39_990 * BLOCK + 7).unwrap());
        judged_but_wide(kind, &finish(fs));
    });
}

#[test]
fn streaming_in_pieces_leaves_a_file_in_one_piece() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    let kinds = KINDS.iter().copied().chain([(
        "bigalloc",
        &["-b", "1024", "-C", "16384", "-O", "none,extent,bigalloc,filetype,sparse_super"] as &[_],
    )]);
    in_parallel(kinds.flat_map(|kind| [(kind, false), (kind, true)]), |((kind, options), marked)| {
        let mut fs = open(mke2fs(24_000, options));
        let contents = bytes(8_000_000, 3);
        let ino = new_file(&mut fs, b"f");
        if marked {
            fs.savepoint();
        }
        let free = fs.free_blocks_count();
        for (at, piece) in contents.chunks(100_003).enumerate() {
            match at % 2 {
                0 => fs.append(ino, piece).unwrap(),
                _ => fs.write_at(ino, at as u64 * 100_003, piece).unwrap(),
            }
        }
        assert!(read_all(&fs, ino) == contents, "{kind}");
        assert_eq!(free - fs.free_blocks_count(), blocks(&fs, ino), "{kind}: no block was written twice");
        // Every 256 blocks of a block map there is one of pointers between them.
        let most = if kind == "block map" { 8_000_000 / 1024 / 256 + 4 } else { 4 };
        assert!(fs.runs(ino).unwrap().len() <= most, "{kind}: {:?}", fs.runs(ino).unwrap());
        judged(kind, &finish(fs));
    });
}

#[test]
fn blocks_that_are_allocated_read_as_zero_until_they_are_written() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for name in ["ext4-147", "ext4-1k", "bigalloc"] {
        let mut fs = open(fixture::memory(name));
        let size = u64::from(fs.geometry().block_size);
        let ino = new_file(&mut fs, b"f");
        fs.allocate(ino, 10 * size + 1, 100 * size).unwrap();
        assert_eq!(fs.inode(ino).unwrap().size(), 110 * size + 1);
        let runs = fs.runs(ino).unwrap();
        assert!(mapped(&runs) == 101 && runs.iter().all(|run| run.unwritten), "{name}: {runs:?}");
        let held = blocks(&fs, ino);
        fs.commit().unwrap();
        fs.write_at(ino, 50 * size + 3, b"written").unwrap();
        let runs = fs.runs(ino).unwrap();
        let written: Vec<_> = runs.iter().filter(|run| !run.unwritten).collect();
        assert!(written.len() == 1 && (written[0].file_block, written[0].len) == (50, 1), "{name}: {runs:?}");
        // With bigalloc the cluster moves as a whole, and its five extents need a node of the tree.
        let nodes = if name == "bigalloc" { 16 } else { 0 };
        assert_eq!((blocks(&fs, ino), mapped(&runs)), (held + nodes, 101), "{name}");
        let mut wanted = vec![0; (110 * size + 1) as usize];
        wanted[(50 * size + 3) as usize..][..7].copy_from_slice(b"written");
        assert!(read_all(&fs, ino) == wanted, "{name}");
        fs.write_at(ino, 10 * size, &vec![7; 101 * size as usize]).unwrap();
        assert_eq!(fs.runs(ino).unwrap().iter().filter(|run| run.unwritten).count(), 0, "{name}");
        judged(name, &finish(fs));
    }
    for name in ["ext2-1k", "ext3-4k"] {
        let mut fs = open(fixture::memory(name));
        let ino = new_file(&mut fs, b"f");
        let error = fs.allocate(ino, 0, 1).unwrap_err();
        assert!(matches!(&error, Error::Invalid(why) if why.contains("block map")), "{name}: {error}");
        judged(name, &finish(fs));
    }
}

#[test]
fn holes_stay_holes() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for name in crate::common::WRITABLE {
        let mut fs = open(fixture::memory(name));
        let size = u64::from(fs.geometry().block_size);
        let ino = new_file(&mut fs, b"f");
        fs.write_at(ino, 5 * size + 10, b"x").unwrap();
        // Beyond double indirection with 1 KiB blocks.
        fs.write_at(ino, 70_000 * size, b"y").unwrap();
        fs.truncate(ino, 80_000 * size + 1).unwrap();
        let at: Vec<(u32, u32)> = fs.runs(ino).unwrap().iter().map(|run| (run.file_block, run.len)).collect();
        assert_eq!(at, [(5, 1), (70_000, 1)], "{name}");
        fs.commit().unwrap();
        fs.write_at(ino, 3 * size, &vec![9; 2 * size as usize]).unwrap();
        fs.truncate(ino, 5 * size + 11).unwrap();
        let runs = fs.runs(ino).unwrap();
        assert_eq!((mapped(&runs), runs[0].file_block), (3, 3), "{name}");
        let mut wanted = vec![0; 3 * size as usize];
        wanted.extend(vec![9; 2 * size as usize]);
        wanted.extend([0; 10]);
        wanted.push(b'x');
        assert!(read_all(&fs, ino) == wanted, "{name}");
        judged(name, &finish(fs));
    }
}

#[test]
fn a_file_reaches_as_far_as_its_map_and_no_further() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    let indirect = |block: u64| (12 + block / 4 + (block / 4).pow(2) + (block / 4).pow(3)).min(u32::MAX.into());
    // Storage that a file may count without huge_file: 2^32 - 1 units of 512 bytes.
    let counted = |block: u64| u64::from(u32::MAX) / (block / 512);
    let cases: [(&str, &[&str], u64); 4] = [
        (
            "huge extents",
            &["-b", "4096", "-O", "none,extent,huge_file,large_file,filetype"],
            4096 * u64::from(u32::MAX),
        ),
        ("extents", &["-b", "1024", "-O", "none,extent,large_file,filetype"], 1024 * counted(1024)),
        ("map of 1 KiB", &["-b", "1024", "-O", "none,filetype"], 1024 * indirect(1024)),
        ("map of 4 KiB", &["-b", "4096", "-O", "none,filetype"], 4096 * counted(4096)),
    ];
    for (name, options, max) in cases {
        let mut fs = open(mke2fs(4096, options));
        let ino = new_file(&mut fs, b"f");
        for refused in [
            fs.write_at(ino, max, b"x"),
            fs.write_at(ino, u64::MAX, b"xy"),
            fs.truncate(ino, max + 1),
            fs.truncate(ino, u64::MAX),
        ] {
            assert!(
                matches!(refused, Err(Error::FileTooLarge { max: told, .. }) if told == max),
                "{name}: {refused:?}"
            );
        }
        fs.write_at(ino, max - 1, b"x").unwrap();
        let mut last = [0; 3];
        assert_eq!(fs.read(ino, max - 3, &mut last).unwrap(), 3, "{name}");
        assert_eq!(&last, b"\0\0x", "{name}");
        let image = finish(fs);
        judges::e2fsck_fn(&scratch::device(&image), 0).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let mut fs = open(image);
        assert_eq!(fs.inode(ino).unwrap().size(), max, "{name}");
        fs.truncate(ino, 1).unwrap();
        assert_eq!(blocks(&fs, ino), 0, "{name}");
        judged(name, &finish(fs));
    }
}

/// What a change frees cannot be taken again in it. A search that found a group without anything else remembered that
/// past the commit, and the group was never looked at again.
#[test]
fn what_was_freed_is_found_after_the_commit() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    for (kind, options) in KINDS {
        let mut fs = open(mke2fs(16_384, options));
        let (a, b, c) = (new_file(&mut fs, b"a"), new_file(&mut fs, b"b"), new_file(&mut fs, b"c"));
        // Nearly all of the first of two groups, then the rest of it and some of the second.
        fs.write_contents(a, &bytes(3 << 20, 1)).unwrap();
        fs.commit().unwrap();
        fs.truncate(a, 0).unwrap();
        fs.write_contents(b, &bytes(4 << 20, 2)).unwrap();
        fs.append(b, &bytes(100_000, 2)).unwrap();
        fs.commit().unwrap();
        let rest = (fs.free_blocks_count() - 100) * BLOCK;
        fs.write_contents(c, &bytes(rest as usize, 3)).unwrap_or_else(|e| panic!("{kind}: {e}"));
        judged(kind, &finish(fs));
    }
}

#[test]
fn a_large_file_is_laid_out_in_few_extents() {
    if !require(&["e2fsck", "mke2fs"]) {
        return;
    }
    let file = scratch::file();
    file.as_file().set_len(2 << 30).unwrap();
    let done = output(command("mke2fs").args(["-q", "-F", "-t", "ext4", "-b", "4096"]).arg(file.path()));
    assert!(done.status.success(), "{}", text(&done));
    let host = HostFile::new(file.reopen().unwrap(), true).unwrap();
    let mut fs = Filesystem::open_for_write(Overlay::new(host, Spill::Never), OPTIONS).unwrap();
    let ino = fs.create(ROOT_INO, b"f", &New::File, Attrs::default()).unwrap();
    fs.allocate(ino, 0, 1 << 30).unwrap();
    let runs = fs.runs(ino).unwrap();
    assert!(runs.len() <= 12, "{runs:?}");
    fs.commit().unwrap();
    fs.into_device().commit().unwrap();
    judges::e2fsck_fn(file.path(), 0).unwrap();
}
