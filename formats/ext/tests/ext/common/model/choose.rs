//! What an operation is once it is known which inodes, names and bytes it means.

use super::acl::Acl;
use super::calls::{Bytes, Call, What, acl_name};
use super::contents::data;
use super::ops::Op;
use super::tree::{APPEND, DIRSYNC, IMMUTABLE, Ino, NOATIME, NODUMP, Node, PROJINHERIT, SYNC, TOPDIR, Tree};
use nomount_ext::{Attrs, MAX_NAME, ROOT_INO, Time};
use nomount_kit::digest::Kind;

/// Lengths of targets of symbolic links: what fits the inode, what fits a block, and what is none.
const TARGETS: &[usize] = &[1, 30, 59, 60, 61, 200, 300, 1000, 1023, 0, 1024, 5000];
const LENGTHS: &[usize] = &[
    0, 1, 7, 59, 60, 61, 100, 140, 155, 156, 160, 161, 500, 1000, 1023, 1024, 1025, 2048, 3000, 4095, 4096, 4097, 5000,
    8192, 12_288, 12_289, 20_000, 33_000, 65_536, 70_000, 150_000,
];
/// Where writing, cutting and punching begins: ends of blocks, of the direct blocks, of single and double indirection;
/// the last two only where a map reaches that far.
const PLACES: &[u64] = &[
    0,
    1,
    60,
    150,
    512,
    1000,
    1023,
    1024,
    1025,
    4096,
    4097,
    5000,
    8192,
    10_000,
    12_288,
    12_289,
    16_384,
    20_000,
    49_152,
    65_536,
    70_000,
    274_432,
    280_000,
    1 << 20,
    4_243_456,
    67_383_296,
    (1 << 31) - 10,
    1 << 31,
    (1 << 32) + 5,
    12 << 30,
    1 << 50,
    u64::MAX,
];
/// Seconds: ends of what fields express, and the past.
const SECONDS: &[i64] = &[
    0,
    1,
    -1,
    1_000_000_000,
    -1_000_000_000,
    i32::MIN as i64,
    i32::MAX as i64,
    i32::MAX as i64 + 1,
    u32::MAX as i64,
    u32::MAX as i64 + 1,
    10_000_000_000,
    1 << 40,
    -(1 << 40),
];
const XATTRS: &[&str] = &[
    "user.a",
    "user.bb",
    "user.a-much-longer-name-of-an-attribute",
    "trusted.t",
    "security.selinux",
    "security.capability",
    "user.c",
    "user.d",
    "nonsense",
    "user.",
];
const VALUES: &[usize] = &[0, 1, 3, 4, 20, 33, 60, 100, 150, 300, 500, 900, 960, 1500, 3000, 4000, 9000, 70_000];

const PROJECTS: &[u32] = &[0, 7, 70_000];
/// Those that stand against further changes are rare.
const GIVEN_FLAGS: &[u32] = &[
    0,
    NODUMP,
    0,
    NOATIME | SYNC,
    0,
    PROJINHERIT,
    NODUMP | NOATIME,
    DIRSYNC,
    0,
    TOPDIR,
    PROJINHERIT | NODUMP,
    SYNC,
    0,
    IMMUTABLE,
    0,
    APPEND | NODUMP,
    0,
];

/// One of a list, the first ones more often: they are small.
fn of<T: Copy>(list: &[T], number: u8) -> T {
    let part = usize::from(number) * usize::from(number) * list.len() / 65_026;
    list[part.min(list.len() - 1)]
}

/// A name by a number, of any length, and sometimes none that is possible.
fn name(number: u16) -> Bytes {
    const BAD: &[&[u8]] = &[b"", b".", b"..", b"a/b", b"nul\0", &[b'n'; MAX_NAME + 1]];
    if number.is_multiple_of(101) {
        return Bytes(BAD[usize::from(number / 101) % BAD.len()].to_vec());
    }
    let len = [1, 2, 5, 8, 12, 13, 40, 120, 254, 255][usize::from(number % 10)];
    let mut name = format!("{:x}", number % 400).into_bytes();
    // Bytes that are no UTF-8, and such as hashes treat by their sign.
    let filler = if number.is_multiple_of(3) { 0xE4 } else { b'x' };
    name.resize(len.max(name.len()), filler);
    Bytes(name)
}

fn time(number: u16) -> Time {
    // Not too often: ext4-view stops at those that are out of the ordinary.
    let odd = SECONDS[usize::from(number / 8) % SECONDS.len()];
    let sec = if number.is_multiple_of(8) { odd } else { 1_500_000_000 + i64::from(number) * 1000 };
    Time { sec, nsec: u32::from(number) * 15_258 }
}

/// Attributes by a number: which are given, and their values.
fn attrs(number: u16) -> Attrs {
    let given = |bit: u16| number >> bit & 1 == 1;
    let value = number.wrapping_mul(40_503);
    Attrs {
        mode: given(0).then_some(value & 0o7777),
        uid: given(1).then_some(u32::from(value) * 30_000),
        gid: given(2).then_some(u32::from(value) * 3),
        atime: given(3).then(|| time(value)),
        mtime: given(4).then(|| time(value.rotate_left(5))),
        project: (number >> 5 & 7 == 7).then(|| PROJECTS[usize::from(value) % PROJECTS.len()]),
        flags: (number >> 8 & 7 == 7).then(|| GIVEN_FLAGS[usize::from(value) % GIVEN_FLAGS.len()]),
    }
}

fn what(number: u8, attrs: u16) -> What {
    let device = (u32::from(attrs) % 4096, u32::from(attrs) * 16 % (1 << 20));
    match number % 16 {
        0..6 => What::File,
        6..11 => What::Dir,
        11 | 12 => What::Symlink(target(attrs)),
        13 => What::Fifo,
        14 if number >= 128 => What::Socket,
        14 => What::Block(device.0, device.1),
        _ => What::Char(device.0, device.1),
    }
}

fn target(number: u16) -> Bytes {
    Bytes(b"xy/".iter().copied().cycle().take(TARGETS[usize::from(number) % TARGETS.len()]).collect())
}

fn is_dir(node: &Node) -> bool {
    node.kind == Kind::Dir
}

fn is_file(node: &Node) -> bool {
    node.kind == Kind::File
}

impl Tree {
    /// A directory; now and then something else.
    fn dir(&self, number: u16) -> Ino {
        let odd = number.is_multiple_of(61);
        self.pick(number, |node| odd || is_dir(node)).unwrap_or(ROOT_INO)
    }

    /// A file; now and then something else.
    fn file(&self, number: u16) -> Option<Ino> {
        let odd = number.is_multiple_of(61);
        self.pick(number, |node| odd || is_file(node))
    }

    /// A name that is there; now and then one that is not.
    fn present(&self, number: u16) -> Option<(Ino, Bytes)> {
        if number.is_multiple_of(31) { Some((self.dir(number / 31), name(number))) } else { self.taken(number) }
    }

    fn taken(&self, number: u16) -> Option<(Ino, Bytes)> {
        self.pick_name(number).map(|(dir, name)| (dir, Bytes(name)))
    }

    /// Where a name goes: mostly one that is free, else one that is taken.
    fn goal(&self, dir: u16, number: u16) -> (Ino, Bytes) {
        let taken = if number.is_multiple_of(4) { self.taken(dir ^ number) } else { None };
        taken.unwrap_or_else(|| (self.dir(dir), name(number)))
    }

    /// A place to begin, in files that the model can hold.
    fn place(&self, ino: Ino, number: u8) -> u64 {
        let at = of(PLACES, number);
        // Block maps of small blocks end at 16 GiB.
        if at < 1 << 40 || self.node(ino).extents { at } else { 1 << 50 }
    }

    /// The calls that an operation is. None where there is nothing that it could be done to.
    pub fn calls(&self, op: &Op) -> Vec<Call> {
        match *op {
            Op::Sweep { ino, count, attrs } => self.sweep(ino, usize::from(count) * 4, attrs),
            Op::Fill { dir, name, count, linked } => self.fill(dir, name, count.into(), linked),
            Op::Comb { file, at, count } => self.comb(file, at, count.into()),
            _ => self.call(op).into_iter().collect(),
        }
    }

    fn sweep(&self, ino: u16, count: usize, given: u16) -> Vec<Call> {
        let Some(first) = self.pick(ino, |_| true) else { return Vec::new() };
        let all = self.nodes.range(first..).filter(|(_, node)| !node.kept).take(count);
        all.map(|(ino, _)| Call::SetAttrs { ino: *ino, attrs: attrs(given) }).collect()
    }

    fn fill(&self, dir: u16, number: u16, count: u16, linked: bool) -> Vec<Call> {
        // Few directories, so that some of them get large.
        let dir = self.dir(dir % 8 * 1000 + 1);
        let one = self.pick(number, |node| !is_dir(node)).filter(|_| linked);
        let call = |at: u16| {
            let start = format!("{:x}-", number.wrapping_add(at)).into_bytes();
            let name = Bytes([start, vec![b'f'; usize::from(number % 90)]].concat());
            match one {
                Some(ino) => Call::Link { ino, dir, name },
                None => Call::Create { dir, name, what: What::Fifo, attrs: Attrs::default() },
            }
        };
        (0..count).map(call).collect()
    }

    fn comb(&self, file: u16, at: u8, count: u64) -> Vec<Call> {
        let Some(ino) = self.pick(file, is_file) else { return Vec::new() };
        let tooth = |number: u64| {
            let at = u64::from(at % 4) * 1_000_000 + number * 2 * self.traits.block_size;
            Call::WriteAt { ino, at, data: Bytes(vec![b'c']) }
        };
        (0..count).map(tooth).collect()
    }

    fn call(&self, op: &Op) -> Option<Call> {
        Some(match *op {
            Op::Create { dir, name: number, what: kind, attrs: given } => {
                let (what, attrs) = (what(kind, given), attrs(given));
                Call::Create { dir: self.dir(dir), name: name(number), what, attrs }
            }
            Op::Link { ino, dir, name } => {
                let (dir, name) = self.goal(dir, name);
                let odd = ino.is_multiple_of(31);
                Call::Link { ino: self.pick(ino, |node| odd || !is_dir(node))?, dir, name }
            }
            Op::Unlink { name } => {
                let (dir, name) = self.present(name)?;
                Call::Unlink { dir, name }
            }
            Op::Rmdir { name: number } => {
                let empty = |node: &Node| is_dir(node) && node.names.is_empty() && !node.at.is_empty();
                let found = if number.is_multiple_of(4) { None } else { self.pick(number, empty) };
                let (dir, name) = match found {
                    Some(ino) => self.node(ino).at.first().map(|(dir, name)| (*dir, Bytes(name.clone())))?,
                    None => self.present(number)?,
                };
                Call::Rmdir { dir, name }
            }
            Op::RemoveTree { name } => {
                let (dir, name) = self.present(name)?;
                Call::RemoveTree { dir, name }
            }
            Op::Rename { from, dir, name } => {
                let (to, new_name) = self.goal(dir, name);
                let (dir, name) = self.present(from)?;
                Call::Rename { dir, name, to, new_name }
            }
            Op::WriteContents { file, len, seed } => {
                Call::WriteContents { ino: self.file(file)?, data: Bytes(data(of(LENGTHS, len), seed)) }
            }
            Op::Append { file, len, seed } => {
                Call::Append { ino: self.file(file)?, data: Bytes(data(of(LENGTHS, len), seed)) }
            }
            Op::WriteAt { file, at, len, seed } => {
                let ino = self.file(file)?;
                Call::WriteAt { ino, at: self.place(ino, at), data: Bytes(data(of(LENGTHS, len), seed)) }
            }
            Op::Truncate { file, size } => {
                let ino = self.file(file)?;
                Call::Truncate { ino, size: self.place(ino, size) }
            }
            Op::Punch { file, at, len } => {
                let ino = self.file(file)?;
                Call::Punch { ino, at: self.place(ino, at), len: of(PLACES, len) }
            }
            Op::Allocate { file, at, len } => {
                let ino = self.file(file)?;
                // More than there is room for is asked for by many writes.
                Call::Allocate { ino, at: self.place(ino, at), len: of(LENGTHS, len) as u64 }
            }
            Op::SetAttrs { ino, attrs: given } => {
                Call::SetAttrs { ino: self.pick(ino, |_| true)?, attrs: attrs(given) }
            }
            Op::SetXattr { ino, name, len, seed } => {
                let value = Some(Bytes(data(of(VALUES, len), seed)));
                let name = Bytes(XATTRS[usize::from(name) % XATTRS.len()].as_bytes().to_vec());
                Call::SetXattr { ino: self.pick(ino, |_| true)?, name, value }
            }
            Op::RemoveXattr { ino, name: number } => {
                let name = Bytes(XATTRS[usize::from(number) % XATTRS.len()].as_bytes().to_vec());
                let has = |node: &Node| node.xattrs.contains_key(&name[..]);
                let ino = self.pick(ino, has).or_else(|| self.pick(ino, |_| true))?;
                Call::SetXattr { ino, name, value: None }
            }
            Op::SetAcl { ino, default, list } => {
                // A list of directories on a directory, but for a few.
                let ino = self.pick(ino, |node| !default || ino.is_multiple_of(16) || is_dir(node))?;
                Call::SetAcl { ino, default, list: (list > 20).then(|| Acl::by(list)) }
            }
            Op::RemoveAcl { ino, default } => {
                let has = |node: &Node| node.xattrs.contains_key(acl_name(default));
                Call::RemoveAcl { ino: self.pick(ino, has).or_else(|| self.pick(ino, |_| true))?, default }
            }
            _ => return None,
        })
    }
}
