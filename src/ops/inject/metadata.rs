//! The item `metadata`: /meta.js (D1).

use crate::error::Result;
use crate::ops::editor::{Editor, Wanted};
use crate::tree::GuestPath;

/// Writes `pairs` there as a JSON object.
pub(super) fn inject(editor: &mut Editor<'_>, pairs: &[(String, String)]) -> Result<()> {
    editor.replace(&GuestPath::parse("/meta.js")?, json(pairs).as_bytes(), Wanted::default())?;
    Ok(())
}

/// As `json.dumps` of Python writes a dict: its separators, its escapes, everything beyond ASCII as UTF-16 escapes.
/// A key given again keeps its first place and takes the last value.
fn json(pairs: &[(String, String)]) -> String {
    let mut unique: Vec<(&str, &str)> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        match unique.iter_mut().find(|(seen, _)| seen == key) {
            Some((_, place)) => *place = value,
            None => unique.push((key, value)),
        }
    }
    let members: Vec<String> =
        unique.iter().map(|(key, value)| format!("{}: {}", string(key), string(value))).collect();
    format!("{{{}}}", members.join(", "))
}

fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='\u{7f}' => out.push(char),
            _ => out.extend(char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    // Expected texts from `json.dumps` of Python 3.
    #[test]
    fn d1_the_bytes_of_json_dumps() {
        assert_eq!(json(&pairs(&[("eek", "wizz"), ("foo", "bar")])), r#"{"eek": "wizz", "foo": "bar"}"#);
        assert_eq!(json(&[]), "{}");
        let odd = json(&pairs(&[("z\u{e9}", "\u{1f600}\"\\/\n\r\t\u{8}\u{c}\u{1}\u{7f}\u{2028}"), ("a", "")]));
        assert_eq!(odd, "{\"z\\u00e9\": \"\\ud83d\\ude00\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\u{7f}\\u2028\", \"a\": \"\"}");
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
