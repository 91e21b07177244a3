//! The sound images, by format.

use crate::common::nomount;
use nomount_kit::mutants::Victim;
use nomount_kit::{fixture, scratch, tool};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the images are made with, and judged by.
pub const TOOLS: &[&str] = &["e2fsck", "qemu-img", "sfdisk", "mkfs.fat", "fsck.fat"];
const MIB: usize = 1 << 20;
/// Where a partitioned disk has its guest's root.
pub const ROOT: usize = 3 * MIB;

/// Images of one format.
pub struct Family {
    pub name: &'static str,
    pub victims: fn() -> Vec<Victim>,
    /// Whether `check` knows it.
    pub is_checked: bool,
}

pub const FAMILIES: &[Family] = &[
    Family { name: "ext2, ext3", victims: || ext(&["ext2-1k", "ext3-1k", "dirty-ext3", "ext3-4k"]), is_checked: true },
    Family { name: "ext4", victims: || ext(EXT4), is_checked: true },
    Family { name: "FAT", victims: fat, is_checked: false },
    Family { name: "qcow2", victims: qcow2, is_checked: true },
    Family { name: "GPT, MBR", victims: || disks(false), is_checked: true },
    Family { name: "raw disks", victims: || disks(true), is_checked: true },
];

/// Between them they have every structure.
const EXT4: &[&str] = &[
    "ext4-nojournal",
    "ext4-2k",
    "ext4-1k",
    "dirty-csum3",
    "orphan-list",
    "inline-data",
    "ea-inode",
    "meta-bg",
    "large-dir",
    "quota",
    "ext4-i128",
    "sparse-super2",
];

fn ext(names: &[&str]) -> Vec<Victim> {
    names.iter().map(|name| Victim::new(*name, fixture::bytes(name)).with_ext(0)).collect()
}

fn run(command: &mut Command) {
    let done = tool::output(command);
    assert!(done.status.success(), "{command:?}: {}", tool::text(&done));
}

/// A FAT of `bits` with files, directories, long names, and a file of several clusters.
fn fat_bytes(bits: u32, len: usize) -> Vec<u8> {
    let folder = scratch::folder();
    let image = folder.path().join("fat.img");
    fs::File::create(&image).unwrap().set_len(len as u64).unwrap();
    run(tool::command("mkfs.fat").args(["-F", &bits.to_string(), "-s", "1", "-i", "5eed0001"]).arg(&image));
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("A folder with a long name/below")).unwrap();
    for number in 0..12usize {
        let name = format!("A file with a long name {number}");
        fs::write(tree.join("A folder with a long name").join(name), vec![number as u8; number * 700]).unwrap();
        fs::write(tree.join(format!("F{number}.TXT")), [b'x'; 9]).unwrap();
    }
    fs::write(tree.join("A folder with a long name/below/x"), "x").unwrap();
    let mut command = nomount();
    command.env("SOURCE_DATE_EPOCH", "1767225600").args(["cp", "-r"]).arg(tree.join("."));
    run(command.arg(format!("{}:/", image.display())));
    fs::read(&image).unwrap()
}

fn fat() -> Vec<Victim> {
    let victim = |(bits, len)| Victim::new(format!("fat{bits}"), fat_bytes(bits, len)).with_fat(0);
    [(12, 2 * MIB), (16, 6 * MIB), (32, 34 * MIB)].map(victim).into()
}

/// Name, and what qemu-img is told.
const QCOW2: &[(&str, &[&str])] = &[
    ("qcow2", &[]),
    ("qcow2-v2", &["-o", "compat=0.10"]),
    ("qcow2-zlib", &["-c", "-o", "cluster_size=4k"]),
    ("qcow2-zstd", &["-c", "-o", "compression_type=zstd"]),
    ("qcow2-512", &["-o", "cluster_size=512"]),
    ("qcow2-snapshot", &["-o", "cluster_size=4k"]),
    ("qcow2-extended", &["-o", "extended_l2=on,cluster_size=32k"]),
];

fn qcow2() -> Vec<Victim> {
    let folder = scratch::folder();
    let raw = fixture::file("ext4-nojournal");
    let convert = |(name, args): &(&str, &[&str])| {
        let image = folder.path().join(name);
        run(tool::command("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).args(*args).arg(&raw).arg(&image));
        if name.ends_with("snapshot") {
            run(tool::command("qemu-img").args(["snapshot", "-c", "before"]).arg(&image));
        }
        Victim::new(*name, fs::read(&image).unwrap()).with_qcow2()
    };
    let mut victims: Vec<Victim> = QCOW2.iter().map(convert).collect();
    victims.push(Victim::new("guest", fs::read(fixture::guest()).unwrap()).with_qcow2());
    victims
}

const GPT: &str = "label: gpt\nlabel-id: 5EED0000-0000-4000-8000-000000000000\nfirst-lba: 34\n\
    14 : start=1MiB, size=2MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=5EED0000-0000-4000-8000-000000000014\n\
    1 : start=3MiB, size=12MiB, uuid=5EED0000-0000-4000-8000-000000000001\n";
const MBR: &str = "label: dos\nlabel-id: 0x5eed0000\n1 : start=1MiB, size=2MiB, type=ef\n\
    2 : start=3MiB, size=12MiB, type=83, bootable\n3 : start=15MiB, size=4MiB, type=5\n\
    5 : start=16MiB, size=1MiB, type=83\n6 : start=18MiB, size=1MiB, type=82\n";

/// Disks with a FAT and a guest's root; with `inside` what these hold is spoiled, too.
fn disks(inside: bool) -> Vec<Victim> {
    let disk = |name: &str, script: &str, root: &str, len: usize| {
        let file = scratch::file();
        file.as_file().set_len(len as u64).unwrap();
        divide(file.path(), script);
        let mut bytes = fs::read(file.path()).unwrap();
        for (start, part) in [(MIB, fat_bytes(12, 2 * MIB)), (ROOT, fixture::bytes("ext4-2k"))] {
            bytes[start..start + part.len()].copy_from_slice(&part);
        }
        fs::write(file.path(), &bytes).unwrap();
        // What a guest's root is told by.
        let mut command = nomount();
        command.env("SOURCE_DATE_EPOCH", "1767225600").args(["mkdir", "--partition", root, "--seed", "1"]);
        run(command.arg(file.path()).args(["/dev", "/proc", "/sys"]));
        let bytes = fs::read(file.path()).unwrap();
        let victim = Victim::new(if inside { format!("{name} disk") } else { name.to_owned() }, bytes);
        let victim = if name == "gpt" { victim.with_gpt() } else { victim.with_mbr() };
        if inside { victim.with_ext(ROOT).with_fat(MIB) } else { victim }
    };
    vec![disk("gpt", GPT, "1", 16 * MIB), disk("mbr", MBR, "2", 20 * MIB)]
}

fn divide(disk: &Path, script: &str) {
    let mut child = tool::command("sfdisk").arg("-q").arg(disk).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{script}");
}
