//! The section `[Install]` of a unit, systemd.unit(5).

use super::name::UnitName;
use crate::error::{Error, ErrorKind, Result};

/// The most words in one setting of a unit; real ones have a few.
const MAX_WORDS: usize = 256;

/// What a unit says of its being enabled; specifiers not yet expanded.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Install {
    pub(super) alias: Vec<String>,
    pub(super) wanted_by: Vec<String>,
    pub(super) required_by: Vec<String>,
    pub(super) upheld_by: Vec<String>,
    pub(super) also: Vec<String>,
    pub(super) default_instance: Option<String>,
}

impl Install {
    /// Whether there is nothing to enable.
    pub(super) fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Adds what `text`, a unit or a drop-in for it, says. An empty value takes back what was there.
    pub(super) fn read(&mut self, text: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(text);
        let mut section = String::new();
        for line in logical_lines(&text) {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
                continue;
            }
            let Some((name, value)) = line.split_once('=').filter(|_| section == "Install") else { continue };
            let list = match name.trim_end() {
                "Alias" => &mut self.alias,
                "WantedBy" => &mut self.wanted_by,
                "RequiredBy" => &mut self.required_by,
                "UpheldBy" => &mut self.upheld_by,
                "Also" => &mut self.also,
                "DefaultInstance" => {
                    self.default_instance = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
                    continue;
                }
                _ => continue,
            };
            let words = value.split_whitespace();
            if words.clone().next().is_none() {
                list.clear();
            }
            list.extend(words.map(|word| word.trim_matches(['"', '\'']).to_owned()).take(MAX_WORDS + 1));
            if list.len() > MAX_WORDS {
                return Err(Error::new(ErrorKind::Limit, format!("{name} names more than {MAX_WORDS} units")));
            }
        }
        Ok(())
    }
}

/// Lines without comments and empty ones, those that end in a backslash joined with the next.
fn logical_lines(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.is_empty() && open.is_none() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let mut whole = open.take().unwrap_or_default();
        match line.strip_suffix('\\') {
            Some(part) => {
                whole.push_str(part);
                whole.push(' ');
                open = Some(whole);
            }
            None => {
                whole.push_str(line);
                out.push(whole);
            }
        }
    }
    out.extend(open);
    out
}

/// `text` with its specifiers replaced for `unit`.
pub(super) fn expand(text: &str, unit: &UnitName) -> Result<String> {
    let (stem, _) = unit.parts();
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('%') => out.push('%'),
            Some('i') => out.push_str(unit.instance().unwrap_or_default()),
            Some('p') => out.push_str(unit.prefix()),
            Some('j') => out.push_str(unit.prefix().rsplit('-').next().unwrap_or_default()),
            Some('n') => out.push_str(unit.as_str()),
            Some('N') => out.push_str(stem),
            other => {
                let specifier = other.map_or("%".to_owned(), |letter| format!("%{letter}"));
                let message = format!("{unit} has \"{specifier}\" in its [Install] section, which is not supported");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_section_and_nothing_else() {
        let mut install = Install::default();
        let text =
            b"# c\n[Unit]\nWantedBy=no.target\n[Install]\n; c\nWantedBy = a.target  b.target\nWantedBy=c.target \\\n\
            # inside\n d.target\nAlias=x.service\nRequiredBy=r.target\nAlso=y.socket\nDefaultInstance=tty1\nUnknown=1\n\
            \xff\n[Service]\nAlias=no.service\n";
        install.read(text).unwrap();
        assert_eq!(install.wanted_by, words(&["a.target", "b.target", "c.target", "d.target"]));
        assert_eq!((install.alias.clone(), install.also.clone()), (words(&["x.service"]), words(&["y.socket"])));
        assert_eq!((install.required_by.len(), install.default_instance.as_deref()), (1, Some("tty1")));
        install.read(b"[Install]\nWantedBy=\nWantedBy=e.target\nUpheldBy=u.target\nDefaultInstance=\n").unwrap();
        assert_eq!((install.wanted_by.clone(), install.upheld_by.len()), (words(&["e.target"]), 1));
        assert_eq!(install.default_instance, None);
        let many = format!("[Install]\nWantedBy={}\n", "a.target ".repeat(257));
        assert_eq!(Install::default().read(many.as_bytes()).unwrap_err().kind(), ErrorKind::Limit);
        let mut none = Install::default();
        none.read(b"[Service]\nExecStart=/bin/true\n[Install]\n").unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn specifiers() {
        let unit = UnitName::parse("my-app@one.service").unwrap();
        assert_eq!(expand("%i %p %j %n %N %%", &unit).unwrap(), "one my-app app my-app@one.service my-app@one %");
        for bad in ["%m", "%"] {
            assert_eq!(expand(bad, &unit).unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }
}
