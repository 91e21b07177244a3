//! Long lines of files, as `ls -l` has them.

use super::stat::{letter, permissions, utc};
use super::{bytes, ui};
use nomount::ops::look::{FileInfo, Names};
use nomount::tree::{Stat, Time};

/// How times are printed, always UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimeStyle {
    /// `2026-01-31T12:00:00Z`.
    #[default]
    Utc,
    /// `2026-01-31 12:00:00.000000000 +0000`.
    FullIso,
    /// `2026-01-31 12:00`.
    LongIso,
    /// Seconds since 1970.
    Seconds,
}

impl TimeStyle {
    /// Reads the value of --time-style.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "utc" => Ok(Self::Utc),
            "full-iso" => Ok(Self::FullIso),
            "long-iso" => Ok(Self::LongIso),
            "+%s" => Ok(Self::Seconds),
            _ => Err("utc, full-iso, long-iso or +%s is needed".to_owned()),
        }
    }

    /// A time as text.
    pub fn show(self, time: Time) -> String {
        let utc = utc(time);
        match self {
            Self::Utc => utc,
            Self::FullIso => {
                format!("{}.{:09} +0000", utc.trim_end_matches('Z').replacen('T', " ", 1), time.nsec)
            }
            // Without seconds and the Z.
            Self::LongIso => utc[..utc.len() - 4].replacen('T', " ", 1),
            Self::Seconds => time.sec.to_string(),
        }
    }
}

/// How long lines look.
#[derive(Debug, Default)]
pub struct Long {
    /// Names of owners; without, their numbers.
    pub names: Option<Names>,
    /// Sizes as people read them.
    pub human: bool,
    /// Times.
    pub style: TimeStyle,
}

/// What is shown of a file before its name.
struct Cells {
    links: String,
    owner: Owner,
    group: Owner,
    size: Size,
    time: String,
}

enum Owner {
    Name(String),
    Number(String),
}

enum Size {
    Bytes(String),
    Device(String, String),
}

impl Owner {
    fn text(&self) -> &str {
        match self {
            Self::Name(text) | Self::Number(text) => text,
        }
    }

    /// Names to the left, numbers to the right.
    fn padded(&self, width: usize) -> String {
        match self {
            Self::Name(text) => format!("{text:<width$}"),
            Self::Number(text) => format!("{text:>width$}"),
        }
    }
}

impl Long {
    /// The lines of files, with columns as wide as they need; each with what is given beside it before its name, and
    /// with the name that is given, raw bytes.
    pub fn lines<'f>(&self, files: impl Iterator<Item = (&'f FileInfo, &'f str, &'f [u8])> + Clone) -> Vec<String> {
        let cells: Vec<Cells> = files.clone().map(|(file, _, _)| self.cells(&file.stat)).collect();
        let width = |of: &dyn Fn(&Cells) -> usize| cells.iter().map(of).max().unwrap_or(0);
        let chars = |text: &str| text.chars().count();
        let (links, owner, group, time) = (
            width(&|cells| cells.links.len()),
            width(&|cells| chars(cells.owner.text())),
            width(&|cells| chars(cells.group.text())),
            width(&|cells| cells.time.len()),
        );
        let major = width(&|cells| if let Size::Device(major, _) = &cells.size { major.len() } else { 0 });
        let minor = width(&|cells| if let Size::Device(_, minor) = &cells.size { minor.len() } else { 0 });
        let numbers = if major > 0 { major + 2 + minor } else { 0 };
        let size = width(&|cells| if let Size::Bytes(size) = &cells.size { size.len() } else { 0 }).max(numbers);
        let line = |(cells, (file, beside, name)): (&Cells, (&FileInfo, &str, &[u8]))| {
            let of_size = match &cells.size {
                Size::Bytes(bytes) => format!("{bytes:>size$}"),
                Size::Device(one, two) => format!("{one:>0$}, {two:>minor$}", size - 2 - minor),
            };
            format!(
                "{}{} {:>links$} {} {} {of_size} {:>time$} {beside}{}{}",
                letter(file.stat.kind),
                permissions(file.stat.mode),
                cells.links,
                cells.owner.padded(owner),
                cells.group.padded(group),
                cells.time,
                ui::safe(name),
                arrow(file),
            )
        };
        cells.iter().zip(files).map(line).collect()
    }

    fn cells(&self, stat: &Stat) -> Cells {
        let owner = |name: Option<&[u8]>, number: u32| match name {
            Some(name) => Owner::Name(ui::safe(name)),
            None => Owner::Number(number.to_string()),
        };
        let names = self.names.as_ref();
        Cells {
            links: stat.links.to_string(),
            owner: owner(names.and_then(|names| names.user(stat.uid)), stat.uid),
            group: owner(names.and_then(|names| names.group(stat.gid)), stat.gid),
            size: match stat.device {
                Some((major, minor)) => Size::Device(major.to_string(), minor.to_string()),
                None if self.human => Size::Bytes(bytes::short(stat.size)),
                None => Size::Bytes(stat.size.to_string()),
            },
            time: self.style.show(stat.mtime),
        }
    }
}

/// ` -> target` of a symbolic link, escaped.
pub fn arrow(file: &FileInfo) -> String {
    file.target.as_ref().map(|target| format!(" -> {}", ui::safe(target))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_style() {
        let time = Time { sec: 1_769_860_805, nsec: 7 };
        for (style, text) in [
            ("utc", "2026-01-31T12:00:05Z"),
            ("full-iso", "2026-01-31 12:00:05.000000007 +0000"),
            ("long-iso", "2026-01-31 12:00"),
            ("+%s", "1769860805"),
        ] {
            assert_eq!(TimeStyle::parse(style).unwrap().show(time), text);
        }
        assert!(TimeStyle::parse("iso").is_err());
    }
}
