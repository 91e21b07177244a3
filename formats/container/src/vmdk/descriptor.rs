//! The text that describes a disk: settings, extents, and the disk's data base, a line each.

use crate::verdict::Rules;

/// What a text begins with that was written by VMware's tools, and by QEMU.
const TITLE: &[u8] = b"# disk descriptorfile";
/// The setting that says how the disk is stored.
const TYPE: &str = "createtype=\"";
/// A longer type is none that is known.
const MAX_TYPE: usize = 64;
/// Kinds of disks that are one file.
const ONE_FILE: [&str; 2] = ["monolithicsparse", "streamoptimized"];
const ACCESS: [&str; 3] = ["rw", "rdonly", "noaccess"];
/// Enough of a line to find it again.
const SHOWN: usize = 40;

/// Whether a file is a descriptor alone: text that names a type of disk, or what QEMU takes as one.
pub(super) fn is_alone(head: &[u8]) -> bool {
    let lower = head.to_ascii_lowercase();
    if lower.starts_with(TITLE) || begins_with_version(&lower) {
        return true;
    }
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | 9..=13 | 28..=31);
    if !lower.iter().take(512).all(is_text) {
        return false;
    }
    let text = lower.split(|byte| *byte == 0 || !byte.is_ascii()).next().unwrap_or_default();
    std::str::from_utf8(text).is_ok_and(|text| disk_type(text).is_some())
}

/// Whether the first line that is neither empty nor a comment names the version.
fn begins_with_version(lower: &[u8]) -> bool {
    let lines = lower.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    lines.next().is_some_and(|line| matches!(line, b"version=1" | b"version=2" | b"version=3"))
}

/// The type of disk that a text in lower case names.
fn disk_type(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(TYPE)?;
    let (name, _) = rest.split_once('"')?;
    (name.len() < MAX_TYPE).then_some(name)
}

/// A descriptor, in lower case, as its words may be written in any.
pub(super) struct Descriptor {
    text: Option<String>,
}

impl Descriptor {
    /// Takes the text up to the zeroes that fill its last sector.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_ascii_lowercase();
        Self { text: String::from_utf8(text).ok().filter(|text| text.is_ascii() && !text.is_empty()) }
    }

    pub(super) fn judge(&self, rules: &mut Rules) {
        let failure = self.text.is_none().then(|| "there is none, or it is not of ASCII characters".to_owned());
        rules.note("descriptor", "the descriptor is a text", failure);
        let Some(text) = &self.text else { return };
        let kind = disk_type(text).unwrap_or_default();
        // Readers differ in which of several they take.
        let once = text.matches("createtype").count() == 1;
        rules.check("subformat", "the disk is in this one file", once && ONE_FILE.contains(&kind), || match once {
            true => format!("the type of the disk is \"{}\"", shown(kind)),
            false => "the type of the disk is named more than once, or not at all".to_owned(),
        });
        let lines = || text.split('\n').map(trimmed).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let strange = lines().find(|line| !is_setting(line) && !is_extent(line));
        rules.note("lines", "every line is understood", strange.map(|line| format!("\"{}\" is not", shown(line))));
        let extents: Vec<&str> = lines().filter(|line| !is_setting(line) && is_extent(line)).collect();
        let path = extents.iter().find(|line| line.contains('/'));
        let failure = match path {
            Some(line) => Some(format!("\"{}\" names a path", shown(line))),
            None if extents.is_empty() => Some("there is none".to_owned()),
            None => None,
        };
        rules.note("extents", "there is an extent, and none names a path", failure);
        judge_parent(text, rules);
    }
}

/// QEMU opens the file that a parent's name hints at, wherever in the text that stands.
fn judge_parent(text: &str, rules: &mut Rules) {
    let hint = text.contains("parentfilenamehint");
    let parent = text.split('\n').map(trimmed).filter_map(|line| line.strip_prefix("parentcid="));
    let parent = parent.map(str::trim).find(|id| *id != "ffffffff");
    rules.check("parent", "no parent disk is named", !hint && parent.is_none(), || match hint {
        true => "the file of a parent disk is named".to_owned(),
        false => format!("the parent disk is {}", shown(parent.unwrap_or_default())),
    });
}

/// A line without the white space around it.
fn trimmed(line: &str) -> &str {
    line.trim_matches(|character: char| matches!(character, ' ' | '\t'..='\r' | '\x1c'..='\x1f'))
}

/// `name=value`, or a line of the disk's data base.
fn is_setting(line: &str) -> bool {
    line.starts_with("ddb") || line.split_once('=').is_some_and(|(name, _)| !name.contains(' '))
}

fn is_extent(line: &str) -> bool {
    line.split(' ').next().is_some_and(|word| ACCESS.contains(&word))
}

/// The beginning of a text from the image, to be shown.
fn shown(text: &str) -> String {
    let end = if text.len() > SHOWN { "..." } else { "" };
    format!("{}{end}", text.get(..SHOWN).unwrap_or(text).escape_debug())
}
