//! What the tests share: running the judges, and devices made of files.
#![allow(dead_code, reason = "each test binary uses its own part")]

use nomount_block::Memory;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether all tools are there. Under CI a missing one fails the test; elsewhere it says so and the test returns.
pub fn have(tools: &[&str]) -> bool {
    let missing: Vec<_> = tools.iter().filter(|tool| find(tool).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "judges are missing: {missing:?}");
    println!("not run: {missing:?} missing");
    false
}

fn find(tool: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/sbin".into(), "/usr/sbin".into()])
        .map(|dir| dir.join(tool))
        .find(|file| file.is_file())
}

/// Runs a tool with `input` and returns what it prints; fails when the tool does. The image takes the place of the
/// argument `@`, or comes last.
pub fn run(tool: &str, args: &[&str], image: &Path, input: &str) -> String {
    let mut command = Command::new(find(tool).unwrap());
    for arg in args {
        match *arg {
            "@" => command.arg(image),
            arg => command.arg(arg),
        };
    }
    if !args.contains(&"@") {
        command.arg(image);
    }
    let mut child = command
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {text}{errors}");
    text
}

/// A sparse file of `len` bytes in a directory of its own.
pub struct Image {
    dir: tempfile::TempDir,
}

impl Image {
    pub fn new(len: u64) -> Self {
        let image = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::File::create(image.path()).unwrap().set_len(len).unwrap();
        image
    }

    pub fn with(bytes: &[u8]) -> Self {
        let image = Self::new(0);
        std::fs::write(image.path(), bytes).unwrap();
        image
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("disk")
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    pub fn device(&self) -> Memory {
        Memory::new(self.bytes())
    }
}

/// One line of partx, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub number: u32,
    pub start: u64,
    pub len: u64,
    pub type_id: String,
    pub uuid: String,
    pub name: String,
}

/// What util-linux says. partx counts in 512-byte sectors whatever the device's are, and reports an extended
/// partition with the length of its boot record, so lengths of those are not taken from it.
pub fn partx(image: &Path, sector_size: u32) -> Vec<Row> {
    let size = sector_size.to_string();
    let args = ["-S", &size, "-g", "--raw", "-o", "NR,START,SECTORS,TYPE,UUID,NAME"];
    let text = run("partx", &args, image, "");
    let row = |line: &str| {
        let mut columns = line.split(' ');
        let mut next = || columns.next().unwrap_or_default().to_owned();
        let (number, start, len) = (next(), next(), next());
        Row {
            number: number.parse().unwrap(),
            start: start.parse::<u64>().unwrap() * 512,
            len: len.parse::<u64>().unwrap() * 512,
            type_id: next().trim_start_matches("0x").to_owned(),
            uuid: next(),
            name: unescape(&next()),
        }
    };
    text.lines().map(row).collect()
}

/// Undoes the `\\x20` of partx.
fn unescape(text: &str) -> String {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// The same of a table of ours.
pub fn rows(table: &nomount_ptable::Table) -> Vec<Row> {
    let row = |p: &nomount_ptable::Partition| Row {
        number: p.number,
        start: p.start,
        len: p.len,
        type_id: p.type_id.to_string(),
        uuid: p.partuuid.clone().unwrap_or_default(),
        name: p.name.clone(),
    };
    table.partitions.iter().map(row).collect()
}

/// A GPT as sgdisk makes one for cloud images: partitions 1, 14 and 15, in another order on disk.
pub fn cloud_image(len: u64) -> Image {
    let image = Image::new(len);
    let args = [
        "-U",
        "11111111-2222-3333-4444-555555555555",
        "-n",
        "14:2048:+1M",
        "-t",
        "14:ef02",
        "-c",
        "14:bios",
        "-n",
        "15:0:+2M",
        "-t",
        "15:ef00",
        "-c",
        "15:grün",
        "-n",
        "1:0:0",
        "-t",
        "1:8304",
        "-c",
        "1:root",
        "-A",
        "1:set:2",
        "-A",
        "1:set:59",
        "-u",
        "1:aaaaaaaa-0000-0000-0000-000000000001",
        "-u",
        "14:aaaaaaaa-0000-0000-0000-000000000014",
        "-u",
        "15:aaaaaaaa-0000-0000-0000-000000000015",
    ];
    run("sgdisk", &args, &image.path(), "");
    image
}

/// Writes an MBR entry: index, type, start and length in sectors.
pub fn put_entry(bytes: &mut [u8], record: u64, index: usize, sys: u8, start: u32, sectors: u32) {
    let at = record as usize * 512 + 446 + index * 16;
    bytes[at..at + 16].fill(0);
    bytes[at + 4] = sys;
    bytes[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
    bytes[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
    bytes[record as usize * 512 + 510..][..2].copy_from_slice(&[0x55, 0xaa]);
}

pub const LEN: usize = 1 << 20;
pub const LAST: usize = LEN - 512;
pub const ENTRIES: usize = 128;

pub fn put(bytes: &mut [u8], at: usize, len: usize, value: u64) {
    bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
}

/// Makes both checksums of the header at `at` right.
pub fn seal(bytes: &mut [u8], at: usize) {
    let field = |bytes: &[u8], offset: usize| {
        u64::from_le_bytes(bytes[at + offset..at + offset + 8].try_into().unwrap()) as usize
    };
    let array = field(bytes, 72).saturating_mul(512);
    let len = (field(bytes, 80) & 0xffff_ffff).saturating_mul(ENTRIES);
    if let Some(entries) = array.checked_add(len).and_then(|end| bytes.get(array..end)) {
        let crc = crc32(entries);
        put(bytes, at + 88, 4, crc.into());
    }
    bytes[at + 16..at + 20].fill(0);
    let size = (field(bytes, 12) & 0xffff_ffff).clamp(92, 512);
    let crc = crc32(&bytes[at..at + size]);
    put(bytes, at + 16, 4, crc.into());
}

/// Written bit by bit, apart from the library that the crate uses.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1)))
    })
}

/// A sound GPT with partitions 1 and 3 of 100 sectors, made by hand from the specification.
pub fn gpt() -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    put_entry(&mut bytes, 0, 0, 0xee, 1, (LEN / 512 - 1) as u32);
    for array in [2 * 512, LAST - 32 * 512] {
        for (slot, start) in [(0, 64), (2, 264)] {
            let at = array + slot * ENTRIES;
            bytes[at..at + 16].fill(0x11);
            bytes[at + 16..at + 32].fill(0x20 + slot as u8);
            put(&mut bytes, at + 32, 8, start);
            put(&mut bytes, at + 40, 8, start + 99);
        }
    }
    for (at, other, array) in [(512, LAST, 2), (LAST, 512, LAST / 512 - 32)] {
        bytes[at..at + 8].copy_from_slice(b"EFI PART");
        put(&mut bytes, at + 8, 4, 0x10000);
        put(&mut bytes, at + 12, 4, 92);
        put(&mut bytes, at + 24, 8, (at / 512) as u64);
        put(&mut bytes, at + 32, 8, (other / 512) as u64);
        put(&mut bytes, at + 40, 8, 34);
        put(&mut bytes, at + 48, 8, (LAST / 512 - 33) as u64);
        bytes[at + 56..at + 72].fill(0xdd);
        put(&mut bytes, at + 72, 8, array as u64);
        put(&mut bytes, at + 80, 4, 128);
        put(&mut bytes, at + 84, 4, 128);
        seal(&mut bytes, at);
    }
    bytes
}
