//! os-release(5): the name and version of a distribution.

use super::text;
use crate::tree::FileTree;
use serde::Serialize;
use std::collections::BTreeMap;

/// What /etc/os-release, or else /usr/lib/os-release, says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OsRelease {
    /// `ID`, such as `debian`; "linux" by os-release(5) when the file does not say.
    pub id: String,
    /// `ID_LIKE`: distributions it descends from, nearest first.
    pub id_like: Vec<String>,
    /// `VERSION_ID`, such as `12`; absent from rolling releases.
    pub version_id: Option<String>,
    /// `PRETTY_NAME`, for people.
    pub pretty_name: Option<String>,
}

impl OsRelease {
    /// Reads it from a guest; none when there is no such file.
    pub fn of(tree: &dyn FileTree) -> Option<Self> {
        let text = text(tree, "/etc/os-release").or_else(|| text(tree, "/usr/lib/os-release"))?;
        Some(Self::parse(&text))
    }

    /// Reads the text; lines that are no assignments are passed over.
    pub fn parse(text: &str) -> Self {
        let assignments = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let values: BTreeMap<&str, String> =
            assignments.filter_map(|line| line.split_once('=')).map(|(key, value)| (key, unquote(value))).collect();
        let value = |key: &str| values.get(key).filter(|value| !value.is_empty()).cloned();
        Self {
            id: value("ID").unwrap_or_else(|| "linux".to_owned()),
            id_like: value("ID_LIKE").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            version_id: value("VERSION_ID"),
            pretty_name: value("PRETTY_NAME"),
        }
    }

    /// The number before the first dot of the version.
    pub fn major(&self) -> Option<u32> {
        self.version_id.as_ref()?.split('.').next()?.parse().ok()
    }
}

/// The value of a shell assignment without expansions: quotes removed, escapes resolved.
fn unquote(value: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = value.trim().chars();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('\\', Some('"') | None) => out.extend(chars.next()),
            ('"' | '\'', None) => quote = Some(char),
            (char, Some(open)) if char == open => quote = None,
            _ => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quotes_comments_and_nonsense() {
        let text = "# ID=no\nNAME='A B'\nID=alma\nID_LIKE=\"rhel centos fedora\"\n\nnonsense\n\
            VERSION_ID=\"9.4\"\nPRETTY_NAME=\"A \\\"B\\\" 'c'\"\n";
        let os = OsRelease::parse(text);
        assert_eq!(os.id, "alma");
        assert_eq!(os.id_like, ["rhel", "centos", "fedora"]);
        assert_eq!((os.version_id.as_deref(), os.major()), (Some("9.4"), Some(9)));
        assert_eq!(os.pretty_name.as_deref(), Some("A \"B\" 'c'"));
        assert_eq!(OsRelease::parse("VERSION_ID=\n"), OsRelease { id: "linux".into(), ..OsRelease::default() });
    }
}
