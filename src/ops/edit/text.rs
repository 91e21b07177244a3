//! `edit`: a file of text, rewritten as a whole.

use super::write;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::editor::{Editor, Wanted};
use crate::tree::{FileKind, Follow, GuestPath, MAX_NAME, MAX_TEXT, existing, read_all};

/// Replaces the contents of the regular file that `path` leads to by what `work` makes of them, and says whether they
/// have changed. Owner, mode, extended attributes and other names stay. With `backup`, the old contents are kept
/// beside it under its name and this suffix, with owner, mode and extended attributes of the file; what had that name
/// is overwritten. [`Limit`](ErrorKind::Limit) for a file of more than 16 MiB.
pub fn edit_text(
    editor: &mut Editor<'_>,
    path: &GuestPath,
    backup: Option<&[u8]>,
    work: impl FnOnce(&[u8]) -> Result<Vec<u8>>,
) -> Result<bool> {
    let (place, stat) = existing(editor.tree(), path, Follow::Last)?;
    let refuse = |kind, message: String| Err(Error::new(kind, message).at_path(path.to_bytes()));
    match stat.kind {
        FileKind::File => {}
        FileKind::Dir => return refuse(ErrorKind::IsADirectory, "a directory cannot be edited".to_owned()),
        kind => return refuse(ErrorKind::Refused, format!("a {} cannot be edited", kind.noun())),
    }
    let backup = backup.map(|suffix| backup_of(&place, suffix)).transpose()?;
    let before = read_all(editor.tree(), &place, MAX_TEXT)?;
    let after = work(&before).map_err(|error| error.at_path(path.to_bytes()))?;
    if after == before {
        return Ok(false);
    }
    if let Some(backup) = backup {
        let attributes = Wanted::all(stat.mode, (stat.uid, stat.gid));
        let backup = editor.replace(&backup, &before, attributes)?;
        editor.set(&backup, attributes)?;
        for (name, value) in editor.tree().xattrs(&place)? {
            editor.set_xattr(&backup, &name, Some(&value))?;
        }
    }
    write(editor, &place, &after)?;
    Ok(true)
}

fn backup_of(place: &GuestPath, suffix: &[u8]) -> Result<GuestPath> {
    let name = [place.name().unwrap_or_default(), suffix].concat();
    if suffix.is_empty() || suffix.contains(&b'/') || suffix.contains(&0) || name.len() > MAX_NAME {
        let message = format!("the suffix of a backup makes no name: \"{}\"", suffix.escape_ascii());
        return Err(Error::new(ErrorKind::Usage, message));
    }
    Ok(place.parent().unwrap_or_default().join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::FileTree;
    use crate::tree::memtree::MemTree;

    fn path(text: &str) -> GuestPath {
        GuestPath::parse(text).unwrap()
    }

    #[test]
    fn keeps_what_belongs_to_the_file_and_gives_it_to_the_backup() {
        let mut tree = MemTree::new();
        tree.file("/etc/real", "a\n").chmod("/etc/real", 0o4600).owner("/etc/real", 5, 6).link("/f", "etc/real");
        tree.set_xattr(&path("/etc/real"), b"security.selinux", Some(b"t\0")).unwrap();
        tree.file("/etc/real.bak", "older");
        let mut editor = Editor::new(&mut tree);
        assert!(edit_text(&mut editor, &path("/f"), Some(b".bak"), |text| Ok([text, b"b\n"].concat())).unwrap());
        let lines: Vec<String> = editor.changes().iter().map(ToString::to_string).collect();
        assert_eq!(
            (tree.text("/etc/real").as_str(), tree.text("/etc/real.bak").as_str()),
            ("a\nb\n", "a\n"),
            "{lines:?}"
        );
        for name in ["/etc/real", "/etc/real.bak"] {
            assert_eq!((tree.mode(name), tree.owner_of(name)), (0o4600, (5, 6)));
            assert_eq!(tree.xattrs(&path(name)).unwrap(), [(b"security.selinux".to_vec(), b"t\0".to_vec())]);
        }
    }

    #[test]
    fn what_does_not_change_is_not_written_and_what_is_no_file_is_refused() {
        let mut tree = MemTree::new();
        tree.file("/f", "a").dir("/d");
        let mut editor = Editor::new(&mut tree);
        let mut run = |at: &str, backup: Option<&[u8]>| {
            let done = edit_text(&mut editor, &path(at), backup, |text| Ok(text.to_vec()));
            done.map_err(|error| error.kind())
        };
        assert_eq!(run("/f", Some(b"~")), Ok(false));
        assert_eq!(run("/d", None), Err(ErrorKind::IsADirectory));
        assert_eq!(run("/no", None), Err(ErrorKind::NotFound));
        assert_eq!(run("/f", Some(b"/x")), Err(ErrorKind::Usage));
        assert_eq!(run("/f", Some(&[b'x'; 255])), Err(ErrorKind::Usage));
        assert_eq!(editor.changes(), []);
        assert!(!tree.has("/f~"));
    }
}
