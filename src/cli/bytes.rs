//! Sizes: as options spell them and as people read them.

/// A number of bytes: with K, M, G or T (1024 each), with s for sectors of 512, or in units of `unit`.
pub fn parse(text: &str, unit: u64) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b's' | b'S') => (&text[..text.len() - 1], 512),
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        Some(b't' | b'T') => (&text[..text.len() - 1], 1 << 40),
        _ => (text, unit),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text:?}: a size such as 512M or 4G is needed"))?;
    number.checked_mul(unit).filter(|size| *size <= i64::MAX as u64).ok_or_else(|| format!("{text} is too large"))
}

/// `4.0 GiB`, as people read sizes.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (63 - bytes.leading_zeros()) / 10;
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power as usize - 1])
}

/// How sizes in few characters are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Up, as ls and du round.
    Up,
    /// To the nearest, as virt-df and virt-filesystems round.
    Nearest,
}

/// `4.0K`, as tools print sizes with -h: with a decimal below 10.
pub fn short(bytes: u64, rounding: Rounding) -> String {
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut unit = 1024;
    for letter in ["K", "M", "G", "T", "P", "E"] {
        let rounded = |parts: u128| match rounding {
            Rounding::Up => (u128::from(bytes) * parts).div_ceil(unit),
            Rounding::Nearest => (u128::from(bytes) * parts + unit / 2) / unit,
        };
        let (tenths, whole) = (rounded(10), rounded(1));
        if tenths < 100 {
            return format!("{}.{}{letter}", tenths / 10, tenths % 10);
        }
        if whole < 1024 {
            return format!("{whole}{letter}");
        }
        unit *= 1024;
    }
    unreachable!("64 bits are at most 16E")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_suffixes_of_1024_and_printed_with_one_decimal() {
        for (text, bytes) in [("5", 5), ("5K", 5 << 10), ("7s", 7 * 512), ("40G", 40 << 30), ("2t", 2 << 40)] {
            assert_eq!(parse(text, 1), Ok(bytes));
        }
        assert_eq!(parse("5", 4096), Ok(20_480));
        for bad in ["", "G", "-1", "1.5G", "99999999T", "5X"] {
            assert!(parse(bad, 1).is_err(), "{bad}");
        }
        for (bytes, text) in [(0, "0 B"), (1536, "1.5 KiB"), (40 << 30, "40.0 GiB"), (u64::MAX, "15.9 EiB")] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn short_sizes_as_other_tools_print_them() {
        for (bytes, up, nearest) in [
            (0, "0", "0"),
            (1023, "1023", "1023"),
            (1024, "1.0K", "1.0K"),
            (1025, "1.1K", "1.0K"),
            (1536, "1.5K", "1.5K"),
            (10_137, "9.9K", "9.9K"),
            (10_138, "10K", "9.9K"),
            (10_188, "10K", "9.9K"),
            (10_200, "10K", "10K"),
            (10_241, "11K", "10K"),
            (1023 << 10, "1023K", "1023K"),
            ((1023 << 10) + 1, "1.0M", "1023K"),
            (1_048_575, "1.0M", "1.0M"),
            (64 << 20, "64M", "64M"),
            (524_288_000, "500M", "500M"),
            (10_212_081_664, "9.6G", "9.5G"),
            (u64::MAX, "16E", "16E"),
        ] {
            assert_eq!((short(bytes, Rounding::Up).as_str(), short(bytes, Rounding::Nearest).as_str()), (up, nearest));
        }
    }
}
