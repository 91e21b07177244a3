//! The time zone: localtime(5), or the text file of Debian and others.

use super::reader::{Reader, known};

/// The longest name of a zone that is believed.
const MAX_NAME: usize = 128;

/// The name of the zone, by the link /etc/localtime, else by a file.
pub(super) fn timezone(reader: &mut Reader<'_>) -> Option<String> {
    let link = reader.tree().read_link(&known("/etc/localtime")).ok();
    let from_link = link.and_then(|target| {
        let target = String::from_utf8(target).ok()?;
        let (_, name) = target.split_once("zoneinfo/")?;
        Some(name.to_owned())
    });
    let first_line = |text: String| text.lines().next().map(|line| line.trim().to_owned());
    let from_files =
        || reader.text("/etc/timezone").and_then(first_line).or_else(|| reader.text("/etc/TZ").and_then(first_line));
    from_link.or_else(from_files).filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::memtree::MemTree;

    #[test]
    fn the_link_counts_before_the_file() {
        let mut tree = MemTree::new();
        tree.file("/etc/timezone", "Etc/UTC\n");
        assert_eq!(timezone(&mut Reader::new(&tree)).as_deref(), Some("Etc/UTC"));
        tree.link("/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin");
        assert_eq!(timezone(&mut Reader::new(&tree)).as_deref(), Some("Europe/Berlin"));
        assert_eq!(timezone(&mut Reader::new(&MemTree::new())), None);
    }
}
