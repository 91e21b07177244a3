//! The hashes of indexed directories (ext4.rst, "Hash Tree Directories").

/// `hash_version` as stored in an index; the unsigned variants are told by `s_flags`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Legacy,
    HalfMd4,
    Tea,
}

impl Algorithm {
    /// From `hash_version`: 3 to 5 name the unsigned variants outright. Returns whether characters are signed, where
    /// the number says so.
    pub fn from_version(version: u8) -> Option<(Self, Option<bool>)> {
        Some(match version {
            0 => (Self::Legacy, None),
            1 => (Self::HalfMd4, None),
            2 => (Self::Tea, None),
            3 => (Self::Legacy, Some(false)),
            4 => (Self::HalfMd4, Some(false)),
            5 => (Self::Tea, Some(false)),
            _ => return None,
        })
    }
}

/// How the names of one directory are hashed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hasher {
    pub algorithm: Algorithm,
    pub signed: bool,
    pub seed: [u32; 4],
}

const MD4_START: [u32; 4] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];
const TEA_DELTA: u32 = 0x9E37_79B9;
/// The largest value is the mark of the end; names that hash to it move one step down.
const END: u32 = 0xFFFF_FFFE;

impl Hasher {
    /// The hash of a name, with the lowest bit clear: an index uses it to tell that a hash goes on in the next leaf.
    pub fn hash(&self, name: &[u8]) -> u32 {
        let hash = match self.algorithm {
            Algorithm::Legacy => self.legacy(name),
            Algorithm::HalfMd4 => self.chunked(name, 8, half_md4)[1],
            Algorithm::Tea => self.chunked(name, 4, tea)[0],
        } & !1;
        if hash == END { END - 2 } else { hash }
    }

    fn character(&self, byte: u8) -> u32 {
        if self.signed { byte as i8 as u32 } else { u32::from(byte) }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut hash, mut before) = (0x12A3_FE2Du32, 0x37AB_E8F9u32);
        for &byte in name {
            let mut next = before.wrapping_add(hash ^ self.character(byte).wrapping_mul(7_152_373));
            if next & 0x8000_0000 != 0 {
                next = next.wrapping_sub(0x7FFF_FFFF);
            }
            (before, hash) = (hash, next);
        }
        hash << 1
    }

    /// Feeds the name, in chunks of `words` words, to a mixing function.
    fn chunked(&self, name: &[u8], words: usize, mix: fn(&mut [u32; 4], &[u32])) -> [u32; 4] {
        let mut state = if self.seed == [0; 4] { MD4_START } else { self.seed };
        let mut rest = name;
        while !rest.is_empty() {
            let chunk = self.words(rest, words);
            mix(&mut state, &chunk[..words]);
            rest = &rest[rest.len().min(words * 4)..];
        }
        state
    }

    /// The next chunk as words, filled up with the length of what is left.
    fn words(&self, rest: &[u8], words: usize) -> [u32; 8] {
        let len = rest.len() as u32;
        let pad = len | len << 8;
        let pad = pad | pad << 16;
        let mut out = [pad; 8];
        for (word, bytes) in out[..words].iter_mut().zip(rest.chunks(4)) {
            *word = bytes.iter().fold(pad, |word, byte| self.character(*byte).wrapping_add(word << 8));
        }
        out
    }
}

fn half_md4(state: &mut [u32; 4], x: &[u32]) {
    const K2: u32 = 0x5A82_7999;
    const K3: u32 = 0x6ED9_EBA1;
    let choose = |x: u32, y: u32, z: u32| z ^ (x & (y ^ z));
    let majority = |x: u32, y: u32, z: u32| (x & y).wrapping_add((x ^ y) & z);
    let parity = |x: u32, y: u32, z: u32| x ^ y ^ z;
    let [mut a, mut b, mut c, mut d] = *state;
    let mut round = |f: &dyn Fn(u32, u32, u32) -> u32, word: u32, shift: u32| {
        let next = a.wrapping_add(f(b, c, d)).wrapping_add(word).rotate_left(shift);
        // The four registers take turns; turning them instead keeps one formula.
        (a, b, c, d) = (d, next, b, c);
    };
    for (at, shift) in [3, 7, 11, 19, 3, 7, 11, 19].into_iter().enumerate() {
        round(&choose, x[at], shift);
    }
    for (at, shift) in [1, 3, 5, 7, 0, 2, 4, 6].into_iter().zip([3, 5, 9, 13, 3, 5, 9, 13]) {
        round(&majority, x[at].wrapping_add(K2), shift);
    }
    for (at, shift) in [3, 7, 2, 6, 1, 5, 0, 4].into_iter().zip([3, 9, 11, 15, 3, 9, 11, 15]) {
        round(&parity, x[at].wrapping_add(K3), shift);
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

fn tea(state: &mut [u32; 4], key: &[u32]) {
    let (mut b0, mut b1) = (state[0], state[1]);
    let mut sum = 0u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(TEA_DELTA);
        let mix =
            |b: u32, k0: u32, k1: u32| (b << 4).wrapping_add(k0) ^ b.wrapping_add(sum) ^ (b >> 5).wrapping_add(k1);
        b0 = b0.wrapping_add(mix(b1, key[0], key[1]));
        b1 = b1.wrapping_add(mix(b0, key[2], key[3]));
    }
    state[0] = state[0].wrapping_add(b0);
    state[1] = state[1].wrapping_add(b1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomount_kit::{require, scratch, tool};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::fmt::Write as _;
    use std::io::Write as _;

    /// Numbers of the variants as debugfs takes them: from 3 on they are unsigned.
    const VARIANTS: [(u8, Algorithm, bool); 6] = [
        (0, Algorithm::Legacy, true),
        (1, Algorithm::HalfMd4, true),
        (2, Algorithm::Tea, true),
        (3, Algorithm::Legacy, false),
        (4, Algorithm::HalfMd4, false),
        (5, Algorithm::Tea, false),
    ];

    /// Any byte that debugfs does not take for something else, in every length.
    fn names(rng: &mut StdRng) -> Vec<Vec<u8>> {
        let byte = |rng: &mut StdRng| loop {
            let byte: u8 = rng.random();
            if byte > b' ' && !b"\"/-#".contains(&byte) && byte != 0x7F {
                return byte;
            }
        };
        (1..=255).map(|len| (0..len).map(|_| byte(rng)).collect()).collect()
    }

    fn uuid(bytes: &[u8]) -> String {
        bytes.iter().enumerate().fold(String::new(), |mut text, (at, byte)| {
            let dash = if [4, 6, 8, 10].contains(&at) { "-" } else { "" };
            write!(text, "{dash}{byte:02x}").expect("a string takes everything");
            text
        })
    }

    #[test]
    fn debugfs_hashes_alike() {
        if !require(&["debugfs"]) {
            return;
        }
        let number: u64 =
            std::env::var("NOMOUNT_HASH_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
        eprintln!("NOMOUNT_HASH_SEED={number}");
        let rng = &mut StdRng::seed_from_u64(number);
        let (mut wanted, mut script) = (Vec::new(), Vec::new());
        for round in 0..3 {
            let seed: [u8; 16] = if round == 0 { [0; 16] } else { rng.random() };
            let words = std::array::from_fn(|at| u32::from_le_bytes(seed[at * 4..at * 4 + 4].try_into().unwrap()));
            for (version, algorithm, signed) in VARIANTS {
                let hasher = Hasher { algorithm, signed, seed: words };
                for name in names(rng) {
                    wanted.push(hasher.hash(&name));
                    write!(script, "dx_hash -h {version} -s {} ", uuid(&seed)).unwrap();
                    script.extend([&name[..], b"\n"].concat());
                }
            }
        }
        let file = scratch::file();
        file.as_file().write_all(&script).unwrap();
        let done = tool::output(tool::command("debugfs").arg("-f").arg(file.path()));
        // "Hash of NAME is 0x... (minor 0x...)", with any bytes in the name.
        let mark = b" is 0x";
        let lines = done.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"Hash of "));
        let found: Vec<u32> = lines
            .map(|line| {
                let at = line.windows(mark.len()).rposition(|part| part == mark).unwrap() + mark.len();
                let digits = line[at..].split(|byte| *byte == b' ').next().unwrap();
                u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            })
            .collect();
        assert_eq!(found.len(), 3 * 6 * 255, "{}", tool::text(&done));
        assert_eq!(found, wanted);
    }
}
