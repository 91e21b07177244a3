//! Files that were deleted or cut while open when the machine stopped, in the list and in the orphan file. debugfs
//! takes the names away, as a kernel does before the last user closes the file.

use crate::common::{OPTIONS, bytes, finish, open_staged, our_digest};
use nomount_block::{Memory, ReadAt, WriteAt};
use nomount_ext::{Attrs, Filesystem, New, Options, ROOT_INO, ro_compat};
use nomount_kit::digest::{Change, Field};
use nomount_kit::{TreeDigest, fixture, judges, require, scratch};
use std::path::Path;
use std::process::Command;

fn debugfs(path: &Path, commands: &str) -> String {
    let script = scratch::file();
    std::fs::write(script.path(), commands).unwrap();
    let done = Command::new("debugfs").args(["-w", "-f"]).arg(script.path()).arg(path).output().unwrap();
    assert!(done.status.success());
    String::from_utf8(done.stdout).unwrap()
}

fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// Puts inode numbers into the first block of the orphan file, at both its ends, with the right checksum.
fn fill_orphan_file(path: &Path, inos: &[u32]) {
    let mut image = Memory::new(std::fs::read(path).unwrap());
    let word = |image: &Memory, at: u64| {
        let mut bytes = [0; 4];
        image.read_at(at, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    };
    let file = word(&image, 1024 + 0x280);
    let answer = debugfs(path, &format!("bmap <{file}> 0\n"));
    let block: u64 = answer.lines().last().unwrap().trim().parse().unwrap();
    let fs = Filesystem::open(&image, Options::default()).unwrap();
    let size = u64::from(fs.geometry().block_size);
    drop(fs);
    let stat = debugfs(path, &format!("stat <{file}>\n"));
    let generation: u32 =
        stat.split("Generation: ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    // The fixture has metadata_csum_seed.
    let seed = crc(crc(word(&image, 1024 + 0x270), &file.to_le_bytes()), &generation.to_le_bytes());
    let mut entries = vec![0; size as usize - 8];
    let places = [0, entries.len() / 4 - 1, 5, 6];
    for (ino, place) in inos.iter().zip(places) {
        entries[place * 4..place * 4 + 4].copy_from_slice(&ino.to_le_bytes());
    }
    let sum = crc(crc(seed, &block.to_le_bytes()), &entries);
    image.write_at(block * size, &entries).unwrap();
    image.write_at((block + 1) * size - 4, &sum.to_le_bytes()).unwrap();
    let mut all = vec![0; image.len() as usize];
    image.read_at(0, &mut all).unwrap();
    std::fs::write(path, &all).unwrap();
}

/// An image with orphans of each kind: in the file one without a name, with attributes in a block, and one to be cut;
/// in the list likewise. What is cut keeps `kept` bytes. Also tells how many blocks were free without them.
fn crashed(kept: u64) -> (impl AsRef<Path> + std::ops::Deref<Target = Path>, u64) {
    let mut fs = open_staged(fixture::memory("ext4-147"));
    let free = fs.free_blocks_count();
    let mut inos = Vec::new();
    for name in ["gone-1", "cut-1", "gone-2", "cut-2"] {
        let ino = fs.create(ROOT_INO, name.as_bytes(), &New::File, Attrs::default()).unwrap();
        fs.write_contents(ino, &bytes(100_000, 7)).unwrap();
        // Of what is cut e2fsck 1.47.0 frees the attribute block as well, and then finds its count of blocks wrong.
        if name.starts_with("gone") {
            fs.set_xattr(ino, b"user.long", Some(&bytes(900, 1))).unwrap();
        }
        inos.push(ino);
    }
    let path = scratch::device(&finish(fs));
    let mut commands = String::new();
    for (ino, name) in [(inos[0], "gone-1"), (inos[2], "gone-2")] {
        commands += &format!("unlink /{name}\nsif <{ino}> links_count 0\n");
    }
    for ino in [inos[1], inos[3]] {
        commands += &format!("sif <{ino}> size {kept}\n");
    }
    commands += &format!("sif <{}> dtime {}\nsif <{}> dtime 0\n", inos[2], inos[3], inos[3]);
    commands += &format!("ssv last_orphan {}\nfeature orphan_present needs_recovery\nfeature\n", inos[2]);
    let said = debugfs(&path, &commands);
    assert!(said.contains("orphan_present") && said.contains("needs_recovery"), "{said}");
    fill_orphan_file(&path, &inos[..2]);
    (path, free)
}

#[test]
fn the_list_and_the_file_are_processed_as_e2fsck_does() {
    if !require(&["e2fsck", "debugfs"]) {
        return;
    }
    for kept in [0, 5000, 8192] {
        let (path, free) = crashed(kept);
        let image = Memory::new(std::fs::read(&path).unwrap());
        judges::e2fsck_recover(&path, 0).unwrap();
        // e2fsck 1.47.0 leaves the entries in the file, and calls that unclean itself.
        let cleared = Command::new("e2fsck").arg("-fy").arg(&*path).output().unwrap();
        assert!(cleared.status.code().unwrap() <= 1, "{cleared:?}");
        judges::e2fsck_fn(&path, 0).unwrap();
        let theirs = TreeDigest::of_ext(&path, 0);
        assert_eq!(theirs.get("/cut-1").unwrap().size, kept);
        assert!(theirs.get("/gone-1").is_none());

        // Read only: orphans that nobody names do not show, and nothing is written.
        Filesystem::open(&image, Options::default()).unwrap();
        let mut fs = open_staged(image);
        assert!(!fs.geometry().features.ro_compat(ro_compat::ORPHAN_PRESENT));
        let blocks = 2 * kept.div_ceil(4096);
        assert_eq!(fs.free_blocks_count(), free - blocks);
        fs.create(ROOT_INO, b"new", &New::File, Attrs::default()).unwrap();
        let image = finish(fs);
        let ours = scratch::device(&image);
        judges::e2fsck_fn(&ours, 0).unwrap_or_else(|e| panic!("{kept}: {e}"));
        let digest = our_digest(&Filesystem::open(&image, OPTIONS).unwrap());
        for change in theirs.diff(&digest) {
            let expected = match &change {
                Change::Added(path, _) => path == b"/new",
                Change::Removed(..) => false,
                Change::Changed { path, fields, .. } => {
                    let root = path == b"/" && fields.iter().all(|f| [Field::Mtime, Field::Ctime].contains(f));
                    root || path.starts_with(b"/cut") && fields.iter().all(|f| [Field::Mtime, Field::Ctime].contains(f))
                }
            };
            assert!(expected, "{kept}: {change:?}");
        }
    }
}
