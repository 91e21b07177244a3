//! Tar streams, plain or compressed, into a guest. The input: how, and the stream.

use crate::input::{CRC32, crc};
use crate::volume::{empty_filesystem, sound, worked_on};
use nomount::ops::copy::{CopyOptions, Existing, Keep, copy_in};
use nomount::ops::populate::{Fill, TarStream, populate};
use nomount::ops::{Compression, Compressor, Silent, decompressed};
use nomount::tree::GuestPath;
use std::io::Write;

/// Sum and place of the checksum in a header of tar.
const SUM: std::ops::Range<usize> = 148..156;
const BLOCK: usize = 512;

/// The stream with the checksums of what look like headers made right, so that changed headers are read.
fn summed(stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    for block in stream.chunks_exact_mut(BLOCK).filter(|block| block[257..].starts_with(b"ustar")) {
        block[SUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    stream
}

/// The first block of an xz stream, whose header says how much memory it takes.
const XZ_BLOCK: usize = 12;

/// The checksum of the header of the first block of xz made right.
fn sealed(stream: &mut [u8]) {
    let len = stream.get(XZ_BLOCK).map_or(0, |len| (usize::from(*len) + 1) * 4);
    if let Some(header) = stream.get_mut(XZ_BLOCK..XZ_BLOCK + len).filter(|_| len > 4) {
        let (fields, sum) = header.split_at_mut(len - 4);
        sum.copy_from_slice(&crc(fields, CRC32).to_le_bytes());
    }
}

pub fn body(data: &[u8]) {
    let Some((how, stream)) = data.split_first() else { return };
    let mut stream = if how & 1 == 0 { summed(stream) } else { stream.to_vec() };
    if stream.starts_with(b"\xfd7zXZ\0") {
        sealed(&mut stream);
    }
    let Ok(reader) = decompressed(&stream[..]) else { return };
    let mut tar = TarStream::new(reader);
    if how & 2 == 0 {
        let mut fs = empty_filesystem();
        // What was committed before an entry that is refused is sound, too.
        let _ = populate(&mut fs, &mut tar, Fill { owner: None, latest: None });
        sound(&fs.into_device());
        return;
    }
    let existing = match how >> 2 & 3 {
        0 => Existing::Merge,
        1 => Existing::Layer,
        kind => Existing::Unpack { keep_directory_symlink: kind == 2 },
    };
    let options = CopyOptions { keep: Keep::ALL, existing, ..CopyOptions::default() };
    worked_on(|editor| copy_in(editor, &mut tar, &GuestPath::root(), &options, &mut Silent).map(drop));
}

/// A header of ustar, and the contents padded to blocks.
fn entry(name: &str, kind: u8, link: &str, contents: &[u8]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{:011o}\014000000000\0", contents.len()).as_bytes());
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    put(329, b"0000001\x000000003\0");
    block.extend_from_slice(contents);
    block.resize(block.len().next_multiple_of(BLOCK), 0);
    block
}

/// A record of PAX.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let digits = (1..).find(|digits| (rest + digits).to_string().len() == *digits).expect("lengths have digits");
    format!("{} {key}={value}\n", rest + digits)
}

pub fn seeds() -> Vec<Vec<u8>> {
    let end = [0; 2 * BLOCK];
    let plain = [
        entry("dir/", b'5', "", b""),
        entry("dir/file", b'0', "", b"contents"),
        entry("dir/link", b'2', "../etc", b""),
        entry("dir/hard", b'1', "dir/file", b""),
        entry("null", b'3', "", b""),
        entry("disk", b'4', "", b""),
        entry("fifo", b'6', "", b""),
        end.to_vec(),
    ];
    let extended: String = [
        ("path", "a longer name/than the header has"),
        ("mtime", "1700000000.5"),
        ("uid", "1000"),
        ("SCHILY.xattr.user.note", "value"),
        ("SCHILY.acl.access", "user::rw-,user:5:r--,group::r--,mask::r--,other::r--"),
        ("RHT.security.selinux", "system_u:object_r:etc_t:s0"),
    ]
    .iter()
    .map(|(key, value)| record(key, value))
    .collect();
    let sparse: String = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "holes"),
        ("GNU.sparse.realsize", "9000"),
    ]
    .iter()
    .map(|(key, value)| record(key, value))
    .collect();
    let map = [&b"1\n8192\n5\n"[..], &[0; BLOCK - 9], b"bytes"].concat();
    let pax = [
        entry("pax", b'x', "", extended.as_bytes()),
        entry("short", b'0', "", b"x"),
        entry("pax", b'x', "", sparse.as_bytes()),
        entry("GNUSparseFile/holes", b'0', "", &map),
        entry("././@LongLink", b'L', "", &[b'n'; 200]),
        entry("cut", b'0', "", b"long name"),
        end.to_vec(),
    ];
    let layer = [entry("etc/.wh.hosts", b'0', "", b""), entry("home/.wh..wh..opq", b'0', "", b""), end.to_vec()];
    let streams = [plain.concat(), pax.concat(), layer.concat()];
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for how in [0, 2, 6, 14] {
        seeds.extend(streams.iter().map(|stream| [&[how][..], &summed(stream)].concat()));
    }
    for (how, stream) in [Compression::Gzip, Compression::Xz, Compression::Zstd].into_iter().zip(&streams) {
        let mut out = Compressor::new(vec![1], Some(how)).expect("memory takes it");
        out.write_all(&summed(stream)).expect("memory takes it");
        seeds.push(out.finish().expect("memory takes it"));
    }
    // The same xz stream, which asks for ever more memory.
    let xz = seeds.iter().position(|seed| seed[1..].starts_with(b"\xfd7zXZ\0")).expect("there is one");
    for size in [28, 31, 32, 40] {
        let mut seed = seeds[xz].clone();
        seed[1 + XZ_BLOCK + 4] = size;
        seeds.push(seed);
    }
    seeds
}
