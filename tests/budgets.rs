//! Images that claim more than there is: no command takes memory or time by what they claim.

mod common;

use common::nomount;
use nomount_kit::{require, scratch, tool};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wait4::Wait4;

const MIB: u64 = 1 << 20;
/// What no command may take, whatever the image.
const MOST: u64 = 512 * MIB;
/// What the program takes before it looks at an image, caches of fixed sizes among it.
const BASE: u64 = 64 * MIB;
const SECONDS: Duration = Duration::from_secs(10);
/// Bytes of output that are looked at; a command that writes more is stopped.
const OUTPUT: u64 = 4 * MIB;
/// Of these, what is kept.
const TOLD: usize = 64 << 10;

/// What a run took.
struct Taken {
    code: Option<i32>,
    memory: u64,
    time: Duration,
    text: String,
}

/// Runs the program, and stops it when it has written [`OUTPUT`] bytes.
fn measure(args: &[&str]) -> Taken {
    let since = Instant::now();
    let mut child =
        nomount().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let (stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let told = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut output = Vec::new();
    // With the reader dropped, a program that writes on fails.
    stdout.take(OUTPUT).read_to_end(&mut output).expect("a pipe can be read");
    let used = child.wait4().expect("it ends");
    let text = told.join().expect("reading does not panic");
    let text = format!("{}{text}", String::from_utf8_lossy(&output[..output.len().min(TOLD)]));
    Taken { code: used.status.code(), memory: used.rusage.maxrss, time: since.elapsed(), text }
}

struct Case {
    folder: TempDir,
    image: PathBuf,
}

impl Case {
    fn new(len: u64) -> Self {
        let folder = scratch::folder();
        let image = folder.path().join("image");
        File::create(&image).and_then(|file| file.set_len(len)).expect("a sparse file");
        Self { folder, image }
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(&self.image).expect("the image is there");
        file.write_all_at(bytes, at).expect("the image can be written");
    }

    fn word(&self, at: u64) -> u32 {
        let mut bytes = [0; 4];
        File::open(&self.image).and_then(|file| file.read_exact_at(&mut bytes, at)).expect("inside the image");
        u32::from_le_bytes(bytes)
    }

    /// Runs every command that looks at an image, and `inject` into another one.
    fn all(&self, limit: Option<u64>) {
        let image = self.image.to_str().expect("UTF-8");
        let host = self.folder.path().join("file");
        std::fs::write(&host, "hello\n").expect("the folder can be written");
        let file = format!("{}:/new", host.display());
        let out = self.folder.path().join("out");
        let path = format!("{image}:/f");
        let granted = limit.map(|limit| limit.to_string());
        for command in [
            &["info", image][..],
            &["ls", "-R", image],
            &["ls", "-lR", image],
            &["check", image],
            &["cat", &path],
            &["stat", &path],
            &["find", image],
            &["find", "--json", image],
            &["du", image],
            &["df", image],
            &["inject", image, "-o", out.to_str().expect("UTF-8"), "--file", &file],
        ] {
            let mut args: Vec<&str> = granted.iter().flat_map(|size| ["--max-memory", size]).collect();
            args.extend(command);
            let taken = measure(&args);
            let _ = std::fs::remove_file(&out);
            let most = limit.map_or(MOST, |limit| limit + BASE);
            let Taken { code, memory, time, text } = taken;
            assert!(!matches!(code, None | Some(70 | 101)), "{args:?}: {code:?}: {text}");
            assert!(memory <= most, "{args:?}: {memory} bytes of {most}: {text}");
            assert!(time <= SECONDS, "{args:?}: {time:?}: {text}");
        }
    }
}

/// A qcow2 header of version 2 with clusters of 2 MiB.
fn qcow2(size: u64, l1_entries: u32, snapshots: u32) -> Vec<u8> {
    let mut header = b"QFI\xfb".to_vec();
    header.extend(2u32.to_be_bytes());
    header.extend([0; 12]);
    header.extend(21u32.to_be_bytes());
    header.extend(size.to_be_bytes());
    header.extend(0u32.to_be_bytes());
    header.extend(l1_entries.to_be_bytes());
    header.extend((4 * MIB).to_be_bytes());
    header.extend((2 * MIB).to_be_bytes());
    header.extend(1u32.to_be_bytes());
    header.extend(snapshots.to_be_bytes());
    header.extend(if snapshots > 0 { 2 * MIB } else { 0 }.to_be_bytes());
    header
}

#[test]
fn a_virtual_size_allocates_nothing() {
    let entries = 4 << 20;
    for (size, entries, snapshots) in [
        (i64::MAX as u64, u32::MAX, 0),
        (i64::MAX as u64, entries, 0),
        (u64::MAX, entries, 0),
        (1 << 50, entries, 0),
        (1 << 60, entries, 0),
        (1 << 61, entries, 65536),
        (1 << 50, entries, u32::MAX),
    ] {
        let case = Case::new(64 * MIB);
        case.write(0, &qcow2(size, entries, snapshots));
        case.all(None);
    }
}

#[test]
fn partition_tables_claim_in_vain() {
    let case = Case::new(64 * MIB);
    let mut header = b"EFI PART\0\0\x01\0\x5c\0\0\0".to_vec();
    header.resize(512, 0);
    header[24] = 1;
    header[32..40].copy_from_slice(&(64 * MIB / 512 - 1).to_le_bytes());
    header[72] = 2;
    header[80..84].copy_from_slice(&u32::MAX.to_le_bytes());
    header[84..88].copy_from_slice(&u32::MAX.to_le_bytes());
    case.write(512, &header);
    case.write(510, b"\x55\xaa");
    case.write(446 + 4, b"\xee");
    case.all(None);
    // Extended boot records that lead to each other.
    let case = Case::new(64 * MIB);
    let mut sector = [0; 512];
    sector[510..].copy_from_slice(b"\x55\xaa");
    sector[446 + 4] = 5;
    sector[446 + 8] = 1;
    sector[446 + 14] = 1;
    case.write(0, &sector);
    sector[446 + 4] = 0x83;
    sector[462 + 4] = 5;
    sector[462 + 8] = 1;
    sector[462 + 14] = 1;
    case.write(512, &sector);
    case.write(1024, &sector);
    case.all(None);
}

/// An ext2 without checksums, with a file in it: what its fields say is believed. Gives where inode 11 and 12 are.
fn ext(len: u64, kind: &str) -> Option<(Case, u64)> {
    if !require(&["mke2fs", "debugfs"]) {
        return None;
    }
    let case = Case::new(len);
    let host = case.folder.path().join("f");
    std::fs::write(&host, "hello\n").expect("the folder can be written");
    let made = tool::output(
        tool::command("mke2fs")
            .args(["-q", "-F", "-b", "4096", "-I", "256", "-O", "^metadata_csum,^64bit,^dir_index,^resize_inode"])
            .args(["-t", kind])
            .arg(&case.image),
    );
    assert!(made.status.success(), "{}", tool::text(&made));
    let write = format!("write {} f", host.display());
    let wrote = tool::output(tool::command("debugfs").args(["-w", "-R", &write]).arg(&case.image));
    assert!(wrote.status.success(), "{}", tool::text(&wrote));
    let table = u64::from(case.word(4096 + 8)) * 4096;
    Some((case, table + 10 * 256))
}

#[test]
fn files_longer_than_any_disk_are_looked_at_and_not_waited_for() {
    for size in [1u64 << 62, 1 << 43] {
        let Some((case, inodes)) = ext(64 * MIB, "ext4") else { return };
        case.write(inodes + 256 + 4, &(size as u32).to_le_bytes());
        case.write(inodes + 256 + 0x6c, &((size >> 32) as u32).to_le_bytes());
        case.all(None);
        let image = case.image.to_str().expect("UTF-8");
        for args in [["checksum", "-r", image, "/"], ["ls", "--checksum", "-R", image]] {
            let Taken { code, time, text, .. } = measure(&args);
            assert_eq!(code, Some(1), "{text}");
            assert!(text.contains(&format!("of its {size} are holes")) && time < SECONDS, "{time:?} {text}");
        }
    }
}

/// A directory whose map leads to one full block from all of its 2 GiB: 178 million names.
fn endless_directory() -> Option<Case> {
    let (case, inodes) = ext(2049 * MIB, "ext2")?;
    let (leaf, middle, top) = (16000u32, 16001u32, 16002u32);
    let mut names = Vec::new();
    for at in 0..341u16 {
        names.extend(12u32.to_le_bytes());
        names.extend(if at == 340 { 16u16 } else { 12 }.to_le_bytes());
        names.extend([4, 1]);
        names.extend(format!("{at:04}").as_bytes());
    }
    names.resize(4096, 0);
    let pointers = |block: u32| block.to_le_bytes().repeat(1024);
    case.write(u64::from(leaf) * 4096, &names);
    case.write(u64::from(middle) * 4096, &pointers(leaf));
    case.write(u64::from(top) * 4096, &pointers(middle));
    // lost+found keeps its first block, with the dots.
    case.write(inodes + 4, &(1u32 << 31).to_le_bytes());
    case.write(inodes + 40 + 4, &leaf.to_le_bytes().repeat(11));
    case.write(inodes + 40 + 48, &[middle.to_le_bytes(), top.to_le_bytes()].concat());
    Some(case)
}

#[test]
fn a_directory_that_is_one_block_all_over_is_refused_in_time() {
    let Some(case) = endless_directory() else { return };
    for limit in [None, Some(64 * MIB), Some(16 * MIB)] {
        case.all(limit);
    }
    let image = case.image.to_str().expect("UTF-8");
    let list = |memory: &str| measure(&["--max-memory", memory, "ls", image, "/lost+found"]);
    let taken = list("64M");
    assert_eq!(taken.code, Some(1), "{}", taken.text);
    assert!(taken.memory <= 64 * MIB + BASE, "{} bytes", taken.memory);
    let text = "the names of a directory would take";
    assert!(taken.text.contains(text) && taken.text.contains("hint: --max-memory"), "{}", taken.text);
    let Taken { text, .. } = measure(&["--max-memory", "64M", "find", "--json", image]);
    assert!(text.contains("\"kind\": \"out_of_budget\""), "{text}");
}

#[test]
fn orphans_that_lead_to_themselves_end() {
    let Some((case, inodes)) = ext(64 * MIB, "ext4") else { return };
    case.write(1024 + 0xe8, &12u32.to_le_bytes());
    case.write(inodes + 256 + 0x14, &12u32.to_le_bytes());
    case.all(None);
}

#[test]
fn chains_of_clusters_that_lead_to_themselves_end() {
    let case = Case::new(64 * MIB);
    let made = measure(&["mkfs", "--type", "vfat", case.image.to_str().expect("UTF-8")]);
    assert_eq!(made.code, Some(0), "{}", made.text);
    let mut start = [0; 512];
    File::open(&case.image).and_then(|file| file.read_exact_at(&mut start, 0)).expect("a boot sector");
    let table = u64::from(u16::from_le_bytes([start[14], start[15]])) * 512;
    // FAT16: cluster 2 leads to itself, and the root has a directory that begins there.
    assert_eq!(&start[54..59], b"FAT16");
    case.write(table + 4, &[2, 0]);
    let sectors = u64::from(u16::from_le_bytes([start[22], start[23]]));
    let mut entry = b"D          \x10".to_vec();
    entry.resize(32, 0);
    entry[26] = 2;
    case.write(table + u64::from(start[16]) * sectors * 512, &entry);
    case.all(None);
}

#[test]
fn what_is_granted_is_said_and_bounded() {
    let help = measure(&["--help"]);
    assert!(help.text.contains("--max-memory <SIZE>"), "{}", help.text);
    let Taken { code, text, .. } = measure(&["--max-memory", "1M", "info", "x"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("at least 16M is needed"), "{text}");
    assert!(!Path::new("x").exists());
}
