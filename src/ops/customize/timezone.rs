//! `--timezone`.

use super::assignment::assign;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::edit::{LinkOptions, symlink, write};
use crate::ops::editor::Editor;
use crate::tree::{FileKind, GuestPath, find};

const ZONES: &str = "/usr/share/zoneinfo";

/// Refuses what cannot be the name of a time zone.
pub(crate) fn check(name: &str) -> Result<()> {
    let is_name = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_".contains(&byte);
        !part.is_empty() && part.bytes().all(plain)
    };
    if name.split('/').all(is_name) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Usage, format!("{name:?} is no time zone"))
        .hint("a name below /usr/share/zoneinfo is needed, as Europe/Berlin or UTC"))
}

/// Makes `name`, such as `Europe/Berlin`, the guest's time zone: the link /etc/localtime, and /etc/timezone and
/// /etc/sysconfig/clock where the guest has them. The guest must have the zone.
pub(super) fn set(editor: &mut Editor<'_>, name: &str) -> Result<()> {
    check(name)?;
    let zone = GuestPath::parse(format!("{ZONES}/{name}"))?;
    let found = find(editor.tree(), &zone)?.and_then(|found| found.stat);
    if !found.is_some_and(|stat| stat.kind == FileKind::File) {
        return Err(Error::new(ErrorKind::NotFound, format!("the guest has no time zone {name}"))
            .at_path(zone.to_bytes())
            .hint("its package tzdata may be missing"));
    }
    let link = GuestPath::parse("/etc/localtime")?;
    let target = format!("..{zone}");
    let options = LinkOptions { force: true, no_target_dir: true, ..LinkOptions::default() };
    let is_so = editor.tree().read_link(&link).is_ok_and(|present| present == target.as_bytes());
    if !is_so {
        symlink(editor, target.as_bytes(), &link, options)?;
    }
    let debian = GuestPath::parse("/etc/timezone")?;
    if find(editor.tree(), &debian)?.is_some() {
        write(editor, &debian, format!("{name}\n").as_bytes())?;
    }
    assign(editor, "/etc/sysconfig/clock", "ZONE", name).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::FileTree;
    use crate::tree::memtree::MemTree;

    #[test]
    fn the_zone_must_be_there() {
        let mut tree = MemTree::new();
        tree.file("/usr/share/zoneinfo/Europe/Berlin", "TZif").file("/etc/localtime", "TZif").dir("/usr/share/x");
        tree.file("/etc/timezone", "Etc/UTC\n").file("/etc/sysconfig/clock", "UTC=true\nZONE=\"Etc/UTC\"\n");
        let mut run = |name: &str| set(&mut Editor::new(&mut tree), name).map_err(|error| error.kind());
        assert_eq!(run("Europe/Paris"), Err(ErrorKind::NotFound));
        assert_eq!(run("Europe"), Err(ErrorKind::NotFound));
        for bad in ["", "/etc/passwd", "../x", "Europe//Berlin", "Europe/Berlin\n"] {
            assert_eq!(run(bad), Err(ErrorKind::Usage), "{bad:?}");
        }
        assert_eq!(run("Europe/Berlin"), Ok(()));
        let link = tree.read_link(&GuestPath::parse("/etc/localtime").unwrap()).unwrap();
        assert_eq!(link, b"../usr/share/zoneinfo/Europe/Berlin");
        assert_eq!(tree.text("/etc/timezone"), "Europe/Berlin\n");
        assert_eq!(tree.text("/etc/sysconfig/clock"), "UTC=true\nZONE=\"Europe/Berlin\"\n");
        let before = tree.listing();
        set(&mut Editor::new(&mut tree), "Europe/Berlin").unwrap();
        assert_eq!(tree.listing(), before);
    }
}
