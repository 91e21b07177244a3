//! Random sequences of operations beside a model in memory; then fsck.fat, fatfs and mtools on what they left.

use crate::common::{Dice, MIB, NOW, Tree, judge, long, mcopy_all, mkfs_fat, open, parts, read_all, view_all};
use nomount_block::Memory;
use nomount_fat::{Attrs, Error, Filesystem, Time};
use nomount_kit::require;
use std::collections::BTreeMap;

/// What `mkfs.fat` makes: arguments, bytes, and whether `fatfs` and mtools read it, which want as many clusters of
/// FAT32 as the specification does.
const MADE: &[(&str, u64, bool)] = &[
    ("-F 12 -s 1", MIB, true),
    ("-F 12 -s 8 -r 64", 4 * MIB, true),
    ("-F 12 -s 1 -r 16", 128 << 10, true),
    ("-F 16 -s 2", 9 * MIB, true),
    ("-F 16 -S 2048 -s 1", 9 * MIB, true),
    ("-F 16 -s 1 -f 1", 3 * MIB, true),
    ("-F 32 -s 1", 34 * MIB, true),
    ("-F 32 -s 1 -f 1", 2 * MIB, false),
    ("-F 32 -s 16", 8 * MIB, false),
    ("-F 32 -s 1", 200 << 10, false),
];
/// Operations of a sequence, and sequences of each filesystem.
const LENGTH: usize = 300;
const ROUNDS: u64 = 3;
const LONG_ROUNDS: u64 = 40;

const NAMES: &[&str] = &[
    "a",
    "A",
    "README.TXT",
    "readme.txt",
    "Read Me.text",
    "grün",
    "GRÜN",
    "漢字漢字漢字漢字漢字",
    "a name that takes more than one entry.conf",
    "thirteen char",
    "🦀.rs",
    ".hidden",
    "a.b.c.d",
    "EFI",
    "+,;=[]",
    "12345678.123",
];

/// What the model knows: by path in one case, the path as it is spelt and the contents of a file.
#[derive(Debug, Clone, Default)]
struct Model(BTreeMap<String, (String, Option<Vec<u8>>)>);

fn key(path: &str) -> String {
    path.to_uppercase()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Model {
    fn tree(&self) -> Tree {
        self.0.values().cloned().collect()
    }

    /// The directory's spelling, or why there is none.
    fn dir(&self, path: &str) -> Result<String, &'static str> {
        if path.is_empty() {
            return Ok(String::new());
        }
        self.dir(parent(path))?;
        match self.0.get(&key(path)) {
            None => Err("missing"),
            Some((_, Some(_))) => Err("not a directory"),
            Some((spelt, None)) => Ok(spelt.clone()),
        }
    }

    fn get(&self, path: &str) -> Result<&(String, Option<Vec<u8>>), &'static str> {
        self.dir(parent(path))?;
        self.0.get(&key(path)).ok_or("missing")
    }

    fn file(&mut self, path: &str) -> Result<&mut Vec<u8>, &'static str> {
        self.get(path)?;
        self.0.get_mut(&key(path)).and_then(|(_, contents)| contents.as_mut()).ok_or("is a directory")
    }

    fn below(&self, path: &str) -> Vec<String> {
        let inside = key(path) + "/";
        self.0.keys().filter(|other| other.starts_with(&inside)).cloned().collect()
    }

    fn create(&mut self, path: &str, contents: Option<Vec<u8>>) -> Result<(), &'static str> {
        let spelt = self.dir(parent(path))? + &path[parent(path).len()..];
        if self.0.contains_key(&key(path)) {
            return Err("exists");
        }
        self.0.insert(key(path), (spelt, contents));
        Ok(())
    }

    fn rmdir(&mut self, path: &str) -> Result<(), &'static str> {
        match self.get(path)? {
            (_, Some(_)) => Err("not a directory"),
            _ if !self.below(path).is_empty() => Err("not empty"),
            _ => {
                self.0.remove(&key(path));
                Ok(())
            }
        }
    }

    fn unlink(&mut self, path: &str) -> Result<(), &'static str> {
        self.file(path)?;
        self.0.remove(&key(path));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), &'static str> {
        let old = self.get(from)?.clone();
        let spelt = self.dir(parent(to))? + &to[parent(to).len()..];
        if old.1.is_none() && key(to).starts_with(&(key(from) + "/")) {
            return Err("place");
        }
        if key(from) != key(to)
            && let Some(over) = self.0.get(&key(to))
        {
            match (old.1.is_none(), over.1.is_none()) {
                (true, false) => return Err("not a directory"),
                (false, true) => return Err("is a directory"),
                _ if !self.below(to).is_empty() => return Err("not empty"),
                _ => {}
            }
        }
        let inside = self.below(from);
        let moved: Vec<_> = inside.iter().map(|path| self.0.remove(path).unwrap()).collect();
        self.0.remove(&key(from));
        for (path, contents) in moved {
            let path = format!("{spelt}{}", &path[old.0.len()..]);
            self.0.insert(key(&path), (path, contents));
        }
        self.0.insert(key(to), (spelt, old.1));
        Ok(())
    }
}

/// The same words for what the filesystem refuses; none where it is full.
fn word(result: Result<(), Error>) -> Option<Result<(), &'static str>> {
    Some(match result {
        Ok(()) => Ok(()),
        Err(Error::NoSpace { .. } | Error::DirectoryFull { .. }) => return None,
        Err(Error::NotFound) => Err("missing"),
        Err(Error::NotDirectory) => Err("not a directory"),
        Err(Error::IsDirectory) => Err("is a directory"),
        Err(Error::NotEmpty) => Err("not empty"),
        Err(Error::Exists(_)) => Err("exists"),
        Err(Error::Place(_)) => Err("place"),
        Err(error) => panic!("{error}"),
    })
}

#[derive(Debug, Default)]
struct Counts {
    done: usize,
    refused: usize,
    full: usize,
    rollbacks: usize,
    commits: usize,
}

/// A path: mostly of something that is there, or mostly of a new name somewhere.
fn path(dice: &mut Dice, model: &Model, new: bool) -> String {
    let known: Vec<&(String, _)> = model.0.values().collect();
    if !known.is_empty() && (dice.below(10) == 0) == new {
        let path = &dice.pick(&known).0;
        // A name is one in any case.
        return if dice.below(4) == 0 { path.to_uppercase() } else { path.clone() };
    }
    let dirs: Vec<&str> = known.iter().filter(|(_, contents)| contents.is_none()).map(|(path, _)| &path[..]).collect();
    let dir = if dirs.is_empty() || dice.below(3) == 0 { "" } else { *dice.pick(&dirs) };
    match dice.below(3) {
        0 => format!("{dir}/a long name with number {}.data", dice.below(40)),
        _ => format!("{dir}/{}", dice.pick(NAMES)),
    }
}

fn contents(dice: &mut Dice) -> Vec<u8> {
    let most = *dice.pick(&[1, 600, 5000, 40_000, 400_000]);
    let (len, first) = (dice.below(most), dice.below(251));
    (0..len).map(|at| ((at + first) % 251) as u8).collect()
}

fn step(fs: &mut Filesystem<Memory>, model: &mut Model, dice: &mut Dice, counts: &mut Counts) {
    let before = model.clone();
    let what = dice.below(16);
    let at = path(dice, model, what <= 4);
    let names = parts(&at);
    let (done, wanted) = match what {
        0..=2 => (fs.create_file(&names, Attrs::default()), model.create(&at, Some(Vec::new()))),
        3..=4 => (fs.create_dir(&names, Attrs::default()), model.create(&at, None)),
        5..=6 => {
            let bytes = contents(dice);
            (fs.write_contents(&names, &bytes), model.file(&at).map(|file| *file = bytes))
        }
        7 => {
            let bytes = contents(dice);
            (fs.append(&names, &bytes), model.file(&at).map(|file| file.extend(&bytes)))
        }
        8 => {
            let (bytes, offset) = (contents(dice), dice.below(50_000));
            let put = |file: &mut Vec<u8>| {
                if !bytes.is_empty() {
                    file.resize(file.len().max(offset + bytes.len()), 0);
                    file[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
            };
            (fs.write_at(&names, offset as u64, &bytes), model.file(&at).map(put))
        }
        9 => {
            let size = dice.below(60_000);
            (fs.truncate(&names, size as u64), model.file(&at).map(|file| file.resize(size, 0)))
        }
        10..=11 => {
            let new = dice.below(3) > 0;
            let to = path(dice, model, new);
            (fs.rename(&names, &parts(&to)), model.rename(&at, &to))
        }
        12 => (fs.unlink(&names), model.unlink(&at)),
        13 => (fs.rmdir(&names), model.rmdir(&at)),
        14 => {
            let gone = model.get(&at).map(|_| model.below(&at));
            let wanted = gone.map(|inside| {
                for path in inside.into_iter().chain([key(&at)]) {
                    model.0.remove(&path);
                }
            });
            (fs.remove_tree(&names).map(|_| ()), wanted)
        }
        _ => {
            let times = Some(Time { sec: 1_000_000_000, nsec: 0 });
            let attrs = Attrs { read_only: Some(dice.below(2) == 0), accessed: times, modified: times };
            (fs.set_attrs(&names, attrs), model.get(&at).map(|_| ()))
        }
    };
    match word(done) {
        None => {
            counts.full += 1;
            *model = before;
        }
        Some(said) => {
            assert_eq!(said, wanted, "{at}: {:?}", before.0.keys());
            counts.done += usize::from(said.is_ok());
            counts.refused += usize::from(said.is_err());
        }
    }
}

fn run(image: &Memory, seed: u64, viewed: bool, what: &str, counts: &mut Counts) {
    let mut dice = Dice(seed);
    let mut model = Model::default();
    let mut fs = open(image.clone());
    let mut marks: Vec<(usize, Model)> = Vec::new();
    for _ in 0..LENGTH {
        match dice.below(60) {
            0 => marks.push((fs.savepoint(), model.clone())),
            1 if !marks.is_empty() => {
                let number = dice.below(marks.len());
                let (mark, before) = marks[number].clone();
                marks.truncate(number);
                fs.rollback(mark);
                model = before;
                assert_eq!(read_all(&fs), model.tree(), "{what}: after a rollback");
                counts.rollbacks += 1;
            }
            2 if dice.below(3) == 0 => {
                let before = fs.device().clone();
                fs.commit().unwrap();
                marks.clear();
                judge(fs.device(), what);
                // The same reader, opened afresh: nothing was only in memory.
                let volume = fs.into_device();
                assert!(volume != before || model.0.is_empty() || counts.commits > 0);
                fs = open(volume);
                assert_eq!(read_all(&fs), model.tree(), "{what}: after a commit");
                counts.commits += 1;
            }
            _ => step(&mut fs, &mut model, &mut dice, counts),
        }
    }
    assert_eq!(read_all(&fs), model.tree(), "{what}: at the end");
    let free = fs.info().unwrap().free;
    fs.commit().unwrap();
    let volume = fs.into_device();
    judge(&volume, what);
    assert_eq!(Filesystem::open(&volume, NOW).unwrap().info().unwrap().free, free);
    if viewed {
        assert_eq!(view_all(&volume), model.tree(), "{what}: as fatfs reads it");
        if !model.0.is_empty() {
            let (found, wanted) = (plain(mcopy_all(&volume)), plain(model.tree()));
            assert_eq!(found, wanted, "{what}: as mtools reads it");
        }
    }
}

/// What mtools can say: it writes `_` for what it cannot, which no name here has.
fn plain(tree: Tree) -> Tree {
    let is_plain = |path: &str| path.is_ascii() && !path.contains('_');
    tree.into_iter().filter(|(path, _)| is_plain(path)).collect()
}
#[test]
fn what_is_done_is_what_is_there() {
    if !require(&["fsck.fat", "mkfs.fat", "mcopy"]) {
        return;
    }
    let mut counts = Counts::default();
    for (number, (args, len, viewed)) in (0u64..).zip(MADE) {
        let image = mkfs_fat(args, *len);
        for round in 0..if long() { LONG_ROUNDS } else { ROUNDS } {
            let seed = number << 32 | round;
            run(&image, seed, *viewed, &format!("{args}, seed {seed:#x}"), &mut counts);
        }
    }
    eprintln!("{counts:?}");
    let Counts { done, refused, full, rollbacks, commits } = counts;
    assert!(done > 3000 && refused > 500 && full > 50 && rollbacks > 20 && commits > 20);
}
