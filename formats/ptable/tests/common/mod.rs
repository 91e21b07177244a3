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
