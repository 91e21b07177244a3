//! CRC-32C as ext4 and jbd2 use it: reflected, chained through seeds, without the final inversion.

/// Continues a checksum over `bytes`.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    // The crate inverts at both ends, the format at neither.
    !crc32c::crc32c_append(!seed, bytes)
}

/// The checksum that starts from nothing.
pub(crate) const SEED: u32 = !0;

/// CRC-16 (polynomial 0x8005, reflected) of group descriptors without metadata_csum.
pub(crate) fn crc16(mut crc: u16, bytes: &[u8]) -> u16 {
    for &byte in bytes {
        crc ^= u16::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 != 0 { (crc >> 1) ^ 0xA001 } else { crc >> 1 };
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_both_polynomials() {
        assert_eq!(!crc32c(SEED, b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(crc32c(SEED, b"1234"), b"56789"), crc32c(SEED, b"123456789"));
        // CRC-16/MODBUS starts from all ones, as the descriptors do.
        assert_eq!(crc16(!0, b"123456789"), 0x4B37);
    }
}
