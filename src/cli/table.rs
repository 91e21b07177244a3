//! Tables: aligned columns, comma-separated values.

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

/// A line of comma-separated values, RFC 4180, without its line break. Values with blanks are quoted as well, as virt-df
/// and virt-filesystems quote them.
pub fn csv<S: AsRef<[u8]>>(cells: impl IntoIterator<Item = S>) -> Vec<u8> {
    let mut line = Vec::new();
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        let cell = cell.as_ref();
        if cell.iter().any(|byte| b" \",\r\n".contains(byte)) {
            line.push(b'"');
            cell.iter().for_each(|byte| {
                line.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) })
            });
            line.push(b'"');
        } else {
            line.extend_from_slice(cell);
        }
    }
    line
}

/// The same of texts, as text.
pub fn csv_line<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) -> String {
    let cells = cells.into_iter().map(|cell| cell.as_ref().to_owned());
    String::from_utf8(csv(cells)).expect("quoted text is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_commas_would_divide_them() {
        let cells: [&[u8]; 6] = [b"a", b"", b"b,c", b"d\"e", b"f\ng", b"\xff"];
        assert_eq!(csv(cells), b"a,,\"b,c\",\"d\"\"e\",\"f\ng\",\xff");
        assert_eq!(csv_line(["a", "System Reserved", "", "x,\"y\""]), "a,\"System Reserved\",,\"x,\"\"y\"\"\"");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(columns(&rows, 2), ["a     b", "long  c"]);
    }
}
