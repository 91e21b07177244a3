//! `preset`, by the rules of systemd.preset(5).

use super::disable::disable;
use super::enable::enable;
use super::name::UnitName;
use super::units::presets;
use crate::error::{ErrorKind, Result};
use crate::ops::editor::Editor;
use crate::ops::glob::Glob;

/// What the presets say of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It is enabled; a template in these instances.
    Enable(Vec<String>),
    Disable,
}

/// Enables or disables the unit as the guest's presets say; without a word of it, it is enabled.
pub(super) fn preset(editor: &mut Editor<'_>, name: &UnitName, notes: &mut Vec<String>) -> Result<()> {
    let texts = presets(editor.tree())?;
    match verdict(texts.iter().map(Vec::as_slice), name) {
        Verdict::Disable => disable(editor, name, notes),
        Verdict::Enable(instances) if name.is_template() && !instances.is_empty() => {
            let named = instances.iter().filter_map(|instance| name.with_instance(instance));
            named.collect::<Vec<_>>().iter().try_for_each(|instance| enable(editor, instance, notes))
        }
        Verdict::Enable(_) => match enable(editor, name, notes) {
            Err(error) if name.is_template() && error.kind() == ErrorKind::Usage => {
                notes.push(format!("{error}: the presets name no instance, and nothing is enabled"));
                Ok(())
            }
            done => done,
        },
    }
}

/// The first line that is about the unit decides. An instance is also meant by a line about its template that lists it.
fn verdict<'a>(texts: impl IntoIterator<Item = &'a [u8]>, name: &UnitName) -> Verdict {
    let template = name.template();
    for text in texts {
        for line in String::from_utf8_lossy(text).lines() {
            let mut words = line.split_whitespace();
            let (Some(verb), Some(pattern)) = (words.next(), words.next()) else { continue };
            let instances: Vec<String> = words.map(str::to_owned).collect();
            // A backslash means itself, as in names such as dev-disk-by\x2dlabel-x.swap.
            let pattern = Glob::new(pattern.replace('\\', "\\\\").as_bytes(), false);
            let meant = pattern.matches(name.as_str().as_bytes());
            let of_template = || {
                let (template, instance) = template.as_ref()?;
                Some(pattern.matches(template.as_str().as_bytes()) && instances.iter().any(|listed| listed == instance))
            };
            match verb {
                "enable" if meant || of_template() == Some(true) => return Verdict::Enable(instances),
                "disable" | "ignore" if meant => return Verdict::Disable,
                _ => {}
            }
        }
    }
    Verdict::Enable(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_matches_decides() {
        let first = b"# c\n\nenable ssh.* \nenable t@.service one two\ndisable t@*.service\n".as_slice();
        let second =
            b"disable ssh.service\nenable a\\x2d[b].swap\nenable x[ab].socket\ndisable *\nenable late.service\n"
                .as_slice();
        for (name, wanted) in [
            ("ssh.service", Verdict::Enable(vec![])),
            ("t@two.service", Verdict::Enable(vec!["one".into(), "two".into()])),
            ("t@.service", Verdict::Enable(vec!["one".into(), "two".into()])),
            ("t@three.service", Verdict::Disable),
            ("xb.socket", Verdict::Enable(vec![])),
            ("a\\x2db.swap", Verdict::Enable(vec![])),
            ("ax2db.swap", Verdict::Disable),
            ("late.service", Verdict::Disable),
        ] {
            assert_eq!(verdict([first, second], &UnitName::parse(name).unwrap()), wanted, "{name}");
        }
        assert_eq!(verdict([], &UnitName::parse("any").unwrap()), Verdict::Enable(vec![]));
    }
}
