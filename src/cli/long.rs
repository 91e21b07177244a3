//! Long lines of files, as `ls -l` has them.

use super::bytes::{self, Rounding};
use super::stat::{letter, permissions, utc};
use super::ui;
use nomount::Result;
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

/// How wide the columns are.
#[derive(Default)]
struct Widths {
    links: usize,
    owner: usize,
    group: usize,
    size: usize,
    minor: usize,
    time: usize,
}

impl Widths {
    /// As wide as all of these need.
    fn of(rows: impl Iterator<Item = Cells>) -> Self {
        let mut widths = Self::default();
        let mut major = 0;
        for cells in rows {
            widths.links = widths.links.max(cells.links.len());
            widths.owner = widths.owner.max(cells.owner.text().chars().count());
            widths.group = widths.group.max(cells.group.text().chars().count());
            widths.time = widths.time.max(cells.time.len());
            match &cells.size {
                Size::Bytes(bytes) => widths.size = widths.size.max(bytes.len()),
                Size::Device(one, two) => {
                    major = major.max(one.len());
                    widths.minor = widths.minor.max(two.len());
                }
            }
        }
        let numbers = if major > 0 { major + 2 + widths.minor } else { 0 };
        Self { size: widths.size.max(numbers), ..widths }
    }
}

impl Long {
    /// Gives `sink` the lines of files, with columns as wide as they need, up to where their names begin. Every file is
    /// looked at twice: what the lines of a large directory hold would take more memory than what is known of it.
    pub fn lines(&self, files: &[FileInfo], sink: &mut dyn FnMut(&FileInfo, String) -> Result<()>) -> Result<()> {
        let widths = Widths::of(files.iter().map(|file| self.cells(&file.stat)));
        files.iter().try_for_each(|file| sink(file, self.line(file, &widths)))
    }

    fn line(&self, file: &FileInfo, widths: &Widths) -> String {
        let Widths { links, owner, group, size, minor, time } = *widths;
        let cells = self.cells(&file.stat);
        let of_size = match &cells.size {
            Size::Bytes(bytes) => format!("{bytes:>size$}"),
            Size::Device(one, two) => format!("{one:>0$}, {two:>minor$}", size - 2 - minor),
        };
        format!(
            "{}{} {:>links$} {} {} {of_size} {:>time$} ",
            letter(file.stat.kind),
            permissions(file.stat.mode),
            cells.links,
            cells.owner.padded(owner),
            cells.group.padded(group),
            cells.time,
        )
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
                None if self.human => Size::Bytes(bytes::short(stat.size, Rounding::Up)),
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
