//! An input taken as decisions: what libFuzzer changes is what happens next, not bytes that nothing looks at.

/// The bytes of an input, used up from the front. Past the end every decision is 0, so that each input is one.
#[derive(Debug, Clone)]
pub struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    pub fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    /// Whether nothing is left: no further operations.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number below `end`, which is not 0 and small against 2^16, or its steps are coarse.
    pub fn below(&mut self, end: u64) -> u64 {
        match end {
            0..=256 => u64::from(self.byte()) % end,
            257..=65536 => u64::from(self.word()) % end,
            _ => (u64::from(self.word()) * (end / 65536) + u64::from(self.byte())) % end,
        }
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// At most `len` bytes.
    pub fn bytes(&mut self, len: usize) -> &'d [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// What is left.
    pub fn rest(&mut self) -> &'d [u8] {
        std::mem::take(&mut self.0)
    }

    /// A number that formats have trouble with: around powers of two, around `near`, or anything.
    pub fn odd_number(&mut self, near: u64) -> u64 {
        match self.byte() % 8 {
            0 => self.byte().into(),
            1 => 1 << (self.byte() % 64),
            2 => (1u64 << (self.byte() % 64)).wrapping_sub(1),
            3 => near.wrapping_add(self.byte().into()),
            4 => near.wrapping_sub(self.byte().into()),
            5 => u64::MAX - u64::from(self.byte()),
            6 => self.word().into(),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }
}

/// Texts parted by a byte that none of them has: the parts of one input.
pub fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = data.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| rest.next().unwrap_or_default())
}

/// The parts put together again.
pub fn joined(texts: &[&[u8]]) -> Vec<u8> {
    texts.join(&0)
}

/// The polynomial of the CRC that GPT and xz have.
pub const CRC32: u32 = 0xedb8_8320;
/// Castagnoli's, which the redo file has.
pub const CRC32C: u32 = 0x82f6_3b78;

/// A checksum, bit by bit: shares no code with the product, and inputs are short.
pub fn crc(bytes: &[u8], polynomial: u32) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (polynomial & 0_u32.wrapping_sub(crc & 1)))
    })
}

/// Bytes that look random and are the same every time, for seeds of targets whose inputs are decisions.
pub fn dice(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
