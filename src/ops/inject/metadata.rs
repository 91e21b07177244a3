//! The item `metadata`: /meta.js (D1).

use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::GuestPath;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};
use std::io::{self, Write};

/// Writes `pairs` there as a JSON object.
pub(super) fn inject(editor: &mut Editor<'_>, pairs: &[(String, String)]) -> Result<()> {
    let json = json(pairs)
        .map_err(|error| Error::new(ErrorKind::Invalid, "the metadata cannot be written as JSON").caused_by(error))?;
    editor.replace(&GuestPath::parse("/meta.js")?, &json, Wanted::default())?;
    Ok(())
}

/// As `json.dumps` of Python writes a dict. A name given again keeps its first place and takes the last value.
fn json(pairs: &[(String, String)]) -> serde_json::Result<Vec<u8>> {
    let object: Map<String, Value> =
        pairs.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
    let mut out = Vec::new();
    object.serialize(&mut Serializer::with_formatter(&mut out, AsPython))?;
    Ok(out)
}

/// A blank after every separator, and all but printable ASCII as escapes of its UTF-16 units.
struct AsPython;

impl Formatter for AsPython {
    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for char in fragment.chars() {
            if (' '..='~').contains(&char) {
                write!(writer, "{char}")?;
                continue;
            }
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn json(pairs: &[(String, String)]) -> String {
        String::from_utf8(super::json(pairs).unwrap()).unwrap()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    // Expected texts from `json.dumps` of Python 3.
    #[test]
    fn d1_the_bytes_of_json_dumps() {
        assert_eq!(json(&pairs(&[("eek", "wizz"), ("foo", "bar")])), r#"{"eek": "wizz", "foo": "bar"}"#);
        assert_eq!(json(&[]), "{}");
        let odd = json(&pairs(&[("z\u{e9}", "\u{1f600}\"\\/\n\r\t\u{8}\u{c}\u{1}\u{7f}\u{2028}"), ("a", "")]));
        assert_eq!(odd, "{\"z\\u00e9\": \"\\ud83d\\ude00\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\\u007f\\u2028\", \"a\": \"\"}");
        assert_eq!(json(&pairs(&[("a", "1"), ("b", "2"), ("a", "3")])), r#"{"a": "3", "b": "2"}"#);
    }

    proptest! {
        #[test]
        fn d1_any_text_comes_back(key: String, value: String) {
            let text = json(&[(key.clone(), value.clone())]);
            prop_assert!(text.is_ascii());
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read, serde_json::json!({ key: value }));
        }
    }
}
