//! Contents of files against a model in memory: writing anywhere, cutting, punching, allocating, on every kind of map.

mod common;

use common::files::{Staged, finish, judged, mke2fs, open, read_all};
use common::{WRITABLE, bytes, in_parallel, long, seed};
use nomount_block::Memory;
use nomount_ext::{Attrs, Error, New, ROOT_INO, incompat};
use nomount_kit::{fixture, require};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SEED: &str = "NOMOUNT_CONTENTS_SEED";
const OPERATIONS: usize = 150;
/// No file of the model is longer.
const MAX: usize = 600_000;

#[derive(Clone)]
struct Model {
    files: Vec<(u32, Vec<u8>)>,
}

fn apply(fs: &mut Staged, model: &mut Model, rng: &mut StdRng, number: usize) -> Result<(), Error> {
    let which = rng.random_range(0..model.files.len());
    let (ino, old) = model.files[which].clone();
    let mut new = old.clone();
    let around = |rng: &mut StdRng, limit: usize| {
        let block = *[1, 60, 1024, 4096, 16384].get(rng.random_range(0..5)).unwrap();
        let exact = rng.random_range(0..=limit) / block * block;
        if rng.random_range(0..3) == 0 { exact } else { (exact + rng.random_range(0..7)).min(limit) }
    };
    let len = if rng.random_range(0..3) == 0 { rng.random_range(0..120) } else { around(rng, 80_000) };
    let offset =
        if rng.random_range(0..3) == 0 { around(rng, MAX - len) } else { around(rng, old.len()).min(MAX - len) };
    let data = bytes(len, number as u8);
    match rng.random_range(0..100) {
        0..35 => {
            fs.write_at(ino, offset as u64, &data)?;
            if len > 0 {
                new.resize(new.len().max(offset + len), 0);
                new[offset..offset + len].copy_from_slice(&data);
            }
        }
        35..50 => {
            let limit = if rng.random_range(0..2) == 0 { MAX } else { old.len() };
            let size = around(rng, limit);
            fs.truncate(ino, size as u64)?;
            new.resize(size, 0);
        }
        50..70 => {
            let len = around(rng, 200_000);
            fs.punch(ino, offset as u64, len as u64)?;
            let end = (offset + len).min(new.len());
            if let Some(part) = new.get_mut(offset..end) {
                part.fill(0);
            }
        }
        70..82 => match fs.allocate(ino, offset as u64, len as u64 + 1) {
            Ok(()) => new.resize(new.len().max(offset + len + 1), 0),
            Err(Error::Invalid(why)) => {
                assert!(!fs.geometry().features.incompat(incompat::EXTENTS) && why.contains("block map"), "{why}");
            }
            Err(error) => return Err(error),
        },
        82..92 if old.len() + len <= MAX => {
            fs.append(ino, &data)?;
            new.extend_from_slice(&data);
        }
        92..96 => {
            fs.write_contents(ino, &data)?;
            new = data;
        }
        _ => {
            let value = bytes(rng.random_range(0..90), number as u8);
            fs.set_xattr(ino, b"user.x", Some(&value))?;
        }
    }
    model.files[which].1 = new;
    let found = read_all(fs, ino);
    let wanted = &model.files[which].1;
    let differ = found.iter().zip(wanted).position(|(a, b)| a != b);
    assert!(found == *wanted, "{} and {} bytes, different from {differ:?}", found.len(), wanted.len());
    Ok(())
}

fn run(name: &str, image: Memory, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut fs = open(image);
    let mut model = Model { files: Vec::new() };
    for at in 0..3u8 {
        model.files.push((fs.create(ROOT_INO, &[b'f', b'0' + at], &New::File, Attrs::default()).unwrap(), Vec::new()));
    }
    let mut marks: Vec<(usize, Model)> = Vec::new();
    for number in 0..OPERATIONS {
        match rng.random_range(0..30) {
            0 => marks.push((fs.savepoint(), model.clone())),
            1 if !marks.is_empty() => {
                let (mark, before) = marks.swap_remove(rng.random_range(0..marks.len()));
                marks.retain(|(other, _)| *other < mark);
                fs.rollback(mark);
                model = before;
                for (ino, wanted) in &model.files {
                    assert!(read_all(&fs, *ino) == *wanted, "{name}: a rollback did not bring back inode {ino}");
                }
            }
            2 => {
                fs.commit().unwrap();
                marks.clear();
            }
            3 => {
                marks.clear();
                fs = open(finish(fs));
            }
            // Without savepoints, so that a change may write over what is its own.
            4..20 if marks.is_empty() && fs.free_blocks_count() * u64::from(fs.geometry().block_size) > 1 << 20 => {
                apply(&mut fs, &mut model, &mut rng, number).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            _ => {
                let mark = fs.savepoint();
                let before = model.clone();
                match apply(&mut fs, &mut model, &mut rng, number) {
                    Ok(()) => {}
                    Err(Error::NoSpace { .. } | Error::XattrSpace { .. }) => {
                        fs.rollback(mark);
                        model = before;
                    }
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        }
    }
    let image = finish(fs);
    judged(name, &image);
    let fs = open(image);
    for (ino, wanted) in &model.files {
        assert!(read_all(&fs, *ino) == *wanted, "{name}: inode {ino}");
    }
}

#[test]
fn files_hold_what_was_written() {
    if !require(&["e2fsck", "debugfs", "mke2fs"]) {
        return;
    }
    let seed = seed(SEED);
    let rounds = if long() { 100 } else { 2 };
    let names = WRITABLE.iter().chain(&["inline-data", "bigalloc"]);
    in_parallel(names.flat_map(|name| (0..rounds).map(move |round| (*name, round))), |(name, round)| {
        run(&format!("{name}, round {round}"), fixture::memory(name), seed ^ round << 32);
    });
    let made: &[(&str, u64, &[&str])] = &[
        (
            "bigalloc 1K/16K",
            16384,
            &["-b", "1024", "-O", "extent,bigalloc,64bit,metadata_csum,has_journal", "-C", "16384"],
        ),
        ("bigalloc 4K/64K", 65536, &["-b", "4096", "-O", "extent,bigalloc,flex_bg,has_journal", "-C", "65536"]),
        ("bigalloc, inline", 32768, &["-b", "1024", "-O", "extent,bigalloc,inline_data", "-C", "2048", "-I", "512"]),
        ("inline 4K", 32768, &["-b", "4096", "-O", "extent,inline_data,metadata_csum,has_journal", "-I", "1024"]),
        ("inline, block maps", 16384, &["-b", "1024", "-O", "inline_data,has_journal", "-I", "256"]),
    ];
    in_parallel(made.iter().flat_map(|made| (0..rounds).map(move |round| (made, round))), |(made, round)| {
        let (name, kib, options) = made;
        let options = [&["-O", "none,filetype,ext_attr,sparse_super,extra_isize"], *options].concat();
        run(&format!("{name}, round {round}"), mke2fs(*kib, &options), seed ^ round << 32);
    });
}
