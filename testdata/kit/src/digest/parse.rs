//! Reading what debugfs prints.

use super::content::Run;
use super::{Bytes, Entry, Kind, Time};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, String>;

/// One name in a directory.
pub(super) struct Name {
    pub inode: u32,
    pub is_dir: bool,
    pub name: Bytes,
}

/// What `stat` says of an inode.
#[derive(Debug)]
pub(super) struct Stat {
    pub entry: Entry,
    pub runs: Vec<Run>,
    /// Names of attributes whose values `stat` leaves out.
    pub long_xattrs: Vec<String>,
}

/// Cuts debugfs's output at the commands it echoes.
pub(super) fn sections(out: &[u8], commands: &[String]) -> Result<Vec<Bytes>> {
    let mut rest = out;
    let mut sections = Vec::with_capacity(commands.len());
    for (i, command) in commands.iter().enumerate() {
        let echo = format!("debugfs: {command}\n");
        rest = rest.strip_prefix(echo.as_bytes()).ok_or_else(|| format!("debugfs did not echo {command:?}"))?;
        let end = match commands.get(i + 1) {
            Some(next) => find(rest, format!("debugfs: {next}\n").as_bytes())
                .ok_or_else(|| format!("no answer to {command:?}"))?,
            None => rest.len(),
        };
        sections.push(rest[..end].to_vec());
        rest = &rest[end..];
    }
    Ok(sections)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == needle[0]) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// `ls -p`: lines of `/inode/mode/uid/gid/name/size/`, names as they are; a name with a line break is not understood.
pub(super) fn listing(section: &[u8]) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    for line in section.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let wrong = || format!("a line of a listing: {}", String::from_utf8_lossy(line));
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b'/').collect();
        let [_, inode, mode, _, _, name, ..] = fields[..] else { return Err(wrong()) };
        let inode = ascii(inode).and_then(|s| s.parse().ok()).ok_or_else(wrong)?;
        let mode = ascii(mode).and_then(|s| u32::from_str_radix(s, 8).ok()).ok_or_else(wrong)?;
        if inode != 0 && name != b"." && name != b".." {
            names.push(Name { inode, is_dir: mode & 0o170_000 == 0o040_000, name: name.to_vec() });
        }
    }
    Ok(names)
}

fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// `stat`.
pub(super) fn stat(section: &[u8]) -> Result<Stat> {
    let text = String::from_utf8_lossy(section);
    let word = |label: &str| {
        let at = text.find(label)? + label.len();
        text[at..].split_whitespace().next()
    };
    let need = |label: &str| word(label).ok_or_else(|| format!("no {label}"));
    let number = |label: &str| need(label)?.parse::<u64>().map_err(|e| format!("{label} {e}"));
    let time = |label: &str| word(label).map(|word| parse_time(word).ok_or_else(|| format!("{label} {word}")));
    let small = |label: &str| number(label).and_then(|n| u32::try_from(n).map_err(|e| format!("{label} {e}")));

    // Owners from 2^31 on are printed as negative numbers.
    let owner = |label: &str| need(label)?.parse::<i64>().map(|id| id as u32).map_err(|e| format!("{label} {e}"));

    let mut entry = Entry {
        inode: small("Inode:")?,
        kind: kind(&text)?,
        mode: u16::from_str_radix(need("Mode:")?, 8).map_err(|e| format!("mode: {e}"))?,
        flags: u32::from_str_radix(need("Flags: 0x")?, 16).map_err(|e| format!("flags: {e}"))?,
        uid: owner("User:")?,
        gid: owner("Group:")?,
        project: if text.contains("Project:") { owner("Project:")? } else { 0 },
        size: number("Size:")?,
        links: small("Links:")?,
        mtime: time("mtime:").ok_or("no mtime")??,
        ctime: time("ctime:").ok_or("no ctime")??,
        atime: time("atime:").ok_or("no atime")??,
        crtime: time("crtime:").transpose()?,
        device: None,
        target: None,
        content: 0,
        xattrs: BTreeMap::new(),
    };
    if let Some(at) = text.find("Device major/minor number:") {
        let word = text[at + 26..].split_whitespace().next().unwrap_or_default();
        let (major, minor) = word.split_once(':').ok_or_else(|| format!("device {word}"))?;
        entry.device = major.parse().ok().zip(minor.parse().ok());
        entry.device.ok_or_else(|| format!("device {word}"))?;
    }
    if let Some(at) = find(section, b"Fast link dest: \"") {
        let target = &section[at + 17..];
        let target = target.get(..entry.size as usize).ok_or("a short link is cut off")?;
        entry.target = Some(target.to_vec());
    }
    let mut long_xattrs = Vec::new();
    for line in text.lines().skip_while(|line| *line != "Extended attributes:").skip(1) {
        let Some(line) = line.strip_prefix("  ") else { break };
        match xattr(line)? {
            ("system.data", _) => {}
            (name, Some(value)) => drop(entry.xattrs.insert(name.to_owned(), value)),
            (name, None) => long_xattrs.push(name.to_owned()),
        }
    }
    Ok(Stat { runs: runs(&text)?, entry, long_xattrs })
}

fn kind(text: &str) -> Result<Kind> {
    let at = text.find("Type: ").ok_or("no type")? + 6;
    let name = text[at..].split("  ").next().unwrap_or_default().trim();
    Ok(match name {
        "regular" => Kind::File,
        "directory" => Kind::Dir,
        "symlink" => Kind::Symlink,
        "character special" => Kind::Char,
        "block special" => Kind::Block,
        "FIFO" => Kind::Fifo,
        "socket" => Kind::Socket,
        _ => return Err(format!("type {name:?}")),
    })
}

/// `0x6955b900` or `0x6955b900:1d6f3455`: seconds, then nanoseconds shifted left by 2 with two more bits of seconds.
fn parse_time(word: &str) -> Option<Time> {
    let word = word.strip_prefix("0x")?;
    let (seconds, extra) = word.split_once(':').unwrap_or((word, "0"));
    let seconds = u32::from_str_radix(seconds, 16).ok()? as i32;
    let extra = u32::from_str_radix(extra, 16).ok()?;
    Some((i64::from(seconds) + (i64::from(extra & 3) << 32), extra >> 2))
}

/// `name (length) = value`; the value is missing when it is long, and of length 0 when it is empty.
fn xattr(line: &str) -> Result<(&str, Option<Bytes>)> {
    let wrong = || format!("attribute {line:?}");
    let (head, value) = line.split_once(" = ").map_or((line, None), |(head, value)| (head, Some(value)));
    let (name, len) = head.trim_end().strip_suffix(')').and_then(|h| h.rsplit_once(" (")).ok_or_else(wrong)?;
    let len: usize = len.parse().map_err(|_| wrong())?;
    if len == 0 {
        return Ok((name, Some(Bytes::new())));
    }
    let Some(value) = value else { return Ok((name, None)) };
    let value = match value.trim_end().strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        Some(text) => text.as_bytes().to_vec(),
        None => hex(value).ok_or_else(wrong)?,
    };
    // A quoted value may have been escaped: then it is asked for in hexadecimal.
    Ok((name, (value.len() == len).then_some(value)))
}

/// `ea_get -x`: `name (length) = 78 78 ...`.
pub(super) fn ea_value(section: &[u8]) -> Result<Bytes> {
    let text = String::from_utf8_lossy(section);
    let (_, value) = text.split_once(" = ").ok_or_else(|| format!("attribute {text:?}"))?;
    hex(value).ok_or_else(|| format!("attribute {text:?}"))
}

fn hex(text: &str) -> Option<Bytes> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

/// The block map after `EXTENTS:` or `BLOCKS:`: `(ETB0):33, (0-3):5-8, (4-7[u]):100-103`. Blocks of the map itself
/// and unwritten stretches are left out.
fn runs(text: &str) -> Result<Vec<Run>> {
    let Some(at) = text.find("EXTENTS:\n").map(|at| at + 9).or_else(|| text.find("BLOCKS:\n").map(|at| at + 8)) else {
        return Ok(Vec::new());
    };
    let mut runs = Vec::new();
    for item in text[at..].lines().take_while(|line| !line.is_empty()).flat_map(|line| line.split(", ")) {
        let wrong = || format!("block map {item:?}");
        if item.starts_with("TOTAL") || item.is_empty() {
            continue;
        }
        let (logical, physical) = item.strip_prefix('(').and_then(|i| i.split_once("):")).ok_or_else(wrong)?;
        if logical.contains("[u]") || !logical.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let (first, last) = range(logical).ok_or_else(wrong)?;
        let (physical, end) = range(physical.trim_end().trim_end_matches(',')).ok_or_else(wrong)?;
        if last - first != end - physical {
            return Err(wrong());
        }
        runs.push(Run { logical: first, physical, len: last - first + 1 });
    }
    Ok(runs)
}

fn range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_reach_beyond_2038_and_before_1970() {
        assert_eq!(parse_time("0xf4865700:1d6f3455"), Some((4_102_444_800, 123_456_789)));
        assert_eq!(parse_time("0xed30a080"), Some((-315_580_288, 0)));
    }

    #[test]
    fn block_maps_skip_their_own_blocks_and_unwritten_ones() {
        let text = "EXTENTS:\n(ETB0):33, (0-3):5-8, (4-7[u]):100-103, (9):200\n";
        let run = |logical, physical, len| Run { logical, physical, len };
        assert_eq!(runs(text).unwrap(), [run(0, 5, 4), run(9, 200, 1)]);
        assert!(runs("BLOCKS:\n(0-3):5-9\nTOTAL: 4\n").is_err());
    }
}
