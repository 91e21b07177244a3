//! Refcounts of every width, packed as the specification says.

use byteorder::{BigEndian, ByteOrder};

/// The refcount with number `index` of a block, of `1 << order` bits. Widths below a byte fill each byte from its
/// least significant bit.
pub(crate) fn get(block: &[u8], index: usize, order: u32) -> u64 {
    match order {
        0..=2 => {
            let bits = 1 << order;
            let per_byte = 8 / bits;
            u64::from(block[index / per_byte] >> (index % per_byte * bits)) & ((1 << bits) - 1)
        }
        3 => u64::from(block[index]),
        4 => u64::from(BigEndian::read_u16(&block[index * 2..])),
        5 => u64::from(BigEndian::read_u32(&block[index * 4..])),
        _ => BigEndian::read_u64(&block[index * 8..]),
    }
}

/// Sets the refcount with number `index`. Only values that fit are passed: 1, or a value read here less one.
pub(crate) fn set(block: &mut [u8], index: usize, order: u32, value: u64) {
    debug_assert!(order == 6 || value >> (1 << order) == 0);
    match order {
        0..=2 => {
            let bits = 1 << order;
            let per_byte = 8 / bits;
            let shift = index % per_byte * bits;
            let mask = ((1u16 << bits) - 1) as u8;
            let byte = &mut block[index / per_byte];
            *byte = *byte & !(mask << shift) | (value as u8) << shift;
        }
        3 => block[index] = value as u8,
        4 => BigEndian::write_u16(&mut block[index * 2..], value as u16),
        5 => BigEndian::write_u32(&mut block[index * 4..], value as u32),
        _ => BigEndian::write_u64(&mut block[index * 8..], value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_keeps_its_neighbours() {
        for order in 0..=6 {
            let mut block = [0u8; 64];
            let count = (block.len() * 8) >> order;
            let max = if order == 6 { u64::MAX } else { (1 << (1 << order)) - 1 };
            for index in (0..count).step_by(3) {
                set(&mut block, index, order, max);
            }
            for index in 0..count {
                assert_eq!(get(&block, index, order), if index % 3 == 0 { max } else { 0 }, "order {order}");
            }
        }
    }

    #[test]
    fn small_widths_start_at_the_low_bit() {
        let mut block = [0u8; 2];
        set(&mut block, 1, 1, 3);
        assert_eq!(block, [0b1100, 0]);
        let mut block = [0u8; 2];
        set(&mut block, 9, 0, 1);
        assert_eq!(block, [0, 0b10]);
    }
}
