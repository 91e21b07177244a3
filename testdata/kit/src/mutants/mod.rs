//! Images that are spoiled on purpose, each the same whenever it is made: fields of headers and of metadata with other
//! values, with their checksums stale or made right again, files cut short, blocks that changed places, and flipped
//! bits. What is worth spoiling is found by a small second reading of each format, on sound images only.

mod ext;
mod fat;
mod field;
mod ptable;
mod qcow2;

pub use field::{Cover, Field};
pub use ptable::seal as seal_gpt;

use crate::ext_layout::Layout;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Blocks that change places, and places for damage anywhere, are this large and aligned so: the smallest block of the
/// formats.
const GRAIN: usize = 1024;
/// A file grows by at most so much where it gets a longer tail.
const MAX_TAIL: usize = 64 << 10;

/// A sound image and what can be spoiled in it.
#[derive(Debug)]
pub struct Victim {
    /// For people, and part of every mutant's seed.
    pub name: String,
    bytes: Vec<u8>,
    /// Grouped by structure, so that a structure of many fields is not hit more often than one of few.
    fields: Vec<Vec<Field>>,
    filesystems: Vec<(usize, Layout)>,
    /// Pieces of [`GRAIN`] bytes that hold something.
    used: Vec<usize>,
}

/// A spoiled image.
#[derive(Debug)]
pub struct Mutant {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What was done to it.
    pub what: String,
}

impl Victim {
    /// An image of which only damage anywhere is known so far.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        let piece = |at: &usize| bytes[at * GRAIN..].iter().take(GRAIN).any(|byte| *byte != 0);
        let used = (0..bytes.len().div_ceil(GRAIN)).filter(piece).collect();
        Self { name: name.into(), bytes, fields: Vec::new(), filesystems: Vec::new(), used }
    }

    /// The sound image.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds the structures of the ext filesystem that begins at byte `start`.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn with_ext(mut self, start: usize) -> Self {
        let layout = Layout::of(&self.bytes[start..]).expect("a sound filesystem begins here");
        self.fields.extend(ext::fields(&self.bytes[start..], start, self.filesystems.len(), &layout));
        self.filesystems.push((start, layout));
        self
    }

    /// Adds the structures of the FAT filesystem that begins at byte `start`.
    #[must_use]
    pub fn with_fat(mut self, start: usize) -> Self {
        self.fields.extend(fat::fields(&self.bytes[start..], start));
        self
    }

    /// Adds both copies of the GPT.
    #[must_use]
    pub fn with_gpt(mut self) -> Self {
        self.fields.extend(ptable::gpt(self.bytes.len()));
        self.fields.extend(ptable::mbr(&self.bytes));
        self
    }

    /// Adds the MBR and the chain of its logical partitions.
    #[must_use]
    pub fn with_mbr(mut self) -> Self {
        self.fields.extend(ptable::mbr(&self.bytes));
        self
    }

    /// Adds the header and the tables of a qcow2 image.
    #[must_use]
    pub fn with_qcow2(mut self) -> Self {
        self.fields.extend(qcow2::fields(&self.bytes));
        self
    }

    /// The mutant of that number. Even ones have right checksums where fields were changed, odd ones stale ones.
    ///
    /// # Panics
    ///
    /// When no structure was added.
    pub fn mutant(&self, number: u64) -> Mutant {
        let name = self.name.bytes().fold(0u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let mut rng = StdRng::seed_from_u64(name ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut mutant = Mutant { bytes: self.bytes.clone(), what: format!("{} #{number}:", self.name) };
        match rng.random_range(0..20) {
            0 => self.cut(&mut mutant, &mut rng),
            1 => self.swap(&mut mutant, &mut rng),
            2 => self.flip(&mut mutant, &mut rng),
            3 => self.overwrite(&mut mutant, &mut rng),
            _ => {
                for _ in 0..[1, 1, 1, 2, 3][rng.random_range(0..5)] {
                    self.spoil(&mut mutant, number.is_multiple_of(2), &mut rng);
                }
            }
        }
        mutant
    }

    /// Gives a field another value.
    fn spoil(&self, mutant: &mut Mutant, seal: bool, rng: &mut StdRng) {
        let structure = &self.fields[rng.random_range(0..self.fields.len())];
        let field = &structure[rng.random_range(0..structure.len())];
        let value = field.value(&mutant.bytes, rng);
        field.set(&mut mutant.bytes, value);
        if seal {
            field.seal(&mut mutant.bytes, &self.filesystems);
        }
        let sum = if seal { "" } else { ", checksum stale" };
        mutant.what += &format!(" {} bytes at {:#x} become {value:#x}{sum};", field.len, field.at);
    }

    /// Shortens the file, or adds to it.
    fn cut(&self, mutant: &mut Mutant, rng: &mut StdRng) {
        let len = mutant.bytes.len();
        let len = match rng.random_range(0..4) {
            0 => len + rng.random_range(1..MAX_TAIL),
            1 => rng.random_range(0..len.min(MAX_TAIL)),
            _ => rng.random_range(0..len),
        };
        // Half of the lengths are what a copy that stopped would leave.
        let len = if rng.random_range(0..2) == 0 { len / GRAIN * GRAIN } else { len };
        mutant.bytes.resize(len, 0);
        mutant.what += &format!(" {len} bytes long");
    }

    /// Lets two pieces that hold something change places.
    fn swap(&self, mutant: &mut Mutant, rng: &mut StdRng) {
        for _ in 0..rng.random_range(1..4) {
            let [a, b] = [0, 1].map(|_| self.used[rng.random_range(0..self.used.len())] * GRAIN);
            if a.max(b) + GRAIN > mutant.bytes.len() {
                continue;
            }
            for at in 0..GRAIN {
                mutant.bytes.swap(a + at, b + at);
            }
            mutant.what += &format!(" {GRAIN} bytes at {a:#x} and {b:#x} change places;");
        }
    }

    /// Flips bits of what holds something.
    fn flip(&self, mutant: &mut Mutant, rng: &mut StdRng) {
        for _ in 0..rng.random_range(1..33) {
            let at = self.somewhere(rng);
            let bit = rng.random_range(0..8);
            mutant.bytes[at] ^= 1 << bit;
            mutant.what += &format!(" bit {bit} of {at:#x} flips;");
        }
    }

    /// Fills a stretch with one byte or with anything.
    fn overwrite(&self, mutant: &mut Mutant, rng: &mut StdRng) {
        let at = self.somewhere(rng);
        let end = mutant.bytes.len().min(at + rng.random_range(1..4096));
        let fill = [Some(0), Some(0xFF), None][rng.random_range(0..3)];
        mutant.bytes[at..end].fill_with(|| fill.unwrap_or_else(|| rng.random()));
        mutant.what += &format!(" {at:#x} to {end:#x} overwritten, with {fill:?}");
    }

    fn somewhere(&self, rng: &mut StdRng) -> usize {
        let at = self.used[rng.random_range(0..self.used.len())] * GRAIN;
        at + rng.random_range(0..GRAIN.min(self.bytes.len() - at))
    }
}
