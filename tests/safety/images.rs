//! Images of every format, and files that claim several.

use nomount_kit::{fixture, scratch, tool};
use std::path::{Path, PathBuf};

/// An image that others are made from.
pub struct Base {
    pub name: String,
    pub path: PathBuf,
    bytes: Vec<u8>,
    is_fixture: bool,
}

impl Base {
    /// The image as it is.
    pub fn whole(&self) -> Case<'_> {
        Case { name: self.name.clone(), base: self, edits: Vec::new(), length: None }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn edited(&self, what: &str, edits: Vec<(usize, Vec<u8>)>) -> Case<'_> {
        Case { name: format!("{}, {what}", self.name), edits, ..self.whole() }
    }
}

/// An image to be judged: a base, changed in memory.
pub struct Case<'a> {
    pub name: String,
    pub base: &'a Base,
    /// Each inside the base.
    pub edits: Vec<(usize, Vec<u8>)>,
    /// What it is cut or extended to.
    pub length: Option<usize>,
}

impl Case<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.base.bytes().to_vec();
        for (at, edit) in &self.edits {
            bytes[*at..at + edit.len()].copy_from_slice(edit);
        }
        if let Some(length) = self.length {
            bytes.resize(length, 0);
        }
        bytes
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Arguments of `qemu-img create` by the name of what comes of them.
const CREATED: &[(&str, &str)] = &[
    ("qcow2-v2", "-f qcow2 -o compat=0.10"),
    ("qcow2-v3", "-f qcow2"),
    ("qcow2-lazy", "-f qcow2 -o lazy_refcounts=on,cluster_size=4096"),
    ("qcow2-small", "-f qcow2 -o cluster_size=512,refcount_bits=1"),
    ("qcow2-zstd", "-f qcow2 -o compression_type=zstd"),
    ("qcow2-extended", "-f qcow2 -o extended_l2=on"),
    ("qcow2-data-file", "-f qcow2 -o data_file=data.raw"),
    ("qcow2-data-raw", "-f qcow2 -o data_file=data2.raw,data_file_raw=on"),
    (
        "qcow2-luks",
        "--object secret,id=s,data=abc -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
    ),
    ("qcow2-backed", "-f qcow2 -b qcow2-v3 -F qcow2"),
    ("qcow2-v2-backed", "-f qcow2 -o compat=0.10 -b qcow2-v3 -F qcow2"),
    ("qcow", "-f qcow"),
    ("qed", "-f qed"),
    ("qed-backed", "-f qed -b qcow2-v3 -F qcow2"),
    ("vdi", "-f vdi"),
    ("vdi-static", "-f vdi -o static=on"),
    ("vhd", "-f vpc"),
    ("vhd-fixed", "-f vpc -o subformat=fixed"),
    ("vhdx", "-f vhdx"),
    ("vhdx-fixed", "-f vhdx -o subformat=fixed"),
    ("vmdk-sparse", "-f vmdk"),
    ("vmdk-flat", "-f vmdk -o subformat=monolithicFlat"),
    ("vmdk-2gb-sparse", "-f vmdk -o subformat=twoGbMaxExtentSparse"),
    ("vmdk-2gb-flat", "-f vmdk -o subformat=twoGbMaxExtentFlat"),
    ("vmdk-stream", "-f vmdk -o subformat=streamOptimized"),
    ("vmdk-v6", "-f vmdk -o compat6"),
    ("vmdk-backed", "-f vmdk -b vmdk-sparse -F vmdk"),
    ("parallels", "-f parallels"),
    ("luks", "--object secret,id=s,data=abc -f luks -o key-secret=s,iter-time=10"),
];

/// One image of each kind, made in `folder`.
pub fn made(folder: &Path) -> Vec<Base> {
    let qemu_img = |args: &str| {
        let done = tool::output(tool::command("qemu-img").current_dir(folder).args(args.split(' ')));
        assert!(done.status.success(), "qemu-img {args}: {}", tool::text(&done));
    };
    for (name, args) in CREATED {
        // A backed image takes the size of what it is backed by.
        let size = if args.contains(" -b ") { "" } else { " 1M" };
        qemu_img(&format!("create -q {args} {name}{size}"));
    }
    qemu_img("bitmap --add qcow2-lazy bits");
    qemu_img("snapshot -c one qcow2-zstd");
    std::fs::write(folder.join("text"), "words\n".repeat(50_000)).unwrap();
    qemu_img("convert -f raw -O qcow2 -c text qcow2-compressed");
    qemu_img("convert -f raw -O vmdk -o subformat=streamOptimized text vmdk-stream-full");
    let done = tool::output(tool::command("mkfs.fat").args(["--invariant", "-C"]).arg(folder.join("fat")).arg("1024"));
    assert!(done.status.success(), "{}", tool::text(&done));
    for (name, bytes) in by_bytes() {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.push(fixture::guest());
    let base = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Base { name, bytes: std::fs::read(&path).unwrap(), path, is_fixture: false }
    };
    names.into_iter().map(base).collect()
}

/// The beginnings of all filesystem fixtures and of the guest's disk, in `folder`. Neither of the two reads on.
pub fn fixtures(folder: &Path) -> Vec<Base> {
    let guest = scratch::raw_of(&fixture::guest(), "qcow2");
    let disks = fixture::names().into_iter().map(|name| (fixture::bytes(&name), name));
    let guest = (std::fs::read(&guest).unwrap(), "guest.raw".to_owned());
    let base = |(mut bytes, name): (Vec<u8>, String)| {
        let path = folder.join(&name);
        bytes.truncate(1 << 20);
        std::fs::write(&path, &bytes).unwrap();
        Base { is_fixture: name != "guest.raw", name, path, bytes }
    };
    disks.chain([guest]).map(base).collect()
}

/// Length of the images that are made by hand.
const LENGTH: usize = 300 << 10;

/// Images that no tool here makes.
fn by_bytes() -> Vec<(&'static str, Vec<u8>)> {
    let with = |pieces: &[(usize, &[u8])]| {
        let mut bytes = vec![0; LENGTH];
        pieces.iter().for_each(|(at, piece)| bytes[*at..at + piece.len()].copy_from_slice(piece));
        bytes
    };
    let mut iso = with(&[ISO]);
    iso[32848..32852].copy_from_slice(&150u32.to_le_bytes());
    iso[32896..32898].copy_from_slice(&2048u16.to_le_bytes());
    vec![
        ("zeroes", with(&[])),
        ("empty", Vec::new()),
        ("iso", iso.clone()),
        ("iso-udf", with(&[(32768, b"\x01CD001\x01"), (34816, b"\0NSR02\x01")])),
        ("udf", with(&[(32768, b"\0BEA01\x01"), (34816, b"\0NSR03\x01")])),
        ("nsr", with(&[(32768, b"\0NSR02\x01")])),
        ("mbr", with(&[MBR])),
        ("gpt", with(&[PROTECTED])),
        ("signature", with(&[(510, b"\x55\xaa")])),
        ("cowd", with(&[(0, b"COWD\x01\0\0\0")])),
        ("bochs", with(&[(0, b"Bochs Virtual HD Image\0")])),
        ("cloop", with(&[(0, b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount")])),
        ("text-monolithic", TEXT.to_vec()),
        ("text-version", b"# a comment\r\n\r\nversion=1\r\n".to_vec()),
        ("text-plain", b"nothing but words in many lines\n".repeat(1000)),
        ("qcow2-v4", with(&[(0, b"QFI\xfb\0\0\0\x04")])),
        ("luks-2", with(&[(0, b"LUKS\xba\xbe\0\x02")])),
    ]
}

/// A descriptor alone, of a type that is usually one file.
const TEXT: &[u8] = b"# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\n\
    createType=\"monolithicSparse\"\nRW 2048 SPARSE \"secret.vmdk\"\nddb.adapterType = \"ide\"\n";
const ISO: (usize, &[u8]) = (32768, b"\x01CD001\x01");
/// One partition of type 83, and the signature.
const MBR: (usize, &[u8]) = (446, &sector_end([0x80, 0, 2, 0, 0x83, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 4, 0, 0]));
const PROTECTED: (usize, &[u8]) =
    (446, &sector_end([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]));

/// The end of sector 0 with one partition.
const fn sector_end(entry: [u8; 16]) -> [u8; 66] {
    let mut bytes = [0; 66];
    let mut at = 0;
    while at < 16 {
        bytes[at] = entry[at];
        at += 1;
    }
    bytes[64] = 0x55;
    bytes[65] = 0xaa;
    bytes
}

/// What makes a file of one format look like another, too.
const MARKS: &[(&str, (usize, &[u8]))] = &[
    ("qcow2", (0, b"QFI\xfb\0\0\0\x03")),
    ("vmdk", (0, b"KDMV\x01\0\0\0")),
    ("vhd", (0, b"conectix")),
    ("vhdx", (0, b"vhdxfile")),
    ("luks", (0, b"LUKS\xba\xbe\0\x01")),
    ("qed", (0, b"QED\0")),
    ("vdi", (0x40, b"\x7f\x10\xda\xbe")),
    ("text", (0, TEXT)),
    ("mbr", MBR),
    ("gpt", PROTECTED),
    ("signature", (510, b"\x55\xaa")),
    ("iso", ISO),
    ("nsr", (32768, b"\0NSR03\x01")),
    ("parallels", (0, b"WithoutFreeSpace")),
];

/// Bases with the mark of each other format. The filesystems are alike in what is read of them, so these are left out.
pub fn crossed(bases: &[Base]) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for base in bases.iter().filter(|base| !base.is_fixture) {
        for (name, (at, mark)) in MARKS.iter().filter(|(_, (at, mark))| at + mark.len() <= base.bytes().len()) {
            cases.push(base.edited(&format!("marked as {name}"), vec![(*at, mark.to_vec())]));
        }
    }
    cases
}

fn named<'a>(bases: &'a [Base], name: &str) -> &'a Base {
    bases.iter().find(|base| base.name == name).unwrap_or_else(|| panic!("no image {name}"))
}

/// Changes with a meaning.
pub fn by_hand(bases: &[Base]) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for (name, at, value) in [
        ("vhd", 60, &[0, 0, 0, 4][..]),
        ("vhd", 60, &[0, 0, 0, 2]),
        ("luks", 164, &[0xff, 0, 0, 0]),
        ("luks", 212, &[0xff, 0, 0, 0]),
        ("luks", 6, &[0, 2]),
        ("vhdx", 192 << 10, b"xxxx"),
        ("vhdx", (192 << 10) + 8, &[0xff, 0xff, 0, 0]),
        ("vmdk-sparse", 12, &[0; 8]),
        ("qcow2-v2", 79, &[4]),
        ("qcow2-v3", 79, &[0x0b]),
        ("qcow2-v3", 72, &[0x80]),
    ] {
        cases.push(named(bases, name).edited(&format!("{at} as {value:?}"), vec![(at, value.to_vec())]));
    }
    // A parent in the metadata of a vhdx: the flag is in the second half of the file parameters.
    let vhdx = named(bases, "vhdx");
    let parameters = [0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d];
    let start = vhdx.bytes().windows(8).position(|bytes| bytes == b"metadata").expect("a metadata table");
    let entry = start + vhdx.bytes()[start..].windows(8).position(|bytes| bytes == parameters).expect("an entry");
    let offset = u32::from_le_bytes(vhdx.bytes()[entry + 16..entry + 20].try_into().unwrap()) as usize;
    cases.push(vhdx.edited("with a parent", vec![(start + offset + 4, vec![2])]));
    for name in ["vmdk-sparse", "vmdk-stream", "vmdk-stream-full"] {
        cases.extend(descriptors(named(bases, name)));
    }
    for name in
        ["qcow2-v3", "vmdk-stream-full", "vmdk-sparse", "vhd", "vhdx", "vdi", "luks", "iso", "gpt", "mbr", "qed", "fat"]
    {
        let base = named(bases, name);
        let len = base.bytes().len();
        let lengths =
            [0, 1, 8, 63, 64, 100, 511, 512, 591, 592, 1023, 1536, 10752, 33000, 34815, 34816, 262_143, 262_144];
        let ends = [len / 2, len.saturating_sub(1), len.saturating_sub(512), len + 1, len + 512];
        for length in lengths.into_iter().filter(|length| *length < len).chain(ends) {
            cases.push(Case { name: format!("{name}, {length} bytes long"), length: Some(length), ..base.whole() });
        }
    }
    cases
}

/// Other descriptors in a vmdk.
fn descriptors(base: &Base) -> Vec<Case<'_>> {
    let text: Vec<u8> = base.bytes()[512..].iter().copied().take_while(|byte| *byte != 0).collect();
    let text = String::from_utf8(text).unwrap();
    let kind = text.lines().find(|line| line.starts_with("createType")).unwrap();
    let extent = text.lines().find(|line| line.starts_with("RW")).unwrap();
    let texts = [
        text.replace(extent, "RW 2048 SPARSE \"/etc/shadow\""),
        text.replace(extent, "RW 2048 FLAT \"shadow\" 0"),
        text.replace(extent, "rdonly 2048 SPARSE \"a.vmdk\""),
        text.replace(extent, &format!("{extent}\n{extent}")),
        text.replace(extent, &format!("  {extent}\t")),
        text.replace(extent, ""),
        text.replace(extent, "RX 1 SPARSE \"a\""),
        text.replace(extent, &format!("{extent}\nsome other line")),
        text.replace(extent, &format!("{extent}\nsome other=line")),
        text.replace(extent, &format!("{extent}\n# /a/comment")),
        text.replace(extent, &format!("{extent}\nparentFileNameHint=\"/etc/shadow\"")),
        text.replace(extent, &format!("{extent}\n# parentFileNameHint=\"/etc/shadow\"")),
        text.replace("ffffffff", "12345678"),
        text.replace(kind, "createType=\"monolithicFlat\""),
        text.replace(kind, "CreateType=\"MONOLITHICSPARSE\""),
        text.replace(kind, &format!("CREATETYPE=\"monolithicSparse\"\n{kind}")),
        text.replace(kind, &format!("{kind}\ncreateType=\"monolithicFlat\"")),
        text.replace(kind, &format!("createType=\"{}\"", "x".repeat(100))),
        text.replace(kind, ""),
        text.replace("CID=", "C\u{e9}D="),
        text.replace('\n', "\r\n"),
        "\0".to_owned() + &text,
        String::new(),
    ];
    let room = base.bytes()[512..].iter().position(|byte| *byte == 0).unwrap() + 512;
    let edited = |(number, new): (usize, &String)| {
        let mut bytes = new.clone().into_bytes();
        bytes.resize(room, 0);
        base.edited(&format!("descriptor {number}"), vec![(512, bytes)])
    };
    texts.iter().enumerate().map(edited).collect()
}
