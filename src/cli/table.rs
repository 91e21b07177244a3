//! Tables: aligned columns, comma-separated values, sizes in few characters.

/// Rows with their columns aligned and `gap` blanks between them.
pub fn columns(rows: &[Vec<String>], gap: usize) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join(&" ".repeat(gap)).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A line of comma-separated values, quoted where needed as virt-df and virt-filesystems quote (and RFC 4180 reads).
pub fn csv_line<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) -> String {
    let quoted = cells.into_iter().map(|cell| {
        let cell = cell.as_ref();
        if cell.contains([' ', '"', '\n', '\r', ',']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.to_owned()
        }
    });
    quoted.collect::<Vec<_>>().join(",")
}

/// `484M`, `7.4G`: rounded to nearest, with a decimal where there is one digit, as virt-df -h prints.
pub fn short_size(bytes: u64) -> String {
    const UNITS: &[u8] = b"KMGTPE";
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut power = (63 - bytes.leading_zeros()) / 10;
    // Tenths, and then whole units, of 1024^power; rounding up may make it the next unit's.
    loop {
        let unit = 1u128 << (10 * power);
        let rounded = |parts: u128| (u128::from(bytes) * parts + unit / 2) / unit;
        let letter = char::from(UNITS[power as usize - 1]);
        match (rounded(10), rounded(1)) {
            (tenths, _) if tenths < 100 => return format!("{}.{}{letter}", tenths / 10, tenths % 10),
            (_, whole) if whole < 1024 => return format!("{whole}{letter}"),
            _ => power += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_few_characters() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1536, "1.5K"),
            (10_188, "9.9K"),
            (10_200, "10K"),
            (524_288_000, "500M"),
            (1_048_575, "1.0M"),
            (10_212_081_664, "9.5G"),
            (64 << 20, "64M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(short_size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn values_are_quoted_where_commas_would_divide_them() {
        assert_eq!(csv_line(["a", "System Reserved", "", "x,\"y\""]), "a,\"System Reserved\",,\"x,\"\"y\"\"\"");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(columns(&rows, 2), ["a     b", "long  c"]);
    }
}
