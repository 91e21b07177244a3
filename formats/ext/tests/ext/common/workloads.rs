//! Changes of every kind, for tests that interrupt them.

use nomount_block::WriteAt;
use nomount_ext::{Attrs, Error, Filesystem, New, ROOT_INO, Time};

/// Names in one directory of a planted tree.
const PER_DIR: usize = 250;

/// Some bytes that are not all alike.
pub fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 7) as u8 ^ seed).collect()
}

/// Too long for the inode. No part of it is longer than a name: readers differ in what they think of that.
pub fn slow_target() -> Vec<u8> {
    b"xy/".repeat(100)
}

/// Creates, replaces, appends, sets: at least one of each.
pub fn typical_change<D: WriteAt>(fs: &mut Filesystem<D>) -> Result<(), Error> {
    let etc = fs.resolve(b"/etc")?;
    let app = fs.create(etc, b"app", &New::Dir, Attrs::default())?;
    for (index, len) in [0, 1, 1023, 1024, 4096, 5000, 70_000, 300_000].into_iter().enumerate() {
        let name = format!("file-{index}");
        let attrs = Attrs { mode: Some(0o640), uid: Some(70_000), gid: Some(5), ..Attrs::default() };
        let ino = fs.create(app, name.as_bytes(), &New::File, attrs)?;
        fs.write_contents(ino, &bytes(len, index as u8))?;
        fs.append(ino, &bytes(100 * index + 1, 9))?;
    }
    fs.create(app, b"fast", &New::Symlink(b"../passwd"), Attrs::default())?;
    fs.create(app, b"slow", &New::Symlink(&slow_target()), Attrs::default())?;
    fs.create(app, b"null", &New::CharDevice(1, 3), Attrs::default())?;
    fs.create(app, b"big", &New::BlockDevice(300, 70_000), Attrs::default())?;
    fs.create(app, b"fifo", &New::Fifo, Attrs::default())?;
    fs.create(app, b"socket", &New::Socket, Attrs::default())?;
    let shadow = fs.resolve(b"/etc/shadow")?;
    fs.write_contents(shadow, b"root:$6$x:1:::::\n")?;
    let key = fs.resolve(b"/root/.ssh/authorized_keys")?;
    fs.append(key, b"ssh-ed25519 AAAA one\n")?;
    fs.set_attrs(key, Attrs { mode: Some(0o600), mtime: Some(Time { sec: 1, nsec: 2 }), ..Attrs::default() })?;
    fs.set_xattr(key, b"security.selinux", Some(b"system_u:object_r:ssh_home_t:s0\0"))?;
    fs.set_xattr(key, b"user.long", Some(&bytes(400, 3)))
}

/// One change: its name and what it does to a filesystem that was furnished, with a tree of so many files.
pub struct Workload<D> {
    pub name: &'static str,
    pub change: fn(&mut Filesystem<D>, usize) -> Result<(), Error>,
}

/// The few files that changes meet, and `/tree` with `files` more.
pub fn furnish<D: WriteAt>(fs: &mut Filesystem<D>, files: usize) -> Result<(), Error> {
    let etc = fs.create(ROOT_INO, b"etc", &New::Dir, Attrs::default())?;
    let shadow = fs.create(etc, b"shadow", &New::File, Attrs::default())?;
    fs.write_contents(shadow, b"root:*:1:::::\n")?;
    let root = fs.create(ROOT_INO, b"root", &New::Dir, Attrs::default())?;
    let ssh = fs.create(root, b".ssh", &New::Dir, Attrs::default())?;
    let keys = fs.create(ssh, b"authorized_keys", &New::File, Attrs::default())?;
    fs.append(keys, b"ssh-ed25519 AAAA zero\n")?;
    let big = fs.create(ROOT_INO, b"big", &New::File, Attrs::default())?;
    fs.write_contents(big, &bytes(600_000, 5))?;
    // A hundred holes, so that its map has a level of its own.
    let holes = fs.create(ROOT_INO, b"holes", &New::File, Attrs::default())?;
    let block = u64::from(fs.geometry().block_size);
    (0..100).try_for_each(|at| fs.write_at(holes, at * 2 * block, &bytes(300, at as u8)))?;
    plant(fs, b"tree", files)
}

/// Directories of [`PER_DIR`] files each, every third of them with contents.
fn plant<D: WriteAt>(fs: &mut Filesystem<D>, name: &[u8], files: usize) -> Result<(), Error> {
    let top = fs.create(ROOT_INO, name, &New::Dir, Attrs::default())?;
    for dir in 0..files.div_ceil(PER_DIR) {
        let parent = fs.create(top, format!("dir-{dir}").as_bytes(), &New::Dir, Attrs::default())?;
        for number in dir * PER_DIR..files.min((dir + 1) * PER_DIR) {
            let ino = fs.create(parent, file_name(number).as_bytes(), &New::File, Attrs::default())?;
            if number % 3 == 0 {
                fs.write_contents(ino, &bytes(1 + number % 900, number as u8))?;
            }
        }
    }
    Ok(())
}

fn file_name(number: usize) -> String {
    format!("a file of this tree, number {number}")
}

/// The first files of the tree, each with its directory and name.
fn files<D: WriteAt>(fs: &Filesystem<D>, count: usize) -> Result<Vec<(u32, String, u32)>, Error> {
    let mut all = Vec::new();
    for number in 0..count {
        let dir = fs.resolve(format!("/tree/dir-{}", number / PER_DIR).as_bytes())?;
        let name = file_name(number);
        let found = fs.lookup(dir, name.as_bytes())?.ok_or(Error::NotFound)?;
        all.push((dir, name, found.ino));
    }
    Ok(all)
}

/// All of them.
pub fn workloads<D: WriteAt>() -> Vec<Workload<D>> {
    vec![
        Workload { name: "inject", change: |fs, _| typical_change(fs) },
        Workload { name: "a tree in", change: |fs, files| plant(fs, b"new", files) },
        Workload {
            name: "replace",
            change: |fs, count| {
                for (number, (_, _, ino)) in files(fs, count.min(300))?.into_iter().enumerate() {
                    fs.write_contents(ino, &bytes(2000, number as u8))?;
                }
                Ok(())
            },
        },
        Workload {
            name: "append and overwrite",
            change: |fs, _| {
                let big = fs.resolve(b"/big")?;
                (0..40).try_for_each(|round| fs.append(big, &bytes(3000, round)))?;
                (0..20).try_for_each(|round| fs.write_at(big, u64::from(round) * 7001, &bytes(500, round)))
            },
        },
        Workload {
            name: "a directory grows and its index splits",
            change: |fs, _| {
                let dir = fs.create(ROOT_INO, b"wide", &New::Dir, Attrs::default())?;
                for number in 0..1500 {
                    let name = format!("{number:0>60}");
                    fs.create(dir, name.as_bytes(), &New::Symlink(b"target"), Attrs::default())?;
                }
                Ok(())
            },
        },
        Workload {
            name: "attributes spill",
            change: |fs, count| {
                for (number, (_, _, ino)) in files(fs, count.min(200))?.into_iter().enumerate() {
                    fs.set_xattr(ino, b"user.short", Some(b"value"))?;
                    fs.set_xattr(ino, b"user.long", Some(&bytes(300, number as u8)))?;
                }
                Ok(())
            },
        },
        Workload {
            name: "mass chmod",
            change: |fs, count| {
                for (_, _, ino) in files(fs, count)? {
                    fs.set_attrs(ino, Attrs { mode: Some(0o600), uid: Some(70_000), ..Attrs::default() })?;
                }
                Ok(())
            },
        },
        Workload {
            name: "rename over, and across directories",
            change: |fs, count| {
                let list = files(fs, count.min(400))?;
                for pair in list.chunks_exact(2) {
                    let [(dir, name, _), (to_dir, to, _)] = pair else { unreachable!("pairs") };
                    fs.rename(*dir, name.as_bytes(), *to_dir, to.as_bytes())?;
                }
                let (tree, etc) = (fs.resolve(b"/tree")?, fs.resolve(b"/etc")?);
                fs.rename(tree, b"dir-0", etc, b"moved")
            },
        },
        Workload {
            name: "scrub",
            change: |fs, count| {
                let big = fs.resolve(b"/big")?;
                fs.write_at(big, 3000, &bytes(9000, 5))?;
                fs.scrub(big)?;
                fs.unlink(ROOT_INO, b"big")?;
                for (dir, name, ino) in files(fs, count.min(300))? {
                    fs.scrub(ino)?;
                    fs.unlink(dir, name.as_bytes())?;
                }
                Ok(())
            },
        },
        Workload { name: "rm -r", change: |fs, _| fs.remove_tree(ROOT_INO, b"tree").map(drop) },
        Workload {
            name: "links come and names go",
            change: |fs, count| {
                let links = fs.create(ROOT_INO, b"links", &New::Dir, Attrs::default())?;
                for (dir, name, ino) in files(fs, count.min(300))? {
                    fs.link(ino, links, name.as_bytes())?;
                    fs.unlink(dir, name.as_bytes())?;
                }
                Ok(())
            },
        },
        Workload {
            name: "truncate, down and up",
            change: |fs, count| {
                let big = fs.resolve(b"/big")?;
                fs.truncate(big, 100_001)?;
                fs.truncate(big, 5_000_000)?;
                let holes = fs.resolve(b"/holes")?;
                fs.truncate(holes, 30_000)?;
                for (_, _, ino) in files(fs, count.min(200))? {
                    fs.truncate(ino, 7)?;
                }
                Ok(())
            },
        },
        Workload {
            name: "punch holes and fill them",
            change: |fs, _| {
                let big = fs.resolve(b"/big")?;
                (0..50).try_for_each(|at| fs.punch(big, at * 11_000, 5_000))?;
                let holes = fs.resolve(b"/holes")?;
                let block = u64::from(fs.geometry().block_size);
                (0..60).try_for_each(|at| fs.write_at(holes, (at * 2 + 1) * block, &bytes(200, at as u8)))
            },
        },
        Workload {
            name: "delete and create again",
            change: |fs, count| {
                for (dir, name, _) in files(fs, count.min(500))? {
                    fs.unlink(dir, name.as_bytes())?;
                    let ino = fs.create(dir, name.as_bytes(), &New::File, Attrs::default())?;
                    fs.append(ino, name.as_bytes())?;
                }
                Ok(())
            },
        },
    ]
}
