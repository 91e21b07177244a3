//! Names of units, systemd.unit(5).

use crate::error::{Error, ErrorKind, Result};
use std::fmt;

/// The longest name, as UNIT_NAME_MAX.
const MAX_UNIT_NAME: usize = 255;

const SUFFIXES: [&str; 11] =
    ["service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"];

/// A valid name, with its suffix: `ssh.service`, `getty@tty1.service`, the template `getty@.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(String);

impl UnitName {
    /// Reads a name; without a known suffix it is a service's.
    pub fn parse(text: &str) -> Result<Self> {
        let has_suffix = text.rsplit_once('.').is_some_and(|(_, suffix)| SUFFIXES.contains(&suffix));
        let name = if has_suffix { text.to_owned() } else { format!("{text}.service") };
        Self::exact(&name).ok_or_else(|| Error::new(ErrorKind::Usage, format!("{text:?} is no name of a unit")))
    }

    /// A name that has its suffix; none where it is not valid.
    pub(super) fn exact(name: &str) -> Option<Self> {
        let (stem, suffix) = name.rsplit_once('.')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        let valid = !stem.is_empty() && !stem.starts_with('@') && stem.bytes().all(plain);
        let valid = valid && name.len() <= MAX_UNIT_NAME && SUFFIXES.contains(&suffix) && stem != "." && stem != "..";
        valid.then(|| Self(name.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Name and suffix: `getty@tty1` and `service`.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.0.rsplit_once('.').expect("a name has a suffix")
    }

    /// What is before `@`, all where there is none.
    pub(super) fn prefix(&self) -> &str {
        let stem = self.parts().0;
        stem.split_once('@').map_or(stem, |(prefix, _)| prefix)
    }

    /// What is between `@` and the suffix: empty for a template; none where there is no `@`.
    pub(super) fn instance(&self) -> Option<&str> {
        Some(self.parts().0.split_once('@')?.1)
    }

    pub(super) fn is_template(&self) -> bool {
        self.instance() == Some("")
    }

    /// The template of an instance, with that instance: `getty@tty1.service` is `tty1` of `getty@.service`.
    pub(super) fn template(&self) -> Option<(Self, &str)> {
        let instance = self.instance().filter(|instance| !instance.is_empty())?;
        Some((Self(format!("{}@.{}", self.prefix(), self.parts().1)), instance))
    }

    /// The instance of a template; a name of another kind stays.
    pub(super) fn with_instance(&self, instance: &str) -> Option<Self> {
        if !self.is_template() {
            return Some(self.clone());
        }
        Self::exact(&format!("{}@{instance}.{}", self.prefix(), self.parts().1))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_suffix() {
        let parse = |text: &str| UnitName::parse(text).map(|name| name.0).map_err(|error| error.kind());
        for (text, wanted) in [
            ("ssh", "ssh.service"),
            ("ssh.socket", "ssh.socket"),
            ("getty@tty1", "getty@tty1.service"),
            ("dbus-org.freedesktop.login1", "dbus-org.freedesktop.login1.service"),
            ("a\\x2db@.mount", "a\\x2db@.mount"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(wanted));
        }
        for bad in ["", ".", "..", ".service", "@x", "a/b", "a b", "a\n", "é", "../x.service", &"a".repeat(250)] {
            assert_eq!(parse(bad), Err(ErrorKind::Usage), "{bad}");
        }
    }

    #[test]
    fn templates_and_instances() {
        let name = |text: &str| UnitName::parse(text).unwrap();
        let (template, instance) = (name("a@.service"), name("a@x@y.service"));
        assert_eq!(instance.template(), Some((template.clone(), "x@y")));
        assert_eq!((template.template(), name("a.service").template()), (None, None));
        assert_eq!(template.with_instance("z"), Some(name("a@z.service")));
        assert_eq!(template.with_instance("/"), None);
        assert_eq!(name("a.service").with_instance("z"), Some(name("a.service")));
        assert!(template.is_template() && !instance.is_template() && instance.prefix() == "a");
    }
}
